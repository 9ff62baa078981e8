//! The exposures of one sandbox and what is open through each, so that one that is taken back
//! takes all of that with it.

use crate::pool::Pool;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wardian_wire::edge::{self, Visibility};
use wardian_wire::launcher::Family;
use wardian_wire::token;

/// How long the control plane's leave for a key is remembered: a page of many parts asks once,
/// and a key that was deleted is refused as good as at once.
const LEAVE_TIME: Duration = Duration::from_secs(1);
/// The most keys remembered at a time.
const MAX_LEAVES: usize = 64;

/// A port with an address of its own.
#[derive(Debug)]
pub(crate) struct Exposure {
    pub(crate) rule: edge::Exposure,
    /// Cancelled when it is taken back or changed, or the sandbox is gone.
    pub(crate) cut: CancellationToken,
    pub(crate) pool: Arc<Pool>,
    inside: Mutex<Inside>,
    /// Digests of keys, and until when they may.
    leaves: Mutex<HashMap<[u8; 32], Instant>>,
}

/// Where inside the sandbox the server was met, if not at the sandbox's own address.
#[derive(Debug, Default)]
struct Inside {
    family: Option<Family>,
    /// Unconnected sockets of that family.
    spares: Vec<OwnedFd>,
}

impl Exposure {
    fn new(rule: edge::Exposure, sandbox: &CancellationToken) -> Self {
        Self {
            rule,
            cut: sandbox.child_token(),
            pool: Arc::default(),
            inside: Mutex::default(),
            leaves: Mutex::default(),
        }
    }

    pub(crate) fn is_public(&self) -> bool {
        self.rule.visibility == Visibility::Public
    }

    /// On which loopback address the server was met last, and a socket for it if one is left.
    pub(crate) fn met_inside(&self) -> Option<(Family, Option<OwnedFd>)> {
        let mut inside = self.lock_inside();
        inside.family.map(|family| (family, inside.spares.pop()))
    }

    /// The server was met there; `spares` are for the next connections.
    pub(crate) fn meet_inside(&self, family: Family, spares: Vec<OwnedFd>) {
        let mut inside = self.lock_inside();
        inside.family = Some(family);
        if !self.cut.is_cancelled() && inside.spares.is_empty() {
            inside.spares = spares;
        }
    }

    pub(crate) fn forget_inside(&self) {
        *self.lock_inside() = Inside::default();
    }

    fn lock_inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the control plane gave leave to this key a moment ago.
    pub(crate) fn has_leave(&self, key: &[u8; 32]) -> bool {
        let leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.get(key).is_some_and(|until| Instant::now() < *until)
    }

    /// Remembers that it did.
    pub(crate) fn give_leave(&self, key: [u8; 32]) {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if leaves.len() >= MAX_LEAVES {
            leaves.clear();
        }
        leaves.insert(key, Instant::now() + LEAVE_TIME);
    }

    /// Drops what has been idle too long.
    pub(crate) fn sweep(&self) {
        if self.pool.sweep() {
            self.lock_inside().spares = Vec::new();
        }
    }

    /// Ends all that is open through it.
    pub(crate) fn end(&self) {
        self.cut.cancel();
        self.pool.clear();
        self.forget_inside();
    }
}

/// What is exposed after a change: what stayed as it was keeps what is open through it, the rest
/// is ended.
pub(crate) fn changed(
    before: Vec<Arc<Exposure>>,
    rules: Vec<edge::Exposure>,
    sandbox: &CancellationToken,
) -> Vec<Arc<Exposure>> {
    let (mut before, mut after) = (before, Vec::with_capacity(rules.len()));
    for rule in rules {
        let same = before.iter().position(|known| known.rule == rule);
        after.push(match same {
            Some(at) => before.swap_remove(at),
            None => Arc::new(Exposure::new(rule, sandbox)),
        });
    }
    for gone in before {
        gone.end();
    }
    after
}

/// The exposure of this port and token, in time that tells nothing of other tokens.
pub(crate) fn find(exposures: &[Arc<Exposure>], port: u16, text: &str) -> Option<Arc<Exposure>> {
    let mut found = None;
    for exposure in exposures {
        let same = token::same(exposure.rule.token.as_bytes(), text.as_bytes());
        if same & (exposure.rule.port == port) {
            found = Some(Arc::clone(exposure));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_wire::edge::HostHeader;

    fn rule(port: u16, token: &str, visibility: Visibility) -> edge::Exposure {
        edge::Exposure {
            port,
            token: token.to_owned(),
            visibility,
            host_header: HostHeader::Preserve,
            secret: "secret".to_owned(),
        }
    }

    #[test]
    fn what_did_not_change_stays_open() {
        let sandbox = CancellationToken::new();
        let rules = vec![
            rule(80, "one", Visibility::Private),
            rule(81, "two", Visibility::Public),
            rule(82, "three", Visibility::Public),
        ];
        let before = changed(Vec::new(), rules, &sandbox);
        let rules = vec![
            rule(82, "three", Visibility::Private),
            rule(80, "one", Visibility::Private),
        ];
        let after = changed(before.clone(), rules, &sandbox);
        let cut: Vec<bool> = before.iter().map(|each| each.cut.is_cancelled()).collect();
        assert_eq!(cut, [false, true, true]);
        assert!(find(&after, 80, "one").is_some_and(|found| Arc::ptr_eq(&found, &before[0])));
        assert!(find(&after, 82, "three").is_some_and(|found| !found.is_public()));
        for (port, token) in [(81, "two"), (80, "three"), (80, "on"), (80, "")] {
            assert!(find(&after, port, token).is_none(), "{port} {token}");
        }
        sandbox.cancel();
        assert!(after.iter().all(|each| each.cut.is_cancelled()));
    }
}
