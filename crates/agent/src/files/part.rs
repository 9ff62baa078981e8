//! One file on its way in: gathers what arrives and writes it in large pieces, the next being
//! gathered while the last is written.

use super::sink::Sink;
use super::{blocking, FileError};
use bytes::Bytes;
use http::StatusCode;
use std::collections::BTreeMap;
use tokio::task::JoinHandle;

/// How much is gathered at least before it is written, in bytes.
const BATCH: usize = 1024 * 1024;

/// A file being received.
///
/// What arrives is copied into one of two buffers that serve the whole upload. Held on to instead,
/// each piece would make the connection read the next one into fresh memory from the kernel, whose
/// page faults cost several times the copy.
pub(super) struct Receiving {
    state: State,
    batch: Vec<u8>,
}

enum State {
    /// With the buffer that is not being filled.
    Idle(Sink, Vec<u8>),
    Writing(JoinHandle<Result<(Sink, Vec<u8>), FileError>>),
    Lost,
}

impl Receiving {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            state: State::Idle(sink, Vec::new()),
            batch: Vec::new(),
        }
    }

    /// Takes what has arrived; waits when the disk is slower than the client.
    ///
    /// # Errors
    /// What writing earlier bytes led to.
    pub(super) async fn add(&mut self, bytes: Bytes) -> Result<(), FileError> {
        self.batch.extend_from_slice(&bytes);
        // Before any wait, in which the connection already reads on.
        drop(bytes);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        let (mut sink, mut spare) = self.written().await?;
        spare.clear();
        let batch = std::mem::replace(&mut self.batch, spare);
        self.state = State::Writing(tokio::task::spawn_blocking(move || {
            sink.write(&batch).map(|()| (sink, batch))
        }));
        Ok(())
    }

    /// Waits until what was handed over is written.
    async fn written(&mut self) -> Result<(Sink, Vec<u8>), FileError> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(sink, spare) => Ok((sink, spare)),
            State::Writing(task) => task.await.unwrap_or_else(|e| Err(broken(&e.to_string()))),
            State::Lost => Err(broken("writing the file failed before")),
        }
    }

    /// Writes what is left and ends the file.
    ///
    /// # Errors
    /// As [`Receiving::add`] and [`Sink::finish`].
    pub(super) async fn finish(
        mut self,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), FileError> {
        let (mut sink, _) = self.written().await?;
        let batch = self.batch;
        blocking(move || {
            sink.write(&batch)?;
            sink.finish(&metadata)
        })
        .await
    }
}

fn broken(message: &str) -> FileError {
    FileError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
}
