//! A process's log: one writer, any number of readers, each at its own pace.
//!
//! Readers hold a cursor and no place in a queue: the newest records are given from memory, older
//! ones are read from the disk, and those the log has dropped are told as a gap. So a reader that
//! stops costs nothing, and holds up neither the process nor other readers.

use super::store::{self, Segment, Store};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{watch, Mutex};
use wardian_wire::log::{append, gap, Kind};

/// How much of the newest is kept in memory while somebody follows, in bytes.
const RECENT: usize = 256 * 1024;

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// The cursor behind its last record.
    pub(crate) cursor: u64,
    /// The cursor behind the mark of the process's last end: followers leave there.
    pub(crate) finish: Option<u64>,
}

/// What readers see.
#[derive(Debug)]
pub(crate) struct Log {
    /// Tells this log from an earlier one of the same name.
    pub(crate) id: String,
    directory: PathBuf,
    segments: RefCell<VecDeque<Segment>>,
    recent: RefCell<VecDeque<(u64, Bytes)>>,
    readers: Cell<usize>,
    end: watch::Sender<End>,
    /// Records that could not be stored, behind which nothing comes.
    epilogue: RefCell<Bytes>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    store: Option<Store>,
    /// Bytes of output that could not be stored since the last that could.
    lost: u64,
}

/// Microseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

impl Log {
    /// An empty log in `directory` of at most `limit` bytes.
    pub(crate) fn new(directory: PathBuf, limit: u64) -> Self {
        let store = Store::new(directory.clone(), limit);
        Self {
            id: format!("{:x}", now()),
            directory,
            segments: RefCell::default(),
            recent: RefCell::default(),
            readers: Cell::default(),
            end: watch::Sender::new(End::default()),
            epilogue: RefCell::default(),
            writer: Mutex::new(Writer {
                store: Some(store),
                lost: 0,
            }),
        }
    }

    /// The cursor of the oldest record and the one behind the newest.
    pub(crate) fn range(&self) -> (u64, u64) {
        let end = self.end.borrow().cursor;
        let segments = self.segments.borrow();
        (segments.front().map_or(end, |s| s.base), end)
    }

    /// Adds what `fill` gives: pieces of at most a record's payload each, all of one kind. Called
    /// with the turn to write already had, so that order is that of the calls. A full disk costs
    /// the records, never time.
    pub(crate) async fn write(&self, kind: Kind, fill: impl FnOnce(&mut dyn FnMut(&[u8]))) {
        let mut writer = self.writer.lock().await;
        let start = self.end.borrow().cursor;
        let mut records = Vec::new();
        let (mut cursor, mut size) = (start, 0);
        if writer.lost > 0 {
            cursor = append(
                &mut records,
                Kind::Gap,
                cursor,
                now(),
                &gap(writer.lost, None),
            );
        }
        fill(&mut |piece| {
            size += piece.len() as u64;
            cursor = append(&mut records, kind, cursor, now(), piece);
        });
        if size == 0 {
            return;
        }
        let records = Bytes::from(records);
        if self.store(&mut writer, start, &records).await {
            writer.lost = 0;
            self.end.send_modify(|end| end.cursor = cursor);
        } else if kind != Kind::Mark {
            writer.lost += size;
        }
    }

    /// Adds the mark of the process's last end. Followers leave behind it.
    pub(crate) async fn finish(&self, mark: &[u8]) {
        let before = self.range().1;
        self.write(Kind::Mark, |put| put(mark)).await;
        let writer = self.writer.lock().await;
        let end = self.range().1;
        if end == before {
            let mut epilogue = Vec::new();
            let mut cursor = end;
            if writer.lost > 0 {
                let gap = gap(writer.lost, None);
                cursor = append(&mut epilogue, Kind::Gap, cursor, now(), &gap);
            }
            append(&mut epilogue, Kind::Mark, cursor, now(), mark);
            *self.epilogue.borrow_mut() = epilogue.into();
        }
        self.end.send_modify(|end| end.finish = Some(end.cursor));
    }

    /// Stores records on the disk. Returns whether that worked.
    async fn store(&self, writer: &mut Writer, start: u64, records: &Bytes) -> bool {
        let Some(mut store) = writer.store.take() else {
            return false;
        };
        let bytes = records.clone();
        let work = move || {
            let outcome = store.append(&bytes);
            (store, outcome.is_ok())
        };
        // Only a thread that died gives no answer; then nothing more can be stored.
        let Ok((store, stored)) = tokio::task::spawn_blocking(work).await else {
            return false;
        };
        self.segments.borrow_mut().clone_from(&store.segments);
        writer.store = Some(store);
        if stored && self.readers.get() > 0 {
            self.remember(start, records.clone());
        } else {
            self.recent.borrow_mut().clear();
        }
        stored
    }

    fn remember(&self, start: u64, records: Bytes) {
        let mut recent = self.recent.borrow_mut();
        recent.push_back((start, records));
        let mut total: usize = recent.iter().map(|(_, b)| b.len()).sum();
        while total > RECENT && recent.len() > 1 {
            total -= recent.pop_front().map_or(0, |(_, b)| b.len());
        }
    }

