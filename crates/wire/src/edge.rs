//! Between control plane and edge. The edge connects, says [`FromEdge::Hello`], and gets
//! [`ToEdge::Sync`] with every sandbox, then one message per change. It confirms each `seq`
//! once the change rules its traffic, so that the control plane can promise "routable" or "gone".

use crate::egress::event::{Event, Traffic};
use crate::egress::policy::{Explanation, Policy, Question, Settings};
use crate::SandboxId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of this protocol.
pub const VERSION: u32 = 1;

/// From the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToEdge {
    /// All that exists: whatever is not in it is gone.
    Sync {
        seq: u64,
        sandboxes: Vec<Route>,
        egress: Box<Settings>,
    },
    /// A sandbox is new or has changed.
    Put { seq: u64, sandbox: Route },
    /// A sandbox is gone: its connections are cut at once.
    Remove { seq: u64, sandbox: SandboxId },
    /// What would this policy say? Answered by [`FromEdge::Explained`] with the same `seq`, and
    /// nothing changes.
    Explain {
        seq: u64,
        policy: Box<Policy>,
        question: Question,
    },
}

/// What the edge knows of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub sandbox: SandboxId,
    pub state: RouteState,
    /// When set, requests to any port but the agent's must bring it.
    pub traffic_token: Option<String>,
    pub exposures: Vec<Exposure>,
    pub egress: Policy,
    /// What handlers are told of it.
    #[serde(default)]
    pub facts: Facts,
}

/// What people call a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    pub name: Option<String>,
    pub tenant: Option<String>,
    pub labels: BTreeMap<String, String>,
}

/// A port with an address of its own, `{port}-{id}-{token}.<domain>`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exposure {
    pub port: u16,
    pub token: String,
    pub visibility: Visibility,
    pub host_header: HostHeader,
    /// What tickets and cookies of this exposure are signed with.
    pub secret: String,
}

/// Who may visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Whoever knows the address.
    Public,
    /// Who besides holds a key, a ticket or the cookie that a ticket was exchanged for.
    Private,
}

/// What a visited server sees as `Host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostHeader {
    /// What the visitor sent.
    Preserve,
    /// `localhost:{port}`, for servers that take no other.
    Localhost,
}

impl std::fmt::Debug for Exposure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exposure")
            .field("port", &self.port)
            .field("visibility", &self.visibility)
            .field("host_header", &self.host_header)
            .finish_non_exhaustive()
    }
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
    Explained {
        seq: u64,
        explanation: Explanation,
    },
    /// What happened on the way out since the last report; `lost` counts events that found no
    /// room while nobody read.
    Egress {
        events: Vec<Event>,
        lost: u64,
        traffic: Vec<Traffic>,
    },
}
