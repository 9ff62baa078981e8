//! Clients: one that writes bytes as told, and hyper's for HTTP/1.1 and HTTP/2.

use super::sandbox::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes as they are; gives all that comes back until the edge closes.
pub async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after an answer to a request that was cut short is as good as an end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// GETs over a connection of its own.
pub async fn get(
    address: SocketAddr,
    host: &str,
    path: &str,
    lines: &[(&str, &str)],
) -> (u16, String) {
    let mut request = Request::get(path).header("host", host);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let response = send(address, request.body(empty()).unwrap()).await;
    let status = response.status().as_u16();
    (status, whole(response).await)
}

/// Sends one request over a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Body>) -> Response<Incoming> {
    let mut sender = http1(TcpStream::connect(address).await.unwrap()).await;
    sender.send_request(request).await.unwrap()
}

pub async fn http1<S>(stream: S) -> hyper::client::conn::http1::SendRequest<Body>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(512 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

pub async fn http2<S>(stream: S) -> hyper::client::conn::http2::SendRequest<Body>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn whole(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}
