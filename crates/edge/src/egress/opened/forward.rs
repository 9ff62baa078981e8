//! What happens to a request that may go on: its rule's handler, its credentials, a server, and the
//! answer's way back.

use super::account::Account;
use super::body::{empty, Body, BodyError, FromUpstream};
use super::checks::{OWN_LINES, WARDIAN_EGRESS};
use super::exchange::{exchange, Exchanged};
use super::reach::Reach;
use super::refusals::Refusal;
use super::requests::{Cleared, Conversation};
use super::upgrade::tunnel;
use super::upstreams::Key;
use crate::egress::credentials::{CredentialError, Outgoing, Redaction};
use crate::egress::handlers::{Decision, ForwardBody, HandlerBody, HandlerError, Then, Waiting};
use crate::headers;
use http::header::{self, HeaderMap, HeaderValue};
use http::{request, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use std::time::SystemTime;
use wardian_wire::egress::event::{Reason, Verdict};
use wardian_wire::egress::handler_frame::SandboxFacts;
use wardian_wire::egress::matching::CompiledPolicy;

/// What a rule's handler wants.
enum Consulted {
    Answered(Response<Body>),
    GoesOn(Request<Body>, Then<BodyError>),
}

impl Conversation {
    /// Sends a request that may go on, and gives back what comes.
    pub(super) async fn forward(
        &self,
        cleared: Cleared,
        account: &Arc<Account>,
    ) -> Result<Response<Body>, Refusal> {
        let Cleared {
            policy,
            rule,
            request,
            upgrade,
        } = cleared;
        let (request, then) = match self.consult(&policy, rule, request, account).await? {
            Consulted::Answered(response) => return Ok(response),
            Consulted::GoesOn(request, then) => (request, then),
        };
        let (mut request, redaction) = self.equip(&policy, rule, request, account).await?;
        if upgrade.is_some() {
            if redaction.is_some() {
                let message = "the rule masks answers, and a WebSocket's can't be masked";
                return Err(Refusal::failed(Reason::Credential, message));
            }
            as_websocket(request.headers_mut());
        }
        let sent = self.send(&policy, rule, request, upgrade.is_some(), account);
        let mut exchanged = match (sent.await, then) {
            (Ok(exchanged), then) => {
                if let Then::Ask(waiting) = then {
                    return self.respond(exchanged, waiting, redaction, account).await;
                }
                exchanged
            }
            (Err(refusal), Then::Passthrough) => return Err(refusal),
            (Err(refusal), Then::Ask(waiting)) => {
                let answered = waiting.fail(refusal.reason().to_owned()).await;
                let answered = answered.map(|answer| from_handler(answer, account));
                return answered.map_err(|_| refusal);
            }
        };
        let switched = exchanged.response.status() == StatusCode::SWITCHING_PROTOCOLS;
        match upgrade {
            Some(client) if switched => Ok(self.switch(client, exchanged, account)),
            _ if switched => Err(Refusal::failed(
                Reason::Upstream,
                "the server changed protocol without being asked",
            )),
            _ => {
                passed_on(&mut exchanged.response);
                masked(exchanged.into_response(), redaction)
            }
        }
    }

    /// Asks the rule's handler, if there is one, what becomes of the request.
    async fn consult(
        &self,
        policy: &CompiledPolicy,
        rule: usize,
        request: Request<Body>,
        account: &Account,
    ) -> Result<Consulted, Refusal> {
        let allow = policy.rule(rule).and_then(|rule| rule.allow());
        let Some(call) = allow.and_then(|allow| allow.handler.as_ref()) else {
            return Ok(Consulted::GoesOn(request, Then::Passthrough));
        };
        account.facts().handler = Some(call.name.clone());
        let sandbox = &self.flow.sandbox;
        let facts = sandbox.outlet.facts();
        let facts = SandboxFacts {
            id: sandbox.id.to_string(),
            name: facts.name.clone(),
            tenant: facts.tenant.clone(),
            labels: facts.labels.clone(),
        };
        let (head, body) = request.into_parts();
        let handlers = &self.egress.handlers;
        let decision = handlers.ask::<BodyError>(call, facts, head, body).await;
        match decision.map_err(handler_failed)? {
            Decision::Answer(response) => Ok(Consulted::Answered(from_handler(response, account))),
            Decision::Forward { head, body, then } => {
                let mut head = *head;
                self.still_allowed(policy, rule, &head)?;
                self.prepare(&mut head)?;
                let body = match body {
                    ForwardBody::Original(body) => body,
                    ForwardBody::Handler(body) => body.map_err(body_failed).boxed_unsync(),
                    ForwardBody::None => empty(),
                };
                let request = Request::from_parts(head, body);
                Ok(Consulted::GoesOn(request, then))
            }
        }
    }

    /// What a handler sends on is decided like what the sandbox sent, and by the same rule.
    fn still_allowed(
        &self,
        policy: &CompiledPolicy,
        rule: usize,
        head: &request::Parts,
    ) -> Result<(), Refusal> {
        let (method, path) = (head.method.as_str(), head.uri.path());
        match policy.request(&self.flow.destination, method, path) {
            Ok(Some((decides, _))) if decides == rule => Ok(()),
            _ => Err(Refusal::failed(
                Reason::Handler,
                "what the handler sends on is not what its rule allows",
            )),
        }
    }

    /// Gives a handler the answer to what it sent on.
    async fn respond(
        &self,
        mut exchanged: Exchanged,
        waiting: Waiting<BodyError>,
        redaction: Option<Redaction>,
        account: &Account,
    ) -> Result<Response<Body>, Refusal> {
        if exchanged.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let message = "a handler that waits for the answer can't let a protocol change";
            return Err(Refusal::failed(Reason::Handler, message));
        }
        passed_on(&mut exchanged.response);
        // Before the handler sees it: what it is not to see it can't repeat.
        let (head, body) = masked(exchanged.into_response(), redaction)?.into_parts();
        let answered = waiting.respond(head, body).await;
        let answered = answered.map(|answer| from_handler(answer, account));
        answered.map_err(handler_failed)
    }

    /// Puts credentials into a request, and says what masks its answer.
    async fn equip(
        &self,
        policy: &Arc<CompiledPolicy>,
        rule: usize,
        request: Request<Body>,
        account: &Account,
    ) -> Result<(Request<Body>, Option<Redaction>), Refusal> {
        let failed =
            |error: CredentialError| Refusal::failed(Reason::Credential, error.to_string());
        let credentials = self.own.credentials.of(policy).map_err(failed)?;
        let applied = credentials.apply(rule, request, SystemTime::now()).await;
        let applied = applied.map_err(failed)?;
        let mut facts = account.facts();
        if applied.strayed.is_empty() {
            facts.secrets = applied.secrets;
        } else {
            facts.verdict = Verdict::Attempt;
            facts.secrets = applied.strayed;
        }
        drop(facts);
        let request = applied.request.map(|body| match body {
            Outgoing::AsItCame(body) => body,
            changed => changed.map_err(BodyError::from_box).boxed_unsync(),
        });
        Ok((request, applied.redaction))
    }

    async fn send(
        &self,
        policy: &CompiledPolicy,
        rule: usize,
        request: Request<Body>,
        upgrade: bool,
        account: &Account,
    ) -> Result<Exchanged, Refusal> {
        let identity = self.egress.identity();
        let Some(trust) = identity.as_ref().and_then(|own| own.trust.as_ref()) else {
            let message = "the node does not know yet whom to trust";
            return Err(Refusal::failed(Reason::Certificate, message));
        };
        let key = Key {
            to: self.flow.destination.clone(),
            instead: policy.rule(rule).and_then(|rule| rule.connect_to.clone()),
            tls: self.tls,
        };
        let reach = Reach {
            egress: &self.egress,
            trust,
            policy,
            rule,
            pool: &self.own.upstreams,
            cut: &self.flow.sandbox.cut,
        };
        match exchange(&reach, &key, request, upgrade).await {
            Ok(exchanged) => {
                account.facts().address = Some(exchanged.lease.address);
                Ok(exchanged)
            }
            Err((refusal, address)) => {
                account.facts().address = address;
                Err(refusal)
            }
        }
    }

    fn switch(
        &self,
        client: OnUpgrade,
        mut exchanged: Exchanged,
        account: &Arc<Account>,
    ) -> Response<Body> {
        let server = hyper::upgrade::on(&mut exchanged.response);
        exchanged.lease.let_go();
        let (cut, stop) = (self.flow.sandbox.cut.clone(), self.egress.stop.clone());
        let account = Arc::clone(account);
        self.egress.tasks.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = stop.cancelled() => {}
                () = tunnel(client, server, account) => {}
            }
        });
        let mut response = exchanged.response.map(|_| empty());
        passed_on(&mut response);
        as_websocket(response.headers_mut());
        response
    }
}

