//! Bodies between edge and handlers' process, each no faster than it is taken at its other end.

use super::body::Part;
use super::{heads, HandlerError, Incoming};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::sync::mpsc::UnboundedSender;
use wardian_wire::egress::handler_frame::{decode_trailers, FIRST_CREDIT};

/// The largest piece of a body in one frame, in bytes.
const PIECE: usize = 64 * 1024;
/// Credit is given again in portions of at least this.
const PORTION: usize = 64 * 1024;
pub(super) const FIRST: usize = FIRST_CREDIT as usize;

/// A body on its way to the handler.
pub(super) struct Source<E> {
    pub(super) body: Option<Incoming<E>>,
    rest: Bytes,
    pub(super) credit: usize,
}

/// A body on its way from the handler.
pub(super) struct Sink {
    pub(super) parts: UnboundedSender<Part>,
    pub(super) credit: usize,
    pub(super) taken: usize,
    pub(super) ended: bool,
}

impl<E: std::fmt::Display> Source<E> {
    pub(super) fn new(body: Option<Incoming<E>>, credit: usize) -> Self {
        let rest = Bytes::new();
        Self { body, rest, credit }
    }

    /// Whether the handler has been sent anything of it, or asked for it.
    pub(super) fn begun(&self) -> bool {
        !self.rest.is_empty()
    }

    pub(super) fn may_send(&self) -> bool {
        self.body.is_some() && self.credit > 0
    }

    /// The next piece, trailers or the end, whichever of them is the last ends the body. Nothing is
    /// lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Result<Bytes, HeaderMap>>, String> {
        while self.rest.is_empty() {
            let Some(body) = self.body.as_mut() else {
                return Ok(None);
            };
            let Some(frame) = body.frame().await else {
                self.body = None;
                return Ok(None);
            };
            match frame.map_err(|error| error.to_string())?.into_data() {
                Ok(bytes) => self.rest = bytes,
                Err(other) => {
                    self.body = None;
                    return Ok(other.into_trailers().ok().map(Err));
                }
            }
        }
        let count = self.rest.len().min(self.credit).min(PIECE);
        self.credit -= count;
        Ok(Some(Ok(self.rest.split_to(count))))
    }
}

impl Sink {
    pub(super) fn data(sink: Option<&mut Self>, bytes: Bytes) -> Result<(), HandlerError> {
        let sink = sink.filter(|sink| !sink.ended);
        let sink = sink.ok_or_else(|| HandlerError::protocol("bytes without a head"))?;
        let credit = sink.credit.checked_sub(bytes.len());
        sink.credit = credit.ok_or_else(|| HandlerError::protocol("bytes without credit"))?;
        // Whoever left has said so.
        let _ = sink.parts.send(Part::Data(bytes));
        Ok(())
    }

    pub(super) fn end(sink: Option<&mut Self>, payload: &[u8]) -> Result<(), HandlerError> {
        let sink = sink.filter(|sink| !sink.ended);
        let sink = sink.ok_or_else(|| HandlerError::protocol("an end without a head"))?;
        let trailers = decode_trailers(payload).map_err(HandlerError::protocol)?;
        let trailers = heads::headers(&trailers)?;
        sink.ended = true;
        let trailers = Some(trailers).filter(|lines| !lines.is_empty());
        let _ = sink.parts.send(Part::End(trailers));
        Ok(())
    }

    /// Counts what was taken; returns the credit to give, once it is worth a frame.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        self.taken += count;
        if self.taken < PORTION || self.ended {
            return None;
        }
        let bytes = std::mem::take(&mut self.taken);
        self.credit += bytes;
        u32::try_from(bytes).ok()
    }
}
