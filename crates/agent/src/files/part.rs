//! One file on its way in: gathers what arrives and writes it in large pieces, the next being
//! gathered while the last is written.

use super::sink::Sink;
use super::{blocking, FileError};
use bytes::Bytes;
use http::StatusCode;
use std::collections::BTreeMap;
use tokio::task::JoinHandle;

/// How much is gathered before it is written, in bytes.
const BATCH: usize = 1024 * 1024;

/// A file being received.
pub(super) struct Receiving {
    state: State,
    batch: Vec<Bytes>,
    size: usize,
}

enum State {
    Idle(Sink),
    Writing(JoinHandle<Result<Sink, FileError>>),
    Lost,
}

impl Receiving {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            state: State::Idle(sink),
            batch: Vec::new(),
            size: 0,
        }
    }

    /// Takes what has arrived; waits when the disk is slower than the client.
    ///
    /// # Errors
    /// What writing earlier bytes led to.
    pub(super) async fn add(&mut self, bytes: Bytes) -> Result<(), FileError> {
        self.size += bytes.len();
        self.batch.push(bytes);
        if self.size < BATCH {
            return Ok(());
        }
        let sink = self.sink().await?;
        self.state = State::Writing(self.write(sink));
        Ok(())
    }

    fn write(&mut self, mut sink: Sink) -> JoinHandle<Result<Sink, FileError>> {
        self.size = 0;
        let batch = std::mem::take(&mut self.batch);
        tokio::task::spawn_blocking(move || sink.write(&batch).map(|()| sink))
    }

    async fn sink(&mut self) -> Result<Sink, FileError> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(sink) => Ok(sink),
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
        let mut sink = self.sink().await?;
        let batch = std::mem::take(&mut self.batch);
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
