//! Connections that pass without being opened. Their first bytes are looked at all the same: TLS
//! must name the host that was dialled, and what is HTTP is read as such.

use super::dial::{self, DialFailure, Dialled};
use super::first_bytes::{check_hello, Beginning, First};
use super::flow::{refuse_connection, reset, Flow};
use super::prefixed::Prefixed;
use super::{opened, Egress};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wardian_wire::egress::event::{Kind, Reason, Verdict};
use wardian_wire::egress::matching::CompiledPolicy;

/// How long neither side may say anything.
const IDLE: Duration = Duration::from_secs(3600);
/// Bytes read at once.
const BUFFER: usize = 128 * 1024;
/// The same while it is not clear yet what the client wants.
const GREETING: usize = 8 * 1024;

/// How long what could become a request waits for its rest; and a way that failed for one to begin,
/// which is told why.
const HESITATION: Duration = Duration::from_secs(1);

/// What one connection has carried.
#[derive(Debug)]
struct Carried {
    sent: AtomicU64,
    received: AtomicU64,
    since: Instant,
    /// Milliseconds from `since` to the last byte.
    last: AtomicU64,
}

#[derive(Clone, Copy)]
enum Way {
    Out,
    Back,
}

/// Carries a connection that `rule` lets through.
pub(super) async fn run(
    egress: Arc<Egress>,
    flow: Flow,
    policy: Arc<CompiledPolicy>,
    rule: usize,
    mut client: TcpStream,
) {
    let carried = Carried::new();
    let mut beginning = Beginning::default();
    let begun = {
        let dial = dial::connect(&egress, &policy, rule, &flow.destination);
        let meeting = meet(&mut client, &mut beginning, dial, &carried);
        let begun = timeout(IDLE, meeting).await;
        begun.unwrap_or(Begun::Refused(Reason::Timeout))
    };
    let Some(decided) = policy.rule(rule) else {
        return;
    };
    let name = decided.source.name.as_str();
    let (first, server) = match begun {
        Begun::Met(first, server) => (first, server),
        Begun::Http(first) => {
            let stream = Prefixed::new(beginning.into_bytes(), client);
            return opened::serve(egress, flow, stream, first).await;
        }
        Begun::Refused(reason) => {
            return refuse_connection(&egress, &flow, client, Some(name), reason)
        }
        Begun::Failed(failure) => return fail(&egress, &flow, client, name, failure),
        Begun::Broken(address) => {
            let (reason, address) = (Reason::Upstream, Some(address));
            let failure = DialFailure { reason, address };
            return fail(&egress, &flow, client, name, failure);
        }
        Begun::Left => return,
    };
    if let First::Tls(hello) = &first {
        if let Err(reason) = check_hello(hello, &flow, decided.is_for_all()) {
            return refuse_connection(&egress, &flow, client, Some(name), reason);
        }
    }
    let address = server.address;
    let ended = both_ways(&egress, &flow, &carried, client, beginning, server).await;
    let mut event = flow.event(Kind::Connection, Verdict::Allowed, flow.started);
    event.rule = Some(name.to_owned());
    event.address = Some(address.to_string());
    event.sent = carried.sent.load(Ordering::Relaxed);
    event.received = carried.received.load(Ordering::Relaxed);
    let timed_out = ended.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
    event.reason = timed_out.then_some(Reason::Timeout);
    egress.record.tell(event);
}

/// How a connection began.
enum Begun {
    Met(First, Dialled),
    Http(First),
    Refused(Reason),
    Failed(DialFailure),
    /// The server broke off.
    Broken(SocketAddr),
    /// The client has gone before it was clear what it wanted.
    Left,
}

