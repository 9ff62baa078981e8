//! The credentials of the policy in force, made ready when first asked for.

use super::{CredentialError, Credentials};
use std::sync::{Arc, Mutex, PoisonError};
use wardian_wire::egress::matching::CompiledPolicy;

/// What one sandbox keeps between its requests.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Option<Ready>>);

#[derive(Debug)]
struct Ready {
    policy: Arc<CompiledPolicy>,
    credentials: Result<Arc<Credentials>, CredentialError>,
}

impl Kept {
    /// The credentials of `policy`, which is the one that chose the rule: another may be in force
    /// by now.
    ///
    /// # Errors
    /// They cannot be made ready.
    pub(crate) fn of(
        &self,
        policy: &Arc<CompiledPolicy>,
    ) -> Result<Arc<Credentials>, CredentialError> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = kept()
            .as_ref()
            .filter(|ready| Arc::ptr_eq(&ready.policy, policy))
        {
            return ready.credentials.clone();
        }
        // Made outside the lock: large secrets take their time, and no other request waits.
        let credentials = Credentials::new(policy).map(Arc::new);
        *kept() = Some(Ready {
            policy: Arc::clone(policy),
            credentials: credentials.clone(),
        });
        credentials
    }
}
