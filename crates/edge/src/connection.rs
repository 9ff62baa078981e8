//! One client connection: HTTP/1.1 or HTTP/2, watched over until it ends.

use crate::activity::{Activity, Noted, Overdue};
use crate::body::ResponseBody;
use crate::dial::BUFFER;
use crate::forward::Edge;
use crate::headers::Caller;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// How often a connection is looked at.
const TICK: Duration = Duration::from_secs(5);
/// The most header lines of a request.
const MAX_HEADER_LINES: usize = 100;
/// How much of one HTTP/2 stream, and of all of a connection, may be under way unread, in bytes.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const FRAME: u32 = 256 * 1024;
const STREAMS: u32 = 256;

/// How HTTP is spoken with clients.
pub(crate) fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Rests between requests count here too, so the head's own limit is kept in `Activity`.
        .header_read_timeout(None)
        .max_headers(MAX_HEADER_LINES)
        .max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(64 * 1024)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(BUFFER)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Serves one connection to its end. `closing`: take no new request and finish.
pub(crate) async fn serve<S>(
    edge: Arc<Edge>,
    protocol: &auto::Builder<TokioExecutor>,
    stream: S,
    caller: Caller,
    closing: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::new();
    let multiplexed = Arc::new(AtomicBool::new(false));
    let service = {
        let (activity, multiplexed) = (activity.clone(), Arc::clone(&multiplexed));
        service_fn(move |request: Request<Incoming>| {
            multiplexed.store(request.version() == Version::HTTP_2, Ordering::Relaxed);
            let (edge, activity) = (Arc::clone(&edge), activity.clone());
            async move {
                let response: Response<ResponseBody> = edge.serve(request, caller, activity).await;
                Ok::<_, Infallible>(response)
            }
        })
    };
    let stream = TokioIo::new(Noted::new(stream, activity.clone()));
    let mut connection = pin!(protocol.serve_connection_with_upgrades(stream, service));
    let mut closing_seen = false;
    let mut before = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "client connection ended");
                }
                return;
            }
            () = closing.cancelled(), if !closing_seen => {
                closing_seen = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(TICK) => {
                let overdue = activity.overdue(Instant::now(), multiplexed.load(Ordering::Relaxed));
                // A cut gets one more turn, in which a client that reads is told properly.
                let again = overdue == before;
                before = overdue;
                match overdue {
                    None => {}
                    Some(Overdue::Cut) if !again => {}
                    Some(reason) => {
                        tracing::debug!(?reason, "client connection closed");
                        return;
                    }
                }
            }
        }
    }
}
