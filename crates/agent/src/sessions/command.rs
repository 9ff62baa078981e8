//! A command of a session: waits for its turn, runs in a shell of its own, and leaves the session
//! what that shell has become.

use super::{descriptors, Result, Session, Subscription};
use crate::agent::Agent;
use crate::paths;
use crate::process::hub::{Hub, Key};
use crate::process::job::Job;
use crate::process::start::{self, AtEnd, Command};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::process::{End, Input, ProcessConfig, SessionError, StartRequest};
use wardian_wire::session::report::{self, Unreadable, MAX_REPORT};
use wardian_wire::session::script::{self, DRIVER, INPUT_FD, REPORT_FD};
use wardian_wire::session::{is_name, State};

/// One command on its way.
struct Turn {
    agent: Rc<Agent>,
    session: Rc<Session>,
    hub: Rc<Hub>,
    owner: Key,
    config: ProcessConfig,
    tag: Option<String>,
    stdin: bool,
    input: Option<Vec<u8>>,
    cwd: Option<Vec<u8>>,
    limit: Option<Duration>,
}

/// What the shell is started with, and what of it is the command's alone.
struct Prepared {
    input: OwnedFd,
    report: OwnedFd,
    theirs: OwnedFd,
    cwd: Vec<u8>,
    sent: BTreeMap<String, Option<String>>,
}

/// Runs `process.cmd` as a command line of the session the request names. The stream begins at
/// once, and is silent until the command's turn comes.
///
/// # Errors
/// `not_found`, `failed_precondition` once the session has ended, `invalid_argument` for a request
/// that can't be one.
pub(crate) fn start(
    agent: &Rc<Agent>,
    request: StartRequest,
    user: Option<&str>,
    limit: Option<Duration>,
) -> Result<Subscription> {
    give(agent, request, user, limit, None)
}

/// The same; all of `input`, if there is any, goes to the command's standard input.
///
/// # Errors
/// As [`start`].
pub(super) fn give(
    agent: &Rc<Agent>,
    request: StartRequest,
    user: Option<&str>,
    limit: Option<Duration>,
    input: Option<Vec<u8>>,
) -> Result<Subscription> {
    let session = agent
        .sessions
        .find(request.session.as_deref().unwrap_or(""))?;
    session.is_open()?;
    let config = request.process.unwrap_or_default();
    check(&session, &config, user, request.pty.is_some())?;
    let cwd = match config.cwd.as_deref() {
        None | Some("") => None,
        Some(cwd) => {
            let path = paths::resolve(cwd.as_bytes(), &session.user, None);
            let path = path.map_err(|e| invalid(format!("cwd: {e}")))?;
            Some(path.as_os_str().as_bytes().to_vec())
        }
    };
    let hub = Rc::new(Hub::default());
    let subscription = hub.await_start();
    let turn = Turn {
        agent: Rc::clone(agent),
        session,
        hub,
        owner: subscription.key.clone(),
        config,
        tag: request.tag,
        stdin: request.stdin.unwrap_or(true),
        input,
        cwd,
        limit,
    };
    tokio::task::spawn_local(turn.wait());
    Ok(subscription)
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

fn check(
    session: &Session,
    config: &ProcessConfig,
    user: Option<&str>,
    terminal: bool,
) -> Result<()> {
    let name = &session.name;
    if let Some(user) = user.filter(|user| *user != session.user.name) {
        let owner = &session.user.name;
        return Err(invalid(format!(
            "session '{name}' is {owner}'s, not {user}'s"
        )));
    }
    if terminal {
        return Err(invalid(
            "a session's commands have no terminal: use a terminal instead",
        ));
    }
    if config.cmd.trim().is_empty() || !config.args.is_empty() {
        return Err(invalid(
            "process.cmd must be the session's command line, and process.args empty",
        ));
    }
    if config.cmd.contains('\0') {
        return Err(invalid("the command line contains a NUL byte"));
    }
    for (key, value) in &config.envs {
        if !is_name(key.as_bytes()) || value.contains('\0') {
            let key = key.replace('\0', "\\0");
            return Err(invalid(format!(
                "environment variable '{key}': no shell can have it"
            )));
        }
    }
    Ok(())
}

impl Turn {
    /// A client that leaves before its turn has come is not waited for: its command never runs.
    async fn wait(self) {
        let waiting = &self.session.waiting;
        waiting.set(waiting.get() + 1);
        let line = Arc::clone(&self.session.turn).lock_owned();
        let guard = tokio::select! {
            guard = line => Some(guard),
            () = self.owner.left() => None,
        };
        waiting.set(waiting.get().saturating_sub(1));
        let Some(guard) = guard else { return };
        if self.hub.is_empty() {
            return;
        }
        let prepared = self.session.is_open().and_then(|()| self.prepare());
        match prepared {
            Ok(prepared) => self.run(prepared, guard).await,
            Err(failure) => self.hub.disconnect(&self.owner, failure),
        }
    }

    fn prepare(&self) -> Result<Prepared> {
        let mut inner = self.session.inner.borrow_mut();
        inner.commands += 1;
        let sent = inner.changes.clone();
        let changed = sent.iter().map(|(k, v)| (k.as_str(), v.as_deref()));
        let alone = self.config.envs.iter();
        let command = script::Command {
            line: self.config.cmd.as_bytes(),
            cwd: self.cwd.as_deref(),
            env: changed
                .chain(alone.map(|(k, v)| (k.as_str(), Some(v.as_str()))))
                .collect(),
        };
        let text = script::restore(&inner.state, &command);
        let exhausted = |error: rustix::io::Errno| {
            let name = &self.session.name;
            let message = format!("session '{name}': no memory for its shell: {error}");
            Failure::new(Code::ResourceExhausted, message)
        };
        let report = descriptors::report().map_err(exhausted)?;
        let theirs = report.try_clone().map_err(|e| {
            exhausted(rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::MFILE))
        })?;
        Ok(Prepared {
            input: descriptors::input(&text).map_err(exhausted)?,
            report,
            theirs,
            cwd: self.cwd.clone().unwrap_or_else(|| inner.state.cwd.clone()),
            sent,
        })
    }

    async fn run(self, prepared: Prepared, guard: OwnedMutexGuard<()>) {
        let session = self.session;
        let user = &session.user;
        let Some(bash) = super::bash() else {
            let message = "unsupported: bash is gone from this sandbox";
            self.hub
                .disconnect(&self.owner, Failure::new(Code::FailedPrecondition, message));
            return;
        };
        let job = Job {
            argv: [bash, "-c", DRIVER, "bash"]
                .map(|a| a.as_bytes().to_vec())
                .into(),
            env: session.foreign.clone(),
            cwd: prepared.cwd,
            cwd_optional: false,
            terminal: false,
            uid: user.uid,
            gid: user.gid,
            groups: user.groups.clone(),
            usage: false,
            extra: vec![INPUT_FD.into(), REPORT_FD.into()],
        };
        let names = self.config.envs.keys().cloned().collect();
        let outcome = Outcome {
            agent: Rc::clone(&self.agent),
            session: Rc::clone(&session),
            report: prepared.report,
            names,
            elsewhere: self.cwd.is_some(),
            sent: prepared.sent,
            guard,
        };
        let at_end: AtEnd = Box::new(|end, late| outcome.take(end, late));
        let command = Command {
            job,
            extra: vec![prepared.input, prepared.theirs],
            config: self.config,
            tag: self.tag,
            pty: None,
            stdin: self.stdin,
            limit: self.limit,
            at_end: Some(at_end),
        };
        let hub = Rc::clone(&self.hub);
        match start::begin(&self.agent, command, hub, self.owner.clone()).await {
            Ok(process) => {
                session.runs(&process);
                if let Some(bytes) = self.input {
                    let input = Input {
                        stdin: Some(bytes),
                        pty: None,
                    };
                    // It may end without reading all of it: what it leaves says the rest.
                    let _ = process.input.write(input).await;
                    let _ = process.input.close().await;
                }
            }
            Err(failure) => {
                let failure = explain(&session, failure, self.cwd.is_none());
                self.hub.disconnect(&self.owner, failure);
            }
        }
    }
}

