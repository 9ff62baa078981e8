//! `/v1/sessions`.

use super::view::{List, View};
use super::{Refused, Wanted};
use crate::agent::Agent;
use crate::http::native::{self, Problem};
use crate::http::reply::{self, Reply};
use base64::{engine::general_purpose::STANDARD, Engine};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::rc::Rc;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::name;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Create {
    name: Option<String>,
    cwd: Option<String>,
    cwd_b64: Option<String>,
    env: BTreeMap<String, String>,
    user: Option<String>,
}

/// Answers a call whose path goes on with `rest` behind `/v1/sessions/`.
///
/// # Errors
/// [`Problem`].
pub(crate) async fn answer(
    agent: &Rc<Agent>,
    rest: &str,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    match (request.method(), rest) {
        (&Method::POST, "") => {
            let asked: Create = native::body(request).await?;
            create(agent, asked)
        }
        (&Method::GET, "") => {
            let all = agent.sessions.all();
            let sessions = all.iter().map(|s| View::of(s)).collect();
            Ok(reply::json(StatusCode::OK, &List { sessions }))
        }
        (&Method::GET, name) if name::is_valid(name) => {
            let session = agent.sessions.find(name).map_err(problem)?;
            Ok(reply::json(StatusCode::OK, &View::of(&session)))
        }
        (&Method::DELETE, name) if name::is_valid(name) => {
            agent.sessions.remove(name).map_err(problem)?;
            Ok(reply::empty(StatusCode::NO_CONTENT))
        }
        (_, rest) if rest.is_empty() || name::is_valid(rest) => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("sessions can't be asked for with {}", request.method()),
        )),
        _ => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "session_not_found",
            "there is no such session",
        )),
    }
}

fn create(agent: &Agent, asked: Create) -> Result<Reply, Problem> {
    if asked
        .name
        .as_deref()
        .is_some_and(|name| !name::is_valid(name))
    {
        return Err(invalid(
            "name must be 1 to 63 of a-z, 0-9 and -, and begin and end with none of the last",
        ));
    }
    let wanted = Wanted {
        name: asked.name,
        cwd: bytes("cwd", asked.cwd, asked.cwd_b64)?.unwrap_or_default(),
        env: asked.env,
        user: asked.user,
    };
    match agent.sessions.create(agent, wanted) {
        Ok(session) => Ok(reply::json(StatusCode::CREATED, &View::of(&session))),
        Err(refused) => Err(explain(refused)),
    }
}

fn explain(refused: Refused) -> Problem {
    match refused {
        Refused::Exists(name) => Problem::new(
            StatusCode::CONFLICT,
            "session_exists",
            format!("there is a session '{name}' already"),
        ),
        Refused::TooMany => Problem::new(
            StatusCode::CONFLICT,
            "too_many_sessions",
            format!("this sandbox has {} sessions", super::MAX_SESSIONS),
        )
        .hint("close those that are not needed"),
        Refused::NoBash => unsupported(),
        Refused::Failed(failure) => failure.into(),
    }
}

fn unsupported() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "unsupported",
        "sessions need bash, and this sandbox has none",
    )
    .hint("use a template with bash, install it, or run commands without a session")
}

/// What a session's commands say, in the words of this service.
pub(super) fn problem(failure: Failure) -> Problem {
    let with = |status, code| Problem::new(status, code, failure.message.clone());
    match failure.code {
        Code::NotFound => with(StatusCode::NOT_FOUND, "session_not_found"),
        Code::FailedPrecondition => match failure.message.split_once(": ") {
            Some(("session_ended", message)) => {
                Problem::new(StatusCode::GONE, "session_ended", message)
                    .hint("delete it, or make another")
            }
            Some(("unsupported", _)) => unsupported(),
            Some(("session_directory", message)) => {
                Problem::new(StatusCode::CONFLICT, "session_directory", message)
            }
            _ => with(StatusCode::CONFLICT, "conflict"),
        },
        _ => failure.into(),
    }
}

/// A field that is text, or bytes in base64 under the same name with `_b64`.
pub(super) fn bytes(
    field: &str,
    text: Option<String>,
    encoded: Option<String>,
) -> Result<Option<Vec<u8>>, Problem> {
    match (text, encoded) {
        (Some(_), Some(_)) => Err(invalid(format!("give {field} or {field}_b64, not both"))),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(encoded)) => match STANDARD.decode(encoded) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(invalid(format!("{field}_b64 is no base64: {error}"))),
        },
        (None, None) => Ok(None),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}
