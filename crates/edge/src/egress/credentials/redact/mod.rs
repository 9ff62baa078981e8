//! Answers in which the secrets of their requests are masked.
//!
//! Masking keeps a value from being read by accident: in an error page, an echo, a log. An
//! upstream that wants to hand a secret back can always write it in a way that nobody knows.

mod forms;
mod mask;

use super::{body, BoxError, CredentialError};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{request, response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use mask::{Masker, Masking};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use wardian_wire::egress::policy::{Allow, Placeholder};

/// The secrets of one rule, as they may stand in answers.
#[derive(Clone)]
pub(crate) struct Redaction {
    masker: Arc<Masker>,
}

impl Redaction {
    /// `None` if the rule does not want it.
    ///
    /// # Errors
    /// The values are too large to search for.
    pub(super) fn new(
        allow: &Allow,
        placeholders: &[Placeholder],
    ) -> Result<Option<Self>, CredentialError> {
        if !allow.redact {
            return Ok(None);
        }
        let forms = forms::all(allow, placeholders);
        let masker = Masker::new(&forms).ok_or(CredentialError::TooLarge)?;
        Ok(Some(Self {
            masker: Arc::new(masker),
        }))
    }

    /// Asks for an answer that can be masked: not encoded, and whole, since the parts of two
    /// answers could each hold half a secret. A server need not honour a range, so clients take
    /// the whole.
    pub(super) fn ask(&self, head: &mut request::Parts) {
        let identity = HeaderValue::from_static("identity");
        head.headers.insert(header::ACCEPT_ENCODING, identity);
        head.headers.remove(header::RANGE);
        head.headers.remove(header::IF_RANGE);
    }

    /// Masks an answer's header lines.
    ///
    /// # Errors
    /// The answer is encoded or a part all the same; it must not be passed on.
    pub(crate) fn head(&self, head: &mut response::Parts) -> Result<(), CredentialError> {
        let codings = head.headers.get_all(header::CONTENT_ENCODING);
        let identity = |value: &HeaderValue| {
            let mut all = value.as_bytes().split(|byte| *byte == b',');
            all.all(|coding| {
                let coding = coding.trim_ascii();
                coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
            })
        };
        if !codings.iter().all(identity) {
            return Err(CredentialError::Encoded);
        }
        if head.status == StatusCode::PARTIAL_CONTENT {
            return Err(CredentialError::Partial);
        }
        head.extensions.remove::<ReasonPhrase>();
        self.headers(&mut head.headers);
        Ok(())
    }

    /// Masks an answer's body and trailers.
    pub(crate) fn body<B>(&self, body: B) -> Redacted<B> {
        Redacted {
            body,
            masking: Masking::new(Arc::clone(&self.masker)),
            redaction: self.clone(),
            trailers: None,
            ended: false,
        }
    }

    fn headers(&self, headers: &mut HeaderMap) {
        // A name can't be masked: what would be left might mean something else.
        let names: Vec<HeaderName> = headers.keys().cloned().collect();
        for name in names {
            if self.masker.whole(name.as_str().as_bytes()).is_some() {
                headers.remove(name);
            }
        }
        for value in headers.values_mut() {
            if let Some(masked) = self.masker.whole(value.as_bytes()) {
                let masked = HeaderValue::from_bytes(&masked);
                *value = masked.unwrap_or_else(|_| HeaderValue::from_static(""));
            }
        }
    }
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redaction")
    }
}

/// A body in which secrets are masked. It holds back only what may be the beginning of one.
pub(crate) struct Redacted<B> {
    body: B,
    masking: Masking,
    redaction: Redaction,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<B> Body for Redacted<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                let trailers = this.trailers.take().map(Frame::trailers);
                return Poll::Ready(trailers.map(Ok));
            }
            let masked = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => this.end(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.masking.push(data),
                    Err(frame) => this.end(frame.into_trailers().ok()),
                },
            };
            if !masked.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(masked))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.ended || self.body.is_end_stream();
        ended && self.masking.held() == 0 && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        body::longer(&self.body.size_hint(), self.masking.held())
    }
}

impl<B> Redacted<B> {
    fn end(&mut self, trailers: Option<HeaderMap>) -> Bytes {
        self.ended = true;
        self.trailers = trailers;
        if let Some(trailers) = &mut self.trailers {
            self.redaction.headers(trailers);
        }
        self.masking.end()
    }
}

impl<B> std::fmt::Debug for Redacted<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redacted")
            .field("held", &self.masking.held())
            .finish_non_exhaustive()
    }
}
