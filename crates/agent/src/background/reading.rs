//! Answers that are a log, or a part of one.

use super::log::{now, Log, Piece, Reader, Since};
use super::request::invalid;
use crate::http::body::ReplyBody;
use crate::http::native::Problem;
use crate::http::query::text_parameter;
use crate::http::reply::Reply;
use bytes::Bytes;
use http::header::{HeaderValue, ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use std::rc::Rc;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wardian_wire::log::{append, Kind, Records, CONTENT_TYPE as RECORDS};

/// How many pieces may wait for a reader; each is at most some 128 KiB.
const BACKLOG: usize = 2;

/// The output a request is about; `None` is both.
pub(super) fn stream(query: Option<&str>) -> Result<Option<Kind>, Problem> {
    match text_parameter(query, "stream").as_deref() {
        None => Ok(None),
        Some("stdout") => Ok(Some(Kind::Stdout)),
        Some("stderr") => Ok(Some(Kind::Stderr)),
        Some(_) => Err(invalid("stream must be stdout or stderr")),
    }
}

/// From where a request wants to read.
pub(super) fn since(query: Option<&str>) -> Result<Since, Problem> {
    let Some(text) = text_parameter(query, "since") else {
        return Ok(Since::Oldest);
    };
    let parsed = match text.strip_prefix('-') {
        Some(bytes) => bytes.parse().map(Since::Last),
        None => text.parse().map(Since::Cursor),
    };
    parsed.map_err(|_| invalid(format!("since is no cursor: '{}'", text.escape_debug())))
}

/// How a log is shown.
struct Shape {
    only: Option<Kind>,
    plain: bool,
    /// Bytes of output that are still wanted.
    left: u64,
}

/// Answers `log`.
pub(super) async fn read(
    log: &Rc<Log>,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    let flag = |name: &str| match text_parameter(query, name).as_deref() {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true" | "") => Ok(true),
        Some(_) => Err(invalid(format!("{name} must be true or false"))),
    };
    let follow = flag("follow")?;
    let left = match text_parameter(query, "limit") {
        None => u64::MAX,
        Some(text) => text
            .parse()
            .map_err(|_| invalid("limit is no number of bytes"))?,
    };
    if text_parameter(query, "log").is_some_and(|id| id != log.id) {
        let message = "the log this cursor belongs to is gone: another process has the name now";
        return Err(Problem::new(StatusCode::GONE, "log_replaced", message));
    }
    let since = since(query)?;
    if matches!(since, Since::Cursor(cursor) if cursor > log.range().1) {
        let message = format!("since is behind the log's end, {}", log.range().1);
        return Err(invalid(message));
    }
    let shape = Shape {
        only: stream(query)?,
        plain: wants_text(headers),
        left,
    };
    let plain = shape.plain;
    let reader = Reader::new(Rc::clone(log), since, follow).await;
    let (pieces, body) = mpsc::channel(BACKLOG);
    tokio::task::spawn_local(send(reader, shape, follow, pieces));
    let mut reply = Response::new(ReplyBody::Pieces(body, None));
    let content_type = match plain {
        true => HeaderValue::from_static("text/plain; charset=utf-8"),
        false => HeaderValue::from_static(RECORDS),
    };
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(reply)
}

fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/plain") && !accept.contains(RECORDS))
}

/// Sends the log to one reader, at its pace.
async fn send(
    mut reader: Reader,
    mut shape: Shape,
    follow: bool,
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    while shape.left > 0 {
        let piece = match reader.next().await {
            Piece::Records(at, records) => shape.cut(at, records),
            Piece::Finished => return,
            Piece::CaughtUp if !follow => return,
            Piece::CaughtUp => {
                let changed = timeout(crate::http::sse::HEARTBEAT, reader.changed());
                let waited = tokio::select! {
                    waited = changed => waited,
                    () = pieces.closed() => return,
                };
                match waited {
                    Ok(()) => continue,
                    Err(_) => shape.idle(reader.cursor()),
                }
            }
        };
        if !piece.is_empty() && pieces.send(Ok(piece)).await.is_err() {
            return;
        }
    }
}

impl Shape {
    /// What of these records is wanted, as it is wanted.
    fn cut(&mut self, at: u64, records: Bytes) -> Bytes {
        if self.only.is_none() && !self.plain && self.left == u64::MAX {
            return records;
        }
        let mut out = Vec::new();
        for (header, payload) in Records::new(&records, at).flatten() {
            let output = matches!(header.kind, Kind::Stdout | Kind::Stderr);
            if output && self.only.is_some_and(|only| only != header.kind) {
                continue;
            }
            if !self.plain {
                out.extend(header.encode());
                out.extend(payload);
            } else if output {
                out.extend(payload);
            }
            if output && self.left != u64::MAX {
                self.left = self.left.saturating_sub(payload.len() as u64);
            }
            if self.left == 0 {
                break;
            }
        }
        out.into()
    }

    /// What is sent in a long silence, so that neither side takes the other for dead.
    fn idle(&self, at: u64) -> Bytes {
        let mut record = Vec::new();
        if !self.plain {
            append(&mut record, Kind::Idle, at, now(), b"");
        }
        record.into()
    }
}
