//! The bodies of answers.

use super::sse;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, Instant, Sleep};
use wardian_wire::connect::{end_of_stream, Failure};

/// Why a body ends before its time.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BodyError(pub(crate) std::io::Error);

/// A body of any kind the agent sends.
pub(crate) enum ReplyBody {
    Whole(Option<Bytes>),
    Events(EventStream),
    /// Pieces of known total length, or of unknown (`None`).
    Pieces(Pieces, Option<u64>),
    /// Events, with a comment in long silences.
    Beating(Pieces, Keepalive),
}

type Pieces = mpsc::Receiver<Result<Bytes, std::io::Error>>;

impl ReplyBody {
    /// A stream of events.
    pub(crate) fn beating(pieces: Pieces) -> Self {
        let comment = Bytes::from_static(sse::COMMENT);
        Self::Beating(pieces, Keepalive::new(sse::HEARTBEAT, comment))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Events(stream) => stream.poll(context).map(|e| e.map(|b| Ok(Frame::data(b)))),
            Self::Pieces(pieces, _) => pieces
                .poll_recv(context)
                .map(|p| p.map(|r| r.map(Frame::data).map_err(BodyError))),
            Self::Beating(pieces, keepalive) => match pieces.poll_recv(context) {
                Poll::Ready(piece) => {
                    keepalive.reset();
                    Poll::Ready(piece.map(|r| r.map(Frame::data).map_err(BodyError)))
                }
                Poll::Pending => keepalive.poll(context).map(|b| Some(Ok(Frame::data(b)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Pieces(_, Some(length)) => SizeHint::with_exact(*length),
            Self::Pieces(_, None) | Self::Events(_) | Self::Beating(..) => SizeHint::default(),
        }
    }
}

/// Why a stream ended, for its last envelope; shared between who feeds and who reads the stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Rc<RefCell<Option<Failure>>>);

impl Verdict {
    /// The stream will end with this failure.
    pub(crate) fn set(&self, failure: Failure) {
        *self.0.borrow_mut() = Some(failure);
    }

    /// Why the stream ended, once.
    pub(crate) fn take(&self) -> Option<Failure> {
        self.0.borrow_mut().take()
    }
}

/// Says something when the stream would otherwise be silent for long.
pub(crate) struct Keepalive {
    interval: Duration,
    message: Bytes,
    timer: Pin<Box<Sleep>>,
}

impl Keepalive {
    pub(crate) fn new(interval: Duration, message: Bytes) -> Self {
        Self {
            interval,
            message,
            timer: Box::pin(sleep(interval)),
        }
    }

    fn reset(&mut self) {
        self.timer.as_mut().reset(Instant::now() + self.interval);
    }

    /// What to say, once there was silence for long enough.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        if self.timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.reset();
        // Registers the new deadline with the reactor.
        let _ = self.timer.as_mut().poll(context);
        Poll::Ready(self.message.clone())
    }
}

/// A stream of enveloped messages that ends with an end-of-stream envelope in every case.
pub(crate) struct EventStream {
    pub(crate) messages: mpsc::Receiver<Bytes>,
    pub(crate) verdict: Verdict,
    pub(crate) keepalive: Option<Keepalive>,
    /// Until when, and what to say then.
    pub(crate) deadline: Option<(Pin<Box<Sleep>>, Failure)>,
    pub(crate) ended: bool,
}

impl EventStream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.messages.poll_recv(context) {
            Poll::Ready(Some(message)) => {
                if let Some(keepalive) = &mut self.keepalive {
                    keepalive.reset();
                }
                return Poll::Ready(Some(message));
            }
            Poll::Ready(None) => {
                let failure = self.verdict.take();
                return Poll::Ready(Some(self.end(failure.as_ref())));
            }
            Poll::Pending => {}
        }
        if let Some((timer, failure)) = &mut self.deadline {
            if timer.as_mut().poll(context).is_ready() {
                let failure = failure.clone();
                return Poll::Ready(Some(self.end(Some(&failure))));
            }
        }
        if let Some(keepalive) = &mut self.keepalive {
            return keepalive.poll(context).map(Some);
        }
        Poll::Pending
    }

    fn end(&mut self, failure: Option<&Failure>) -> Bytes {
        self.ended = true;
        // Tells who feeds the stream that nobody reads it any more.
        self.messages.close();
        end_of_stream(failure).into()
    }
}
