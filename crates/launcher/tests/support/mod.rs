//! A node of the test's own, with a real launcher and real namespaces. Needs root.
#![allow(dead_code, missing_debug_implementations, unreachable_pub)]
// A panic in a test is the failure report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod client;
pub mod layers;

use client::Client;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;
use std::time::Duration;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Someone without rights, and the edge.
pub const STRANGER: u32 = 65_533;
pub const EDGE: u32 = 65_534;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Btrfs,
}

pub struct Node {
    pub directory: PathBuf,
    pub instance: String,
    pub launcher: Option<Child>,
}

/// A name no other test has, valid as a sandbox id.
pub fn fresh_id() -> String {
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let text = format!("{:x}{:x}", std::process::id(), number);
    let letters = text.bytes().map(|b| match b {
        b'0'..=b'9' => char::from(b - b'0' + b'g'),
        b => char::from(b),
    });
    let id: String = letters.collect();
    format!("{id:a>20}")
}

/// Runs a command that must work.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text}{errors}"
    );
    text
}

/// The stand-in agent, built once.
pub fn agent() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("agent"))
}

/// Builds a program of this directory.
pub fn build(name: &str) -> PathBuf {
    let source = format!("{}/tests/support/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    let unique = format!("wardian-test-{name}-{}", std::process::id());
    let at = std::env::temp_dir().join(unique);
    let out = at.to_str().unwrap();
    let options = ["--edition=2021", "-O", "-Ctarget-feature=+crt-static", "-o"];
    run("rustc", &[&options[..], &[out, source.as_str()]].concat());
    // Mounts and running copies outlive the name; nothing is left in the directory.
    let bytes = std::fs::read(&at).unwrap();
    std::fs::remove_file(&at).unwrap();
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("test-{name}"));
    let new = kept.with_extension(std::process::id().to_string());
    std::fs::write(&new, bytes).unwrap();
    run("chmod", &["0755", new.to_str().unwrap()]);
    std::fs::rename(&new, &kept).unwrap();
    kept
}

impl Node {
    pub fn new(kind: Kind) -> Self {
        Self::with(kind, agent(), 4)
    }

    pub fn with(kind: Kind, agent: &Path, parked: u32) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests need root"
        );
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let instance = format!("{:08x}", (std::process::id() << 12) | number);
        let directory = std::env::temp_dir().join(format!("wardian-test-{instance}"));
        for part in ["home/pool", "run"] {
            std::fs::create_dir_all(directory.join(part)).unwrap();
        }
        let image = (kind == Kind::Btrfs).then(|| directory.join("home/pool.img"));
        if let Some(image) = &image {
            let image = image.to_str().unwrap();
            run("fallocate", &["-l", "1G", image]);
            run("mkfs.btrfs", &["-q", image]);
        }
        let kind = if kind == Kind::Btrfs {
            "btrfs"
        } else {
            "plain"
        };
        let config = serde_json::json!({
            "home": directory.join("home"), "run": directory.join("run"), "instance": instance,
            "listen": "127.0.0.1:0", "domain": "localhost", "tls": null,
            "control_uid": 65_532, "edge_uid": EDGE, "gid": 0,
            "binaries": {"agent": agent, "edge": "/nonexistent", "launcher": "/nonexistent"},
            "control_command": [],
            "pool": {"path": directory.join("home/pool"), "kind": kind, "image": image},
            // Each node its own range, for tests run side by side.
            "uid_base": 200_000_000 + (number % 64) * 20_000_000, "uid_slots": 300, "parked": parked,
        });
        std::fs::write(directory.join("node.json"), config.to_string()).unwrap();
        let mut node = Self {
            directory,
            instance,
            launcher: None,
        };
        node.start();
        node
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("run/launcher.sock")
    }

    pub fn start(&mut self) {
        let config = self.directory.join("node.json");
        // A helper that a killed launcher was just starting holds its socket for a moment more.
        let _ = std::fs::remove_file(self.socket());
        let mut child = Command::new(env!("CARGO_BIN_EXE_wardian-launcher"))
            .args(["serve", "--config"])
            .arg(config)
            .env("WARDIAN_LOG", "warn")
            .spawn()
            .unwrap();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the launcher died at its start"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        self.launcher = Some(child);
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// Kills the launcher where it stands.
    pub fn kill_launcher(&mut self) {
        let mut child = self.launcher.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it as the supervisor does.
    pub fn stop(&mut self) {
        let mut child = self.launcher.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Control groups, mounts, loop devices and files that belong to this node.
    pub fn traces(&self) -> Vec<String> {
        let name = format!("wardian-{}*", self.instance);
        let groups = run(
            "find",
            &["/sys/fs/cgroup", "-maxdepth", "2", "-name", &name],
        );
        let mut traces: Vec<String> = groups.lines().map(String::from).collect();
        let here = self.directory.to_str().unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        traces.extend(
            mounts
                .lines()
                .filter(|l| l.contains(here))
                .map(String::from),
        );
        if !self.is_pinned() {
            let loops = run("losetup", &["-a"]);
            let mine = loops.lines().filter(|l| l.contains(here));
            traces.extend(mine.map(String::from));
        }
        for directory in [
            "run/launcher/sandboxes",
            "run/launcher/wires",
            "home/pool/disks",
        ] {
            if let Ok(entries) = std::fs::read_dir(self.directory.join(directory)) {
                traces.extend(entries.map(|e| e.unwrap().path().display().to_string()));
            }
        }
        traces
    }

    fn clear(&mut self) {
        if self.launcher.is_none() {
            self.start();
        }
        let mut client = self.connect();
        let all = client.ask(&serde_json::json!({"op": "list"}));
        let none = Vec::new();
        for status in all["ok"]["sandboxes"].as_array().unwrap_or(&none) {
            client.ask(&serde_json::json!({"op": "kill", "sandbox": status["sandbox"]}));
        }
    }

    /// Whether somebody else on this machine made a mount namespace while the pool was mounted:
    /// that keeps the loop device, and is not this node's doing, whose processes are all gone.
    fn is_pinned(&self) -> bool {
        let here = self.directory.to_str().unwrap();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut tables =
            processes.filter_map(|p| std::fs::read_to_string(p.path().join("mountinfo")).ok());
        tables.any(|table| table.contains(here))
    }

    /// Stops the launcher and asserts that nothing is left.
    pub fn finish(mut self) {
        self.stop();
        let mut traces = self.traces();
        // The kernel gives a loop device back a moment after its last use.
        for _ in 0..1000 {
            if traces.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            traces = self.traces();
        }
        assert_eq!(traces, Vec::<String>::new());
    }
}

impl Drop for Node {
    /// A failed test must leave nothing behind either.
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would end the test run here and now.
            let cleared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.clear()));
            if cleared.is_err() {
                eprintln!("{} could not be cleared", self.directory.display());
            }
        }
        if let Some(mut child) = self.launcher.take() {
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
