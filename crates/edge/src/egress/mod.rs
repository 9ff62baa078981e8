//! The way out: what sandboxes ask for, decided by their policies, and the connections that carry
//! it to the world.
//!
//! Every connection is taken by [`listeners`], becomes a [`flow::Flow`] and is refused, spliced
//! ([`splice`]) or opened ([`opened`]). Whatever is decided is told to [`record`].

pub(crate) mod credentials;
pub(crate) mod dial;
mod dns;
pub(crate) mod first_bytes;
pub(crate) mod flow;
pub(crate) mod handlers;
mod listeners;
mod names;
pub(crate) mod opened;
pub(crate) mod outlet;
mod packets;
pub(crate) mod prefixed;
pub(crate) mod record;
mod seldom;
mod splice;

use crate::launcher_client::Launcher;
use handlers::Handlers;
use record::Record;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wardian_wire::egress::policy::Settings;

/// The most names and addresses tried at the same time, of all sandboxes.
const DIALLING: usize = 512;
/// The most sandboxes whose sockets are asked for at the same time.
const OPENING: usize = 4;

/// What all that leaves sandboxes shares.
#[derive(Debug)]
pub(crate) struct Egress {
    pub(crate) record: Record,
    settings: RwLock<Option<Arc<Settings>>>,
    /// Of its own, so that a burst of new sandboxes delays nobody who visits one.
    launcher: Launcher,
    pub(crate) handlers: Arc<Handlers>,
    dialling: Semaphore,
    opening: Semaphore,
    opened: opened::Opened,
    /// Connections run here.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the edge stops.
    pub(crate) stop: CancellationToken,
}

impl Egress {
    pub(crate) fn new(
        launcher: Launcher,
        handlers: Arc<Handlers>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            record: Record::default(),
            settings: RwLock::default(),
            launcher,
            handlers,
            dialling: Semaphore::new(DIALLING),
            opening: Semaphore::new(OPENING),
            opened: opened::Opened::default(),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Authority and trust as the control plane last said, the same `Arc` until it says otherwise;
    /// `None` before its first word.
    pub(crate) fn settings(&self) -> Option<Arc<Settings>> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.clone()
    }

    /// Takes new settings. Those that say the same change nothing.
    pub(crate) fn set(&self, new: Settings) {
        let mut settings = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if settings.as_deref() != Some(&new) {
            *settings = Some(Arc::new(new));
        }
    }
}
