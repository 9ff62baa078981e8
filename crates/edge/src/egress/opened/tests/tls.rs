//! Whom the edge takes for whom.

use super::world::{listener, policy, rule, serve_tls, text, whole, World, NAME};
use crate::egress::opened::authority::tests::pem;
use http::{Request, Response};
use rcgen::{date_time_ymd, CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use wardian_wire::egress::event::{Reason, Verdict};

/// A certificate that nobody else has signed, valid in these years.
fn self_signed(from: i32, until: i32) -> CertifiedKey {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(private).unwrap();
    CertifiedKey::new(vec![certificate.der().clone()], Arc::clone(&key))
}

async fn refused_for(
    world: &World,
    listener: tokio::net::TcpListener,
    key: CertifiedKey,
) -> String {
    serve_tls(listener, key, &["http/1.1"], |_| async {
        Response::new(text("reached"))
    });
    let mut client = world.http1().await;
    let request = Request::get("/")
        .header("host", NAME)
        .body(text(""))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.headers()["wardian-egress"], "failed");
    let said = whole(answer).await;
    let event = world.events(1).await.remove(0);
    assert_eq!(
        (event.verdict, event.reason),
        (Verdict::Failed, Some(Reason::Certificate))
    );
    assert_eq!(event.status, Some(502));
    said
}

#[tokio::test]
async fn a_certificate_that_is_not_the_servers_is_refused() {
    let (listener_, address) = listener().await;
    let world = World::to(address);
    let said = refused_for(&world, listener_, world.certificate("other.example.com")).await;
    assert!(said.contains("another name"), "{said}");
    let (listener_, address) = listener().await;
    let world = World::to(address);
    let said = refused_for(&world, listener_, self_signed(2020, 2090)).await;
    assert!(
        said.contains("signed") || said.contains("certificate"),
        "{said}"
    );
}

#[tokio::test]
async fn one_that_has_expired_is_refused_though_it_is_trusted() {
    let key = self_signed(2000, 2001);
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64(&key.cert[0])
    );
    let (listener_, address) = listener().await;
    let world = World::trusting(policy(vec![rule("all", Some(address))]), |_| pem);
    let said = refused_for(&world, listener_, key).await;
    assert!(said.contains("expired"), "{said}");
}

#[tokio::test]
async fn without_anybody_to_trust_nobody_is_trusted() {
    let (listener_, address) = listener().await;
    let world = World::trusting(policy(vec![rule("all", Some(address))]), |_| String::new());
    refused_for(&world, listener_, world.certificate(NAME)).await;
}

#[tokio::test]
async fn the_sandboxs_authority_is_nothing_to_the_edge() {
    let (listener_, address) = listener().await;
    let world = World::trusting(policy(vec![rule("all", Some(address))]), |_| pem().0);
    refused_for(&world, listener_, world.certificate(NAME)).await;
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at > three.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    text
}
