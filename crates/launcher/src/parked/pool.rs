//! Parked processes that are ready to be taken.

use super::unrest::Unrest;
use super::{Order, Parked};
use crate::cgroup::Groups;
use crate::disk::Pool;
use crate::kernel::{Kernel, KernelError, Result};
use crate::slots::Slots;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a killed parked process may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before filling up again after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Makes, keeps and unmakes parked processes.
#[derive(Debug)]
pub(crate) struct ParkedPool {
    kernel: Arc<dyn Kernel>,
    groups: Groups,
    disks: Arc<Pool>,
    slots: Arc<Slots>,
    wanted: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Parked>,
    closed: bool,
    /// One is being made for the pool.
    filling: bool,
    /// Creates that are now making one on the spot.
    rush: usize,
    unrest: Unrest,
}

impl ParkedPool {
    /// A pool that [`Self::fill`] keeps at `wanted`.
    pub(crate) fn new(
        kernel: Arc<dyn Kernel>,
        groups: Groups,
        disks: Arc<Pool>,
        slots: Arc<Slots>,
        wanted: usize,
    ) -> Self {
        Self {
            kernel,
            groups,
            disks,
            slots,
            wanted,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a parked process that lives, or makes one.
    ///
    /// # Errors
    /// Those of making one; `None` if all slots are taken.
    pub(crate) fn take(&self) -> Result<Option<Parked>> {
        loop {
            let parked = {
                let mut state = self.lock();
                state.unrest.note(Instant::now());
                state.ready.pop()
            };
            self.changed.notify_all();
            let Some(parked) = parked else {
                break;
            };
            if self.kernel.wait(&parked.process, Duration::ZERO)?.is_none() {
                return Ok(Some(parked));
            }
            // Killed by somebody while it waited.
            self.discard(parked)?;
        }
        self.lock().rush += 1;
        let made = self.make();
        self.lock().rush -= 1;
        self.changed.notify_all();
        made
    }

    fn make(&self) -> Result<Option<Parked>> {
        let Some(slot) = self.slots.take() else {
            return Ok(None);
        };
        match self.make_in(slot) {
            Ok(parked) => Ok(Some(parked)),
            Err(error) => {
                self.slots.give_back(slot);
                Err(error)
            }
        }
    }

    fn make_in(&self, slot: u32) -> Result<Parked> {
        let join = self.groups.create(slot)?;
        let order = Order {
            slot,
            uid_base: self.slots.uid_base(slot),
            join,
        };
        let made = self
            .disks
            .make_spare(slot)
            .and_then(|()| self.kernel.park(&order));
        if made.is_err() {
            // If the helper died half-way, what it had made goes by itself.
            let cleared = self
                .groups
                .kill(slot)
                .and_then(|_| self.groups.remove(slot));
            self.disks.remove_spare(slot).and(cleared)?;
        }
        made
    }

    /// Ends a parked process and removes all that was made for it.
    ///
    /// # Errors
    /// Those of the calls; the slot is then not used again.
    pub(crate) fn discard(&self, parked: Parked) -> Result<()> {
        let slot = parked.slot;
        self.kernel.kill(&parked.process)?;
        if self.kernel.wait(&parked.process, PATIENCE)?.is_none() {
            let object = format!("parked process {}", parked.process.pid);
            return Err(KernelError::new(
                "kill",
                object,
                rustix::io::Errno::TIMEDOUT,
            ));
        }
        drop(parked);
        self.groups.remove(slot)?;
        self.disks.remove_spare(slot)?;
        self.slots.give_back(slot);
        Ok(())
    }

    /// Keeps the pool full until it is closed.
    pub(crate) fn fill(&self) {
        loop {
            if !self.begin_filling() {
                return;
            }
            let made = self.make();
            let failed = !matches!(made, Ok(Some(_)));
            match made {
                Ok(Some(parked)) => self.put(parked),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "no process can be parked"),
            }
            self.lock().filling = false;
            self.changed.notify_all();
            if failed {
                self.rest();
            }
        }
    }

    /// Waits until one more is wanted and there is time to make it; false once closed.
    fn begin_filling(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            let wanted = state.ready.len() < self.wanted && state.rush == 0;
            let left = state.unrest.left(Instant::now());
            if wanted && left.is_zero() {
                state.filling = true;
                return true;
            }
            state = if wanted {
                let waited = self.changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let waited = self.changed.wait(state);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    fn put(&self, parked: Parked) {
        let mut state = self.lock();
        if !state.closed {
            state.ready.push(parked);
            return;
        }
        drop(state);
        if let Err(error) = self.discard(parked) {
            tracing::warn!(%error, "parked process can't be removed");
        }
    }

    fn rest(&self) {
        let state = self.lock();
        if !state.closed {
            let waited = self.changed.wait_timeout(state, AFTER_FAILURE);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Ends all parked processes; none is made from here on but on the spot.
    pub(crate) fn close(&self) {
        let ready = {
            let mut state = self.lock();
            state.closed = true;
            self.changed.notify_all();
            // What is being made now must not be left behind.
            while state.filling {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::take(&mut state.ready)
        };
        // All die at once; what goes wrong here does so again below.
        for parked in &ready {
            drop(self.kernel.kill(&parked.process));
        }
        for parked in ready {
            if let Err(error) = self.discard(parked) {
                tracing::warn!(%error, "parked process can't be removed");
            }
        }
    }
}
