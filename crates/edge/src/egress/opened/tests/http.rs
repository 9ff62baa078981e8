//! What is asked, by HTTP/1.1 and HTTP/2, and what comes of it.

use super::world::{
    listener, policy, rule, serve_plain, serve_tls, text, whole, TestBody, World, NAME,
};
use crate::egress::first_bytes::First;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wardian_wire::egress::event::{Kind, Reason, Verdict};

/// Says what reached it.
async fn echo(request: Request<Incoming>) -> Response<TestBody> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    let host = head
        .headers
        .get("host")
        .map(|host| host.to_str().unwrap().to_owned());
    let authority = head.uri.authority().map(ToString::to_string);
    let said = format!(
        "{:?} {} {} {} [{}]",
        head.version,
        head.method,
        host.or(authority).unwrap_or_default(),
        head.uri.path_and_query().unwrap(),
        String::from_utf8_lossy(&body.to_bytes()),
    );
    let mut response = Response::new(text(said));
    if let Some(trailers) = trailers {
        let frames = [
            Frame::data(Bytes::from_static(b"data")),
            Frame::trailers(trailers),
        ];
        let frames = futures_util::stream::iter(frames.map(Ok));
        *response.body_mut() = StreamBody::new(frames).boxed_unsync();
    }
    response
}

fn get(path: &str) -> Request<TestBody> {
    let request = Request::get(format!("https://{NAME}{path}")).header("host", NAME);
    request.body(text("")).unwrap()
}

fn origin(path: &str) -> Request<TestBody> {
    Request::get(path)
        .header("host", NAME)
        .body(text(""))
        .unwrap()
}

#[tokio::test]
async fn every_pair_of_versions_works_and_each_request_is_told() {
    for alpn in ["h2", "http/1.1"] {
        let (listener, address) = listener().await;
        let world = World::to(address);
        serve_tls(listener, world.certificate(NAME), &[alpn], echo);
        let version = if alpn == "h2" { "HTTP/2.0" } else { "HTTP/1.1" };
        let mut one = world.http1().await;
        let request = Request::post("/a?b=c").header("host", NAME);
        let request = request.header("x-mine", "1").body(text("body")).unwrap();
        let answer = whole(one.send_request(request).await.unwrap()).await;
        assert_eq!(answer, format!("{version} POST {NAME} /a?b=c [body]"));
        let mut two = world.http2().await;
        let answer = whole(two.send_request(get("/x")).await.unwrap()).await;
        assert_eq!(answer, format!("{version} GET {NAME} /x []"));
        let events = world.events(2).await;
        let first = &events[0];
        assert_eq!(
            (first.kind, first.verdict),
            (Kind::Request, Verdict::Allowed)
        );
        assert_eq!(first.rule.as_deref(), Some("all"));
        assert_eq!(
            (first.method.as_deref(), first.path.as_deref()),
            (Some("POST"), Some("/a"))
        );
        assert_eq!((first.status, first.sent), (Some(200), 4));
        assert!(first.received > 20);
        assert_eq!(first.address.as_deref(), Some("127.0.0.1"));
    }
}

