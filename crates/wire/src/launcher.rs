//! The launcher's whole API is [`Request`]: one variant per thing it can do.
//!
//! A connection carries one request at a time: request frame, then one reply frame
//! ([`Reply`]); [`Request::Watch`] alone answers with a stream of [`Event`] frames after its reply.
//! Who may ask what is decided by the peer's uid (`SO_PEERCRED`): the control plane everything,
//! the edge only [`Request::OpenSockets`], [`Request::OpenInnerSockets`] and
//! [`Request::OpenOutbound`].

use crate::{boot::Boot, SandboxId};
use serde::{Deserialize, Serialize};

/// Version of this protocol; a mismatch is refused at [`Request::Hello`].
pub const VERSION: u32 = 1;

/// The most sockets one request may ask for.
pub const MAX_SOCKETS: u32 = 16;

/// What the launcher can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Who are you? Replies [`Value::Hello`].
    Hello { version: u32 },
    /// Make a sandbox and start its agent. Replies [`Value::Created`] once the agent has been exec'ed.
    Create(Box<Create>),
    /// End a sandbox and remove all it had. Ending one that is not there is no error. Replies [`Value::Killed`].
    Kill { sandbox: SandboxId },
    /// Every sandbox the launcher knows, also those that ended and were not yet killed. Replies [`Value::Sandboxes`].
    List {},
    /// What a running sandbox uses now. Replies [`Value::Usage`].
    Usage { sandbox: SandboxId },
    /// Stop all its processes where they are; returns when they have stopped. Replies [`Value::Done`].
    Freeze { sandbox: SandboxId },
    /// Let them go on. Replies [`Value::Done`].
    Thaw { sandbox: SandboxId },
    /// Unconnected, non-blocking TCP sockets made in the sandbox's edge namespace, where the
    /// sandbox is 10.0.0.2. The descriptors ride on the reply [`Value::Sockets`].
    OpenSockets { sandbox: SandboxId, count: u32 },
    /// The same made in the sandbox's own network, where its loopback is. Only for connecting to
    /// it: that network is ruled by the sandbox. Replies [`Value::Sockets`].
    OpenInnerSockets {
        sandbox: SandboxId,
        family: Family,
        count: u32,
    },
    /// The sockets through which everything leaves the sandbox, made in its edge namespace once and
    /// handed out again to whoever asks next: in this order a TCP listener that takes connections
    /// to every address and port (its own address is what was dialled), a UDP socket at
    /// 10.0.0.1:53, and a packet socket that sees the start of whatever is neither. Only the edge
    /// has use for them. Replies [`Value::Sockets`].
    OpenOutbound { sandbox: SandboxId },
    /// Unpack an uncompressed tar, read from the descriptor that rides on this request until its
    /// end, as layer `layer`. OCI whiteouts (`.wh.*`) become overlay whiteouts. All or nothing.
    /// Importing a layer that exists reads nothing and succeeds. Replies [`Value::Layer`].
    ImportLayer { layer: LayerId },
    /// Remove a layer no sandbox uses (else error `in_use`). Replies [`Value::Done`].
    RemoveLayer { layer: LayerId },
    /// All layers. Replies [`Value::Layers`].
    ListLayers {},
    /// After the reply [`Value::Done`], an [`Event`] frame for each thing that happens from now on.
    Watch {},
}

/// Of which addresses a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// A sandbox to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    pub sandbox: SandboxId,
    /// Read-only layers, topmost first; at least one, at most 64.
    pub layers: Vec<LayerId>,
    pub limits: Limits,
    pub boot: Boot,
}

/// What a sandbox may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// At least 16 MiB.
    pub memory_bytes: u64,
    /// Processes and threads, at least 8.
    pub pids: u32,
    /// Thousandths of a CPU, at least 10.
    pub cpu_millis: u32,
    /// Size of the writable layer, at least 1 MiB; not enforced on a plain pool (`Hello.disk_limits`).
    pub disk_bytes: u64,
    /// Block I/O in bytes per second, reading and writing each; `None`: no limit.
    pub io_bytes_per_second: Option<u64>,
}

/// A layer's name: 64 lower-case hexadecimal digits (a SHA-256).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct LayerId(String);

/// The text is not a layer id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a layer id: expected 64 lower-case hexadecimal digits")]
pub struct InvalidLayerId;

impl LayerId {
    /// Checks `text` and wraps it.
    ///
    /// # Errors
    /// [`InvalidLayerId`] unless it is exactly 64 characters of `0-9a-f`.
    pub fn parse(text: &str) -> Result<Self, InvalidLayerId> {
        let valid =
            text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.to_owned())).ok_or(InvalidLayerId)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for LayerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The launcher's answer to one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Ok(Value),
    Error(Failure),
}

/// What a request that worked gives back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Value {
    Hello(Hello),
    Created {
        pid: u32,
    },
    /// `existed` is false when there was nothing to end. `usage` is the last measured before the end.
    Killed {
        existed: bool,
        usage: Option<Usage>,
    },
    Sandboxes {
        sandboxes: Vec<SandboxStatus>,
    },
    Usage(Usage),
    Sockets {
        count: u32,
    },
    Layer {
        layer: LayerId,
        bytes: u64,
        files: u64,
        existed: bool,
    },
    Layers {
        layers: Vec<LayerId>,
    },
    Done {},
}

/// What this launcher and its machine can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    /// `v1`, `v2` or `hybrid`.
    pub cgroups: String,
    /// `btrfs` or `plain`.
    pub storage: String,
    pub disk_limits: bool,
    pub pool_bytes_total: u64,
    pub pool_bytes_free: u64,
}

/// One sandbox as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    pub sandbox: SandboxId,
    pub state: SandboxState,
    /// Host pid of its agent; 0 once ended.
    pub pid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum SandboxState {
    Running,
    Frozen,
    /// Its agent is gone. The disk is kept until [`Request::Kill`].
    Ended {
        reason: EndReason,
    },
}

/// Why a sandbox ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The kernel killed its agent for memory.
    OutOfMemory,
    /// Its agent exited or was killed.
    AgentExited,
    /// The machine was rebooted since.
    NodeRestarted,
}

/// What a sandbox uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Microseconds of CPU since it was made.
    pub cpu_usec: u64,
    pub memory_bytes: u64,
    pub memory_peak_bytes: u64,
    pub pids: u32,
    /// Bytes in the writable layer.
    pub disk_bytes: u64,
    /// How often the kernel killed a process of it for memory.
    pub oom_kills: u64,
}

/// Something that happened without being asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Ended {
        sandbox: SandboxId,
        reason: EndReason,
        usage: Usage,
    },
}

/// A request that failed; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: FailureCode,
    /// What failed, on which object; lower case, no full stop.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// A field or frame is not as it must be.
    InvalidRequest,
    /// The peer may not ask this.
    Denied,
    /// No such sandbox or layer.
    NotFound,
    /// A sandbox of this id is there.
    AlreadyExists,
    /// The layer is used by a sandbox.
    InUse,
    /// The pool is full.
    NoSpace,
    /// All uid slots are taken.
    NoCapacity,
    /// The tar or the layer in it is not acceptable.
    BadLayer,
    /// A system call failed; the message names it.
    Kernel,
}
