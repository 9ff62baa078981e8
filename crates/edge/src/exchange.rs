//! Sends a request over a connection, kept or new, and decides when it may be sent again.

use crate::body::RequestBody;
use crate::dial::{dial_control_plane, dial_exposure, dial_sandbox, DialError};
use crate::exposures::Exposure;
use crate::forward::Edge;
use crate::pool::{Lease, Pool};
use crate::sandboxes::Sandbox;
use http::{Method, Request, Response};
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout, Instant};
use tokio_util::sync::CancellationToken;
use wardian_wire::boot::AGENT_PORT;
use wardian_wire::gateway::Refusal;
use wardian_wire::preview::PreviewRefusal;

/// How long a request waits for a control plane that is being restarted.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// How long a kept connection may take over the rest of the request before: a server that answers
/// early may leave it unread for as long as it likes.
const FREE_WITHIN: Duration = Duration::from_millis(100);

/// Who answers a request.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    ControlPlane,
    Sandbox(Arc<Sandbox>, u16),
    Exposure(Arc<Sandbox>, Arc<Exposure>),
}

/// An answer's head and body, and the connection it comes on.
#[derive(Debug)]
pub(crate) struct Exchanged {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

/// What one attempt came to.
enum Attempt {
    Answered(Box<Exchanged>),
    /// Nothing of the request has been acted on: it may be sent again.
    Again(Box<Request<RequestBody>>),
    /// It may have been acted on.
    Lost,
}

impl Upstream {
    /// Cancelled when the sandbox is gone, or what led there.
    pub(crate) fn cut(&self) -> Option<CancellationToken> {
        match self {
            Self::ControlPlane => None,
            Self::Sandbox(sandbox, _) => Some(sandbox.cut.clone()),
            Self::Exposure(_, exposure) => Some(exposure.cut.clone()),
        }
    }

    /// The refusal for an answer that broke off before it began.
    pub(crate) fn broken(&self) -> Refusal {
        match self {
            Self::ControlPlane => {
                Refusal::Unavailable("the control plane stopped before it answered")
            }
            Self::Sandbox(sandbox, _) if sandbox.cut.is_cancelled() => Refusal::Gone {
                sandbox: sandbox.id.to_string(),
            },
            Self::Sandbox(sandbox, port) => Refusal::Broken {
                sandbox: sandbox.id.to_string(),
                port: *port,
            },
            Self::Exposure(sandbox, exposure) => Refusal::Preview(match exposure.rule.port {
                _ if sandbox.cut.is_cancelled() => PreviewRefusal::Ended,
                _ if exposure.cut.is_cancelled() => PreviewRefusal::NotFound,
                port => PreviewRefusal::Broken { port },
            }),
        }
    }

    async fn kept(&self, edge: &Edge) -> Option<Lease> {
        let (pool, port): (&Arc<Pool>, u16) = match self {
            Self::ControlPlane => (&edge.control_pool, 0),
            Self::Sandbox(sandbox, port) => (&sandbox.pool, *port),
            Self::Exposure(_, exposure) => (&exposure.pool, exposure.rule.port),
        };
        loop {
            let mut lease = pool.take(port)?;
            if timeout(FREE_WITHIN, lease.ready()).await == Ok(true) {
                return Some(lease);
            }
        }
    }

    async fn dial(&self, edge: &Edge) -> Result<Lease, DialError> {
        match self {
            Self::ControlPlane => dial_control_plane(&edge.control_plane, &edge.control_pool).await,
            Self::Sandbox(sandbox, port) => dial_sandbox(&edge.launcher, sandbox, *port).await,
            Self::Exposure(sandbox, exposure) => {
                dial_exposure(&edge.launcher, sandbox, exposure).await
            }
        }
    }

