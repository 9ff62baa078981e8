//! Parts that go away and come back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::Request;
use http_body_util::BodyExt;
use rustix::process::Signal;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::client::{empty, full, get, http2, send, whole};
use support::{host, isolated, route, sandbox, World, ONE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wardian_wire::edge::RouteState;

#[test]
fn a_removal_cuts_streams_waits_and_tunnels() {
    isolated(|| async {
        let mut world = World::start().await;
        let server = sandbox::on_port(8000).await;
        let name = host(ONE, 8000);
        let get_of = |path: &str| {
            Request::get(path)
                .header("host", name.clone())
                .body(empty())
                .unwrap()
        };
        let mut dripping = send(world.address, get_of("/drip")).await.into_body();
        dripping.frame().await.unwrap().unwrap();
        let mut multiplexed = http2(TcpStream::connect(world.address).await.unwrap()).await;
        let request = Request::get(format!("http://{name}/drip"))
            .body(empty())
            .unwrap();
        let mut stream = multiplexed.send_request(request).await.unwrap().into_body();
        stream.frame().await.unwrap().unwrap();
        let mut tunnel = TcpStream::connect(world.address).await.unwrap();
        let head = format!(
            "GET /upgrade HTTP/1.1\r\nhost: {name}\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n!"
        );
        tunnel.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"!") {
            assert_ne!(tunnel.read_buf(&mut answer).await.unwrap(), 0);
        }
        let waiting = tokio::spawn(send(world.address, get_of("/hang")));
        while server.taken.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        world.remove(ONE).await;

        assert!(dripping.frame().await.unwrap().is_err());
        assert!(stream.frame().await.unwrap().is_err());
        assert!(matches!(tunnel.read(&mut [0; 16]).await, Ok(0) | Err(_)));
        let response = waiting.await.unwrap();
        assert_eq!(response.status(), 502);
        assert!(whole(response).await.contains("The sandbox was not found"));
        while server.ended.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (status, body) = get(world.address, &name, "/", &[]).await;
        assert!(
            status == 502 && body.contains("not found"),
            "{status} {body}"
        );
    });
}

#[test]
fn a_request_before_the_first_routes_waits_for_them() {
    isolated(|| async {
        let mut world = World::unsynced(&[]).await;
        world.launcher.add(ONE);
        let _server = sandbox::on_port(8000).await;
        let address = world.address;
        let early = tokio::spawn(async move { get(address, &host(ONE, 8000), "/", &[]).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!early.is_finished());
        world
            .sync(vec![route(ONE, RouteState::Running, None)])
            .await;
        assert_eq!(early.await.unwrap(), (200, "hello".into()));
    });
}

#[test]
fn routes_outlive_the_control_plane_and_a_new_one_says_them_anew() {
    isolated(|| async {
        let mut world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        world.hang_up();
        let (status, _) = get(world.address, &host(ONE, 8000), "/", &[]).await;
        assert_eq!(status, 200);
        world.sync(vec![]).await;
        let (status, _) = get(world.address, &host(ONE, 8000), "/", &[]).await;
        assert_eq!(status, 502);
    });
}

#[test]
fn a_request_waits_for_a_control_plane_that_restarts() {
    isolated(|| async {
        let world = World::start().await;
        let address = world.address;
        let request = |path: &str| {
            Request::post(path)
                .header("host", "localhost")
                .body(full("abc"))
                .unwrap()
        };
        for round in 0..3 {
            let pending = tokio::spawn(send(address, request("/count")));
            tokio::time::sleep(Duration::from_millis(120)).await;
            assert!(!pending.is_finished(), "round {round}");
            let server = sandbox::on_socket(&world.api_socket());
            assert_eq!(whole(pending.await.unwrap()).await, "3");
            // Leaves a kept connection behind that the next round finds dead.
            drop(server);
            std::fs::remove_file(world.api_socket()).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (status, body) = get(address, "localhost", "/", &[]).await;
        assert_eq!(status, 503);
        assert!(
            body.starts_with(r#"{"error":{"code":"unavailable""#),
            "{body}"
        );
    });
}

#[test]
fn a_request_waits_for_a_launcher_that_restarts() {
    isolated(|| async {
        let mut world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        // Six connections at once: more than one batch of sockets, so the launcher is asked again.
        world.launcher.down().await;
        let address = world.address;
        let pending = tokio::spawn(async move { get(address, &host(ONE, 8000), "/", &[]).await });
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert!(!pending.is_finished());
        world.launcher.up();
        assert_eq!(pending.await.unwrap(), (200, "hello".into()));
        // Its connections to the old launcher are of no use now, and it must find that out.
        world.launcher.down().await;
        world.launcher.up();
        let mut held = Vec::new();
        for _ in 0..6 {
            let request = Request::get("/drip").header("host", host(ONE, 8000));
            let response = send(address, request.body(empty()).unwrap()).await;
            assert_eq!(response.status(), 200);
            held.push(response);
        }
    });
}

#[test]
fn a_server_that_restarts_in_the_sandbox_is_found_again() {
    isolated(|| async {
        let world = World::start().await;
        for _ in 0..5 {
            let server = sandbox::on_port(8000).await;
            let (status, _) = get(world.address, &host(ONE, 8000), "/", &[]).await;
            assert_eq!(status, 200);
            drop(server);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (status, body) = get(world.address, &host(ONE, 8000), "/", &[]).await;
        assert!(
            status == 502 && body.contains("not open"),
            "{status} {body}"
        );
    });
}

#[test]
fn told_to_stop_it_lets_short_requests_finish_and_cuts_long_ones() {
    isolated(|| async {
        let mut world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let request = Request::post("/count").header("host", host(ONE, 8000));
        let request = request.body(sandbox::stream(receiver)).unwrap();
        let short = tokio::spawn(send(world.address, request));
        let request = Request::get("/drip").header("host", host(ONE, 8000));
        let mut long = send(world.address, request.body(empty()).unwrap())
            .await
            .into_body();
        long.frame().await.unwrap().unwrap();
        sender.send("abc".into()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.signal(Signal::TERM);
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The socket is the supervisor's and goes on listening for the next edge; this one takes
        // nothing from it any more.
        let mut late = TcpStream::connect(world.address).await.unwrap();
        late.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        drop(sender);
        assert_eq!(whole(short.await.unwrap()).await, "3");
        assert!(long.frame().await.unwrap().is_err());
        let status = loop {
            if let Some(status) = world.edge.try_wait().unwrap() {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success());
        assert!(matches!(late.read(&mut [0; 16]).await, Ok(0) | Err(_)));
    });
}
