//! Runs git once: through the agent's launcher, as any command, in an environment of our own.

use super::credentials::Credentials;
use super::environment::{self, CONFIGURATION};
use super::request::Place;
use super::Result;
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::process::job::{Job, Order, Report};
use crate::process::launch::{self, Launched};
use crate::process::start;
use crate::process::stdio::{self, AgentSide};
use http::StatusCode;
use std::cell::RefCell;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::net::UnixStream;
use tokio::time::{timeout, timeout_at, Instant};
use wardian_wire::connect::Failure;
use wardian_wire::envd::process::ProcessConfig;
use wardian_wire::git::failure::Kind;
use wardian_wire::git::progress::{Line, Progress, Reader};
use wardian_wire::git::redact::Redaction;

/// How much of its output is kept, in bytes, and how much of what it says on standard error.
pub(super) const MAX_OUTPUT: usize = 16 * 1024 * 1024;
const MAX_SAID: usize = 16 * 1024;
/// How long output is waited for when git has ended and something it left behind has it open.
const AFTERGLOW: Duration = Duration::from_millis(250);
/// How long git may tidy up when its time is up, before it is killed.
const TIDYING: Duration = Duration::from_secs(3);

/// What git left.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) output: Vec<u8>,
    /// There was more output than is kept.
    pub(super) truncated: bool,
    /// Standard error without progress, the end of it, without credentials.
    pub(super) text: String,
    /// `None` if a signal ended it.
    pub(super) code: Option<i32>,
}

impl Said {
    pub(super) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// The first line of the output.
    pub(super) fn line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.output);
        let line = text.lines().next().map(str::trim).unwrap_or("");
        (self.ok() && !line.is_empty()).then(|| line.to_owned())
    }
}

/// Git for one call: several commands under one deadline.
pub(super) struct Git<'a> {
    agent: &'a Agent,
    place: &'a Place,
    directory: PathBuf,
    /// Start at the root if the directory can't be entered.
    pub(super) anywhere: bool,
    deadline: Instant,
    pub(super) credentials: Option<Credentials>,
    pub(super) redaction: Redaction,
    /// More variables, which win.
    pub(super) variables: Vec<(&'static str, String)>,
}

impl<'a> Git<'a> {
    /// Git in `directory`.
    pub(super) fn new(agent: &'a Agent, place: &'a Place, directory: PathBuf) -> Self {
        Self {
            agent,
            place,
            directory,
            anywhere: false,
            deadline: Instant::now() + place.timeout,
            credentials: None,
            redaction: Redaction::default(),
            variables: Vec::new(),
        }
    }

    /// Runs a command that must succeed.
    ///
    /// # Errors
    /// What went wrong, with a code for programs.
    pub(super) async fn must(&self, arguments: &[&[u8]], input: Option<&[u8]>) -> Result<Said> {
        let said = self.run(arguments, input, |_| ()).await?;
        if said.ok() {
            Ok(said)
        } else {
            Err(self.problem(&said))
        }
    }

    /// Runs a command and says what it left, whether it failed or not.
    ///
    /// # Errors
    /// It could not be started, or its time was up.
    pub(super) async fn run(
        &self,
        arguments: &[&[u8]],
        input: Option<&[u8]>,
        progress: impl FnMut(Progress),
    ) -> Result<Said> {
        let job = self.job(arguments)?;
        let (ours, theirs) = stdio::pipes(input.is_some()).map_err(|error| {
            let message = format!("cannot make pipes for git: {error}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        })?;
        let AgentSide::Pipes {
            input: pipe,
            output,
            error,
        } = ours
        else {
            return Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "git was given a terminal",
            ));
        };
        let launched = self.agent.launcher.launch(&job, theirs).await;
        let Launched { mut control, .. } = launched.map_err(|f| self.not_started(f))?;
        let heard = Heard::new(progress);
        let listening =
            async { tokio::join!(feed(pipe, input), heard.output(output), heard.error(error)) };
        tokio::pin!(listening);
        let running = async {
            let mut done = false;
            let end = tokio::select! {
                end = ended(&mut control) => end,
                _ = &mut listening => {
                    done = true;
                    ended(&mut control).await
                }
            };
            if !done {
                // What git left behind may hold its output open.
                let _ = timeout(AFTERGLOW, &mut listening).await;
            }
            end
        };
        let end = timeout_at(self.deadline, running).await;
        match end {
            // Dropping the control socket ends whatever git left behind.
            Ok(code) => Ok(heard.said(code, &self.redaction)),
            Err(_) => {
                tidy(&mut control).await;
                Err(self.late())
            }
        }
    }

    fn job(&self, arguments: &[&[u8]]) -> Result<Job> {
        let config = ProcessConfig {
            cmd: "git".to_owned(),
            envs: self.place.env.clone(),
            ..ProcessConfig::default()
        };
        let mut job = start::job(self.agent, &config, &self.place.user, false)?;
        job.cwd = self.directory.as_os_str().as_bytes().to_vec();
        job.cwd_optional = self.anywhere;
        let own = |text: &str| text.as_bytes().to_vec();
        job.argv = vec![own("git")];
        job.argv.extend(CONFIGURATION.map(own));
        if let Some(credentials) = &self.credentials {
            job.argv
                .extend(credentials.arguments().map(String::into_bytes));
        }
        job.argv.extend(arguments.iter().map(|a| a.to_vec()));
        let own = self
            .variables
            .iter()
            .map(|(key, value)| (*key, value.as_str()));
        let secret = self.credentials.iter().flat_map(Credentials::variables);
        job.env = environment::of(&job.env, secret.chain(own));
        Ok(job)
    }

    fn not_started(&self, failure: Failure) -> Problem {
        if failure.message.starts_with("cannot run 'git'") {
            return Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "git_missing",
                "the sandbox has no git, or none that can be run",
            )
            .hint("use a template with git, or install it");
        }
        if failure.message.starts_with("cwd ") {
            let directory = self.directory.display();
            return Problem::new(
                StatusCode::NOT_FOUND,
                "git_not_a_repository",
                format!("{directory} is not there, or can't be entered"),
            );
        }
        failure.into()
    }

