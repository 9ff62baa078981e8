//! Wardian's own services, below `/v1/`: what E2B's protocol lacks. Failures have the shape of the
//! native API, `{"error": {"code", "message", "hint"?}}`.

use super::reply::{self, Reply};
use super::request;
use crate::agent::Agent;
use crate::file_service;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use std::rc::Rc;

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
