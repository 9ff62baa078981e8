//! Exchanges with a peer that speaks as the handlers' process does.

use super::*;
use http::header::HeaderValue;
use http::Request;
use http_body_util::{BodyExt, Channel, Empty, Full};
use hyper::body::Body;
use std::collections::BTreeMap;
use std::convert::Infallible;
use tempfile::TempDir;
use tokio::net::UnixListener;
use wardian_wire::egress::handler_frame::{
    Credit, Failure, Headers, RequestHead, ResponseHead, FIRST_CREDIT,
};

const FIRST: usize = FIRST_CREDIT as usize;

struct Process {
    _directory: TempDir,
    listener: UnixListener,
    handlers: Arc<Handlers>,
}

impl Process {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("h.sock");
        Self {
            listener: UnixListener::bind(&path).unwrap(),
            handlers: Handlers::new(Some(path)),
            _directory: directory,
        }
    }

    async fn accept(&self) -> Connection {
        let (stream, _) = self.listener.accept().await.unwrap();
        Connection::over(stream)
    }
}

fn call(timeout_ms: u32) -> HandlerCall {
    HandlerCall {
        name: "llm".to_owned(),
        parameters: BTreeMap::from([("a".to_owned(), serde_json::json!(1))]),
        timeout_ms,
    }
}

fn facts() -> SandboxFacts {
    SandboxFacts {
        id: "one".to_owned(),
        ..SandboxFacts::default()
    }
}

fn head() -> request::Parts {
    let request = Request::post("https://api.example.com/v1?a=b")
        .header("host", "api.example.com")
        .header("x-odd", HeaderValue::from_bytes(b"caf\xe9").unwrap())
        .header("transfer-encoding", "chunked");
    request.body(()).unwrap().into_parts().0
}

fn boxed<B>(body: B) -> Incoming<Infallible>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    body.boxed_unsync()
}

fn nothing() -> Incoming<Infallible> {
    boxed(Empty::new())
}

fn forward(body: ForwardedBody, response: ResponseTo) -> ForwardHead {
    ForwardHead {
        method: "POST".to_owned(),
        url: "https://api.example.com/v2".to_owned(),
        headers: lines(&[("x-new", "1"), ("content-length", "9"), ("host", "evil")]),
        body,
        length: None,
        response,
    }
}

