//! Bodies that come from a handler.

use super::HandlerError;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use wardian_wire::egress::handler_frame::Kind;

/// What the exchange hears from those it works for.
pub(super) enum Word<E> {
    /// Bytes of this body have been taken.
    Taken(Kind, usize),
    /// Nobody wants the rest of this body.
    Left(Kind),
    /// What the forwarded request was answered.
    Upstream(http::response::Parts, super::Incoming<E>),
    /// The forwarded request failed, or nobody will say what was answered.
    NoResponse(Option<String>),
}

/// A part of a body on its way from the exchange.
pub(super) enum Part {
    Data(Bytes),
    End(Option<HeaderMap>),
    Failed(HandlerError),
}

/// A body that a handler makes. What is not taken is not asked for.
pub(crate) struct HandlerBody<E> {
    pub(super) parts: UnboundedReceiver<Part>,
    pub(super) words: UnboundedSender<Word<E>>,
    pub(super) kind: Kind,
    /// What is left of the length the handler said.
    pub(super) left: Option<u64>,
    pub(super) ended: bool,
}

impl<E> Body for HandlerBody<E> {
    type Data = Bytes;
    type Error = HandlerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HandlerError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let part = ready!(self.parts.poll_recv(context));
        let frame = match part {
            Some(Part::Data(bytes)) => {
                // The exchange may be over already, and then nothing more is to be asked for.
                let _ = self.words.send(Word::Taken(self.kind, bytes.len()));
                match subtract(self.left, bytes.len()) {
                    Ok(left) => {
                        self.left = left;
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    Err(error) => Some(Err(error)),
                }
            }
            Some(Part::End(_)) if self.left.is_some_and(|left| left > 0) => Some(Err(
                HandlerError::Protocol("a body shorter than was said".to_owned()),
            )),
            Some(Part::End(trailers)) => trailers.map(|lines| Ok(Frame::trailers(lines))),
            Some(Part::Failed(error)) => Some(Err(error)),
            None => Some(Err(HandlerError::Left)),
        };
        self.ended = true;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

fn subtract(left: Option<u64>, count: usize) -> Result<Option<u64>, HandlerError> {
    let Some(left) = left else {
        return Ok(None);
    };
    let rest = u64::try_from(count).ok().and_then(|n| left.checked_sub(n));
    let longer = || HandlerError::Protocol("a body longer than was said".to_owned());
    rest.ok_or_else(longer).map(Some)
}

impl<E> Drop for HandlerBody<E> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.words.send(Word::Left(self.kind));
        }
    }
}

impl<E> std::fmt::Debug for HandlerBody<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandlerBody")
            .field("kind", &self.kind)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
