//! One terminal: its program's life from start to end.

use super::command::Wanted;
use super::ending::Ending;
use super::output::Output;
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::process::input::write_terminal;
use crate::process::job::{Order, Report};
use crate::process::launch::{self, Launched};
use crate::process::stdio::{self, AgentSide};
use bytes::Bytes;
use http::StatusCode;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use wardian_wire::envd::process as envd;
use wardian_wire::terminal::Size;
use wardian_wire::timestamp::rfc3339;

/// How much is read at once, in bytes.
const CHUNK: usize = 32 * 1024;
/// How many messages with keys may wait for a program that does not read.
const KEYS: usize = 8;
/// How long output is waited for behind the program's end.
const AFTERGLOW: Duration = Duration::from_millis(250);
/// How long a program has between being hung up on and being killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long a terminal stays a line smaller to have its program draw everything again.
const REDRAW: Duration = Duration::from_millis(50);

/// A program in a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    /// `None`: it belongs to one connection.
    pub(super) name: Option<String>,
    pub(super) output: Rc<Output>,
    /// Keys for the program.
    pub(super) keys: mpsc::Sender<Bytes>,
    pub(super) clients: Cell<usize>,
    pid: u32,
    argv: Vec<String>,
    created_at: String,
    size: Cell<Size>,
    master: Rc<AsyncFd<OwnedFd>>,
    orders: mpsc::UnboundedSender<Order>,
    ending: RefCell<Option<Ending>>,
    /// Becomes true when the program has ended and its output has been read.
    ended: watch::Sender<bool>,
}

/// A terminal as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    name: Option<String>,
    pid: u32,
    argv: Vec<String>,
    cols: u16,
    rows: u16,
    clients: usize,
    state: &'static str,
    exit_code: Option<i32>,
    signal: Option<String>,
    created_at: String,
}

/// Starts a program in a new terminal.
///
/// # Errors
/// 400 `invalid_request` for what can't be run, 503 `unavailable` at the sandbox's limits.
pub(super) async fn start(
    agent: &Agent,
    name: Option<String>,
    wanted: &Wanted,
) -> Result<Rc<Terminal>, Problem> {
    let resolved = wanted.resolve(agent).await?;
    let made = stdio::terminal(Some(cells(wanted.size)), resolved.user.uid);
    let (ours, theirs) = made.map_err(|error| no_terminal(&error.to_string()))?;
    let AgentSide::Terminal(master) = ours else {
        return Err(no_terminal("pipes were made"));
    };
    let Launched { pid, control } = agent.launcher.launch(&resolved.job, theirs).await?;
    let master = Rc::new(master);
    let (keys, typed) = mpsc::channel(KEYS);
    let (orders, inbox) = mpsc::unbounded_channel();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let milliseconds = now.subsec_millis() * 1_000_000;
    let terminal = Rc::new(Terminal {
        name,
        output: Output::new(),
        keys,
        clients: Cell::new(0),
        pid,
        argv: resolved.argv,
        created_at: rfc3339(i64::try_from(now.as_secs()).unwrap_or(0), milliseconds),
        size: Cell::new(wanted.size),
        master: Rc::clone(&master),
        orders,
        ending: RefCell::new(None),
        ended: watch::channel(false).0,
    });
    tokio::task::spawn_local(write(master, typed, terminal.ended.subscribe()));
    tokio::task::spawn_local(attend(Rc::clone(&terminal), control, inbox));
    Ok(terminal)
}

