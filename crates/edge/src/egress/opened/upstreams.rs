//! Connections to servers kept open between requests, of one sandbox and never of two.

use super::body::ToUpstream;
use crate::head_limit::HeadLimit;
use hyper::client::conn::{http1, http2};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use wardian_wire::egress::destination::Destination;

/// The most idle HTTP/1.1 connections, and the most HTTP/2 connections, of one sandbox.
const MAX_IDLE: usize = 128;
const MAX_SHARED: usize = 64;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(75);
/// How long, where the request can't be sent again if the server has just hung up: many grant 5 s.
const SURE: Duration = Duration::from_secs(4);
/// The most requests at once over one connection.
const MAX_STREAMS: usize = 100;

/// What tells connections apart that must not stand for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) to: Destination,
    /// What the rule says is dialled instead.
    pub(super) instead: Option<Destination>,
    pub(super) tls: bool,
}

/// All that one sandbox has open.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    places: HashMap<Key, Place>,
    closed: bool,
}

/// One server.
#[derive(Debug, Default)]
struct Place {
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    /// What it spoke last.
    http2: Option<bool>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<ToUpstream>,
    driver: AbortHandle,
    limit: HeadLimit,
    address: SocketAddr,
    since: Instant,
}

#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<ToUpstream>,
    address: SocketAddr,
    /// One more than there are requests under way.
    busy: Arc<()>,
    used: Instant,
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) sender: Sender,
    pub(super) address: SocketAddr,
    key: Key,
    pool: Arc<Upstreams>,
}

#[derive(Debug)]
pub(super) enum Sender {
    Http1 {
        sender: Option<http1::SendRequest<ToUpstream>>,
        driver: AbortHandle,
        limit: HeadLimit,
    },
    Http2 {
        sender: http2::SendRequest<ToUpstream>,
        _busy: Arc<()>,
    },
}

impl Upstreams {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection to an address that is `admitted`. `repeatable`: the request may be sent
    /// again where the connection turns out to be stale.
    pub(super) fn take(
        self: &Arc<Self>,
        key: &Key,
        repeatable: bool,
        admitted: impl Fn(SocketAddr) -> bool,
    ) -> Option<Lease> {
        let mut state = self.state();
        let place = state.places.get_mut(key)?;
        place.shared.retain(|shared| !shared.sender.is_closed());
        let free = place.shared.iter_mut().find(|shared| {
            Arc::strong_count(&shared.busy) <= MAX_STREAMS && admitted(shared.address)
        });
        if let Some(shared) = free {
            shared.used = Instant::now();
            let sender = Sender::Http2 {
                sender: shared.sender.clone(),
                _busy: Arc::clone(&shared.busy),
            };
            return Some(self.lease(key, shared.address, sender));
        }
        let age = if repeatable { IDLE } else { SURE };
        place.idle.retain(Idle::is_good);
        let at = place
            .idle
            .iter()
            .rposition(|idle| idle.since.elapsed() < age && admitted(idle.address))?;
        let idle = place.idle.remove(at);
        let sender = Sender::Http1 {
            sender: Some(idle.sender),
            driver: idle.driver,
            limit: idle.limit,
        };
        Some(self.lease(key, idle.address, sender))
    }

