//! `wardian-launcher supervise`: starts the parts of a node, and starts again what dies.
//!
//! It listens to nobody but signals: whatever could be said to it would be said to root. It binds
//! the public listener itself and hands it to the edge as descriptor 0, so that connections wait
//! in the backlog while an edge is being restarted, and a low port needs no privileged edge. The
//! same with the socket of the operator's egress handlers.

use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::process::{kill_process, umask, Pid, Signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wardian_wire::node::{Handlers, Node};

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// A part that lived this long is healthy: its next death starts the backoff anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// Environment that the parts may see; root's own may hold what is none of their business.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "LANG",
    "WARDIAN_LOG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// Why a node could not be supervised.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuperviseError {
    #[error("{path}: {source}")]
    Configuration { path: String, source: io::Error },
    #[error("listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("signals: {0}")]
    Signals(#[from] io::Error),
}

/// Runs the node of `config` until SIGTERM or SIGINT, then stops its parts in order.
///
/// # Errors
/// [`SuperviseError`] if the configuration can't be read or the listener can't be bound; a part
/// that can't be started is tried again, not an error.
pub(crate) fn run(config: &Path) -> Result<(), SuperviseError> {
    let node = read_node(config)?;
    let listener = TcpListener::bind(&node.listen).map_err(|source| SuperviseError::Listen {
        address: node.listen.clone(),
        source,
    })?;
    let asked = match &node.handlers {
        Some(process) => Some((process, listen_for_edge(&node)?)),
        None => None,
    };
    let mut signals = Signals::register()?;
    // Stopped in this order: first who gives orders, last who carries them out.
    let mut parts = vec![
        Part::new(Role::ControlPlane, Duration::from_secs(5)),
        Part::new(Role::Edge, Duration::from_secs(5)),
    ];
    if asked.is_some() {
        parts.push(Part::new(Role::Handlers, Duration::from_secs(5)));
    }
    parts.push(Part::new(Role::Launcher, Duration::from_secs(20)));
    while !signals.stop.load(Ordering::Relaxed) {
        for part in &mut parts {
            let role = part.role;
            part.tend(|| match (role, &asked) {
                (Role::ControlPlane, _) => Ok(control_plane(&node)),
                (Role::Edge, _) => edge(&node, &listener),
                (Role::Handlers, Some((process, socket))) => handlers(process, socket),
                (Role::Launcher | Role::Handlers, _) => Ok(launcher(&node, config)),
            });
        }
        if signals.reload.swap(false, Ordering::Relaxed) {
            let edge = parts.iter().filter(|part| part.role == Role::Edge);
            edge.for_each(|part| part.signal(Signal::HUP));
        }
        let next = parts.iter().filter_map(Part::due).min();
        signals.wait(next)?;
    }
    for part in &mut parts {
        part.stop();
    }
    Ok(())
}

fn read_node(config: &Path) -> Result<Node, SuperviseError> {
    let failed = |source| SuperviseError::Configuration {
        path: config.display().to_string(),
        source,
    };
    let text = std::fs::read(config).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(error.into()))
}

