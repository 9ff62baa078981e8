//! Servers inside: what a program in a sandbox, or the control plane, might answer.

use bytes::Bytes;
use http::{header, HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{mpsc, Notify};
use tokio::task::{JoinHandle, JoinSet};

pub type Body = BoxBody<Bytes, hyper::Error>;

/// A server that can be stopped with all its connections.
pub struct Server {
    task: JoinHandle<()>,
    /// Connections it has taken.
    pub taken: Arc<AtomicUsize>,
    /// Connections of it that have ended.
    pub ended: Arc<AtomicUsize>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on `port` of the sandbox.
pub async fn on_port(port: u16) -> Server {
    on_address("10.0.0.2", port).await
}

/// Listens on `port` of one address.
pub async fn on_address(address: &str, port: u16) -> Server {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let (taken, ended) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let counters = (Arc::clone(&taken), Arc::clone(&ended));
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            counters.0.fetch_add(1, Ordering::SeqCst);
            connections.spawn(speak(stream, Arc::clone(&counters.1)));
        }
    });
    Server { task, taken, ended }
}

/// A server that answers when it has the head of a request.
pub struct EarlyServer {
    /// Makes it read one body that it has answered.
    pub read_on: Arc<Notify>,
    /// How long each body was that it has read to its end.
    pub read: mpsc::UnboundedReceiver<u64>,
    _tasks: JoinSet<()>,
}

impl EarlyServer {
    /// Listens on `port` of the sandbox.
    pub async fn on_port(port: u16) -> Self {
        let listener = TcpListener::bind(("10.0.0.2", port)).await.unwrap();
        let read_on = Arc::new(Notify::new());
        let (sender, read) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let go = Arc::clone(&read_on);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = BufReader::new(listener.accept().await.unwrap().0);
                connections.spawn(answer_early(stream, Arc::clone(&go), sender.clone()));
            }
        });
        Self {
            read_on,
            read,
            _tasks: tasks,
        }
    }
}

async fn answer_early(
    mut stream: BufReader<TcpStream>,
    read_on: Arc<Notify>,
    read: mpsc::UnboundedSender<u64>,
) {
    loop {
        let mut length = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        if length > 0 {
            // For the edge to take as much of the body as it will.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly";
        stream.write_all(answer).await.unwrap();
        if length > 0 {
            read_on.notified().await;
            let mut body = (&mut stream).take(length);
            let copied = tokio::io::copy(&mut body, &mut tokio::io::sink()).await;
            read.send(copied.unwrap()).unwrap();
        }
    }
}

/// Listens where the control plane would.
pub fn on_socket(path: &Path) -> Server {
    let listener = UnixListener::bind(path).unwrap();
    let (taken, ended) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let counters = (Arc::clone(&taken), Arc::clone(&ended));
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counters.0.fetch_add(1, Ordering::SeqCst);
            connections.spawn(speak(stream, Arc::clone(&counters.1)));
        }
    });
    Server { task, taken, ended }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    ended: Arc<AtomicUsize>,
) {
    let served = hyper::server::conn::http1::Builder::new()
        .max_buf_size(512 * 1024)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .with_upgrades();
    let _ = served.await;
    ended.fetch_add(1, Ordering::SeqCst);
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let response = match request.uri().path() {
        "/internal/visit" | "/internal/address" => known(&request),
        "/cookies" => cookies(),
        "/internal/authorise" => authorise(&request),
        "/echo" | "/v1/files/echo" => Response::new(request.into_body().boxed()),
        "/head" | "/v1/run" => text(describe(&request)),
        "/count" => text(count(request.into_body()).await),
        "/early" | "/v1/files/early" => early(request),
        "/drip" => drip(),
        "/zeros" => zeros(request.uri().query().unwrap().parse().unwrap()),
        "/trailers" => trailers(),
        "/upgrade" | "/v1/terminals/main" => upgrade(&mut request),
        "/v1/files/page" => page(),
        "/hang" => std::future::pending().await,
        _ => text("hello".into()),
    };
    Ok(response)
}

