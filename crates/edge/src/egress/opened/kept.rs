//! What is kept from connection to connection, for the node and for each sandbox.

use super::identity::Identities;
use super::upstreams::Upstreams;
use crate::egress::credentials::Kept;
use crate::egress::Egress;
use crate::sandboxes::Sandbox;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wardian_wire::SandboxId;

/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// All that opened connections share.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(super) identities: Identities,
    sandboxes: Mutex<HashMap<SandboxId, Arc<Own>>>,
}

/// What one sandbox shares with no other.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) credentials: Kept,
}

impl Egress {
    /// What is kept of a sandbox, until it is gone.
    pub(super) fn own(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Arc<Own> {
        let sandboxes = &self.opened.sandboxes;
        let mut known = sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = known.get(&sandbox.id) {
            return Arc::clone(own);
        }
        let own = Arc::new(Own::default());
        known.insert(sandbox.id.clone(), Arc::clone(&own));
        drop(known);
        let (egress, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        let swept = Arc::clone(&own.upstreams);
        self.tasks.spawn(async move {
            tokio::select! {
                () = sandbox.cut.cancelled() => {}
                () = egress.stop.cancelled() => {}
                () = sweep(&swept) => {}
            }
            let sandboxes = &egress.opened.sandboxes;
            let mut known = sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
            known.remove(&sandbox.id);
            drop(known);
            swept.clear();
        });
        own
    }
}

async fn sweep(upstreams: &Upstreams) {
    loop {
        tokio::time::sleep(SWEEP).await;
        upstreams.sweep();
    }
}
