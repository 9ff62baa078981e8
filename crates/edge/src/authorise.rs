//! Asks the control plane whether a caller may use a service of a sandbox.
//!
//! The question carries what the caller has shown, and the answer the agent's token; nothing of
//! the request's body. Nothing is remembered: a key that is deleted opens nothing from then on.

use crate::body::{RequestBody, ResponseBody};
use crate::exchange::{exchange, Exchanged, Upstream};
use crate::forward::{Crossing, Edge};
use crate::headers::{self, ACCESS_TOKEN, API_KEY};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{request, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use wardian_wire::boot::AGENT_PORT;
use wardian_wire::gateway::Refusal;
use wardian_wire::service_call::{take_ticket, ServiceCall, TICKET};
use wardian_wire::SandboxId;

const QUESTION: &str = "/internal/authorise";
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What the control plane says.
enum Verdict {
    Granted(Grant),
    /// Its words for the caller.
    Refused(Box<Exchanged>),
}

/// Leave to pass a request on to a sandbox's agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    sandbox: SandboxId,
    token: String,
}

impl Edge {
    /// Passes a call of a sandbox's service on to its agent, if the control plane allows it.
    ///
    /// # Errors
    /// The answer to give instead.
    pub(crate) async fn serve_call(
        &self,
        call: &ServiceCall,
        mut crossing: Crossing<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let upgrade = crossing.change.is_some();
        let grant = match authorise(self, call, &mut crossing.head, upgrade).await? {
            Verdict::Granted(grant) => grant,
            Verdict::Refused(words) => return Ok(crossing.refused(*words)),
        };
        crossing.prepare();
        headers::remove_routing(&mut crossing.head.headers);
        // Last, so that no header line of the caller's can have it removed.
        grant.put_on(&mut crossing.head.headers)?;
        let relayed = async {
            let upstream = Upstream::Sandbox(self.running(&grant.sandbox).await?, AGENT_PORT);
            self.relay(&upstream, crossing).await
        };
        let mut response = relayed.await.map_err(Refusal::native)?;
        headers::confine(response.headers_mut());
        Ok(response)
    }
}

/// Asks whether the request with this head may go where `call` says; takes the ticket out of it.
///
/// # Errors
/// The answer to give instead.
async fn authorise(
    edge: &Edge,
    call: &ServiceCall,
    head: &mut request::Parts,
    upgrade: bool,
) -> Result<Verdict, Refusal> {
    let (query, ticket) = take_ticket(head.uri.query().unwrap_or(""), TICKET)
        .map_err(|_| Refusal::Invalid("send one ticket of at most 2048 bytes"))?;
    let mut question = Request::new(RequestBody::empty());
    *question.uri_mut() = Uri::from_static(QUESTION);
    describe(question.headers_mut(), call, head, ticket, upgrade)?;
    let answered = exchange(edge, &Upstream::ControlPlane, question).await?;
    if answered.response.status() != StatusCode::OK {
        return Ok(Verdict::Refused(Box::new(answered)));
    }
    head.uri = agent_uri(call, &query)?;
    Ok(Verdict::Granted(read(answered).await?))
}

/// Says in header lines who asks for what. Only what is copied here reaches the control plane.
fn describe(
    question: &mut HeaderMap,
    call: &ServiceCall,
    head: &request::Parts,
    ticket: Option<String>,
    upgrade: bool,
) -> Result<(), Refusal> {
    for name in [header::AUTHORIZATION, API_KEY] {
        for value in head.headers.get_all(&name) {
            question.append(name.clone(), value.clone());
        }
    }
    let mut say = |name, text: &str| {
        let value = HeaderValue::from_str(text).map_err(|_| BAD_TEXT)?;
        question.insert(HeaderName::from_static(name), value);
        Ok::<(), Refusal>(())
    };
    say("host", "control")?;
    say("wardian-sandbox", &call.sandbox)?;
    say("wardian-service", call.service)?;
    say("wardian-path", &call.path)?;
    say("wardian-method", head.method.as_str())?;
    say("wardian-upgrade", if upgrade { "yes" } else { "no" })?;
    match ticket {
        Some(ticket) => say("wardian-ticket", &ticket),
        None => Ok(()),
    }
}

const BAD_TEXT: Refusal = Refusal::Invalid("path and ticket must be plain ASCII");

fn agent_uri(call: &ServiceCall, query: &str) -> Result<Uri, Refusal> {
    let mut text = call.agent_path();
    if !query.is_empty() {
        text.push('?');
        text.push_str(query);
    }
    let target = PathAndQuery::try_from(text).map_err(|_| BAD_TEXT)?;
    Ok(Uri::from(target))
}

async fn read(answered: Exchanged) -> Result<Grant, Refusal> {
    const NOT_UNDERSTOOD: Refusal =
        Refusal::Unavailable("the control plane's leave is not understood");
    let Exchanged { response, lease } = answered;
    let body = Limited::new(response.into_body(), MAX_ANSWER);
    let body = body.collect().await.map_err(|error| {
        tracing::warn!(%error, "the control plane broke off");
        NOT_UNDERSTOOD
    })?;
    lease.give_back();
    serde_json::from_slice(&body.to_bytes()).map_err(|_| {
        // Not the bytes nor the parser's words: they may hold a token.
        tracing::error!("the control plane's leave is not understood");
        NOT_UNDERSTOOD
    })
}

impl Grant {
    /// Puts the agent's token in the place of what the caller showed.
    ///
    /// # Errors
    /// The token can't stand in a header.
    fn put_on(&self, headers: &mut HeaderMap) -> Result<(), Refusal> {
        headers::remove_credentials(headers);
        let mut token = HeaderValue::from_str(&self.token)
            .map_err(|_| Refusal::Unavailable("the control plane's leave is not understood"))?;
        token.set_sensitive(true);
        headers.insert(ACCESS_TOKEN, token);
        Ok(())
    }
}
