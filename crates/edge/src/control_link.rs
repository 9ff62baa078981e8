//! The line to the control plane over which routes come.

use crate::egress::record::Record;
use crate::egress::Egress;
use crate::sandboxes::Sandboxes;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use wardian_wire::edge::{FromEdge, ToEdge, VERSION};
use wardian_wire::egress::explain;
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
pub(crate) async fn follow(path: &Path, sandboxes: &Sandboxes, egress: &Arc<Egress>) {
    let mut pause = FIRST_RETRY;
    loop {
        let since = Instant::now();
        let Err(error) = follow_once(path, sandboxes, egress).await;
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
    egress: &Arc<Egress>,
) -> Result<Infallible, LinkError> {
    let mut stream = UnixStream::connect(path).await?;
    let hello = frame::encode(&FromEdge::Hello { version: VERSION })?;
    stream.write_all(&hello).await?;
    tracing::info!("connected to the control plane");
    let mut decoder = Decoder::default();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = tokio::select! {
            count = stream.read(&mut bytes) => count?,
            () = egress.record.due() => {
                report(&mut stream, &egress.record).await?;
                continue;
            }
        };
        if count == 0 {
            return Err(LinkError::Closed);
        }
        decoder.feed(&bytes[..count]);
        let mut answers = Vec::new();
        while let Some(body) = decoder.next_body()? {
            let answer = carry_out(frame::decode(&body)?, sandboxes, egress).await;
            answers.extend(frame::encode(&answer)?);
        }
        stream.write_all(&answers).await?;
    }
}

/// Puts a change in force, or answers a question.
async fn carry_out(message: ToEdge, sandboxes: &Sandboxes, egress: &Arc<Egress>) -> FromEdge {
    let seq = match message {
        ToEdge::Sync {
            seq,
            sandboxes: routes,
            egress: settings,
        } => {
            egress.set(*settings);
            let present = sandboxes.replace(routes);
            futures_util::future::join_all(present.iter().map(|each| egress.listen(each))).await;
            seq
        }
        ToEdge::Put { seq, sandbox } => {
            egress.listen(&sandboxes.put(sandbox)).await;
            seq
        }
        ToEdge::Remove { seq, sandbox } => {
            sandboxes.remove(&sandbox);
            seq
        }
        ToEdge::Explain {
            seq,
            policy,
            question,
        } => {
            let explanation = explain::explain(*policy, &question);
            return FromEdge::Explained { seq, explanation };
        }
    };
    FromEdge::Ack { seq }
}

async fn report(stream: &mut UnixStream, record: &Record) -> Result<(), LinkError> {
    let report = record.take();
    let sent = match frame::encode(&report.message()) {
        Ok(bytes) => stream.write_all(&bytes).await.map_err(LinkError::Io),
        Err(error) => Err(error.into()),
    };
    if sent.is_err() {
        record.give_back(report);
    }
    sent
}
