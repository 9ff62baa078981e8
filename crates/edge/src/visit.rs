//! Visitors of exposures: who may come in, and what they may not carry further.

use crate::answers::wants_page;
use crate::body::{RequestBody, ResponseBody};
use crate::exchange::{exchange, Exchanged, Upstream};
use crate::exposures::Exposure;
use crate::forward::{Crossing, Edge};
use crate::headers::{self, API_KEY};
use crate::shown;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};
use wardian_wire::edge::HostHeader;
use wardian_wire::gateway::Refusal;
use wardian_wire::preview::{PassKind, Passes, PreviewRefusal, COOKIE};
use wardian_wire::SandboxId;

/// What becomes of a visitor.
enum Visit {
    /// The request may go on.
    Enter,
    /// To the same address without the ticket, with the cookie it was exchanged for.
    Redirect(Response<ResponseBody>),
    /// The control plane's words.
    Refused(Box<Exchanged>),
}

impl Edge {
    /// Shows a visitor what is exposed, if it may see it.
    ///
    /// # Errors
    /// The answer to give instead.
    pub(crate) async fn visit(
        &self,
        (id, port, token): (&SandboxId, u16, &str),
        mut crossing: Crossing<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let Some(sandbox) = self.known(id).await? else {
            return Err(absent(self, id, port, token).await);
        };
        let exposure = sandbox.exposure(port, token);
        let exposure = exposure.ok_or(Refusal::Preview(PreviewRefusal::NotFound))?;
        match admit(self, id, &exposure, &mut crossing).await? {
            Visit::Enter => {}
            Visit::Redirect(answer) => return Ok(answer),
            Visit::Refused(words) => return Ok(crossing.refused(*words)),
        }
        if !sandbox.is_running() {
            return Err(Refusal::Preview(PreviewRefusal::Paused));
        }
        crossing.prepare();
        headers::remove_routing(&mut crossing.head.headers);
        if exposure.rule.host_header == HostHeader::Localhost {
            let host = HeaderValue::from_str(&format!("localhost:{port}"));
            let host = host.unwrap_or(HeaderValue::from_static("localhost"));
            crossing.head.headers.insert(header::HOST, host);
        }
        let upstream = Upstream::Exposure(sandbox, exposure);
        let mut response = self.relay(&upstream, crossing).await?;
        headers::keep_cookies_home(response.headers_mut());
        Ok(response)
    }
}

/// Decides about a visitor and takes all passes out of the request.
///
/// # Errors
/// The answer to give instead.
async fn admit(
    edge: &Edge,
    sandbox: &SandboxId,
    exposure: &Exposure,
    crossing: &mut Crossing<'_>,
) -> Result<Visit, Refusal> {
    let shown = shown::take(&mut crossing.head)?;
    if exposure.is_public() {
        return Ok(Visit::Enter);
    }
    let passes = Passes {
        secret: &exposure.rule.secret,
        sandbox,
        port: exposure.rule.port,
    };
    let now = seconds_now();
    if let Some(ticket) = &shown.ticket {
        if let Some(expiry) = passes.check(PassKind::Ticket, ticket, now) {
            let head = &crossing.head;
            let looking =
                matches!(head.method, Method::GET | Method::HEAD) && wants_page(&head.headers);
            let redirect = looking
                .then(|| redirect(crossing, &passes, (expiry, now)))
                .flatten();
            return Ok(redirect.map_or(Visit::Enter, Visit::Redirect));
        }
    }
    let mut cookies = shown.cookies.iter();
    if cookies.any(|cookie| passes.check(PassKind::Cookie, cookie, now).is_some()) {
        return Ok(Visit::Enter);
    }
    match shown.key {
        Some(key) => ask(edge, sandbox, exposure, key).await,
        None if shown.ticket.is_some() => Err(Refusal::Preview(PreviewRefusal::BadTicket)),
        None => Err(Refusal::Preview(PreviewRefusal::Private)),
    }
}

/// The answer to a good ticket; `None` where the address can't stand in a header.
fn redirect(
    crossing: &Crossing<'_>,
    passes: &Passes<'_>,
    (expiry, now): (u64, u64),
) -> Option<Response<ResponseBody>> {
    let target = crossing
        .head
        .uri
        .path_and_query()
        .map_or("/", PathAndQuery::as_str);
    // Two slashes at the front would name another host.
    let relative = target
        .get(1..2)
        .is_some_and(|second| second == "/" || second == "\\");
    let location = format!("{}{target}", if relative { "/." } else { "" });
    let pass = passes.sign(PassKind::Cookie, expiry)?;
    // In a frame of another site only a partitioned cookie is kept, and only over TLS.
    let reach = if crossing.caller.tls {
        "Secure; SameSite=None; Partitioned"
    } else {
        "SameSite=Lax"
    };
    let age = expiry.saturating_sub(now);
    let cookie = format!("{COOKIE}={pass}; Path=/; Max-Age={age}; HttpOnly; {reach}");
    let mut response = Response::new(ResponseBody::Own {
        body: Full::default(),
        _flight: Some(crossing.flight.share()),
    });
    *response.status_mut() = StatusCode::SEE_OTHER;
    for (name, text) in [
        (header::LOCATION, location.as_str()),
        (header::SET_COOKIE, cookie.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        let value = HeaderValue::from_str(text).ok()?;
        response.headers_mut().insert(name, value);
    }
    Some(response)
}

/// Asks the control plane whether a key may use the sandbox.
async fn ask(
    edge: &Edge,
    sandbox: &SandboxId,
    exposure: &Exposure,
    key: HeaderValue,
) -> Result<Visit, Refusal> {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    if exposure.has_leave(&digest) {
        return Ok(Visit::Enter);
    }
    let lines = [("wardian-sandbox", sandbox.as_str())];
    let mut question = question("/internal/visit", &lines)?;
    question.headers_mut().insert(API_KEY, key);
    let answered = exchange(edge, &Upstream::ControlPlane, question).await?;
    if answered.response.status() != StatusCode::NO_CONTENT {
        return Ok(Visit::Refused(Box::new(answered)));
    }
    answered.lease.give_back();
    exposure.give_leave(digest);
    Ok(Visit::Enter)
}

/// Why there is nothing at the address of an exposure whose sandbox has no route: the control
/// plane knows whether there ever was.
async fn absent(edge: &Edge, sandbox: &SandboxId, port: u16, token: &str) -> Refusal {
    let port = port.to_string();
    let lines = [
        ("wardian-sandbox", sandbox.as_str()),
        ("wardian-port", &port),
        ("wardian-token", token),
    ];
    let asked = match question("/internal/address", &lines) {
        Ok(question) => exchange(edge, &Upstream::ControlPlane, question).await,
        Err(refusal) => return refusal,
    };
    match asked {
        Ok(answered) if answered.response.status() == StatusCode::NO_CONTENT => {
            answered.lease.give_back();
            Refusal::Preview(PreviewRefusal::Ended)
        }
        Ok(_) => Refusal::Preview(PreviewRefusal::NotFound),
        Err(refusal) => refusal,
    }
}

fn question(
    path: &'static str,
    lines: &[(&'static str, &str)],
) -> Result<Request<RequestBody>, Refusal> {
    let mut question = Request::new(RequestBody::empty());
    *question.uri_mut() = Uri::from_static(path);
    let headers = question.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("control"));
    for (name, text) in lines {
        let value = HeaderValue::from_str(text)
            .map_err(|_| Refusal::Invalid("the address can't be read"))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(question)
}

fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
