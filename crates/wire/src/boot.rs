//! What the launcher gives the agent at birth, as JSON in a sealed memfd on descriptor 4.
//! Descriptor 3 is the agent's listening socket, already bound in the sandbox's own network.

use crate::SandboxId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The port the agent listens on in every sandbox (that of E2B's `envd`).
pub const AGENT_PORT: u16 = 49983;
/// The descriptor of the agent's listening socket.
pub const LISTENER_FD: i32 = 3;
/// The descriptor of the memfd that holds [`Boot`].
pub const BOOT_FD: i32 = 4;

/// The agent's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// The sandbox this agent is PID 1 of.
    pub sandbox: SandboxId,
    /// What callers must send as `X-Access-Token`; `None` leaves the agent open (E2B's `secure=false`).
    pub access_token: Option<String>,
    /// Also written to /etc/hostname and /etc/hosts.
    pub hostname: String,
    /// Who runs a command that names nobody.
    pub default_user: String,
    /// Where a command that names no directory starts; `None`: the user's home.
    pub default_workdir: Option<String>,
    /// Environment of every command, below what the command itself brings.
    pub env: BTreeMap<String, String>,
    /// PEM of certificates that everything inside is to trust besides its own; empty: none yet.
    pub trust: String,
    /// What the sandbox may use, for /metrics: cgroup files are not visible inside.
    pub memory_bytes: u64,
    /// Thousandths of a CPU.
    pub cpu_millis: u32,
    /// Size of the writable layer.
    pub disk_bytes: u64,
}
