//! HTTP/1.1 and HTTP/2 as they are spoken with sandboxes.

use super::account::Account;
use super::checks::{MAX_HEAD, MAX_LINES};
use super::requests::Conversation;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use wardian_wire::egress::event::Reason;

/// How long a head of HTTP/1 may take, counted from the end of what was before it.
const HEAD: Duration = Duration::from_secs(30);
/// How long a connection may rest.
const IDLE: Duration = Duration::from_secs(75);
/// What is read at once, and written ahead, in bytes.
const BUFFER: usize = 256 * 1024;
/// How much of one HTTP/2 stream, and of all of a connection, may be under way unread, in bytes:
/// the wire is short.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const FRAME: u32 = 256 * 1024;
const STREAMS: u32 = 256;

/// Serves HTTP/1.1 to the end of a connection.
pub(super) async fn serve1<S>(conversation: Conversation, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let conversation = Arc::new(conversation);
    let service = service_fn(|request: Request<Incoming>| {
        let conversation = Arc::clone(&conversation);
        async move { Ok::<_, Infallible>(conversation.answer(request).await) }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(MAX_LINES)
        .max_header_size(MAX_HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = ended {
        unreadable(&conversation, &error);
    }
}

/// Serves HTTP/2 to the end of a connection.
pub(super) async fn serve2<S>(conversation: Conversation, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let conversation = Arc::new(conversation);
    let service = service_fn(|request: Request<Incoming>| {
        let conversation = Arc::clone(&conversation);
        async move { Ok::<_, Infallible>(conversation.answer(request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(BUFFER)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut asked_to_end = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    unreadable(&conversation, &error);
                }
                return;
            }
            () = tokio::time::sleep(IDLE / 5), if conversation.rests(IDLE) => {
                if asked_to_end {
                    return;
                }
                asked_to_end = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(IDLE / 5), if !conversation.rests(IDLE) => {}
        }
    }
}

/// Tells of a head that could not be read; hyper has answered 400 or 431 by itself.
fn unreadable(conversation: &Conversation, error: &hyper::Error) {
    tracing::debug!(%error, "connection of a sandbox ended");
    let reason = if error.is_parse_too_large() {
        Reason::TooLarge
    } else if error.is_parse() {
        Reason::Malformed
    } else {
        return;
    };
    let (egress, flow) = (&conversation.egress, &conversation.flow);
    Account::open(egress, flow, None).denied(Some(reason));
}
