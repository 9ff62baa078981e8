//! The public listener: takes connections as long as there is room for them.

use crate::connection::{protocol, serve};
use crate::forward::Edge;
use crate::headers::Caller;
use crate::tls::Certificate;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The most client connections at a time.
const MAX_CONNECTIONS: usize = 16 * 1024;
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// A client that has vanished is noticed after about this long.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// Pause after the kernel refused a connection, for lack of descriptors or memory.
const BREATH: Duration = Duration::from_millis(20);
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
retry-after: 1\r\nconnection: close\r\ncontent-length: 78\r\n\r\n\
{\"error\":{\"code\":\"unavailable\",\"message\":\"too many connections to this node\"}}";

/// Takes connections until `closing`.
pub(crate) async fn accept(
    edge: Arc<Edge>,
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
    closing: CancellationToken,
) {
    let protocol = Arc::new(protocol());
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            edge.tasks.spawn(turn_away(stream, certificate.is_some()));
            continue;
        };
        if let Err(error) = configure(&stream) {
            tracing::debug!(%error, "client vanished");
            continue;
        }
        let (task_edge, stop) = (Arc::clone(&edge), edge.stop.clone());
        let (protocol, closing) = (Arc::clone(&protocol), closing.clone());
        let certificate = certificate.clone();
        edge.tasks.spawn(async move {
            let _place = place;
            tokio::select! {
                () = stop.cancelled() => {}
                () = meet(task_edge, &protocol, stream, peer, certificate, closing) => {}
            }
        });
    }
}

async fn meet(
    edge: Arc<Edge>,
    protocol: &hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    certificate: Option<Arc<Certificate>>,
    closing: CancellationToken,
) {
    let caller = Caller {
        address: peer.ip(),
        tls: certificate.is_some(),
    };
    let Some(certificate) = certificate else {
        return serve(edge, protocol, stream, caller, closing).await;
    };
    let handshake = certificate.acceptor().accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIME, handshake).await {
        Ok(Ok(stream)) => serve(edge, protocol, stream, caller, closing).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = stream.as_fd();
    set_socket_keepalive(socket, true)?;
    set_tcp_keepidle(socket, PROBE_AFTER)?;
    set_tcp_keepintvl(socket, PROBE_AFTER / 4)?;
    Ok(())
}

async fn turn_away(mut stream: TcpStream, tls: bool) {
    tracing::warn!(
        limit = MAX_CONNECTIONS,
        "too many connections; one turned away"
    );
    if !tls {
        // The client may be gone already, which is what is wanted.
        let _ = tokio::time::timeout(HANDSHAKE_TIME, stream.write_all(FULL)).await;
    }
}
