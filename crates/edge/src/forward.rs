//! One request's way: where to, over which connection, and back.

use crate::activity::{Activity, InFlight};
use crate::answers::{answer, wants_page};
use crate::body::{Passed, RequestBody, ResponseBody};
use crate::exchange::{exchange, Exchanged, Upstream};
use crate::headers::{self, Caller};
use crate::launcher_client::Launcher;
use crate::pool::Pool;
use crate::routing::{route, Routed, Target};
use crate::sandboxes::{Sandbox, Sandboxes};
use crate::upgrade::tunnel;
use http::header::{self, HeaderMap, HeaderValue};
use http::{request, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wardian_wire::boot::AGENT_PORT;
use wardian_wire::gateway::Refusal;
use wardian_wire::host::Domain;
use wardian_wire::SandboxId;

/// All that requests share.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) domain: Domain,
    pub(crate) control_plane: PathBuf,
    pub(crate) control_pool: Arc<Pool>,
    pub(crate) launcher: Launcher,
    pub(crate) sandboxes: Sandboxes,
    /// Proxies whose word on their callers is taken.
    pub(crate) trusted_proxies: Vec<IpAddr>,
    /// Tunnels run here, beside the connections they came on.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the edge stops and has waited long enough.
    pub(crate) stop: CancellationToken,
}

/// A change of protocol that a caller has asked for.
pub(crate) struct Change {
    protocol: HeaderValue,
    client: OnUpgrade,
}

/// One request on its way through the edge.
pub(crate) struct Crossing<'a> {
    pub(crate) head: request::Parts,
    body: RequestBody,
    pub(crate) change: Option<Change>,
    /// The one host that the request names.
    host: HeaderValue,
    pub(crate) caller: Caller,
    activity: &'a Activity,
    pub(crate) flight: &'a InFlight,
}

impl Edge {
    /// Answers one request.
    pub(crate) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Caller,
        activity: Activity,
    ) -> Response<ResponseBody> {
        let flight = activity.begin();
        let page = wants_page(request.headers());
        match self.pass(request, caller, &activity, &flight).await {
            Ok(response) => response,
            Err(refusal) => {
                tracing::debug!(
                    status = refusal.status(),
                    reason = refusal.message(),
                    "refused"
                );
                answer(&refusal, page, flight)
            }
        }
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        caller: Caller,
        activity: &Activity,
        flight: &InFlight,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let protocol = Some(request.version())
            .filter(|version| *version == Version::HTTP_11)
            .and_then(|_| headers::requested_upgrade(request.headers()));
        let change = protocol.map(|protocol| Change {
            protocol,
            client: hyper::upgrade::on(&mut request),
        });
        let (head, body) = request.into_parts();
        // Drains what is left of it, whatever the answer is.
        let body = RequestBody::new(body, flight.share());
        let caller = caller.seen_through(&self.trusted_proxies, &head.headers);
        let Routed { target, host } = route(&head, &self.domain)?;
        let mut crossing = Crossing {
            head,
            body,
            change,
            host,
            caller,
            activity,
            flight,
        };
        let (id, port) = match target {
            Target::Service(call) => return self.serve_call(&call, crossing).await,
            Target::Exposure { id, port, token } => {
                return self.visit((&id, port, &token), crossing).await
            }
            Target::ControlPlane => {
                crossing.prepare();
                headers::remove_routing(&mut crossing.head.headers);
                return self.relay(&Upstream::ControlPlane, crossing).await;
            }
            Target::Sandbox { id, port } => (id, port),
        };
        let sandbox = self.running(&id).await?;
        if port != AGENT_PORT {
            admit(&sandbox, &crossing.head.headers)?;
            headers::remove_routing(&mut crossing.head.headers);
        }
        crossing.prepare();
        self.relay(&Upstream::Sandbox(sandbox, port), crossing)
            .await
    }

    /// Sends a request that is ready to go, and gives back what comes.
    ///
    /// # Errors
    /// The answer to give instead.
    pub(crate) async fn relay(
        &self,
        upstream: &Upstream,
        crossing: Crossing<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (change, flight) = (crossing.change, crossing.flight);
        let cut = upstream.cut();
        if let Some(cut) = &cut {
            crossing.activity.belongs_to(cut);
        }
        let complete = crossing.body.completion();
        let request = Request::from_parts(crossing.head, crossing.body);
        let exchanged = exchange(self, upstream, request).await?;
        if exchanged.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(passed_on(exchanged, complete, cut, flight));
        }
        let Some(change) = change else {
            return Err(upstream.broken());
        };
        exchanged.lease.let_go();
        self.switch(change, exchanged.response, cut, flight)
    }

    /// Finds a sandbox.
    ///
    /// # Errors
    /// The routes are not known.
    pub(crate) async fn known(&self, id: &SandboxId) -> Result<Option<Arc<Sandbox>>, Refusal> {
        let found = self.sandboxes.find(id).await;
        found.map_err(|_| {
            Refusal::Unavailable("the node is starting and does not know its sandboxes yet")
        })
    }

    /// Finds a sandbox that runs.
    ///
    /// # Errors
    /// The answer to give instead.
    pub(crate) async fn running(&self, id: &SandboxId) -> Result<Arc<Sandbox>, Refusal> {
        let found = self.known(id).await?.filter(|found| found.is_running());
        found.ok_or_else(|| Refusal::Gone {
            sandbox: id.to_string(),
        })
    }

    fn switch(
        &self,
        change: Change,
        mut response: Response<Incoming>,
        cut: Option<CancellationToken>,
        flight: &InFlight,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let server = hyper::upgrade::on(&mut response);
        let (protocol, stop) = (
            response.headers().get(header::UPGRADE).cloned(),
            self.stop.clone(),
        );
        let (cut, flight_of_tunnel) = (cut.unwrap_or_default(), flight.share());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tunnel(change.client, server, cut, flight_of_tunnel) => {}
            }
        });
        let headers = response.headers_mut();
        headers::remove_hop_by_hop(headers);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.unwrap_or(change.protocol));
        Ok(response.map(|_| ResponseBody::Own {
            body: http_body_util::Full::default(),
            _flight: None,
        }))
    }
}

