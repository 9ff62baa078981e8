//! What a byte and a request cost on their way through. Prints numbers and asserts memory only;
//! run it on a release build: `cargo test --release -p wardian-edge --test throughput -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::time::Instant;
use support::client::{empty, http1, whole};
use support::{host, isolated, sandbox, World, ONE};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const BYTES: usize = 1 << 30;
const REQUESTS: usize = 5000;

async fn upload(address: SocketAddr) -> f64 {
    static PIECE: [u8; 256 * 1024] = [1; 256 * 1024];
    let (sender, receiver) = mpsc::channel::<Bytes>(4);
    tokio::spawn(async move {
        for _ in 0..BYTES / PIECE.len() {
            sender.send(Bytes::from_static(&PIECE)).await.unwrap();
        }
    });
    let request = Request::post("/count")
        .header("host", host(ONE, 8000))
        .header("content-length", BYTES);
    let request = request.body(sandbox::stream(receiver)).unwrap();
    let mut client = http1(TcpStream::connect(address).await.unwrap()).await;
    let start = Instant::now();
    let count = whole(client.send_request(request).await.unwrap()).await;
    assert_eq!(count, BYTES.to_string());
    BYTES as f64 / start.elapsed().as_secs_f64() / 1e6
}

async fn download(address: SocketAddr) -> f64 {
    let request = Request::get(format!("/zeros?{BYTES}")).header("host", host(ONE, 8000));
    let mut client = http1(TcpStream::connect(address).await.unwrap()).await;
    let start = Instant::now();
    let response = client
        .send_request(request.body(empty()).unwrap())
        .await
        .unwrap();
    let (mut body, mut total) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        total += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(total, BYTES);
    BYTES as f64 / start.elapsed().as_secs_f64() / 1e6
}

/// Microseconds for a small request: median and 99th percentile.
async fn small(address: SocketAddr) -> (f64, f64) {
    let mut client = http1(TcpStream::connect(address).await.unwrap()).await;
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let request = Request::get("/")
            .header("host", host(ONE, 8000))
            .body(empty())
            .unwrap();
        let start = Instant::now();
        client.ready().await.unwrap();
        whole(client.send_request(request).await.unwrap()).await;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    (times[REQUESTS / 2], times[REQUESTS * 99 / 100])
}

#[test]
#[ignore = "a measurement; takes some seconds and says nothing on a debug build"]
fn bytes_and_requests() {
    // The server has a thread of its own, as an agent would.
    isolated(|| async {
        let world = World::start().await;
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        std::thread::spawn(move || {
            use std::os::fd::AsFd;
            rustix::thread::move_into_link_name_space(namespace.as_fd(), None).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let _server = sandbox::on_port(8000).await;
                std::future::pending::<()>().await;
            });
        });
        let direct: SocketAddr = "10.0.0.2:8000".parse().unwrap();
        while TcpStream::connect(direct).await.is_err() {
            tokio::task::yield_now().await;
        }
        let idle = world.memory().0;
        for round in 0..3 {
            for (name, address) in [("direct", direct), ("edge", world.address)] {
                let (median, tail) = small(address).await;
                let (up, down) = (upload(address).await, download(address).await);
                println!("{round} {name}: up {up:.0} MB/s, down {down:.0} MB/s, small request median {median:.0} us, p99 {tail:.0} us");
            }
        }
        let (after, peak) = world.memory();
        println!("edge memory: idle {idle} KiB, after {after} KiB, peak {peak} KiB");
        assert!(
            peak < idle + 32 * 1024,
            "memory grew by {} KiB",
            peak - idle
        );
    });
}