    /// Nothing is written to it any more. Readers find a gap, then the end.
    pub(crate) async fn abandon(&self) {
        self.writer.lock().await.store = None;
        self.segments.borrow_mut().clear();
        self.recent.borrow_mut().clear();
        self.end.send_modify(|end| end.finish = Some(end.cursor));
    }

    /// The same, and its files are removed.
    pub(crate) async fn remove(&self) {
        self.abandon().await;
        let directory = self.directory.clone();
        // Nobody is left to tell of what could not be removed.
        let _ = tokio::task::spawn_blocking(move || store::remove(&directory)).await;
    }

    /// The cursor of the first record at `wanted` or behind, or of the one that holds it.
    async fn align(&self, wanted: u64, containing: bool) -> u64 {
        let (start, end) = self.range();
        if wanted <= start || wanted >= end {
            return wanted;
        }
        let Some(segment) = self.segment(wanted) else {
            return wanted;
        };
        let directory = self.directory.clone();
        let work = move || store::boundary(&directory, segment, wanted, containing);
        tokio::task::spawn_blocking(work).await.unwrap_or(wanted)
    }

    fn segment(&self, at: u64) -> Option<Segment> {
        let segments = self.segments.borrow();
        segments
            .iter()
            .find(|s| (s.base..s.end()).contains(&at))
            .copied()
    }

    /// The newest records from `at` on, if they are in memory.
    fn recall(&self, at: u64) -> Option<Bytes> {
        let recent = self.recent.borrow();
        let (base, records) = recent
            .iter()
            .find(|(base, b)| (*base..base + b.len() as u64).contains(&at))?;
        Some(records.slice((at - base) as usize..))
    }
}

/// From where a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Oldest,
    Cursor(u64),
    /// So many bytes before the end.
    Last(u64),
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Whole records, the first of which has this cursor.
    Records(u64, Bytes),
    /// Nothing more for now.
    CaughtUp,
    /// All there will be for a follower has been read.
    Finished,
}

/// One who reads.
#[derive(Debug)]
pub(crate) struct Reader {
    log: Rc<Log>,
    at: u64,
    end: watch::Receiver<End>,
    /// It leaves at the mark of the process's last end; otherwise it reads what came behind too.
    follows: bool,
    told: bool,
}

impl Reader {
    /// Begins to read `log`. A cursor behind its end is its end.
    pub(crate) async fn new(log: Rc<Log>, since: Since, follows: bool) -> Self {
        let (start, end) = log.range();
        let at = match since {
            Since::Oldest => start,
            Since::Cursor(cursor) => log.align(cursor.min(end), false).await,
            Since::Last(bytes) => log.align(end.saturating_sub(bytes).max(start), true).await,
        };
        log.readers.set(log.readers.get() + 1);
        let receiver = log.end.subscribe();
        Self {
            log,
            at,
            end: receiver,
            follows,
            told: false,
        }
    }

    /// Where it is.
    pub(crate) fn cursor(&self) -> u64 {
        self.at
    }

    /// The next records. After [`Piece::CaughtUp`], [`Reader::changed`] waits for more.
    pub(crate) async fn next(&mut self) -> Piece {
        let end = *self.end.borrow_and_update();
        let (start, _) = self.log.range();
        if self.at < start {
            return self.skip_to(start);
        }
        let finished = end.finish.is_some_and(|finish| self.at >= finish);
        if self.at >= end.cursor || finished && self.follows {
            return self.rest(end);
        }
        if let Some(records) = self.log.recall(self.at) {
            return self.give(records);
        }
        let Some(segment) = self.log.segment(self.at) else {
            return self.skip_to(end.cursor);
        };
        let (directory, at) = (self.log.directory.clone(), self.at);
        let work = move || store::read(&directory, segment, at);
        match tokio::task::spawn_blocking(work).await {
            Ok(bytes) if !bytes.is_empty() => self.give(bytes.into()),
            _ => self.skip_to(segment.end().max(self.log.range().0)),
        }
    }

    fn rest(&mut self, end: End) -> Piece {
        if end.finish.is_none() {
            return Piece::CaughtUp;
        }
        let epilogue = self.log.epilogue.borrow().clone();
        if epilogue.is_empty() || std::mem::replace(&mut self.told, true) {
            return Piece::Finished;
        }
        Piece::Records(self.at, epilogue)
    }

    fn give(&mut self, records: Bytes) -> Piece {
        let at = self.at;
        self.at += records.len() as u64;
        Piece::Records(at, records)
    }

    fn skip_to(&mut self, next: u64) -> Piece {
        let mut record = Vec::new();
        let payload = gap(next.saturating_sub(self.at), Some(next));
        append(&mut record, Kind::Gap, self.at, now(), &payload);
        Piece::Records(std::mem::replace(&mut self.at, next), record.into())
    }

    /// Waits until there may be more.
    pub(crate) async fn changed(&mut self) {
        // The log, which holds the sender, lives as long as this.
        let _ = self.end.changed().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let left = self.log.readers.get().saturating_sub(1);
        self.log.readers.set(left);
        if left == 0 {
            *self.log.recent.borrow_mut() = VecDeque::new();
        }
    }
}
