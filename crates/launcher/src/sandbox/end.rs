//! The end of a sandbox: asked for, or by itself.

use super::create::lost;
use super::record::{Phase, Place, Record};
use super::registry::{lock, Registry, Sandbox, State};
use crate::failure::from_kernel;
use crate::kernel::{Death, Process, Result as KernelResult};
use std::time::Duration;
use wardian_wire::launcher::{EndReason, Event, Failure, Usage};
use wardian_wire::SandboxId;

/// How long killed processes may take to go: the kernel may have to write much back first.
const PATIENCE: Duration = Duration::from_secs(20);

impl Registry {
    /// Ends a sandbox and removes all it had. Returns whether it was there, and its last usage.
    ///
    /// # Errors
    /// Those of the calls; the sandbox stays known, and the next kill goes on where this stopped.
    pub(crate) fn kill(&self, id: &SandboxId) -> Result<(bool, Option<Usage>), Failure> {
        let Some(sandbox) = self.find(id) else {
            return Ok((false, None));
        };
        let _operation = lock(&sandbox.operation);
        let usage = match sandbox.state() {
            State::Making | State::Gone => return Ok((false, None)),
            State::Ended { usage, .. } => usage,
            State::Running(place, process) => {
                // Numbers must not keep it alive.
                let usage = self.read_usage(id, place.slot).unwrap_or_default();
                self.end_processes(&sandbox, place, &process)
                    .map_err(|e| from_kernel(&e))?;
                let reason = EndReason::AgentExited;
                let ended = State::Ended {
                    reason,
                    usage: usage.clone(),
                };
                sandbox.set_state(ended);
                usage
            }
        };
        self.remove_files(id).map_err(|e| from_kernel(&e))?;
        self.forget(&sandbox);
        Ok((true, Some(usage)))
    }

    /// Kills what runs and removes everything but disk and record. May be repeated.
    pub(super) fn end_processes(
        &self,
        sandbox: &Sandbox,
        place: Place,
        process: &Process,
    ) -> KernelResult<Option<Death>> {
        let (parts, id) = (&self.parts, &sandbox.id);
        let killed_all = parts.groups.kill(place.slot)?;
        if !killed_all {
            parts.kernel.kill(process)?;
            // The freezer of v1 holds even the killed.
            parts.groups.thaw(place.slot)?;
        }
        let death = parts.kernel.wait(process, PATIENCE)?;
        if death.is_none() {
            return Err(lost("kill", id));
        }
        lock(&sandbox.outbound).clear();
        parts.wires.release(id)?;
        parts.groups.remove(place.slot)?;
        parts.slots.give_back(place.slot);
        self.let_go(sandbox);
        Ok(death)
    }

    /// Removes disk and record, in this order: a disk without a record is a sandbox too.
    pub(super) fn remove_files(&self, id: &SandboxId) -> KernelResult<()> {
        self.parts.disks.remove_disk(id)?;
        self.parts.records.remove(id)
    }

    /// Notes the end of a sandbox whose agent may have ended by itself.
    pub(crate) fn note_death(&self, id: &SandboxId) {
        let Some(sandbox) = self.find(id) else {
            return;
        };
        let _operation = lock(&sandbox.operation);
        let State::Running(place, process) = sandbox.state() else {
            return;
        };
        if let Err(error) = self.end_by_itself(&sandbox, place, &process) {
            tracing::error!(sandbox = %id, %error, "can't clear up after its end; kill it");
        }
    }

    fn end_by_itself(
        &self,
        sandbox: &Sandbox,
        place: Place,
        process: &Process,
    ) -> KernelResult<()> {
        let Some(death) = self.parts.kernel.wait(process, Duration::ZERO)? else {
            return Ok(());
        };
        let id = &sandbox.id;
        let usage = self.read_usage(id, place.slot).unwrap_or_default();
        self.end_processes(sandbox, place, process)?;
        let reason = reason(death, &usage);
        tracing::info!(sandbox = %id, ?reason, "ended by itself");
        self.set_ended(sandbox, reason.clone(), usage.clone())?;
        let sandbox = id.clone();
        self.announce(&Event::Ended {
            sandbox,
            reason,
            usage,
        });
        Ok(())
    }

    /// Keeps a sandbox that has ended on file until it is killed.
    pub(super) fn set_ended(
        &self,
        sandbox: &Sandbox,
        reason: EndReason,
        usage: Usage,
    ) -> KernelResult<()> {
        let phase = Phase::Ended {
            reason: reason.clone(),
            usage: usage.clone(),
        };
        sandbox.set_state(State::Ended { reason, usage });
        self.parts.records.write(&Record {
            sandbox: sandbox.id.clone(),
            layers: sandbox.layers.clone(),
            boot_id: self.parts.boot_id.clone(),
            phase,
        })
    }
}

/// Only a process that was killed can have been killed for memory. Of one that another launcher
/// started the kernel does not tell how it ended.
fn reason(death: Death, usage: &Usage) -> EndReason {
    match death {
        Death::Killed | Death::Untold if usage.oom_kills > 0 => EndReason::OutOfMemory,
        _ => EndReason::AgentExited,
    }
}
