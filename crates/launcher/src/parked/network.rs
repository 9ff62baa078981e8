//! The wire: a pair of Ethernet devices, one end in the edge namespace, one in the sandbox.

use super::{Explain, Outcome};
use crate::kernel::netlink::{Action, Netlink, Route, Table, VirtualWire};
use std::net::Ipv4Addr;

const LOOPBACK: u32 = 1;
/// The number of the wire's link, at either end.
pub(crate) const WIRE: u32 = 2;
const MTU: u32 = 1500;
const PREFIX: u8 = 30;
/// Where the edge is, seen from the sandbox.
pub(super) const EDGE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Where the sandbox is, seen from the edge.
pub(super) const SANDBOX: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const EVERYWHERE: (Ipv4Addr, u8) = (Ipv4Addr::UNSPECIFIED, 0);

fn set(name: &str, value: &str) -> Outcome<()> {
    match std::fs::write(format!("/proc/sys/net/{name}"), value) {
        // The kernel may have been built without IPv6.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && name.starts_with("ipv6/") => Ok(()),
        result => result.explain(format_args!("write {value} to /proc/sys/net/{name}")),
    }
}

/// Sets up the edge namespace, in which this thread is, and lays the wire to that of `sandbox`.
pub(super) fn lay_edge_end(sandbox: u32) -> Outcome<()> {
    set("ipv4/icmp_echo_ignore_all", "1")?;
    // The kernel holds back all but a few refusals a second: without this a sandbox's second
    // handful of UDP packets, and so its name lookups, would wait in vain. Only it can hear them.
    set("ipv4/icmp_ratemask", "0")?;
    set("ipv6/conf/all/disable_ipv6", "1")?;
    set("ipv6/conf/default/disable_ipv6", "1")?;
    let netlink = Netlink::open().explain("open netlink")?;
    netlink.up(LOOPBACK).explain("switch on lo of the edge")?;
    let wire = VirtualWire {
        name: "wire",
        index: WIRE,
        peer_name: "eth0",
        peer_index: WIRE,
        peer_pid: sandbox,
        mtu: MTU,
    };
    netlink.add_wire(wire).explain("make the wire")?;
    netlink
        .add_address(WIRE, EDGE, PREFIX)
        .explain("give the wire its address")?;
    netlink.up(WIRE).explain("switch on the wire")?;
    // Whatever arrives is for this namespace: it ends at a listener of the edge or is refused.
    let everything = Route {
        table: Table::Local,
        action: Action::Local,
        destination: EVERYWHERE,
        gateway: None,
        link: Some(LOOPBACK),
        priority: 0,
    };
    netlink
        .add_route(everything)
        .explain("make every address local")?;
    // More specific than the route above, so that answers leave by the wire.
    let back = Route {
        action: Action::Unicast,
        destination: (SANDBOX, 32),
        link: Some(WIRE),
        ..everything
    };
    netlink.add_route(back).explain("route to the sandbox")
}

/// Sets up the sandbox's own namespace, in which this thread is.
pub(super) fn set_up_sandbox_end() -> Outcome<()> {
    set("ipv6/conf/eth0/disable_ipv6", "1")?;
    // Harmless where the whole namespace is the sandbox's own, and usual in containers.
    set("ipv4/ip_unprivileged_port_start", "0")?;
    let netlink = Netlink::open().explain("open netlink")?;
    netlink.up(LOOPBACK).explain("switch on lo")?;
    netlink
        .add_address(WIRE, SANDBOX, PREFIX)
        .explain("give eth0 its address")?;
    netlink.up(WIRE).explain("switch on eth0")?;
    let out = Route {
        table: Table::Main,
        action: Action::Unicast,
        destination: EVERYWHERE,
        gateway: Some(EDGE),
        link: Some(WIRE),
        priority: 0,
    };
    netlink.add_route(out).explain("route out")
}
