//! Calls of a sandbox's services through the API: who decides, and what goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use support::client::{empty, full, get, http1, raw, send, whole};
use support::{isolated, sandbox, World, ONE, OTHER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wardian_wire::edge::RouteState;

const HOST: &str = "127.0.0.1:7300";

fn path(of: &str) -> String {
    format!("/v1/sandboxes/{ONE}/{of}")
}

#[test]
fn what_the_caller_shows_is_replaced_by_the_agents_token() {
    isolated(|| async {
        let world = World::start().await;
        let _agent = sandbox::on_port(49983).await;
        let _api = sandbox::on_socket(&world.api_socket());
        let shown = [
            ("x-api-key", "open"),
            ("authorization", "Bearer mine"),
            ("cookie", "console=mine"),
            ("x-access-token", "claimed"),
            ("wardian-traffic-token", "mine"),
            ("connection", "x-access-token, keep-alive"),
            ("x-own", "kept"),
        ];
        let query = "run?a=%20b&ticket=mine&c";
        let (status, head) = get(world.address, HOST, &path(query), &shown).await;
        assert_eq!(status, 200, "{head}");
        assert!(head.starts_with("GET /v1/run?a=%20b&c\n"), "{head}");
        assert!(head.contains("x-access-token: agents\n"), "{head}");
        assert!(head.contains("x-own: kept\n"), "{head}");
        assert!(!head.contains("mine") && !head.contains("open"), "{head}");
        assert!(!head.contains("claimed"), "{head}");
        let by_ticket = path("run?ticket=open");
        let (status, head) = get(world.address, HOST, &by_ticket, &[]).await;
        assert_eq!(status, 200);
        assert!(head.starts_with("GET /v1/run\n"), "{head}");
    });
}

#[test]
fn a_refusal_of_the_control_plane_is_the_answer() {
    isolated(|| async {
        let world = World::start().await;
        let agent = sandbox::on_port(49983).await;
        let _api = sandbox::on_socket(&world.api_socket());
        let spoofed = [
            ("authorization", "Bearer x"),
            ("wardian-ticket", "open"),
            ("wardian-service", "git"),
            ("cookie", "a=b"),
        ];
        let asked = path("processes/web/log?since=1&ticket=wrong");
        let (status, question) = get(world.address, HOST, &asked, &spoofed).await;
        assert_eq!(status, 401);
        let mut lines: Vec<&str> = question.lines().collect();
        lines.sort_unstable();
        let sandbox_line = format!("wardian-sandbox: {ONE}");
        let expected = [
            "GET /internal/authorise",
            "authorization: Bearer x",
            "host: control",
            "wardian-method: GET",
            "wardian-path: web/log",
            &sandbox_line,
            "wardian-service: processes",
            "wardian-ticket: wrong",
            "wardian-upgrade: no",
        ];
        assert_eq!(lines, expected);
        // The body of a refused request is not in the way of the next one.
        let mut sender = http1(TcpStream::connect(world.address).await.unwrap()).await;
        for _ in 0..2 {
            let request = Request::post(path("files/echo")).header("host", HOST);
            let request = request.body(full(vec![7; 1_000_000])).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 401);
            whole(response).await;
        }
        assert_eq!(agent.taken.load(std::sync::atomic::Ordering::SeqCst), 0);
    });
}

#[test]
fn bodies_stream_both_ways_and_upgrades_are_joined() {
    isolated(|| async {
        let world = World::start().await;
        let _agent = sandbox::on_port(49983).await;
        let _api = sandbox::on_socket(&world.api_socket());
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let request = Request::put(path("files/echo")).header("host", HOST);
        let request = request
            .header("x-api-key", "open")
            .header("expect", "100-continue");
        let request = request.body(sandbox::stream(receiver)).unwrap();
        let response = send(world.address, request).await;
        let mut body = response.into_body();
        for piece in 0..20 {
            let piece = Bytes::from(format!("piece {piece}"));
            sender.send(piece.clone()).await.unwrap();
            let back = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(back, piece);
        }
        drop(sender);
        assert!(body.frame().await.is_none());
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            path("terminals/main?ticket=open&cols=80")
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = vec![0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        let answer = String::from_utf8_lossy(&bytes[..count]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        stream.write_all(b"keys").await.unwrap();
        stream.read_exact(&mut bytes[..4]).await.unwrap();
        assert_eq!(&bytes[..4], b"keys");
    });
}

#[test]
fn an_answer_can_not_rule_the_nodes_own_address() {
    isolated(|| async {
        let world = World::start().await;
        let _agent = sandbox::on_port(49983).await;
        let _api = sandbox::on_socket(&world.api_socket());
        let request = Request::get(path("files/page")).header("host", HOST);
        let request = request.header("x-api-key", "open").body(empty()).unwrap();
        let response = send(world.address, request).await;
        let headers = response.headers().clone();
        for name in ["set-cookie", "clear-site-data"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(
            headers["content-security-policy"],
            "default-src 'none'; sandbox"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(whole(response).await, "<script>steal()</script>");
    });
}

#[test]
fn what_is_internal_or_ambiguous_reaches_nobody() {
    isolated(|| async {
        let world = World::start().await;
        let agent = sandbox::on_port(49983).await;
        let api = sandbox::on_socket(&world.api_socket());
        let inside = [
            "internal",
            "%69nternal",
            "/internal",
            "./internal",
            "x/../internal",
            "INTERNAL",
            "x/%2e%2e/internal",
            "%2finternal",
            "\\internal",
        ];
        for first in inside {
            let target = format!("/{first}/authorise");
            let answer = raw(
                world.address,
                &format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\nx-api-key: open\r\nconnection: close\r\n\r\n"),
            )
            .await;
            let status = answer.split(' ').nth(1).unwrap_or("").to_owned();
            assert!(status == "404" || status == "400", "{target}: {answer}");
        }
        for tail in ["../run", "a/%2e%2e/b", "a%2fb", "a//b", "a/", "%00"] {
            let target = path(&format!("files/{tail}"));
            let (status, body) = get(world.address, HOST, &target, &[("x-api-key", "open")]).await;
            assert_eq!(status, 400, "{target}: {body}");
        }
        let twice = path("run?ticket=open&%74icket=open");
        assert_eq!(get(world.address, HOST, &twice, &[]).await.0, 400);
        for server in [&agent, &api] {
            assert_eq!(server.taken.load(std::sync::atomic::Ordering::SeqCst), 0);
        }
    });
}

#[test]
fn a_sandbox_that_ended_meanwhile_is_told_in_the_apis_words() {
    isolated(|| async {
        let mut world = World::start().await;
        let _api = sandbox::on_socket(&world.api_socket());
        let key = [("x-api-key", "open"), ("accept", "text/html")];
        let other = format!("/v1/sandboxes/{OTHER}/run");
        let (status, body) = get(world.address, HOST, &other, &key).await;
        assert_eq!(status, 409);
        assert!(
            body.starts_with(r#"{"error":{"code":"sandbox_not_running""#),
            "{body}"
        );
        world
            .put(support::route(ONE, RouteState::Paused, None))
            .await;
        assert_eq!(get(world.address, HOST, &path("run"), &key).await.0, 409);
    });
}
