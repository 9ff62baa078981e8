//! Sends a request over a connection, kept or new, and decides when it may be sent again.

use super::body::{empty, Body, FromUpstream, ToUpstream};
use super::reach::{broken, Reach};
use super::refusals::Refusal;
use super::upstreams::{Key, Lease, Sender};
use crate::headers;
use http::header;
use http::{request, Method, Request, Response, Uri, Version};
use hyper::body::{Body as _, Incoming};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;
use wardian_wire::egress::compiled::Admission;

/// How long a kept connection may take over the rest of the request before.
const FREE_WITHIN: Duration = Duration::from_millis(100);
/// How long it is waited for another request that dials the same server.
const GATE_TIME: Duration = Duration::from_secs(10);

/// An answer's head and body, and the connection it comes on.
pub(super) struct Exchanged {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) request_complete: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// Why there is none, and who was asked last.
pub(super) type Failure = (Refusal, Option<SocketAddr>);

enum Attempt {
    Answered(Box<Exchanged>),
    /// Nothing of the request has been acted on: it may be sent again.
    Again(Box<Request<Body>>),
    Lost(Refusal),
}

/// Gets the head of the answer. The request has an absolute URI and a `Host` line.
///
/// # Errors
/// [`Failure`].
pub(super) async fn exchange(
    reach: &Reach<'_>,
    key: &Key,
    mut request: Request<Body>,
    upgrade: bool,
) -> Result<Exchanged, Failure> {
    let repeatable = is_repeatable(&request);
    let admitted = |address: SocketAddr| {
        let named = key.instead.is_some();
        named || reach.policy.admits(reach.rule, &key.to, address.ip()) != Admission::No
    };
    let kept = || match upgrade {
        true => None,
        false => reach.pool.take(key, repeatable, admitted),
    };
    // A connection that was kept may be stale, so its failure says nothing about the next one.
    while let Some(lease) = kept() {
        let address = lease.address;
        match attempt(lease, request, repeatable).await {
            Attempt::Answered(exchanged) => return Ok(*exchanged),
            Attempt::Again(again) => request = *again,
            Attempt::Lost(refusal) => return Err((refusal, Some(address))),
        }
    }
    let gate = reach.pool.gate(key).filter(|_| key.tls && !upgrade);
    let held = match &gate {
        Some(gate) => timeout(GATE_TIME, gate.lock()).await.ok(),
        None => None,
    };
    let shared = held
        .is_some()
        .then(|| reach.pool.take(key, false, admitted));
    let lease = match shared.flatten() {
        Some(lease) => lease,
        None => reach.connect(key, !upgrade).await?,
    };
    drop(held);
    let address = lease.address;
    match attempt(lease, request, false).await {
        Attempt::Answered(exchanged) => Ok(*exchanged),
        Attempt::Again(_) => {
            let refusal = Refusal::failed(
                wardian_wire::egress::event::Reason::Upstream,
                "the server closed the connection before it took the request",
            );
            Err((refusal, Some(address)))
        }
        Attempt::Lost(refusal) => Err((refusal, Some(address))),
    }
}

/// What asks for nothing but an answer.
fn is_repeatable(request: &Request<Body>) -> bool {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    safe && request.body().is_end_stream()
}

async fn attempt(mut lease: Lease, request: Request<Body>, repeatable: bool) -> Attempt {
    let copy = repeatable.then(|| copy_of(&request));
    let (head, body) = request.into_parts();
    let (absolute, host) = (head.uri.clone(), head.headers.get(header::HOST).cloned());
    let body = ToUpstream::new(body);
    let request_complete = body.completion();
    let http2 = lease.is_http2();
    let request = Request::from_parts(written_for(head, http2), body);
    let sent = match &mut lease.sender {
        Sender::Http1 {
            sender: Some(sender),
            limit,
            ..
        } => {
            limit.set();
            match timeout(FREE_WITHIN, sender.ready()).await {
                Ok(Ok(())) => {
                    let sent = sender.try_send_request(request).await;
                    limit.lift();
                    sent
                }
                _ => return Attempt::Again(restored(request, absolute, host)),
            }
        }
        Sender::Http1 { sender: None, .. } => {
            return Attempt::Again(restored(request, absolute, host));
        }
        Sender::Http2 { sender, .. } => match sender.ready().await {
            Ok(()) => sender.try_send_request(request).await,
            Err(_) => return Attempt::Again(restored(request, absolute, host)),
        },
    };
    match sent {
        Ok(response) => Attempt::Answered(Box::new(Exchanged {
            response,
            lease,
            request_complete,
        })),
        Err(mut error) => {
            tracing::debug!(error = %error.error(), "request to a server failed");
            if let Some(unsent) = error.take_message() {
                return Attempt::Again(restored(unsent, absolute, host));
            }
            match copy {
                Some(copy) => Attempt::Again(Box::new(copy)),
                None => Attempt::Lost(broken(error.error())),
            }
        }
    }
}

/// A head as the server's version of HTTP has it.
fn written_for(mut head: request::Parts, http2: bool) -> request::Parts {
    if http2 {
        head.version = Version::HTTP_2;
        head.headers.remove(header::HOST);
        return head;
    }
    head.version = Version::HTTP_11;
    let path = head.uri.path_and_query().cloned();
    head.uri = path.map_or(Uri::from_static("/"), Uri::from);
    headers::join_cookies(&mut head.headers);
    head
}

fn restored(
    request: Request<ToUpstream>,
    absolute: Uri,
    host: Option<http::HeaderValue>,
) -> Box<Request<Body>> {
    let (mut head, body) = request.into_parts();
    head.uri = absolute;
    if let Some(host) = host {
        head.headers.insert(header::HOST, host);
    }
    Box::new(Request::from_parts(head, body.into_inner()))
}

fn copy_of(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

impl Exchanged {
    /// The answer with the connection inside its body.
    pub(super) fn into_response(self) -> Response<FromUpstream> {
        let Self {
            response,
            lease,
            request_complete,
        } = self;
        response.map(|incoming| FromUpstream {
            incoming,
            ended: false,
            lease: Some(lease),
            request_complete,
        })
    }
}
