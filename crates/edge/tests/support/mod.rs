//! The world around an edge: its own network namespace in which 10.0.0.2 is this machine, a
//! control plane and a launcher that speak the real protocols, and the real binary between them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_debug_implementations
)]

pub mod client;
pub mod launcher;
pub mod sandbox;

use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use wardian_wire::edge::{FromEdge, Route, RouteState, ToEdge};
use wardian_wire::egress::event::{Event, Traffic};
use wardian_wire::egress::policy::{Explanation, Policy, Question, Settings};
use wardian_wire::frame::{self, Decoder};
use wardian_wire::SandboxId;

pub const ONE: &str = "aaaaaaaaaaaaaaaaaaa2";
pub const OTHER: &str = "bbbbbbbbbbbbbbbbbbb3";
pub const DOMAIN: &str = "box.test";

/// Runs `test` on a thread whose network is new and empty.
pub fn isolated<F: std::future::Future<Output = ()>>(test: impl FnOnce() -> F) {
    own_network();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(120), test())
            .await
            .expect("the test hangs");
    });
}

fn own_network() {
    #[allow(unsafe_code)]
    // SAFETY: only the network namespace of this thread changes; no descriptor table or memory
    // is split.
    let unshared = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
    unshared.expect("these tests make network namespaces and so need root");
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["address", "add", "10.0.0.2/32", "dev", "lo"],
    ] {
        let status = Command::new("ip").args(arguments).status().unwrap();
        assert!(status.success(), "ip {arguments:?}");
    }
}

/// An edge and the folder of its sockets.
pub struct World {
    pub folder: TempDir,
    pub edge: Child,
    pub address: SocketAddr,
    control: UnixListener,
    pub launcher: launcher::LauncherDouble,
    line: Option<(UnixStream, Decoder)>,
    seq: u64,
    events: Vec<Event>,
    pub traffic: Vec<Traffic>,
}

impl World {
    /// Starts an edge that knows no route yet.
    pub async fn unsynced(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = UnixListener::bind(folder.path().join("edge.sock")).unwrap();
        let launcher = launcher::LauncherDouble::start(folder.path().join("launcher.sock"));
        let public = StdTcpListener::bind("127.0.0.1:0").unwrap();
        let address = public.local_addr().unwrap();
        let socket = |name: &str| folder.path().join(name).into_os_string();
        let edge = Command::new(binary())
            .args(["--domain", DOMAIN, "--api-socket"])
            .arg(socket("api.sock"))
            .arg("--control-socket")
            .arg(socket("edge.sock"))
            .arg("--launcher-socket")
            .arg(socket("launcher.sock"))
            .args(options)
            .env("WARDIAN_LOG", "warn")
            .stdin(Stdio::from(OwnedFd::from(public)))
            .spawn()
            .unwrap();
        Self {
            folder,
            edge,
            address,
            control,
            launcher,
            line: None,
            seq: 0,
            events: Vec::new(),
            traffic: Vec::new(),
        }
    }

    /// Starts an edge that knows the sandbox [`ONE`], running and open.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(options: &[&str]) -> Self {
        let mut world = Self::unsynced(options).await;
        world.launcher.add(ONE);
        world
            .sync(vec![route(ONE, RouteState::Running, None)])
            .await;
        world
    }

    pub fn api_socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    /// Waits for the edge to connect and greet.
    async fn greet(&mut self) {
        let (stream, _) = self.control.accept().await.unwrap();
        self.line = Some((stream, Decoder::default()));
        assert_eq!(self.hear().await, FromEdge::Hello { version: 1 });
    }

    /// The next answer; reports of what happened on the way out are kept for [`Self::told`].
    async fn hear(&mut self) -> FromEdge {
        loop {
            match self.hear_anything().await {
                FromEdge::Egress {
                    events, traffic, ..
                } => {
                    self.events.extend(events);
                    self.traffic.extend(traffic);
                }
                other => return other,
            }
        }
    }

    /// Waits for the first event that fits.
    pub async fn told(&mut self, fits: impl Fn(&Event) -> bool) -> Event {
        loop {
            if let Some(at) = self.events.iter().position(&fits) {
                return self.events.remove(at);
            }
            match self.hear_anything().await {
                FromEdge::Egress {
                    events, traffic, ..
                } => {
                    self.events.extend(events);
                    self.traffic.extend(traffic);
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }

    /// Asks what a policy would say.
    pub async fn explain(&mut self, policy: Policy, question: Question) -> Explanation {
        self.seq += 1;
        let asked = ToEdge::Explain {
            seq: self.seq,
            policy: Box::new(policy),
            question,
        };
        self.write(&asked).await;
        match self.hear().await {
            FromEdge::Explained { seq, explanation } if seq == self.seq => explanation,
            other => panic!("{other:?}"),
        }
    }

    async fn hear_anything(&mut self) -> FromEdge {
        let (stream, decoder) = self.line.as_mut().unwrap();
        loop {
            if let Some(body) = decoder.next_body().unwrap() {
                return frame::decode(&body).unwrap();
            }
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the edge hung up");
            decoder.feed(&bytes[..count]);
        }
    }

    async fn say(&mut self, change: ToEdge) {
        if self.line.is_none() {
            self.greet().await;
        }
        self.write(&change).await;
        assert_eq!(self.hear().await, FromEdge::Ack { seq: self.seq });
    }

    async fn write(&mut self, message: &ToEdge) {
        let bytes = frame::encode(message).unwrap();
        let (stream, _) = self.line.as_mut().unwrap();
        stream.write_all(&bytes).await.unwrap();
    }

    pub async fn sync(&mut self, sandboxes: Vec<Route>) {
        self.seq += 1;
        let seq = self.seq;
        let egress = Box::new(Settings {
            authority_certificate: String::new(),
            authority_key: String::new(),
            trusted: String::new(),
        });
        self.say(ToEdge::Sync {
            seq,
            sandboxes,
            egress,
        })
        .await;
    }

    pub async fn put(&mut self, sandbox: Route) {
        self.seq += 1;
        let seq = self.seq;
        self.say(ToEdge::Put { seq, sandbox }).await;
    }

    pub async fn remove(&mut self, sandbox: &str) {
        self.seq += 1;
        let (seq, sandbox) = (self.seq, id(sandbox));
        self.say(ToEdge::Remove { seq, sandbox }).await;
    }

    /// The control plane dies: its line goes down.
    pub fn hang_up(&mut self) {
        self.line = None;
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.edge);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Resident memory of the edge, in KiB: now, and at its highest.
    pub fn memory(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.edge.id());
        let status = std::fs::read_to_string(Path::new(&path)).unwrap();
        let line = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (line("VmRSS:"), line("VmHWM:"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.edge.kill();
        let _ = self.edge.wait();
    }
}

fn binary() -> PathBuf {
    std::env::var_os("WARDIAN_EDGE_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_wardian-edge").into(), PathBuf::from)
}

pub fn id(text: &str) -> SandboxId {
    SandboxId::parse(text).unwrap()
}

pub fn route(sandbox: &str, state: RouteState, token: Option<&str>) -> Route {
    Route {
        sandbox: id(sandbox),
        state,
        traffic_token: token.map(str::to_owned),
        exposures: Vec::new(),
        egress: Policy::default(),
        facts: Default::default(),
    }
}

/// The host of a port of a sandbox.
pub fn host(sandbox: &str, port: u16) -> String {
    format!("{port}-{sandbox}.{DOMAIN}")
}
