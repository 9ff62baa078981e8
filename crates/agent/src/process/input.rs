//! What clients send to a command.

use super::{stdio, Result};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::rc::Rc;
use tokio::io::unix::AsyncFd;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::process::{Input, Size};

/// The agent's end of a command's input. Writers take turns, so that their bytes do not mix.
#[derive(Debug)]
pub(crate) enum InputEnd {
    /// `None` inside once closed, or if it was never wanted.
    Pipe(Mutex<Option<pipe::Sender>>),
    Terminal(Rc<AsyncFd<OwnedFd>>, Mutex<()>),
}

fn precondition(message: impl Into<String>) -> Failure {
    Failure::new(Code::FailedPrecondition, message)
}

fn gone(error: &std::io::Error) -> Failure {
    precondition(format!("the process does not read its input: {error}"))
}

impl InputEnd {
    /// Writes all of `input`; waits while the command does not read.
    ///
    /// # Errors
    /// `failed_precondition` for the wrong kind of input, or when nobody can read it any more.
    pub(crate) async fn write(&self, input: Input) -> Result<()> {
        match (self, input) {
            (
                Self::Pipe(pipe),
                Input {
                    stdin: Some(bytes),
                    pty: None,
                },
            ) => {
                let mut pipe = pipe.lock().await;
                let Some(sender) = pipe.as_mut() else {
                    return Err(precondition("the process has no stdin, or it was closed"));
                };
                sender.write_all(&bytes).await.map_err(|e| gone(&e))
            }
            (
                Self::Terminal(master, turn),
                Input {
                    stdin: None,
                    pty: Some(bytes),
                },
            ) => {
                let _turn = turn.lock().await;
                write_terminal(master, &bytes).await.map_err(|e| gone(&e))
            }
            (Self::Pipe(_), Input { pty: Some(_), .. }) => {
                Err(precondition("the process has no terminal; send stdin"))
            }
            (Self::Terminal(..), Input { stdin: Some(_), .. }) => {
                Err(precondition("the process has a terminal; send pty input"))
            }
            _ => Err(Failure::new(
                Code::InvalidArgument,
                "input needs stdin or pty",
            )),
        }
    }

    /// Ends the command's standard input.
    ///
    /// # Errors
    /// `failed_precondition` for a terminal: there, Ctrl-D (0x04) is input.
    pub(crate) async fn close(&self) -> Result<()> {
        match self {
            Self::Pipe(pipe) => {
                *pipe.lock().await = None;
                Ok(())
            }
            Self::Terminal(..) => Err(precondition(
                "a terminal's input cannot be closed; send Ctrl-D (0x04)",
            )),
        }
    }

    /// Sets the terminal's size.
    ///
    /// # Errors
    /// `failed_precondition` without a terminal.
    pub(crate) fn resize(&self, size: Size) -> Result<()> {
        match self {
            Self::Terminal(master, _) => stdio::resize(master, size).map_err(|errno| {
                Failure::new(Code::Internal, format!("resizing the terminal: {errno}"))
            }),
            Self::Pipe(_) => Err(precondition("the process has no terminal")),
        }
    }
}

/// Writes all of `bytes` to a terminal; waits while its program does not read.
///
/// # Errors
/// What the kernel says, once nobody can read any more.
pub(crate) async fn write_terminal(
    master: &AsyncFd<OwnedFd>,
    mut bytes: &[u8],
) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = master.writable().await?;
        match rustix::io::write(master.get_ref(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
