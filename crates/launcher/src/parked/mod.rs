//! Parked processes: made ahead, each already in the control groups and namespaces of a sandbox
//! to be, with its wire laid. What is slow in the kernel (above all joining v1 control groups,
//! which waits for an RCU grace period) is so off the path of a create.
//!
//! The launcher has many threads and can't fork safely, so it starts itself anew as a helper
//! (`helper.rs`) with one thread, which prepares all that needs the host's root, clones the process
//! that becomes the sandbox (`interior.rs`) as a child of the launcher, and exits.

mod filesystem;
pub(crate) mod helper;
mod interior;
pub(crate) mod network;
pub(crate) mod pool;
mod unrest;

use crate::kernel::Process;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The longest message between launcher, helper and parked process, in bytes.
pub(crate) const LONGEST_MESSAGE: usize = 64 * 1024;

/// What a helper is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Number of the uid range and name of the control groups.
    pub(crate) slot: u32,
    /// First host uid and gid of the sandbox; it gets 65,536 of each.
    pub(crate) uid_base: u32,
    /// `cgroup.procs` files to join, in this order.
    pub(crate) join: Vec<PathBuf>,
}

/// What a helper says when the parked process waits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ready {
    /// Its pid; descriptors of the edge namespace and the user namespace come along.
    Parked {
        pid: u32,
    },
    Failed {
        what: String,
    },
}

/// What a parked process is told: with it come the root mount, the agent's program, its boot
/// configuration and the pipe for errors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) hostname: String,
    /// Size of /dev/shm.
    pub(crate) shared_memory_bytes: u64,
}

/// A process that waits to become a sandbox.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) slot: u32,
    pub(crate) uid_base: u32,
    pub(crate) process: Process,
    /// Its job goes here; it exits when this is closed.
    pub(crate) socket: OwnedFd,
    /// The other end of its wire.
    pub(crate) edge_network: OwnedFd,
    pub(crate) users: OwnedFd,
}

/// What can't be done in a helper or parked process, in words: the launcher passes them on.
type Outcome<T> = Result<T, String>;

/// Says what was tried when it failed.
trait Explain<T> {
    fn explain(self, what: impl std::fmt::Display) -> Outcome<T>;
}

impl<T, E: std::fmt::Display> Explain<T> for Result<T, E> {
    fn explain(self, what: impl std::fmt::Display) -> Outcome<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}
