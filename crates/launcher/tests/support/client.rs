//! A client of the launcher's socket that speaks raw JSON, so that wrong requests can be made too.

use serde_json::{json, Value};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub struct Client {
    pub stream: UnixStream,
    pub descriptors: Vec<OwnedFd>,
}

/// What a command inside said.
#[derive(Debug)]
pub struct Said {
    pub text: String,
    pub status: i32,
}

/// A create request for `id` on `layers`.
pub fn create(id: &str, layers: &[String]) -> Value {
    json!({
        "op": "create", "sandbox": id, "layers": layers,
        "limits": {"memory_bytes": 128 << 20, "pids": 64, "cpu_millis": 1000,
                   "disk_bytes": 64 << 20, "io_bytes_per_second": null},
        "boot": {"sandbox": id, "access_token": "secret", "hostname": "inside", "default_user": "root",
                 "default_workdir": null, "env": {}, "trust": "", "memory_bytes": 128 << 20,
                 "cpu_millis": 1000, "disk_bytes": 64 << 20},
    })
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self {
            stream,
            descriptors: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let flags = SendFlags::NOSIGNAL;
        match sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, flags) {
            // The launcher is gone: the caller hears that.
            Err(rustix::io::Errno::PIPE) => {}
            result => assert_eq!(result.unwrap(), bytes.len()),
        }
    }

    pub fn frame(request: &Value) -> Vec<u8> {
        let body = request.to_string();
        let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(body.as_bytes());
        bytes
    }

    pub fn ask_with(&mut self, request: &Value, fds: &[BorrowedFd<'_>]) -> Value {
        self.send(&Self::frame(request), fds);
        self.hear().expect("an answer")
    }

    pub fn ask(&mut self, request: &Value) -> Value {
        self.ask_with(request, &[])
    }

    /// The next frame; `None` if the launcher closed.
    pub fn hear(&mut self) -> Option<Value> {
        use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut header = [0; 4];
        let mut into = [IoSliceMut::new(&mut header)];
        let got = loop {
            let flags = RecvFlags::CMSG_CLOEXEC;
            match recvmsg(&self.stream, &mut into, &mut control, flags) {
                Err(rustix::io::Errno::CONNRESET) => return None,
                Err(rustix::io::Errno::INTR) => {}
                result => break result.unwrap(),
            }
        };
        if got.bytes < 4 {
            return None;
        }
        self.descriptors.clear();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.descriptors.extend(fds);
            }
        }
        let mut body = vec![0; u32::from_be_bytes(header) as usize];
        self.stream.read_exact(&mut body).unwrap();
        Some(serde_json::from_slice(&body).unwrap())
    }

    /// Asks and expects it to work.
    pub fn ok(&mut self, request: &Value) -> Value {
        let answer = self.ask(request);
        assert!(answer.get("ok").is_some(), "{request}: {answer}");
        answer["ok"].clone()
    }

    /// Asks and expects a failure; returns its code and message.
    pub fn fails(&mut self, request: &Value) -> (String, String) {
        let answer = self.ask(request);
        let error = answer
            .get("error")
            .unwrap_or_else(|| panic!("{request}: {answer}"));
        let text = |key: &str| error[key].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }

    pub fn kill(&mut self, id: &str) -> Value {
        self.ok(&json!({"op": "kill", "sandbox": id}))
    }

    /// Imports a tar.
    pub fn import(&mut self, id: &str, tar: Vec<u8>) -> Value {
        let (reading, writing) = rustix::pipe::pipe().unwrap();
        let mut writing = std::fs::File::from(writing);
        // The launcher may refuse before it has read all.
        let writer = std::thread::spawn(move || drop(writing.write_all(&tar)));
        let request = json!({"op": "import_layer", "layer": id});
        let answer = self.ask_with(&request, &[reading.as_fd()]);
        drop(reading);
        writer.join().unwrap();
        answer
    }

    /// Connects to a port of a sandbox, from its edge namespace.
    pub fn dial(&mut self, id: &str, port: u16) -> std::io::Result<TcpStream> {
        self.ok(&json!({"op": "open_sockets", "sandbox": id, "count": 1}));
        let socket = self.descriptors.pop().unwrap();
        rustix::io::ioctl_fionbio(&socket, false)?;
        let address = std::net::SocketAddrV4::new([10, 0, 0, 2].into(), port);
        rustix::net::connect(&socket, &address)?;
        Ok(socket.into())
    }

    /// Has the stand-in agent do something.
    pub fn inside(&mut self, id: &str, line: &str) -> Said {
        let mut stream = self.dial(id, 49_983).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut text = String::new();
        // A sandbox that dies cuts the answer short.
        let _ = stream.read_to_string(&mut text);
        let (text, status) = text.rsplit_once("\nstatus ").unwrap_or((&text, "-1"));
        Said {
            text: text.to_owned(),
            status: status.parse().unwrap(),
        }
    }
}
