//! Watches whose events are fetched call by call (`CreateWatcher` and its kin).

use super::watch::Wish;
use super::{watch_service, Result};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use tokio::task::AbortHandle;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::filesystem::FilesystemEvent;

/// How many events are kept for a client that does not fetch them.
const MAX_EVENTS: usize = 10_000;
/// How many watchers there may be at once.
const MAX_WATCHERS: usize = 128;

/// Events not yet fetched.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    events: RefCell<VecDeque<FilesystemEvent>>,
    failure: RefCell<Option<Failure>>,
}

impl Backlog {
    /// Keeps what happened, or that something was lost.
    pub(super) fn add(&self, outcome: Result<Vec<FilesystemEvent>>) {
        let mut events = self.events.borrow_mut();
        match outcome {
            Ok(new) if events.len() + new.len() <= MAX_EVENTS => events.extend(new),
            Ok(_) => {
                events.clear();
                let message = format!(
                    "more than {MAX_EVENTS} events waited to be fetched; they were dropped"
                );
                self.failure
                    .replace(Some(Failure::new(Code::DataLoss, message)));
            }
            Err(failure) => {
                self.failure.replace(Some(failure));
            }
        }
    }

    /// What happened since the last call; a loss is told once, before what followed it.
    pub(super) fn take(&self) -> Result<Vec<FilesystemEvent>> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(self.events.take().into()),
        }
    }
}

struct Watcher {
    backlog: Rc<Backlog>,
    task: AbortHandle,
}

/// All watchers of this agent.
#[derive(Default)]
pub(crate) struct Watchers {
    watchers: RefCell<HashMap<String, Watcher>>,
    last: Cell<u64>,
}

impl Watchers {
    /// Starts one and returns its id.
    pub(super) async fn create(&self, wish: Wish) -> Result<String> {
        if self.watchers.borrow().len() >= MAX_WATCHERS {
            let message = format!("there are {MAX_WATCHERS} watchers already; remove one first");
            return Err(Failure::new(Code::ResourceExhausted, message));
        }
        let mut feed = watch_service::Feed::open(wish).await?;
        let backlog = Rc::new(Backlog::default());
        let kept = Rc::clone(&backlog);
        let task = tokio::task::spawn_local(async move {
            loop {
                let outcome = feed.next().await;
                let lost = outcome.as_ref().is_err_and(|f| f.code != Code::DataLoss);
                kept.add(outcome);
                if lost {
                    return;
                }
            }
        });
        self.last.set(self.last.get() + 1);
        let id = format!("w{}", self.last.get());
        let task = task.abort_handle();
        self.watchers
            .borrow_mut()
            .insert(id.clone(), Watcher { backlog, task });
        Ok(id)
    }

    /// What happened since the last call.
    pub(super) fn events(&self, id: &str) -> Result<Vec<FilesystemEvent>> {
        match self.watchers.borrow().get(id) {
            Some(watcher) => watcher.backlog.take(),
            None => Err(unknown(id)),
        }
    }

    /// Ends one.
    pub(super) fn remove(&self, id: &str) -> Result<()> {
        match self.watchers.borrow_mut().remove(id) {
            Some(watcher) => {
                watcher.task.abort();
                Ok(())
            }
            None => Err(unknown(id)),
        }
    }
}

fn unknown(id: &str) -> Failure {
    Failure::new(Code::NotFound, format!("watcher {id} not found"))
}
