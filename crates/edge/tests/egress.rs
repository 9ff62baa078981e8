//! The way out, over real sockets: an address for every name, connections that are spliced,
//! refused and cut, and what is told of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use support::{id, isolated, route, World, ONE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use wardian_wire::edge::{Route, RouteState};
use wardian_wire::egress::event::{Event, Kind, Reason, Verdict};
use wardian_wire::egress::policy::{Action, Allow, Policy, Question, Rule};

/// Where sandboxes dial and where what they reach listens.
const PORT: u16 = 4000;
const SERVER: u16 = 5000;

fn resolver() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 53))
}

fn allow(host: &str, connect_to: Option<&str>) -> Rule {
    rule(
        host,
        Action::Allow(Box::new(Allow {
            connect_to: connect_to.map(str::to_owned),
            ..Allow::default()
        })),
    )
}

fn rule(host: &str, action: Action) -> Rule {
    Rule {
        name: format!("for {host}"),
        hosts: vec![host.to_owned()],
        ports: vec![],
        cidrs: vec![],
        methods: vec![],
        path: None,
        action,
    }
}

fn with(rules: Vec<Rule>) -> Route {
    Route {
        egress: Policy {
            rules,
            placeholders: vec![],
        },
        ..route(ONE, RouteState::Running, None)
    }
}

fn to_server(host: &str) -> Rule {
    allow(host, Some(&format!("127.0.0.1:{SERVER}")))
}

/// An edge with one sandbox, a way out of it, and an echo behind that.
async fn start(rules: Vec<Rule>) -> World {
    let mut world = surroundings().await;
    world.launcher.let_out(ONE, PORT, resolver());
    world.sync(vec![with(rules)]).await;
    world
}

/// The same before the launcher and the edge know of the way out.
async fn surroundings() -> World {
    for arguments in [
        &["address", "add", "10.0.0.1/32", "dev", "lo"][..],
        &["route", "add", "local", "198.18.0.0/15", "dev", "lo"],
        &["route", "add", "local", "203.0.113.0/24", "dev", "lo"],
    ] {
        assert!(Command::new("ip")
            .args(arguments)
            .status()
            .unwrap()
            .success());
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, SERVER))
        .await
        .unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.write_all(b"end").await;
            });
        }
    });
    let world = World::unsynced(&[]).await;
    world.launcher.add(ONE);
    world
}

/// Asks for an address; gives the code of the answer and the address.
async fn look_up(name: &str) -> (u8, Option<Ipv4Addr>) {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(&question, resolver()).await.unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await.unwrap();
    let count = answer[7];
    let address: [u8; 4] = answer[length - 4..length].try_into().unwrap();
    (answer[3] & 15, (count == 1).then(|| address.into()))
}

async fn dial(name: &str) -> TcpStream {
    let address = look_up(name).await.1.unwrap();
    TcpStream::connect((address, PORT)).await.unwrap()
}

async fn echoed(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, text);
}

/// Whether nothing more comes over it.
async fn is_over(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

/// Whether a connection to this address is reset; that may come before it counts as made.
async fn is_refused(address: Ipv4Addr) -> bool {
    match TcpStream::connect((address, PORT)).await {
        Ok(mut stream) => is_over(&mut stream).await,
        Err(_) => true,
    }
}

fn of_connection(event: &Event) -> bool {
    event.kind == Kind::Connection
}

/// A first message of TLS that asks for this name.
fn hello(name: &str) -> Vec<u8> {
    let long = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    };
    let entry = [&[0][..], &long(name.as_bytes())].concat();
    let extension = [&[0, 0][..], &long(&long(&entry))].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(long(&extension));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    [&[22, 3, 1][..], &long(&message)].concat()
}

#[test]
fn a_sandbox_that_the_launcher_is_still_making_gets_its_way_out() {
    isolated(|| async {
        let mut world = surroundings().await;
        // The launcher knows of no way out, and the edge waits for it as long as it may.
        world.sync(vec![with(vec![to_server("one.example")])]).await;
        world.launcher.let_out(ONE, PORT, resolver());
        assert_eq!(look_up("one.example").await.0, 0);
        echoed(&mut dial("one.example").await, b"hello").await;
    });
}

#[test]
fn a_name_has_an_address_of_its_own_if_a_rule_allows_it() {
    isolated(|| async {
        let mut world = start(vec![to_server("*.example")]).await;
        let (code, one) = look_up("one.example").await;
        let (_, other) = look_up("two.example").await;
        let range = |address: Option<Ipv4Addr>| {
            address.unwrap().octets()[..2] == [198, 18]
                || address.unwrap().octets()[..2] == [198, 19]
        };
        assert!(code == 0 && range(one) && range(other) && one != other);
        assert_eq!(look_up("ONE.Example").await.1, one);
        assert_eq!(look_up("one.test").await, (3, None));
        let refused = world.told(|event| event.kind == Kind::Name).await;
        assert_eq!(
            (refused.host.as_str(), refused.verdict),
            ("one.test", Verdict::Denied)
        );
        assert_eq!(refused.reason, Some(Reason::NoRule));
    });
}

