//! Accepting and serving connections.

use super::router;
use crate::agent::Agent;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long a connection may be idle, or take over the head of a request.
const IDLE: Duration = Duration::from_secs(640);
/// How long to wait when a connection can't be accepted for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How much is read from a connection at once, in bytes. Memory is only held while data flows.
const READ_BUFFER: usize = 256 * 1024;

/// Accepts connections for ever. Connections already served are not affected by what goes wrong
/// with new ones.
pub(crate) async fn serve(listener: TcpListener, agent: Rc<Agent>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(connection(stream, Rc::clone(&agent)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, agent: Rc<Agent>) {
    // Answers are small and wanted at once. Fails only on a connection already gone.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let agent = Rc::clone(&agent);
        async move { Ok::<_, Infallible>(router::answer(agent, request).await) }
    });
    // A connection ends with an error when the client breaks it or breaks HTTP; there is nobody
    // left to tell.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}
