//! What the way out keeps of one sandbox.

use super::names::Names;
use super::record::Untold;
use super::seldom::Seldom;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use wardian_wire::edge::Facts;
use wardian_wire::egress::matching::CompiledPolicy;
use wardian_wire::egress::policy::Policy;
use wardian_wire::SandboxId;

/// The most connections out of one sandbox at the same time.
const MAX_FLOWS: usize = 1024;

/// One sandbox's way out.
#[derive(Debug)]
pub(crate) struct Outlet {
    policy: RwLock<Arc<CompiledPolicy>>,
    facts: RwLock<Arc<Facts>>,
    pub(super) names: Names,
    /// What was refused lately, so that it is not told each time.
    pub(super) refused: Seldom,
    pub(super) flows: Arc<Semaphore>,
    /// Whether its sockets are being, or have been, asked for.
    pub(super) asked: AtomicBool,
    /// Told when somebody waits for them.
    pub(super) hurry: Notify,
    /// Cancelled once they stand.
    pub(super) listens: CancellationToken,
    pub(super) untold: Untold,
}

impl Outlet {
    pub(crate) fn new(sandbox: &SandboxId, policy: Policy, facts: Facts) -> Self {
        Self {
            policy: RwLock::new(Arc::new(compiled(sandbox, policy))),
            facts: RwLock::new(Arc::new(facts)),
            names: Names::default(),
            refused: Seldom::default(),
            flows: Arc::new(Semaphore::new(MAX_FLOWS)),
            asked: AtomicBool::default(),
            hurry: Notify::default(),
            listens: CancellationToken::new(),
            untold: Untold::default(),
        }
    }

    /// Puts a policy in force, for connections and requests from now on.
    pub(crate) fn set(&self, sandbox: &SandboxId, policy: Policy, facts: Facts) {
        let new = Arc::new(compiled(sandbox, policy));
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = new;
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(facts);
    }

    /// What handlers are told of the sandbox.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        let facts = self.facts.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&facts)
    }

    /// The policy that is in force now.
    pub(crate) fn policy(&self) -> Arc<CompiledPolicy> {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&policy)
    }
}

/// A policy that can't be read lets nothing out.
fn compiled(sandbox: &SandboxId, policy: Policy) -> CompiledPolicy {
    CompiledPolicy::new(policy).unwrap_or_else(|error| {
        tracing::error!(%sandbox, %error, "a policy that can't be put in force: nothing is let out");
        CompiledPolicy::default()
    })
}
