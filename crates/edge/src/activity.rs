//! What a client's connection is at: whether it is taking too long, or is left over.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// How long a client may take over the head of a request, and over its first byte.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long a connection may rest between requests.
const IDLE_TIME: Duration = Duration::from_secs(640);

/// What one client connection is at.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    in_flight: usize,
    served: bool,
    /// When the last request ended.
    rest_since: Instant,
    /// When the first byte after that came.
    head_since: Option<Instant>,
    /// The sandboxes that requests in flight are for.
    cuts: Vec<CancellationToken>,
}

/// One request in flight on a connection.
pub(crate) struct InFlight(Arc<Guard>);

struct Guard(Activity);

/// Why a connection is closed without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    Head,
    Idle,
    /// The sandbox is gone and the client does not take what would tell it so.
    Cut,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            in_flight: 0,
            served: false,
            rest_since: Instant::now(),
            head_since: None,
            cuts: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has arrived.
    pub(crate) fn begin(&self) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        state.served = true;
        state.head_since = None;
        drop(state);
        InFlight(Arc::new(Guard(self.clone())))
    }

    /// The request in flight is for the sandbox of this token.
    pub(crate) fn belongs_to(&self, cut: &CancellationToken) {
        self.state().cuts.push(cut.clone());
    }

    /// What speaks against leaving the connection open at `now`.
    pub(crate) fn overdue(&self, now: Instant, multiplexed: bool) -> Option<Overdue> {
        let state = self.state();
        if state.in_flight > 0 {
            let cut = !multiplexed && state.cuts.iter().any(CancellationToken::is_cancelled);
            return cut.then_some(Overdue::Cut);
        }
        let rest = now.saturating_duration_since(state.rest_since);
        let head = state
            .head_since
            .map(|since| now.saturating_duration_since(since));
        let late_head = !multiplexed && head.is_some_and(|taken| taken > HEAD_TIME);
        if late_head || (!state.served && rest > HEAD_TIME) {
            return Some(Overdue::Head);
        }
        (rest > IDLE_TIME).then_some(Overdue::Idle)
    }

    fn bytes_came(&self) {
        let mut state = self.state();
        if state.in_flight == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }
}

impl InFlight {
    /// The request lasts until this and all its shares are dropped.
    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InFlight({})", Arc::strong_count(&self.0))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        if state.in_flight == 0 {
            state.rest_since = Instant::now();
            state.cuts.clear();
        }
    }
}

/// A client's stream that notes when bytes come.
#[derive(Debug)]
pub(crate) struct Noted<S> {
    stream: S,
    activity: Activity,
}

impl<S> Noted<S> {
    pub(crate) fn new(stream: S, activity: Activity) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.bytes_came();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_its_time_and_a_rest_has_another() {
        let activity = Activity::new();
        let now = Instant::now();
        assert_eq!(activity.overdue(now, false), None);
        assert_eq!(
            activity.overdue(now + HEAD_TIME * 2, false),
            Some(Overdue::Head)
        );
        let flight = activity.begin();
        assert_eq!(activity.overdue(now + IDLE_TIME * 9, false), None);
        drop(flight);
        assert_eq!(activity.overdue(now + HEAD_TIME * 2, false), None);
        assert_eq!(
            activity.overdue(now + IDLE_TIME * 2, false),
            Some(Overdue::Idle)
        );
        activity.bytes_came();
        assert_eq!(
            activity.overdue(now + HEAD_TIME * 2, false),
            Some(Overdue::Head)
        );
        assert_eq!(activity.overdue(now + HEAD_TIME * 2, true), None);
    }

    #[test]
    fn a_request_for_a_sandbox_that_is_gone_is_overdue() {
        let activity = Activity::new();
        let cut = CancellationToken::new();
        let flight = activity.begin();
        activity.belongs_to(&cut);
        cut.cancel();
        assert_eq!(activity.overdue(Instant::now(), false), Some(Overdue::Cut));
        drop(flight);
        assert_eq!(activity.overdue(Instant::now(), false), None);
    }
}
