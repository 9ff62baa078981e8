//! Which commands there are, and for a while which there were.

use super::{Process, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::process::{End, Selector};

/// How long the end of a command can still be asked for.
const RETENTION: Duration = Duration::from_secs(30);
/// How many ends are kept at most, however fast commands end.
const MAX_ENDED: usize = 1024;

/// What is kept of a command that has ended.
#[derive(Debug)]
struct Ended {
    since: Instant,
    pid: u32,
    tag: Option<String>,
    end: End,
}

/// A command that was found.
#[derive(Debug)]
pub(crate) enum Found {
    Running(Rc<Process>),
    Ended { pid: u32, end: End },
}

/// All commands of this agent.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    running: RefCell<BTreeMap<u32, Rc<Process>>>,
    ended: RefCell<VecDeque<Ended>>,
}

impl Registry {
    /// Adds a command that has just started.
    pub(crate) fn add(&self, process: &Rc<Process>) {
        let mut running = self.running.borrow_mut();
        running.insert(process.pid, Rc::clone(process));
        // Its number may have been another's, whose end is now out of reach.
        let mut ended = self.ended.borrow_mut();
        ended.retain(|old| old.pid != process.pid);
    }

    /// Moves a command to those that have ended.
    pub(crate) fn retire(&self, process: &Rc<Process>, end: End) {
        let mut running = self.running.borrow_mut();
        if running
            .get(&process.pid)
            .is_some_and(|p| Rc::ptr_eq(p, process))
        {
            running.remove(&process.pid);
        }
        let mut ended = self.ended.borrow_mut();
        ended.push_back(Ended {
            since: Instant::now(),
            pid: process.pid,
            tag: process.tag.clone(),
            end,
        });
        if ended.len() > MAX_ENDED {
            ended.pop_front();
        }
    }

    /// Forgets the ends nobody asked for in time. Returns whether any are left.
    pub(crate) fn prune(&self) -> bool {
        let mut ended = self.ended.borrow_mut();
        while ended
            .front()
            .is_some_and(|ended| ended.since.elapsed() >= RETENTION)
        {
            ended.pop_front();
        }
        if ended.is_empty() {
            ended.shrink_to_fit();
        }
        !ended.is_empty()
    }

    /// Every running command, by number.
    pub(crate) fn running(&self) -> Vec<Rc<Process>> {
        self.running.borrow().values().map(Rc::clone).collect()
    }

    /// The running command that is meant.
    ///
    /// # Errors
    /// `not_found`, or `invalid_argument` without a selector.
    pub(crate) fn find_running(&self, selector: Option<&Selector>) -> Result<Rc<Process>> {
        let wanted = Wanted::new(selector)?;
        let running = self.running.borrow();
        let found = running
            .values()
            .find(|p| wanted.is(p.pid, p.tag.as_deref()));
        found.map(Rc::clone).ok_or_else(|| wanted.not_found())
    }

    /// The command that is meant, running or ended less than [`RETENTION`] ago.
    ///
    /// # Errors
    /// As [`Registry::find_running`].
    pub(crate) fn find(&self, selector: Option<&Selector>) -> Result<Found> {
        self.prune();
        let failure = match self.find_running(selector) {
            Ok(process) => return Ok(Found::Running(process)),
            Err(failure) => failure,
        };
        let wanted = Wanted::new(selector)?;
        let ended = self.ended.borrow();
        let found = ended
            .iter()
            .rev()
            .find(|e| wanted.is(e.pid, e.tag.as_deref()));
        let found = found.ok_or(failure)?;
        Ok(Found::Ended {
            pid: found.pid,
            end: found.end.clone(),
        })
    }
}

enum Wanted<'a> {
    Pid(u32),
    Tag(&'a str),
}

impl<'a> Wanted<'a> {
    fn new(selector: Option<&'a Selector>) -> Result<Self> {
        match selector {
            Some(Selector { pid: Some(pid), .. }) => Ok(Self::Pid(*pid)),
            Some(Selector { tag: Some(tag), .. }) => Ok(Self::Tag(tag)),
            _ => Err(Failure::new(
                Code::InvalidArgument,
                "process needs a pid or a tag",
            )),
        }
    }

    fn is(&self, pid: u32, tag: Option<&str>) -> bool {
        match self {
            Self::Pid(wanted) => *wanted == pid,
            Self::Tag(wanted) => tag == Some(*wanted),
        }
    }

    fn not_found(&self) -> Failure {
        let message = match self {
            Self::Pid(pid) => format!("process with pid {pid} not found"),
            Self::Tag(tag) => format!("process with tag {tag} not found"),
        };
        Failure::new(Code::NotFound, message)
    }
}
