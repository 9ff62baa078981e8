//! One connection to the handlers' process, and those kept between exchanges.

use super::HandlerError;
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use wardian_wire::egress::handler_frame::{read_header, write_header, Kind, HEADER};

/// The most connections kept idle.
const MAX_IDLE: usize = 64;
/// How long the process has to take what is written. It always reads: what may come is bounded.
const WRITE_TIME: Duration = Duration::from_secs(10);
const READ_AHEAD: usize = 64 * 1024;

/// A frame as it came.
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
}

/// A connection; dropping it ends the exchange on it for the handler.
pub(super) struct Connection {
    stream: UnixStream,
    read: BytesMut,
}

impl Connection {
    /// Makes a new one.
    ///
    /// # Errors
    /// Those of connecting.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let connecting = timeout(WRITE_TIME, UnixStream::connect(path));
        Ok(Self::over(connecting.await.map_err(io::Error::from)??))
    }

    pub(super) fn over(stream: UnixStream) -> Self {
        let read = BytesMut::new();
        Self { stream, read }
    }

    /// The next frame. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`HandlerError::Lost`], [`HandlerError::Protocol`].
    pub(super) async fn next(&mut self) -> Result<Frame, HandlerError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.read.reserve(READ_AHEAD);
            let count = self.stream.read_buf(&mut self.read).await;
            if count.map_err(HandlerError::Lost)? == 0 {
                return Err(HandlerError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<Frame>, HandlerError> {
        let Some(header) = self.read.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let (kind, length) = read_header(*header).map_err(HandlerError::protocol)?;
        if self.read.len() < HEADER + length {
            return Ok(None);
        }
        self.read.advance(HEADER);
        let payload = self.read.split_to(length).freeze();
        Ok(Some(Frame { kind, payload }))
    }

    /// Writes a frame whose payload is given.
    ///
    /// # Errors
    /// [`HandlerError::Lost`], [`HandlerError::Protocol`].
    pub(super) async fn write(&mut self, kind: Kind, payload: &[u8]) -> Result<(), HandlerError> {
        let header = write_header(kind, payload.len()).map_err(HandlerError::protocol)?;
        let mut frame = Buf::chain(&header[..], payload);
        let writing = async {
            while frame.has_remaining() {
                self.stream.write_buf(&mut frame).await?;
            }
            Ok(())
        };
        within(writing).await
    }

    /// Writes a frame that is all there.
    ///
    /// # Errors
    /// [`HandlerError::Lost`].
    pub(super) async fn write_whole(&mut self, frame: &[u8]) -> Result<(), HandlerError> {
        within(self.stream.write_all(frame)).await
    }

    /// Whether the process is still there and has said nothing unasked.
    fn is_good(&self) -> bool {
        let mut byte = [0];
        let nothing = matches!(
            self.stream.try_read(&mut byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        );
        nothing && self.read.is_empty()
    }
}

async fn within(
    writing: impl std::future::Future<Output = io::Result<()>>,
) -> Result<(), HandlerError> {
    let written = timeout(WRITE_TIME, writing).await;
    written
        .unwrap_or_else(|late| Err(late.into()))
        .map_err(HandlerError::Lost)
}

/// Connections without an exchange, the one used last at the end.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Connection>>);

impl Idle {
    /// One that is good.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_good() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps one whose exchange is over.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && connection.read.is_empty() {
            idle.push(connection);
        }
    }
}
