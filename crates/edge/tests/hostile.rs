//! Clients and sandboxes that mean harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;
use support::client::{get, raw};
use support::{host, isolated, sandbox, World, ONE, OTHER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("closed")
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let name = host(ONE, 8000);
        for lines in [
            format!("host: {name}\r\nhost: {name}\r\n"),
            format!("host: {name}\r\nhost: localhost\r\n"),
            String::new(),
            format!("host: {name}\r\ncontent-length: 3\r\ncontent-length: 4\r\n"),
            format!("host: {name}\r\ncontent-length: +3\r\n"),
            format!("host: {name}\r\ntransfer-encoding: gzip\r\n"),
            format!("host: {name}\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
            format!("host: {name}\r\ntransfer-encoding: chunked, identity\r\n"),
            format!("host : {name}\r\n"),
            format!("host: {name}\r\n folded: 1\r\n"),
            "host: user@localhost\r\n".into(),
        ] {
            let request = format!("POST /count HTTP/1.1\r\n{lines}\r\n0\r\n\r\n");
            let answer = raw(world.address, &request).await;
            assert_eq!(status(&answer), "400", "{request} {answer}");
        }
        let request = format!("GET http://{name}/ HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(status(&raw(world.address, &request).await), "400");
        let request =
            format!("CONNECT 10.0.0.2:8000 HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&raw(world.address, &request).await), "405");
    });
}

#[test]
fn two_lengths_never_hide_a_second_request() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let name = host(ONE, 8000);
        let hidden = format!("GET /head HTTP/1.1\r\nhost: {name}\r\nx-hidden: 1\r\n\r\n");
        for lines in [
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 5",
        ] {
            let request =
                format!("POST /head HTTP/1.1\r\nhost: {name}\r\n{lines}\r\n\r\n0\r\n\r\n{hidden}");
            let answer = raw(world.address, &request).await;
            // Read as chunked, sent on with one framing, and the connection ends behind it.
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
            assert!(
                !answer.contains("x-hidden") && !answer.contains("content-length: 5"),
                "{answer}"
            );
        }
    });
}

#[test]
fn http2_inside_an_upgrade_is_not_opened() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let name = host(ONE, 8000);
        let request = format!("GET /head HTTP/1.1\r\nhost: {name}\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n");
        let answer = raw(world.address, &request).await;
        assert_eq!(status(&answer), "200");
        assert!(
            !answer.contains("h2c") && !answer.contains("http2-settings"),
            "{answer}"
        );
    });
}

#[test]
fn heads_are_bounded() {
    isolated(|| async {
        let world = World::start().await;
        let name = host(ONE, 8000);
        let many: String = (0..101).map(|line| format!("x-{line}: 1\r\n")).collect();
        let long = format!("x-long: {}\r\n", "a".repeat(70_000));
        let endless = format!("x-endless: {}", "a".repeat(2_000_000));
        for lines in [many, long, endless] {
            let request = format!("GET / HTTP/1.1\r\nhost: {name}\r\n{lines}\r\n\r\n");
            let answer = raw(world.address, &request).await;
            assert!(
                matches!(status(&answer), "431" | "closed"),
                "{}",
                &answer[..200]
            );
        }
    });
}

#[test]
fn slow_and_silent_clients_do_not_keep_others_out() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let (before, _) = world.memory();
        let mut slow = Vec::new();
        for _ in 0..400 {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
            slow.push(stream);
        }
        let (status, _) = get(world.address, &host(ONE, 8000), "/", &[]).await;
        assert_eq!(status, 200);
        let (after, _) = world.memory();
        let each = after.saturating_sub(before) / 400;
        assert!(each < 64, "{each} KiB for each slow client");
        // Each is told to go in the end.
        for stream in &mut slow {
            assert!(matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)));
        }
    });
}

#[test]
fn noise_ends_its_own_connection_only() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let mut state = 1u32;
        for _ in 0..200 {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            let noise: Vec<u8> = (0..600)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0]
                })
                .chain(*b"\r\n\r\n")
                .collect();
            stream.write_all(&noise).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff")
            .await
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let (status, _) = get(world.address, &host(ONE, 8000), "/", &[]).await;
        assert_eq!(status, 200);
    });
}

#[test]
fn a_sandbox_cannot_answer_for_anyone_else() {
    isolated(|| async {
        let world = World::start().await;
        world.launcher.add(OTHER);
        let listener = TcpListener::bind("10.0.0.2:8000").await.unwrap();
        let answers = [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nEVIL",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 9\r\n\r\nEVIL",
            "EVIL\r\n\r\n",
        ];
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 4096];
                let _ = stream.read(&mut bytes).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        let name = host(ONE, 8000);
        let mut seen = Vec::new();
        for _ in answers {
            let (status, body) = get(world.address, &name, "/", &[]).await;
            assert!(!body.contains("EVIL"), "{body}");
            seen.push(status);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        assert_eq!(seen, [200, 502, 502, 502]);
    });
}
