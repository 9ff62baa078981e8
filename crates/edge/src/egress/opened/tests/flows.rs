//! Streams: nothing is held back, everything is bounded, and all ends when it must.

use super::world::{listener, serve_plain, text, TestBody, World, NAME};
use crate::egress::first_bytes::First;
use crate::egress::flow::Flow;
use crate::egress::opened::account::Account;
use crate::egress::opened::requests::Conversation;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, Mutex};
use wardian_wire::egress::destination::Destination;
use wardian_wire::egress::event::Verdict;

async fn client(world: &World) -> http1::SendRequest<TestBody> {
    let stream = TokioIo::new(world.dial(80, First::Http1).await);
    let (sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

fn request(path: &str) -> Request<TestBody> {
    Request::get(path)
        .header("host", NAME)
        .body(text(""))
        .unwrap()
}

fn piped(receiver: mpsc::Receiver<Bytes>) -> TestBody {
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        let bytes = receiver.recv().await?;
        Some((Ok(Frame::data(bytes)), receiver))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A server whose one answer is what is put into the channel.
async fn fed() -> (World, mpsc::Sender<Bytes>) {
    let (listener, address) = listener().await;
    let (sender, receiver) = mpsc::channel(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    serve_plain(listener, move |_: Request<Incoming>| {
        let receiver = Arc::clone(&receiver);
        async move { Response::new(piped(receiver.lock().await.take().unwrap())) }
    });
    (World::to(address), sender)
}

#[tokio::test]
async fn each_event_of_a_stream_arrives_before_the_next_is_sent() {
    let (world, sender) = fed().await;
    let mut client = client(&world).await;
    let mut answer = client.send_request(request("/events")).await.unwrap();
    for number in 0..5 {
        let event = Bytes::from(format!("data: {number}\n\n"));
        sender.send(event.clone()).await.unwrap();
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
    drop(sender);
    assert!(answer.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn a_sandbox_that_leaves_is_noticed_behind_the_edge_and_told() {
    let (world, sender) = fed().await;
    let mut client = client(&world).await;
    let mut answer = client.send_request(request("/")).await.unwrap();
    sender.send(Bytes::from_static(b"one")).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    drop((answer, client));
    sender.closed().await;
    let event = world.events(1).await.remove(0);
    assert_eq!((event.verdict, event.received), (Verdict::Allowed, 3));
}

#[tokio::test]
async fn all_ends_with_the_sandbox() {
    let (world, sender) = fed().await;
    let mut client = client(&world).await;
    let mut answer = client.send_request(request("/")).await.unwrap();
    sender.send(Bytes::from_static(b"one")).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    world.sandbox.cut.cancel();
    let next = answer.body_mut().frame().await;
    assert!(!matches!(next, Some(Ok(_))));
    sender.closed().await;
}

#[tokio::test]
async fn what_nobody_reads_is_not_taken_from_the_server() {
    let (world, sender) = fed().await;
    let mut client = client(&world).await;
    let answer = client.send_request(request("/")).await.unwrap();
    let piece = Bytes::from(vec![0; 1024 * 1024]);
    let mut sent = 0;
    // Sockets and buffers between take some; then it must stop for as long as nobody reads.
    while sent < 256 {
        let time = std::time::Duration::from_secs(2);
        if tokio::time::timeout(time, sender.send(piece.clone()))
            .await
            .is_err()
        {
            break;
        }
        sent += 1;
    }
    assert!(sent < 64, "{sent} MiB were taken");
    drop(answer);
}

#[tokio::test]
async fn a_websocket_passes_and_is_cut_with_the_sandbox() {
    let (listener, address) = listener().await;
    let world = World::to(address);
    serve_plain(listener, |mut request: Request<Incoming>| async move {
        assert_eq!(request.headers()["upgrade"], "websocket");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut bytes = [0; 4];
            while stream.read_exact(&mut bytes).await.is_ok() {
                stream.write_all(&bytes).await.unwrap();
            }
        });
        let response = Response::builder().status(101);
        let response = response
            .header("connection", "upgrade")
            .header("upgrade", "websocket");
        response
            .header("sec-websocket-accept", "x")
            .body(text(""))
            .unwrap()
    });
    let mut client = client(&world).await;
    let mut asked = request("/socket");
    let headers = asked.headers_mut();
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    let mut answer = client.send_request(asked).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.headers()["sec-websocket-accept"], "x");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    drop(answer);
    for word in [b"ping", b"pong"] {
        stream.write_all(word).await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, word);
    }
    world.sandbox.cut.cancel();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    let event = world.events(1).await.remove(0);
    assert_eq!(
        (event.status, event.sent, event.received),
        (Some(101), 8, 8)
    );
}

#[tokio::test]
async fn a_connection_does_not_rest_while_an_older_request_goes_on() {
    let world = World::to("127.0.0.1:9".parse().unwrap());
    let to = Destination::parse(&format!("{NAME}:443")).unwrap();
    let flow = Flow::new(Arc::clone(&world.sandbox), to);
    let conversation = Conversation::new(Arc::clone(&world.egress), flow.clone(), true);
    let open = || {
        let account = Account::open(&world.egress, &flow, None);
        conversation.begun(&account);
        account
    };
    let (older, newer) = (open(), open());
    drop(newer);
    assert!(!conversation.rests(Duration::ZERO));
    drop(older);
    assert!(conversation.rests(Duration::ZERO));
}
