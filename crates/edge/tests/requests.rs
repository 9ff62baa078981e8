//! Requests that reach whom they name, and those that are answered at the edge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::client::{empty, full, get, http1, whole};
use support::{host, isolated, route, sandbox, World, ONE, OTHER};
use tokio::net::TcpStream;
use wardian_wire::edge::RouteState;

#[test]
fn a_request_reaches_the_port_its_host_names() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let preview = host(ONE, 8000);
        let (status, head) = get(
            world.address,
            &preview,
            "/head?a=%20b",
            &[
                ("x-forwarded-for", "1.2.3.4"),
                ("wardian-sandbox-id", OTHER),
                ("connection", "x-private"),
                ("x-private", "1"),
            ],
        )
        .await;
        assert_eq!(status, 200);
        let mut lines: Vec<&str> = head.lines().collect();
        lines.sort_unstable();
        let expected = [
            "GET /head?a=%20b".to_owned(),
            format!("host: {preview}"),
            "x-forwarded-for: 127.0.0.1".to_owned(),
            format!("x-forwarded-host: {preview}"),
            "x-forwarded-proto: http".to_owned(),
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
fn header_pairs_reach_the_agent_and_the_rest_the_control_plane() {
    isolated(|| async {
        let world = World::start().await;
        let _agent = sandbox::on_port(49983).await;
        let _api = sandbox::on_socket(&world.api_socket());
        let named = [("e2b-sandbox-id", ONE), ("e2b-sandbox-port", "49983")];
        let (_, head) = get(world.address, "127.0.0.1:7300", "/head", &named).await;
        assert!(head.contains(&format!("e2b-sandbox-id: {ONE}")), "{head}");
        let (_, head) = get(world.address, "localhost", "/head", &[]).await;
        assert!(head.contains("x-forwarded-host: localhost"), "{head}");
        assert!(!head.contains("sandbox"), "{head}");
        let (status, body) = get(world.address, "elsewhere.test", "/", &[]).await;
        assert_eq!(status, 421);
        assert!(
            body.starts_with(r#"{"error":{"code":"misdirected""#),
            "{body}"
        );
    });
}

#[test]
fn the_edges_own_answers() {
    isolated(|| async {
        let mut world = World::start().await;
        let _agent = sandbox::on_port(49983).await;
        let gone = |id: &str| {
            format!(r#"{{"sandboxId":"{id}","message":"The sandbox was not found","code":502}}"#)
        };
        let never = get(world.address, &host(OTHER, 80), "/", &[]).await;
        assert_eq!(never, (502, gone(OTHER)));
        let closed = get(world.address, &host(ONE, 81), "/", &[]).await;
        let text = format!(
            r#"{{"sandboxId":"{ONE}","message":"The sandbox is running but port is not open","port":81,"code":502}}"#
        );
        assert_eq!(closed, (502, text));
        for path in ["/init", "/freeze", "/upgrade?x", "//init", "/%69nit"] {
            let (status, _) = get(
                world.address,
                "localhost",
                path,
                &[("wardian-sandbox-id", ONE)],
            )
            .await;
            assert_eq!(status, 404, "{path}");
        }
        let page = get(
            world.address,
            &host(OTHER, 80),
            "/",
            &[("accept", "text/html,*/*")],
        )
        .await;
        assert_eq!(page.0, 502);
        assert!(
            page.1.starts_with("<!doctype html>") && page.1.contains(OTHER),
            "{}",
            page.1
        );
        world.put(route(ONE, RouteState::Paused, None)).await;
        let paused = get(
            world.address,
            "localhost",
            "/health",
            &[("wardian-sandbox-id", ONE)],
        )
        .await;
        assert_eq!(paused, (502, gone(ONE)));
        world.put(route(ONE, RouteState::Running, None)).await;
        let back = get(
            world.address,
            "localhost",
            "/health",
            &[("wardian-sandbox-id", ONE)],
        )
        .await;
        assert_eq!(back, (200, "hello".into()));
        // A route whose sandbox the launcher no longer has.
        world.put(route(OTHER, RouteState::Running, None)).await;
        let lost = get(world.address, &host(OTHER, 80), "/", &[]).await;
        assert_eq!(lost, (502, gone(OTHER)));
    });
}

#[test]
fn a_traffic_token_guards_every_port_but_the_agents() {
    isolated(|| async {
        let mut world = World::start().await;
        let (_server, _agent) = (sandbox::on_port(8000).await, sandbox::on_port(49983).await);
        world
            .put(route(ONE, RouteState::Running, Some("s3cret")))
            .await;
        let preview = host(ONE, 8000);
        for lines in [
            &[][..],
            &[("wardian-traffic-token", "s3cre")],
            &[("e2b-traffic-access-token", "wrong")],
        ] {
            let (status, body) = get(world.address, &preview, "/", lines).await;
            assert_eq!(status, 403);
            assert!(
                body.starts_with(&format!(r#"{{"sandboxId":"{ONE}""#)),
                "{body}"
            );
            assert!(!body.contains("s3cret"));
        }
        for name in ["wardian-traffic-token", "e2b-traffic-access-token"] {
            let (status, head) = get(world.address, &preview, "/head", &[(name, "s3cret")]).await;
            assert_eq!(status, 200);
            assert!(!head.contains("s3cret"), "{head}");
        }
        let (status, _) = get(
            world.address,
            "localhost",
            "/",
            &[("wardian-sandbox-id", ONE)],
        )
        .await;
        assert_eq!(status, 200);
    });
}

#[test]
fn connections_are_kept_on_both_sides() {
    isolated(|| async {
        let world = World::start().await;
        let server = sandbox::on_port(8000).await;
        let mut sender = http1(TcpStream::connect(world.address).await.unwrap()).await;
        for turn in 0..20 {
            let request = if turn % 2 == 0 {
                http::Request::get("/").body(empty())
            } else {
                http::Request::post("/echo").body(full("hello"))
            };
            let mut request = request.unwrap();
            let name = host(ONE, 8000).parse().unwrap();
            request.headers_mut().insert("host", name);
            sender.ready().await.unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(whole(response).await, "hello");
        }
        let taken = server.taken.load(std::sync::atomic::Ordering::SeqCst);
        assert!(taken < 5, "{taken} connections for 20 requests");
        let asked = world
            .launcher
            .asked
            .load(std::sync::atomic::Ordering::SeqCst);
        assert!(asked <= 2, "{asked} questions to the launcher");
    });
}
