//! The sockets through which everything leaves a sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;
use support::client::{create, Client, Said};
use support::layers::import_base;
use support::{fresh_id, Kind, Node};

/// The most that is waited for what must come.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

struct Outbound {
    listener: TcpListener,
    resolver: UdpSocket,
    packets: OwnedFd,
}

fn outbound(client: &mut Client, id: &str) -> Outbound {
    let value = client.ok(&json!({"op": "open_outbound", "sandbox": id}));
    assert_eq!(value, json!({"kind": "sockets", "count": 3}));
    let mut sockets = std::mem::take(&mut client.descriptors).into_iter();
    let mut next = || {
        let socket = sockets.next().unwrap();
        rustix::io::ioctl_fionbio(&socket, false).unwrap();
        let side = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&socket, side, PATIENCE).unwrap();
        socket
    };
    Outbound {
        listener: next().into(),
        resolver: next().into(),
        packets: next(),
    }
}

impl Outbound {
    /// The next packet that belongs to neither of the other sockets.
    fn packet(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let flags = rustix::net::RecvFlags::empty();
        let (got, _) = rustix::net::recv(&self.packets, &mut buffer[..], flags).unwrap();
        buffer[..got].to_vec()
    }

    fn sees_no_packet(&self) -> bool {
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let got = rustix::net::recv(&self.packets, &mut [0_u8; 2048][..], flags);
        got.is_err_and(|error| error == rustix::io::Errno::AGAIN)
    }

    fn accept(&self) -> (TcpStream, SocketAddr, SocketAddr) {
        let (stream, peer) = self.listener.accept().unwrap();
        stream.set_read_timeout(PATIENCE).unwrap();
        let dialled = stream.local_addr().unwrap();
        (stream, dialled, peer)
    }
}

fn sandbox(node: &Node) -> (Client, String) {
    let mut client = node.connect();
    let base = import_base(&mut client);
    let id = fresh_id();
    client.ok(&create(&id, &[base]));
    (client, id)
}

/// Has the sandbox do something meanwhile.
fn meanwhile(node: &Node, id: &str, line: &str) -> std::thread::JoinHandle<Said> {
    let (mut client, id, line) = (node.connect(), id.to_owned(), line.to_owned());
    std::thread::spawn(move || client.inside(&id, &line))
}

#[test]
fn every_connection_arrives_with_the_address_that_was_dialled() {
    let node = Node::new(Kind::Plain);
    let (mut client, id) = sandbox(&node);
    let outbound = outbound(&mut client, &id);
    let own = outbound.listener.local_addr().unwrap().port();
    let dialled = [
        "203.0.113.7:443".to_owned(),
        "198.18.0.5:1".to_owned(),
        "169.254.169.254:80".to_owned(),
        "10.0.0.1:53".to_owned(),
        "192.168.1.1:65535".to_owned(),
        // Where the listener really is.
        format!("10.0.0.1:{own}"),
        format!("203.0.113.7:{own}"),
    ];
    for address in dialled {
        let (host, port) = address.split_once(':').unwrap();
        let said = meanwhile(&node, &id, &format!("echo ask | nc -w 20 {host} {port}"));
        let (mut stream, local, peer) = outbound.accept();
        assert_eq!(local.to_string(), address);
        assert_eq!(peer.ip().to_string(), "10.0.0.2");
        let mut question = [0; 4];
        stream.read_exact(&mut question).unwrap();
        assert_eq!(&question, b"ask\n");
        stream.write_all(b"answer").unwrap();
        drop(stream);
        assert_eq!(said.join().unwrap().text, "answer", "{address}");
    }
    assert!(outbound.sees_no_packet());
    client.kill(&id);
    drop(outbound);
    node.finish();
}

#[test]
fn names_are_asked_of_one_socket_and_all_else_is_seen_and_refused() {
    let node = Node::new(Kind::Plain);
    let (mut client, id) = sandbox(&node);
    let outbound = outbound(&mut client, &id);
    let mut buffer = [0; 2048];

    let asked = meanwhile(&node, &id, "nslookup -timeout=10 example.org 10.0.0.1");
    // For addresses of both kinds.
    for _ in 0..2 {
        let (got, from) = outbound.resolver.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[12..25], b"\x07example\x03org\0");
        buffer[2..4].copy_from_slice(&[0x81, 0x83]);
        outbound.resolver.send_to(&buffer[..got], from).unwrap();
    }
    assert!(asked.join().unwrap().text.contains("NXDOMAIN"));
    assert!(outbound.sees_no_packet());

    // A name server of the sandbox's own choice, QUIC, ping: all refused or silent, all seen.
    let said = client.inside(&id, "nslookup -timeout=5 example.org 8.8.8.8");
    assert_ne!(said.status, 0, "{}", said.text);
    let packet = outbound.packet();
    assert_eq!((packet[12], packet[13], packet[23]), (8, 0, 17));
    assert_eq!(packet[30..34], [8, 8, 8, 8]);
    assert_eq!(packet[36..38], 53_u16.to_be_bytes());
    while !outbound.sees_no_packet() {}
    client.inside(&id, &datagram([203, 0, 113, 9], 443, 0, b"quic"));
    assert_eq!(outbound.packet()[36..38], 443_u16.to_be_bytes());
    while !outbound.sees_no_packet() {}
    let said = client.inside(&id, "ping -c 1 -W 1 -s 1000 203.0.113.9");
    assert_ne!(said.status, 0, "{}", said.text);
    let packet = outbound.packet();
    assert_eq!((packet.len(), packet[23]), (128, 1));
    outbound.resolver.set_nonblocking(true).unwrap();
    assert!(outbound.resolver.recv_from(&mut buffer).is_err());
    client.kill(&id);
    drop(outbound);
    node.finish();
}

