//! What all parts of the agent share.

use crate::background;
use crate::filesystem::watchers::Watchers;
use crate::process::launch::Launcher;
use crate::process::registry::Registry;
use crate::process::Process;
use crate::sessions::Sessions;
use crate::terminals;
use crate::users::{self, User};
use crate::watch::registry::Trees;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use wardian_wire::boot::Boot;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::process::End;
use wardian_wire::token;

/// How often what is kept for late callers is looked through.
const PRUNE: Duration = Duration::from_secs(10);

/// The agent of this sandbox.
pub(crate) struct Agent {
    settings: RefCell<Boot>,
    /// Variables that lead programs to what they are to trust, where nothing else sets them; `None`
    /// outside a sandbox, where certificates are the machine's.
    trusted: RefCell<Option<BTreeMap<String, String>>>,
    pub(crate) launcher: Launcher,
    pub(crate) processes: Registry,
    pub(crate) watchers: Watchers,
    pub(crate) trees: Rc<Trees>,
    pub(crate) terminals: terminals::Registry,
    pub(crate) background: background::Registry,
    pub(crate) sessions: Sessions,
    pruning: Cell<bool>,
}

/// What `/init` may change; `None` leaves a thing as it is.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) access_token: Option<String>,
    /// `None` takes a variable away.
    pub(crate) env: Option<BTreeMap<String, Option<String>>>,
    pub(crate) default_user: Option<String>,
    pub(crate) default_workdir: Option<String>,
}

impl Agent {
    /// An agent that was told `boot`; logs of background processes lie in `logs`, and `trusted`
    /// leads programs to certificates; `None`: none may be installed here.
    pub(crate) fn new(
        boot: Boot,
        trusted: Option<BTreeMap<String, String>>,
        logs: PathBuf,
    ) -> Self {
        Self {
            settings: RefCell::new(boot),
            trusted: RefCell::new(trusted),
            launcher: Launcher::default(),
            processes: Registry::default(),
            watchers: Watchers::default(),
            trees: Rc::default(),
            terminals: terminals::Registry::default(),
            background: background::Registry::new(logs),
            sessions: Sessions::default(),
            pruning: Cell::new(false),
        }
    }

    /// Whether `given` opens this agent: it is the token, or there is none.
    pub(crate) fn admits(&self, given: Option<&[u8]>) -> bool {
        match &self.settings.borrow().access_token {
            None => true,
            Some(token) => given.is_some_and(|given| token::same(given, token.as_bytes())),
        }
    }

    /// The access token, to check signatures with.
    pub(crate) fn access_token(&self) -> Option<String> {
        self.settings.borrow().access_token.clone()
    }

    /// Environment of every command.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.trusted.borrow().clone().unwrap_or_default();
        env.extend(self.settings.borrow().env.clone());
        env
    }

    /// Whether certificates may be installed where this agent is.
    pub(crate) fn may_trust(&self) -> bool {
        self.trusted.borrow().is_some()
    }

    /// Has commands find certificates by `variables`, unless they or the sandbox say otherwise.
    pub(crate) fn trust(&self, variables: BTreeMap<String, String>) {
        let settings = self.settings.borrow();
        let unset = variables
            .iter()
            .filter(|(name, _)| !settings.env.contains_key(*name));
        let changes = unset.map(|(name, value)| (name.clone(), Some(value.clone())));
        self.sessions.change_env(&changes.collect());
        drop(settings);
        *self.trusted.borrow_mut() = Some(variables);
    }

    /// Where a command that names no directory starts.
    pub(crate) fn default_workdir(&self) -> Option<PathBuf> {
        let settings = self.settings.borrow();
        settings.default_workdir.as_ref().map(PathBuf::from)
    }

    /// Memory in bytes, thousandths of a CPU, disk in bytes.
    pub(crate) fn limits(&self) -> (u64, u32, u64) {
        let settings = self.settings.borrow();
        (
            settings.memory_bytes,
            settings.cpu_millis,
            settings.disk_bytes,
        )
    }

    /// The user called `name`, or the default one.
    ///
    /// # Errors
    /// `unauthenticated` if there is no such user.
    pub(crate) fn user(&self, name: Option<&str>) -> Result<User, Failure> {
        let found = match name {
            Some(name) => users::lookup(name),
            None => users::lookup(&self.settings.borrow().default_user),
        };
        found.map_err(|error| Failure::new(Code::Unauthenticated, error.to_string()))
    }

    /// Takes over what `/init` says.
    pub(crate) fn change(&self, changes: Changes) {
        let mut settings = self.settings.borrow_mut();
        if let Some(token) = changes.access_token {
            settings.access_token = Some(token);
        }
        if let Some(env) = changes.env {
            self.sessions.change_env(&env);
            for (name, value) in env {
                match value {
                    Some(value) => settings.env.insert(name, value),
                    None => settings.env.remove(&name),
                };
            }
        }
        if let Some(user) = changes.default_user {
            settings.default_user = user;
        }
        if let Some(workdir) = changes.default_workdir {
            settings.default_workdir = Some(workdir);
        }
    }

    /// Moves a process to those that have ended, for a while.
    pub(crate) fn retire(self: &Rc<Self>, process: &Rc<Process>, end: End) {
        self.processes.retire(process, end);
        if self.pruning.replace(true) {
            return;
        }
        let agent = Rc::clone(self);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(PRUNE).await;
                if !agent.processes.prune() {
                    break;
                }
            }
            agent.pruning.set(false);
        });
    }
}