#[tokio::test]
async fn connections_to_a_server_are_kept_from_client_to_client() {
    let (listener, address) = listener().await;
    let world = World::to(address);
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut byte = [0; 1];
                while stream.read_exact(&mut byte).await.is_ok() {
                    seen.push(byte[0]);
                    if seen.ends_with(b"\r\n\r\n") {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        stream.write_all(answer).await.unwrap();
                        seen.clear();
                    }
                }
            });
        }
    });
    for _ in 0..3 {
        let mut stream = world.dial(80, First::Http1).await;
        let request = format!("GET / HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn trailers_go_both_ways_as_grpc_needs_them() {
    let (listener, address) = listener().await;
    let world = World::to(address);
    serve_tls(listener, world.certificate(NAME), &["h2"], echo);
    let mut client = world.http2().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [
        Frame::data(Bytes::from_static(b"q")),
        Frame::trailers(trailers.clone()),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync();
    let request = Request::post(format!("https://{NAME}/grpc")).header("te", "trailers");
    let answer = client
        .send_request(request.body(body).unwrap())
        .await
        .unwrap();
    let collected = answer.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
}

#[tokio::test]
async fn each_request_is_decided_by_the_policy_then_in_force() {
    let (listener, address) = listener().await;
    let mut only_get = rule("gets", Some(address));
    only_get.methods = vec!["GET".to_owned()];
    only_get.path = Some("/v1/**".to_owned());
    let world = World::new(policy(vec![only_get]));
    serve_tls(listener, world.certificate(NAME), &["http/1.1"], echo);
    let mut client = world.http1().await;
    let answer = client.send_request(origin("/v1/a")).await.unwrap();
    assert_eq!(answer.status(), 200);
    whole(answer).await;
    for (path, reason) in [
        ("/v2", Reason::NoRule),
        ("/v1/%2e%2e/v2", Reason::Malformed),
    ] {
        let answer = client.send_request(origin(path)).await.unwrap();
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.headers()["wardian-egress"], "denied");
        let body: serde_json::Value = serde_json::from_str(&whole(answer).await).unwrap();
        assert_eq!(body["error"]["code"], "egress_denied");
        assert!(body["error"]["hint"].as_str().unwrap().len() > 20);
        let events = world.events(1).await;
        let last = events.last().unwrap();
        assert_eq!((last.verdict, last.reason), (Verdict::Denied, Some(reason)));
    }
    world.set(policy(vec![rule("never", None)]));
    let answer = client.send_request(origin("/v1/a")).await.unwrap();
    assert_eq!(answer.status(), 403);
    let events = world.events(1).await;
    let last = events.last().unwrap();
    assert_eq!((last.rule.as_deref(), last.reason), (Some("never"), None));
}

/// Sends bytes as they are in a plain connection; gives all that comes back.
async fn raw(world: &World, request: &str) -> String {
    let mut stream = world.dial(80, First::Http1).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_never_reaches_a_server() {
    let (listener, address) = listener().await;
    let world = World::to(address);
    let reached = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reached);
    serve_plain(listener, move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(request)
    });
    let host = format!("host: {NAME}\r\n");
    for head in [
        format!("GET / HTTP/1.1\r\nhost: {NAME}\r\n{host}\r\n"),
        "GET / HTTP/1.1\r\nhost: other.example\r\n\r\n".to_owned(),
        format!("GET http://other.example/ HTTP/1.1\r\n{host}\r\n"),
        format!("GET https://{NAME}/ HTTP/1.1\r\n{host}\r\n"),
        format!("CONNECT {NAME}:80 HTTP/1.1\r\n{host}\r\n"),
        format!("TRACE / HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}upgrade: ssh\r\nconnection: upgrade\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        format!("POST / HTTP/1.1\r\n{host}content-length: +1\r\n\r\na"),
        format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host} folded: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}bad name: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}x: {}\r\n\r\n", "y".repeat(70_000)),
        format!("GET / HTTP/1.1\r\n{host}{}\r\n", "x: y\r\n".repeat(120)),
    ] {
        let answer = raw(&world, &head).await;
        let status: u16 = answer
            .get(9..12)
            .unwrap_or_default()
            .parse()
            .unwrap_or_default();
        assert!((400..500).contains(&status), "{head:.80}: {answer}");
        let events = world.events(1).await;
        assert_eq!(events[0].verdict, Verdict::Denied, "{head:.80}");
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn of_two_lengths_one_goes_on_and_nothing_is_read_behind_it() {
    let (listener, address) = listener().await;
    let world = World::to(address);
    let reached = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reached);
    serve_plain(listener, move |request: Request<Incoming>| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(!request.headers().contains_key("content-length"));
        echo(request)
    });
    let smuggled = format!(
        "POST / HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: {NAME}\r\n\r\n"
    );
    let mut stream = world.dial(80, First::Http1).await;
    stream.write_all(smuggled.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("hidden"));
    assert!(reached.load(Ordering::SeqCst) <= 1);
}

#[tokio::test]
async fn an_answer_without_a_body_ends_and_that_to_head_keeps_its_length() {
    let (listener, address) = listener().await;
    let world = World::to(address);
    serve_plain(listener, |request: Request<Incoming>| async move {
        let response = Response::builder().header("content-length", "100");
        let status = if request.method() == "HEAD" { 200 } else { 304 };
        response.status(status).body(text("")).unwrap()
    });
    for (method, status) in [("HEAD", "200"), ("GET", "304")] {
        let asked = format!("{method} / HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
        let mut stream = world.dial(80, First::Http1).await;
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let length = answer.contains("content-length: 100");
        assert!(
            answer.contains(status) && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(length || method != "HEAD", "{answer}");
    }
}
