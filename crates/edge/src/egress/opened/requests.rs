//! One request of a sandbox: checked, decided, and answered, whatever becomes of it.

use super::account::Account;
use super::body::{empty, Body, FromSandbox, ToSandbox};
use super::checks::{self, OWN_LINES};
use super::kept::Own;
use super::refusals::Refusal;
use crate::egress::flow::Flow;
use crate::egress::Egress;
use crate::headers;
use http::header::{self, HeaderValue};
use http::{request, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use wardian_wire::egress::event::Reason;
use wardian_wire::egress::matching::CompiledPolicy;

/// One opened connection of a sandbox.
pub(super) struct Conversation {
    pub(super) egress: Arc<Egress>,
    pub(super) flow: Flow,
    pub(super) tls: bool,
    pub(super) own: Arc<Own>,
    /// The one spelling of what was dialled that goes on.
    authority: String,
    /// Cleared while a request is under way, else since when there is none.
    rest: Mutex<Rest>,
}

#[derive(Debug)]
struct Rest {
    /// Those of requests that may be under way; HTTP/2 has many at once.
    accounts: Vec<Weak<Account>>,
    since: Instant,
}

/// A request that may go on.
pub(super) struct Cleared {
    pub(super) policy: Arc<CompiledPolicy>,
    pub(super) rule: usize,
    pub(super) request: Request<Body>,
    pub(super) upgrade: Option<OnUpgrade>,
}

impl Conversation {
    pub(super) fn new(egress: Arc<Egress>, flow: Flow, tls: bool) -> Self {
        Self {
            authority: checks::canonical(&flow.destination, tls),
            own: egress.own(&flow.sandbox),
            egress,
            flow,
            tls,
            rest: Mutex::new(Rest {
                accounts: Vec::new(),
                since: Instant::now(),
            }),
        }
    }

    /// Whether nothing has been asked for so long, nor is under way.
    pub(super) fn rests(&self, time: Duration) -> bool {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.accounts.retain(|account| account.strong_count() > 0);
        if !rest.accounts.is_empty() {
            rest.since = Instant::now();
            return false;
        }
        rest.since.elapsed() >= time
    }

    /// A request is under way until the last holder of its account is gone.
    pub(super) fn begun(&self, account: &Arc<Account>) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.accounts.retain(|account| account.strong_count() > 0);
        rest.accounts.push(Arc::downgrade(account));
        rest.since = Instant::now();
    }

    /// Answers one request, whatever becomes of it.
    pub(super) async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        let account = Account::open(&self.egress, &self.flow, Some(&head));
        self.begun(&account);
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        let answered = self.pass(head, body, upgrade, &account).await;
        let response = answered.unwrap_or_else(|refusal| {
            match &refusal {
                Refusal::Violates(violation) => account.denied(Some(violation.reason)),
                Refusal::Denied(None) => account.denied(Some(Reason::NoRule)),
                Refusal::Denied(Some(_)) => account.denied(None),
                Refusal::Failed { reason, .. } if refusal.is_denial() => {
                    account.denied(Some(*reason));
                }
                Refusal::Failed { reason, .. } => account.failed(*reason),
            }
            let (sandbox, to) = (self.flow.sandbox.id.to_string(), &self.flow.destination);
            refusal.answer(&sandbox, to, &method, &path)
        });
        account.facts().status = Some(response.status().as_u16());
        response.map(|body| ToSandbox { body, account }.boxed_unsync())
    }

    async fn pass(
        &self,
        head: request::Parts,
        body: Incoming,
        upgrade: OnUpgrade,
        account: &Arc<Account>,
    ) -> Result<Response<Body>, Refusal> {
        // Drains what is left of it, whatever the answer is.
        let body = FromSandbox::new(body, Arc::clone(account));
        let cleared = self.clear(head, body, upgrade, account)?;
        self.forward(cleared, account).await
    }

    /// Asks whether a request may go out.
    fn clear(
        &self,
        mut head: request::Parts,
        body: FromSandbox,
        upgrade: OnUpgrade,
        account: &Account,
    ) -> Result<Cleared, Refusal> {
        let to = &self.flow.destination;
        checks::check(&head, to, self.tls).map_err(Refusal::Violates)?;
        let upgrades = checks::upgrade(&head).map_err(Refusal::Violates)?;
        let policy = self.flow.policy();
        let asked = policy.request(to, head.method.as_str(), head.uri.path());
        let rule = match asked {
            Err(_) => {
                return Err(Refusal::Violates(checks::Violation {
                    reason: Reason::Malformed,
                    message: "the path can be read in more than one way",
                }))
            }
            Ok(None) => {
                self.tell_stray(&policy, &head, account);
                return Err(Refusal::Denied(None));
            }
            Ok(Some((index, rule))) => {
                account.facts().rule = Some(rule.source.name.clone());
                if !rule.is_allow() {
                    self.tell_stray(&policy, &head, account);
                    return Err(Refusal::Denied(Some(rule.source.name.clone())));
                }
                index
            }
        };
        self.prepare(&mut head)?;
        let body = if upgrades {
            empty()
        } else {
            body.boxed_unsync()
        };
        Ok(Cleared {
            policy,
            rule,
            request: Request::from_parts(head, body),
            upgrade: upgrades.then_some(upgrade),
        })
    }

    /// Turns the head as it came into one of no connection: an absolute URI and a `Host` line, in
    /// the edge's own spelling.
    pub(super) fn prepare(&self, head: &mut request::Parts) -> Result<(), Refusal> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path } else { "/" };
        let uri = Uri::builder()
            .scheme(if self.tls { "https" } else { "http" })
            .authority(self.authority.as_str())
            .path_and_query(path)
            .build();
        let unfit = |_| Refusal::failed(Reason::Malformed, "the address can't be written");
        head.uri = uri.map_err(|error| unfit(error.to_string()))?;
        let host = HeaderValue::from_str(&self.authority);
        let host = host.map_err(|error| unfit(error.to_string()))?;
        let headers = &mut head.headers;
        headers::remove_hop_by_hop(headers);
        // The edge itself asks the sandbox to go on, once the body is wanted.
        headers.remove(header::EXPECT);
        for name in &OWN_LINES {
            headers.remove(name);
        }
        headers.insert(header::HOST, host);
        Ok(())
    }

    /// Names the placeholders in a request that is refused.
    fn tell_stray(&self, policy: &Arc<CompiledPolicy>, head: &request::Parts, account: &Account) {
        if let Ok(credentials) = self.own.credentials.of(policy) {
            account.facts().secrets = credentials.stray(head);
        }
    }
}
