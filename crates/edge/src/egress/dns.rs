//! The resolver of each sandbox: names that its policy allows get an address that stands for them.

use super::flow::{event, Started};
use super::Egress;
use crate::sandboxes::Sandbox;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use wardian_wire::dns::{Answer, Asked, InvalidQuery, Query, A, ANY, MAX_QUERY, PTR};
use wardian_wire::egress::event::{Kind, Reason, Verdict};
use wardian_wire::egress::hostname::Hostname;

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// The most questions that one sandbox gets answers to within a second; its resolvers ask again.
const MOST_PER_SECOND: u32 = 20_000;
/// What is shown of a name that is none.
const SHOWN: usize = 256;
const PORT: u16 = 53;

/// Answers questions that come as datagrams, for ever.
pub(super) async fn serve(egress: &Egress, sandbox: &Sandbox, socket: &UdpSocket) {
    let mut buffer = [0; MAX_QUERY];
    let (mut since, mut count) = (Instant::now(), 0);
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            // An error of an earlier answer (its asker has gone), told here once.
            tokio::task::yield_now().await;
            continue;
        };
        if since.elapsed() >= Duration::from_secs(1) {
            (since, count) = (Instant::now(), 0);
        }
        count += 1;
        if count > MOST_PER_SECOND {
            continue;
        }
        if let Some(answer) = answer(egress, sandbox, &buffer[..length]) {
            // Without room the answer is lost, as datagrams may be.
            let _ = socket.try_send_to(&answer, from);
        }
    }
}

/// Answers questions that come over a connection (RFC 7766), until it ends or is silent too long.
pub(super) async fn serve_stream(egress: &Egress, sandbox: &Sandbox, mut stream: TcpStream) {
    let mut buffer = [0; MAX_QUERY];
    while let Ok(Ok(length)) = timeout(IDLE, stream.read_u16()).await {
        let Some(question) = buffer.get_mut(..usize::from(length)) else {
            return;
        };
        if !matches!(timeout(IDLE, stream.read_exact(question)).await, Ok(Ok(_))) {
            return;
        }
        let Some(answer) = answer(egress, sandbox, question) else {
            return;
        };
        let mut message = u16::try_from(answer.len())
            .unwrap_or(0)
            .to_be_bytes()
            .to_vec();
        message.extend_from_slice(&answer);
        if !matches!(timeout(IDLE, stream.write_all(&message)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn answer(egress: &Egress, sandbox: &Sandbox, message: &[u8]) -> Option<Vec<u8>> {
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(InvalidQuery::Ignored) => return None,
        Err(InvalidQuery::Answered(bytes)) => return Some(bytes),
    };
    let answer = match &query.name {
        Asked::Invalid(shown) => {
            tell(egress, sandbox, shown, Reason::InvalidName);
            Answer::Malformed
        }
        Asked::Reverse(address) => match sandbox.outlet.names.name(*address) {
            Some(name) => Answer::Name(name),
            None => Answer::NoSuchName { blocked: false },
        },
        Asked::Host(name) => of_host(egress, sandbox, name, query.kind),
    };
    Some(query.answer(&answer))
}

fn of_host(egress: &Egress, sandbox: &Sandbox, name: &Hostname, kind: u16) -> Answer {
    if !sandbox.outlet.policy().resolves(name) {
        tell(egress, sandbox, name.as_str(), Reason::NoRule);
        return Answer::NoSuchName { blocked: true };
    }
    match kind {
        A => Answer::Address(sandbox.outlet.names.address(name)),
        ANY => {
            tell(egress, sandbox, name.as_str(), Reason::QueryType);
            Answer::NotImplemented
        }
        PTR => Answer::NoSuchName { blocked: false },
        _ => Answer::Nothing,
    }
}

fn tell(egress: &Egress, sandbox: &Sandbox, name: &str, reason: Reason) {
    if !sandbox.outlet.refused.tells((name, reason)) {
        return;
    }
    let mut shown = name.to_owned();
    shown.truncate(SHOWN);
    let mut event = event(
        sandbox,
        Kind::Name,
        Verdict::Denied,
        Started::now(),
        shown,
        PORT,
    );
    event.reason = Some(reason);
    egress.record.tell(event);
}
