//! Sessions: what a shell is, kept between commands as data, given to a fresh bash for each
//! command and taken back when that ends ([`wardian_wire::session`] has the words).

pub(crate) mod command;
mod descriptors;
pub(crate) mod run;
pub(crate) mod service;
mod view;

use crate::agent::Agent;
use crate::paths;
use crate::process::hub::Subscription;
use crate::process::start::variables;
use crate::process::Process;
use crate::users::User;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use tokio::time::Instant;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::session::{is_name, quote, State};

/// How many sessions there may be, ended ones too.
const MAX_SESSIONS: usize = 256;
/// How much all sessions may hold together, in bytes.
const MAX_HELD: usize = 64 * 1024 * 1024;
/// How long an ended session tells how it ended.
const RETENTION: Duration = Duration::from_secs(3600);
/// Where bash is looked for.
const BASH: [&str; 3] = ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"];

type Result<T> = std::result::Result<T, Failure>;

/// One session.
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) user: User,
    created_at: SystemTime,
    /// Who holds it runs a command; the others wait in line.
    turn: Arc<Mutex<()>>,
    /// Variables that no shell can have, as `NAME=value`: commands get them all the same.
    foreign: Vec<Vec<u8>>,
    /// Variables it was made with, which a change of the sandbox's does not reach.
    own: BTreeSet<String>,
    /// How many commands stand in line.
    waiting: Cell<usize>,
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    state: State,
    /// Changes of the sandbox's environment that its shell has not seen.
    changes: BTreeMap<String, Option<String>>,
    commands: u64,
    running: Option<Rc<Process>>,
    /// With which code, and when.
    ended: Option<(i32, Instant)>,
    closed: bool,
}

/// What makes a session.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) name: Option<String>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) user: Option<String>,
}

/// Why a session was not made.
pub(crate) enum Refused {
    Exists(String),
    TooMany,
    NoBash,
    Failed(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// All sessions of this sandbox.
#[derive(Default)]
pub(crate) struct Sessions {
    all: RefCell<BTreeMap<String, Rc<Session>>>,
    /// The last number that made a name.
    made: Cell<u64>,
}

impl Sessions {
    /// Makes a session.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn create(
        &self,
        agent: &Agent,
        wanted: Wanted,
    ) -> std::result::Result<Rc<Session>, Refused> {
        self.prune();
        if let Some(name) = wanted
            .name
            .as_ref()
            .filter(|n| self.all.borrow().contains_key(*n))
        {
            return Err(Refused::Exists(name.clone()));
        }
        if self.all.borrow().len() >= MAX_SESSIONS {
            return Err(Refused::TooMany);
        }
        if bash().is_none() {
            return Err(Refused::NoBash);
        }
        let name = wanted.name.clone().unwrap_or_else(|| self.free_name());
        let session = Rc::new(make(agent, name, wanted)?);
        let mut all = self.all.borrow_mut();
        all.insert(session.name.clone(), Rc::clone(&session));
        Ok(session)
    }

    /// The session called `name`.
    ///
    /// # Errors
    /// `not_found`.
    pub(crate) fn find(&self, name: &str) -> Result<Rc<Session>> {
        self.prune();
        let all = self.all.borrow();
        all.get(name).map(Rc::clone).ok_or_else(|| missing(name))
    }

    /// Every session, by name.
    pub(crate) fn all(&self) -> Vec<Rc<Session>> {
        self.prune();
        self.all.borrow().values().map(Rc::clone).collect()
    }

    /// Forgets a session. Its running command is killed, those that wait are refused.
    ///
    /// # Errors
    /// `not_found`.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let session = self.all.borrow_mut().remove(name);
        let session = session.ok_or_else(|| missing(name))?;
        let mut inner = session.inner.borrow_mut();
        inner.closed = true;
        if let Some(process) = inner.running.take() {
            process.signal(libc::SIGKILL);
        }
        Ok(())
    }

