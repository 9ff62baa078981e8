//! What a slot uses and has used.

use super::group::{Dialect, Groups};
use crate::kernel::Result;
use std::path::Path;
use wardian_wire::launcher::Usage;

impl Groups {
    /// What the processes use and have used; `disk_bytes` is not filled in.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn usage(&self, slot: u32) -> Result<Usage> {
        let number = |at: &Path, file: &str| -> Result<u64> {
            let text = self.kernel.read(&at.join(file))?;
            Ok(text.trim().parse().unwrap_or(0))
        };
        let named = |at: &Path, file: &str, name: &str| -> Result<u64> {
            let text = self.kernel.read(&at.join(file))?;
            Ok(field(&text, name).unwrap_or(0))
        };
        let mut usage = Usage::default();
        if let Some(at) = self.v2(slot) {
            usage.cpu_usec = named(&at, "cpu.stat", "usage_usec")?;
        } else if let Some(Dialect::V1(at)) = self.controller("cpuacct", slot) {
            usage.cpu_usec = number(&at, "cpuacct.usage")? / 1000;
        }
        match self.controller("memory", slot) {
            Some(Dialect::V1(at)) => {
                usage.memory_bytes = number(&at, "memory.usage_in_bytes")?;
                usage.memory_peak_bytes = number(&at, "memory.max_usage_in_bytes")?;
                usage.oom_kills = named(&at, "memory.oom_control", "oom_kill")?;
            }
            Some(Dialect::V2(at)) => {
                usage.memory_bytes = number(&at, "memory.current")?;
                // Since Linux 5.19; before, the present is the best there is.
                let peak = at.join("memory.peak");
                usage.memory_peak_bytes = match self.kernel.exists(&peak) {
                    true => number(&at, "memory.peak")?,
                    false => usage.memory_bytes,
                };
                usage.oom_kills = named(&at, "memory.events", "oom_kill")?;
            }
            None => {}
        }
        if let Some(Dialect::V1(at) | Dialect::V2(at)) = self.controller("pids", slot) {
            usage.pids = u32::try_from(number(&at, "pids.current")?).unwrap_or(u32::MAX);
        }
        Ok(usage)
    }
}

/// The number after `name` in lines of `name number`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}
