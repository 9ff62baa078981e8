//! What a request says beside its path: body, deadline, user.

use base64::{engine::general_purpose::STANDARD, Engine};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use std::time::Duration;
use wardian_wire::connect::{Code, Decoder, Failure, HEADER, MAX_MESSAGE};

/// How long a stream may be silent before a keepalive, unless the client says otherwise.
const KEEPALIVE: Duration = Duration::from_secs(90);

/// How much of a refused body is read, in bytes, and for how long.
const DRAIN: usize = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// How long a body may go on behind its answer.
const DRAIN_BEHIND_TIME: Duration = Duration::from_secs(60);

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

/// The whole body, at most `limit` bytes.
///
/// # Errors
/// `resource_exhausted` if it is longer, `canceled` if the client goes away.
pub(crate) async fn whole<B>(body: B, limit: usize) -> Result<Bytes, Failure>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::new(
            Code::ResourceExhausted,
            format!("request body is longer than {limit} bytes"),
        )),
        Err(error) => Err(Failure::new(
            Code::Canceled,
            format!("request body ended early: {error}"),
        )),
    }
}

/// Reads and forgets the rest of a body, so that the answer is read and the connection can be
/// used again: an unread body makes the server close it, and a client that is still writing, or
/// reuses it at that moment, sees a broken pipe instead of what was wrong. At most [`DRAIN`] bytes
/// in [`DRAIN_TIME`]; then closing it is.
pub(crate) async fn drain(body: &mut Incoming) {
    forget(body, DRAIN, DRAIN_TIME).await;
}

/// The same behind the answer, for a body that may be as large as a disk: who sends it learns at
/// once that it is in vain, and one that reads only after writing still finds the answer. The task
/// ends with the connection, or after [`DRAIN_BEHIND_TIME`].
pub(crate) fn drain_behind(mut body: Incoming) {
    tokio::task::spawn_local(async move {
        forget(&mut body, usize::MAX, DRAIN_BEHIND_TIME).await;
    });
}

async fn forget(body: &mut Incoming, most: usize, time: Duration) {
    let read = async {
        let mut left = most;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Late or not, there is an answer to give.
    let _ = tokio::time::timeout(time, read).await;
}

/// The message of a unary call.
///
/// # Errors
/// Those of [`whole`], and `invalid_argument` for what is not its JSON.
pub(crate) async fn message<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    let bytes = whole(request.into_body(), MAX_MESSAGE).await?;
    parse(&bytes)
}

/// The only message of a streaming call.
///
/// # Errors
/// Those of [`message`], and `invalid_argument` for a body that is not one envelope.
pub(crate) async fn enveloped<T: DeserializeOwned>(body: Incoming) -> Result<T, Failure> {
    let bytes = whole(body, MAX_MESSAGE + HEADER).await?;
    let mut decoder = Decoder::default();
    decoder.feed(&bytes);
    match decoder.next_message() {
        Ok(Some(message)) => parse(&message),
        Ok(None) => Err(invalid("request body is not an enveloped message")),
        Err(error) => Err(invalid(error.to_string())),
    }
}

/// Reads a message.
///
/// # Errors
/// `invalid_argument` for what is not its JSON.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| invalid(format!("request message: {error}")))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How long the call may take (`connect-timeout-ms`); `None`: as long as it needs.
///
/// # Errors
/// `invalid_argument` for what is no number of at most 10 digits.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get("connect-timeout-ms") else {
        return Ok(None);
    };
    let number = value.to_str().ok().filter(|v| v.len() <= 10);
    match number.and_then(|v| v.parse().ok()) {
        Some(0) => Ok(None),
        Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
        None => Err(invalid("connect-timeout-ms is not a number")),
    }
}

/// How long a stream may be silent (`Keepalive-Ping-Interval`, in seconds).
pub(crate) fn keepalive(headers: &HeaderMap) -> Duration {
    text(headers, "keepalive-ping-interval")
        .and_then(|value| value.parse().ok())
        .filter(|&seconds| seconds > 0)
        .map_or(KEEPALIVE, Duration::from_secs)
}

/// The user named by `Authorization: Basic base64("<user>:")`; the password means nothing.
///
/// # Errors
/// `unauthenticated` for a header of another form.
pub(crate) fn user(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(http::header::AUTHORIZATION) else {
        return Ok(None);
    };
    let name = value.to_str().ok().and_then(|value| {
        let (scheme, credentials) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
        Some(decoded.split(':').next().unwrap_or("").to_owned())
    });
    match name {
        Some(name) => Ok(Some(name).filter(|name| !name.is_empty())),
        None => Err(Failure::new(
            Code::Unauthenticated,
            "the Authorization header does not name a user: expected Basic base64(\"<user>:\")",
        )),
    }
}