/// A session's directory that is gone is not replaced by another: `rm -rf *` may be next.
fn explain(session: &Session, failure: Failure, own_directory: bool) -> Failure {
    if !own_directory || !failure.message.starts_with("cwd ") {
        return failure;
    }
    let message = format!(
        "session_directory: the directory of session '{}' can't be entered: {}; make it again \
         with a command that has a cwd of its own, or close the session",
        session.name, failure.message
    );
    Failure::new(Code::FailedPrecondition, message)
}

/// What is done when the shell has ended. Dropping it lets the next command run.
struct Outcome {
    agent: Rc<Agent>,
    session: Rc<Session>,
    report: OwnedFd,
    names: Vec<String>,
    elsewhere: bool,
    sent: BTreeMap<String, Option<String>>,
    guard: OwnedMutexGuard<()>,
}

impl Outcome {
    fn take(self, mut end: End, late: bool) -> End {
        self.session.inner.borrow_mut().running = None;
        if late || !end.exited {
            return end;
        }
        match self.learn() {
            Ok(Some(state)) => self.keep(state),
            Ok(None) => {
                let mut inner = self.session.inner.borrow_mut();
                inner.ended = Some((end.exit_code, Instant::now()));
                inner.state = State {
                    cwd: std::mem::take(&mut inner.state.cwd),
                    ..State::default()
                };
                end.session_ended = true;
            }
            Err(error) => end.session_error = Some(error),
        }
        drop(self.guard);
        end
    }

    /// What the shell has become; `None` if it ended before it could say so.
    fn learn(&self) -> std::result::Result<Option<State>, SessionError> {
        let name = &self.session.name;
        let error = |code, why: String| SessionError {
            code,
            message: format!("session '{name}' is what it was before this command: {why}"),
        };
        let bytes = descriptors::written(&self.report)
            .map_err(|e| error("session_unreadable", format!("its shell's report: {e}")))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut state = report::parse(&bytes).map_err(|why| match why {
            Unreadable::TooLong => error(
                "session_too_large",
                format!("variables and functions are more than {MAX_REPORT} bytes"),
            ),
            Unreadable::Garbled => {
                error("session_unreadable", format!("its shell's report: {why}"))
            }
        })?;
        let inner = self.session.inner.borrow();
        let before = &inner.state;
        let alone = self.names.iter().map(String::as_str);
        if self.elsewhere {
            state.cwd.clone_from(&before.cwd);
            state.directories.clone_from(&before.directories);
            state.keep_variables(before, alone.chain(["OLDPWD"]));
        } else {
            state.keep_variables(before, alone);
        }
        let (less, more) = (before.size(), state.size());
        drop(inner);
        if self.agent.sessions.has_room(less, more) {
            Ok(Some(state))
        } else {
            let why = "all sessions of the sandbox together hold too much";
            Err(error("session_too_large", why.to_owned()))
        }
    }

    fn keep(&self, state: State) {
        let mut inner = self.session.inner.borrow_mut();
        inner.state = state;
        // What came while it ran is still to be told, and what was hidden from it too.
        inner
            .changes
            .retain(|name, value| self.sent.get(name) != Some(value) || self.names.contains(name));
    }
}
