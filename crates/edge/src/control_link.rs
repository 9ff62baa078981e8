//! The line to the control plane over which routes come.

use crate::sandboxes::Sandboxes;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use wardian_wire::edge::{FromEdge, ToEdge, VERSION};
use wardian_wire::frame::{self, Decoder, FrameError};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// A line that held this long was a good one: the next retry is soon again.
const STEADY: Duration = Duration::from_secs(5);

/// Why the line ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the control plane closed it")]
    Closed,
}

/// Keeps the line up for ever. While it is down, what was last said stays in force.
pub(crate) async fn follow(path: &Path, sandboxes: &Sandboxes) {
    let mut pause = FIRST_RETRY;
    loop {
        let since = Instant::now();
        let Err(error) = follow_once(path, sandboxes).await;
        match error {
            LinkError::Frame(error) => {
                tracing::error!(%error, "control plane sent what is not understood")
            }
            error => tracing::debug!(%error, "line to the control plane is down"),
        }
        if since.elapsed() > STEADY {
            pause = FIRST_RETRY;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_RETRY);
    }
}

async fn follow_once(
    path: &Path,
    sandboxes: &Sandboxes,
) -> Result<std::convert::Infallible, LinkError> {
    let mut stream = UnixStream::connect(path).await?;
    let hello = frame::encode(&FromEdge::Hello { version: VERSION })?;
    stream.write_all(&hello).await?;
    tracing::info!("connected to the control plane");
    let mut decoder = Decoder::default();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(LinkError::Closed);
        }
        decoder.feed(&bytes[..count]);
        let mut acknowledged = Vec::new();
        while let Some(body) = decoder.next_body()? {
            let change: ToEdge = frame::decode(&body)?;
            let seq = sandboxes.apply(change);
            acknowledged.extend(frame::encode(&FromEdge::Ack { seq })?);
        }
        stream.write_all(&acknowledged).await?;
    }
}
