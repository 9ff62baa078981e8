//! Who answers what, and who may ask.

use super::reply::{self, Reply};
use super::{native, request};
use crate::agent::Agent;
use crate::{control, files, filesystem, process};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use std::future::Future;
use std::rc::Rc;
use wardian_wire::connect::{Code, Failure};

/// Where the access token travels.
pub(crate) const ACCESS_TOKEN: &str = "x-access-token";

/// Answers one request.
pub(crate) async fn answer(agent: Rc<Agent>, mut request: Request<Incoming>) -> Reply {
    let mut reply = if request.method() == Method::OPTIONS {
        preflight(request.headers())
    } else if !is_open(&request) && !agent.admits(token(request.headers())) {
        request::drain(request.body_mut()).await;
        reply::rest_error(
            StatusCode::UNAUTHORIZED,
            "unauthorized access, please provide a valid access token or method signing if supported",
        )
    } else {
        dispatch(agent, request).await
    };
    let headers = reply.headers_mut();
    let any = HeaderValue::from_static("*");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, any);
    reply
}

/// The access token of a request.
pub(crate) fn token(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(ACCESS_TOKEN).map(HeaderValue::as_bytes)
}

/// Whether a request is let in without a token here: health tells nothing, files check signatures,
/// and init has a guard of its own.
fn is_open(request: &Request<Incoming>) -> bool {
    matches!(
        (request.method().as_str(), request.uri().path()),
        ("GET" | "HEAD", "/health" | "/files") | ("POST", "/files" | "/init")
    )
}

fn preflight(headers: &HeaderMap) -> Reply {
    let mut reply = reply::empty(StatusCode::NO_CONTENT);
    let answer = reply.headers_mut();
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    // A wildcard would leave out Authorization, so what was asked for is given back.
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = asked.cloned().unwrap_or(HeaderValue::from_static("*"));
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
    let two_hours = HeaderValue::from_static("7200");
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, two_hours);
    answer.insert(
        header::VARY,
        HeaderValue::from_static("Access-Control-Request-Headers"),
    );
    reply
}

async fn dispatch(agent: Rc<Agent>, mut request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    if let Some(method) = path.strip_prefix("/process.Process/") {
        return match post(&request) {
            Ok(()) => rpc(process::service::call(agent, method, request)).await,
            Err(reply) => *reply,
        };
    }
    if let Some(method) = path.strip_prefix("/filesystem.Filesystem/") {
        return match post(&request) {
            Ok(()) => rpc(filesystem::service::call(agent, method, request)).await,
            Err(reply) => *reply,
        };
    }
    if path.starts_with("/v1/") {
        return native::answer(agent, request).await;
    }
    match (request.method().as_str(), path.as_str()) {
        ("GET" | "HEAD", "/health") => reply::empty(StatusCode::NO_CONTENT),
        ("GET", "/envs") => reply::json(StatusCode::OK, &agent.env()),
        ("GET", "/metrics") => control::metrics(&agent).await,
        ("POST", "/init") => control::init(&agent, request).await,
        ("GET" | "HEAD", "/files") => files::download::download(&agent, &request).await,
        ("POST", "/files") => files::upload::upload(&agent, request).await,
        ("POST", "/files/compose") => files::compose::compose(&agent, request).await,
        (_, "/health" | "/envs" | "/metrics" | "/init" | "/files" | "/files/compose") => {
            request::drain(request.body_mut()).await;
            reply::rest_error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        }
        _ => {
            request::drain(request.body_mut()).await;
            reply::rest_error(StatusCode::NOT_FOUND, "no such route")
        }
    }
}

/// Connect's calls are POST; another method is answered as the protocol says.
fn post(request: &Request<Incoming>) -> Result<(), Box<Reply>> {
    if request.method() == Method::POST {
        return Ok(());
    }
    let mut reply = reply::empty(StatusCode::METHOD_NOT_ALLOWED);
    let allow = HeaderValue::from_static("POST");
    reply.headers_mut().insert(header::ALLOW, allow);
    Err(Box::new(reply))
}

async fn rpc(call: impl Future<Output = Reply>) -> Reply {
    let mut reply = call.await;
    let name = HeaderName::from_static("connect-accept-encoding");
    let identity = HeaderValue::from_static("identity");
    reply.headers_mut().insert(name, identity);
    reply
}

/// Runs a unary call under its own deadline.
///
/// # Errors
/// That of the call, or `deadline_exceeded`.
pub(crate) async fn within_deadline<T>(
    headers: &HeaderMap,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match request::timeout(headers)? {
        None => call.await,
        Some(limit) => tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(Failure::new(
                Code::DeadlineExceeded,
                format!("the call took longer than {} ms", limit.as_millis()),
            ))
        }),
    }
}

/// The call is not one of the service's.
pub(crate) fn unknown_method(service: &str, method: &str) -> Failure {
    Failure::new(
        Code::Unimplemented,
        format!("{service} has no method {method}"),
    )
}
