//! One connection out of a sandbox.

use super::first_bytes::{check_hello, Beginning, First};
use super::prefixed::Prefixed;
use super::{opened, splice, Egress};
use crate::sandboxes::Sandbox;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wardian_wire::egress::destination::{Destination, Host};
use wardian_wire::egress::event::{Event, Kind, Reason, Verdict};
use wardian_wire::egress::matching::{CompiledPolicy, ConnectionVerdict};
use wardian_wire::egress::public::is_public;

/// How long a connection that must be read may stay silent.
const SILENCE: Duration = Duration::from_secs(10);

/// A connection, for its whole life.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) destination: Destination,
    pub(crate) started: Started,
}

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// Microseconds since 1970.
    time: u64,
    instant: Instant,
}

impl Started {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            time: since.map_or(0, |since| whole_microseconds(since.as_micros())),
            instant: Instant::now(),
        }
    }

    /// How long ago that was, in microseconds.
    pub(crate) fn elapsed_us(&self) -> u64 {
        whole_microseconds(self.instant.elapsed().as_micros())
    }
}

fn whole_microseconds(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Flow {
    pub(crate) fn new(sandbox: Arc<Sandbox>, destination: Destination) -> Self {
        Self {
            sandbox,
            destination,
            started: Started::now(),
        }
    }

    /// The policy that is in force now.
    pub(crate) fn policy(&self) -> Arc<CompiledPolicy> {
        self.sandbox.outlet.policy()
    }

    /// An event about this connection or, where `started` is another, about something in it; the
    /// rest of its fields are to be filled in.
    pub(crate) fn event(&self, kind: Kind, verdict: Verdict, started: Started) -> Event {
        let host = self.destination.host.to_string();
        let port = self.destination.port;
        event(&self.sandbox, kind, verdict, started, host, port)
    }

    /// Bytes went by, counted where the sandbox's end is.
    pub(crate) fn traffic(&self, egress: &Egress, sent: u64, received: u64) {
        egress.record.traffic(&self.sandbox, sent, received);
    }
}

/// Decides what becomes of a connection, and does it.
pub(super) async fn run(egress: Arc<Egress>, flow: Flow, mut stream: TcpStream) {
    // Without it small writes of either side wait for each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let policy = flow.policy();
    match policy.connection(&flow.destination) {
        ConnectionVerdict::Refuse { rule } => {
            let name = rule.and_then(|rule| policy.rule(rule));
            let name = name.map(|rule| rule.source.name.as_str());
            let reason = refusal_reason(&policy, &flow);
            refuse_connection(&egress, &flow, stream, name, reason);
        }
        ConnectionVerdict::Splice { rule } => {
            splice::run(egress, flow, policy, rule, stream).await;
        }
        ConnectionVerdict::Open => {
            let mut beginning = Beginning::default();
            let first = match timeout(SILENCE, beginning.read(&mut stream)).await {
                Ok(Ok(Ok(First::Other))) => Err(Reason::NotHttp),
                Ok(Ok(Ok(First::Tls(hello)))) => {
                    check_hello(&hello, &flow, false).map(|()| First::Tls(hello))
                }
                Ok(Ok(other)) => other,
                Ok(Err(_)) => return,
                Err(_) => Err(Reason::Timeout),
            };
            match first {
                Ok(first) => {
                    let stream = Prefixed::new(beginning.into_bytes(), stream);
                    opened::serve(egress, flow, stream, first).await;
                }
                Err(reason) => refuse_connection(&egress, &flow, stream, None, reason),
            }
        }
    }
}

/// That no rule matches is no surprise where the address could only be granted.
fn refusal_reason(policy: &CompiledPolicy, flow: &Flow) -> Reason {
    let private = match &flow.destination.host {
        Host::Address(address) => !is_public(*address),
        Host::Name(_) => false,
    };
    let all = policy
        .rules()
        .iter()
        .any(|rule| rule.is_allow() && rule.is_for_all());
    if private && all {
        Reason::PrivateAddress
    } else {
        Reason::NoRule
    }
}

/// Resets a connection and tells of it.
pub(super) fn refuse_connection(
    egress: &Egress,
    flow: &Flow,
    stream: TcpStream,
    rule: Option<&str>,
    reason: Reason,
) {
    let mut event = flow.event(Kind::Connection, Verdict::Denied, flow.started);
    event.rule = rule.map(str::to_owned);
    // That the rule says so is no reason beside it.
    event.reason = Some(reason).filter(|reason| rule.is_none() || *reason != Reason::NoRule);
    egress.record.tell(event);
    reset(stream);
}

/// Ends a connection so that its peer knows that this was no regular end.
pub(super) fn reset(stream: TcpStream) {
    // It is closed all the same where this fails.
    let _ = stream.set_zero_linger();
}

/// An event that says as little as one can.
pub(super) fn event(
    sandbox: &Sandbox,
    kind: Kind,
    verdict: Verdict,
    started: Started,
    host: String,
    port: u16,
) -> Event {
    Event {
        sandbox: sandbox.id.clone(),
        time: started.time,
        kind,
        verdict,
        rule: None,
        reason: None,
        host,
        port,
        address: None,
        method: None,
        path: None,
        status: None,
        sent: 0,
        received: 0,
        duration_us: started.elapsed_us(),
        secrets: Vec::new(),
        handler: None,
    }
}
