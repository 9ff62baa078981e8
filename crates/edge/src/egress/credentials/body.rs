//! Bodies of requests as they go on: as they came, with chunks signed anew, or held to be hashed.

use super::sigv4::chunks::Resigner;
use super::CredentialError;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The largest body that is held, in bytes: what AWS's services take of one request, but S3.
pub(super) const MAX_HELD: usize = 16 * 1024 * 1024;
/// What all bodies of one policy held at once may have together, in bytes.
pub(super) const MAX_HELD_AT_ONCE: usize = 2 * MAX_HELD;
/// The same of all sandboxes of the node.
const MAX_HELD_OF_ALL: usize = 16 * MAX_HELD_AT_ONCE;
/// How long the next piece of a body that is held may take, and how long all of it.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_IN_ALL: Duration = Duration::from_secs(120);

static ROOM_OF_ALL: Semaphore = Semaphore::const_new(MAX_HELD_OF_ALL);

/// Why a body broke off.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body as it goes on.
pub(crate) enum Outgoing<B> {
    AsItCame(B),
    /// With every chunk signed anew.
    Chunks {
        body: B,
        resigner: Box<Resigner>,
        ended: bool,
    },
    /// Read whole before, since its hash had to be signed.
    Held(Held),
}

/// A body that was read whole.
#[derive(Debug)]
pub(crate) struct Held {
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    room: Option<Room>,
}

/// What a body that is held takes of the sandbox's share, and of the node's.
#[derive(Debug)]
struct Room {
    own: OwnedSemaphorePermit,
    of_all: SemaphorePermit<'static>,
}

impl Room {
    fn take(share: &Arc<Semaphore>, all: &'static Semaphore, length: usize) -> Option<Self> {
        let size = u32::try_from(length).ok()?;
        Some(Self {
            own: Arc::clone(share).try_acquire_many_owned(size).ok()?,
            of_all: all.try_acquire_many(size).ok()?,
        })
    }

    fn merge(&mut self, more: Self) {
        self.own.merge(more.own);
        self.of_all.merge(more.of_all);
    }
}

/// Reads a body whole, with its hash.
///
/// # Errors
/// It is larger than 16 MiB, does not come, or too many others are held.
pub(super) async fn hold<B>(
    body: B,
    share: &Arc<Semaphore>,
) -> Result<(Held, Sha256), CredentialError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let held = timeout(PATIENCE_IN_ALL, read(body, share)).await;
    held.unwrap_or(Err(CredentialError::Held("it comes too slowly")))
}

async fn read<B>(mut body: B, share: &Arc<Semaphore>) -> Result<(Held, Sha256), CredentialError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut held = Held {
        pieces: VecDeque::new(),
        trailers: None,
        room: None,
    };
    loop {
        let next = timeout(PATIENCE, body.frame()).await;
        let Some(frame) = next.map_err(|_| CredentialError::Held("it does not come"))? else {
            return Ok((held, hash));
        };
        let frame = frame.map_err(|_| CredentialError::Held("it broke off"))?;
        match frame.into_data() {
            Ok(piece) => {
                length += piece.len();
                if length > MAX_HELD {
                    return Err(CredentialError::Held(
                        "it has more than 16 MiB; let the client send x-amz-content-sha256",
                    ));
                }
                let room = Room::take(share, &ROOM_OF_ALL, piece.len()).ok_or(
                    CredentialError::Held("too many others are being read already"),
                )?;
                match &mut held.room {
                    Some(first) => first.merge(room),
                    None => held.room = Some(room),
                }
                hash.update(&piece);
                held.pieces.push_back(piece);
            }
            Err(frame) => held.trailers = frame.into_trailers().ok(),
        }
    }
}

impl<B> Body for Outgoing<B>
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
        let (body, resigner, ended) = match self.get_mut() {
            Self::AsItCame(body) => {
                return Pin::new(body).poll_frame(context).map_err(Into::into);
            }
            Self::Held(held) => return Poll::Ready(held.next().map(Ok)),
            Self::Chunks { ended: true, .. } => return Poll::Ready(None),
            Self::Chunks {
                body,
                resigner,
                ended,
            } => (body, resigner, ended),
        };
        loop {
            let frame = match ready!(Pin::new(&mut *body).poll_frame(context)) {
                Some(frame) => frame.map_err(Into::into),
                None => {
                    *ended = true;
                    return Poll::Ready(resigner.finish().err().map(|error| Err(error.into())));
                }
            };
            let signed = frame.and_then(|frame| match frame.into_data() {
                Ok(data) => resigner.push(&data).map(Frame::data).map_err(Into::into),
                Err(other) => Ok(other),
            });
            match signed {
                Ok(frame) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                Ok(frame) => return Poll::Ready(Some(Ok(frame))),
                Err(error) => {
                    *ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::AsItCame(body) => body.is_end_stream(),
            // Only the end itself tells whether the last chunk was there.
            Self::Chunks { ended, .. } => *ended,
            Self::Held(held) => held.pieces.is_empty() && held.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::AsItCame(body) => body.size_hint(),
            Self::Chunks { body, resigner, .. } => longer(&body.size_hint(), resigner.waiting()),
            Self::Held(held) => {
                let left: usize = held.pieces.iter().map(Bytes::len).sum();
                SizeHint::with_exact(left as u64)
            }
        }
    }
}

impl Held {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.pieces.pop_front().map(Frame::data);
        data.or_else(|| self.trailers.take().map(Frame::trailers))
    }
}

/// A hint for what is still to come and what has come and waits.
pub(super) fn longer(hint: &SizeHint, waiting: usize) -> SizeHint {
    let waiting = waiting as u64;
    let mut sum = SizeHint::new();
    sum.set_lower(hint.lower().saturating_add(waiting));
    if let Some(upper) = hint.upper() {
        sum.set_upper(upper.saturating_add(waiting));
    }
    sum
}

impl<B> std::fmt::Debug for Outgoing<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AsItCame(_) => "AsItCame",
            Self::Chunks { .. } => "Chunks",
            Self::Held(_) => "Held",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_share_what_the_node_has_room_for() {
        let all = Box::leak(Box::new(Semaphore::new(3 * MAX_HELD)));
        let share = || Arc::new(Semaphore::new(MAX_HELD_AT_ONCE));
        let (first, second) = (share(), share());
        let held = Room::take(&first, all, MAX_HELD_AT_ONCE).unwrap();
        let mut more = Room::take(&second, all, 1).unwrap();
        more.merge(Room::take(&second, all, MAX_HELD - 1).unwrap());
        assert!(Room::take(&second, all, 1).is_none());
        // What was refused has taken nothing of the sandbox's own either.
        assert_eq!(second.available_permits(), MAX_HELD_AT_ONCE - MAX_HELD);
        drop(held);
        assert!(Room::take(&second, all, MAX_HELD).is_some());
    }
}
