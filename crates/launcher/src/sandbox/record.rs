//! What the launcher writes down of each sandbox, so that another launcher can go on.

use crate::kernel::{Kernel, KernelError, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use wardian_wire::launcher::{EndReason, LayerId, Usage};
use wardian_wire::SandboxId;

/// A sandbox on file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) sandbox: SandboxId,
    pub(crate) layers: Vec<LayerId>,
    /// Tells whether the machine has been started anew since: then no process of it is left.
    pub(crate) boot_id: String,
    pub(crate) phase: Phase,
}

/// How far a sandbox has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Nobody was told that it is there: after a crash it is undone.
    Making(Place),
    Running(Place),
    Ended {
        reason: EndReason,
        usage: Usage,
    },
}

/// Where in the kernel a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
}

/// The directory of records.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    kernel: Arc<dyn Kernel>,
    directory: PathBuf,
}

impl Records {
    pub(crate) fn new(kernel: Arc<dyn Kernel>, directory: PathBuf) -> Self {
        Self { kernel, directory }
    }

    fn path(&self, sandbox: &SandboxId) -> PathBuf {
        self.directory.join(format!("{sandbox}.json"))
    }

    /// Writes a record over the one before.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let path = self.path(&record.sandbox);
        let text = serde_json::to_vec(record).map_err(|error| {
            KernelError::told("write", path.display().to_string(), error.to_string())
        })?;
        self.kernel.replace(&path, &text)
    }

    /// Removes a record; that there is none is no error.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn remove(&self, sandbox: &SandboxId) -> Result<()> {
        self.kernel.remove_file(&self.path(sandbox))
    }

    /// All records, the readable and the names of the unreadable.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn all(&self) -> Result<(Vec<Record>, Vec<SandboxId>)> {
        let (mut records, mut broken) = (Vec::new(), Vec::new());
        for name in self.kernel.list(&self.directory)? {
            let Some(id) = name
                .strip_suffix(".json")
                .and_then(|id| SandboxId::parse(id).ok())
            else {
                // Left by a writer that died before its rename.
                self.kernel.remove_file(&self.directory.join(name))?;
                continue;
            };
            let text = self.kernel.read(&self.path(&id))?;
            match serde_json::from_str::<Record>(&text) {
                Ok(record) if record.sandbox == id => records.push(record),
                _ => broken.push(id),
            }
        }
        Ok((records, broken))
    }
}
