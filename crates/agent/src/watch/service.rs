//! `/v1/watch`: from calls to trees.

use super::filter::Filter;
use super::queue::Item;
use super::record::{Cursor, Line};
use super::tree::{Trouble, Wish};
use super::watched::{Key, Subscription, Watched};
use super::{Change, Kind};
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::http::reply::{self, Reply};
use crate::http::{query, sse};
use crate::paths;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use wardian_wire::path_text::PathText;

/// How many streams one tree may have.
const MAX_STREAMS: usize = 64;
/// Events are sent together up to this size, in bytes.
const PIECE: usize = 32 * 1024;

type Result<T> = std::result::Result<T, Problem>;

/// Answers `/v1/watch` (`rest` empty) and `/v1/watch/changes`.
///
/// # Errors
/// Of the call, as [`Problem`]s.
pub(crate) async fn answer(
    agent: &Rc<Agent>,
    rest: &str,
    request: &mut Request<Incoming>,
) -> Result<Reply> {
    let changes = match rest {
        "" => false,
        "changes" => true,
        _ => {
            let message = format!("there is no /v1/watch/{rest}");
            return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", message));
        }
    };
    if request.method() != Method::GET {
        let message = "watch is asked for with GET";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Problem::new(status, "method_not_allowed", message));
    }
    let call = Call::read(agent, request.uri().query())?;
    let watched = agent.trees.get(&call.key, &call.wish).await;
    let watched = watched.map_err(|trouble| refusal(&call.key.root, &trouble))?;
    if changes {
        return Ok(told(&watched, call.since));
    }
    if watched.streams() >= MAX_STREAMS {
        let message = format!(
            "{} streams watch {} already",
            MAX_STREAMS,
            call.key.root.display()
        );
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "watch_limit",
            message,
        ));
    }
    let since = call.since.map(Since::cursor);
    let subscription = watched.subscribe(since);
    let (events, reply) = sse::stream();
    tokio::task::spawn_local(async move {
        tokio::select! {
            // Ends when the reader leaves, or the watch: both are told.
            _ = feed(&events, subscription, &call.key.root) => {}
            () = events.left() => {}
        }
    });
    Ok(reply)
}

/// Why a tree can't be watched, as it is answered.
pub(super) fn refusal(root: &Path, trouble: &Trouble) -> Problem {
    let root = root.display();
    match trouble {
        Trouble::Root(error) if error.kind() == std::io::ErrorKind::NotFound => Problem::new(
            StatusCode::NOT_FOUND,
            "file_not_found",
            format!("{root} does not exist"),
        ),
        Trouble::NotADirectory => not_a_directory(&root.to_string()),
        Trouble::Root(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            not_a_directory(&root.to_string())
        }
        Trouble::Root(error) => Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            format!("{root} can't be watched: {error}"),
        ),
        Trouble::Watches => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "watch_limit",
            format!("{root} can't be watched: {trouble}"),
        )
        .hint("exclude large directories, such as node_modules"),
        Trouble::Instances => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "watch_limit",
            format!("{root} can't be watched: {trouble}"),
        )
        .hint("close watches that are not needed"),
    }
}

fn not_a_directory(root: &str) -> Problem {
    let message = format!("{root} is not a directory");
    Problem::new(StatusCode::BAD_REQUEST, "not_a_directory", message)
        .hint("watch the directory it is in, with include set to its name")
}

/// What `since` says. A text that never was a cursor is of another life, as far as anyone knows.
#[derive(Clone, Copy)]
struct Since(Option<Cursor>);

impl Since {
    fn cursor(self) -> Cursor {
        // No record has this one: it counts from its own random instance.
        self.0.unwrap_or(Cursor {
            instance: 0,
            number: u64::MAX,
        })
    }
}

/// A call, read.
struct Call {
    key: Key,
    wish: Wish,
    since: Option<Since>,
}

