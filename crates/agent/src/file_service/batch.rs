//! The names in a directory, in order, without holding all of a large one in memory.

use rustix::fs::{FileType, RawDir, SeekFrom};
use std::collections::BinaryHeap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

/// What a name costs beside its bytes, in bytes.
const OVERHEAD: usize = 48;
/// So many names are kept whatever they cost, so that reading goes on.
const LEAST: usize = 64;
/// How much of a directory is read at once, in bytes.
const BUFFER: usize = 32 * 1024;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) bytes: Box<[u8]>,
    kind: Kind,
}

/// What the directory itself says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Directory,
    Other,
    Unknown,
}

impl Name {
    /// Whether it is a directory, where the file system says so without being asked for more.
    pub(super) fn is_directory(&self) -> Option<bool> {
        match self.kind {
            Kind::Directory => Some(true),
            Kind::Other => Some(false),
            Kind::Unknown => None,
        }
    }
}

/// The smallest names of a directory from some point on.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Largest first, so that the next one is popped.
    pub(super) names: Vec<Name>,
    /// There are more behind the largest.
    pub(super) more: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum From<'a> {
    Start,
    At(&'a [u8]),
    Behind(&'a [u8]),
}

impl From<'_> {
    fn includes(self, name: &[u8]) -> bool {
        match self {
            Self::Start => true,
            Self::At(first) => name >= first,
            Self::Behind(last) => name > last,
        }
    }
}

/// Reads names from `from` on, as many of the smallest as fit into `budget` bytes.
///
/// # Errors
/// What the kernel says.
pub(super) fn read(
    directory: BorrowedFd<'_>,
    from: From<'_>,
    hidden: bool,
    budget: usize,
) -> io::Result<Batch> {
    rustix::fs::seek(directory, SeekFrom::Start(0))?;
    let mut smallest = BinaryHeap::new();
    let (mut cost, mut more) = (0, false);
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(directory.as_fd(), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if matches!(bytes, b"." | b"..")
            || (!hidden && bytes.starts_with(b"."))
            || !from.includes(bytes)
        {
            continue;
        }
        if more
            && smallest
                .peek()
                .is_some_and(|largest: &Name| *bytes > *largest.bytes)
        {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Directory => Kind::Directory,
            FileType::Unknown => Kind::Unknown,
            _ => Kind::Other,
        };
        cost += bytes.len() + OVERHEAD;
        smallest.push(Name {
            bytes: bytes.into(),
            kind,
        });
        while cost > budget && smallest.len() > LEAST {
            if let Some(largest) = smallest.pop() {
                cost -= largest.bytes.len() + OVERHEAD;
                more = true;
            }
        }
    }
    let mut names = smallest.into_sorted_vec();
    names.reverse();
    Ok(Batch { names, more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn batches_join_without_gap_or_repetition() {
        let place = std::env::temp_dir().join(format!("wardian-batch-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        for number in 0..500 {
            std::fs::write(place.join(format!("name-{number:03}")), b"").unwrap();
        }
        let directory = rustix::fs::open(&place, OFlags::DIRECTORY, Mode::empty()).unwrap();
        let (mut seen, mut last) = (Vec::new(), None::<Box<[u8]>>);
        let mut batches = 0;
        loop {
            let from = last.as_deref().map_or(From::Start, From::Behind);
            let batch = read(directory.as_fd(), from, true, 6000).unwrap();
            assert!(batch.names.len() <= 6000 / OVERHEAD);
            batches += 1;
            seen.extend(batch.names.iter().rev().map(|n| n.bytes.clone()));
            if !batch.more {
                break;
            }
            last = seen.last().cloned();
        }
        std::fs::remove_dir_all(&place).unwrap();
        assert!(batches > 3);
        assert_eq!(seen.len(), 500);
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
