//! One request's way: where to, over which connection, and back.

use crate::activity::{Activity, InFlight};
use crate::answers::{answer, wants_page};
use crate::authorise::{authorise, Verdict};
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
    /// Tunnels run here, beside the connections they came on.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the edge stops and has waited long enough.
    pub(crate) stop: CancellationToken,
}

/// A change of protocol that a caller has asked for.
struct Change {
    protocol: HeaderValue,
    client: OnUpgrade,
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
        let (mut head, body) = request.into_parts();
        // Drains what is left of it, whatever the answer is.
        let body = RequestBody::new(body, flight.share());
        let routed = route(&head, &self.domain)?;
        let Target::Service(call) = &routed.target else {
            let upstream = self.upstream(&routed.target, &head.headers).await?;
            prepare(&mut head, &routed, caller, change.as_ref());
            let request = Request::from_parts(head, body);
            return self
                .relay(&upstream, request, change, activity, flight)
                .await;
        };
        let grant = match authorise(self, call, &mut head, change.is_some()).await? {
            Verdict::Granted(grant) => grant,
            Verdict::Refused(words) => {
                return Ok(passed_on(
                    *words,
                    Arc::new(AtomicBool::new(true)),
                    None,
                    flight,
                ))
            }
        };
        prepare(&mut head, &routed, caller, change.as_ref());
        grant.put_on(&mut head.headers)?;
        let request = Request::from_parts(head, body);
        let relayed = async {
            let upstream = Upstream::Sandbox(self.running(&grant.sandbox).await?, AGENT_PORT);
            self.relay(&upstream, request, change, activity, flight)
                .await
        };
        let mut response = relayed.await.map_err(Refusal::native)?;
        headers::confine(response.headers_mut());
        Ok(response)
    }

    /// Sends a request that is ready to go, and gives back what comes.
    async fn relay(
        &self,
        upstream: &Upstream,
        request: Request<RequestBody>,
        change: Option<Change>,
        activity: &Activity,
        flight: &InFlight,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if let Upstream::Sandbox(sandbox, _) = upstream {
            activity.belongs_to(&sandbox.cut);
        }
        let complete = request.body().completion();
        let exchanged = exchange(self, upstream, request).await?;
        let cut = upstream.cut();
        if exchanged.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(passed_on(exchanged, complete, cut, flight));
        }
        let Some(change) = change else {
            return Err(upstream.broken());
        };
        exchanged.lease.let_go();
        self.switch(change, exchanged.response, cut, flight)
    }

    /// Looks up who answers, and whether the caller may ask it.
    async fn upstream(&self, target: &Target, headers: &HeaderMap) -> Result<Upstream, Refusal> {
        let (id, port) = match target {
            Target::Sandbox { id, port } => (id, *port),
            Target::ControlPlane | Target::Service(_) => return Ok(Upstream::ControlPlane),
        };
        let sandbox = self.running(id).await?;
        let token = headers
            .get(headers::WARDIAN_TRAFFIC_TOKEN)
            .or_else(|| headers.get(headers::E2B_TRAFFIC_TOKEN));
        if port != AGENT_PORT && !sandbox.admits(token.map(HeaderValue::as_bytes)) {
            return Err(Refusal::Forbidden {
                sandbox: id.to_string(),
            });
        }
        Ok(Upstream::Sandbox(sandbox, port))
    }

    async fn running(&self, id: &SandboxId) -> Result<Arc<Sandbox>, Refusal> {
        let found = self.sandboxes.find(id).await;
        let found = found.map_err(|_| {
            Refusal::Unavailable("the node is starting and does not know its sandboxes yet")
        })?;
        let gone = || Refusal::Gone {
            sandbox: id.to_string(),
        };
        found.filter(|found| found.is_running()).ok_or_else(gone)
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

/// Turns the head as it came into the head as it goes on: HTTP/1.1, origin form.
fn prepare(head: &mut request::Parts, routed: &Routed, caller: Caller, change: Option<&Change>) {
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
    if !matches!(routed.target, Target::Sandbox { port, .. } if port == AGENT_PORT) {
        headers::remove_routing(headers);
    }
    headers::set_forwarded(headers, caller, &routed.host);
    headers::join_cookies(headers);
    headers.insert(header::HOST, routed.host.clone());
    if let Some(change) = change {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, change.protocol.clone());
    }
}
