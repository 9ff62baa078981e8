//! Every sandbox the launcher knows, and what may be asked about it.

use super::record::{Place, Records};
use super::wires::Wires;
use crate::cgroup::Groups;
use crate::death_watch::DeathWatch;
use crate::disk::Pool;
use crate::failure::{failure, from_kernel};
use crate::kernel::{Kernel, Process};
use crate::parked::pool::ParkedPool;
use crate::slots::Slots;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{channel, sync_channel, Receiver, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wardian_wire::launcher::{
    EndReason, Event, Failure, FailureCode, Family, LayerId, SandboxState, SandboxStatus, Usage,
};
use wardian_wire::SandboxId;

/// Events a watcher may be behind before it is dropped.
const EVENTS_WAITING: usize = 4096;

/// The parts that a sandbox is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) kernel: Arc<dyn Kernel>,
    pub(crate) groups: Groups,
    pub(crate) disks: Arc<Pool>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) parked: Arc<ParkedPool>,
    pub(crate) wires: Wires,
    pub(crate) records: Records,
    /// Of this boot of the machine.
    pub(crate) boot_id: String,
    /// `major:minor` of the pool's disk, or why there is none.
    pub(crate) io_device: Result<String, String>,
}

/// All sandboxes.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(super) parts: Parts,
    sandboxes: Mutex<BTreeMap<SandboxId, Arc<Sandbox>>>,
    watchers: Mutex<Vec<SyncSender<Event>>>,
    /// Roots to unmount, one after the other.
    let_go: Sender<OwnedFd>,
    unmount: Mutex<Option<Receiver<OwnedFd>>>,
    /// How many that are.
    mounted: Mutex<usize>,
    unmounted: Condvar,
    pub(super) deaths: Option<Arc<DeathWatch>>,
}

/// One sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(super) id: SandboxId,
    pub(super) layers: Vec<LayerId>,
    /// Held by whoever changes it: create, kill, freeze and the end by itself exclude each other.
    pub(super) operation: Mutex<()>,
    state: Mutex<State>,
    /// Its root, held so that its end does not wait for the unmounting: overlay then writes back
    /// all of the pool, other sandboxes' data too. An adopted sandbox has none.
    root: Mutex<Option<OwnedFd>>,
    /// What leaves it waits here while the edge is away. An adopted sandbox has none at first.
    pub(super) outbound: Mutex<Vec<OwnedFd>>,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Making,
    Running(Place, Arc<Process>),
    Ended { reason: EndReason, usage: Usage },
    Gone,
}

