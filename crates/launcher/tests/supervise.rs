//! The supervisor and the process of the operator's egress handlers. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use support::EDGE;

const HANDLERS: u32 = 65_531;
const GROUP: u32 = 65_530;

struct Supervised {
    directory: PathBuf,
    child: Child,
}

/// A program that writes down its arguments and stays.
fn script(directory: &Path, name: &str) -> PathBuf {
    let (path, told) = (directory.join(name), directory.join(format!("{name}-told")));
    let told = told.display();
    let text =
        format!("#!/bin/sh\necho \"$@\" > {told}.new && mv {told}.new {told}\nexec sleep 600\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

impl Supervised {
    fn start(name: &str, handlers: &serde_json::Value) -> Self {
        let name = format!("wardian-test-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(directory.join("run/handlers")).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
        let program = |name: &str| script(&directory, name);
        let config = serde_json::json!({
            "home": directory, "run": directory.join("run"), "instance": "00000000",
            "listen": "127.0.0.1:0", "domain": "localhost", "tls": null,
            "control_uid": 65_532, "edge_uid": EDGE, "gid": 0,
            "binaries": {"agent": "/nonexistent", "edge": program("edge"), "launcher": program("launcher")},
            "control_command": [program("control")],
            "pool": {"path": directory, "kind": "plain", "image": null},
            "uid_base": 200_000_000, "uid_slots": 1, "parked": 0, "handlers": handlers,
        });
        let path = directory.join("node.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_wardian-launcher"))
            .args(["supervise", "--config"])
            .arg(path)
            .env("WARDIAN_LOG", "error")
            .spawn()
            .unwrap();
        Self { directory, child }
    }

    /// What a script was started with.
    fn told(&self, name: &str) -> String {
        let path = self.directory.join(format!("{name}-told"));
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) => return text,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn handlers_get_their_socket_and_are_started_again() {
    let program = support::build("handlers");
    let handlers = serde_json::json!({
        "command": [program, "--path", "/some/where"], "path": "/some/where",
        "uid": HANDLERS, "gid": GROUP,
    });
    let mut node = Supervised::start("handlers", &handlers);
    let socket = node.directory.join("run/handlers/handlers.sock");
    let arguments = node.told("edge");
    let option = format!("--handlers-socket {}", socket.display());
    assert!(arguments.contains(&option), "{arguments}");
    let status = std::fs::metadata(&socket).unwrap();
    assert_eq!((status.uid(), status.mode() & 0o777), (EDGE, 0o700));
    // Each time it ends: the next connection waits for the next process.
    for _ in 0..3 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let who = format!("({HANDLERS}, {GROUP}, 0) [\"--path\", \"/some/where\"] error");
        assert_eq!(said, who);
    }
    node.stop();
    assert!(UnixStream::connect(&socket).is_err());
    // The next supervisor takes the place of what the last has left.
    drop(node);
}

#[test]
fn a_node_without_handlers_has_no_socket() {
    let mut node = Supervised::start("none", &serde_json::Value::Null);
    assert!(!node.told("edge").contains("--handlers-socket"));
    node.told("launcher");
    node.stop();
    let mut left = std::fs::read_dir(node.directory.join("run/handlers")).unwrap();
    assert!(left.next().is_none());
}
