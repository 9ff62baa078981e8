//! HTTP/2 in the clear, and TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use support::client::{empty, full, http1, http2, whole};
use support::{host, isolated, sandbox, World, ONE};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

#[test]
fn http2_in_the_clear_carries_many_at_once() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let mut sender = http2(TcpStream::connect(world.address).await.unwrap()).await;
        let address = format!("http://{}", host(ONE, 8000));
        let hanging = Request::get(format!("{address}/hang"))
            .body(empty())
            .unwrap();
        let _hanging = sender.send_request(hanging);
        let request = Request::get(format!("{address}/head"))
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let response = sender
            .send_request(request.body(empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let head = whole(response).await;
        assert!(head.contains("cookie: a=1; b=2\n"), "{head}");
        assert!(
            head.contains(&format!("host: {}\n", host(ONE, 8000))),
            "{head}"
        );
        let body = full(vec![0; 5_000_000]);
        let request = Request::post(format!("{address}/count"))
            .body(body)
            .unwrap();
        assert_eq!(
            whole(sender.send_request(request).await.unwrap()).await,
            "5000000"
        );
        let request = Request::get(format!("{address}/zeros?9000000"))
            .body(empty())
            .unwrap();
        let body = sender.send_request(request).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 9_000_000);
        let request = Request::get(format!("{address}/")).header("host", "localhost");
        let response = sender
            .send_request(request.body(empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 400);
    });
}

#[test]
fn http2_carries_trailers() {
    isolated(|| async {
        let world = World::start().await;
        let _server = sandbox::on_port(8000).await;
        let mut sender = http2(TcpStream::connect(world.address).await.unwrap()).await;
        let address = format!("http://{}", host(ONE, 8000));
        let request = Request::get(format!("{address}/trailers")).header("te", "trailers");
        let response = sender
            .send_request(request.body(empty()).unwrap())
            .await
            .unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "42");
        let mut trailing = HeaderMap::new();
        trailing.insert("x-sum", "7".parse().unwrap());
        let frames = [
            Frame::data(Bytes::from_static(b"abc")),
            Frame::trailers(trailing),
        ];
        let frames = futures_util::stream::iter(frames.map(Ok));
        let body = BodyExt::boxed(StreamBody::new(frames));
        let request = Request::post(format!("{address}/count"))
            .header("trailer", "x-sum")
            .body(body)
            .unwrap();
        assert_eq!(
            whole(sender.send_request(request).await.unwrap()).await,
            "37"
        );
    });
}

fn write_certificate(folder: &std::path::Path) -> rcgen::Certificate {
    let made = rcgen::generate_simple_self_signed(vec![
        format!("*.{}", support::DOMAIN),
        support::DOMAIN.into(),
    ])
    .unwrap();
    std::fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert
}

async fn connect(
    world: &World,
    trusted: &rcgen::Certificate,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from(support::DOMAIN).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[test]
fn tls_offers_both_protocols_and_takes_a_new_certificate() {
    isolated(|| async {
        let folder = tempfile::tempdir().unwrap();
        let first = write_certificate(folder.path());
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (certificate, key) = (path("certificate.pem"), path("key.pem"));
        let world =
            World::start_with(&["--tls-certificate", &certificate, "--tls-key", &key]).await;
        let _server = sandbox::on_port(8000).await;

        let stream = connect(&world, &first, b"http/1.1").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let request = Request::get("/head")
            .header("host", host(ONE, 8000))
            .body(empty())
            .unwrap();
        let head = whole(http1(stream).await.send_request(request).await.unwrap()).await;
        assert!(head.contains("x-forwarded-proto: https\n"), "{head}");

        let stream = connect(&world, &first, b"h2").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let request = Request::post(format!("https://{}/count", host(ONE, 8000)));
        let request = request.body(full(vec![1; 3_000_000])).unwrap();
        let count = whole(http2(stream).await.send_request(request).await.unwrap()).await;
        assert_eq!(count, "3000000");

        std::fs::write(folder.path().join("key.pem"), "nonsense").unwrap();
        world.signal(rustix::process::Signal::HUP);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(
            connect(&world, &first, b"h2").await.is_ok(),
            "the old one stays in use"
        );
        let second = write_certificate(folder.path());
        world.signal(rustix::process::Signal::HUP);
        while connect(&world, &second, b"h2").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(connect(&world, &first, b"h2").await.is_err());
    });
}
