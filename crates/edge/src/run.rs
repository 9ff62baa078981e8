//! From the command line to a running edge, and to its end.

use crate::arguments::{ArgumentError, Arguments, USAGE};
use crate::egress::handlers::Handlers;
use crate::egress::Egress;
use crate::forward::Edge;
use crate::launcher_client::Launcher;
use crate::pool::Pool;
use crate::sandboxes::Sandboxes;
use crate::tls::{Certificate, TlsError};
use crate::{control_link, listener};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

/// How long requests may go on once the edge is told to stop.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(2);
const WORKERS: usize = 2;

/// Why the edge does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The command line.
    #[error("{0}; {USAGE}")]
    Arguments(#[from] ArgumentError),
    /// Descriptor 0.
    #[error("descriptor 0 is not a listening TCP socket: {0}")]
    Listener(io::Error),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The runtime or a signal handler.
    #[error("starting: {0}")]
    Start(io::Error),
}

/// Logs JSON lines at the level `WARDIAN_LOG` names.
pub(crate) fn log_to_standard_error() {
    let level = std::env::var("WARDIAN_LOG").ok();
    let level = level
        .as_deref()
        .filter(|level| matches!(*level, "error" | "warn" | "debug"))
        .unwrap_or("info");
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new(format!("off,wardian_edge={level}")))
        .with_writer(io::stderr)
        .init();
}

/// Runs the edge until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`] if it can't start.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<(), RunError> {
    let arguments = Arguments::parse(arguments)?;
    let public = public_listener().map_err(RunError::Listener)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(RunError::Start)?;
    runtime.block_on(serve(arguments, public))
}

async fn serve(arguments: Arguments, public: StdTcpListener) -> Result<(), RunError> {
    let listener = TcpListener::from_std(public).map_err(RunError::Listener)?;
    let certificate = match arguments.tls {
        Some((certificate, key)) => Some(Arc::new(Certificate::load(certificate, key)?)),
        None => None,
    };
    let edge = Arc::new(Edge {
        domain: arguments.domain,
        control_plane: arguments.api_socket,
        control_pool: Arc::new(Pool::default()),
        launcher: Launcher::new(arguments.launcher_socket.clone()),
        sandboxes: Sandboxes::default(),
        trusted_proxies: arguments.trusted_proxies,
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    });
    // Of its own, so that a burst of new sandboxes delays nobody who visits one.
    let launcher = Launcher::new(arguments.launcher_socket);
    let egress = Arc::new(Egress::new(
        launcher,
        Handlers::new(arguments.handlers_socket),
        edge.stop.clone(),
    ));
    let closing = CancellationToken::new();
    let listen_to = |kind| signal(kind).map_err(RunError::Start);
    let hangup = listen_to(SignalKind::hangup())?;
    let mut terminate = listen_to(SignalKind::terminate())?;
    let mut interrupt = listen_to(SignalKind::interrupt())?;
    let accepting = listener::accept(
        Arc::clone(&edge),
        listener,
        certificate.clone(),
        closing.clone(),
    );
    tracing::info!(
        domain = edge.domain.as_str(),
        tls = certificate.is_some(),
        "edge is up"
    );
    let background = async {
        tokio::join!(
            control_link::follow(&arguments.control_socket, &edge.sandboxes, &egress),
            sweep(&edge),
            reload_on(hangup, certificate.as_deref()),
        );
    };
    let accepting = tokio::spawn(accepting);
    tokio::select! {
        () = background => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    closing.cancel();
    if let Err(error) = accepting.await {
        tracing::error!(%error, "the listener failed");
    }
    edge.tasks.close();
    egress.tasks.close();
    // What leaves sandboxes has no end of its own: only visitors are waited for.
    let visitors_left = tokio::time::timeout(LAST_WORDS, edge.tasks.wait()).await;
    if visitors_left.is_err() {
        tracing::debug!("what is still open is cut");
    }
    edge.stop.cancel();
    edge.tasks.wait().await;
    egress.tasks.wait().await;
    Ok(())
}

async fn sweep(edge: &Edge) {
    loop {
        tokio::time::sleep(SWEEP).await;
        edge.control_pool.sweep();
        edge.sandboxes.sweep();
    }
}

async fn reload_on(mut hangup: Signal, certificate: Option<&Certificate>) {
    while hangup.recv().await.is_some() {
        match certificate.map(Certificate::reload) {
            Some(Ok(())) => tracing::info!("certificate read again"),
            Some(Err(error)) => tracing::error!(%error, "the old certificate stays in use"),
            None => tracing::info!("no certificate is configured, so none was read"),
        }
    }
}

fn public_listener() -> io::Result<StdTcpListener> {
    let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
    if !rustix::net::sockopt::socket_acceptconn(&descriptor)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let listener = StdTcpListener::from(descriptor);
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Each request may need two descriptors; the usual soft limit of 1024 is soon reached.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open descriptors stays at {:?}", limit.current);
    }
}
