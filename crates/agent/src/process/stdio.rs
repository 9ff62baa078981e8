//! The descriptors between the agent and a command.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use wardian_wire::envd::process::Size;

/// What a client gets that asks for a terminal and names no size.
const DEFAULT_SIZE: Winsize = winsize(80, 24);

const fn winsize(cols: u16, rows: u16) -> Winsize {
    Winsize {
        ws_col: cols,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// The agent's side.
#[derive(Debug)]
pub(crate) enum AgentSide {
    Pipes {
        input: Option<pipe::Sender>,
        output: pipe::Receiver,
        error: pipe::Receiver,
    },
    Terminal(AsyncFd<OwnedFd>),
}

/// Pipes for a command; without `stdin` it reads from /dev/null. Returns the agent's side and
/// the command's standard input, output and error.
pub(crate) fn pipes(stdin: bool) -> std::io::Result<(AgentSide, Vec<OwnedFd>)> {
    let (output, output_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (error, error_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (input, input_end) = if stdin {
        let (input_end, input) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        (Some(pipe::Sender::from_owned_fd(input)?), input_end)
    } else {
        let null = std::fs::File::open("/dev/null")?;
        (None, null.into())
    };
    let ours = AgentSide::Pipes {
        input,
        output: pipe::Receiver::from_owned_fd(output)?,
        error: pipe::Receiver::from_owned_fd(error)?,
    };
    Ok((ours, vec![input_end, output_end, error_end]))
}

/// A terminal owned by `uid`. Returns the agent's side and the command's.
pub(crate) fn terminal(size: Option<Size>, uid: u32) -> std::io::Result<(AgentSide, Vec<OwnedFd>)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    // By the master's own descriptor: a path below /dev/pts could be anything by now.
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let owner = rustix::fs::Uid::from_raw(uid);
    rustix::fs::fchown(&slave, Some(owner), None)?;
    rustix::fs::fchmod(&slave, rustix::fs::Mode::from_raw_mode(0o620))?;
    rustix::termios::tcsetwinsize(&master, size.map_or(DEFAULT_SIZE, to_winsize))?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((
        AgentSide::Terminal(crate::sys::watched(master)?),
        vec![slave],
    ))
}

/// Tells a terminal its new size.
pub(crate) fn resize(master: &AsyncFd<OwnedFd>, size: Size) -> Result<(), Errno> {
    rustix::termios::tcsetwinsize(master.get_ref(), to_winsize(size))
}

/// A dimension of 0 is a client that does not know; sizes no terminal has are cut.
fn to_winsize(size: Size) -> Winsize {
    let cell = |asked: u32, default| match asked {
        0 => default,
        n => u16::try_from(n).unwrap_or(u16::MAX),
    };
    winsize(
        cell(size.cols, DEFAULT_SIZE.ws_col),
        cell(size.rows, DEFAULT_SIZE.ws_row),
    )
}
