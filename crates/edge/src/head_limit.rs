//! How much a server may send before the head of its answer is whole.
//!
//! hyper bounds one head, but reads any number of interim answers (1xx) before the final one: a
//! server that sends nothing else would keep the edge busy for as long as its caller waits.

use crate::dial::BUFFER;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One whole head and as much again of interim answers, in bytes.
const MAX_BEFORE_ANSWER: usize = 2 * BUFFER;
const UNLIMITED: usize = usize::MAX;

/// What is left of the bytes a connection may bring.
#[derive(Clone, Debug)]
pub(crate) struct HeadLimit(Arc<AtomicUsize>);

impl HeadLimit {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(MAX_BEFORE_ANSWER)))
    }

    /// A request is about to be sent.
    pub(crate) fn set(&self) {
        self.0.store(MAX_BEFORE_ANSWER, Ordering::Release);
    }

    /// Its answer has begun: the body may be as long as it likes.
    pub(crate) fn lift(&self) {
        self.0.store(UNLIMITED, Ordering::Release);
    }

    /// Counts bytes that came; false when they are too many.
    fn take(&self, bytes: usize) -> bool {
        let counted = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| match left {
                UNLIMITED => Some(UNLIMITED),
                left => left.checked_sub(bytes),
            });
        counted.is_ok()
    }
}

/// A connection whose reading fails once it brings more than its [`HeadLimit`] allows.
#[derive(Debug)]
pub(crate) struct Limited<S> {
    stream: S,
    limit: HeadLimit,
}

impl<S> Limited<S> {
    pub(crate) fn new(stream: S, limit: HeadLimit) -> Self {
        Self { stream, limit }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if self.limit.take(buffer.filled().len() - before) {
            return Poll::Ready(Ok(()));
        }
        let message = format!("more than {MAX_BEFORE_ANSWER} bytes before an answer");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn read(limit: &HeadLimit, bytes: usize) -> io::Result<usize> {
        let mut stream = Limited::new(tokio::io::repeat(b'x'), limit.clone());
        let mut buffer = vec![0; bytes];
        stream.read_exact(&mut buffer).await
    }

    #[tokio::test]
    async fn counts_only_until_the_answer() {
        let limit = HeadLimit::new();
        assert!(read(&limit, MAX_BEFORE_ANSWER).await.is_ok());
        assert!(read(&limit, 1).await.is_err());
        limit.lift();
        assert!(read(&limit, 4 * MAX_BEFORE_ANSWER).await.is_ok());
        limit.set();
        assert!(read(&limit, MAX_BEFORE_ANSWER + 1).await.is_err());
    }
}
