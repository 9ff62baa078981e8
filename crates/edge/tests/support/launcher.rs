//! A launcher that only hands out sockets, of the namespace it runs in.
//!
//! Where that has an address for everything (a local route), a listener on one port takes all
//! connections to that port, with what was dialled as its own address, as the real one does for
//! all ports.

use rustix::net::{
    sendmsg, socket_with, AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType,
};
use std::collections::{HashMap, HashSet};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use wardian_wire::frame::{self, Decoder};
use wardian_wire::launcher::{Failure, FailureCode, Family, Reply, Request, Value};

/// The sockets of each sandbox's way out.
type Outbound = Arc<Mutex<HashMap<String, [OwnedFd; 3]>>>;

pub struct LauncherDouble {
    path: PathBuf,
    known: Arc<Mutex<HashSet<String>>>,
    outbound: Outbound,
    pub asked: Arc<AtomicUsize>,
    task: Option<JoinHandle<()>>,
}

impl LauncherDouble {
    pub fn start(path: PathBuf) -> Self {
        let mut double = Self {
            path,
            known: Arc::default(),
            outbound: Arc::default(),
            asked: Arc::default(),
            task: None,
        };
        double.up();
        double
    }

    pub fn add(&self, sandbox: &str) {
        self.known.lock().unwrap().insert(sandbox.to_owned());
    }

    /// Gives a sandbox a way out: connections to `port` of whatever address is local, and
    /// questions to `resolver`.
    pub fn let_out(&self, sandbox: &str, port: u16, resolver: SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        let questions = UdpSocket::bind(resolver).unwrap();
        listener.set_nonblocking(true).unwrap();
        questions.set_nonblocking(true).unwrap();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let packets = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).unwrap();
        let sockets = [listener.into(), questions.into(), packets];
        self.outbound
            .lock()
            .unwrap()
            .insert(sandbox.to_owned(), sockets);
    }

    pub fn up(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let (known, asked) = (Arc::clone(&self.known), Arc::clone(&self.asked));
        let outbound = Arc::clone(&self.outbound);
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (known, asked) = (Arc::clone(&known), Arc::clone(&asked));
                connections.spawn(serve(stream, known, asked, Arc::clone(&outbound)));
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

fn copies(outbound: &Outbound, sandbox: &str) -> Option<Vec<OwnedFd>> {
    let kept = outbound.lock().unwrap();
    let all = kept.get(sandbox)?.iter();
    Some(all.map(|one| one.try_clone().unwrap()).collect())
}

async fn serve(
    mut stream: UnixStream,
    known: Arc<Mutex<HashSet<String>>>,
    asked: Arc<AtomicUsize>,
    outbound: Outbound,
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
                Request::OpenOutbound { sandbox } => {
                    let sockets = copies(&outbound, sandbox.as_str());
                    match sockets {
                        Some(sockets) => send(&stream, &sockets).await,
                        None => refuse(&mut stream).await,
                    }
                    continue;
                }
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
                refuse(&mut stream).await;
            }
        }
    }
}

async fn refuse(stream: &mut UnixStream) {
    let failure = Failure {
        code: FailureCode::NotFound,
        message: "no such sandbox".into(),
    };
    let bytes = frame::encode(&Reply::Error(failure)).unwrap();
    stream.write_all(&bytes).await.unwrap();
}

async fn hand_out(stream: &UnixStream, family: AddressFamily, count: u32) {
    let sockets: Vec<OwnedFd> = (0..count).map(|_| unconnected(family)).collect();
    send(stream, &sockets).await;
}

async fn send(stream: &UnixStream, sockets: &[OwnedFd]) {
    let count = u32::try_from(sockets.len()).unwrap();
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
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(family, SocketType::STREAM, flags, None).unwrap()
}
