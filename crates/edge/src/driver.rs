//! Runs the connections behind the edge, so that each is free again once its request is through.
//!
//! hyper's client looks for its next request before it flushes, and trusts that flushing leaves
//! something to wake it. An answer that is all there before the last of its request has been
//! written breaks that: the write that ends it all wakes nobody, and the connection, idle and
//! healthy, never says that it is ready, nor notices that nobody wants it any more.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::InspectWriter;

/// Set when a connection's stream has taken bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<AtomicBool>);

impl Written {
    /// The stream, with its writes noted here.
    pub(crate) fn watch<S>(&self, stream: S) -> impl AsyncRead + AsyncWrite + Unpin + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let written = Arc::clone(&self.0);
        InspectWriter::new(stream, move |_: &[u8]| {
            written.store(true, Ordering::Relaxed);
        })
    }
}

/// A connection that gets another turn after each in which it has written.
#[derive(Debug)]
pub(crate) struct Driver<C> {
    connection: C,
    written: Written,
}

impl<C> Driver<C> {
    /// Drives `connection`, whose stream is watched by `written`.
    pub(crate) fn new(connection: C, written: Written) -> Self {
        Self {
            connection,
            written,
        }
    }
}

impl<C: Future + Unpin> Future for Driver<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        let polled = Pin::new(&mut self.connection).poll(context);
        if polled.is_pending() && self.written.0.swap(false, Ordering::Relaxed) {
            context.waker().wake_by_ref();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt, Full};
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly";

    /// The answer is read whole while most of the request waits to be written.
    #[tokio::test(start_paused = true)]
    async fn a_connection_is_ready_once_the_rest_of_the_request_is_written() {
        let (near, mut far) = tokio::io::duplex(1024);
        let written = Written::default();
        let stream = TokioIo::new(written.watch(near));
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        let driver = tokio::spawn(Driver::new(connection, written));
        let body = Full::new(Bytes::from(vec![0; 100_000]));
        let answered = sender.send_request(Request::post("/").body(body).unwrap());
        let answer = async {
            assert_eq!(far.read_u8().await.unwrap(), b'P');
            far.write_all(ANSWER).await.unwrap();
        };
        let (answered, ()) = tokio::join!(answered, answer);
        let body = answered.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "early");
        let rest = tokio::spawn(async move {
            let mut sink = tokio::io::sink();
            tokio::io::copy(&mut far, &mut sink).await.unwrap()
        });
        let ready = tokio::time::timeout(Duration::from_secs(60), sender.ready()).await;
        ready.expect("the connection never is ready").unwrap();
        drop(sender);
        driver.await.unwrap().unwrap();
        assert!(rest.await.unwrap() > 100_000);
    }
}
