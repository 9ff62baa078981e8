//! A log on the disk: segments of whole records, the oldest dropped when the log has its size.
//! All of this may block; it runs on the threads for file work.
//!
//! What lies there may have been changed by the sandbox's root. Where segments begin and end is
//! known from memory alone; every record is checked when it is read, and what does not check is a
//! gap.

use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use wardian_wire::log::{Records, HEADER, MAX_PAYLOAD};

/// The largest a segment gets, and the smallest it is made, in bytes.
const SEGMENT: std::ops::RangeInclusive<u64> = 16 * 1024..=4 * 1024 * 1024;
/// Into how many segments a log is cut, if they are not larger than that: what is dropped at once.
const SEGMENTS: u64 = 16;
/// How much is read at once, in bytes: at least one record.
const CHUNK: usize = 128 * 1024;
const _: () = assert!(CHUNK > HEADER + MAX_PAYLOAD);

/// One file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The cursor of its first record.
    pub(crate) base: u64,
    /// Bytes of whole records in it.
    pub(crate) length: u64,
}

impl Segment {
    pub(crate) fn end(&self) -> u64 {
        self.base + self.length
    }

    fn file(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{:020}.log", self.base))
    }
}

/// What is written to.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    limit: u64,
    prepared: bool,
    current: Option<File>,
    pub(crate) segments: VecDeque<Segment>,
}

impl Store {
    /// A log in `directory` of at most `limit` bytes. Nothing is touched before the first write.
    pub(crate) fn new(directory: PathBuf, limit: u64) -> Self {
        Self {
            directory,
            limit,
            prepared: false,
            current: None,
            segments: VecDeque::new(),
        }
    }

    fn end(&self) -> u64 {
        self.segments.back().map_or(0, Segment::end)
    }

    /// Adds whole records, the first of which has the cursor of the log's end. In vain, the log
    /// is as it was before.
    ///
    /// # Errors
    /// What the kernel says, `ENOSPC` above all.
    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.prepare()?;
        let size = records.len() as u64;
        let full = (self.limit / SEGMENTS).clamp(*SEGMENT.start(), *SEGMENT.end());
        let fits = |s: &Segment| s.length + size <= full;
        if self.current.is_none() || !self.segments.back().is_some_and(fits) {
            self.begin_segment()?;
        }
        self.make_room(size);
        let (Some(file), Some(segment)) = (&self.current, self.segments.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.write_all_at(records, segment.length)?;
        segment.length += size;
        Ok(())
    }

    /// Makes the directory, empty: whatever an earlier log of the name, or the template, left in
    /// it is not of this log.
    fn prepare(&mut self) -> io::Result<()> {
        if self.prepared {
            return Ok(());
        }
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                std::fs::remove_file(&self.directory)?;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(parent) = self.directory.parent() {
            std::fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o750).create(&self.directory)?;
        self.prepared = true;
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let segment = Segment {
            base: self.end(),
            length: 0,
        };
        let path = segment.file(&self.directory);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o640));
        let file = match file {
            // Somebody removed the directory; the log goes on in a new one.
            Err(rustix::io::Errno::NOENT) => {
                self.prepared = false;
                self.prepare()?;
                rustix::fs::open(&path, flags, Mode::from_raw_mode(0o640))?
            }
            file => file?,
        };
        self.current = Some(File::from(file));
        // An empty one at the end was begun for a write that failed, and is the same file.
        if self.segments.back().is_none_or(|last| last.length > 0) {
            self.segments.push_back(segment);
        }
        Ok(())
    }

    /// Drops the oldest segments until `size` more bytes are within the limit.
    fn make_room(&mut self, size: u64) {
        let total = |segments: &VecDeque<Segment>| segments.iter().map(|s| s.length).sum::<u64>();
        while self.segments.len() > 1 && total(&self.segments) + size > self.limit {
            if let Some(oldest) = self.segments.pop_front() {
                // Fails if the sandbox has removed it already.
                let _ = std::fs::remove_file(oldest.file(&self.directory));
            }
        }
    }
}

/// Removes a log; what of it can't be removed is the sandbox's own doing.
pub(crate) fn remove(directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
}

/// Reads whole records from `at`, a cursor in `segment`. Empty where what lies there is none.
pub(crate) fn read(directory: &Path, segment: Segment, at: u64) -> Vec<u8> {
    let mut bytes = read_raw(directory, segment, at).unwrap_or_default();
    let mut records = Records::new(&bytes, at);
    while let Some(Ok(_)) = records.next() {}
    bytes.truncate((records.cursor() - at) as usize);
    bytes
}

