//! One connection: frames in, frames out.

use super::answer::{answer, Answer};
use super::{Rights, Server};
use crate::channel;
use crate::failure::{failure, invalid};
use crate::kernel::wait_readable;
use crate::sandbox::Registry;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_timeout, Timeout};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wardian_wire::frame::{self, FrameError};
use wardian_wire::launcher::{Event, Failure, FailureCode, Reply, Request, Value};

/// How long the rest of a frame may take, and a reply to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a watcher that hears nothing is looked after.
const WATCHER_CHECK: Duration = Duration::from_millis(500);

/// Why a connection ended before its peer closed it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error(transparent)]
    Kernel(#[from] Errno),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer closed in the middle of a frame")]
    Cut,
}

/// A peer.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Answers requests until the peer closes.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no more use.
    pub(super) fn serve(
        &self,
        server: &Server,
        registry: &Arc<Registry>,
        rights: Rights,
    ) -> Result<(), ConnectionError> {
        for side in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&self.socket, side, Some(PATIENCE))?;
        }
        loop {
            // Between requests a peer may be silent for as long as it likes.
            if !wait_readable(
                self.socket.as_fd(),
                Instant::now() + Duration::from_secs(3600),
            )? {
                continue;
            }
            let mut fds = Vec::new();
            let Some(body) = self.read_frame(&mut fds)? else {
                return Ok(());
            };
            if !server.begin() {
                return Ok(());
            }
            let answered = self.carry_out(&body, fds, registry, rights);
            server.finish();
            if let Some(events) = answered? {
                return self.report(&events);
            }
        }
    }

    fn carry_out(
        &self,
        body: &[u8],
        mut fds: Vec<OwnedFd>,
        registry: &Arc<Registry>,
        rights: Rights,
    ) -> Result<Option<Receiver<Event>>, ConnectionError> {
        let request = frame::decode::<Request>(body).map_err(|e| invalid(e.to_string()));
        let answered = request
            .and_then(|request| allowed(request, rights))
            .and_then(|request| {
                let wanted = usize::from(matches!(request, Request::ImportLayer { .. }));
                if fds.len() != wanted {
                    let message = format!("{} descriptors came, not {wanted}", fds.len());
                    return Err(invalid(message));
                }
                answer(registry, request, fds.pop())
            });
        match answered {
            Err(failure) => {
                tracing::debug!(code = ?failure.code, message = failure.message, "refused");
                self.reply(&Reply::Error(failure), &[])?;
                Ok(None)
            }
            Ok(Answer::Value(value)) => {
                self.reply(&Reply::Ok(value), &[])?;
                Ok(None)
            }
            Ok(Answer::Sockets(sockets)) => {
                let count = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
                self.reply(&Reply::Ok(Value::Sockets { count }), &sockets)?;
                Ok(None)
            }
            Ok(Answer::Events(events)) => {
                self.reply(&Reply::Ok(Value::Done {}), &[])?;
                Ok(Some(events))
            }
        }
    }

    /// Sends events until the peer closes or is too slow.
    fn report(&self, events: &Receiver<Event>) -> Result<(), ConnectionError> {
        loop {
            match events.recv_timeout(WATCHER_CHECK) {
                Ok(event) => self.write(&frame::encode(&event)?, &[])?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                // It has nothing more to say: readable means closed.
                Err(RecvTimeoutError::Timeout) => {
                    if wait_readable(self.socket.as_fd(), Instant::now())? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// `None` if the peer closed between two frames.
    fn read_frame(&self, fds: &mut Vec<OwnedFd>) -> Result<Option<Vec<u8>>, ConnectionError> {
        let mut header = [0; frame::HEADER];
        if !self.fill(&mut header, fds)? {
            return Ok(None);
        }
        let mut body = vec![0; frame::body_length(header)?];
        if !body.is_empty() && !self.fill(&mut body, fds)? {
            return Err(ConnectionError::Cut);
        }
        Ok(Some(body))
    }

    /// False if the peer closed before the first byte.
    fn fill(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<bool, ConnectionError> {
        let deadline = Instant::now() + PATIENCE;
        let mut filled = 0;
        while filled < buffer.len() {
            // One byte at a time must not keep it waiting for ever either.
            if Instant::now() > deadline {
                return Err(Errno::TIMEDOUT.into());
            }
            match channel::receive(&self.socket, &mut buffer[filled..], fds)? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ConnectionError::Cut),
                got => filled += got,
            }
            if fds.len() > channel::MOST_DESCRIPTORS {
                return Err(Errno::TOOBIG.into());
            }
        }
        Ok(true)
    }

    fn reply(&self, reply: &Reply, fds: &[OwnedFd]) -> Result<(), ConnectionError> {
        let bytes = match frame::encode(reply) {
            Ok(bytes) => bytes,
            Err(FrameError::TooLong(_)) => {
                let message = "the answer is too long for a frame";
                frame::encode(&Reply::Error(failure(FailureCode::Kernel, message)))?
            }
            Err(error) => return Err(error.into()),
        };
        self.write(&bytes, fds)
    }

    fn write(&self, bytes: &[u8], fds: &[OwnedFd]) -> Result<(), ConnectionError> {
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let mut sent = channel::send(&self.socket, bytes, &borrowed)?;
        while sent < bytes.len() {
            sent += channel::send(&self.socket, &bytes[sent..], &[])?;
        }
        Ok(())
    }
}

fn allowed(request: Request, rights: Rights) -> Result<Request, Failure> {
    match (rights, &request) {
        (Rights::Everything, _)
        | (
            Rights::OnlySockets,
            Request::OpenSockets { .. }
            | Request::OpenInnerSockets { .. }
            | Request::OpenOutbound { .. },
        ) => Ok(request),
        (Rights::OnlySockets, _) => Err(failure(
            FailureCode::Denied,
            "the edge may only ask for sockets",
        )),
    }
}