impl Terminal {
    /// How the program ended; `None` while it runs or there may still be output.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.borrow().clone()
    }

    /// Returns when the program has ended.
    pub(super) async fn wait(&self) {
        // The sender is this terminal's own and outlives the wait.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Sets the size; who is last wins.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn resize(&self, size: Size) -> Result<(), Errno> {
        self.size.set(size);
        stdio::resize(&self.master, cells(size))
    }

    /// Makes the program draw the whole of its screen again. A signal alone would not do: most
    /// programs draw only when the size is another one than before.
    pub(super) fn redraw(self: &Rc<Self>) {
        let terminal = Rc::clone(self);
        let size = self.size.get();
        let smaller = Size {
            rows: if size.rows > 1 { size.rows - 1 } else { 2 },
            ..size
        };
        tokio::task::spawn_local(async move {
            // Fails only once the program has ended: then there is nothing to draw.
            let _ = stdio::resize(&terminal.master, cells(smaller));
            sleep(REDRAW).await;
            let _ = stdio::resize(&terminal.master, cells(terminal.size.get()));
        });
    }

    /// Hangs up on the program, kills it with all it has started if it stays, and returns when
    /// it has ended.
    pub(super) async fn kill(&self) {
        // Fails once nothing is left of the program.
        let _ = self.orders.send(Order::Signal(libc::SIGHUP));
        let ended = timeout(GRACE, self.wait()).await;
        let _ = self.orders.send(Order::KillTree);
        if ended.is_err() {
            self.wait().await;
        }
    }

    pub(super) fn show(&self) -> Shown {
        let ending = self.ending();
        let size = self.size.get();
        Shown {
            name: self.name.clone(),
            pid: self.pid,
            argv: self.argv.clone(),
            cols: size.cols,
            rows: size.rows,
            clients: self.clients.get(),
            state: if ending.is_some() { "ended" } else { "running" },
            exit_code: ending.as_ref().map(|e| e.code),
            signal: ending.and_then(|e| e.signal),
            created_at: self.created_at.clone(),
        }
    }
}

fn no_terminal(why: &str) -> Problem {
    let message = format!("the kernel gives no terminal: {why}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
}

fn cells(size: Size) -> envd::Size {
    envd::Size {
        cols: size.cols.into(),
        rows: size.rows.into(),
    }
}

/// Looks after the program until nothing is left of it.
async fn attend(
    terminal: Rc<Terminal>,
    mut control: UnixStream,
    mut inbox: mpsc::UnboundedReceiver<Order>,
) {
    let mut output = tokio::task::spawn_local(read(Rc::clone(&terminal)));
    let last = loop {
        tokio::select! {
            report = launch::report(&mut control) => match report {
                Some(Report::Exited { .. } | Report::Signaled { .. }) | None => break report,
                Some(_) => {}
            },
            Some(order) = inbox.recv() => launch::send(&mut control, order).await,
        }
    };
    if timeout(AFTERGLOW, &mut output).await.is_err() {
        // Somebody else still has the terminal open. What was typed has no reader any more.
        output.abort();
    }
    *terminal.ending.borrow_mut() = Some(Ending::new(last));
    terminal.output.close();
    terminal.ended.send_replace(true);
    // What the program left running has a supervisor as long as it runs.
    loop {
        tokio::select! {
            report = launch::report(&mut control) => if report.is_none() { break },
            Some(order) = inbox.recv() => launch::send(&mut control, order).await,
        }
    }
}

/// Takes over what the program writes.
async fn read(terminal: Rc<Terminal>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(mut ready) = terminal.master.readable().await else {
            return;
        };
        match rustix::io::read(terminal.master.get_ref(), &mut chunk) {
            Ok(0) => return,
            Ok(count) => {
                terminal.output.push(chunk.get(..count).unwrap_or_default());
                terminal.output.pace().await;
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            // EIO is how a terminal says that nobody has its other side open.
            Err(_) => return,
        }
    }
}

/// Passes keys on, in the order in which they came.
async fn write(
    master: Rc<AsyncFd<OwnedFd>>,
    mut typed: mpsc::Receiver<Bytes>,
    mut ended: watch::Receiver<bool>,
) {
    let pass_on = async {
        while let Some(bytes) = typed.recv().await {
            if write_terminal(&master, &bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pass_on => {}
        _ = ended.wait_for(|ended| *ended) => {}
    }
}
