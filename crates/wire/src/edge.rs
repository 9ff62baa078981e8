//! Between control plane and edge. The edge connects, says [`FromEdge::Hello`], and gets
//! [`ToEdge::Sync`] with every sandbox, then one message per change. It confirms each `seq`
//! once the change rules its traffic, so that the control plane can promise "routable" or "gone".

use crate::SandboxId;
use serde::{Deserialize, Serialize};

/// Version of this protocol.
pub const VERSION: u32 = 1;

/// From the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToEdge {
    /// All that exists: whatever is not in it is gone.
    Sync { seq: u64, sandboxes: Vec<Route> },
    /// A sandbox is new or has changed.
    Put { seq: u64, sandbox: Route },
    /// A sandbox is gone: its connections are cut at once.
    Remove { seq: u64, sandbox: SandboxId },
}

/// What the edge knows of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub sandbox: SandboxId,
    pub state: RouteState,
    /// When set, requests to any port but the agent's must bring it.
    pub traffic_token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    Running,
    Paused,
}

/// From the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromEdge {
    Hello {
        version: u32,
    },
    /// The change with this number is in force.
    Ack {
        seq: u64,
    },
}
