//! From a process's pipes into its log.

use super::log::Log;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use wardian_wire::log::{Kind, MAX_PAYLOAD};

/// How much is read before it is written, in bytes.
const BATCH: usize = 128 * 1024;
/// How long output is waited for after the process has ended, should others still hold its pipes:
/// what a trailing `tee` has to say stands before the mark of the end.
const AFTERGLOW: Duration = Duration::from_millis(250);
/// How much may still stand before it then, in bytes: more than any pipe holds.
const MAX_AFTERGLOW: usize = 1024 * 1024;

thread_local! {
    // One for all: never used across an await.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Logs all that comes through `pipe` until nobody can write any more. `done` is dropped when what
/// belongs to the process itself has been logged; what it left running is logged on.
pub(crate) async fn collect(
    pipe: pipe::Receiver,
    kind: Kind,
    log: Rc<Log>,
    mut exited: watch::Receiver<bool>,
    done: mpsc::Sender<()>,
) {
    let mut after = 0;
    while after <= MAX_AFTERGLOW {
        let over = *exited.borrow();
        // Only the waiting may be given up, never the writing.
        let ready = if over {
            timeout(AFTERGLOW, pipe.readable()).await
        } else {
            tokio::select! {
                ready = pipe.readable() => Ok(ready),
                _ = exited.changed() => continue,
            }
        };
        let Ok(ready) = ready else { break };
        match (ready, over) {
            (Err(_), _) => return,
            (Ok(()), over) => match take(&pipe, kind, &log).await {
                None => return,
                Some(count) => after += if over { count } else { 0 },
            },
        }
    }
    drop(done);
    while pipe.readable().await.is_ok() && take(&pipe, kind, &log).await.is_some() {}
}

/// Logs what is there, at most about [`BATCH`] bytes. `None` at the end.
async fn take(pipe: &pipe::Receiver, kind: Kind, log: &Log) -> Option<usize> {
    let (mut count, mut open) = (0, true);
    log.write(kind, |put| {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(MAX_PAYLOAD, 0);
            while count < BATCH {
                match pipe.try_read(scratch) {
                    Ok(0) => open = false,
                    Ok(read) => {
                        put(&scratch[..read]);
                        count += read;
                        continue;
                    }
                    Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => open = false,
                }
                break;
            }
        });
    })
    .await;
    open.then_some(count)
}
