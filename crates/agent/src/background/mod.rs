//! Background processes: commands with a name, a log on the disk, a restart policy and waits.
//!
//! ```text
//! service ─► registry ─► process ──orders──► attendant ─► supervisor ─► command
//!                           │ status, phase      │                        │ pipes
//!                           └────────── log ◄────┴──── output ◄───────────┘
//!                                        ▲ readers: range, follow, wait for a line
//! ```

mod attendant;
mod log;
mod matcher;
mod output;
mod port;
mod reading;
mod registry;
mod request;
pub(crate) mod service;
mod status;
mod store;
mod usage;
mod wait;

pub(crate) use registry::Registry;
pub(crate) use status::signal_name;

use crate::process::job::Job;
use log::Log;
use status::{Restart, Status};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Where logs lie in a sandbox.
pub(crate) const LOGS: &str = "/var/log/wardian/processes";

/// What is to run, and how.
#[derive(Debug)]
struct Plan {
    /// As it is shown.
    command: String,
    job: Job,
    restart: Restart,
    /// What runs when it is over: the shell and its arguments, without the environment.
    on_exit: Option<Vec<Vec<u8>>>,
}

/// What the attendant of a process is told.
#[derive(Clone, Copy, Debug)]
enum Order {
    Signal(i32),
    /// End it, kindly at first, and don't start it again.
    Stop {
        grace: Duration,
    },
}

/// How far the life of a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Alive,
    /// The command is over and is not started again.
    Ended,
    /// Nothing that descends from it is left either.
    Gone,
}

/// A process that was started in the background.
#[derive(Debug)]
struct Background {
    name: String,
    plan: Plan,
    log: Rc<Log>,
    status: RefCell<Status>,
    phase: watch::Sender<Phase>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Background {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until it has come that far.
    async fn reaches(&self, phase: Phase) {
        // The sender is this process's own.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn order(&self, order: Order) {
        // Fails once nothing of it is left: then there is nobody to order about.
        let _ = self.orders.send(order);
    }

    /// Ends it with all that descends from it.
    async fn stop(&self, grace: Duration) {
        self.order(Order::Stop { grace });
        self.reaches(Phase::Gone).await;
    }
}
