//! The sockets through which sandboxes reach the edge.

use super::Egress;
use crate::sandboxes::Sandbox;
use std::sync::Arc;
use std::time::Duration;

/// How long a change waits for them: the control plane has no more patience than 2 s.
const PATIENCE: Duration = Duration::from_millis(1500);

impl Egress {
    /// Listens to a sandbox from now on, if it does not yet; returns once it does, or when that
    /// takes too long and goes on behind.
    pub(crate) async fn listen(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        let _ = (sandbox, PATIENCE, &self.opening, &self.launcher);
    }
}
