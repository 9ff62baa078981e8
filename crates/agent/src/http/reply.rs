//! Answers.

use super::body::{EventStream, ReplyBody};
use bytes::Bytes;
use http::header::{HeaderValue, CONTENT_TYPE};
use http::{Response, StatusCode};
use serde::Serialize;
use wardian_wire::connect::{Code, Failure};

pub(crate) type Reply = Response<ReplyBody>;

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(ReplyBody::Whole(None));
    *reply.status_mut() = status;
    reply
}

/// An answer of JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    match serde_json::to_vec(value) {
        Ok(bytes) => whole(status, "application/json", bytes.into()),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn whole(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Reply {
    let mut reply = Response::new(ReplyBody::Whole(Some(bytes)));
    *reply.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// A REST call that failed: `{code, message}`.
pub(crate) fn rest_error(status: StatusCode, message: &str) -> Reply {
    #[derive(Serialize)]
    struct Error<'a> {
        code: u16,
        message: &'a str,
    }
    let code = status.as_u16();
    json(status, &Error { code, message })
}

/// The answer to a unary call.
pub(crate) fn unary<T: Serialize>(result: Result<T, Failure>) -> Reply {
    match result {
        Ok(value) => json(StatusCode::OK, &value),
        Err(failure) => {
            let status = StatusCode::from_u16(failure.code.http_status());
            json(
                status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                &failure,
            )
        }
    }
}

/// The answer to a streaming call.
pub(crate) fn stream(result: Result<EventStream, Failure>) -> Reply {
    let body = match result {
        Ok(stream) => ReplyBody::Events(stream),
        Err(failure) => {
            let end = wardian_wire::connect::end_of_stream(Some(&failure));
            ReplyBody::Whole(Some(end.into()))
        }
    };
    let mut reply = Response::new(body);
    let content_type = HeaderValue::from_static("application/connect+json");
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// The answer to a call that streams in and answers once.
pub(crate) fn client_stream<T: Serialize>(result: Result<T, Failure>) -> Reply {
    let result = result.and_then(|value| {
        let mut bytes = wardian_wire::connect::envelope(&value)
            .map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        bytes.extend(wardian_wire::connect::end_of_stream(None));
        Ok(bytes)
    });
    match result {
        Ok(bytes) => whole(StatusCode::OK, "application/connect+json", bytes.into()),
        Err(failure) => stream(Err(failure)),
    }
}
