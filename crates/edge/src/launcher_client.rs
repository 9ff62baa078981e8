//! Asks the launcher for sockets inside a sandbox's edge namespace.

use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout_at, Instant};
use wardian_wire::frame::{self, Decoder};
use wardian_wire::launcher::{FailureCode, Family, Reply, Request, Value, MAX_SOCKETS};
use wardian_wire::SandboxId;

/// How long a request waits for a launcher that is being restarted.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// The most questions asked at the same time.
const PARALLEL: usize = 8;

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LauncherError {
    #[error("the launcher knows no such sandbox")]
    NotFound,
    #[error("the launcher refused sockets ({code:?}): {message}")]
    Refused { code: FailureCode, message: String },
    #[error("the launcher did not answer in {PATIENCE:?}")]
    Absent,
}

/// What went wrong on one connection; the question may be asked again on another.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("an answer to something else")]
    Unexpected,
}

/// The launcher, over as many connections as are needed.
#[derive(Debug)]
pub(crate) struct Launcher {
    path: PathBuf,
    idle: Mutex<Vec<UnixStream>>,
    turns: Semaphore,
}

impl Launcher {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::default(),
            turns: Semaphore::new(PARALLEL),
        }
    }

    /// Unconnected sockets made where the sandbox is 10.0.0.2.
    ///
    /// # Errors
    /// [`LauncherError`].
    pub(crate) async fn open_sockets(
        &self,
        sandbox: &SandboxId,
        count: u32,
    ) -> Result<Vec<OwnedFd>, LauncherError> {
        let sandbox = sandbox.clone();
        self.sockets(&Request::OpenSockets { sandbox, count }).await
    }

    /// Unconnected sockets made in the sandbox's own network, where its loopback is.
    ///
    /// # Errors
    /// [`LauncherError`].
    pub(crate) async fn open_inner_sockets(
        &self,
        sandbox: &SandboxId,
        family: Family,
        count: u32,
    ) -> Result<Vec<OwnedFd>, LauncherError> {
        let request = Request::OpenInnerSockets {
            sandbox: sandbox.clone(),
            family,
            count,
        };
        self.sockets(&request).await
    }

    /// The sockets through which everything leaves the sandbox: listener, resolver, packets.
    ///
    /// # Errors
    /// [`LauncherError`].
    pub(crate) async fn open_outbound(
        &self,
        sandbox: &SandboxId,
    ) -> Result<[OwnedFd; 3], LauncherError> {
        let sandbox = sandbox.clone();
        let sockets = self.sockets(&Request::OpenOutbound { sandbox }).await?;
        sockets.try_into().map_err(|_| LauncherError::Absent)
    }

    /// Asking twice does no harm, so a question that a restart swallowed is asked again.
    async fn sockets(&self, request: &Request) -> Result<Vec<OwnedFd>, LauncherError> {
        let deadline = Instant::now() + PATIENCE;
        let turn = timeout_at(deadline, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| LauncherError::Absent)?;
        loop {
            match timeout_at(deadline, self.ask(request)).await {
                Ok(Ok((Reply::Ok(_), sockets))) => return Ok(sockets),
                Ok(Ok((Reply::Error(failure), _))) => {
                    return Err(match failure.code {
                        FailureCode::NotFound => LauncherError::NotFound,
                        code => LauncherError::Refused {
                            code,
                            message: failure.message,
                        },
                    })
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "asking the launcher failed; asking again");
                    if Instant::now() + RETRY_AFTER > deadline {
                        return Err(LauncherError::Absent);
                    }
                    sleep(RETRY_AFTER).await;
                }
                Err(_) => return Err(LauncherError::Absent),
            }
        }
    }

    async fn ask(&self, request: &Request) -> Result<(Reply, Vec<OwnedFd>), ExchangeError> {
        let kept = self.lock_idle().pop();
        let mut stream = match kept {
            Some(stream) => stream,
            None => UnixStream::connect(&self.path).await?,
        };
        let answer = exchange(&mut stream, request).await;
        match &answer {
            Ok(_) => self.lock_idle().push(stream),
            // The others are as old, and of the same launcher that is no more.
            Err(_) => self.lock_idle().clear(),
        }
        answer
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<UnixStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(
    stream: &mut UnixStream,
    request: &Request,
) -> Result<(Reply, Vec<OwnedFd>), ExchangeError> {
    stream.write_all(&frame::encode(request)?).await?;
    let mut decoder = Decoder::default();
    let mut sockets = Vec::new();
    let body = loop {
        if let Some(body) = decoder.next_body()? {
            break body;
        }
        let mut bytes = [0; 4096];
        let count = stream
            .async_io(Interest::READABLE, || {
                receive(stream, &mut bytes, &mut sockets)
            })
            .await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        decoder.feed(&bytes[..count]);
    };
    let reply: Reply = frame::decode(&body)?;
    match &reply {
        Reply::Ok(Value::Sockets { count }) if *count as usize == sockets.len() && *count > 0 => {}
        Reply::Error(_) => {}
        Reply::Ok(_) => return Err(ExchangeError::Unexpected),
    }
    Ok((reply, sockets))
}

fn receive(stream: &UnixStream, bytes: &mut [u8], sockets: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS as usize))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let parts = &mut [IoSliceMut::new(bytes)];
        match recvmsg(
            stream,
            parts,
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        ) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors);
        }
    }
    Ok(received.bytes)
}
