//! Going on where another launcher, or this machine before a reboot, stopped.

use super::record::{Phase, Place, Record};
use super::registry::{Registry, Sandbox, State};
use crate::kernel::Result;
use std::collections::BTreeSet;
use std::sync::Arc;
use wardian_wire::launcher::{EndReason, Usage};
use wardian_wire::SandboxId;

impl Registry {
    /// Takes over running sandboxes, undoes half-made ones, notes ended ones and removes what
    /// belongs to none.
    ///
    /// # Errors
    /// Those of the calls. One sandbox that makes trouble does not stop the others.
    pub(crate) fn recover(&self) -> Result<()> {
        let (records, broken) = self.parts.records.all()?;
        for id in broken {
            // Its processes are removed below as belonging to none; the disk stays until killed.
            tracing::error!(sandbox = %id, "its record can't be read");
        }
        for record in records {
            let id = record.sandbox.clone();
            if let Err(error) = self.recover_one(record) {
                tracing::error!(sandbox = %id, %error, "can't be recovered");
            }
        }
        self.note_lone_disks()?;
        self.remove_strays()
    }

    fn recover_one(&self, record: Record) -> Result<()> {
        let parts = &self.parts;
        let same_boot = record.boot_id == parts.boot_id;
        let sandbox = |state| {
            let (id, layers) = (record.sandbox.clone(), record.layers.clone());
            Arc::new(Sandbox::new(id, layers, state))
        };
        match record.phase.clone() {
            Phase::Ended { reason, usage } => {
                self.know(&sandbox(State::Ended { reason, usage }));
                Ok(())
            }
            Phase::Making(place) => self.undo_half_made(&record.sandbox, place, same_boot),
            Phase::Running(_) if !same_boot => {
                let ended = sandbox(State::Making);
                self.know(&ended);
                self.set_ended(&ended, EndReason::NodeRestarted, Usage::default())
            }
            Phase::Running(place) => self.adopt(place, &sandbox(State::Making)),
        }
    }

    fn adopt(&self, place: Place, sandbox: &Arc<Sandbox>) -> Result<()> {
        let parts = &self.parts;
        let Some(process) = parts.kernel.find(place.pid, place.start_time)? else {
            let usage = parts.groups.usage(place.slot).unwrap_or_default();
            let reason = match usage.oom_kills {
                0 => EndReason::AgentExited,
                _ => EndReason::OutOfMemory,
            };
            self.know(sandbox);
            return self.set_ended(sandbox, reason, usage);
        };
        parts.slots.mark_taken(place.slot);
        let process = Arc::new(process);
        sandbox.set_state(State::Running(place, Arc::clone(&process)));
        self.know(sandbox);
        tracing::info!(sandbox = %sandbox.id, pid = process.pid, "adopted");
        if let Some(deaths) = &self.deaths {
            deaths.add(&sandbox.id, &process)?;
        }
        Ok(())
    }

    fn know(&self, sandbox: &Arc<Sandbox>) {
        if let Err(error) = self.add(sandbox) {
            tracing::error!(sandbox = %sandbox.id, error = error.message, "is on file twice");
        }
    }

    fn undo_half_made(&self, id: &SandboxId, place: Place, same_boot: bool) -> Result<()> {
        tracing::info!(sandbox = %id, "was half-made; undone");
        if same_boot {
            self.clear_slot(place.slot)?;
            if let Some(process) = self.parts.kernel.find(place.pid, place.start_time)? {
                self.parts.kernel.kill(&process)?;
            }
        }
        self.parts.wires.release(id)?;
        self.remove_files(id)
    }

    /// After a reboot /run is empty: a disk is all that is left of a sandbox.
    fn note_lone_disks(&self) -> Result<()> {
        for (id, layers) in self.parts.disks.disks_found()? {
            if self.find(&id).is_none() {
                let sandbox = Arc::new(Sandbox::new(id, layers, State::Making));
                self.know(&sandbox);
                self.set_ended(&sandbox, EndReason::NodeRestarted, Usage::default())?;
            }
        }
        Ok(())
    }

    fn remove_strays(&self) -> Result<()> {
        let parts = &self.parts;
        let known = self.running_places();
        let slots: BTreeSet<u32> = known.iter().map(|(_, place)| place.slot).collect();
        let mut strays = parts.groups.slots()?;
        strays.retain(|slot| !slots.contains(slot));
        // All die at once: a full pool of parked processes is among them.
        strays.iter().try_for_each(|slot| self.kill_slot(*slot))?;
        strays
            .iter()
            .try_for_each(|slot| parts.groups.remove(*slot))?;
        parts
            .wires
            .release_others(|name| known.iter().any(|(id, _)| id.as_str() == name))
    }

    /// Kills whatever is in the groups of a slot and removes them.
    fn clear_slot(&self, slot: u32) -> Result<()> {
        self.kill_slot(slot)?;
        self.parts.groups.remove(slot)
    }

    fn kill_slot(&self, slot: u32) -> Result<()> {
        let parts = &self.parts;
        if !parts.groups.kill(slot)? {
            for pid in parts.groups.processes(slot)? {
                if let Some(process) = parts.kernel.find_any(pid)? {
                    parts.kernel.kill(&process)?;
                }
            }
            parts.groups.thaw(slot)?;
        }
        Ok(())
    }
}