    /// What must be held while a server is dialled that speaks HTTP/2, as far as is known: so that
    /// who asks at the same time shares one connection. `None`: it is known to speak HTTP/1.1.
    pub(super) fn gate(&self, key: &Key) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let mut state = self.state();
        if state.places.len() >= MAX_IDLE * 2 {
            state.forget_unused();
        }
        let place = state.places.entry(key.clone()).or_default();
        (place.http2 != Some(false)).then(|| Arc::clone(&place.gate))
    }

    /// Takes in an HTTP/1.1 connection just made.
    pub(super) fn own(
        self: &Arc<Self>,
        key: &Key,
        address: SocketAddr,
        sender: http1::SendRequest<ToUpstream>,
        driver: AbortHandle,
        limit: HeadLimit,
    ) -> Lease {
        self.state().places.entry(key.clone()).or_default().http2 = Some(false);
        let sender = Sender::Http1 {
            sender: Some(sender),
            driver,
            limit,
        };
        self.lease(key, address, sender)
    }

    /// Takes in an HTTP/2 connection just made, for whoever comes.
    pub(super) fn share(
        self: &Arc<Self>,
        key: &Key,
        address: SocketAddr,
        sender: http2::SendRequest<ToUpstream>,
    ) -> Lease {
        let busy = Arc::new(());
        let mut state = self.state();
        let (full, closed) = (state.shared() >= MAX_SHARED, state.closed);
        let place = state.places.entry(key.clone()).or_default();
        place.http2 = Some(true);
        if !full && !closed {
            place.shared.push(Shared {
                sender: sender.clone(),
                address,
                busy: Arc::clone(&busy),
                used: Instant::now(),
            });
        }
        drop(state);
        let sender = Sender::Http2 {
            sender,
            _busy: busy,
        };
        self.lease(key, address, sender)
    }

    fn lease(self: &Arc<Self>, key: &Key, address: SocketAddr, sender: Sender) -> Lease {
        Lease {
            sender,
            address,
            key: key.clone(),
            pool: Arc::clone(self),
        }
    }

    fn keep(&self, key: Key, idle: Idle) {
        let mut state = self.state();
        if state.closed || idle.sender.is_closed() {
            return;
        }
        if state.idle() >= MAX_IDLE {
            state.forget_oldest();
        }
        state.places.entry(key).or_default().idle.push(idle);
    }

    /// Closes what has been idle too long.
    pub(super) fn sweep(&self) {
        self.state().forget_unused();
    }

    /// Closes all and keeps none from now on.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.closed = true;
        state.places = HashMap::new();
    }
}

impl State {
    fn idle(&self) -> usize {
        self.places.values().map(|place| place.idle.len()).sum()
    }

    fn shared(&self) -> usize {
        self.places.values().map(|place| place.shared.len()).sum()
    }

    fn forget_unused(&mut self) {
        self.places.retain(|_, place| {
            place.idle.retain(Idle::is_good);
            place.shared.retain(|shared| {
                let busy = Arc::strong_count(&shared.busy) > 1;
                !shared.sender.is_closed() && (busy || shared.used.elapsed() < IDLE)
            });
            let waited_for = Arc::strong_count(&place.gate) > 1;
            waited_for || !place.idle.is_empty() || !place.shared.is_empty()
        });
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .places
            .values_mut()
            .filter(|place| !place.idle.is_empty())
            .min_by_key(|place| place.idle.first().map(|idle| idle.since));
        if let Some(place) = oldest {
            place.idle.remove(0);
        }
    }
}

impl Idle {
    fn is_good(&self) -> bool {
        !self.sender.is_closed() && self.since.elapsed() < IDLE
    }
}

impl Lease {
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2 { .. })
    }

    /// Gives the connection back for the next request.
    pub(super) fn give_back(mut self) {
        if let Sender::Http1 {
            sender,
            driver,
            limit,
        } = &mut self.sender
        {
            if let Some(sender) = sender.take() {
                let idle = Idle {
                    sender,
                    driver: driver.clone(),
                    limit: limit.clone(),
                    address: self.address,
                    since: Instant::now(),
                };
                self.pool.keep(self.key.clone(), idle);
            }
        }
    }

    /// Lets the connection finish what it is at, and then close.
    pub(super) fn let_go(mut self) {
        if let Sender::Http1 { sender, .. } = &mut self.sender {
            *sender = None;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What is not given back is in the middle of something that nobody waits for.
        if let Sender::Http1 {
            sender: Some(_),
            driver,
            ..
        } = &self.sender
        {
            driver.abort();
        }
    }
}