    fn refusal(&self, error: &DialError) -> Refusal {
        let (sandbox, port) = match self {
            Self::ControlPlane => return Refusal::Unavailable("the control plane is not there"),
            Self::Exposure(_, exposure) => return preview_refusal(error, exposure.rule.port),
            Self::Sandbox(sandbox, port) => (sandbox, port),
        };
        let sandbox = sandbox.id.to_string();
        match error {
            DialError::Gone => Refusal::Gone { sandbox },
            // A sandbox whose agent does not listen is none.
            DialError::Closed if *port == AGENT_PORT => Refusal::Gone { sandbox },
            DialError::Closed => Refusal::PortClosed {
                sandbox,
                port: *port,
            },
            DialError::NoLauncher => Refusal::Unavailable("the launcher is not there"),
            DialError::Io(_) | DialError::Http(_) => Refusal::Broken {
                sandbox,
                port: *port,
            },
        }
    }
}

fn preview_refusal(error: &DialError, port: u16) -> Refusal {
    Refusal::Preview(match error {
        DialError::Gone => PreviewRefusal::Ended,
        DialError::Closed => PreviewRefusal::PortClosed { port },
        DialError::NoLauncher => return Refusal::Unavailable("the launcher is not there"),
        DialError::Io(_) | DialError::Http(_) => PreviewRefusal::Broken { port },
    })
}

/// Gets the head of the answer.
///
/// # Errors
/// The answer to give instead.
pub(crate) async fn exchange(
    edge: &Edge,
    upstream: &Upstream,
    request: Request<RequestBody>,
) -> Result<Exchanged, Refusal> {
    let Some(cut) = upstream.cut() else {
        return attempts(edge, upstream, request).await;
    };
    tokio::select! {
        biased;
        () = cut.cancelled() => Err(upstream.broken()),
        answered = attempts(edge, upstream, request) => answered,
    }
}

async fn attempts(
    edge: &Edge,
    upstream: &Upstream,
    mut request: Request<RequestBody>,
) -> Result<Exchanged, Refusal> {
    let deadline = Instant::now() + PATIENCE;
    let waits = matches!(upstream, Upstream::ControlPlane);
    // A connection that was kept may be stale, so its failure says nothing about the next one.
    while let Some(lease) = upstream.kept(edge).await {
        match attempt(lease, request, true).await {
            Attempt::Answered(exchanged) => return Ok(*exchanged),
            Attempt::Again(again) => request = *again,
            Attempt::Lost => return Err(upstream.broken()),
        }
    }
    loop {
        let refusal = match upstream.dial(edge).await {
            Err(error) => upstream.refusal(&error),
            Ok(lease) => match attempt(lease, request, waits).await {
                Attempt::Answered(exchanged) => return Ok(*exchanged),
                Attempt::Lost => return Err(upstream.broken()),
                Attempt::Again(again) => {
                    request = *again;
                    upstream.broken()
                }
            },
        };
        if !waits || Instant::now() >= deadline {
            return Err(refusal);
        }
        sleep(RETRY_AFTER).await;
    }
}

/// Sends the request; `repeatable`: a failure may be the connection's, so what asks for nothing
/// but an answer (a safe method without a body) may be sent again.
async fn attempt(mut lease: Lease, request: Request<RequestBody>, repeatable: bool) -> Attempt {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let copy = (repeatable && safe && request.body().is_end_stream()).then(|| copy_of(&request));
    lease.limit().set();
    if !lease.ready().await {
        return Attempt::Again(Box::new(request));
    }
    let Some(sender) = lease.sender() else {
        return Attempt::Again(Box::new(request));
    };
    match sender.try_send_request(request).await {
        Ok(response) => {
            lease.limit().lift();
            Attempt::Answered(Box::new(Exchanged { response, lease }))
        }
        Err(mut error) => {
            tracing::debug!(error = %error.error(), "request failed");
            let unsent = error.take_message().map(Box::new);
            unsent
                .or_else(|| copy.map(Box::new))
                .map_or(Attempt::Lost, Attempt::Again)
        }
    }
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}
