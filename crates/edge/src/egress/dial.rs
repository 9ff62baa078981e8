//! Connections out into the world, made from the node's own network.

use super::Egress;
use rustix::net::{AddressFamily, SocketType};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{lookup_host, TcpStream};
use tokio::time::{timeout_at, Instant};
use wardian_wire::egress::compiled::Admission;
use wardian_wire::egress::destination::{Destination, Host};
use wardian_wire::egress::event::Reason;
use wardian_wire::egress::matching::CompiledPolicy;

/// How long a name may take to resolve.
const RESOLVE_TIME: Duration = Duration::from_secs(5);
/// How long all of it may take.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// How long one address is tried while there are others.
const ADDRESS_TIME: Duration = Duration::from_secs(3);
/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// A connection that came about.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
}

/// Why none did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialFailure {
    pub(crate) reason: Reason,
    /// The address that was tried last.
    pub(crate) address: Option<SocketAddr>,
}

/// Connects to what `to` is, or what its rule says is to be dialled instead. The addresses that
/// are checked are those that are dialled: nothing is resolved twice.
///
/// # Errors
/// [`DialFailure`]; its reason is `private_address` where the name resolves only to addresses
/// that the rule does not grant.
pub(crate) async fn connect(
    egress: &Egress,
    policy: &CompiledPolicy,
    rule: usize,
    to: &Destination,
) -> Result<Dialled, DialFailure> {
    let deadline = Instant::now() + DIAL_TIME;
    let turn = timeout_at(deadline, egress.dialling.acquire()).await;
    let _turn = turn.map_err(|_| DialFailure::new(Reason::Timeout))?;
    let instead = policy.rule(rule).and_then(|rule| rule.connect_to.as_ref());
    let found = resolve(instead.unwrap_or(to)).await?;
    let addresses: Vec<SocketAddr> = match instead {
        Some(_) => found,
        None => {
            let admitted = |address: &SocketAddr| admits(policy, rule, to, address.ip());
            found.into_iter().filter(admitted).collect()
        }
    };
    let mut failure = DialFailure::new(Reason::PrivateAddress);
    let count = addresses.len().min(MAX_ADDRESSES);
    for (index, address) in addresses.into_iter().take(count).enumerate() {
        let until = match index + 1 == count {
            true => deadline,
            false => deadline.min(Instant::now() + ADDRESS_TIME),
        };
        let reason = match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(Dialled { stream, address }),
                Err(_) => Reason::Unreachable,
            },
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Reason::Timeout,
            Ok(Err(_)) => Reason::Unreachable,
            Err(_) => Reason::Timeout,
        };
        failure = DialFailure {
            reason,
            address: Some(address),
        };
    }
    Err(failure)
}

async fn resolve(to: &Destination) -> Result<Vec<SocketAddr>, DialFailure> {
    let name = match &to.host {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, to.port)]),
        Host::Name(name) => name,
    };
    let found = tokio::time::timeout(RESOLVE_TIME, lookup_host((name.as_str(), to.port)));
    let mut addresses: Vec<SocketAddr> = match found.await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    for address in &mut addresses {
        address.set_ip(address.ip().to_canonical());
    }
    if addresses.is_empty() {
        return Err(DialFailure::new(Reason::Unresolved));
    }
    Ok(addresses)
}

fn admits(policy: &CompiledPolicy, rule: usize, to: &Destination, address: IpAddr) -> bool {
    match policy.admits(rule, to, address) {
        Admission::No => false,
        Admission::Public => !is_own(address),
        Admission::Named => true,
    }
}

/// Whether an address is one of the node's own: then the kernel would answer from that very
/// address. Asked each time, since a node's addresses change.
fn is_own(address: IpAddr) -> bool {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let asked = rustix::net::socket(family, SocketType::DGRAM, None).and_then(|socket| {
        rustix::net::connect(&socket, &SocketAddr::new(address, 9))?;
        rustix::net::getsockname(&socket)
    });
    // Where there is no way there is no harm either.
    asked.is_ok_and(|own| SocketAddr::try_from(own).is_ok_and(|own| own.ip() == address))
}

impl DialFailure {
    fn new(reason: Reason) -> Self {
        let address = None;
        Self { reason, address }
    }
}
