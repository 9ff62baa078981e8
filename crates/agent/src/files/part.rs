//! Something on its way in: gathers what arrives and writes it in large pieces, the next being
//! gathered while the last is written.

use bytes::Bytes;
use tokio::task::JoinHandle;

/// How much is gathered at least before it is written, in bytes.
const BATCH: usize = 1024 * 1024;

/// Where received bytes go. Every method may block.
pub(crate) trait Destination: Send + Sized + 'static {
    type Error: Send + 'static;

    /// Takes all of `batch`.
    ///
    /// # Errors
    /// What ends the upload.
    fn write(&mut self, batch: &[u8]) -> Result<(), Self::Error>;

    /// The error for a write that died.
    fn died(message: &str) -> Self::Error;
}

/// Something being received.
///
/// What arrives is copied into one of two buffers that serve the whole upload. Held on to instead,
/// each piece would make the connection read the next one into fresh memory from the kernel, whose
/// page faults cost several times the copy.
pub(crate) struct Receiving<D: Destination> {
    state: State<D>,
    batch: Vec<u8>,
}

/// What a write gives back: where it went and the buffer it came from.
type Written<D> = Result<(D, Vec<u8>), <D as Destination>::Error>;

enum State<D: Destination> {
    /// With the buffer that is not being filled.
    Idle(D, Vec<u8>),
    Writing(JoinHandle<Written<D>>),
    Lost,
}

impl<D: Destination> Receiving<D> {
    pub(crate) fn new(destination: D) -> Self {
        Self {
            state: State::Idle(destination, Vec::new()),
            batch: Vec::new(),
        }
    }

    /// Takes what has arrived; waits when the disk is slower than the client.
    ///
    /// # Errors
    /// What writing earlier bytes led to.
    pub(crate) async fn add(&mut self, bytes: Bytes) -> Result<(), D::Error> {
        self.batch.extend_from_slice(&bytes);
        // Before any wait, in which the connection already reads on.
        drop(bytes);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        let (mut destination, mut spare) = self.written().await?;
        spare.clear();
        let batch = std::mem::replace(&mut self.batch, spare);
        self.state = State::Writing(tokio::task::spawn_blocking(move || {
            destination.write(&batch).map(|()| (destination, batch))
        }));
        Ok(())
    }

    /// Waits until what was handed over is written.
    async fn written(&mut self) -> Written<D> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(destination, spare) => Ok((destination, spare)),
            State::Writing(task) => task.await.unwrap_or_else(|e| Err(D::died(&e.to_string()))),
            State::Lost => Err(D::died("writing failed before")),
        }
    }

    /// Writes what is left and does `end` with it.
    ///
    /// # Errors
    /// As [`Receiving::add`], and those of `end`.
    pub(crate) async fn finish<T: Send + 'static>(
        mut self,
        end: impl FnOnce(D) -> Result<T, D::Error> + Send + 'static,
    ) -> Result<T, D::Error> {
        let (mut destination, _) = self.written().await?;
        let batch = self.batch;
        let last = move || {
            destination.write(&batch)?;
            end(destination)
        };
        let last = tokio::task::spawn_blocking(last).await;
        last.unwrap_or_else(|e| Err(D::died(&e.to_string())))
    }
}
