//! Looks after one background process for all its life: starts, restarts, ends.

use super::log::Log;
use super::status::{Ending, State, Status, Used};
use super::{output, Background, Order, Phase, Plan};
use crate::agent::Agent;
use crate::process::job::{Job, Order as SupervisorOrder, Report};
use crate::process::launch::{self, Launched};
use crate::process::stdio::{self, AgentSide};
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until, Instant};
use wardian_wire::connect::{Code, Failure};
use wardian_wire::log::Kind;

/// How long it takes from an end to the next start: at first, and at most.
const DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A process that ran for so long has started well: the next delay is the first one again.
const STEADY: Duration = Duration::from_secs(10);
/// How long a command that runs at the end may take.
const ON_EXIT_TIME: Duration = Duration::from_secs(600);

/// A run that has just begun.
pub(super) struct Running {
    launched: Launched,
    output: pipe::Receiver,
    error: pipe::Receiver,
}

impl Running {
    /// Runs `job`.
    ///
    /// # Errors
    /// See [`launch::Launcher::launch`].
    pub(super) async fn start(agent: &Agent, job: &Job) -> Result<Self, Failure> {
        let exhausted = |error: std::io::Error| {
            let message = format!("cannot make pipes for a process: {error}");
            Failure::new(Code::ResourceExhausted, message)
        };
        let (ours, theirs) = stdio::pipes(false).map_err(exhausted)?;
        let AgentSide::Pipes { output, error, .. } = ours else {
            return Err(exhausted(std::io::ErrorKind::Unsupported.into()));
        };
        let launched = agent.launcher.launch(job, theirs).await?;
        Ok(Self {
            launched,
            output,
            error,
        })
    }

    /// Logs its output. Returns what to tell the end to, what then waits until all that belongs to
    /// the command itself is logged, and the way to its supervisor.
    fn collect(self, log: &Rc<Log>) -> (watch::Sender<bool>, mpsc::Receiver<()>, UnixStream) {
        let (exited, seen) = watch::channel(false);
        let (done, all_done) = mpsc::channel(1);
        for (pipe, kind) in [(self.output, Kind::Stdout), (self.error, Kind::Stderr)] {
            let task = output::collect(pipe, kind, Rc::clone(log), seen.clone(), done.clone());
            tokio::task::spawn_local(task);
        }
        (exited, all_done, self.launched.control)
    }
}

/// Makes the process that `running` is the first run of, and has it looked after.
pub(super) fn attend(
    agent: &Rc<Agent>,
    name: String,
    plan: Plan,
    log: Log,
    running: Running,
) -> Rc<Background> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let process = Rc::new(Background {
        name,
        plan,
        log: Rc::new(log),
        status: RefCell::new(Status::new(running.launched.pid)),
        phase: watch::Sender::new(Phase::Alive),
        orders,
    });
    let attendant = Attendant {
        agent: Rc::clone(agent),
        process: Rc::clone(&process),
        inbox,
        stopping: false,
        kill_at: None,
    };
    tokio::task::spawn_local(attendant.attend(running));
    process
}

struct Attendant {
    agent: Rc<Agent>,
    process: Rc<Background>,
    inbox: mpsc::UnboundedReceiver<Order>,
    /// It was told to end the process: no more restarts.
    stopping: bool,
    /// When what has not ended kindly is killed.
    kill_at: Option<Instant>,
}

impl Attendant {
    async fn attend(mut self, first: Running) {
        let mut next: Result<_, Failure> = Ok(first);
        let mut delay = DELAY.0;
        loop {
            let began = Instant::now();
            let (ending, supervisor) = match next {
                Ok(running) => self.run(running).await,
                Err(failure) => (Ending::failed(failure.message), None),
            };
            if self.stopping || !self.process.plan.restart.wants(&ending) {
                return self.end(ending, supervisor).await;
            }
            self.process
                .status
                .borrow_mut()
                .ended(ending.clone(), State::Restarting);
            self.mark_end(&ending, true).await;
            if let Some(mut supervisor) = supervisor {
                // What is left of it may hold the port or the lock that the next one needs.
                launch::send(&mut supervisor, SupervisorOrder::KillTree).await;
                self.serve(&mut supervisor, false).await;
            }
            if began.elapsed() >= STEADY {
                delay = DELAY.0;
            }
            if self.stopping || self.is_stopped_within(delay).await {
                return self.end(ending, None).await;
            }
            delay = (delay * 2).min(DELAY.1);
            self.process.status.borrow_mut().restarts += 1;
            next = Running::start(&self.agent, &self.process.plan.job).await;
            if let Ok(running) = &next {
                let pid = running.launched.pid;
                self.process.status.borrow_mut().restarted(pid);
            }
        }
    }

    /// One run, from its start to the end of the command, its output logged.
    async fn run(&mut self, running: Running) -> (Ending, Option<UnixStream>) {
        let restarts = self.process.status.borrow().restarts;
        let start = json!({"event": "start", "pid": running.launched.pid, "restarts": restarts});
        self.mark(&start).await;
        let (exited, mut all_done, mut supervisor) = running.collect(&self.process.log);
        let report = self.serve(&mut supervisor, true).await;
        // Nobody is left to receive once all output has ended.
        let _ = exited.send(true);
        let _ = all_done.recv().await;
        (Ending::from_report(report), Some(supervisor))
    }