fn control_plane(node: &Node) -> Command {
    let mut command = command_of(&node.control_command);
    command.uid(node.control_uid).gid(node.gid);
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn command_of(words: &[String]) -> Command {
    let (program, arguments) = words
        .split_first()
        .map_or(("false", &[][..]), |(p, a)| (p.as_str(), a));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The socket of the handlers, which only the edge's user may connect to.
fn listen_for_edge(node: &Node) -> Result<UnixListener, SuperviseError> {
    let path = node.handlers_socket();
    let failed = |source| SuperviseError::Listen {
        address: path.display().to_string(),
        source,
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let before = umask(Mode::RWXG | Mode::RWXO);
    let listener = UnixListener::bind(&path);
    umask(before);
    let listener = listener.map_err(failed)?;
    std::os::unix::fs::chown(&path, Some(node.edge_uid), Some(node.gid)).map_err(failed)?;
    Ok(listener)
}

fn handlers(process: &Handlers, socket: &UnixListener) -> io::Result<Command> {
    let mut command = command_of(&process.command);
    let socket: OwnedFd = socket.try_clone()?.into();
    command.uid(process.uid).gid(process.gid);
    command.current_dir("/").stdin(Stdio::from(socket));
    Ok(command)
}

fn edge(node: &Node, listener: &TcpListener) -> io::Result<Command> {
    let mut command = Command::new(&node.binaries.edge);
    command.arg("--domain").arg(&node.domain);
    command
        .arg("--api-socket")
        .arg(node.run.join("control/api.sock"));
    command
        .arg("--control-socket")
        .arg(node.run.join("control/edge.sock"));
    command
        .arg("--launcher-socket")
        .arg(node.run.join("launcher.sock"));
    for proxy in &node.trusted_proxies {
        command.arg("--trusted-proxy").arg(proxy.to_string());
    }
    if let Some(tls) = &node.tls {
        command.arg("--tls-certificate").arg(&tls.certificate);
        command.arg("--tls-key").arg(&tls.key);
    }
    if node.handlers.is_some() {
        command.arg("--handlers-socket").arg(node.handlers_socket());
    }
    let listener: OwnedFd = listener.try_clone()?.into();
    command
        .uid(node.edge_uid)
        .gid(node.gid)
        .current_dir("/")
        .stdin(Stdio::from(listener));
    Ok(command)
}

fn launcher(node: &Node, config: &Path) -> Command {
    let mut command = Command::new(&node.binaries.launcher);
    command
        .arg("serve")
        .arg("--config")
        .arg(config)
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// What a part is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    ControlPlane,
    Edge,
    Handlers,
    Launcher,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control plane",
            Self::Edge => "edge",
            Self::Handlers => "handlers",
            Self::Launcher => "launcher",
        }
    }
}

/// One process that must be there.
struct Part {
    role: Role,
    /// How long it may take to stop before it is killed.
    patience: Duration,
    child: Option<Child>,
    started: Instant,
    delay: Duration,
    start_at: Instant,
}

impl Part {
    fn new(role: Role, patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            role,
            patience,
            child: None,
            started: now,
            delay: FIRST_DELAY,
            start_at: now,
        }
    }

    /// When it must be started, if it is not running.
    fn due(&self) -> Option<Instant> {
        self.child.is_none().then_some(self.start_at)
    }

    /// Notices its death, and starts it when it is due.
    fn tend(&mut self, command: impl FnOnce() -> io::Result<Command>) {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return,
                Ok(Some(status)) => tracing::error!(part = self.role.name(), %status, "died"),
                Err(error) => tracing::error!(part = self.role.name(), %error, "lost"),
            }
            self.child = None;
            self.back_off();
        }
        if Instant::now() < self.start_at {
            return;
        }
        self.started = Instant::now();
        match command().and_then(start) {
            Ok(child) => {
                tracing::info!(part = self.role.name(), pid = child.id(), "started");
                self.child = Some(child);
            }
            Err(error) => {
                tracing::error!(part = self.role.name(), %error, "can't be started");
                self.back_off();
            }
        }
    }

    fn back_off(&mut self) {
        if self.started.elapsed() >= HEALTHY_AFTER {
            self.delay = FIRST_DELAY;
        }
        self.start_at = Instant::now() + self.delay;
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().map(Pid::from_child);
        if let Some(Err(error)) = pid.map(|pid| kill_process(pid, signal)) {
            tracing::warn!(part = self.role.name(), %error, "can't be signalled");
        }
    }

    /// Asks it to end, waits, and kills it when its patience is over.
    fn stop(&mut self) {
        self.signal(Signal::TERM);
        let Some(mut child) = self.child.take() else {
            return;
        };
        let deadline = Instant::now() + self.patience;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    return tracing::info!(part = self.role.name(), %status, "stopped")
                }
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) | Err(_) => break,
            }
        }
        tracing::warn!(part = self.role.name(), "did not stop in time, killed");
        if let Err(error) = child.kill().and_then(|()| child.wait()) {
            tracing::error!(part = self.role.name(), %error, "can't be killed");
        }
    }
}

/// Starts `command` so that it dies with this process, and not by a Ctrl-C that is meant for it.
fn start(mut command: Command) -> io::Result<Child> {
    command.env_clear().process_group(0);
    command.envs(
        ENVIRONMENT
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?))),
    );
    let parent = rustix::process::getpid();
    // SAFETY: the closure runs between fork and exec and makes two system calls only; it neither
    // allocates nor takes a lock. It runs after the uid was changed, which would clear the signal.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            // The supervisor may have died before the line above took effect.
            if rustix::process::getppid() == Some(parent) {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::ESRCH))
            }
        });
    }
    command.spawn()
}

/// Signals as something to wait for.
struct Signals {
    woken: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn register() -> io::Result<Self> {
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let reload = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        signal_hook::flag::register(SIGHUP, Arc::clone(&reload))?;
        for signal in [SIGCHLD, SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        Ok(Self {
            woken,
            stop,
            reload,
        })
    }

    /// Waits for a signal, at most until `deadline`.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let timeout = deadline
            .map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
            .and_then(|left| left.try_into().ok());
        match poll(
            &mut [PollFd::new(&self.woken, PollFlags::IN)],
            timeout.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut sink = [0; 64];
        while matches!(self.woken.read(&mut sink), Ok(n) if n == sink.len()) {}
        Ok(())
    }
}
