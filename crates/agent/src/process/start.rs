//! `Start`: makes a process of a request and attends to it for all its life.

use super::hub::{Hub, Key, Subscription};
use super::input::InputEnd;
use super::job::{Job, Order, Report};
use super::launch::{self, Launched};
use super::pump::{pump, Source};
use super::stdio::{self, AgentSide};
use super::{encode, Process, Result};
use crate::agent::Agent;
use crate::paths;
use crate::users::User;
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch, Mutex};
use tokio::time::sleep;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::process::{End, Event, ProcessConfig, Pty, StartRequest};

/// Where commands without a directory part are looked for, unless the environment says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Told how the command ended, and whether it was for its time being up; says what is passed on.
pub(crate) type AtEnd = Box<dyn FnOnce(End, bool) -> End>;

/// A command, resolved, and what goes with it.
pub(crate) struct Command {
    pub(crate) job: Job,
    /// What the job has open beside its standard streams.
    pub(crate) extra: Vec<OwnedFd>,
    pub(crate) config: ProcessConfig,
    pub(crate) tag: Option<String>,
    pub(crate) pty: Option<Pty>,
    pub(crate) stdin: bool,
    /// It is killed with all its descendants after that time.
    pub(crate) limit: Option<Duration>,
    pub(crate) at_end: Option<AtEnd>,
}

/// Starts a process for `user`, which is killed with all its descendants after `limit`.
///
/// # Errors
/// See [`launch::Launcher::launch`]; `invalid_argument` for a request that can't be one.
pub(crate) async fn start(
    agent: &Rc<Agent>,
    request: StartRequest,
    user: &User,
    limit: Option<Duration>,
) -> Result<(Rc<Process>, Subscription)> {
    let config = request.process.unwrap_or_default();
    let job = job(agent, &config, user, request.pty.is_some())?;
    let command = Command {
        job,
        extra: Vec::new(),
        config,
        tag: request.tag,
        pty: request.pty,
        stdin: request.stdin.unwrap_or(true),
        limit,
        at_end: None,
    };
    let hub = Rc::new(Hub::default());
    let subscription = hub.await_start();
    let process = begin(agent, command, hub, subscription.key.clone()).await?;
    Ok((process, subscription))
}

/// Starts a command that `hub` tells of; `owner` is who asked for it.
///
/// # Errors
/// See [`launch::Launcher::launch`].
pub(crate) async fn begin(
    agent: &Rc<Agent>,
    command: Command,
    hub: Rc<Hub>,
    owner: Key,
) -> Result<Rc<Process>> {
    let made = match command.pty {
        Some(pty) => stdio::terminal(pty.size, command.job.uid),
        None => stdio::pipes(command.stdin),
    };
    let (ours, mut theirs) = made.map_err(|error| {
        let name = &command.config.cmd;
        let message = format!("cannot make pipes or a terminal for '{name}': {error}");
        Failure::new(Code::ResourceExhausted, message)
    })?;
    theirs.extend(command.extra);
    let Launched { pid, control } = agent.launcher.launch(&command.job, theirs).await?;
    let (input, sources) = attach(ours);
    let (orders, inbox) = mpsc::unbounded_channel();
    let process = Rc::new(Process {
        pid,
        tag: command.tag,
        config: command.config,
        hub,
        input,
        orders,
    });
    agent.processes.add(&process);
    // Nobody's queue holds anything yet, so this does not wait.
    process.hub.publish(encode(Event::Start { pid })).await;
    let attendant = Attendant {
        agent: Rc::clone(agent),
        process: Rc::clone(&process),
        control,
        inbox,
        owner,
        at_end: command.at_end,
    };
    tokio::task::spawn_local(attendant.attend(sources, command.limit));
    Ok(process)
}

fn attach(ours: AgentSide) -> (InputEnd, Vec<Source>) {
    match ours {
        AgentSide::Pipes {
            input,
            output,
            error,
        } => (
            InputEnd::Pipe(Mutex::new(input)),
            vec![Source::Stdout(output), Source::Stderr(error)],
        ),
        AgentSide::Terminal(master) => {
            let master = Rc::new(master);
            let source = Source::Terminal(Rc::clone(&master));
            (InputEnd::Terminal(master, Mutex::new(())), vec![source])
        }
    }
}

