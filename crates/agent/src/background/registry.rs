//! Which background processes there are.

use super::attendant::{self, Running};
use super::log::Log;
use super::request::Asked;
use super::status::{Status, View};
use super::{usage, Background, Phase};
use crate::agent::Agent;
use crate::http::native::Problem;
use http::StatusCode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// How many there may be, ended ones included.
const MOST: usize = 256;
/// How long a process that is removed has to end by itself.
pub(super) const REMOVAL_GRACE: Duration = Duration::from_secs(5);

/// What a name stands for.
#[derive(Clone, Debug)]
enum Entry {
    Known(Rc<Background>),
    /// One is being started, in the place of an ended one perhaps.
    Starting(Option<Rc<Background>>),
    /// Its log is being removed.
    Leaving,
}

/// All background processes.
#[derive(Debug)]
pub(crate) struct Registry {
    logs: PathBuf,
    entries: RefCell<BTreeMap<String, Entry>>,
    changed: Notify,
}

impl Registry {
    /// None yet; their logs will lie in `logs`.
    pub(crate) fn new(logs: PathBuf) -> Self {
        Self {
            logs,
            entries: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// The process called `name`.
    ///
    /// # Errors
    /// 404 `process_not_found`.
    pub(super) fn find(&self, name: &str) -> Result<Rc<Background>, Problem> {
        match self.entries.borrow().get(name) {
            Some(Entry::Known(process) | Entry::Starting(Some(process))) => Ok(Rc::clone(process)),
            _ => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "process_not_found",
                format!("there is no process '{name}'"),
            )),
        }
    }

    /// All, by name.
    pub(super) fn all(&self) -> Vec<Rc<Background>> {
        let entries = self.entries.borrow();
        let known = entries.values().filter_map(|entry| match entry {
            Entry::Known(process) => Some(Rc::clone(process)),
            _ => None,
        });
        known.collect()
    }

    /// Makes room for one more: the process that ended longest ago is forgotten.
    async fn make_room(&self) {
        while self.entries.borrow().len() >= MOST {
            let gone = self.all().into_iter().filter(|p| p.phase() == Phase::Gone);
            match gone.min_by_key(|p| p.status.borrow().ended_at) {
                Some(oldest) => self.remove(oldest).await,
                None => return,
            }
        }
    }

    /// Waits until no log of that name is being removed.
    async fn settled(&self, name: &str) {
        loop {
            let changed = self.changed.notified();
            if !matches!(self.entries.borrow().get(name), Some(Entry::Leaving)) {
                return;
            }
            changed.await;
        }
    }

    /// Takes the name for a start.
    fn reserve(&self, asked: &Asked) -> Result<(String, Option<Rc<Background>>), Problem> {
        let mut entries = self.entries.borrow_mut();
        let name = match &asked.name {
            Some(name) => name.clone(),
            None => free_name(&entries, &asked.stem),
        };
        let before = match entries.get(&name) {
            None => None,
            Some(Entry::Known(old)) if old.phase() >= Phase::Ended => Some(Rc::clone(old)),
            Some(_) => {
                let message = format!("a process '{name}' is running");
                let problem = Problem::new(StatusCode::CONFLICT, "process_exists", message);
                return Err(problem.hint("stop or remove it first, or take another name"));
            }
        };
        if entries.len() >= MOST && before.is_none() {
            let message = format!("there are {MOST} background processes already");
            let status = StatusCode::TOO_MANY_REQUESTS;
            let problem = Problem::new(status, "too_many_processes", message);
            return Err(problem.hint("remove some"));
        }
        entries.insert(name.clone(), Entry::Starting(before.clone()));
        Ok((name, before))
    }

    /// Starts a process.
    ///
    /// # Errors
    /// 409 `process_exists`, 429 `too_many_processes`, and what is wrong with the command.
    pub(super) async fn start(agent: &Rc<Agent>, asked: Asked) -> Result<Rc<Background>, Problem> {
        let registry = &agent.background;
        if let Some(name) = &asked.name {
            registry.settled(name).await;
        }
        registry.make_room().await;
        let (name, before) = registry.reserve(&asked)?;
        if let Some(before) = &before {
            // What it left running may hold what the new one needs.
            before.stop(REMOVAL_GRACE).await;
        }
        match Running::start(agent, &asked.plan.job).await {
            Ok(running) => {
                if let Some(before) = before {
                    // The files of the new log take the place of its own.
                    before.log.abandon().await;
                }
                let log = Log::new(registry.logs.join(&name), asked.log_limit);
                let process = attendant::attend(agent, name.clone(), asked.plan, log, running);
                registry.set(name, Some(Entry::Known(Rc::clone(&process))));
                Ok(process)
            }
            Err(failure) => {
                registry.set(name, before.map(Entry::Known));
                Err(failure.into())
            }
        }
    }

    fn set(&self, name: String, entry: Option<Entry>) {
        let mut entries = self.entries.borrow_mut();
        match entry {
            Some(entry) => entries.insert(name, entry),
            None => entries.remove(&name),
        };
    }

    /// Ends a process and forgets it, with its log.
    pub(super) async fn remove(&self, process: Rc<Background>) {
        process.stop(REMOVAL_GRACE).await;
        let is_it = |entry: &Entry| matches!(entry, Entry::Known(p) if Rc::ptr_eq(p, &process));
        // Somebody else may have removed or replaced it meanwhile.
        if self.entries.borrow().get(&process.name).is_some_and(is_it) {
            self.set(process.name.clone(), Some(Entry::Leaving));
            process.log.remove().await;
            self.set(process.name.clone(), None);
            self.changed.notify_waiters();
        }
    }

    /// How `process` is.
    pub(super) async fn view(&self, process: &Background) -> View {
        let status = process.status.borrow().clone();
        let live = match status.pid {
            Some(pid) => look(vec![pid]).await.remove(&pid),
            None => None,
        };
        View::new(
            &process.name,
            &process.plan.command,
            &status,
            live,
            &process.log,
        )
    }

    /// How all are.
    pub(super) async fn views(&self) -> Vec<View> {
        let all = self.all();
        let statuses: Vec<Status> = all.iter().map(|p| p.status.borrow().clone()).collect();
        let mut live = look(statuses.iter().filter_map(|s| s.pid).collect()).await;
        let shown = all.iter().zip(&statuses).map(|(process, status)| {
            let live = status.pid.and_then(|pid| live.remove(&pid));
            View::new(
                &process.name,
                &process.plan.command,
                status,
                live,
                &process.log,
            )
        });
        shown.collect()
    }
}

async fn look(pids: Vec<u32>) -> std::collections::HashMap<u32, super::status::Used> {
    if pids.is_empty() {
        return std::collections::HashMap::new();
    }
    let look = tokio::task::spawn_blocking(move || usage::look(&pids));
    look.await.unwrap_or_default()
}

/// A name nobody has: the command's, and a number behind it where that is taken.
fn free_name(entries: &BTreeMap<String, Entry>, stem: &str) -> String {
    let numbered = (2..).map(|n| format!("{stem}-{n}"));
    let mut names = std::iter::once(stem.to_owned()).chain(numbered);
    names
        .find(|name| !entries.contains_key(name))
        .unwrap_or_else(|| stem.to_owned())
}