/// Dials, and meanwhile listens to what the client begins with; what the server says first is
/// passed on, for many protocols begin so.
async fn meet(
    client: &mut TcpStream,
    beginning: &mut Beginning,
    dial: impl Future<Output = Result<Dialled, DialFailure>>,
    carried: &Carried,
) -> Begun {
    let mut dial = pin!(dial);
    let mut greeting = vec![0; GREETING];
    let mut server: Option<Dialled> = None;
    let mut ended = false;
    let first = loop {
        let Some(dialled) = &mut server else {
            tokio::select! {
                // Who speaks first has spoken by now: an HTTP client's server is not dialled twice.
                biased;
                first = beginning.read(client) => break first,
                dialled = &mut dial => match dialled {
                    Ok(dialled) => server = Some(dialled),
                    Err(failure) => return unreached(client, beginning, failure).await,
                },
            }
            continue;
        };
        tokio::select! {
            biased;
            first = beginning.read(client) => break first,
            said = dialled.stream.read(&mut greeting), if !ended => match said {
                Ok(0) => {
                    // The client may still speak, and what it says is looked at all the same.
                    ended = true;
                    if client.shutdown().await.is_err() {
                        return Begun::Left;
                    }
                }
                Ok(count) => {
                    if client.write_all(&greeting[..count]).await.is_err() {
                        return Begun::Left;
                    }
                    carried.count(Way::Back, count);
                }
                Err(_) => return Begun::Broken(dialled.address),
            },
            () = tokio::time::sleep(HESITATION) => {
                let start = beginning.hesitating();
                if dialled.stream.write_all(start).await.is_err() {
                    return Begun::Broken(dialled.address);
                }
                carried.count(Way::Out, start.len());
            }
        }
    };
    let greeted = carried.received.load(Ordering::Relaxed) > 0 || beginning.has_gone();
    match first {
        Ok(Ok(First::Http1 | First::Http2)) if greeted => Begun::Refused(Reason::Malformed),
        Ok(Ok(first @ (First::Http1 | First::Http2))) => Begun::Http(first),
        Ok(Ok(first)) => match server {
            Some(server) => Begun::Met(first, server),
            None => match dial.await {
                Ok(server) => Begun::Met(first, server),
                Err(failure) => Begun::Failed(failure),
            },
        },
        Ok(Err(reason)) => Begun::Refused(reason),
        Err(_) => Begun::Left,
    }
}

/// There is no server, and the client has not spoken yet. If it speaks HTTP it is to be told why.
async fn unreached(
    client: &mut TcpStream,
    beginning: &mut Beginning,
    failure: DialFailure,
) -> Begun {
    match timeout(HESITATION, beginning.read(client)).await {
        Ok(Ok(Ok(first @ (First::Http1 | First::Http2)))) => Begun::Http(first),
        _ => Begun::Failed(failure),
    }
}

fn fail(egress: &Egress, flow: &Flow, client: TcpStream, rule: &str, failure: DialFailure) {
    let verdict = match failure.reason {
        Reason::PrivateAddress => Verdict::Denied,
        _ => Verdict::Failed,
    };
    let mut event = flow.event(Kind::Connection, verdict, flow.started);
    event.rule = Some(rule.to_owned());
    event.reason = Some(failure.reason);
    event.address = failure.address.map(|address| address.to_string());
    egress.record.tell(event);
    reset(client);
}

async fn both_ways(
    egress: &Egress,
    flow: &Flow,
    carried: &Carried,
    mut client: TcpStream,
    beginning: Beginning,
    server: Dialled,
) -> io::Result<()> {
    let mut server = server.stream;
    let first = beginning.into_bytes();
    let (sent, received) = (&carried.sent, &carried.received);
    let (sent, received) = (
        sent.load(Ordering::Relaxed),
        received.load(Ordering::Relaxed),
    );
    flow.traffic(egress, sent, received);
    let ended = {
        let (client_out, client_back) = client.split();
        let (server_back, mut server_out) = server.split();
        let out = async {
            server_out.write_all(&first).await?;
            carried.count(Way::Out, first.len());
            flow.traffic(egress, first.len() as u64, 0);
            carry(egress, flow, carried, Way::Out, client_out, server_out).await
        };
        let back = carry(egress, flow, carried, Way::Back, server_back, client_back);
        tokio::try_join!(out, back).map(|_| ())
    };
    if ended.is_err() {
        reset(client);
        reset(server);
    }
    ended
}

async fn carry(
    egress: &Egress,
    flow: &Flow,
    carried: &Carried,
    way: Way,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match timeout(IDLE, from.read(&mut buffer)).await {
            Ok(count) => count?,
            Err(_) if carried.idle() < IDLE => continue,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if count == 0 {
            return to.shutdown().await;
        }
        let written = timeout(IDLE, to.write_all(&buffer[..count])).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        carried.count(way, count);
        let count = count as u64;
        match way {
            Way::Out => flow.traffic(egress, count, 0),
            Way::Back => flow.traffic(egress, 0, count),
        }
    }
}

impl Carried {
    fn new() -> Self {
        Self {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            since: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn count(&self, way: Way, bytes: usize) {
        let total = match way {
            Way::Out => &self.sent,
            Way::Back => &self.received,
        };
        total.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// How long ago the last byte went by, in either way.
    fn idle(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(last)
    }
}