/// What a supervisor needs to know to run `config` for `user`.
///
/// # Errors
/// `invalid_argument` for a command, directory or variable that can't be one.
pub(crate) fn job(
    agent: &Agent,
    config: &ProcessConfig,
    user: &User,
    terminal: bool,
) -> Result<Job> {
    let invalid = |message: String| Failure::new(Code::InvalidArgument, message);
    if config.cmd.is_empty() {
        return Err(invalid("process.cmd is empty: nothing to run".to_owned()));
    }
    let argv: Vec<Vec<u8>> = std::iter::once(&config.cmd)
        .chain(&config.args)
        .map(|argument| argument.as_bytes().to_vec())
        .collect();
    if argv.iter().any(|a| a.contains(&0)) {
        return Err(invalid(format!(
            "'{}' or one of its arguments contains a NUL byte",
            config.cmd.replace('\0', "\\0")
        )));
    }
    let asked = config.cwd.as_deref().unwrap_or("");
    let default = agent.default_workdir();
    let cwd = paths::resolve(asked.as_bytes(), user, default.as_deref())
        .map_err(|e| invalid(format!("cwd: {e}")))?;
    Ok(Job {
        argv,
        env: environment(agent, config, user)?,
        cwd: cwd.as_os_str().as_bytes().to_vec(),
        cwd_optional: asked.is_empty(),
        terminal,
        usage: false,
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        extra: Vec::new(),
    })
}

/// Later entries win: what everybody gets, what the sandbox says, what the request says.
fn environment(agent: &Agent, config: &ProcessConfig, user: &User) -> Result<Vec<Vec<u8>>> {
    let pairs = variables(agent, &config.envs, user)?.into_iter();
    Ok(pairs
        .map(|(key, value)| [&*key, b"=", &*value].concat())
        .collect())
}

/// The same, name and value apart.
///
/// # Errors
/// `invalid_argument` for what can't be one.
pub(crate) fn variables(
    agent: &Agent,
    asked: &BTreeMap<String, String>,
    user: &User,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let base: [(&[u8], &[u8]); 4] = [
        (b"PATH", PATH.as_bytes()),
        (b"HOME", user.home.as_os_str().as_bytes()),
        (b"USER", user.name.as_bytes()),
        (b"LOGNAME", user.name.as_bytes()),
    ];
    let global = agent.env();
    let given = global
        .iter()
        .chain(asked)
        .map(|(key, value)| (key.as_bytes(), value.as_bytes()));
    let mut pairs = BTreeMap::new();
    for (key, value) in base.into_iter().chain(given) {
        if key.is_empty() || key.contains(&b'=') || key.contains(&0) || value.contains(&0) {
            let key = String::from_utf8_lossy(key).replace('\0', "\\0");
            return Err(Failure::new(
                Code::InvalidArgument,
                format!("environment variable '{key}': the name is empty or holds '=', or name or value holds NUL"),
            ));
        }
        pairs.insert(key.to_vec(), value.to_vec());
    }
    Ok(pairs)
}

/// Looks after one process from start to end.
struct Attendant {
    agent: Rc<Agent>,
    process: Rc<Process>,
    control: UnixStream,
    inbox: mpsc::UnboundedReceiver<Order>,
    /// The stream of the request that started it.
    owner: Key,
    at_end: Option<AtEnd>,
}

impl Attendant {
    async fn attend(mut self, sources: Vec<Source>, limit: Option<Duration>) {
        let (exited, seen) = watch::channel(false);
        let (done, mut all_done) = mpsc::channel(1);
        for source in sources {
            let process = Rc::clone(&self.process);
            tokio::task::spawn_local(pump(source, process, seen.clone(), done.clone()));
        }
        drop((done, seen));
        let (end, late) = self.until_end(limit).await;
        // Nobody is left to receive once all output has ended.
        let _ = exited.send(true);
        let _ = all_done.recv().await;
        let end = match self.at_end.take() {
            Some(at_end) => at_end(end, late),
            None => end,
        };
        self.finish(end);
        // The supervisor stays for what the command left running; it ends by itself.
        while launch::report(&mut self.control).await.is_some() {}
    }

    /// How it ended, and whether its time was up.
    async fn until_end(&mut self, limit: Option<Duration>) -> (End, bool) {
        let deadline = async {
            match limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(deadline);
        let mut late = false;
        loop {
            tokio::select! {
                report = launch::report(&mut self.control) => {
                    let end = match report {
                        Some(Report::Exited { code }) => End::exited(code),
                        Some(Report::Signaled { signal, core_dumped }) => End::signaled(signal, core_dumped),
                        _ => End::lost("the supervisor of the process was killed"),
                    };
                    return (end, late);
                }
                Some(order) = self.inbox.recv() => launch::send(&mut self.control, order).await,
                () = &mut deadline, if !late => {
                    late = true;
                    let took = limit.unwrap_or_default().as_millis();
                    let message = format!("the process ran longer than {took} ms and was killed");
                    let failure = Failure::new(Code::DeadlineExceeded, message);
                    self.process.hub.disconnect(&self.owner, failure);
                    launch::send(&mut self.control, Order::KillTree).await;
                }
            }
        }
    }

    fn finish(&self, end: End) {
        let last = encode(Event::End(end.clone()));
        // In one step: who connects finds it running and hears the end, or finds it ended.
        self.process.hub.finish(&last);
        self.agent.retire(&self.process, end);
    }
}
