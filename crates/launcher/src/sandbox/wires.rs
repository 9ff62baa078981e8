//! Edge namespaces by name: `wires/<sandbox>`, so that they outlive the launcher.

use crate::kernel::{sockets, Kernel, KernelError, Result};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use wardian_wire::launcher::Family;
use wardian_wire::SandboxId;

/// The directory of wires.
#[derive(Clone, Debug)]
pub(crate) struct Wires {
    kernel: Arc<dyn Kernel>,
    directory: PathBuf,
}

impl Wires {
    pub(crate) fn new(kernel: Arc<dyn Kernel>, directory: PathBuf) -> Self {
        Self { kernel, directory }
    }

    fn path(&self, sandbox: &SandboxId) -> PathBuf {
        self.directory.join(sandbox.as_str())
    }

    /// Keeps an edge namespace under the name of its sandbox.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn keep(&self, sandbox: &SandboxId, namespace: BorrowedFd<'_>) -> Result<()> {
        self.kernel.bind_namespace(namespace, &self.path(sandbox))
    }

    /// Gives it up; that there is none is no error.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn release(&self, sandbox: &SandboxId) -> Result<()> {
        self.kernel.unbind_namespace(&self.path(sandbox))
    }

    /// Gives up all whose name `keep` denies.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn release_others(&self, keep: impl Fn(&str) -> bool) -> Result<()> {
        for name in self.kernel.list(&self.directory)? {
            if !keep(&name) {
                self.kernel.unbind_namespace(&self.directory.join(name))?;
            }
        }
        Ok(())
    }

    /// Makes `count` TCP sockets in the edge namespace of `sandbox`.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn sockets(&self, sandbox: &SandboxId, count: u32) -> Result<Vec<OwnedFd>> {
        let path = self.path(sandbox);
        let namespace = File::open(&path).map_err(|e| {
            let errno = Errno::from_io_error(&e).unwrap_or(Errno::IO);
            KernelError::new("open", path.display().to_string(), errno)
        })?;
        sockets::make(namespace, Family::Ipv4, count, &path.display().to_string())
    }

    /// Makes listener, resolver and packet socket in the edge namespace of `sandbox`.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn outbound(&self, sandbox: &SandboxId) -> Result<Vec<OwnedFd>> {
        self.kernel.open_outbound(&self.path(sandbox))
    }
}
