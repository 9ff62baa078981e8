//! An agent of one's own, outside a sandbox, and the least HTTP needed to talk to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    unreachable_pub
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long a test waits for what must happen before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Agent {
    child: Child,
    port: u16,
    pub directory: PathBuf,
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Agent {
    pub fn start(name: &str, token: Option<&str>) -> Self {
        let directory =
            std::env::temp_dir().join(format!("wardian-agent-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let boot = serde_json::json!({
            "sandbox": "integrationaaaaaaaaa", "access_token": token, "hostname": "test",
            "default_user": "root", "default_workdir": directory, "env": {"GLOBAL": "yes"}, "trust": "",
            "memory_bytes": 1 << 30, "cpu_millis": 1500, "disk_bytes": 1 << 30,
        });
        fs::write(directory.join("boot"), boot.to_string()).unwrap();
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_wardian-agent"))
            .args([
                "--standalone",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--boot",
            ])
            .arg(directory.join("boot"))
            .arg("--logs")
            .arg(directory.join("logs"))
            .spawn()
            .unwrap();
        let agent = Self {
            child,
            port,
            directory,
        };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        agent
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    /// A connection for several requests.
    pub fn open_keep_alive(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request and returns the connection, the answer unread.
    pub fn open(&self, head: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(request.as_bytes()).unwrap();
        // An agent that refuses early may close before the body is through.
        let _ = stream.write_all(body);
        stream
    }

    pub fn call(&self, head: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        read_reply(self.open(head, headers, body))
    }

    pub fn rpc(&self, method: &str, body: &str) -> Reply {
        let headers = [("Content-Type", "application/json")];
        self.call(&format!("POST /{method}"), &headers, body.as_bytes())
    }

    /// Runs a shell command; what its stream carried, as text.
    pub fn run(&self, command: &str, headers: &[(&str, &str)]) -> String {
        let stream = self.start_command(command, headers);
        read_reply(stream).text()
    }

    pub fn start_command(&self, command: &str, headers: &[(&str, &str)]) -> TcpStream {
        let message = serde_json::json!({
            "process": {"cmd": "/bin/sh", "args": ["-c", command]}, "stdin": false, "tag": "t",
        });
        let message = message.to_string();
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message.bytes());
        let mut all = vec![("Content-Type", "application/connect+json")];
        all.extend(headers);
        self.open("POST /process.Process/Start", &all, &body)
    }

    /// A number of /proc/<agent>/status, in KiB.
    pub fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// A port that no other test of this program is given, below those that the kernel hands out: one
/// of those could be another's before the agent has it.
fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 600).unwrap() * 20;
    loop {
        let port = first + GIVEN.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn read_reply(stream: TcpStream) -> Reply {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let before = head.len();
        reader.read_line(&mut head).unwrap();
        if head.len() - before <= 2 {
            break;
        }
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            let size = u64::from_str_radix(size.trim(), 16).unwrap();
            (&mut reader).take(size + 2).read_to_end(&mut body).unwrap();
            body.truncate(body.len() - 2);
            if size == 0 {
                break;
            }
        }
    } else {
        reader.read_to_end(&mut body).unwrap();
    }
    Reply { status, head, body }
}
