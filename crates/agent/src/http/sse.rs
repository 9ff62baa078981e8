//! Answers that are streams of events, `text/event-stream` (WHATWG HTML, section 9.2).

use super::body::ReplyBody;
use super::reply::Reply;
use bytes::Bytes;
use http::header::{HeaderValue, CACHE_CONTROL, CONTENT_TYPE};
use http::Response;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many events may wait for a reader.
const BACKLOG: usize = 64;
/// A comment is sent after this much silence, so that neither side takes the stream for dead.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// What is sent then.
pub(crate) const COMMENT: &[u8] = b":\n\n";

/// Where events go in.
#[derive(Debug)]
pub(crate) struct Events(mpsc::Sender<Result<Bytes, std::io::Error>>);

/// The reader has left.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the reader of the events has left")]
pub(crate) struct Left;

impl Events {
    /// Sends one event; waits while the reader is slow.
    ///
    /// # Errors
    /// [`Left`].
    pub(crate) async fn send<T: Serialize>(&self, name: &str, data: &T) -> Result<(), Left> {
        let bytes = encode(name, data);
        self.0.send(Ok(bytes)).await.map_err(|_| Left)
    }

    /// Sends events that are [`encode`]d already, one or more.
    ///
    /// # Errors
    /// [`Left`].
    pub(crate) async fn send_encoded(&self, events: Bytes) -> Result<(), Left> {
        self.0.send(Ok(events)).await.map_err(|_| Left)
    }

    /// Waits until the reader has left.
    pub(crate) async fn left(&self) {
        self.0.closed().await;
    }
}

/// One event as it travels. JSON holds no line breaks, so it is one `data` line.
pub(crate) fn encode<T: Serialize>(name: &str, data: &T) -> Bytes {
    let json = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {json}\n\n").into()
}

/// An answer that lasts until [`Events`] is dropped or the reader leaves.
pub(crate) fn stream() -> (Events, Reply) {
    let (sender, pieces) = mpsc::channel(BACKLOG);
    let mut reply = Response::new(ReplyBody::beating(pieces));
    let headers = reply.headers_mut();
    let content_type = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    (Events(sender), reply)
}
