//! Connections into sandboxes and to the control plane.

use crate::body::RequestBody;
use crate::driver::{Driver, Written};
use crate::exposures::Exposure;
use crate::head_limit::{HeadLimit, Limited};
use crate::launcher_client::{Launcher, LauncherError};
use crate::loopback;
use crate::pool::{Lease, Pool};
use crate::sandboxes::Sandbox;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_tcp_congestion;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

/// Every sandbox's address, seen from its edge namespace.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// How long a sandbox has to accept.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Sockets asked for at once: one to use, the others for the next connections.
pub(crate) const BATCH: u32 = 4;
/// The wire into a sandbox never leaves this kernel and loses nothing. A host's default may be
/// made for other ways: BBR paces by timers, a tenth of the CPU time of a large upload.
/// This one every kernel has, and everybody may choose it.
const CONGESTION: &str = "reno";
/// What one read takes at most, in bytes.
pub(crate) const BUFFER: usize = 256 * 1024;
/// The most header lines of an answer.
const MAX_ANSWER_HEADERS: usize = 100;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the sandbox is gone")]
    Gone,
    #[error("nothing listens on the port")]
    Closed,
    #[error("the launcher is not there")]
    NoLauncher,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Connects to `port` of the sandbox.
///
/// # Errors
/// [`DialError`].
pub(crate) async fn dial_sandbox(
    launcher: &Launcher,
    sandbox: &Sandbox,
    port: u16,
) -> Result<Lease, DialError> {
    let stream = over_the_wire(launcher, sandbox, port).await?;
    stream.set_nodelay(true)?;
    handshake(stream, &sandbox.pool, port, sandbox.cut.clone()).await
}

/// Connects to an exposed port, also where its server listens on the sandbox's loopback alone.
///
/// # Errors
/// [`DialError`].
pub(crate) async fn dial_exposure(
    launcher: &Launcher,
    sandbox: &Sandbox,
    exposure: &Exposure,
) -> Result<Lease, DialError> {
    let stream = match loopback::again(launcher, sandbox, exposure).await {
        Some(stream) => stream,
        None => match over_the_wire(launcher, sandbox, exposure.rule.port).await {
            Err(DialError::Closed) => loopback::connect(launcher, sandbox, exposure).await?,
            other => other?,
        },
    };
    stream.set_nodelay(true)?;
    let (pool, cut) = (&exposure.pool, exposure.cut.clone());
    handshake(stream, pool, exposure.rule.port, cut).await
}

/// Connects to the sandbox's address on its wire.
async fn over_the_wire(
    launcher: &Launcher,
    sandbox: &Sandbox,
    port: u16,
) -> Result<TcpStream, DialError> {
    let address = SocketAddr::from((ADDRESS, port));
    let spare = sandbox
        .spares
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop();
    let socket = match spare {
        Some(socket) => socket,
        None => fresh_socket(launcher, sandbox).await?,
    };
    match connect(socket, address, CONNECT_TIME).await {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(DialError::Closed),
        Err(error) => {
            // The namespace may have been another's: only the launcher knows whether it still is.
            tracing::debug!(sandbox = %sandbox.id, port, %error, "connecting failed");
            *sandbox
                .spares
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Vec::new();
            let socket = fresh_socket(launcher, sandbox).await?;
            let connected = connect(socket, address, CONNECT_TIME).await;
            connected.map_err(|_| DialError::Closed)
        }
    }
}

/// Connects to the control plane.
///
/// # Errors
/// [`DialError::Io`] while it is not there.
pub(crate) async fn dial_control_plane(path: &Path, pool: &Arc<Pool>) -> Result<Lease, DialError> {
    let stream = UnixStream::connect(path).await?;
    handshake(stream, pool, 0, CancellationToken::new()).await
}

async fn fresh_socket(launcher: &Launcher, sandbox: &Sandbox) -> Result<OwnedFd, DialError> {
    let opened = launcher.open_sockets(&sandbox.id, BATCH).await;
    let mut sockets = opened.map_err(|error| match error {
        LauncherError::NotFound => DialError::Gone,
        error @ (LauncherError::Refused { .. } | LauncherError::Absent) => {
            tracing::warn!(sandbox = %sandbox.id, %error, "no sockets into the sandbox");
            DialError::NoLauncher
        }
    })?;
    let socket = sockets.pop().ok_or(DialError::NoLauncher)?;
    let mut spares = sandbox
        .spares
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if !sandbox.cut.is_cancelled() && spares.len() < BATCH as usize {
        spares.extend(sockets);
    }
    Ok(socket)
}

/// Connects a socket; fails after `time`.
///
/// # Errors
/// Those of connecting.
pub(crate) async fn connect(
    socket: OwnedFd,
    address: SocketAddr,
    time: Duration,
) -> io::Result<TcpStream> {
    let socket = StdTcpStream::from(socket);
    socket.set_nonblocking(true)?;
    // Before it is connected: what BBR has begun to pace stays paced.
    set_tcp_congestion(socket.as_fd(), CONGESTION)?;
    let socket = TcpSocket::from_std_stream(socket);
    tokio::time::timeout(time, socket.connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Speaks HTTP/1.1 over a connection just made, until `cut`.
///
/// # Errors
/// [`DialError::Http`].
pub(crate) async fn handshake<S>(
    stream: S,
    pool: &Arc<Pool>,
    port: u16,
    cut: CancellationToken,
) -> Result<Lease, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limit = HeadLimit::new();
    let written = Written::default();
    let stream = written.watch(Limited::new(stream, limit.clone()));
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_headers(MAX_ANSWER_HEADERS)
        .handshake::<_, RequestBody>(TokioIo::new(stream))
        .await?;
    let driver = tokio::spawn(async move {
        tokio::select! {
            () = cut.cancelled_owned() => {}
            ended = Driver::new(connection.with_upgrades(), written) => {
                if let Err(error) = ended {
                    tracing::debug!(port, %error, "connection behind the edge ended");
                }
            }
        }
    });
    Ok(pool.lease(sender, driver.abort_handle(), port, limit))
}
