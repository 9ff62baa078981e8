//! `Start`: makes a process of a request and attends to it for all its life.

use super::hub::{Key, Subscription};
use super::input::InputEnd;
use super::job::{Job, Order, Report};
use super::launch::{self, Launched};
use super::pump::{pump, Source};
use super::stdio::{self, AgentSide};
use super::{encode, Process, Result};
use crate::agent::Agent;
use crate::paths;
use crate::users::User;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch, Mutex};
use tokio::time::sleep;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::process::{End, Event, ProcessConfig, StartRequest};

/// Where commands without a directory part are looked for, unless the environment says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts a process for `user`, which is killed with all its descendants after `limit`.
///
/// # Errors
/// See [`launch::Launcher::launch`]; `invalid_argument` for a request that can't be one.
pub(super) async fn start(
    agent: &Rc<Agent>,
    request: StartRequest,
    user: &User,
    limit: Option<Duration>,
) -> Result<Subscription> {
    let config = request.process.unwrap_or_default();
    let job = job(agent, &config, user, request.pty.is_some())?;
    let made = match request.pty {
        Some(pty) => stdio::terminal(pty.size, user.uid),
        None => stdio::pipes(request.stdin.unwrap_or(true)),
    };
    let (ours, theirs) = made.map_err(|error| {
        let message = format!(
            "cannot make pipes or a terminal for '{}': {error}",
            config.cmd
        );
        Failure::new(Code::ResourceExhausted, message)
    })?;
    let Launched { pid, control } = agent.launcher.launch(&job, theirs).await?;
    let (input, sources) = match ours {
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
    };
    let (orders, inbox) = mpsc::unbounded_channel();
    let process = Rc::new(Process {
        pid,
        tag: request.tag,
        config,
        hub: super::hub::Hub::default(),
        input,
        orders,
    });
    let subscription = process.hub.subscribe(encode(Event::Start { pid }));
    agent.processes.add(&process);
    let attendant = Attendant {
        agent: Rc::clone(agent),
        process,
        control,
        inbox,
        owner: subscription.key.clone(),
    };
    tokio::task::spawn_local(attendant.attend(sources, limit));
    Ok(subscription)
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
    })
}

/// Later entries win: what everybody gets, what the sandbox says, what the request says.
fn environment(agent: &Agent, config: &ProcessConfig, user: &User) -> Result<Vec<Vec<u8>>> {
    let base: [(&[u8], &[u8]); 4] = [
        (b"PATH", PATH.as_bytes()),
        (b"HOME", user.home.as_os_str().as_bytes()),
        (b"USER", user.name.as_bytes()),
        (b"LOGNAME", user.name.as_bytes()),
    ];
    let global = agent.env();
    let given = global
        .iter()
        .chain(&config.envs)
        .map(|(key, value)| (key.as_bytes(), value.as_bytes()));
    let mut pairs = Vec::new();
    for (key, value) in base.into_iter().chain(given) {
        if key.is_empty() || key.contains(&b'=') || key.contains(&0) || value.contains(&0) {
            let key = String::from_utf8_lossy(key).replace('\0', "\\0");
            return Err(Failure::new(
                Code::InvalidArgument,
                format!("environment variable '{key}': the name is empty or holds '=', or name or value holds NUL"),
            ));
        }
        pairs.push([key, b"=", value].concat());
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
        let end = self.until_end(limit).await;
        // Nobody is left to receive once all output has ended.
        let _ = exited.send(true);
        let _ = all_done.recv().await;
        self.finish(end);
        // The supervisor stays for what the command left running; it ends by itself.
        while launch::report(&mut self.control).await.is_some() {}
    }

    async fn until_end(&mut self, limit: Option<Duration>) -> End {
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
                    return match report {
                        Some(Report::Exited { code }) => End::exited(code),
                        Some(Report::Signaled { signal, core_dumped }) => End::signaled(signal, core_dumped),
                        _ => End::lost("the supervisor of the process was killed"),
                    };
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
