//! What is told of one request, once the last of it has gone through or been cut.

use crate::egress::flow::{Flow, Started};
use crate::egress::Egress;
use http::request;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wardian_wire::egress::event::{Kind, Reason, Verdict};

/// The longest path that is told, in bytes.
const MAX_PATH: usize = 1024;

/// One request's facts. The event is told when the last holder drops it: request body, answer's
/// body or tunnel.
pub(crate) struct Account {
    egress: Arc<Egress>,
    flow: Flow,
    started: Started,
    sent: AtomicU64,
    received: AtomicU64,
    facts: Mutex<Facts>,
}

/// What becomes known of a request on its way.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) verdict: Verdict,
    pub(crate) rule: Option<String>,
    pub(crate) reason: Option<Reason>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) secrets: Vec<String>,
    pub(crate) handler: Option<String>,
}

impl Account {
    /// Opens one for a request whose head is there, or could not be read.
    pub(crate) fn open(
        egress: &Arc<Egress>,
        flow: &Flow,
        head: Option<&request::Parts>,
    ) -> Arc<Self> {
        let path = head.map(|head| shortened(head.uri.path()));
        Arc::new(Self {
            egress: Arc::clone(egress),
            flow: flow.clone(),
            started: Started::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            facts: Mutex::new(Facts {
                verdict: Verdict::Allowed,
                rule: None,
                reason: None,
                address: None,
                method: head.map(|head| shortened(head.method.as_str())),
                path,
                status: None,
                secrets: Vec::new(),
                handler: None,
            }),
        })
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes of the sandbox's body.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of the body it gets.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It was allowed, and did not come about or broke off.
    pub(crate) fn failed(&self, reason: Reason) {
        let mut facts = self.facts();
        facts.verdict = Verdict::Failed;
        facts.reason = Some(reason);
    }

    /// It was refused.
    pub(crate) fn denied(&self, reason: Option<Reason>) {
        let mut facts = self.facts();
        facts.verdict = Verdict::Denied;
        facts.reason = reason;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let facts = self.facts.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut event = self.flow.event(Kind::Request, facts.verdict, self.started);
        event.rule = facts.rule.take();
        event.reason = facts.reason;
        event.address = facts.address.map(|address| address.ip().to_string());
        event.method = facts.method.take();
        event.path = facts.path.take();
        event.status = facts.status;
        event.sent = *self.sent.get_mut();
        event.received = *self.received.get_mut();
        event.secrets = std::mem::take(&mut facts.secrets);
        event.handler = facts.handler.take();
        self.egress.record.tell(event);
    }
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(MAX_PATH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
