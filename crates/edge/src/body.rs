//! Bodies on their way through: nothing is held back, and each end of the way is noticed.

use crate::activity::InFlight;
use crate::pool::Lease;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// What is read, and for how long, of a body that nobody wants any more. A caller that is still
/// sending would otherwise meet a reset connection in place of the answer.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the sandbox is gone")]
    Cut,
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

/// The caller's body, on its way in.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    /// Set once all of it has gone through.
    complete: Arc<AtomicBool>,
    flight: Option<InFlight>,
}

impl RequestBody {
    /// Wraps the caller's body; `flight` lasts until it is through.
    pub(crate) fn new(incoming: Incoming, flight: InFlight) -> Self {
        let complete = Arc::new(AtomicBool::new(incoming.is_end_stream()));
        Self {
            incoming: Some(incoming),
            complete,
            flight: Some(flight),
        }
    }

    /// A body of nothing.
    pub(crate) fn empty() -> Self {
        Self {
            incoming: None,
            complete: Arc::new(AtomicBool::new(true)),
            flight: None,
        }
    }

    /// A flag that is set once the whole body has gone through.
    pub(crate) fn completion(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.complete)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = self.incoming.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(context));
        if frame.is_none() || incoming.is_end_stream() {
            self.complete.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let unread = self
            .incoming
            .take()
            .filter(|_| !self.complete.load(Ordering::Acquire));
        let (Some(incoming), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) else {
            return;
        };
        let flight = self.flight.take();
        runtime.spawn(async move {
            // Out of time or not, there is nothing left to do with the rest.
            let _ = tokio::time::timeout(DRAIN_TIME, drain(incoming)).await;
            drop(flight);
        });
    }
}

async fn drain(mut body: Incoming) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > DRAIN_BYTES {
            return;
        }
    }
}

/// An answer's body, on its way out.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// The edge's own words.
    Own {
        body: Full<Bytes>,
        _flight: Option<InFlight>,
    },
    Passed(Box<Passed>),
}

/// A body that comes from a sandbox or the control plane.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) incoming: Incoming,
    pub(crate) ended: bool,
    pub(crate) lease: Option<Lease>,
    pub(crate) request_complete: Arc<AtomicBool>,
    /// Ends the body at once; `None` for the control plane.
    pub(crate) cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    pub(crate) _flight: InFlight,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own { body, .. } => Pin::new(body)
                .poll_frame(context)
                .map_err(|never| match never {}),
            Self::Passed(passed) => passed.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { body, .. } => body.is_end_stream(),
            Self::Passed(passed) => passed.ended || passed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { body, .. } => body.size_hint(),
            Self::Passed(passed) => passed.incoming.size_hint(),
        }
    }
}

impl Passed {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Asked first: when the connection behind it is torn down, a body of unknown length
        // looks as if it had ended well.
        let cut = self.cut.as_mut().map(|cut| cut.as_mut().poll(context));
        if matches!(cut, Some(Poll::Ready(()))) {
            self.cut = None;
            self.ended = false;
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(context));
        self.ended = frame.is_none();
        Poll::Ready(frame.map(|result| result.map_err(BodyError::from)))
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        if !self.ended && !self.incoming.is_end_stream() {
            drop(lease);
        } else if self.request_complete.load(Ordering::Acquire) {
            lease.give_back();
        } else {
            lease.let_go();
        }
    }
}