#[test]
fn a_spliced_connection_carries_both_ways_to_both_ends_and_is_told() {
    isolated(|| async {
        let mut world = start(vec![to_server("a.example")]).await;
        let mut stream = dial("a.example").await;
        let text = vec![0x81; 300_000];
        echoed(&mut stream, &text).await;
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"end");
        let event = world.told(of_connection).await;
        assert_eq!(
            (event.verdict, event.host.as_str(), event.port),
            (Verdict::Allowed, "a.example", PORT)
        );
        assert_eq!(event.rule.as_deref(), Some("for a.example"));
        assert_eq!(event.address, Some(format!("127.0.0.1:{SERVER}")));
        assert_eq!((event.sent, event.received), (300_000, 300_003));
        let sum = world.traffic.iter().fold((0, 0), |(sent, received), each| {
            assert_eq!(each.sandbox, id(ONE));
            (sent + each.sent, received + each.received)
        });
        assert_eq!(sum, (300_000, 300_003));
    });
}

#[test]
fn a_changed_policy_rules_what_begins_and_leaves_what_is_open() {
    isolated(|| async {
        let mut world = start(vec![to_server("a.example")]).await;
        let mut before = dial("a.example").await;
        echoed(&mut before, b"\x01one").await;
        let address = look_up("a.example").await.1.unwrap();
        world.put(with(vec![])).await;
        assert!(is_refused(address).await);
        let event = world.told(of_connection).await;
        assert_eq!(
            (event.verdict, event.reason),
            (Verdict::Denied, Some(Reason::NoRule))
        );
        echoed(&mut before, b"two").await;
        world.remove(ONE).await;
        assert!(is_over(&mut before).await);
    });
}

#[test]
fn an_address_must_stand_for_a_name_or_be_granted() {
    isolated(|| async {
        let mut world = start(vec![allow("*", None)]).await;
        for (address, reason) in [
            ([198, 18, 7, 7], Reason::UnknownAddress),
            ([203, 0, 113, 9], Reason::PrivateAddress),
        ] {
            assert!(is_refused(address.into()).await);
            let event = world.told(of_connection).await;
            assert_eq!(
                (event.verdict, event.reason),
                (Verdict::Denied, Some(reason))
            );
        }
        // A name that leads to a private address leads nowhere.
        let address = look_up("localhost").await.1.unwrap();
        assert!(is_refused(address).await);
        let event = world.told(of_connection).await;
        assert_eq!(
            (event.verdict, event.reason),
            (Verdict::Denied, Some(Reason::PrivateAddress))
        );
    });
}

#[test]
fn tls_to_another_than_the_dialled_name_is_cut_before_a_byte_passes() {
    isolated(|| async {
        let mut world = start(vec![to_server("a.example")]).await;
        let mut stream = dial("a.example").await;
        echoed(&mut stream, &hello("a.example")).await;
        let mut stream = dial("a.example").await;
        stream.write_all(&hello("b.example")).await.unwrap();
        assert!(is_over(&mut stream).await);
        let event = world.told(|event| event.verdict == Verdict::Denied).await;
        assert_eq!(
            (event.kind, event.reason),
            (Kind::Connection, Some(Reason::SniMismatch))
        );
    });
}

#[test]
fn a_question_is_answered_and_changes_nothing() {
    isolated(|| async {
        let mut world = start(vec![]).await;
        let question = Question {
            host: "a.example".into(),
            port: 443,
            method: None,
            path: None,
        };
        let policy = with(vec![to_server("a.example")]).egress;
        let explained = world.explain(policy, question.clone()).await;
        assert!(explained.allowed && explained.resolves && explained.index == Some(0));
        let broken = with(vec![to_server("127.1")]).egress;
        let explained = world.explain(broken, question).await;
        assert!(!explained.allowed && explained.reason.contains("hosts"));
        assert_eq!(look_up("a.example").await.0, 3);
    });
}

#[test]
fn a_word_without_an_end_of_line_reaches_its_server_but_never_as_part_of_a_request() {
    isolated(|| async {
        let mut world = start(vec![to_server("a.example")]).await;
        let mut stream = dial("a.example").await;
        echoed(&mut stream, b"HELLO").await;
        echoed(&mut stream, b" there\r\n\r\nGET / HTTP/1.1\r\n").await;
        let mut stream = dial("a.example").await;
        echoed(&mut stream, b"GET / HT").await;
        stream
            .write_all(b"TP/1.1\r\nhost: b\r\n\r\n")
            .await
            .unwrap();
        assert!(is_over(&mut stream).await);
        let event = world.told(|event| event.verdict == Verdict::Denied).await;
        assert_eq!(event.reason, Some(Reason::Malformed));
    });
}
