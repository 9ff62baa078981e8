//! Trying whether a server on a port of this sandbox answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// Where a server may listen: either loopback, or the sandbox's own address.
const ADDRESSES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
];
/// How long it takes from one round of tries to the next: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How long a server may take to answer: a first page may have to be built.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How much of an answer is read to find its status, in bytes.
const HEAD: usize = 64 * 1024;

/// What has to answer.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) port: u16,
    /// Ask HTTP for this path; otherwise a connection is enough.
    pub(super) path: Option<String>,
    /// What status counts.
    pub(super) statuses: std::ops::RangeInclusive<u16>,
}

impl Probe {
    /// Tries until it answers as it should. Returns the status, where HTTP was asked for.
    pub(super) async fn until_ready(&self) -> Option<u16> {
        let mut pause = PAUSE.0;
        loop {
            for address in ADDRESSES {
                let Some(stream) = connect(SocketAddr::new(address, self.port)).await else {
                    continue;
                };
                let Some(path) = &self.path else { return None };
                match timeout(ANSWER_TIME, ask(stream, path)).await {
                    Ok(Some(status)) if self.statuses.contains(&status) => return Some(status),
                    _ => {}
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

async fn connect(to: SocketAddr) -> Option<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .ok()?;
    // From the address itself: where it is not this machine's own, nothing is sent anywhere.
    socket.bind(SocketAddr::new(to.ip(), 0)).ok()?;
    let stream = timeout(CONNECT_TIME, socket.connect(to)).await.ok()?.ok()?;
    // A port tried on loopback before anybody listens may be given to the trying socket itself.
    (stream.local_addr().ok()? != to).then_some(stream)
}

async fn ask(mut stream: TcpStream, path: &str) -> Option<u16> {
    let port = stream.peer_addr().ok()?.port();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: wardian\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    loop {
        let mut piece = [0; 2048];
        let count = stream.read(&mut piece).await.ok().filter(|&n| n > 0)?;
        head.extend(piece.get(..count)?);
        if let Some(status) = status(&head)? {
            return Some(status);
        }
        if head.len() > HEAD {
            return None;
        }
    }
}

/// The status of an answer, once it can be told: `Some(None)` is too early, `None` is no HTTP.
fn status(mut head: &[u8]) -> Option<Option<u16>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut answer = httparse::Response::new(&mut headers);
        match answer.parse(head).ok()? {
            httparse::Status::Complete(length) => {
                let code = answer.code?;
                // 1xx say that the answer is still to come.
                if code >= 200 {
                    return Some(Some(code));
                }
                head = head.get(length..)?;
            }
            httparse::Status::Partial => return Some(None),
        }
    }
}

/// Whether a path can stand in a request.
pub(super) fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_final_status_counts() {
        let text = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.0 503 Busy\r\n\r\nbody";
        assert_eq!(status(text), Some(Some(503)));
        for cut in 0..text.len() - 8 {
            assert_eq!(status(&text[..cut]), Some(None), "{cut}");
        }
        assert_eq!(status(b"SSH-2.0-OpenSSH\r\n"), None);
    }

    proptest! {
        #[test]
        fn noise_is_no_answer(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = status(&noise);
        }
    }

    #[test]
    fn paths_cannot_smuggle() {
        assert!(is_path("/health?x=1"));
        for bad in ["", "x", "/a b", "/a\r\nHost: x", "/ä"] {
            assert!(!is_path(bad), "{bad}");
        }
    }
}
