//! Exposures: who is let in, to which server, and what is cut when one is taken back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::Request;
use http_body_util::BodyExt;
use std::sync::atomic::Ordering;
use support::client::{empty, get, raw, send, whole};
use support::{host, isolated, route, sandbox, World, ONE, OTHER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wardian_wire::edge::{Exposure, HostHeader, Route, RouteState, Visibility};
use wardian_wire::preview::{PassKind, Passes};
use wardian_wire::SandboxId;

const TOKEN: &str = "abcdefgh23456789";

fn exposure(port: u16, visibility: Visibility) -> Exposure {
    Exposure {
        port,
        token: TOKEN.to_owned(),
        visibility,
        host_header: HostHeader::Preserve,
        secret: format!("secret of {port}"),
    }
}

fn exposing(exposures: Vec<Exposure>) -> Route {
    Route {
        exposures,
        ..route(ONE, RouteState::Running, None)
    }
}

fn address(port: u16) -> String {
    format!("{port}-{ONE}-{TOKEN}.box.test")
}

fn pass(port: u16, kind: PassKind, expiry: u64) -> String {
    let sandbox = SandboxId::parse(ONE).unwrap();
    let secret = format!("secret of {port}");
    let passes = Passes {
        secret: &secret,
        sandbox: &sandbox,
        port,
    };
    passes.sign(kind, expiry).unwrap()
}

fn key() -> String {
    format!("Bearer e2b_{}", "5".repeat(40))
}

const FAR: u64 = 99_999_999_999;

#[test]
fn an_address_opens_its_port_and_only_whole() {
    isolated(|| async {
        let mut world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let other = sandbox::on_port(8001).await;
        let _api = sandbox::on_socket(&world.api_socket());
        world
            .put(exposing(vec![exposure(8000, Visibility::Public)]))
            .await;
        let (status, head) = get(world.address, &address(8000), "/head", &[]).await;
        assert_eq!(status, 200);
        assert!(
            head.contains(&format!("host: {}\n", address(8000))),
            "{head}"
        );
        for wrong in [
            address(8001),
            format!("8000-{ONE}-abcdefgh2345678.box.test"),
            format!("8000-{ONE}-x.box.test"),
            format!("49983-{ONE}-{TOKEN}.box.test"),
            format!("8000-{OTHER}-{TOKEN}.box.test"),
        ] {
            let (status, body) = get(world.address, &wrong, "/", &[]).await;
            assert_eq!(status, 404, "{wrong}: {body}");
            assert!(
                body.starts_with(r#"{"error":{"code":"exposure_not_found""#),
                "{body}"
            );
        }
        assert_eq!(other.taken.load(Ordering::SeqCst), 0);
        let former = format!("8000-{OTHER}-formertoken.box.test");
        let (status, body) = get(world.address, &former, "/", &[]).await;
        assert_eq!(status, 410);
        assert!(body.contains("sandbox_ended"), "{body}");
        // An address without a token stays what it was.
        assert_eq!(get(world.address, &host(ONE, 8000), "/", &[]).await.0, 200);
        let whole_url = address(8000).to_ascii_uppercase();
        assert_eq!(get(world.address, &whole_url, "/", &[]).await.0, 200);
    });
}

#[test]
fn a_private_one_wants_a_key_or_a_pass() {
    isolated(|| async {
        let mut world = World::start().await;
        let server = sandbox::on_port(8000).await;
        let _api = sandbox::on_socket(&world.api_socket());
        let exposures = vec![
            exposure(8000, Visibility::Private),
            exposure(8001, Visibility::Private),
        ];
        world.put(exposing(exposures)).await;
        let preview = address(8000);
        let old = pass(8000, PassKind::Cookie, 1_000_000_000);
        let foreign = pass(8001, PassKind::Cookie, FAR);
        let ticket = pass(8000, PassKind::Ticket, FAR);
        let wrong_key = format!("e2b_{}", "6".repeat(40));
        for (name, value) in [
            ("x-none", "x"),
            ("x-api-key", wrong_key.as_str()),
            ("authorization", "Bearer an.apps.token"),
            ("cookie", &format!("wardian-preview={old}")),
            ("cookie", &format!("wardian-preview={foreign}")),
            ("cookie", &format!("wardian-preview={ticket}")),
            ("wardian-sandbox", ONE),
        ] {
            let (status, body) = get(world.address, &preview, "/", &[(name, value)]).await;
            assert_eq!(status, 401, "{name}: {value}: {body}");
        }
        assert_eq!(server.taken.load(Ordering::SeqCst), 0);
        let cookie = format!(
            "a=1; wardian-preview=nonsense; wardian-preview={}; b=2",
            pass(8000, PassKind::Cookie, FAR)
        );
        let authorization = key();
        let by_cookie = [("cookie", cookie.as_str()), ("authorization", "Bearer app")];
        let by_key = [("authorization", authorization.as_str())];
        let by_ticket = format!("/head?a=1&wardian_ticket={ticket}&b=2");
        for (path, shown, seen) in [
            ("/head?a=1&b=2", &by_cookie[..], "cookie: a=1; b=2\n"),
            (
                "/head?a=1&b=2",
                &by_cookie[..],
                "authorization: Bearer app\n",
            ),
            ("/head?a=1&b=2", &by_key[..], "host: "),
            (&by_ticket, &[][..], "host: "),
        ] {
            let (status, head) = get(world.address, &preview, path, shown).await;
            assert_eq!(status, 200);
            assert!(head.starts_with("GET /head?a=1&b=2\n"), "{head}");
            assert!(head.contains(seen), "{head}");
            for secret in ["wardian", "e2b_", &ticket] {
                assert!(!head.contains(secret), "{head}");
            }
        }
    });
}

#[test]
fn a_browser_exchanges_a_ticket_for_a_cookie() {
    isolated(|| async {
        let mut world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        world
            .put(exposing(vec![exposure(8000, Visibility::Private)]))
            .await;
        let preview = address(8000);
        let ticket = pass(8000, PassKind::Ticket, FAR);
        for (path, location) in [
            (format!("/a?wardian_ticket={ticket}"), "/a"),
            (format!("/a?x=%20&wardian_ticket={ticket}&y"), "/a?x=%20&y"),
            (
                format!("//evil.test/?wardian_ticket={ticket}"),
                "/.//evil.test/",
            ),
        ] {
            let request = Request::get(&path).header("host", &preview);
            let request = request.header("accept", "text/html");
            let response = send(world.address, request.body(empty()).unwrap()).await;
            assert_eq!(response.status(), 303, "{path}");
            assert_eq!(response.headers()["location"], location);
            let set = response.headers()["set-cookie"].to_str().unwrap();
            let cookie = set.split(';').next().unwrap();
            assert_eq!(
                cookie,
                format!("wardian-preview={}", pass(8000, PassKind::Cookie, FAR))
            );
            assert!(set.contains("HttpOnly") && !set.to_lowercase().contains("domain"));
            let back = get(world.address, &preview, "/", &[("cookie", cookie)]).await;
            assert_eq!(back.0, 200);
        }
        let wrong = format!("/?wardian_ticket={}", pass(8000, PassKind::Cookie, FAR));
        let (status, page) = get(world.address, &preview, &wrong, &[("accept", "text/html")]).await;
        assert_eq!(status, 401);
        assert!(page.contains("This link no longer works"), "{page}");
    });
}

#[test]
fn taking_one_back_cuts_what_is_open_through_it_alone() {
    isolated(|| async {
        let mut world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let _other = sandbox::on_port(8001).await;
        let both = vec![
            exposure(8000, Visibility::Public),
            exposure(8001, Visibility::Public),
        ];
        world.put(exposing(both.clone())).await;
        let open = |port: u16| {
            let request = Request::get("/drip").header("host", address(port));
            send(world.address, request.body(empty()).unwrap())
        };
        let (mut cut, mut kept) = (open(8000).await.into_body(), open(8001).await.into_body());
        for body in [&mut cut, &mut kept] {
            body.frame().await.unwrap().unwrap();
        }
        let (mut socket, mut kept_socket) = (
            upgraded(&world, &address(8000)).await,
            upgraded(&world, &address(8001)).await,
        );
        world.put(exposing(both[1..].to_vec())).await;
        assert!(cut.frame().await.unwrap().is_err());
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
        kept_socket.write_all(b"still").await.unwrap();
        let mut echoed = [0; 5];
        kept_socket.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"still");
        assert_eq!(get(world.address, &address(8001), "/", &[]).await.0, 200);
        drop(kept);
    });
}

async fn upgraded(world: &World, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "GET /upgrade HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream
}

#[test]
fn a_server_on_the_loopback_is_found_and_found_again() {
    isolated(|| async {
        let mut world = World::start().await;
        let exposures = vec![
            exposure(8000, Visibility::Public),
            exposure(8001, Visibility::Public),
        ];
        world.put(exposing(exposures)).await;
        let inner = sandbox::on_address("127.0.0.1", 8000).await;
        let _sixth = sandbox::on_address("::1", 8001).await;
        assert_eq!(get(world.address, &address(8000), "/", &[]).await.0, 200);
        assert_eq!(get(world.address, &address(8001), "/", &[]).await.0, 200);
        // Only an exposure leads there.
        let plain = get(world.address, &host(ONE, 8000), "/", &[]).await;
        assert_eq!(plain.0, 502);
        // More connections at once than are kept: the launcher is asked now and then, not each time.
        let asked = world.launcher.asked.load(Ordering::SeqCst);
        let mut open = Vec::new();
        for _ in 0..8 {
            let request = Request::get("/drip").header("host", address(8000));
            open.push(send(world.address, request.body(empty()).unwrap()).await);
        }
        assert!(world.launcher.asked.load(Ordering::SeqCst) - asked <= 2);
        drop((open, inner));
        let moved = sandbox::on_address("::1", 8000).await;
        let mut answer = 0;
        while answer != 200 {
            answer = get(world.address, &address(8000), "/", &[]).await.0;
        }
        assert!(moved.taken.load(Ordering::SeqCst) >= 1);
        drop(moved);
        let (status, body) = get(world.address, &address(8009), "/", &[]).await;
        assert_eq!(status, 404, "{body}");
    });
}

#[test]
fn people_get_pages_and_programs_codes() {
    isolated(|| async {
        let mut world = World::start().await;
        let _api = sandbox::on_socket(&world.api_socket());
        let exposures = vec![
            exposure(8000, Visibility::Public),
            exposure(8001, Visibility::Private),
        ];
        let running = exposing(exposures);
        let paused = Route {
            state: RouteState::Paused,
            ..running.clone()
        };
        let former = format!("8000-{OTHER}-formertoken.box.test");
        let unknown = format!("8000-{OTHER}-unknowntoken.box.test");
        for (rule, host, status, code, title) in [
            (
                &running,
                address(8000),
                502,
                "port_closed",
                "Waiting for the server",
            ),
            (
                &running,
                address(8001),
                401,
                "unauthorized",
                "This preview is private",
            ),
            (
                &paused,
                address(8000),
                503,
                "sandbox_paused",
                "The sandbox is asleep",
            ),
            (
                &paused,
                address(8001),
                401,
                "unauthorized",
                "This preview is private",
            ),
            (
                &running,
                former,
                410,
                "sandbox_ended",
                "This preview is gone",
            ),
            (
                &running,
                unknown,
                404,
                "exposure_not_found",
                "No preview here",
            ),
        ] {
            world.put((*rule).clone()).await;
            let (got, body) = get(world.address, &host, "/", &[]).await;
            assert_eq!(got, status, "{body}");
            assert!(body.contains(&format!(r#""code":"{code}""#)), "{body}");
            let page = [("accept", "text/html,*/*;q=0.8")];
            let (got, body) = get(world.address, &host, "/", &page).await;
            assert_eq!(got, status);
            assert!(
                body.starts_with("<!doctype html>") && body.contains(title),
                "{body}"
            );
        }
    });
}

#[test]
fn host_and_cookies_are_as_the_rule_says() {
    isolated(|| async {
        let mut world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let rule = Exposure {
            host_header: HostHeader::Localhost,
            ..exposure(8000, Visibility::Public)
        };
        world.put(exposing(vec![rule])).await;
        let shown = [
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-proto", "https"),
        ];
        let (_, head) = get(world.address, &address(8000), "/head", &shown).await;
        for line in [
            "host: localhost:8000\n".to_owned(),
            format!("x-forwarded-host: {}\n", address(8000)),
            "x-forwarded-proto: http\n".to_owned(),
            "x-forwarded-for: 127.0.0.1\n".to_owned(),
        ] {
            assert!(head.contains(&line), "{line} in {head}");
        }
        let request = Request::get("/cookies").header("host", address(8000));
        let response = send(world.address, request.body(empty()).unwrap()).await;
        assert_eq!(response.headers()["set-cookie"], "a=b; Path=/");
        whole(response).await;
        let twice = format!(
            "GET /?wardian_ticket=a&wardian_ticket=b HTTP/1.1\r\nhost: {}\r\n\r\n",
            address(8000)
        );
        assert!(raw(world.address, &twice).await.starts_with("HTTP/1.1 400"));
    });
}
