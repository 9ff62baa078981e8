//! Stopping all processes of a slot and letting them go on.

use super::group::{Dialect, Groups};
use super::usage::field;
use crate::kernel::{KernelError, Result};
use rustix::io::Errno;
use std::path::PathBuf;
use std::time::Duration;

const FREEZE_PAUSE: Duration = Duration::from_millis(1);
const FREEZE_ATTEMPTS: u32 = 5000;

impl Groups {
    /// Stops all processes; returns when they have stopped. On failure they go on.
    ///
    /// # Errors
    /// Those of the calls; `ETIMEDOUT` if some process does not stop.
    pub(crate) fn freeze(&self, slot: u32) -> Result<()> {
        let result = self.try_freeze(slot);
        if result.is_err() {
            self.thaw(slot)?;
        }
        result
    }

    fn try_freeze(&self, slot: u32) -> Result<()> {
        for attempt in 0..FREEZE_ATTEMPTS {
            if attempt == 0 {
                let (file, value) = self.freezer(slot, true)?;
                self.kernel.write(&file, value)?;
            }
            if self.is_frozen(slot)? {
                return Ok(());
            }
            self.kernel.pause(FREEZE_PAUSE);
        }
        let object = format!("slot {slot}");
        Err(KernelError::new("freeze", object, Errno::TIMEDOUT))
    }

    /// Lets the processes go on.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn thaw(&self, slot: u32) -> Result<()> {
        let (file, value) = self.freezer(slot, false)?;
        // What was only half-made may have no freezer, and then nothing in it is frozen.
        if self.kernel.exists(&file) {
            self.kernel.write(&file, value)?;
        }
        Ok(())
    }

    fn freezer(&self, slot: u32, frozen: bool) -> Result<(PathBuf, &'static str)> {
        if let Some(at) = self.v2(slot) {
            return Ok((at.join("cgroup.freeze"), if frozen { "1" } else { "0" }));
        }
        let Some(Dialect::V1(at)) = self.controller("freezer", slot) else {
            let object = format!("slot {slot}");
            return Err(KernelError::new("find freezer", object, Errno::NOENT));
        };
        let value = if frozen { "FROZEN" } else { "THAWED" };
        Ok((at.join("freezer.state"), value))
    }

    /// Whether all processes have stopped.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn is_frozen(&self, slot: u32) -> Result<bool> {
        if let Some(at) = self.v2(slot) {
            let events = self.kernel.read(&at.join("cgroup.events"))?;
            return Ok(field(&events, "frozen") == Some(1));
        }
        let (file, _) = self.freezer(slot, true)?;
        Ok(self.kernel.read(&file)?.trim() == "FROZEN")
    }
}