fn not_running(id: &SandboxId) -> Failure {
    failure(FailureCode::NotFound, format!("no sandbox {id} is running"))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    pub(super) fn new(id: SandboxId, layers: Vec<LayerId>, state: State) -> Self {
        Self {
            id,
            layers,
            operation: Mutex::default(),
            state: Mutex::new(state),
            root: Mutex::default(),
            outbound: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    pub(super) fn hold(&self, root: OwnedFd) {
        *lock(&self.root) = Some(root);
    }

    pub(super) fn set_state(&self, state: State) {
        *lock(&self.state) = state;
    }
}

impl Registry {
    /// A registry of nothing; see `recover`.
    pub(crate) fn new(parts: Parts, deaths: Option<Arc<DeathWatch>>) -> Self {
        let (let_go, unmount) = channel();
        Self {
            parts,
            let_go,
            unmount: Mutex::new(Some(unmount)),
            mounted: Mutex::default(),
            unmounted: Condvar::new(),
            sandboxes: Mutex::default(),
            watchers: Mutex::default(),
            deaths,
        }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Notices the end of sandboxes, for ever.
    ///
    /// # Errors
    /// Those of waiting.
    pub(crate) fn watch_deaths(self: &Arc<Self>) -> crate::kernel::Result<()> {
        match &self.deaths {
            Some(deaths) => deaths.run(self),
            None => Ok(()),
        }
    }

    /// Unmounts the roots of sandboxes that have ended, for ever.
    pub(crate) fn unmount_roots(&self) {
        let receiver = lock(&self.unmount).take();
        for root in receiver.into_iter().flatten() {
            drop(root);
            *lock(&self.mounted) -= 1;
            self.unmounted.notify_all();
        }
    }

    /// Waits until no root of a sandbox that has ended is mounted; false if one still is after
    /// `patience`.
    pub(crate) fn wait_unmounted(&self, patience: Duration) -> bool {
        let waited = self
            .unmounted
            .wait_timeout_while(lock(&self.mounted), patience, |mounted| *mounted > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Gives up the root of a sandbox without processes.
    pub(super) fn let_go(&self, sandbox: &Sandbox) {
        if let Some(root) = lock(&sandbox.root).take() {
            *lock(&self.mounted) += 1;
            // What nobody receives any more is dropped, and so unmounted, right here.
            if self.let_go.send(root).is_err() {
                *lock(&self.mounted) -= 1;
            }
        }
    }

    /// Adds a sandbox, unless one of its id is there.
    pub(super) fn add(&self, sandbox: &Arc<Sandbox>) -> Result<(), Failure> {
        let mut all = lock(&self.sandboxes);
        if all.contains_key(&sandbox.id) {
            let message = format!("sandbox {} is there already", sandbox.id);
            return Err(failure(FailureCode::AlreadyExists, message));
        }
        all.insert(sandbox.id.clone(), Arc::clone(sandbox));
        Ok(())
    }

    pub(super) fn forget(&self, sandbox: &Sandbox) {
        sandbox.set_state(State::Gone);
        lock(&self.sandboxes).remove(&sandbox.id);
    }

    pub(super) fn find(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        lock(&self.sandboxes).get(id).cloned()
    }

    pub(super) fn running_places(&self) -> Vec<(SandboxId, Place)> {
        let all = lock(&self.sandboxes);
        let running = all.values().filter_map(|sandbox| match sandbox.state() {
            State::Running(place, _) => Some((sandbox.id.clone(), place)),
            _ => None,
        });
        running.collect()
    }

    /// Whether no sandbox is known.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.sandboxes).is_empty()
    }

    /// Runs `action` if no sandbox uses `layer`; none can begin to while it runs.
    ///
    /// # Errors
    /// `in_use`, or that of `action`.
    pub(crate) fn while_unused<T>(
        &self,
        layer: &LayerId,
        action: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let all = lock(&self.sandboxes);
        if let Some(user) = all.values().find(|s| s.layers.contains(layer)) {
            let message = format!("layer {} is used by sandbox {}", layer.as_str(), user.id);
            return Err(failure(FailureCode::InUse, message));
        }
        action()
    }

    pub(super) fn running(&self, id: &SandboxId) -> Result<(Place, Arc<Process>), Failure> {
        match self.find(id).map(|sandbox| sandbox.state()) {
            Some(State::Running(place, process)) => Ok((place, process)),
            _ => Err(not_running(id)),
        }
    }

    /// All sandboxes that are not just being made.
    ///
    /// # Errors
    /// Those of asking the kernel whether they are frozen.
    pub(crate) fn list(&self) -> Result<Vec<SandboxStatus>, Failure> {
        let all: Vec<Arc<Sandbox>> = lock(&self.sandboxes).values().cloned().collect();
        let statuses = all
            .iter()
            .filter_map(|sandbox| self.status(sandbox).transpose());
        statuses.collect()
    }

    fn status(&self, sandbox: &Sandbox) -> Result<Option<SandboxStatus>, Failure> {
        match self.try_status(sandbox) {
            // Its groups go while it ends: look again when that is over.
            Err(_) => {
                let _operation = lock(&sandbox.operation);
                self.try_status(sandbox)
            }
            result => result,
        }
    }

    fn try_status(&self, sandbox: &Sandbox) -> Result<Option<SandboxStatus>, Failure> {
        let (state, pid) = match sandbox.state() {
            State::Making | State::Gone => return Ok(None),
            State::Ended { reason, .. } => (SandboxState::Ended { reason }, 0),
            State::Running(place, process) => {
                let frozen = self.parts.groups.is_frozen(place.slot);
                let state = match frozen.map_err(|e| from_kernel(&e))? {
                    true => SandboxState::Frozen,
                    false => SandboxState::Running,
                };
                (state, process.pid)
            }
        };
        let sandbox = sandbox.id.clone();
        Ok(Some(SandboxStatus {
            sandbox,
            state,
            pid,
        }))
    }

    /// What a running sandbox uses.
    ///
    /// # Errors
    /// `not_found`, or those of the calls.
    pub(crate) fn usage(&self, id: &SandboxId) -> Result<Usage, Failure> {
        let (place, _) = self.running(id)?;
        self.read_usage(id, place.slot).or_else(|failure| {
            // It may have ended meanwhile, and its groups with it.
            self.running(id)?;
            Err(failure)
        })
    }

    pub(super) fn read_usage(&self, id: &SandboxId, slot: u32) -> Result<Usage, Failure> {
        let mut usage = self.parts.groups.usage(slot).map_err(|e| from_kernel(&e))?;
        usage.disk_bytes = self.parts.disks.usage(id).map_err(|e| from_kernel(&e))?;
        Ok(usage)
    }

    /// Stops all processes of a running sandbox.
    ///
    /// # Errors
    /// `not_found`, or those of the calls; then they go on.
    pub(crate) fn freeze(&self, id: &SandboxId) -> Result<(), Failure> {
        self.with_running(id, |slot| self.parts.groups.freeze(slot))
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// `not_found`, or those of the calls.
    pub(crate) fn thaw(&self, id: &SandboxId) -> Result<(), Failure> {
        self.with_running(id, |slot| self.parts.groups.thaw(slot))
    }

    fn with_running(
        &self,
        id: &SandboxId,
        action: impl FnOnce(u32) -> crate::kernel::Result<()>,
    ) -> Result<(), Failure> {
        let sandbox = self.find(id);
        let _operation = sandbox.as_ref().map(|sandbox| lock(&sandbox.operation));
        let (place, _) = self.running(id)?;
        action(place.slot).map_err(|e| from_kernel(&e))
    }

    /// Sockets in the edge namespace of a running sandbox.
    ///
    /// # Errors
    /// `not_found`, or those of the calls.
    pub(crate) fn sockets(&self, id: &SandboxId, count: u32) -> Result<Vec<OwnedFd>, Failure> {
        self.running(id)?;
        self.parts
            .wires
            .sockets(id, count)
            .map_err(|e| from_kernel(&e))
    }

    /// Unconnected sockets made in the network of a running sandbox itself.
    ///
    /// # Errors
    /// `not_found`, or `kernel`.
    pub(crate) fn sockets_inside(
        &self,
        id: &SandboxId,
        family: Family,
        count: u32,
    ) -> Result<Vec<OwnedFd>, Failure> {
        let (_, process) = self.running(id)?;
        self.parts
            .kernel
            .sockets_beside(&process, family, count)
            .map_err(|e| from_kernel(&e))
    }

    /// The sockets through which everything leaves a running sandbox: the same each time.
    ///
    /// # Errors
    /// `not_found`, or those of the calls; the next to ask has them made.
    pub(crate) fn outbound(&self, id: &SandboxId) -> Result<Vec<OwnedFd>, Failure> {
        let sandbox = self.find(id).ok_or_else(|| not_running(id))?;
        // Its end must find all there is of it.
        let _operation = lock(&sandbox.operation);
        self.running(id)?;
        let mut kept = lock(&sandbox.outbound);
        if kept.is_empty() {
            *kept = self.parts.wires.outbound(id).map_err(|e| from_kernel(&e))?;
        }
        let copies = self.parts.kernel.duplicate(&kept);
        copies.map_err(|e| from_kernel(&e))
    }

    /// Events from now on.
    pub(crate) fn watch(&self) -> Receiver<Event> {
        let (sender, receiver) = sync_channel(EVENTS_WAITING);
        lock(&self.watchers).push(sender);
        receiver
    }

    /// Tells all watchers; one that is too far behind loses its connection and must list anew.
    pub(super) fn announce(&self, event: &Event) {
        lock(&self.watchers).retain(|watcher| match watcher.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                tracing::warn!("a watcher is too slow and is dropped");
                false
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }
}