    fn late(&self) -> Problem {
        let seconds = self.place.timeout.as_secs_f64();
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "git_timeout",
            format!("git was stopped after {seconds} s"),
        )
        .hint("give it more time with timeout")
    }

    /// What a failed command means.
    pub(super) fn problem(&self, said: &Said) -> Problem {
        let output = String::from_utf8_lossy(&said.output);
        // `commit` says on standard output why it did nothing.
        let whole = format!("{}\n{}", said.text, self.redaction.apply(&output));
        let kind = Kind::of(&whole);
        let status = match kind {
            Kind::RepositoryNotFound | Kind::BranchNotFound | Kind::NotARepository => {
                StatusCode::NOT_FOUND
            }
            Kind::PathExists | Kind::NothingToCommit | Kind::Rejected | Kind::Conflict => {
                StatusCode::CONFLICT
            }
            Kind::AuthenticationFailed | Kind::Network | Kind::Failed => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        let words = match said.text.trim() {
            "" => whole.trim(),
            text => text,
        };
        let message = match (words, said.code) {
            ("", Some(code)) => format!("git ended with exit code {code}"),
            ("", None) => "git was killed; the sandbox may be out of memory".to_owned(),
            (words, _) => words.to_owned(),
        };
        let problem = Problem::new(status, kind.code(), message);
        match kind {
            Kind::AuthenticationFailed => {
                problem.hint("give username and password, or a token as password")
            }
            Kind::Rejected => problem.hint("pull first, or push to another branch"),
            _ => problem,
        }
    }
}

/// What has been heard so far.
struct Heard<F> {
    output: RefCell<(Vec<u8>, bool)>,
    text: RefCell<String>,
    reader: RefCell<Reader>,
    progress: RefCell<F>,
}

impl<F: FnMut(Progress)> Heard<F> {
    fn new(progress: F) -> Self {
        Self {
            output: RefCell::default(),
            text: RefCell::default(),
            reader: RefCell::default(),
            progress: RefCell::new(progress),
        }
    }

    async fn output(&self, mut pipe: pipe::Receiver) {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            let (output, truncated) = &mut *self.output.borrow_mut();
            let room = MAX_OUTPUT.saturating_sub(output.len());
            *truncated |= count > room;
            output.extend(buffer.iter().take(count.min(room)));
        }
    }

    async fn error(&self, mut pipe: pipe::Receiver) {
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            let lines = self
                .reader
                .borrow_mut()
                .feed(buffer.get(..count).unwrap_or_default());
            lines.into_iter().for_each(|line| self.line(line));
        }
    }

    fn line(&self, line: Line) {
        match line {
            Line::Progress(progress) => (self.progress.borrow_mut())(progress),
            Line::Text(line) => {
                let mut text = self.text.borrow_mut();
                text.push_str(&line);
                text.push('\n');
                if text.len() > MAX_SAID {
                    let cut = text.len() - MAX_SAID;
                    let cut = (cut..).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
                    text.drain(..cut);
                }
            }
        }
    }

    fn said(&self, code: Option<i32>, redaction: &Redaction) -> Said {
        if let Some(line) = self.reader.take().end() {
            self.line(line);
        }
        let (output, truncated) = self.output.take();
        Said {
            output,
            truncated,
            text: redaction.apply(self.text.take().trim_end()),
            code,
        }
    }
}

async fn feed(pipe: Option<pipe::Sender>, input: Option<&[u8]>) {
    if let (Some(mut pipe), Some(input)) = (pipe, input) {
        // Fails when git does not want it all: how git ends says whether that matters.
        let _ = pipe.write_all(input).await;
    }
}

async fn ended(control: &mut UnixStream) -> Option<i32> {
    loop {
        match launch::report(control).await {
            Some(Report::Exited { code }) => return Some(code),
            Some(Report::Signaled { .. }) | None => return None,
            Some(_) => {}
        }
    }
}

/// Lets git remove what it has half made; what is still there afterwards is killed.
pub(super) async fn tidy(control: &mut UnixStream) {
    launch::send(control, Order::Signal(libc::SIGTERM)).await;
    let _ = timeout(TIDYING, ended(control)).await;
    launch::send(control, Order::KillTree).await;
}
