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
/// How long a connection that nobody wants may take over the end of a request that has been
/// answered. It holds what its server leaves unread.
const LAST_WRITE: Duration = Duration::from_secs(60);

/// A connection in use. Unless it is given back or let go, dropping it closes the connection,
/// so that a caller who hangs up is seen as such behind the edge.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: Option<SendRequest<RequestBody>>,
    /// Until it is used, all that can be under way is the end of another caller's request.
    used: bool,
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
            if entry.is_good() {
                return Some(self.lease(entry.sender, entry.driver, port, entry.limit));
            }
            set_aside(entry.sender, entry.driver);
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
            used: false,
            driver,
            port,
            limit,
            pool: Arc::clone(self),
        }
    }

    /// Closes what has been idle too long; true when nothing has been asked of the pool for long.
    pub(crate) fn sweep(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, old): (Vec<Entry>, Vec<Entry>) = std::mem::take(&mut idle.connections)
            .into_iter()
            .partition(Entry::is_good);
        idle.connections = kept;
        for entry in old {
            set_aside(entry.sender, entry.driver);
        }
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
            let oldest = idle.connections.remove(0);
            set_aside(oldest.sender, oldest.driver);
        }
        idle.connections.push(entry);
    }
}

impl Entry {
    fn is_good(&self) -> bool {
        !self.sender.is_closed() && self.since.elapsed() < idle_limit(self.port)
    }
}

impl Lease {
    /// True once it can take a request, false if it never will.
    pub(crate) async fn ready(&mut self) -> bool {
        match self.sender.as_mut() {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        }
    }

    /// What to send a request with.
    pub(crate) fn sender(&mut self) -> Option<&mut SendRequest<RequestBody>> {
        self.used = true;
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
        match self.sender.take() {
            Some(_) if self.used => self.driver.abort(),
            Some(sender) => set_aside(sender, self.driver.clone()),
            None => {}
        }
    }
}

/// Closes a connection once nothing is left to write. That it is ready does not say so: hyper
/// is ready for the next request while the head of the last still waits.
fn set_aside(sender: SendRequest<RequestBody>, driver: AbortHandle) {
    if sender.is_closed() {
        return;
    }
    drop(sender);
    tokio::spawn(async move {
        tokio::time::sleep(LAST_WRITE).await;
        driver.abort();
    });
}

fn idle_limit(port: u16) -> Duration {
    if port == AGENT_PORT {
        AGENT_IDLE
    } else {
        OTHER_IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::handshake;
    use http::Request;
    use http_body_util::BodyExt;
    use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio_util::sync::CancellationToken;

    /// A kept connection whose server has answered a request of which it has read one byte.
    async fn answered_unread() -> (Lease, DuplexStream) {
        let (near, mut far) = duplex(16);
        let pool = Arc::new(Pool::default());
        let dialed = handshake(near, &pool, 8000, CancellationToken::new()).await;
        let mut lease = dialed.unwrap();
        let mut request = Request::new(RequestBody::empty());
        *request.uri_mut() = "/longer/than/what/fits".parse().unwrap();
        let answered = lease.sender().unwrap().send_request(request);
        let answer = async {
            assert_eq!(far.read_u8().await.unwrap(), b'G');
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            far.write_all(answer).await.unwrap();
        };
        let (answered, ()) = tokio::join!(answered, answer);
        answered.unwrap().into_body().collect().await.unwrap();
        lease.give_back();
        (pool.take(8000).unwrap(), far)
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_dropped_unused_finishes_the_request_before() {
        let (lease, mut far) = answered_unread().await;
        drop(lease);
        let mut rest = String::new();
        far.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "ET /longer/than/what/fits HTTP/1.1\r\n\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_wait_for_its_server_for_ever() {
        let (lease, _far) = answered_unread().await;
        let driver = lease.driver.clone();
        drop(lease);
        tokio::time::sleep(LAST_WRITE / 2).await;
        assert!(!driver.is_finished());
        tokio::time::sleep(LAST_WRITE).await;
        assert!(driver.is_finished());
    }
}
