//! Heads as HTTP has them and as handlers see them, and what a handler's head may say.

use super::HandlerError;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{request, response, Method, StatusCode, Uri, Version};
use wardian_wire::egress::handler_frame::{
    from_latin1, latin1, ForwardHead, Headers, RequestHead, ResponseHead, SandboxFacts,
};
use wardian_wire::egress::policy::HandlerCall;

/// The longest header lines of a handler, in bytes, and the most of them.
const MAX_BYTES: usize = 64 * 1024;
const MAX_LINES: usize = 100;

/// What frames a message belongs to the connection it came on.
const FRAMING: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TRAILER,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What a handler is told of a request with an absolute URI.
pub(super) fn request_head(
    call: &HandlerCall,
    facts: SandboxFacts,
    head: &request::Parts,
    body: bool,
) -> RequestHead {
    let version = match head.version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let shown = |name: &HeaderName| {
        *name == header::CONTENT_LENGTH || (*name != header::HOST && !FRAMING.contains(name))
    };
    RequestHead {
        handler: call.name.clone(),
        parameters: call.parameters.clone().into_iter().collect(),
        timeout_ms: call.timeout_ms,
        sandbox: facts,
        method: head.method.to_string(),
        url: head.uri.to_string(),
        version: version.to_owned(),
        headers: lines(&head.headers, shown),
        body,
    }
}

/// What a handler is told of a response.
pub(super) fn response_head(head: &response::Parts, length: Option<u64>) -> ResponseHead {
    ResponseHead {
        status: head.status.as_u16(),
        headers: lines(&head.headers, |name| {
            *name == header::CONTENT_LENGTH || !FRAMING.contains(name)
        }),
        length,
    }
}

/// Header lines or trailers as a handler sees them.
pub(super) fn lines(headers: &HeaderMap, shown: impl Fn(&HeaderName) -> bool) -> Headers {
    let shown = headers.iter().filter(|(name, _)| shown(name));
    shown
        .map(|(name, value)| (name.as_str().to_owned(), latin1(value.as_bytes())))
        .collect()
}

/// Puts what a handler says into the request's head.
///
/// # Errors
/// [`HandlerError::Refused`] if it may not say that.
pub(super) fn forwarded(
    mut head: request::Parts,
    said: &ForwardHead,
) -> Result<request::Parts, HandlerError> {
    let method = Method::from_bytes(said.method.as_bytes());
    head.method = method
        .ok()
        .filter(|method| *method != Method::CONNECT)
        .ok_or(HandlerError::Refused("its method"))?;
    head.uri = moved(&head.uri, &said.url)?;
    let host = head.headers.remove(header::HOST);
    let upgrade = head.headers.remove(header::UPGRADE);
    let connection = head.headers.remove(header::CONNECTION);
    head.headers = headers(&said.headers)?;
    // An upgrade stays one: the handler has seen its request, and is not part of the tunnel.
    let own = [
        (header::HOST, host),
        (header::UPGRADE, upgrade.clone()),
        (header::CONNECTION, connection.filter(|_| upgrade.is_some())),
    ];
    for (name, value) in own {
        if let Some(value) = value {
            head.headers.insert(name, value);
        }
    }
    Ok(head)
}

fn moved(from: &Uri, to: &str) -> Result<Uri, HandlerError> {
    const REFUSED: HandlerError = HandlerError::Refused("its url");
    let to = to.parse::<Uri>().map_err(|_| REFUSED)?;
    let same = from.scheme() == to.scheme() && from.authority() == to.authority();
    if !same {
        return Err(REFUSED);
    }
    let mut parts = from.clone().into_parts();
    let path = to.path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).map_err(|_| REFUSED)
}

/// Makes a response's head of a handler's.
///
/// # Errors
/// [`HandlerError::Refused`] if it may not say that.
pub(super) fn answered(said: &ResponseHead) -> Result<response::Parts, HandlerError> {
    let status = StatusCode::from_u16(said.status).ok();
    let status = status.filter(|status| (200..600).contains(&status.as_u16()));
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = status.ok_or(HandlerError::Refused("its status"))?;
    head.headers = headers(&said.headers)?;
    Ok(head)
}

/// Reads header lines or trailers; those that frame a message are left out.
///
/// # Errors
/// [`HandlerError::Refused`] if they are none, or too many.
pub(super) fn headers(said: &Headers) -> Result<HeaderMap, HandlerError> {
    const REFUSED: HandlerError = HandlerError::Refused("its headers");
    let bytes: usize = said
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > MAX_BYTES || said.len() > MAX_LINES {
        return Err(REFUSED);
    }
    let mut headers = HeaderMap::with_capacity(said.len());
    for (name, value) in said {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| REFUSED)?;
        let value = from_latin1(value).ok_or(REFUSED)?;
        let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value));
        let value = value.map_err(|_| REFUSED)?;
        if name != header::HOST && !FRAMING.contains(&name) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}
