//! Making a sandbox: all or nothing.

use super::record::{Phase, Place, Record};
use super::registry::{lock, Registry, Sandbox, State};
use crate::failure::{failure, from_kernel, invalid};
use crate::kernel::{KernelError, Result as KernelResult};
use crate::parked::{Job, Parked};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use wardian_wire::launcher::{Create, Failure, FailureCode};

const LEAST_MEMORY: u64 = 16 << 20;
const LEAST_PIDS: u32 = 8;
const LEAST_CPU: u32 = 10;
const LEAST_DISK: u64 = 1 << 20;
const LEAST_IO: u64 = 4096;
const MOST_LAYERS: usize = 64;
/// Linux's own limit.
const LONGEST_HOSTNAME: usize = 64;

/// Checks what the types can't.
fn check(request: &Create) -> Result<(), Failure> {
    let limits = &request.limits;
    let at_least = |name: &str, value: u64, least: u64| {
        if value < least {
            return Err(invalid(format!("limits.{name} is {value}, below {least}")));
        }
        // The kernel's counters are signed.
        if value > i64::MAX as u64 {
            return Err(invalid(format!(
                "limits.{name} is {value}, above {}",
                i64::MAX
            )));
        }
        Ok(())
    };
    at_least("memory_bytes", limits.memory_bytes, LEAST_MEMORY)?;
    at_least("pids", limits.pids.into(), LEAST_PIDS.into())?;
    at_least("cpu_millis", limits.cpu_millis.into(), LEAST_CPU.into())?;
    at_least("disk_bytes", limits.disk_bytes, LEAST_DISK)?;
    if let Some(io) = limits.io_bytes_per_second {
        at_least("io_bytes_per_second", io, LEAST_IO)?;
    }
    let layers = &request.layers;
    if layers.is_empty() || layers.len() > MOST_LAYERS {
        let count = layers.len();
        return Err(invalid(format!(
            "layers has {count} entries, not 1 to {MOST_LAYERS}"
        )));
    }
    let twice = layers
        .iter()
        .enumerate()
        .find(|(i, id)| layers[..*i].contains(id));
    if let Some((_, id)) = twice {
        return Err(invalid(format!("layer {} is named twice", id.as_str())));
    }
    if request.boot.sandbox != request.sandbox {
        return Err(invalid("boot.sandbox is not the sandbox to be made"));
    }
    let hostname = &request.boot.hostname;
    let good = hostname
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if hostname.is_empty() || hostname.len() > LONGEST_HOSTNAME || !good {
        return Err(invalid(
            "boot.hostname is not a host name of 1 to 64 characters",
        ));
    }
    Ok(())
}

impl Registry {
    /// Makes a sandbox, starts its agent and returns its pid. If it fails, nothing is left.
    ///
    /// # Errors
    /// A field that is not as it must be, an id that is taken, a layer that is not there, no
    /// room, or a call that failed.
    pub(crate) fn create(&self, request: &Create) -> Result<u32, Failure> {
        check(request)?;
        let sandbox = Arc::new(Sandbox::new(
            request.sandbox.clone(),
            request.layers.clone(),
            State::Making,
        ));
        // Taken before others can see it: a kill waits until there is something to kill.
        let _operation = lock(&sandbox.operation);
        self.add(&sandbox)?;
        let result = self.make(request, &sandbox);
        if result.is_err() {
            self.forget(&sandbox);
        }
        result
    }

    fn make(&self, request: &Create, sandbox: &Arc<Sandbox>) -> Result<u32, Failure> {
        let parts = &self.parts;
        let missing = request.layers.iter().find(|id| !parts.disks.has_layer(id));
        if let Some(id) = missing {
            let message = format!("no layer {}", id.as_str());
            return Err(failure(FailureCode::NotFound, message));
        }
        if let (Some(_), Err(why)) = (request.limits.io_bytes_per_second, &parts.io_device) {
            return Err(invalid(format!("block I/O can't be limited here: {why}")));
        }
        let boot = serde_json::to_vec(&request.boot).map_err(|e| invalid(e.to_string()))?;
        let parked = parts.parked.take().map_err(|e| from_kernel(&e))?;
        let Some(parked) = parked else {
            return Err(failure(FailureCode::NoCapacity, "all uid slots are taken"));
        };
        match self.settle(request, &parked, &boot) {
            Ok(root) => sandbox.hold(root),
            Err(error) => {
                self.undo(sandbox, parked);
                return Err(from_kernel(&error));
            }
        }
        let place = place_of(&parked);
        let process = Arc::new(parked.process);
        sandbox.set_state(State::Running(place, Arc::clone(&process)));
        if let Some(deaths) = &self.deaths {
            if let Err(error) = deaths.add(&sandbox.id, &process) {
                // Its end will be noticed by whoever asks; nothing else depends on it.
                tracing::error!(sandbox = %sandbox.id, %error, "can't watch for its end");
            }
        }
        Ok(process.pid)
    }

    fn settle(&self, request: &Create, parked: &Parked, boot: &[u8]) -> KernelResult<OwnedFd> {
        let parts = &self.parts;
        let (id, slot, limits) = (&request.sandbox, parked.slot, &request.limits);
        let record = |phase| Record {
            sandbox: id.clone(),
            layers: request.layers.clone(),
            boot_id: parts.boot_id.clone(),
            phase,
        };
        let place = place_of(parked);
        parts.records.write(&record(Phase::Making(place)))?;
        parts.groups.limit(slot, limits)?;
        if let (Some(bytes), Ok(device)) = (limits.io_bytes_per_second, &parts.io_device) {
            parts
                .groups
                .limit_io(slot, parked.process.pid, device, bytes)?;
        }
        let disk = parts
            .disks
            .claim_spare(slot, id, &request.layers, limits.disk_bytes)?;
        parts.wires.keep(id, parked.edge_network.as_fd())?;
        let layers: Vec<_> = request
            .layers
            .iter()
            .map(|l| parts.disks.layer(l))
            .collect();
        let users = parked.users.as_fd();
        let root = parts
            .kernel
            .overlay(&layers, &disk, users, parked.uid_base)?;
        let job = Job {
            hostname: request.boot.hostname.clone(),
            shared_memory_bytes: limits.memory_bytes / 2,
        };
        parts.kernel.start(parked, &job, root.as_fd(), boot)?;
        parts.records.write(&record(Phase::Running(place)))?;
        Ok(root)
    }

    /// Removes what a failed create had made. The record goes last: what can't be undone now is
    /// undone by the next launcher.
    fn undo(&self, sandbox: &Sandbox, parked: Parked) {
        let parts = &self.parts;
        let id = &sandbox.id;
        let report = |step: &'static str, result: KernelResult<()>| -> bool {
            if let Err(error) = &result {
                tracing::error!(sandbox = %id, step, %error, "a failed create can't be undone");
            }
            result.is_ok()
        };
        let steps = [
            report("process", parts.parked.discard(parked)),
            report("wire", parts.wires.release(id)),
            report("disk", parts.disks.remove_disk(id)),
        ];
        if steps.iter().all(|done| *done) {
            report("record", parts.records.remove(id));
        }
    }
}

fn place_of(parked: &Parked) -> Place {
    Place {
        slot: parked.slot,
        pid: parked.process.pid,
        start_time: parked.process.start_time,
    }
}

/// For messages about a sandbox that is none of this launcher's making.
pub(super) fn lost(what: &'static str, id: &wardian_wire::SandboxId) -> KernelError {
    KernelError::new(what, format!("sandbox {id}"), rustix::io::Errno::TIMEDOUT)
}
