//! A launcher that only hands out sockets, of the namespace it runs in.

use rustix::net::{sendmsg, AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::collections::HashSet;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use wardian_wire::frame::{self, Decoder};
use wardian_wire::launcher::{Failure, FailureCode, Family, Reply, Request, Value};

pub struct LauncherDouble {
    path: PathBuf,
    known: Arc<Mutex<HashSet<String>>>,
    pub asked: Arc<AtomicUsize>,
    task: Option<JoinHandle<()>>,
}

impl LauncherDouble {
    pub fn start(path: PathBuf) -> Self {
        let mut double = Self {
            path,
            known: Arc::default(),
            asked: Arc::default(),
            task: None,
        };
        double.up();
        double
    }

    pub fn add(&self, sandbox: &str) {
        self.known.lock().unwrap().insert(sandbox.to_owned());
    }

    pub fn up(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let (known, asked) = (Arc::clone(&self.known), Arc::clone(&self.asked));
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&known), Arc::clone(&asked)));
            }
        }));
    }

    /// Ends it and all its connections.
    pub async fn down(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
        std::fs::remove_file(&self.path).unwrap();
    }
}

async fn serve(
    mut stream: UnixStream,
    known: Arc<Mutex<HashSet<String>>>,
    asked: Arc<AtomicUsize>,
) {
    let mut decoder = Decoder::default();
    let mut bytes = [0; 4096];
    loop {
        let count = stream.read(&mut bytes).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        decoder.feed(&bytes[..count]);
        while let Some(body) = decoder.next_body().unwrap() {
            let (sandbox, family, count) = match frame::decode(&body).unwrap() {
                Request::OpenSockets { sandbox, count } => (sandbox, AddressFamily::INET, count),
                Request::OpenInnerSockets {
                    sandbox,
                    family: Family::Ipv4,
                    count,
                } => (sandbox, AddressFamily::INET, count),
                Request::OpenInnerSockets { sandbox, count, .. } => {
                    (sandbox, AddressFamily::INET6, count)
                }
                _ => panic!("the edge may ask for sockets only"),
            };
            asked.fetch_add(1, Ordering::SeqCst);
            if known.lock().unwrap().contains(sandbox.as_str()) {
                hand_out(&stream, family, count).await;
            } else {
                let failure = Failure {
                    code: FailureCode::NotFound,
                    message: "no such sandbox".into(),
                };
                let bytes = frame::encode(&Reply::Error(failure)).unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        }
    }
}

async fn hand_out(stream: &UnixStream, family: AddressFamily, count: u32) {
    let sockets: Vec<OwnedFd> = (0..count).map(|_| unconnected(family)).collect();
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let bytes = frame::encode(&Reply::Ok(Value::Sockets { count })).unwrap();
    let sent = stream.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)));
        let parts = [IoSlice::new(&bytes)];
        Ok(sendmsg(stream, &parts, &mut ancillary, SendFlags::empty())?)
    });
    assert_eq!(sent.await.unwrap(), bytes.len());
}

fn unconnected(family: AddressFamily) -> OwnedFd {
    let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
    let kind = rustix::net::SocketType::STREAM;
    rustix::net::socket_with(family, kind, flags, None).unwrap()
}