/// The answer as it goes to the caller.
fn passed_on(
    exchanged: Exchanged,
    request_complete: Arc<AtomicBool>,
    cut: Option<CancellationToken>,
    flight: &InFlight,
) -> Response<ResponseBody> {
    let Exchanged {
        mut response,
        lease,
    } = exchanged;
    headers::remove_hop_by_hop(response.headers_mut());
    response.map(|incoming| {
        ResponseBody::Passed(Box::new(Passed {
            incoming,
            ended: false,
            lease: Some(lease),
            request_complete,
            cut: cut.map(|cut| Box::pin(cut.cancelled_owned())),
            _flight: flight.share(),
        }))
    })
}

impl Crossing<'_> {
    /// What another part of the node said to the caller, in place of whom it asked for.
    pub(crate) fn refused(&self, words: Exchanged) -> Response<ResponseBody> {
        let complete = Arc::new(AtomicBool::new(true));
        passed_on(words, complete, None, self.flight)
    }

    /// Turns the head as it came into the head as it goes on: HTTP/1.1, origin form.
    pub(crate) fn prepare(&mut self) {
        let head = &mut self.head;
        let path = head.uri.path_and_query().cloned();
        head.uri = match path {
            Some(path) => Uri::from(path),
            None => Uri::from_static("/"),
        };
        head.version = Version::HTTP_11;
        let headers = &mut head.headers;
        headers::remove_hop_by_hop(headers);
        // The edge itself asks the caller to go on, once the body is wanted.
        headers.remove(header::EXPECT);
        headers::set_forwarded(headers, self.caller, &self.host);
        headers::join_cookies(headers);
        headers.insert(header::HOST, self.host.clone());
        if let Some(change) = &self.change {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, change.protocol.clone());
        }
    }
}

/// Whether a request brings what the ports of this sandbox ask for.
fn admit(sandbox: &Sandbox, headers: &HeaderMap) -> Result<(), Refusal> {
    let token = headers
        .get(headers::WARDIAN_TRAFFIC_TOKEN)
        .or_else(|| headers.get(headers::E2B_TRAFFIC_TOKEN));
    if sandbox.admits(token.map(HeaderValue::as_bytes)) {
        return Ok(());
    }
    Err(Refusal::Forbidden {
        sandbox: sandbox.id.to_string(),
    })
}
