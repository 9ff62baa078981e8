//! From a request to a running command: resolves it, has the spawner fork a supervisor, and
//! stays in touch with that until the last descendant of the command has ended.

use super::job::{Job, Order, Report, Stage, REPORT};
use super::{spawner, Result};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::os::unix::net::UnixStream as StdUnixStream;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use wardian_wire::connect::{Code, Failure};

/// The way to the spawner; started when first needed.
#[derive(Debug, Default)]
pub(crate) struct Launcher {
    spawner: Mutex<Option<AsyncFd<OwnedFd>>>,
}

/// A command that has been started.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: u32,
    /// To its supervisor.
    pub(crate) control: UnixStream,
}

impl Launcher {
    /// Starts `job` with `stdio`, the command's descriptors.
    ///
    /// # Errors
    /// `invalid_argument` for a command or directory that can't be used, `resource_exhausted`
    /// at the limits of processes, memory or descriptors.
    pub(crate) async fn launch(&self, job: &Job, stdio: Vec<OwnedFd>) -> Result<Launched> {
        let (ours, theirs) = StdUnixStream::pair().map_err(|e| exhausted(job, &e))?;
        let mut control = ours
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(ours))
            .map_err(|e| exhausted(job, &e))?;
        let theirs = OwnedFd::from(theirs);
        let mut descriptors = vec![&theirs];
        descriptors.extend(&stdio);
        self.order(job, &descriptors).await?;
        // Held open here, they would keep output from ever ending.
        drop((stdio, theirs));
        if control.write_all(&job.encode()).await.is_err() {
            // The supervisor is gone; if it could say why, that is still to be read.
        }
        match report(&mut control).await {
            Some(Report::Started { pid }) => Ok(Launched { pid, control }),
            Some(Report::Failed { stage, errno }) => {
                Err(explain(job, stage, Errno::from_raw_os_error(errno)))
            }
            _ => Err(Failure::new(
                Code::ResourceExhausted,
                format!(
                    "cannot start '{}': its supervisor was killed; the sandbox may be out of memory",
                    name(job)
                ),
            )),
        }
    }

    async fn order(&self, job: &Job, descriptors: &[&OwnedFd]) -> Result<()> {
        let mut slot = self.spawner.lock().await;
        let mut restarts = 0;
        loop {
            let spawner = match slot.as_ref() {
                Some(spawner) => spawner,
                None => slot.insert(
                    spawner::start()
                        .and_then(crate::sys::watched)
                        .map_err(|e| exhausted(job, &e))?,
                ),
            };
            match spawner::order(spawner.get_ref(), descriptors) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) => {
                    let ready = spawner.writable().await;
                    ready.map_err(|e| exhausted(job, &e))?.clear_ready();
                }
                Err(Errno::INTR) => {}
                // Somebody killed the spawner: a new one takes over.
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) if restarts == 0 => {
                    restarts += 1;
                    *slot = None;
                }
                Err(errno) => return Err(exhausted(job, &errno.into())),
            }
        }
    }
}

/// The next report, `None` when the supervisor is gone.
pub(crate) async fn report(control: &mut UnixStream) -> Option<Report> {
    let mut bytes = [0; REPORT];
    control.read_exact(&mut bytes).await.ok()?;
    Report::decode(bytes)
}

/// Passes an order on; to a supervisor that has just gone it no longer matters.
pub(crate) async fn send(control: &mut UnixStream, order: Order) {
    let _ = control.write_all(&order.encode()).await;
}

fn name(job: &Job) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(job.argv.first().map_or(&[], Vec::as_slice))
}

fn exhausted(job: &Job, error: &std::io::Error) -> Failure {
    Failure::new(
        Code::ResourceExhausted,
        format!("cannot start '{}': {error}", name(job)),
    )
}

fn explain(job: &Job, stage: Stage, errno: Errno) -> Failure {
    let name = name(job);
    let cwd = String::from_utf8_lossy(&job.cwd);
    let words = std::io::Error::from(errno);
    let (code, message) = match (stage, errno) {
        (Stage::Fork, _) | (_, Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => (
            Code::ResourceExhausted,
            format!("cannot start '{name}': {words}; the sandbox is at its limit of processes or memory"),
        ),
        (Stage::Cwd, Errno::NOENT) => (
            Code::InvalidArgument,
            format!("cwd '{cwd}' does not exist"),
        ),
        (Stage::Cwd, _) => (
            Code::InvalidArgument,
            format!("cwd '{cwd}' cannot be entered: {words}"),
        ),
        (Stage::Exec, Errno::TOOBIG) => (
            Code::InvalidArgument,
            format!("cannot run '{name}': arguments and environment are too long: {words}"),
        ),
        (Stage::Exec, _) => (
            Code::InvalidArgument,
            format!("cannot run '{name}': {words}"),
        ),
        (Stage::User, _) => (
            Code::PermissionDenied,
            format!("cannot run '{name}' as uid {}: {words}", job.uid),
        ),
        (Stage::Session | Stage::Stdio | Stage::Job, _) => (
            Code::Internal,
            format!("cannot start '{name}': {words} ({stage:?})"),
        ),
    };
    Failure::new(code, message)
}