fn lines(lines: &[(&str, &str)]) -> Headers {
    let lines = lines.iter();
    lines
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

async fn say<T: serde::Serialize>(peer: &mut Connection, kind: Kind, head: &T) {
    peer.write_whole(&encode_head(kind, head).unwrap())
        .await
        .unwrap();
}

async fn asked(peer: &mut Connection) -> RequestHead {
    let frame = peer.next().await.unwrap();
    assert_eq!(frame.kind, Kind::Request);
    decode_head(&frame.payload).unwrap()
}

async fn ask(
    process: &Process,
    body: Incoming<Infallible>,
) -> Result<Decision<Infallible>, HandlerError> {
    process
        .handlers
        .ask(&call(20_000), facts(), head(), body)
        .await
}

fn answer(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
    ResponseHead {
        status,
        headers: lines(headers),
        length: None,
    }
}

fn response() -> response::Parts {
    Response::new(()).into_parts().0
}

#[tokio::test]
async fn a_request_goes_on_changed_and_its_body_is_never_seen() {
    let process = Process::new();
    let serving = async {
        let mut peer = process.accept().await;
        // Both over one connection: what is over is used again.
        for _ in 0..2 {
            let head = asked(&mut peer).await;
            assert_eq!(head.url, "https://api.example.com/v1?a=b");
            assert_eq!(head.headers, lines(&[("x-odd", "café")]));
            assert!(head.body);
            let said = forward(ForwardedBody::Original, ResponseTo::Passthrough);
            say(&mut peer, Kind::Forward, &said).await;
        }
    };
    let asking = async {
        for _ in 0..2 {
            let body = boxed(Full::new(Bytes::from_static(b"whole")));
            let Decision::Forward { head, body, then } = ask(&process, body).await.unwrap() else {
                panic!("not sent on");
            };
            assert_eq!(head.uri, "https://api.example.com/v2");
            let kept: Vec<_> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(kept, ["x-new", "host"]);
            assert_eq!(head.headers["host"], "api.example.com");
            let (ForwardBody::Original(body), Then::Passthrough) = (body, then) else {
                panic!("not past the handler");
            };
            assert_eq!(body.collect().await.unwrap().to_bytes(), "whole");
        }
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn an_answer_streams_no_faster_than_it_is_taken() {
    let process = Process::new();
    let serving = async {
        let mut peer = process.accept().await;
        asked(&mut peer).await;
        let head = answer(201, &[("a", "b"), ("connection", "close")]);
        say(&mut peer, Kind::Answer, &head).await;
        let piece = vec![7; 64 * 1024];
        let (mut credit, mut sent) = (FIRST, 0);
        while sent < 4 * FIRST {
            while credit < piece.len() {
                let frame = peer.next().await.unwrap();
                let given = Credit::decode(&frame.payload).unwrap();
                assert_eq!(given.body, Kind::AnswerBody);
                credit += given.bytes as usize;
            }
            peer.write(Kind::AnswerBody, &piece).await.unwrap();
            credit -= piece.len();
            sent += piece.len();
        }
        say(&mut peer, Kind::AnswerEnd, &lines(&[("x-sum", "1")])).await;
    };
    let asking = async {
        let Decision::Answer(response) = ask(&process, nothing()).await.unwrap() else {
            panic!("no answer");
        };
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers().len(), 1);
        let whole = response.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["x-sum"], "1");
        assert_eq!(whole.to_bytes().len(), 4 * FIRST);
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn bytes_without_credit_break_the_body_off() {
    let process = Process::new();
    let serving = async {
        let mut peer = process.accept().await;
        asked(&mut peer).await;
        say(&mut peer, Kind::Answer, &answer(200, &[])).await;
        peer.write(Kind::AnswerBody, &vec![0; FIRST + 1])
            .await
            .unwrap();
        assert!(peer.next().await.is_err());
    };
    let asking = async {
        let Decision::Answer(response) = ask(&process, nothing()).await.unwrap() else {
            panic!("no answer");
        };
        assert!(response.into_body().collect().await.is_err());
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn bodies_go_both_ways_through_a_handler() {
    let process = Process::new();
    let serving = async {
        let mut peer = process.accept().await;
        asked(&mut peer).await;
        let credit = |body| {
            Credit {
                body,
                bytes: 1 << 20,
            }
            .encode()
        };
        peer.write(Kind::Credit, &credit(Kind::RequestBody))
            .await
            .unwrap();
        assert_eq!(&peer.next().await.unwrap().payload[..], b"up");
        say(
            &mut peer,
            Kind::Forward,
            &forward(ForwardedBody::Stream, ResponseTo::Stream),
        )
        .await;
        peer.write(Kind::ForwardBody, b"UP").await.unwrap();
        assert_eq!(peer.next().await.unwrap().kind, Kind::RequestEnd);
        peer.write(Kind::ForwardEnd, b"").await.unwrap();
        let frame = peer.next().await.unwrap();
        assert_eq!(frame.kind, Kind::Response);
        let said: ResponseHead = decode_head(&frame.payload).unwrap();
        assert_eq!(
            said,
            ResponseHead {
                length: Some(4),
                ..answer(200, &[])
            }
        );
        say(&mut peer, Kind::Answer, &answer(200, &[])).await;
        assert_eq!(&peer.next().await.unwrap().payload[..], b"down");
        peer.write(Kind::AnswerBody, b"DOWN").await.unwrap();
        assert_eq!(peer.next().await.unwrap().kind, Kind::ResponseEnd);
        peer.write(Kind::AnswerEnd, b"").await.unwrap();
    };
    let asking = async {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let sending = async move {
            sender.send_data(Bytes::from_static(b"up")).await.unwrap();
        };
        let (decision, ()) = tokio::join!(ask(&process, boxed(body)), sending);
        let Decision::Forward { body, then, .. } = decision.unwrap() else {
            panic!("not sent on");
        };
        let (ForwardBody::Handler(body), Then::Ask(waiting)) = (body, then) else {
            panic!("past the handler");
        };
        assert_eq!(body.collect().await.unwrap().to_bytes(), "UP");
        let down = boxed(Full::new(Bytes::from_static(b"down")));
        let answer = waiting.respond(response(), down).await.unwrap();
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes(),
            "DOWN"
        );
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn a_handler_hears_that_nothing_came_and_may_fail_itself() {
    let process = Process::new();
    let serving = async {
        let mut peer = process.accept().await;
        asked(&mut peer).await;
        say(
            &mut peer,
            Kind::Forward,
            &forward(ForwardedBody::None, ResponseTo::Stream),
        )
        .await;
        let frame = peer.next().await.unwrap();
        let failure: Failure = decode_head(&frame.payload).unwrap();
        assert_eq!(
            (frame.kind, failure.reason.as_str()),
            (Kind::Failure, "no such name")
        );
        say(&mut peer, Kind::Failure, &failure).await;
    };
    let asking = async {
        let Decision::Forward {
            then: Then::Ask(waiting),
            ..
        } = ask(&process, nothing()).await.unwrap()
        else {
            panic!("not sent on");
        };
        let failed = waiting.fail("no such name".to_owned()).await;
        assert!(matches!(failed, Err(HandlerError::Failed(reason)) if reason == "no such name"));
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn what_a_handler_may_not_say_is_refused() {
    let evil = [
        ("POST", "https://evil.example/", ("a", "b")),
        ("POST", "http://api.example.com/", ("a", "b")),
        ("POST", "https://api.example.com:444/", ("a", "b")),
        ("POST", "https://x@api.example.com/", ("a", "b")),
        ("POST", "/v1", ("a", "b")),
        ("CONNECT", "https://api.example.com/", ("a", "b")),
        ("G T", "https://api.example.com/", ("a", "b")),
        ("GET", "https://api.example.com/", ("a b", "b")),
        ("GET", "https://api.example.com/", ("a", "b\r\nc: d")),
        ("GET", "https://api.example.com/", ("a", "\u{100}")),
    ];
    for response in [ResponseTo::Passthrough, ResponseTo::Stream] {
        for (method, url, line) in evil {
            let process = Process::new();
            let serving = async {
                let mut peer = process.accept().await;
                asked(&mut peer).await;
                let said = ForwardHead {
                    method: method.to_owned(),
                    url: url.to_owned(),
                    headers: lines(&[line]),
                    ..forward(ForwardedBody::Original, response)
                };
                say(&mut peer, Kind::Forward, &said).await;
                assert!(peer.next().await.is_err());
            };
            let (refused, ()) = tokio::join!(ask(&process, nothing()), serving);
            assert!(
                matches!(refused, Err(HandlerError::Refused(_))),
                "{method} {url} {line:?}"
            );
        }
    }
    for (status, kind) in [
        (101, Kind::Answer),
        (99, Kind::Answer),
        (600, Kind::Answer),
        (200, Kind::Response),
    ] {
        let process = Process::new();
        let serving = async {
            let mut peer = process.accept().await;
            asked(&mut peer).await;
            say(&mut peer, kind, &answer(status, &[])).await;
            assert!(peer.next().await.is_err());
        };
        let (refused, ()) = tokio::join!(ask(&process, nothing()), serving);
        assert!(refused.is_err(), "{status}");
    }
}

#[tokio::test]
async fn silence_and_absence_fail() {
    let process = Process::new();
    let hasty = call(50);
    let asking = process.handlers.ask(&hasty, facts(), head(), nothing());
    let serving = async {
        let mut peer = process.accept().await;
        asked(&mut peer).await;
        // The handler notices.
        assert!(peer.next().await.is_err());
    };
    let (late, ()) = tokio::join!(asking, serving);
    assert!(matches!(late, Err(HandlerError::Late)));
    let none = Handlers::new(None)
        .ask(&call(50), facts(), head(), nothing())
        .await;
    assert!(matches!(none, Err(HandlerError::NotConfigured)));
    let path = tempfile::tempdir().unwrap().path().join("none.sock");
    let gone = Handlers::new(Some(path))
        .ask(&call(50), facts(), head(), nothing())
        .await;
    assert!(matches!(gone, Err(HandlerError::Lost(_))));
}

#[tokio::test]
async fn a_process_that_was_restarted_is_asked_over_a_new_connection() {
    let process = Process::new();
    for _ in 0..2 {
        let serving = async {
            let mut peer = process.accept().await;
            asked(&mut peer).await;
            say(
                &mut peer,
                Kind::Forward,
                &forward(ForwardedBody::None, ResponseTo::Passthrough),
            )
            .await;
        };
        let (decision, ()) = tokio::join!(ask(&process, nothing()), serving);
        assert!(decision.is_ok());
    }
}

#[tokio::test]
async fn an_exchange_ends_where_nobody_wants_it() {
    let process = Process::new();
    let serving = async {
        let mut peer = process.accept().await;
        asked(&mut peer).await;
        say(&mut peer, Kind::Answer, &answer(200, &[])).await;
        assert!(peer.next().await.is_err());
        let mut peer = process.accept().await;
        asked(&mut peer).await;
        say(
            &mut peer,
            Kind::Forward,
            &forward(ForwardedBody::Original, ResponseTo::Stream),
        )
        .await;
        assert!(peer.next().await.is_err());
        let mut peer = process.accept().await;
        asked(&mut peer).await;
        peer.write(
            Kind::Credit,
            &Credit {
                body: Kind::RequestBody,
                bytes: 1,
            }
            .encode(),
        )
        .await
        .unwrap();
        peer.next().await.unwrap();
        assert!(peer.next().await.is_err());
    };
    let asking = async {
        drop(ask(&process, nothing()).await.unwrap());
        drop(ask(&process, nothing()).await.unwrap());
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        sender.send_data(Bytes::from_static(b"12")).await.unwrap();
        tokio::select! {
            _ = ask(&process, boxed(body)) => panic!("an answer"),
            () = async { while sender.send_data(Bytes::new()).await.is_ok() { tokio::task::yield_now().await; } } => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    };
    tokio::join!(serving, asking);
    assert!(process.handlers.lock_running().is_empty());
}

#[tokio::test]
async fn no_sandbox_takes_all_turns() {
    let process = Process::new();
    let mut held = Vec::new();
    for _ in 0..MAX_OF_ONE {
        held.push(process.handlers.begin("one").unwrap());
    }
    assert!(matches!(
        process.handlers.begin("one"),
        Err(HandlerError::TooMany)
    ));
    let other = process.handlers.begin("two");
    assert!(other.is_ok());
    drop((held, other));
    assert!(process.handlers.lock_running().is_empty());
}
