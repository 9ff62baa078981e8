//! What is told to the control plane: decisions, and bytes that went by.

use crate::sandboxes::Sandbox;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use wardian_wire::edge::FromEdge;
use wardian_wire::egress::event::{Event, Traffic};

/// The most events kept while nobody reads.
const KEPT: usize = 16 * 1024;
/// The most events of one report.
const BATCH: usize = 512;
/// How old an event gets before it is told.
const DELAY: Duration = Duration::from_millis(200);

/// What has not been told yet.
#[derive(Debug, Default)]
pub(crate) struct Record {
    waiting: Mutex<Waiting>,
    /// There is something, after there was nothing.
    some: Notify,
    /// There is enough for a report.
    full: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    lost: u64,
    /// Sandboxes with bytes that were not told.
    busy: Vec<Arc<Sandbox>>,
}

/// Bytes of one sandbox that were not told.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    sent: AtomicU64,
    received: AtomicU64,
    listed: AtomicBool,
}

impl Record {
    /// Tells a decision.
    pub(crate) fn tell(&self, event: Event) {
        let mut waiting = self.waiting();
        if waiting.events.len() >= KEPT {
            waiting.lost += 1;
            return;
        }
        waiting.events.push_back(event);
        let count = waiting.events.len();
        drop(waiting);
        if count == 1 {
            self.some.notify_one();
        } else if count == BATCH {
            self.full.notify_one();
        }
    }

    /// Counts bytes from and to a sandbox.
    pub(crate) fn traffic(&self, sandbox: &Arc<Sandbox>, sent: u64, received: u64) {
        let untold = &sandbox.outlet.untold;
        untold.sent.fetch_add(sent, Ordering::Relaxed);
        untold.received.fetch_add(received, Ordering::Relaxed);
        if !untold.listed.load(Ordering::Acquire) && !untold.listed.swap(true, Ordering::AcqRel) {
            self.waiting().busy.push(Arc::clone(sandbox));
            self.some.notify_one();
        }
    }

    /// Waits until there is a report to make: there is something, and it is old enough or much.
    pub(crate) async fn due(&self) {
        loop {
            let (any, enough) = {
                let waiting = self.waiting();
                let any = !waiting.events.is_empty() || !waiting.busy.is_empty();
                (any, waiting.events.len() >= BATCH)
            };
            if enough {
                return;
            }
            if any {
                // Whether it fills up or grows old first.
                let _ = tokio::time::timeout(DELAY, self.full.notified()).await;
                return;
            }
            self.some.notified().await;
        }
    }

    /// Takes the next report.
    pub(crate) fn take(&self) -> Report {
        let mut waiting = self.waiting();
        let count = waiting.events.len().min(BATCH);
        let events = waiting.events.drain(..count).collect();
        let lost = std::mem::take(&mut waiting.lost);
        let busy = std::mem::take(&mut waiting.busy);
        drop(waiting);
        let traffic = busy
            .iter()
            .map(|sandbox| sandbox.outlet.untold.take(sandbox));
        Report {
            events,
            lost,
            traffic: traffic.collect(),
            busy,
        }
    }

    /// Takes back a report that reached nobody.
    pub(crate) fn give_back(&self, report: Report) {
        let mut waiting = self.waiting();
        waiting.lost += report.lost;
        for event in report.events.into_iter().rev() {
            if waiting.events.len() < KEPT {
                waiting.events.push_front(event);
            } else {
                waiting.lost += 1;
            }
        }
        drop(waiting);
        for (sandbox, traffic) in report.busy.iter().zip(report.traffic) {
            self.traffic(sandbox, traffic.sent, traffic.received);
        }
        self.some.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Untold {
    fn take(&self, sandbox: &Sandbox) -> Traffic {
        // First: bytes that come from here on list it anew.
        self.listed.store(false, Ordering::Release);
        Traffic {
            sandbox: sandbox.id.clone(),
            sent: self.sent.swap(0, Ordering::AcqRel),
            received: self.received.swap(0, Ordering::AcqRel),
        }
    }
}

/// What one message tells.
#[derive(Debug)]
pub(crate) struct Report {
    events: Vec<Event>,
    lost: u64,
    traffic: Vec<Traffic>,
    busy: Vec<Arc<Sandbox>>,
}

impl Report {
    pub(crate) fn message(&self) -> FromEdge {
        FromEdge::Egress {
            events: self.events.clone(),
            lost: self.lost,
            traffic: self.traffic.clone(),
        }
    }
}
