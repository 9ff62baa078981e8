//! Wardian's own services, below `/v1/`: what E2B's protocol lacks. Failures have the shape of the
//! native API, `{"error": {"code", "message", "hint"?}}`.

use super::reply::{self, Reply};
use super::request;
use crate::agent::Agent;
use crate::background;
use crate::file_service;
use crate::git;
use crate::sessions;
use crate::terminals;
use crate::watch;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::rc::Rc;
use wardian_wire::connect::{Code, Failure};

/// The longest body of a call that carries JSON, in bytes.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable, for programs.
    pub(crate) code: &'static str,
    /// What failed, on which object.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<&'static str>,
}

impl Problem {
    /// A failure with `status` and `code` that says `message`.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// The same that says what to do next.
    pub(crate) fn hint(self, hint: &'static str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }

    /// The answer that tells it.
    pub(crate) fn reply(&self) -> Reply {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Error<'a>,
        }
        #[derive(Serialize)]
        struct Error<'a> {
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
        }
        let error = Error {
            code: self.code,
            message: &self.message,
            hint: self.hint,
        };
        reply::json(self.status, &Body { error })
    }
}

impl From<Failure> for Problem {
    /// What the parts that speak Connect say, in the words of these services.
    fn from(failure: Failure) -> Self {
        let (status, code) = match failure.code {
            Code::InvalidArgument | Code::Unauthenticated => {
                (StatusCode::BAD_REQUEST, "invalid_request")
            }
            Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
            Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Code::ResourceExhausted | Code::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, code, failure.message)
    }
}

/// The JSON a request carries; no body is an empty object.
///
/// # Errors
/// 413 `too_large` above [`MAX_BODY`], 400 `invalid_request` for what is not its JSON or ends early.
pub(crate) async fn body<T: DeserializeOwned>(
    request: &mut Request<Incoming>,
) -> Result<T, Problem> {
    let invalid = |message| Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message);
    let collected = Limited::new(request.body_mut(), MAX_BODY).collect().await;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the request's body is longer than {MAX_BODY} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Problem::new(status, "too_large", message));
        }
        Err(error) => return Err(invalid(format!("the request's body ended early: {error}"))),
    };
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    // serde takes an array for an object whose fields it lists in order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("the request's body is no JSON object".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| invalid(format!("the request's body: {error}")))
}

/// Answers a request whose path begins with `/v1/`. The body of a call that failed is read to its
/// end, so that the answer is read too.
pub(crate) async fn answer(agent: Rc<Agent>, mut request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches("/v1/").splitn(2, '/');
    let (service, rest) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if service == "files" {
        return file_service::answer(&agent, rest, request).await;
    }
    let outcome: Result<Reply, Problem> = match service {
        "git" => git::service::answer(&agent, rest, &mut request).await,
        "watch" => watch::service::answer(&agent, rest, &mut request).await,
        "terminals" => terminals::service::answer(&agent, rest, &mut request).await,
        "processes" => background::service::answer(&agent, rest, &mut request).await,
        "run" => sessions::run::answer(&agent, rest, &mut request).await,
        "sessions" => sessions::service::answer(&agent, rest, &mut request).await,
        _ => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {path}"),
        )),
    };
    match outcome {
        Ok(reply) => reply,
        Err(problem) => {
            request::drain(request.body_mut()).await;
            problem.reply()
        }
    }
}
