//! Bodies on their way through: nothing is held back, every byte is counted, and each end of the
//! way is noticed.

use super::account::Account;
use super::upstreams::Lease;
use crate::egress::credentials::BoxError;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;
use wardian_wire::egress::event::Reason;

/// A body of whatever making.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// What is read, and for how long, of a body that nobody wants any more. A sandbox that is still
/// sending would otherwise meet a reset connection in place of the answer.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the sandbox broke off: {0}")]
    Sandbox(hyper::Error),
    #[error("the server broke off: {0}")]
    Upstream(hyper::Error),
    /// What was to be done to it failed.
    #[error("{message}")]
    Failed { reason: Reason, message: String },
}

impl BodyError {
    /// What it was before it went through a body that does not know it, else that one's failure.
    pub(super) fn from_box(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => *own,
            Err(other) => Self::Failed {
                reason: Reason::Credential,
                message: other.to_string(),
            },
        }
    }
}

/// A body that is all there.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body of nothing.
pub(crate) fn empty() -> Body {
    whole(Bytes::new())
}

/// What a sandbox sends.
pub(super) struct FromSandbox {
    incoming: Option<Incoming>,
    account: Arc<Account>,
}

impl FromSandbox {
    pub(super) fn new(incoming: Incoming, account: Arc<Account>) -> Self {
        let incoming = Some(incoming);
        Self { incoming, account }
    }
}

impl HttpBody for FromSandbox {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = self.incoming.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(context));
        match &frame {
            None => self.incoming = None,
            Some(Ok(frame)) => self.account.sent(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Sandbox)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for FromSandbox {
    fn drop(&mut self) {
        let unread = self.incoming.take().filter(|body| !body.is_end_stream());
        let (Some(incoming), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            // Out of time or not, there is nothing left to do with the rest.
            let _ = tokio::time::timeout(DRAIN_TIME, drain(incoming)).await;
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

/// What goes to a server, and whether all of it went.
pub(super) struct ToUpstream {
    body: Body,
    complete: Arc<AtomicBool>,
}

impl ToUpstream {
    pub(super) fn new(body: Body) -> Self {
        let complete = Arc::new(AtomicBool::new(body.is_end_stream()));
        Self { body, complete }
    }

    /// The body, of which nothing was sent.
    pub(super) fn into_inner(self) -> Body {
        self.body
    }

    /// A flag that is set once the whole body has gone through.
    pub(super) fn completion(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.complete)
    }
}

impl HttpBody for ToUpstream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.complete.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a server sends. It holds the connection, and gives it back where both ways are through.
pub(super) struct FromUpstream {
    pub(super) incoming: Incoming,
    pub(super) ended: bool,
    pub(super) lease: Option<Lease>,
    pub(super) request_complete: Arc<AtomicBool>,
}

impl HttpBody for FromUpstream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(context));
        self.ended = frame.is_none();
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Upstream)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for FromUpstream {
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

/// What a sandbox gets: counted, and told of when it breaks off.
pub(super) struct ToSandbox {
    pub(super) body: Body,
    pub(super) account: Arc<Account>,
}

impl HttpBody for ToSandbox {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => self
                .account
                .received(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(BodyError::Failed { reason, .. })) => self.account.failed(*reason),
            Some(Err(BodyError::Upstream(_))) => self.account.failed(Reason::Upstream),
            Some(Err(BodyError::Sandbox(_))) | None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
