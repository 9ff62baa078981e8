//! From a command's output to its hub.

use super::hub::Hub;
use base64::{engine::general_purpose::STANDARD, Engine};
use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use wardian_wire::connect::{seal, HEADER};

/// How much is read at once, in bytes.
const CHUNK: usize = 32 * 1024;
/// How long output is waited for after the command has ended, should others still hold its
/// output open: what a trailing `tee` has to say still arrives, a daemon does not hold the stream.
const AFTERGLOW: Duration = Duration::from_millis(250);
/// How much output is still passed on then, in bytes: more than any pipe holds.
const MAX_AFTERGLOW: usize = 1024 * 1024;

thread_local! {
    // One for all: it is only used between reading and encoding, never across an await.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where output comes from.
pub(crate) enum Source {
    Stdout(pipe::Receiver),
    Stderr(pipe::Receiver),
    Terminal(Rc<AsyncFd<OwnedFd>>),
}

impl Source {
    /// Waits for output and reads it as an event message. `None` at the end.
    async fn next(&self, wanted: impl Fn() -> bool) -> Option<(usize, Bytes)> {
        loop {
            let outcome = match self {
                Self::Stdout(pipe) | Self::Stderr(pipe) => {
                    pipe.readable().await.ok()?;
                    self.take(&wanted, |buffer| pipe.try_read(buffer))
                }
                Self::Terminal(master) => {
                    let mut ready = master.readable().await.ok()?;
                    self.take(&wanted, |buffer| {
                        rustix::io::read(master.get_ref(), buffer).map_err(|errno| {
                            if errno == Errno::AGAIN {
                                ready.clear_ready();
                            }
                            errno.into()
                        })
                    })
                }
            };
            match outcome {
                Ok((0, _)) => return None,
                Ok(output) => return Some(output),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // EIO is how a terminal says that nobody has its other side open.
                Err(_) => return None,
            }
        }
    }

    fn take(
        &self,
        wanted: impl Fn() -> bool,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>,
    ) -> std::io::Result<(usize, Bytes)> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(CHUNK, 0);
            let count = read(scratch)?;
            let message = if count > 0 && wanted() {
                self.message(&scratch[..count])
            } else {
                Bytes::new()
            };
            Ok((count, message))
        })
    }

    /// The data event, written in one go: this is the hot path of all output.
    fn message(&self, output: &[u8]) -> Bytes {
        let kind = match self {
            Self::Stdout(_) => "stdout",
            Self::Stderr(_) => "stderr",
            Self::Terminal(_) => "pty",
        };
        let mut text = String::with_capacity(HEADER + 40 + output.len().div_ceil(3) * 4);
        text.push_str("\0\0\0\0\0{\"event\":{\"data\":{\"");
        text.push_str(kind);
        text.push_str("\":\"");
        STANDARD.encode_string(output, &mut text);
        text.push_str("\"}}}");
        let mut bytes = text.into_bytes();
        seal(&mut bytes);
        bytes.into()
    }
}

/// Passes all output on until nobody can write any more. `done` is dropped when what belongs to
/// the command itself has been passed on; from then on output is read and thrown away, so that
/// what the command left running does not die of a closed pipe.
pub(crate) async fn pump(
    source: Source,
    hub: Rc<super::Process>,
    mut exited: watch::Receiver<bool>,
    done: mpsc::Sender<()>,
) {
    let hub: &Hub = &hub.hub;
    let mut after = 0;
    loop {
        let next = source.next(|| !hub.is_empty());
        tokio::pin!(next);
        let output = if *exited.borrow() {
            timeout(AFTERGLOW, next).await
        } else {
            tokio::select! {
                output = &mut next => Ok(output),
                _ = exited.changed() => timeout(AFTERGLOW, next).await,
            }
        };
        match output {
            Ok(Some((count, message))) => {
                if !message.is_empty() {
                    hub.publish(message).await;
                }
                after += if *exited.borrow() { count } else { 0 };
                if after > MAX_AFTERGLOW {
                    break;
                }
            }
            Ok(None) => return,
            Err(_) => break,
        }
    }
    drop(done);
    while source.next(|| false).await.is_some() {}
}