impl Call {
    fn read(agent: &Agent, query: Option<&str>) -> Result<Self> {
        let (mut path, mut user, mut since) = (None, None, None);
        let (mut recursive, mut include, mut exclude) = (true, Vec::new(), Vec::new());
        for (name, value) in query::pairs(query) {
            match name.as_slice() {
                b"path" => path = Some(value),
                b"user" => user = Some(text("user", value)?),
                b"since" => since = Some(Since(Cursor::parse(&text("since", value)?))),
                b"include" => include.push(text("include", value)?),
                b"exclude" => exclude.push(text("exclude", value)?),
                b"recursive" => {
                    recursive = match value.as_slice() {
                        b"true" => true,
                        b"false" => false,
                        _ => return Err(invalid("recursive is true or false")),
                    }
                }
                other => {
                    let name = String::from_utf8_lossy(other).into_owned();
                    return Err(invalid(format!("there is no parameter '{name}' here")));
                }
            }
        }
        let path = path.ok_or_else(|| invalid("the parameter path is missing"))?;
        let user = agent.user(user.as_deref().filter(|name| !name.is_empty()))?;
        let root = paths::resolve(&path, &user, None).map_err(|e| invalid(e.to_string()))?;
        for globs in [&mut include, &mut exclude] {
            globs.sort();
            globs.dedup();
        }
        let filter = Filter::new(&include, &exclude).map_err(|e| invalid(e.to_string()))?;
        let wish = Wish {
            root: root.clone(),
            recursive,
            filter,
        };
        let key = Key {
            root,
            recursive,
            include,
            exclude,
        };
        Ok(Self { key, wish, since })
    }
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

fn text(name: &str, value: Vec<u8>) -> Result<String> {
    String::from_utf8(value).map_err(|_| invalid(format!("the parameter {name} is not UTF-8")))
}

#[derive(Serialize)]
struct At {
    cursor: String,
}

#[derive(Serialize)]
struct Resync {
    reason: &'static str,
    cursor: String,
}

#[derive(Serialize)]
struct Ended<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct ChangeText {
    #[serde(rename = "type")]
    kind: Kind,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_b64: Option<String>,
    directory: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

fn absolute(root: &Path, relative: &[u8]) -> PathText {
    let path: PathBuf = if relative.is_empty() {
        root.to_owned()
    } else {
        root.join(OsStr::from_bytes(relative))
    };
    PathText::new(path.as_os_str().as_bytes())
}

impl ChangeText {
    fn new(root: &Path, kind: Kind, path: &[u8], directory: bool) -> Self {
        let path = absolute(root, path);
        Self {
            kind,
            path: path.text,
            path_b64: path.base64,
            from: None,
            from_b64: None,
            directory,
            cursor: None,
        }
    }

    fn of(root: &Path, change: &Change, cursor: Cursor) -> Self {
        let from = change.from.as_ref().map(|from| absolute(root, from));
        let (from, from_b64) = from.map_or((None, None), |f| (Some(f.text), f.base64));
        Self {
            from,
            from_b64,
            cursor: Some(cursor.to_string()),
            ..Self::new(root, change.kind, &change.path, change.directory)
        }
    }

    fn line(root: &Path, line: &Line) -> Self {
        Self::new(root, line.kind, &line.path, line.directory)
    }
}

/// The answer to `/v1/watch/changes`.
fn told(watched: &Watched, since: Option<Since>) -> Reply {
    #[derive(Serialize)]
    struct Answer {
        cursor: String,
        changes: Vec<ChangeText>,
        resync: bool,
    }
    let (now, lines) = watched.since(since.map(Since::cursor));
    let root = &watched.key.root;
    let resync = lines.is_none();
    let lines = lines.unwrap_or_default();
    let answer = Answer {
        cursor: now.to_string(),
        changes: lines
            .iter()
            .map(|line| ChangeText::line(root, line))
            .collect(),
        resync,
    };
    reply::json(StatusCode::OK, &answer)
}

/// Tells a stream all there is to tell, until its reader leaves or the watch ends.
async fn feed(
    events: &sse::Events,
    mut subscription: Subscription,
    root: &Path,
) -> std::result::Result<(), sse::Left> {
    let now = subscription.now;
    let begin = subscription.begin.to_string();
    events.send("ready", &At { cursor: begin }).await?;
    let Some(missed) = subscription.missed.take() else {
        let reason = "cursor_expired";
        let cursor = now.to_string();
        events.send("resync", &Resync { reason, cursor }).await?;
        return follow(events, &subscription, root).await;
    };
    for line in missed {
        let number = line.number;
        let mut text = ChangeText::line(root, &line);
        text.cursor = Some(Cursor { number, ..now }.to_string());
        events.send("change", &text).await?;
    }
    follow(events, &subscription, root).await
}

async fn follow(
    events: &sse::Events,
    subscription: &Subscription,
    root: &Path,
) -> std::result::Result<(), sse::Left> {
    let mut next = Some(subscription.queue.next().await);
    loop {
        let mut piece = Vec::new();
        let mut ended = false;
        while let Some(item) = next.take() {
            piece.extend_from_slice(&encode(root, &item));
            ended = matches!(item, Item::End(..));
            if !ended && piece.len() < PIECE {
                next = subscription.queue.take();
            }
        }
        events.send_encoded(piece.into()).await?;
        if ended {
            return Ok(());
        }
        next = Some(subscription.queue.next().await);
    }
}

fn encode(root: &Path, item: &Item) -> bytes::Bytes {
    match item {
        Item::Change(change, cursor) => {
            sse::encode("change", &ChangeText::of(root, change, *cursor))
        }
        Item::Resync(reason, cursor) => {
            let cursor = cursor.to_string();
            sse::encode("resync", &Resync { reason, cursor })
        }
        Item::End(code, message) => sse::encode("error", &Ended { code, message }),
    }
}