fn read_raw(directory: &Path, segment: Segment, at: u64) -> io::Result<Vec<u8>> {
    // A link, a FIFO or a device may have been put there to hang on.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(segment.file(directory), flags, Mode::empty())?;
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let left = segment.end().saturating_sub(at);
    let mut bytes = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
    let mut filled = 0;
    while filled < bytes.len() {
        let offset = at.saturating_sub(segment.base) + filled as u64;
        match file.read_at(&mut bytes[filled..], offset) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The cursor of the first record of `segment` that begins at `wanted` or behind it, or, if
/// `containing`, of the one that holds `wanted`; that of what can't be read, should it come first.
pub(crate) fn boundary(directory: &Path, segment: Segment, wanted: u64, containing: bool) -> u64 {
    let mut at = segment.base;
    while at < wanted {
        let bytes = read(directory, segment, at);
        for (header, _) in Records::new(&bytes, at).flatten() {
            if header.next() > wanted && containing || header.cursor >= wanted {
                return header.cursor;
            }
            at = header.next();
        }
        if bytes.is_empty() {
            return at;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_wire::log::{append, Kind};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("wardian-store-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            remove(&self.0);
        }
    }

    fn record(at: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&mut bytes, Kind::Stdout, at, 1, payload);
        bytes
    }

    fn fill(store: &mut Store, count: usize) {
        for n in 0..count {
            let bytes = record(store.end(), &vec![n as u8; 1000]);
            store.append(&bytes).unwrap();
        }
    }

    #[test]
    fn the_oldest_segments_are_dropped_and_their_files_too() {
        let folder = Folder::new("cap");
        let mut store = Store::new(folder.0.clone(), 64 * 1024);
        fill(&mut store, 500);
        let total: u64 = store.segments.iter().map(|s| s.length).sum();
        assert!(total <= 64 * 1024 && total > 32 * 1024, "{total}");
        assert_eq!(store.end(), 500 * 1024);
        let files = std::fs::read_dir(&folder.0).unwrap().count();
        assert_eq!(files, store.segments.len());
        for segment in &store.segments {
            let mut at = segment.base;
            while at < segment.end() {
                at += read(&folder.0, *segment, at).len() as u64;
            }
            assert_eq!(at, segment.end());
        }
    }

    #[test]
    fn boundaries_are_found() {
        let folder = Folder::new("boundary");
        let mut store = Store::new(folder.0.clone(), 1 << 20);
        fill(&mut store, 10);
        let segment = store.segments[0];
        let find = |wanted, containing| boundary(&folder.0, segment, wanted, containing);
        assert_eq!((find(0, false), find(0, true)), (0, 0));
        assert_eq!((find(1024, false), find(1024, true)), (1024, 1024));
        assert_eq!((find(1025, false), find(1025, true)), (2048, 1024));
        assert_eq!(find(segment.end(), false), segment.end());
    }

    #[test]
    fn what_was_tampered_with_is_read_as_nothing() {
        let folder = Folder::new("tampered");
        let mut store = Store::new(folder.0.clone(), 1 << 20);
        fill(&mut store, 10);
        let segment = store.segments[0];
        let path = segment.file(&folder.0);
        let whole = std::fs::read(&path).unwrap();

        std::fs::write(&path, &whole[..3000]).unwrap();
        assert_eq!(read(&folder.0, segment, 0).len(), 2048);
        let mut wrong = whole.clone();
        wrong[1024 + 8] ^= 1;
        std::fs::write(&path, &wrong).unwrap();
        assert_eq!(read(&folder.0, segment, 0).len(), 1024);
        assert!(read(&folder.0, segment, 1024).is_empty());

        std::fs::remove_file(&path).unwrap();
        assert!(read(&folder.0, segment, 0).is_empty());
        let elsewhere = folder.0.join("elsewhere");
        std::fs::write(&elsewhere, &whole).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(read(&folder.0, segment, 0).is_empty());
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(read(&folder.0, segment, 0).is_empty());

        // The log goes on, also where the whole directory is gone.
        fill(&mut store, 1);
        remove(&folder.0);
        fill(&mut store, 300);
        let last = *store.segments.back().unwrap();
        assert!(!read(&folder.0, last, last.base).is_empty());
    }

    #[test]
    fn a_write_that_fails_changes_nothing() {
        let folder = Folder::new("failing");
        let mut store = Store::new(folder.0.clone(), 1 << 20);
        fill(&mut store, 3);
        // A descriptor that can't be written to fails as a full disk does.
        let path = store.segments[0].file(&folder.0);
        store.current = Some(File::open(&path).unwrap());
        assert!(store.append(&record(3072, b"lost")).is_err());
        assert_eq!(store.end(), 3072);
        store.current = None;
        store.append(&record(3072, b"kept")).unwrap();
        let last = *store.segments.back().unwrap();
        assert!(read(&folder.0, last, 3072).ends_with(b"kept"));
    }
}
