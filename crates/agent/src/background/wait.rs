//! Waiting for what a process does: opening a port, writing a line, ending. Each wait ends at once
//! when it can't come true any more, and with the request of whoever has left.

use super::log::{Piece, Reader, Since};
use super::matcher::{Found, Pattern, Search};
use super::port::{self, Probe};
use super::reading;
use super::request::{invalid, seconds};
use super::{Background, Phase};
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::http::query::text_parameter;
use crate::http::reply::{self, Reply};
use http::StatusCode;
use serde_json::{json, Value};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use wardian_wire::log::Kind;

/// After so much silence a line that has not ended is looked at as it is: a prompt never ends.
const QUIET: Duration = Duration::from_millis(250);
/// What status of a server counts, unless told otherwise.
const STATUSES: std::ops::RangeInclusive<u16> = 200..=399;

/// The process is over, so it will not happen.
struct Over;

/// Answers `wait`.
pub(super) async fn wait(
    agent: &Agent,
    process: &Rc<Background>,
    query: Option<&str>,
) -> Result<Reply, Problem> {
    let limit = match text_parameter(query, "timeout") {
        Some(text) => Some(number("timeout", &text).and_then(|n| seconds("timeout", n))?),
        None => None,
    };
    let what = text_parameter(query, "for").unwrap_or_default();
    match what.as_str() {
        "port" => {
            let probe = probe(query)?;
            let what = format!("port {} of process '{}'", probe.port, process.name);
            let ready = async {
                tokio::select! {
                    status = probe.until_ready() => Ok(port_answer(status)),
                    () = process.reaches(Phase::Ended) => Err(Over),
                }
            };
            answer(agent, process, limit, &what, ready).await
        }
        "log" => {
            let (search, since) = search(query)?;
            let what = format!("a line in the log of process '{}'", process.name);
            let found = async { found_line(process, search, since).await.map(log_answer) };
            answer(agent, process, limit, &what, found).await
        }
        "exit" => {
            let what = format!("the end of process '{}'", process.name);
            let ended = async {
                process.reaches(Phase::Ended).await;
                Ok(json!(agent.background.view(process).await))
            };
            answer(agent, process, limit, &what, ended).await
        }
        _ => Err(invalid("for must be port, log or exit")),
    }
}

async fn answer(
    agent: &Agent,
    process: &Background,
    limit: Option<Duration>,
    what: &str,
    outcome: impl Future<Output = Result<Value, Over>>,
) -> Result<Reply, Problem> {
    let outcome = match limit {
        Some(limit) => timeout(limit, outcome).await.map_err(|_| limit),
        None => Ok(outcome.await),
    };
    match outcome {
        Ok(Ok(value)) => Ok(reply::json(StatusCode::OK, &value)),
        Ok(Err(Over)) => Ok(ended(agent, process, what).await),
        Err(limit) => {
            let message = format!("waited {} s in vain for {what}", limit.as_secs_f64());
            let status = StatusCode::REQUEST_TIMEOUT;
            Err(Problem::new(status, "wait_timeout", message))
        }
    }
}

/// 409 `process_ended`, with the process as it is now.
async fn ended(agent: &Agent, process: &Background, what: &str) -> Reply {
    let view = agent.background.view(process).await;
    let message = format!("process '{}' {} before {what}", process.name, view.reason());
    let error = json!({"code": "process_ended", "message": message, "process": view});
    reply::json(StatusCode::CONFLICT, &json!({ "error": error }))
}

fn number<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|_| invalid(format!("{what} is no number: '{}'", text.escape_debug())))
}

fn probe(query: Option<&str>) -> Result<Probe, Problem> {
    let text = text_parameter(query, "port").unwrap_or_default();
    let port = number("port", &text)?;
    if port == 0 {
        return Err(invalid("port must be between 1 and 65535"));
    }
    let path = text_parameter(query, "path");
    if path.as_deref().is_some_and(|path| !port::is_path(path)) {
        return Err(invalid("path must begin with / and be percent-encoded"));
    }
    let statuses = match text_parameter(query, "status") {
        None => STATUSES,
        Some(_) if path.is_none() => return Err(invalid("status needs a path")),
        Some(text) => {
            let (first, last) = text.split_once('-').unwrap_or((&text, &text));
            number("status", first)?..=number("status", last)?
        }
    };
    Ok(Probe {
        port,
        path,
        statuses,
    })
}

fn port_answer(status: Option<u16>) -> Value {
    status.map_or_else(|| json!({}), |status| json!({ "status": status }))
}

fn search(query: Option<&str>) -> Result<(Search, Since), Problem> {
    let text = text_parameter(query, "text");
    let pattern = match (text, text_parameter(query, "regex")) {
        (Some(text), None) => Pattern::Text(text.into_bytes()),
        (None, Some(regex)) => Pattern::regex(&regex).map_err(|why| {
            let problem = invalid(format!("regex can't be used: {why}"));
            problem.hint(
                "the syntax is that of the Rust crate regex: no look-around, no backreferences",
            )
        })?,
        _ => return Err(invalid("give either text or regex")),
    };
    let only: Option<Kind> = reading::stream(query)?;
    Ok((Search::new(pattern, only), reading::since(query)?))
}

async fn found_line(
    process: &Rc<Background>,
    mut search: Search,
    since: Since,
) -> Result<Found, Over> {
    let mut reader = Reader::new(Rc::clone(&process.log), since, true).await;
    let mut looked = false;
    loop {
        match reader.next().await {
            Piece::Records(at, records) => {
                looked = false;
                let work = move || {
                    let found = search.feed(&records, at);
                    (search, found)
                };
                // Only a thread that died gives no answer; then there is nobody left to search.
                let done = tokio::task::spawn_blocking(work).await;
                let (back, found) = done.map_err(|_| Over)?;
                search = back;
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            Piece::CaughtUp => {
                let quiet = async {
                    match search.has_unfinished() && !looked {
                        true => sleep(QUIET).await,
                        false => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = reader.changed() => continue,
                    () = quiet => {}
                }
                looked = true;
                if let Some(found) = search.look_at_unfinished() {
                    return Ok(found);
                }
            }
            Piece::Finished => {
                if let Some(found) = search.look_at_unfinished() {
                    return Ok(found);
                }
                process.reaches(Phase::Ended).await;
                return Err(Over);
            }
        }
    }
}

fn log_answer(found: Found) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let groups = found.groups.iter().map(|g| g.as_deref().map(text));
    json!({
        "line": text(&found.line), "match": text(&found.matched),
        "groups": groups.collect::<Vec<_>>(), "cursor": found.cursor,
    })
}