/// What has the sandbox send a datagram, or a fragment of one.
fn datagram(to: [u8; 4], port: u16, fragment: u16, payload: &[u8]) -> String {
    let length = u16::try_from(payload.len() + 8).unwrap();
    let mut bytes = vec![0_u8; 20];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&(length + 20).to_be_bytes());
    bytes[4..6].copy_from_slice(&[0x12, 0x35]);
    bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
    bytes[8..10].copy_from_slice(&[64, 17]);
    bytes[12..16].copy_from_slice(&[10, 0, 0, 2]);
    bytes[16..20].copy_from_slice(&to);
    for field in [4000, port, length, 0] {
        bytes.extend(u16::to_be_bytes(field));
    }
    bytes.extend(payload);
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("!packet {hex}")
}

/// The first and the last fragment of one SYN: put together they would be a connection.
fn fragments() -> [String; 2] {
    let header = |fragment: u16, length: u16| {
        let mut bytes = [0_u8; 20];
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[4..6].copy_from_slice(&[0x12, 0x34]);
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        bytes[8..10].copy_from_slice(&[64, 6]);
        bytes[12..16].copy_from_slice(&[10, 0, 0, 2]);
        bytes[16..20].copy_from_slice(&[203, 0, 113, 7]);
        bytes
    };
    let mut segment = [0_u8; 24];
    segment[..4].copy_from_slice(&[0x30, 0x39, 1, 187]);
    segment[12..14].copy_from_slice(&[0x60, 0x02]);
    segment[20..24].copy_from_slice(&[2, 4, 5, 180]);
    let hex = |parts: [&[u8]; 2]| {
        let bytes = parts.concat();
        bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    [
        hex([&header(0x2000, 36), &segment[..16]]),
        hex([&header(2, 28), &segment[16..]]),
    ]
}

#[test]
fn fragments_are_seen_and_go_nowhere() {
    let node = Node::new(Kind::Plain);
    let (mut client, id) = sandbox(&node);
    let outbound = outbound(&mut client, &id);
    for fragment in fragments() {
        let said = client.inside(&id, &format!("!packet {fragment}"));
        assert_eq!(said.status, 0, "{}", said.text);
        let packet = outbound.packet();
        assert_eq!((packet[23], &packet[30..34]), (6, &[203, 0, 113, 7][..]));
    }
    // A question in two pieces does not reach the resolver either.
    for fragment in [0x2000, 2] {
        client.inside(&id, &datagram([10, 0, 0, 1], 53, fragment, &[7; 8]));
        assert_eq!(outbound.packet()[30..34], [10, 0, 0, 1]);
    }
    outbound.resolver.set_nonblocking(true).unwrap();
    assert!(outbound.resolver.recv_from(&mut [0; 8]).is_err());
    client.kill(&id);
    drop(outbound);
    node.finish();
}

#[test]
fn what_is_sent_while_the_edge_is_away_waits_for_the_next() {
    let node = Node::new(Kind::Plain);
    let (mut client, id) = sandbox(&node);
    let first = outbound(&mut client, &id);
    let before = first.listener.local_addr().unwrap();
    drop(first);
    let said = meanwhile(&node, &id, "echo early | nc -w 20 203.0.113.7 443");
    client.inside(&id, &datagram([10, 0, 0, 1], 53, 0, b"name\n"));
    let second = outbound(&mut client, &id);
    assert_eq!(second.listener.local_addr().unwrap(), before);
    let (mut stream, local, _) = second.accept();
    assert_eq!(local.to_string(), "203.0.113.7:443");
    let mut question = [0; 6];
    stream.read_exact(&mut question).unwrap();
    assert_eq!(&question, b"early\n");
    drop(stream);
    said.join().unwrap();
    assert_eq!(second.resolver.recv(&mut [0; 16]).unwrap(), 5);
    client.kill(&id);
    drop(second);
    node.finish();
}

#[test]
fn a_launcher_that_went_on_for_another_makes_new_ones_beside_those_still_held() {
    let mut node = Node::new(Kind::Plain);
    let (mut client, id) = sandbox(&node);
    let old = outbound(&mut client, &id);
    node.kill_launcher();
    node.start();
    let mut client = node.connect();
    // What the edge holds goes on until it asks.
    let said = meanwhile(&node, &id, "echo x | nc -w 20 203.0.113.7 443");
    drop(old.accept());
    said.join().unwrap();
    let new = outbound(&mut client, &id);
    let said = meanwhile(&node, &id, "echo x | nc -w 20 203.0.113.7 443");
    assert_eq!(new.accept().1.to_string(), "203.0.113.7:443");
    said.join().unwrap();
    client.inside(&id, &datagram([10, 0, 0, 1], 53, 0, b"name\n"));
    assert_eq!(new.resolver.recv(&mut [0; 16]).unwrap(), 5);
    // With none left that listens everything is refused at once again.
    node.kill_launcher();
    drop((old, new));
    node.start();
    let mut client = node.connect();
    let said = client.inside(&id, "nc -w 10 203.0.113.7 443 </dev/null");
    assert!(said.text.contains("refused"), "{}", said.text);
    client.kill(&id);
    let (code, _) = client.fails(&json!({"op": "open_outbound", "sandbox": id}));
    assert_eq!(code, "not_found");
    node.finish();
}
