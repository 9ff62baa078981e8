//! Running commands and terminals: E2B's `process.Process`.
//!
//! ```text
//! agent ──order──► spawner ──fork──► supervisor ──fork──► command
//!   ▲  control socket: job, reports, orders │                │
//!   └────────────────────────────────────────┘                │
//!   ◄──────────── pipes or terminal: output, input ───────────┘
//! ```
//! A command lives until it ends or is killed, whoever listens; [`hub`] says what listeners get
//! and what happens to slow ones.

pub(crate) mod hub;
pub(crate) mod input;
pub(crate) mod job;
pub(crate) mod launch;
pub(crate) mod pump;
pub(crate) mod registry;
pub(crate) mod service;
pub(crate) mod spawner;
pub(crate) mod start;
pub(crate) mod stdio;
mod supervisor;
mod tree;

use bytes::Bytes;
use hub::Hub;
use input::InputEnd;
use job::Order;
use std::rc::Rc;
use tokio::sync::mpsc;
use wardian_wire::connect::{envelope, Failure};
use wardian_wire::envd::process::{Event, EventMessage, ProcessConfig};

/// A command the agent has started.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) tag: Option<String>,
    pub(crate) config: ProcessConfig,
    pub(crate) hub: Rc<Hub>,
    pub(crate) input: InputEnd,
    orders: mpsc::UnboundedSender<Order>,
}

impl Process {
    /// Sends a signal to the command itself; SIGKILL goes to all that descends from it too.
    pub(crate) fn signal(&self, number: i32) {
        let order = match number {
            libc::SIGKILL => Order::KillTree,
            _ => Order::Signal(number),
        };
        // Fails once the command has ended: then there is nobody to signal.
        let _ = self.orders.send(order);
    }
}

/// An event as it travels.
pub(crate) fn encode(event: Event) -> Bytes {
    envelope(&EventMessage { event }).unwrap_or_default().into()
}

type Result<T> = std::result::Result<T, Failure>;
