//! One inotify instance: what every watch stands on.

use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::path::Path;

/// How much is read from the kernel at once, in bytes.
const BUFFER: usize = 64 * 1024;
/// The fixed part of an event: watch, flags, cookie, length of the name; each of four bytes.
const HEADER: usize = 16;

/// An event as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// The directory it happened in, or to.
    pub(crate) watch: i32,
    pub(crate) flags: ReadFlags,
    /// The same for both halves of a rename.
    pub(crate) cookie: u32,
    /// Empty when it happened to the directory itself.
    pub(crate) name: Vec<u8>,
    /// How many bytes of events the instance has told up to here, this one included.
    pub(crate) position: u64,
}

/// An instance.
#[derive(Debug)]
pub(crate) struct Instance {
    descriptor: OwnedFd,
    position: u64,
}

impl Instance {
    /// A new one, whose reads do not wait.
    ///
    /// # Errors
    /// `EMFILE` at the limit of instances, `ENOMEM`.
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            descriptor: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            position: 0,
        })
    }

    /// A second handle, to wait for events with.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn handle(&self) -> std::io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }

    /// Watches the directory at `path`; the same directory always has the same number.
    ///
    /// # Errors
    /// `ENOSPC` at the limit of watches, and what opening the path gives.
    pub(crate) fn add(&self, path: &Path, flags: WatchFlags) -> Result<i32, Errno> {
        inotify::add_watch(&self.descriptor, path, flags)
    }

    /// Ends a watch. One that ended with its directory is gone already, which is as good.
    pub(crate) fn remove(&self, watch: i32) {
        let _ = inotify::remove_watch(&self.descriptor, watch);
    }

    /// What has happened, as much as one read gives; empty if nothing has.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn read(&mut self) -> Result<Vec<Raw>, Errno> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match rustix::io::read(&self.descriptor, buffer.as_mut_slice()) {
                Ok(count) => {
                    let events = parse(buffer.get(..count).unwrap_or_default(), self.position);
                    self.position += count as u64;
                    return Ok(events);
                }
                Err(Errno::AGAIN) => return Ok(Vec::new()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The [`Raw::position`] of the last event that waits to be read now.
    pub(crate) fn horizon(&self) -> u64 {
        self.position + rustix::io::ioctl_fionread(&self.descriptor).unwrap_or(0)
    }
}

/// The events in what was read; `position` is that of the first byte. The kernel gives whole
/// events; what is not one ends the list.
fn parse(mut bytes: &[u8], mut position: u64) -> Vec<Raw> {
    let mut events = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&header[at..at + 4]);
            word
        };
        let length = u32::from_ne_bytes(word(12)) as usize;
        let Some((name, rest)) = rest.split_at_checked(length) else {
            break;
        };
        position += (HEADER + length) as u64;
        // Padded with NUL bytes.
        let end = name.iter().position(|&b| b == 0).unwrap_or(length);
        events.push(Raw {
            watch: i32::from_ne_bytes(word(0)),
            flags: ReadFlags::from_bits_retain(u32::from_ne_bytes(word(4))),
            cookie: u32::from_ne_bytes(word(8)),
            name: name.get(..end).unwrap_or_default().to_vec(),
            position,
        });
        bytes = rest;
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(event: &Raw, padding: usize) -> Vec<u8> {
        let padded = event.name.len() + padding;
        let mut bytes = Vec::new();
        bytes.extend(event.watch.to_ne_bytes());
        bytes.extend(event.flags.bits().to_ne_bytes());
        bytes.extend(event.cookie.to_ne_bytes());
        bytes.extend((padded as u32).to_ne_bytes());
        bytes.extend(&event.name);
        bytes.resize(HEADER + padded, 0);
        bytes
    }

    proptest! {
        #[test]
        fn events_come_back(list in prop::collection::vec(
            (any::<i32>(), any::<u32>(), any::<u32>(), prop::collection::vec(1u8.., 0..20), 0usize..16), 0..8)) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for (watch, flags, cookie, name, padding) in list {
                let mut event = Raw {
                    watch, flags: ReadFlags::from_bits_retain(flags), cookie, name, position: 0,
                };
                bytes.extend(encode(&event, padding));
                event.position = 7 + bytes.len() as u64;
                expected.push(event);
            }
            prop_assert_eq!(parse(&bytes, 7), expected);
        }

        #[test]
        fn noise_is_read_or_left(noise in prop::collection::vec(any::<u8>(), 0..80)) {
            parse(&noise, 0);
        }
    }
}
