//! One connection out of a sandbox.

use super::Egress;
use crate::sandboxes::Sandbox;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use wardian_wire::egress::destination::Destination;
use wardian_wire::egress::event::{Event, Kind, Verdict};
use wardian_wire::egress::matching::CompiledPolicy;

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
        self.sandbox.policy()
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
