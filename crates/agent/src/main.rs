//! The agent: PID 1 of every sandbox. It runs commands and terminals and moves files, for whoever
//! holds the sandbox's token, in the protocol of E2B's `envd` over HTTP/1.1. `--help` says how to
//! run it outside a sandbox.
#![deny(unsafe_code)]

mod agent;
mod background;
mod cli;
mod control;
mod file_service;
mod files;
mod filesystem;
mod git;
mod http;
mod identity;
mod paths;
mod process;
mod sessions;
#[allow(unsafe_code)]
mod sys;
mod terminals;
mod trust;
mod users;
mod watch;

use agent::Agent;
use cli::Mode;
use rustix::process::{setrlimit, DumpableBehavior, Resource, Rlimit, WaitOptions};
use std::io::Read;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};
use wardian_wire::boot::{Boot, BOOT_FD, LISTENER_FD};

/// The most the configuration may have, in bytes.
const MAX_BOOT: u64 = 4 * 1024 * 1024;
/// Threads for file operations; they end when idle.
const FILE_THREADS: usize = 8;
/// Their stacks, in bytes: decompressors build their tables there. Only what is touched is memory.
const FILE_STACK: usize = 1024 * 1024;
/// How many descriptors the agent may have open.
const OPEN_FILES: u64 = 65_536;

type Variables = std::collections::BTreeMap<String, String>;
type Result<T> = std::result::Result<T, String>;

/// Nobody in the sandbox, not even its root, shall trace this process or read its memory, where
/// the token is. Root there lacks the capability to trace what is not dumpable, and an exec by the
/// launcher or the agent makes a process dumpable again.
fn keep_to_oneself() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| format!("becoming undumpable: {errno}"))
}

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Mode::Spawner) => match keep_to_oneself() {
            Ok(()) => return process::spawner::run(),
            failed => failed,
        },
        Ok(Mode::Help) => {
            print!("{}", cli::HELP);
            Ok(())
        }
        Ok(Mode::Version) => {
            println!("wardian-agent {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Ok(Mode::Standalone { listen, boot, logs }) => standalone(listen, boot.as_deref(), logs),
        Ok(Mode::Sandbox) => keep_to_oneself().and_then(|()| sandbox()),
        Err(error) => Err(format!("{error}\n\n{}", cli::HELP)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wardian-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As PID 1: serves until the sandbox is killed.
fn sandbox() -> Result<()> {
    let inherited = |fd, what| {
        sys::inherited(fd).map_err(|errno| {
            format!("descriptor {fd}, {what}: {errno}; to run outside a sandbox see --help")
        })
    };
    let listener = StdListener::from(inherited(LISTENER_FD, "the listening socket")?);
    let boot = std::fs::File::from(inherited(BOOT_FD, "the configuration")?);
    let boot = read_boot(boot)?;
    // Descriptors that are inherited have not been marked by anybody.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)
        .map_err(|e| format!("the listening socket: {e}"))?;
    identity::write(Path::new("/etc"), &boot.hostname);
    let trusted = trust_at_birth(&boot);
    run(
        listener,
        boot,
        Some(trusted),
        background::LOGS.into(),
        false,
    )
}

/// Before the first command, so that none starts without; gives what commands find it by.
fn trust_at_birth(boot: &Boot) -> Variables {
    if boot.trust.is_empty() {
        return Variables::new();
    }
    let java_home = boot.env.get("JAVA_HOME").map(String::as_str);
    trust::install(Path::new("/"), &boot.trust, java_home).unwrap_or_else(|error| {
        eprintln!("wardian-agent: the certificates to trust: {error}");
        Variables::new()
    })
}

/// As an ordinary process.
fn standalone(listen: SocketAddr, boot: Option<&Path>, logs: Option<PathBuf>) -> Result<()> {
    let boot = match boot {
        Some(path) => {
            let file = std::fs::File::open(path);
            read_boot(file.map_err(|e| format!("{}: {e}", path.display()))?)?
        }
        None => default_boot()?,
    };
    let listener = StdListener::bind(listen).map_err(|e| format!("{listen}: {e}"))?;
    let logs = logs.unwrap_or_else(|| background::LOGS.into());
    run(listener, boot, None, logs, true)
}

fn default_boot() -> Result<Boot> {
    let sandbox = wardian_wire::SandboxId::parse("standaloneaaaaaaaaaa");
    Ok(Boot {
        sandbox: sandbox.map_err(|e| e.to_string())?,
        access_token: None,
        hostname: "standalone".to_owned(),
        default_user: "root".to_owned(),
        default_workdir: None,
        env: std::collections::BTreeMap::new(),
        trust: String::new(),
        memory_bytes: 2 << 30,
        cpu_millis: 2000,
        disk_bytes: 10 << 30,
    })
}

fn read_boot(file: std::fs::File) -> Result<Boot> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_BOOT).read_to_end(&mut bytes);
    read.map_err(|e| format!("reading the configuration: {e}"))?;
    // The parser's own words would quote the token.
    serde_json::from_slice(&bytes).map_err(|e| {
        format!(
            "the configuration is not as it must be (line {}, column {})",
            e.line(),
            e.column()
        )
    })
}

fn run(
    listener: StdListener,
    boot: Boot,
    trusted: Option<Variables>,
    logs: PathBuf,
    stoppable: bool,
) -> Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(OPEN_FILES, |max| max.min(OPEN_FILES));
    let raised = Rlimit {
        current: Some(current),
        maximum: limit.maximum,
    };
    // Without it the agent serves fewer clients, no more.
    let _ = setrlimit(Resource::Nofile, raised);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(FILE_THREADS)
        .thread_keep_alive(Duration::from_secs(2))
        .thread_stack_size(FILE_STACK)
        .build()
        .map_err(|e| format!("starting: {e}"))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let words = |e: std::io::Error| format!("starting: {e}");
        listener.set_nonblocking(true).map_err(words)?;
        let listener = TcpListener::from_std(listener).map_err(words)?;
        let mut children = signal(SignalKind::child()).map_err(words)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(words)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(words)?;
        let agent = Rc::new(Agent::new(boot, trusted, logs));
        tokio::task::spawn_local(http::server::serve(listener, agent));
        loop {
            tokio::select! {
                _ = children.recv() => reap(),
                // PID 1 is ended by the launcher, with SIGKILL; the workload's signals are noise.
                _ = terminate.recv() => if stoppable { return Ok(()) },
                _ = interrupt.recv() => if stoppable { return Ok(()) },
            }
        }
    })
}

/// Reaps whatever has ended: the spawner, and, as PID 1, every orphan.
fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}
