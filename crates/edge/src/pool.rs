//! Connections kept open between requests, for one sandbox or for the control plane.

use crate::body::RequestBody;
use crate::head_limit::HeadLimit;
use hyper::client::conn::http1::SendRequest;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use wardian_wire::boot::AGENT_PORT;

/// The most idle connections of one sandbox.
const MAX_IDLE: usize = 32;
/// How long an idle connection to the agent is kept; the agent itself keeps it 640 s.
const AGENT_IDLE: Duration = Duration::from_secs(60);
/// The same for everything else: below the 5 s that Node.js and uvicorn grant by default, so
/// that a request does not meet a server that has just hung up.
const OTHER_IDLE: Duration = Duration::from_secs(4);
/// After this long without a connection the sandbox counts as idle altogether.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// A connection in use. Unless it is given back or let go, dropping it closes the connection,
/// so that a caller who hangs up is seen as such behind the edge.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: Option<SendRequest<RequestBody>>,
    driver: AbortHandle,
    port: u16,
    limit: HeadLimit,
    pool: Arc<Pool>,
}

/// Idle connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Entry>,
    last_used: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    sender: SendRequest<RequestBody>,
    driver: AbortHandle,
    port: u16,
    limit: HeadLimit,
    since: Instant,
}

impl Pool {
    /// Takes an idle connection to `port`, the one used last.
    pub(crate) fn take(self: &Arc<Self>, port: u16) -> Option<Lease> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.last_used = Some(Instant::now());
        loop {
            let at = idle
                .connections
                .iter()
                .rposition(|entry| entry.port == port)?;
            let entry = idle.connections.remove(at);
            if !entry.sender.is_closed() && entry.since.elapsed() < idle_limit(port) {
                return Some(self.lease(entry.sender, entry.driver, port, entry.limit));
            }
        }
    }

    /// Wraps a connection just made.
    pub(crate) fn lease(
        self: &Arc<Self>,
        sender: SendRequest<RequestBody>,
        driver: AbortHandle,
        port: u16,
        limit: HeadLimit,
    ) -> Lease {
        Lease {
            sender: Some(sender),
            driver,
            port,
            limit,
            pool: Arc::clone(self),
        }
    }

    /// Closes what has been idle too long; true when nothing has been asked of the pool for long.
    pub(crate) fn sweep(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.connections.retain(|entry| {
            !entry.sender.is_closed() && entry.since.elapsed() < idle_limit(entry.port)
        });
        idle.last_used
            .is_none_or(|used| used.elapsed() > FORGET_AFTER)
    }

    /// Closes all and keeps none from now on.
    pub(crate) fn clear(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.closed = true;
        idle.connections = Vec::new();
    }

    fn keep(&self, entry: Entry) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.closed || entry.sender.is_closed() {
            return;
        }
        if idle.connections.len() >= MAX_IDLE {
            idle.connections.remove(0);
        }
        idle.connections.push(entry);
    }
}

impl Lease {
    pub(crate) fn sender(&mut self) -> Option<&mut SendRequest<RequestBody>> {
        self.sender.as_mut()
    }

    /// What the server may send before it answers.
    pub(crate) fn limit(&self) -> &HeadLimit {
        &self.limit
    }

    /// Gives the connection back for the next request.
    pub(crate) fn give_back(mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.keep(Entry {
                sender,
                driver: self.driver.clone(),
                port: self.port,
                limit: self.limit.clone(),
                since: Instant::now(),
            });
        }
    }

    /// Lets the connection finish what it is at, and then close.
    pub(crate) fn let_go(mut self) {
        self.sender = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.sender.is_some() {
            self.driver.abort();
        }
    }
}

fn idle_limit(port: u16) -> Duration {
    if port == AGENT_PORT {
        AGENT_IDLE
    } else {
        OTHER_IDLE
    }
}
