//! Long work in short slices. A thread is busy only while there is something to do, never while a
//! client is slow, and between two slices others have their turn; when the client has left, the
//! work is over.

use super::problem::{invalid, Result};
use crate::http::body::ReplyBody;
use crate::http::native::Problem;
use crate::http::reply::Reply;
use bytes::Bytes;
use http::header::{HeaderValue, CONTENT_TYPE};
use http::{Response, StatusCode};
use std::io;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, Semaphore};
use wardian_wire::path_text::PathText;

/// How many slices run at once: short calls always find a thread.
static TURNS: Semaphore = Semaphore::const_new(4);
/// How long a slice lasts.
const SLICE: Duration = Duration::from_millis(20);
/// How much a slice gives before it ends, in bytes.
pub(super) const FULL: usize = 256 * 1024;
/// The most directories that can't be read that are told by name.
const MOST_UNREADABLE: usize = 100;

/// Tells a slice when it is over.
#[derive(Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Whether to stop here and go on in the next slice.
    pub(super) fn is_over(&self) -> bool {
        self.0.elapsed() >= SLICE
    }
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Done,
}

/// Work that gives bytes as it goes.
pub(super) trait Producer: Send + 'static {
    /// Does some of it and appends what comes of it to `out`.
    ///
    /// # Errors
    /// What ends the work, and the answer, before its time.
    fn slice(&mut self, clock: &Clock, out: &mut Vec<u8>) -> io::Result<Progress>;
}

/// Work with a result at its end.
pub(super) trait Task: Send + 'static {
    type Outcome: Send + 'static;

    /// Does some of it; `None` while there is more to do.
    ///
    /// # Errors
    /// What ends the work before its time.
    fn slice(&mut self, clock: &Clock) -> Result<Option<Self::Outcome>>;
}

/// Runs one piece of work where it may block.
async fn turn<T: Send + 'static>(work: impl FnOnce(Clock) -> T + Send + 'static) -> io::Result<T> {
    // Never closed.
    let _turn = TURNS.acquire().await.map_err(io::Error::other)?;
    let work = move || work(Clock(Instant::now()));
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

/// Runs `work` where it may block, in one go.
///
/// # Errors
/// That of `work`, or `internal` if it died.
pub(super) async fn once<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(died(&error)))
}

/// Runs `task` to its end.
///
/// # Errors
/// That of the task, or `internal` if it died.
pub(super) async fn finish<T: Task>(mut task: T) -> Result<T::Outcome> {
    loop {
        let slice = turn(move |clock| {
            let outcome = task.slice(&clock);
            (task, outcome)
        });
        let (again, outcome) = slice.await.map_err(|error| died(&error))?;
        if let Some(outcome) = outcome? {
            return Ok(outcome);
        }
        task = again;
    }
}

fn died(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        error.to_string(),
    )
}

/// An answer that sends what `producer` gives.
pub(super) fn stream(producer: impl Producer, content_type: &'static str) -> Reply {
    let (sender, pieces) = mpsc::channel(1);
    tokio::task::spawn_local(produce(producer, sender));
    let mut reply = Response::new(ReplyBody::Pieces(pieces, None));
    let content_type = HeaderValue::from_static(content_type);
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// The same as a stream of events, with comments in long silences.
pub(super) fn events(producer: impl Producer) -> Reply {
    let (sender, pieces) = mpsc::channel(1);
    tokio::task::spawn_local(produce(producer, sender));
    let mut reply = Response::new(ReplyBody::beating(pieces));
    let content_type = HeaderValue::from_static("text/event-stream");
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

async fn produce(mut producer: impl Producer, sender: mpsc::Sender<io::Result<Bytes>>) {
    while !sender.is_closed() {
        let slice = turn(move |clock| {
            let mut out = Vec::new();
            let progress = producer.slice(&clock, &mut out);
            (producer, progress, out)
        });
        let (again, progress, out) = match slice.await {
            Ok(slice) => slice,
            Err(error) => {
                // Whether anybody still listens makes no difference here.
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        producer = again;
        if !out.is_empty() && sender.send(Ok(out.into())).await.is_err() {
            return;
        }
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => return,
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }
}

/// Directories that could not be read, as answers tell them.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Unreadables(Vec<Unread>);

#[derive(Clone, Debug, serde::Serialize)]
struct Unread {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    message: String,
}

impl Unreadables {
    /// Adds one, if there are not too many to name.
    pub(super) fn add(&mut self, path: &[u8], message: String) {
        if self.0.len() < MOST_UNREADABLE {
            let path = PathText::new(path);
            self.0.push(Unread {
                path: path.text,
                path_b64: path.base64,
                message,
            });
        }
    }
}

/// Refuses a number that is not within `1..=most`.
pub(super) fn within(name: &str, value: usize, most: usize) -> Result<usize> {
    if (1..=most).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(format!(
            "{name} is {value}, not between 1 and {most}"
        )))
    }
}