    /// Passes orders on and reports in, until the command ends (if `to_end`; its end is returned)
    /// or nothing is left below the supervisor.
    async fn serve(&mut self, supervisor: &mut UnixStream, to_end: bool) -> Option<Report> {
        loop {
            let kill_at = self.kill_at;
            let deadline = async {
                match kill_at {
                    Some(moment) => sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = launch::report(supervisor) => match report {
                    Some(Report::Usage { cpu_micros, peak_bytes }) => {
                        let used = Used { cpu_micros, peak_bytes };
                        self.process.status.borrow_mut().reported = used;
                    }
                    Some(report) if to_end => return Some(report),
                    Some(_) => {}
                    None => return None,
                },
                Some(order) = self.inbox.recv() => self.obey(supervisor, order).await,
                () = deadline => {
                    self.kill_at = None;
                    launch::send(supervisor, SupervisorOrder::KillTree).await;
                }
            }
        }
    }

    async fn obey(&mut self, supervisor: &mut UnixStream, order: Order) {
        match order {
            Order::Signal(libc::SIGKILL) => {
                launch::send(supervisor, SupervisorOrder::KillTree).await;
            }
            Order::Signal(number) => {
                launch::send(supervisor, SupervisorOrder::Signal(number)).await;
            }
            Order::Stop { grace } => {
                self.stopping = true;
                // What is stopped would hear of SIGTERM only when somebody lets it go on.
                for signal in [libc::SIGTERM, libc::SIGCONT] {
                    launch::send(supervisor, SupervisorOrder::SignalTree(signal)).await;
                }
                let moment = Instant::now() + grace;
                self.kill_at = Some(self.kill_at.map_or(moment, |at| at.min(moment)));
            }
        }
    }

    /// Waits before a restart. Returns whether it was told meanwhile to stop.
    async fn is_stopped_within(&mut self, delay: Duration) -> bool {
        let pause = sleep(delay);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return false,
                Some(order) = self.inbox.recv() => {
                    if matches!(order, Order::Stop { .. }) {
                        self.stopping = true;
                        return true;
                    }
                }
            }
        }
    }

    /// It is over. What the command left running lives on, unless it was told to stop.
    async fn end(mut self, ending: Ending, supervisor: Option<UnixStream>) {
        let process = Rc::clone(&self.process);
        // Before the mark: who follows and asks at its end shall hear of it.
        process
            .status
            .borrow_mut()
            .ended(ending.clone(), State::Ended);
        self.mark_end(&ending, false).await;
        process.phase.send_replace(Phase::Ended);
        let agent = Rc::clone(&self.agent);
        let hook = on_exit(&agent, &process, &ending);
        let rest = async {
            if let Some(mut supervisor) = supervisor {
                self.serve(&mut supervisor, false).await;
            }
            process.phase.send_replace(Phase::Gone);
        };
        tokio::join!(hook, rest);
    }

    async fn mark_end(&self, ending: &Ending, restarting: bool) {
        let mark = json!({
            "event": "end", "exit_code": ending.exit_code, "signal": ending.signal,
            "reason": ending.reason, "restarting": restarting,
        });
        if restarting {
            self.mark(&mark).await;
        } else {
            self.process.log.finish(mark.to_string().as_bytes()).await;
        }
    }

    async fn mark(&self, mark: &serde_json::Value) {
        mark_in(&self.process.log, mark).await;
    }
}

async fn mark_in(log: &Log, mark: &serde_json::Value) {
    let mark = mark.to_string();
    log.write(Kind::Mark, |put| put(mark.as_bytes())).await;
}

/// Runs what is to run at the end, its output logged behind the process's own.
async fn on_exit(agent: &Agent, process: &Background, ending: &Ending) {
    let Some(argv) = &process.plan.on_exit else {
        return;
    };
    let mut job = process.plan.job.clone();
    job.argv.clone_from(argv);
    let code = ending.exit_code.map(|c| c.to_string()).unwrap_or_default();
    let signal = ending.signal.clone().unwrap_or_default();
    for (name, value) in [
        ("WARDIAN_PROCESS", process.name.as_str()),
        ("WARDIAN_EXIT_CODE", &code),
        ("WARDIAN_SIGNAL", &signal),
    ] {
        job.env.push(format!("{name}={value}").into_bytes());
    }
    let ending = match Running::start(agent, &job).await {
        Ok(running) => {
            let (exited, mut all_done, mut supervisor) = running.collect(&process.log);
            let report = within(&mut supervisor).await;
            let _ = exited.send(true);
            let _ = all_done.recv().await;
            Ending::from_report(report)
        }
        Err(failure) => Ending::failed(failure.message),
    };
    let mark = json!({
        "event": "on_exit", "exit_code": ending.exit_code, "signal": ending.signal,
        "reason": ending.reason,
    });
    mark_in(&process.log, &mark).await;
}

/// Waits for the end of a command, and kills it when it takes too long.
async fn within(supervisor: &mut UnixStream) -> Option<Report> {
    if let Ok(report) = tokio::time::timeout(ON_EXIT_TIME, last_report(supervisor)).await {
        return report;
    }
    launch::send(supervisor, SupervisorOrder::KillTree).await;
    last_report(supervisor).await
}

async fn last_report(supervisor: &mut UnixStream) -> Option<Report> {
    loop {
        match launch::report(supervisor).await {
            Some(Report::Usage { .. }) => {}
            report => return report,
        }
    }
}