fn handler_failed(error: HandlerError) -> Refusal {
    Refusal::failed(Reason::Handler, error.to_string())
}

fn body_failed(error: HandlerError) -> BodyError {
    BodyError::Failed {
        reason: Reason::Handler,
        message: error.to_string(),
    }
}

fn from_handler(response: Response<HandlerBody<BodyError>>, account: &Account) -> Response<Body> {
    // No server's answer still has this line when a handler gets it.
    if response.headers().contains_key(WARDIAN_EGRESS) {
        account.denied(Some(Reason::Handler));
    }
    response.map(|body| body.map_err(body_failed).boxed_unsync())
}

/// Takes off an answer what was about its connection.
fn passed_on<B>(response: &mut Response<B>) {
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    headers::remove_hop_by_hop(headers);
    for name in &OWN_LINES {
        headers.remove(name);
    }
}

fn as_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// The answer with the secrets of its request masked, if the rule wants that.
fn masked(
    response: Response<FromUpstream>,
    redaction: Option<Redaction>,
) -> Result<Response<Body>, Refusal> {
    let Some(redaction) = redaction else {
        return Ok(response.map(BodyExt::boxed_unsync));
    };
    let (mut head, body) = response.into_parts();
    let masked = redaction.head(&mut head);
    masked.map_err(|error| Refusal::failed(Reason::Credential, error.to_string()))?;
    let body = redaction.body(body).map_err(BodyError::from_box);
    Ok(Response::from_parts(head, body.boxed_unsync()))
}
