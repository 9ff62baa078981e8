//! The socket: who may connect, and how many at once.

mod answer;
mod connection;

use crate::kernel::KernelError;
use crate::sandbox::Registry;
use crate::serve::ServeError;
use connection::Connection;
use rustix::fs::{chmodat, AtFlags, Mode, CWD};
use rustix::net::sockopt::socket_peercred;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Connections at once; more wait in the socket's backlog.
const MOST_CONNECTIONS: usize = 512;
/// Each thread makes a few calls only.
const STACK: usize = 256 * 1024;
/// How long requests may take to finish when told to stop.
const PATIENCE: Duration = Duration::from_secs(15);
const SOCKET_MODE: Mode = Mode::RUSR
    .union(Mode::WUSR)
    .union(Mode::RGRP)
    .union(Mode::WGRP);

/// Uids that are somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peers {
    pub(crate) control: u32,
    pub(crate) edge: u32,
}

/// What a peer may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    Everything,
    OnlySockets,
}

impl Peers {
    fn rights(self, uid: u32) -> Option<Rights> {
        if uid == 0 || uid == self.control {
            Some(Rights::Everything)
        } else if uid == self.edge {
            Some(Rights::OnlySockets)
        } else {
            None
        }
    }
}

/// The listening launcher.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    peers: Peers,
    stopping: AtomicBool,
    /// Requests being carried out now.
    busy: AtomicUsize,
    open: Mutex<usize>,
    closed: Condvar,
}

impl Server {
    /// Listens at `path`, for root and members of group `gid`.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn bind(path: &Path, gid: u32, peers: Peers) -> Result<Self, ServeError> {
        let at = |source| ServeError::File {
            path: path.display().to_string(),
            source,
        };
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(e)),
            _ => {}
        }
        let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener.map_err(at)?;
        std::os::unix::fs::chown(path, None, Some(gid)).map_err(at)?;
        chmodat(CWD, path, SOCKET_MODE, AtFlags::empty())
            .map_err(|e| KernelError::new("chmod", path.display().to_string(), e))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            peers,
            stopping: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            open: Mutex::new(0),
            closed: Condvar::new(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts connections, each served by a thread, until stopped.
    pub(crate) fn run(self: &Arc<Self>, registry: &Arc<Registry>) {
        while !self.stopping.load(Ordering::SeqCst) {
            self.wait_for_room();
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, registry),
                Err(error) => {
                    tracing::error!(%error, "can't accept");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    fn lock_open(&self) -> std::sync::MutexGuard<'_, usize> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_room(&self) {
        let mut open = self.lock_open();
        while *open >= MOST_CONNECTIONS {
            open = self
                .closed
                .wait(open)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn admit(self: &Arc<Self>, stream: UnixStream, registry: &Arc<Registry>) {
        let uid = match socket_peercred(&stream) {
            Ok(credentials) => credentials.uid.as_raw(),
            Err(error) => return tracing::error!(%error, "a peer has no credentials"),
        };
        let Some(rights) = self.peers.rights(uid) else {
            return tracing::warn!(uid, "a stranger was turned away");
        };
        *self.lock_open() += 1;
        let (server, registry) = (Arc::clone(self), Arc::clone(registry));
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || {
                let connection = Connection::new(OwnedFd::from(stream));
                if let Err(error) = connection.serve(&server, &registry, rights) {
                    tracing::debug!(uid, %error, "connection ended");
                }
                server.leave();
            });
        if let Err(error) = thread {
            tracing::error!(%error, "no thread for a connection");
            self.leave();
        }
    }

    fn leave(&self) {
        *self.lock_open() -= 1;
        self.closed.notify_all();
    }

    /// Begins a request; false once stopping.
    fn begin(&self) -> bool {
        self.busy.fetch_add(1, Ordering::SeqCst);
        if self.stopping.load(Ordering::SeqCst) {
            self.finish();
            return false;
        }
        true
    }

    fn finish(&self) {
        self.busy.fetch_sub(1, Ordering::SeqCst);
        self.closed.notify_all();
    }

    /// Takes no new request and waits for those under way.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "the socket can't be removed");
        }
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.busy.load(Ordering::SeqCst) > 0 && std::time::Instant::now() < deadline {
            let open = self.lock_open();
            let waited = self.closed.wait_timeout(open, Duration::from_millis(50));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_no_rights() {
        let peers = Peers {
            control: 990,
            edge: 989,
        };
        assert_eq!(peers.rights(0), Some(Rights::Everything));
        assert_eq!(peers.rights(990), Some(Rights::Everything));
        assert_eq!(peers.rights(989), Some(Rights::OnlySockets));
        assert_eq!(peers.rights(1000), None);
    }
}
