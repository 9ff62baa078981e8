//! Bodies and tunnels: nothing is held back, and an end is passed on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::client::{empty, full, get, raw, send, whole};
use support::{host, isolated, sandbox, World, ONE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[test]
fn each_piece_goes_through_both_ways_before_the_next_is_made() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let request = Request::post("/echo").header("host", host(ONE, 8000));
        let response = send(
            world.address,
            request.body(sandbox::stream(receiver)).unwrap(),
        )
        .await;
        let mut body = response.into_body();
        for piece in 0..50 {
            let piece = Bytes::from(format!("piece {piece}"));
            sender.send(piece.clone()).await.unwrap();
            let back = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(back, piece);
        }
        drop(sender);
        assert!(body.frame().await.is_none());
    });
}

#[test]
fn an_early_answer_does_not_end_the_upload() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let request = Request::post("/early").header("host", host(ONE, 8000));
        let response = send(
            world.address,
            request.body(sandbox::stream(receiver)).unwrap(),
        )
        .await;
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "early;");
        for _ in 0..8 {
            sender.send(Bytes::from(vec![0; 100_000])).await.unwrap();
        }
        drop(sender);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "800000");
    });
}

#[test]
fn an_event_arrives_at_once_and_a_client_that_leaves_is_noticed() {
    isolated(|| async {
        let world = World::start().await;
        let server = sandbox::on_port(8000).await;
        let request = Request::get("/drip").header("host", host(ONE, 8000));
        let response = send(world.address, request.body(empty()).unwrap()).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(event, "data: 1\n\n");
        drop(body);
        while server.ended.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_client_that_leaves_before_the_answer_is_noticed() {
    isolated(|| async {
        let world = World::start().await;
        let server = sandbox::on_port(8000).await;
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let request = format!("GET /hang HTTP/1.1\r\nhost: {}\r\n\r\n", host(ONE, 8000));
        stream.write_all(request.as_bytes()).await.unwrap();
        while server.taken.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(stream);
        while server.ended.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn trailers_pass_both_ways() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let name = host(ONE, 8000);
        let down = format!("GET /trailers HTTP/1.1\r\nhost: {name}\r\nte: trailers\r\nconnection: te, close\r\n\r\n");
        let answer = raw(world.address, &down).await;
        assert!(answer.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{answer}");
        let up = format!("POST /count HTTP/1.1\r\nhost: {name}\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
        let answer = raw(world.address, &up).await;
        assert!(answer.ends_with("\r\n37"), "{answer}");
    });
}

#[test]
fn expect_continue_is_answered_once_the_body_is_wanted() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let head = format!("POST /count HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n", host(ONE, 8000));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"12345").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n5"),
            "{answer}"
        );
    });
}

#[test]
fn a_tunnel_carries_bytes_and_half_closes() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let _api = sandbox::on_socket(&world.api_socket());
        for name in [host(ONE, 8000), "localhost".into()] {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            let head = format!("GET /upgrade HTTP/1.1\r\nhost: {name}\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\nfirst");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\nfirst") {
                assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
            }
            let text = String::from_utf8_lossy(&answer).to_lowercase();
            assert!(text.starts_with("http/1.1 101"), "{text}");
            assert!(text.contains("upgrade: websocket\r\n"), "{text}");
            let large = vec![7; 1_000_000];
            let (mut reader, mut writer) = stream.split();
            let mut back = vec![0; large.len()];
            let (sent, received) =
                tokio::join!(writer.write_all(&large), reader.read_exact(&mut back));
            sent.unwrap();
            received.unwrap();
            assert_eq!(back, large);
            writer.shutdown().await.unwrap();
            let mut rest = String::new();
            reader.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "goodbye");
        }
    });
}

#[test]
fn an_upload_to_nobody_still_gets_its_answer_and_keeps_its_connection() {
    isolated(|| async {
        let world = World::start().await;
        let (mut reader, mut writer) = TcpStream::connect(world.address)
            .await
            .unwrap()
            .into_split();
        let name = host(ONE, 81);
        let size = 20_000_000;
        let upload = format!("POST / HTTP/1.1\r\nhost: {name}\r\ncontent-length: {size}\r\n\r\n");
        let next = format!("GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        let answers = tokio::spawn(async move {
            let mut answers = String::new();
            reader.read_to_string(&mut answers).await.unwrap();
            answers
        });
        writer.write_all(upload.as_bytes()).await.unwrap();
        writer.write_all(&vec![0; size]).await.unwrap();
        writer.write_all(next.as_bytes()).await.unwrap();
        let answers = answers.await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 502").count(), 2, "{answers}");
        assert_eq!(answers.matches("port is not open").count(), 2, "{answers}");
    });
}

/// The end of an upload may still be on its way to a server that has answered already: its
/// connection is not for the next request then, and is again when it is through.
#[test]
fn a_request_behind_an_upload_that_was_answered_early_is_answered_too() {
    isolated(|| async {
        // The kernel takes less than twice this; what is more waits in the edge.
        for buffer in ["tcp_wmem", "tcp_rmem"] {
            std::fs::write(format!("/proc/sys/net/ipv4/{buffer}"), "4096 65536 65536").unwrap();
        }
        let world = World::start().await;
        let mut server = sandbox::EarlyServer::on_port(8000).await;
        let name = host(ONE, 8000);
        for size in (65_536..1_000_000).step_by(65_536) {
            for unread in [false, size > 200_000] {
                let upload = Request::post("/").header("host", &name);
                let upload = upload.body(full(vec![0; size])).unwrap();
                let response = send(world.address, upload).await;
                assert_eq!(whole(response).await, "early");
                if !unread {
                    server.read_on.notify_one();
                }
                let (_, answer) = get(world.address, &name, "/", &[]).await;
                assert_eq!(answer, "early");
                if unread {
                    server.read_on.notify_one();
                }
                assert_eq!(server.read.recv().await, Some(size as u64));
            }
        }
    });
}
