//! Who the edge is towards sandboxes and whom it trusts outside, as the settings in force say.

use super::client_tls::Trust;
use super::leaf::Leaves;
use crate::egress::Egress;
use std::sync::{Arc, Mutex, PoisonError};
use wardian_wire::egress::policy::Settings;

/// What was made of the settings in force, kept until others come.
#[derive(Debug, Default)]
pub(super) struct Identities(Mutex<Option<(Arc<Settings>, Arc<Identity>)>>);

/// What was made of one state of the settings. What is missing could not be made, and then
/// nothing is let through that would need it.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) leaves: Option<Leaves>,
    pub(super) trust: Option<Trust>,
}

impl Identity {
    fn new(settings: &Settings) -> Self {
        let leaves = Leaves::new(&settings.authority_certificate, &settings.authority_key);
        let trust = Trust::new(&settings.trusted);
        Self {
            leaves: leaves
                .inspect_err(|error| tracing::error!(%error, "TLS can't be opened"))
                .ok(),
            trust: trust
                .inspect_err(|error| tracing::error!(%error, "no server can be verified"))
                .ok(),
        }
    }
}

impl Egress {
    /// What to be towards sandboxes and servers; `None` before the control plane's first word.
    pub(super) fn identity(&self) -> Option<Arc<Identity>> {
        let settings = self.settings()?;
        let mut known = self
            .opened
            .identities
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((of, identity)) = known.as_ref() {
            if Arc::ptr_eq(of, &settings) {
                return Some(Arc::clone(identity));
            }
        }
        let identity = Arc::new(Identity::new(&settings));
        *known = Some((settings, Arc::clone(&identity)));
        Some(identity)
    }
}
