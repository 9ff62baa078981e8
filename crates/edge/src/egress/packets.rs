//! Tells of packets that are no TCP and no question to the resolver. None of them passes; this is
//! only so that somebody hears of it.

use super::flow::{event, Started};
use super::names::is_synthetic;
use super::Egress;
use crate::sandboxes::Sandbox;
use rustix::net::{recv, RecvFlags};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use wardian_wire::egress::event::{Kind, Reason, Verdict};

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
/// After so many packets others get their turn, however many there are.
const TURN: u32 = 64;

/// What is seen of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// An address where there is one.
    host: String,
    port: u16,
}

/// Reads packets for ever.
pub(super) async fn watch(egress: &Egress, sandbox: &Sandbox, socket: &AsyncFd<OwnedFd>) {
    let mut buffer = [0; 256];
    let mut count = 0_u32;
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        let got = ready
            .try_io(|socket| Ok(recv(socket.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT)?.0));
        match got {
            Ok(Ok(length)) => tell(egress, sandbox, &look(&buffer[..length])),
            // The link goes away just before the sandbox does.
            Ok(Err(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(_) => {}
        }
        count = count.wrapping_add(1);
        if count % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn tell(egress: &Egress, sandbox: &Sandbox, seen: &Seen) {
    if is_neighbourly(seen) || !sandbox.outlet.refused.tells((&seen.host, seen.port)) {
        return;
    }
    let host = name(sandbox, &seen.host).unwrap_or_else(|| seen.host.clone());
    let started = Started::now();
    let kind = Kind::Packet;
    let mut event = event(sandbox, kind, Verdict::Denied, started, host, seen.port);
    event.reason = Some(Reason::Protocol);
    egress.record.tell(event);
}

/// What an address stands for in this sandbox.
fn name(sandbox: &Sandbox, host: &str) -> Option<String> {
    let address = host.parse().ok().filter(|address| is_synthetic(*address))?;
    Some(sandbox.outlet.names.name(address)?.to_string())
}

/// Reads where a frame was meant to go.
fn look(frame: &[u8]) -> Seen {
    let ethertype = frame
        .get(12..ETHERNET)
        .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let packet = frame.get(ETHERNET..).unwrap_or_default();
    let read = match ethertype {
        IPV4 => look_ipv4(packet),
        IPV6 => look_ipv6(packet),
        _ => None,
    };
    read.unwrap_or_else(|| Seen {
        host: format!("ethertype {ethertype:#06x}"),
        port: 0,
    })
}

fn look_ipv4(packet: &[u8]) -> Option<Seen> {
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let header = usize::from(packet[0] & 15) * 4;
    let is_first = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff == 0;
    let protocol = if is_first { packet[9] } else { 0 };
    Some(seen(
        Ipv4Addr::from(address).into(),
        protocol,
        packet.get(header..),
    ))
}

fn look_ipv6(packet: &[u8]) -> Option<Seen> {
    let address: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    Some(seen(
        Ipv6Addr::from(address).into(),
        packet[6],
        packet.get(40..),
    ))
}

fn seen(address: IpAddr, protocol: u8, rest: Option<&[u8]>) -> Seen {
    let port = match rest {
        Some([_, _, high, low, ..]) if protocol == UDP => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    Seen {
        host: address.to_string(),
        port,
    }
}

/// What the kernel of every sandbox sends by itself to find neighbours of the link.
fn is_neighbourly(seen: &Seen) -> bool {
    seen.port == 0 && seen.host.starts_with("ff02::")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(packet);
        bytes
    }

    #[test]
    fn the_address_and_for_udp_the_port_are_told() {
        let mut packet = vec![
            0x46, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0, 10, 0, 0, 2, 8, 8, 8, 8,
        ];
        packet.extend([1, 1, 1, 1, 0x12, 0x34, 0, 53, 0, 8]);
        assert_eq!(
            look(&frame(IPV4, &packet)),
            Seen {
                host: "8.8.8.8".into(),
                port: 53
            }
        );
        packet[9] = 1;
        assert_eq!(look(&frame(IPV4, &packet)).port, 0);
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, UDP, 64];
        packet.extend([0xfe; 16]);
        packet.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend([0, 1, 1, 187]);
        assert_eq!(
            look(&frame(IPV6, &packet)),
            Seen {
                host: "2001:db8::1".into(),
                port: 443
            }
        );
        assert_eq!(look(&frame(0x88cc, &[])).host, "ethertype 0x88cc");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..130), kind in prop_oneof![Just(IPV4), Just(IPV6)]) {
            look(&bytes);
            look(&frame(kind, &bytes));
        }
    }
}
