//! One thread that notices the end of every sandbox's agent.

use crate::kernel::{KernelError, Process, Result};
use crate::sandbox::Registry;
use rustix::event::epoll::{add, create, wait, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wardian_wire::SandboxId;

/// The processes that are watched.
#[derive(Debug)]
pub(crate) struct DeathWatch {
    epoll: OwnedFd,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    next: u64,
    names: HashMap<u64, SandboxId>,
}

impl DeathWatch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// Those of `epoll_create1`.
    pub(crate) fn new() -> Result<Self> {
        let epoll = create(CreateFlags::CLOEXEC)
            .map_err(|e| KernelError::new("epoll_create1", "death watch", e))?;
        Ok(Self {
            epoll,
            watched: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches for the end of a sandbox's agent, told once.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub(crate) fn add(&self, sandbox: &SandboxId, process: &Process) -> Result<()> {
        let mut watched = self.lock();
        let token = watched.next;
        watched.next += 1;
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        add(
            &self.epoll,
            &process.descriptor,
            EventData::new_u64(token),
            flags,
        )
        .map_err(|e| KernelError::new("epoll_ctl", format!("sandbox {sandbox}"), e))?;
        watched.names.insert(token, sandbox.clone());
        Ok(())
    }

    /// Tells `registry` of each end, for ever.
    ///
    /// # Errors
    /// Those of `epoll_wait`.
    pub(crate) fn run(&self, registry: &Arc<Registry>) -> Result<()> {
        let mut buffer = [MaybeUninit::<Event>::uninit(); 64];
        loop {
            let events = match wait(&self.epoll, &mut buffer[..], None) {
                Err(Errno::INTR) => continue,
                result => result.map_err(|e| KernelError::new("epoll_wait", "death watch", e))?,
            };
            for event in events.0 {
                let name = self.lock().names.remove(&event.data.u64());
                if let Some(sandbox) = name {
                    registry.note_death(&sandbox);
                }
            }
        }
    }
}