    /// The sandbox's environment changes: sessions follow with their next command.
    pub(crate) fn change_env(&self, changes: &BTreeMap<String, Option<String>>) {
        for session in self.all.borrow().values() {
            let mut inner = session.inner.borrow_mut();
            let names = changes.iter().filter(|(name, value)| {
                let fit = value.as_ref().is_none_or(|v| !v.contains('\0'));
                is_name(name.as_bytes()) && fit && !session.own.contains(*name)
            });
            inner
                .changes
                .extend(names.map(|(n, v)| (n.clone(), v.clone())));
        }
    }

    /// Whether `more` bytes in place of `less` are within what all may hold.
    fn has_room(&self, less: usize, more: usize) -> bool {
        let all = self.all.borrow();
        let held: usize = all.values().map(|s| s.inner.borrow().state.size()).sum();
        held.saturating_sub(less) + more <= MAX_HELD
    }

    fn free_name(&self) -> String {
        loop {
            let number = self.made.get() + 1;
            self.made.set(number);
            let name = format!("session-{number}");
            if !self.all.borrow().contains_key(&name) {
                return name;
            }
        }
    }

    fn prune(&self) {
        self.all.borrow_mut().retain(|_, session| {
            let ended = session.inner.borrow().ended;
            ended.is_none_or(|(_, since)| since.elapsed() < RETENTION)
        });
    }
}

fn missing(name: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no session '{name}'"))
}

fn make(agent: &Agent, name: String, wanted: Wanted) -> Result<Session> {
    let user = agent.user(wanted.user.as_deref())?;
    let default = agent.default_workdir();
    let cwd = paths::resolve(&wanted.cwd, &user, default.as_deref())
        .map_err(|e| Failure::new(Code::InvalidArgument, format!("cwd: {e}")))?;
    if !cwd.is_dir() {
        if !wanted.cwd.is_empty() {
            let message = format!("cwd '{}' is no directory", cwd.display());
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        // As for commands: a default that is not there is no reason to fail.
        return make(
            agent,
            name,
            Wanted {
                cwd: b"/".to_vec(),
                ..wanted
            },
        );
    }
    let mut foreign = Vec::new();
    let mut statements = Vec::new();
    for (key, value) in variables(agent, &wanted.env, &user)? {
        if is_name(&key) {
            statements.extend([b"declare -x ", &*key, b"="].concat());
            quote::push_quoted(&mut statements, &value);
            statements.push(b'\n');
        } else {
            foreign.push([&*key, b"=", &*value].concat());
        }
    }
    let state = State {
        fresh: true,
        cwd: cwd.as_os_str().as_bytes().to_vec(),
        variables: statements,
        ..State::default()
    };
    Ok(Session {
        name,
        user,
        created_at: SystemTime::now(),
        turn: Arc::default(),
        foreign,
        own: wanted.env.into_keys().collect(),
        waiting: Cell::new(0),
        inner: RefCell::new(Inner {
            state,
            ..Inner::default()
        }),
    })
}

/// Where this sandbox has bash.
pub(crate) fn bash() -> Option<&'static str> {
    BASH.into_iter().find(|path| Path::new(path).is_file())
}

impl Session {
    /// Notes its running command, which has no use if the session was removed just before.
    fn runs(&self, process: &Rc<Process>) {
        let mut inner = self.inner.borrow_mut();
        if inner.closed {
            process.signal(libc::SIGKILL);
        } else {
            inner.running = Some(Rc::clone(process));
        }
    }

    /// How it ended, if it has.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.inner.borrow().ended.map(|(code, _)| code)
    }

    /// Whether commands can be given to it.
    ///
    /// # Errors
    /// `failed_precondition` once ended, `not_found` once removed.
    pub(crate) fn is_open(&self) -> Result<()> {
        if self.inner.borrow().closed {
            return Err(missing(&self.name));
        }
        match self.exit_code() {
            None => Ok(()),
            Some(code) => Err(Failure::new(
                Code::FailedPrecondition,
                format!(
                    "session_ended: session '{}' has ended with exit code {code}",
                    self.name
                ),
            )),
        }
    }
}