/// Leave for whoever shows the key `open` or a ticket of that name; to others, what was asked.
fn authorise(request: &Request<Incoming>) -> Response<Body> {
    let shown = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    if shown("x-api-key") == Some("open") || shown("wardian-ticket") == Some("open") {
        let sandbox = shown("wardian-sandbox").unwrap();
        return text(format!(r#"{{"sandbox":"{sandbox}","token":"agents"}}"#));
    }
    let mut response = text(describe(request));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Whether the key `e2b_555…` was shown, or the address is that of the sandbox that ended.
fn known(request: &Request<Incoming>) -> Response<Body> {
    let shown = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    let right = format!("e2b_{}", "5".repeat(40));
    let mut response = text("no such thing".into());
    *response.status_mut() = match (shown("x-api-key"), shown("wardian-token")) {
        (Some(key), _) if key == right => StatusCode::NO_CONTENT,
        (_, Some("formertoken")) => StatusCode::NO_CONTENT,
        (None, Some(_)) => StatusCode::NOT_FOUND,
        _ => StatusCode::UNAUTHORIZED,
    };
    response
}

fn cookies() -> Response<Body> {
    let mut response = text(String::new());
    let cookie = "a=b; Domain=box.test; Path=/".parse().unwrap();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// What would rule the address it comes from.
fn page() -> Response<Body> {
    let mut response = text("<script>steal()</script>".into());
    for (name, value) in [
        ("content-type", "text/html"),
        ("set-cookie", "a=b"),
        ("clear-site-data", "*"),
        ("content-security-policy", "default-src *"),
    ] {
        let value = value.parse().unwrap();
        response
            .headers_mut()
            .insert(header::HeaderName::from_static(name), value);
    }
    response
}

pub fn text(text: String) -> Response<Body> {
    Response::new(
        Full::new(Bytes::from(text))
            .map_err(|never| match never {})
            .boxed(),
    )
}

/// Method, target and header lines, one a line, as they came.
fn describe(request: &Request<Incoming>) -> String {
    let mut lines = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        lines += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    lines
}

async fn count(mut body: Incoming) -> String {
    let (mut bytes, mut trailing) = (0, HeaderMap::new());
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return "broken".into();
        };
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if let Ok(trailers) = frame.into_trailers() {
            trailing = trailers;
        }
    }
    let trailer = trailing
        .get("x-sum")
        .map_or("", |value| value.to_str().unwrap());
    format!("{bytes}{trailer}")
}

/// Answers at once and reads on afterwards.
fn early(request: Request<Incoming>) -> Response<Body> {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        sender.send(Bytes::from_static(b"early;")).await.unwrap();
        let total = count(request.into_body()).await;
        sender.send(Bytes::from(total)).await.unwrap();
    });
    Response::new(stream(receiver))
}

/// One event, and then silence for ever.
fn drip() -> Response<Body> {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let _ = sender.send(Bytes::from_static(b"data: 1\n\n")).await;
        sender.closed().await;
    });
    let mut response = Response::new(stream(receiver));
    let kind = "text/event-stream".parse().unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn zeros(total: usize) -> Response<Body> {
    static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];
    let (sender, receiver) = mpsc::channel::<Bytes>(4);
    tokio::spawn(async move {
        let mut left = total;
        while left > 0 {
            let piece = left.min(ZEROS.len());
            if sender
                .send(Bytes::from_static(&ZEROS[..piece]))
                .await
                .is_err()
            {
                return;
            }
            left -= piece;
        }
    });
    let mut response = Response::new(stream(receiver));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, total.into());
    response
}

fn trailers() -> Response<Body> {
    let mut map = HeaderMap::new();
    map.insert("x-sum", "42".parse().unwrap());
    let frames = [
        Frame::data(Bytes::from_static(b"body")),
        Frame::trailers(map),
    ];
    let frames = futures_util::stream::iter(frames.map(Ok));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response
        .headers_mut()
        .insert("trailer", "x-sum".parse().unwrap());
    response
}

/// Changes to a protocol that sends every byte back, and says goodbye when its peer is done.
fn upgrade(request: &mut Request<Incoming>) -> Response<Body> {
    let protocol = request.headers().get(header::UPGRADE).cloned();
    let Some(protocol) = protocol else {
        return text("no upgrade".into());
    };
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.unwrap());
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            stream.write_all(&bytes[..count]).await.unwrap();
        }
        let _ = stream.write_all(b"goodbye").await;
    });
    let mut response = text(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
    headers.insert(header::UPGRADE, protocol);
    response
}

pub fn stream(mut receiver: mpsc::Receiver<Bytes>) -> Body {
    let pieces = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let frames = futures_util::StreamExt::map(pieces, |bytes| Ok(Frame::data(bytes)));
    BodyExt::boxed(StreamBody::new(frames))
}
