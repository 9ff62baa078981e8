//! What changed, for clients that were away: at most one entry for each path.

use super::{Change, Kind};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::rc::Rc;

/// How many paths are kept, and how many bytes of them; the oldest go first.
const MAX_PATHS: usize = 100_000;
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// A moment in one record. Cursors of another record, or of another life of the agent, are of
/// another instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) instance: u64,
    pub(super) number: u64,
}

impl Cursor {
    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (instance, number) = text.split_once('-')?;
        let plain =
            |t: &str, digits: fn(&u8) -> bool| !t.is_empty() && t.bytes().all(|b| digits(&b));
        if instance.len() != 16
            || !plain(instance, u8::is_ascii_hexdigit)
            || !plain(number, u8::is_ascii_digit)
        {
            return None;
        }
        Some(Self {
            instance: u64::from_str_radix(instance, 16).ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.instance, self.number)
    }
}

/// What is known of one path. The numbers are those of changes, 0 for never.
#[derive(Clone, Copy, Debug)]
struct Known {
    latest: u64,
    created: u64,
    written: u64,
    there: bool,
    directory: bool,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) path: Rc<[u8]>,
    pub(super) directory: bool,
    pub(super) number: u64,
}

/// What changed in one tree.
#[derive(Debug)]
pub(super) struct Record {
    instance: u64,
    number: u64,
    /// Cursors before this one have lost something.
    floor: u64,
    paths: BTreeMap<Rc<[u8]>, Known>,
    order: BTreeMap<u64, Rc<[u8]>>,
    bytes: usize,
}

impl Record {
    /// An empty one. `instance` must not have been another record's.
    pub(super) fn new(instance: u64) -> Self {
        Self {
            instance,
            number: 0,
            floor: 0,
            paths: BTreeMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Now.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            instance: self.instance,
            number: self.number,
        }
    }

    /// Takes a change in.
    pub(super) fn add(&mut self, change: &Change) {
        self.number += 1;
        match change.kind {
            Kind::Create | Kind::Carried | Kind::Write | Kind::Chmod => {
                self.there(change.kind, &change.path, change.directory);
            }
            Kind::Remove => self.gone(&change.path, change.directory),
            Kind::Rename => {
                if let Some(from) = &change.from {
                    self.gone(from, change.directory);
                    // One number for each path.
                    self.number += 1;
                }
                // Who had the new name is replaced, with all below it.
                self.gone(&change.path, true);
                self.there(Kind::Create, &change.path, change.directory);
            }
        }
        while self.paths.len() > MAX_PATHS || self.bytes > MAX_BYTES {
            let Some((number, path)) = self.order.pop_first() else {
                break;
            };
            self.paths.remove(&path);
            self.bytes -= path.len();
            self.floor = number;
        }
    }

    fn there(&mut self, kind: Kind, path: &[u8], directory: bool) {
        let number = self.number;
        let created = matches!(kind, Kind::Create | Kind::Carried);
        self.put(path, |known| {
            known.directory = directory;
            known.there = true;
            if created {
                known.created = number;
            }
            if kind == Kind::Write {
                known.written = number;
            }
        });
    }

    fn gone(&mut self, path: &[u8], directory: bool) {
        if directory {
            // What was below went with it: its line says so for all.
            let begin = [path, b"/"].concat();
            let bounds = (Bound::Included(begin.as_slice()), Bound::Unbounded);
            let below = self.paths.range::<[u8], _>(bounds);
            let below: Vec<(Rc<[u8]>, u64)> = below
                .take_while(|(path, _)| path.starts_with(&begin))
                .map(|(path, known)| (Rc::clone(path), known.latest))
                .collect();
            for (path, latest) in below {
                self.paths.remove(&path);
                self.order.remove(&latest);
                self.bytes -= path.len();
            }
        }
        self.put(path, |known| {
            known.directory = directory;
            known.there = false;
        });
    }

    /// Makes a path's entry the latest.
    fn put(&mut self, path: &[u8], change: impl FnOnce(&mut Known)) {
        let key = match self.paths.get_key_value(path) {
            Some((key, known)) => {
                self.order.remove(&known.latest);
                Rc::clone(key)
            }
            None => {
                self.bytes += path.len();
                Rc::from(path)
            }
        };
        let known = self.paths.entry(Rc::clone(&key)).or_insert(Known {
            latest: 0,
            created: 0,
            written: 0,
            there: true,
            directory: false,
        });
        change(known);
        known.latest = self.number;
        self.order.insert(self.number, key);
    }

    /// What changed after `cursor`, the earliest first; `None` when that is not known any more.
    pub(super) fn since(&self, cursor: Cursor) -> Option<Vec<Line>> {
        let known =
            cursor.instance == self.instance && (self.floor..=self.number).contains(&cursor.number);
        if !known {
            return None;
        }
        let after = (Bound::Excluded(cursor.number), Bound::Unbounded);
        let lines = self.order.range(after).filter_map(|(&number, path)| {
            let known = self.paths.get(path)?;
            let kind = if !known.there {
                Kind::Remove
            } else if known.created > cursor.number {
                Kind::Create
            } else if known.written > cursor.number {
                Kind::Write
            } else {
                Kind::Chmod
            };
            Some(Line {
                kind,
                path: Rc::clone(path),
                directory: known.directory,
                number,
            })
        });
        Some(lines.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn change(kind: Kind, path: &str) -> Change {
        Change {
            kind,
            path: path.as_bytes().to_vec(),
            from: None,
            directory: false,
        }
    }

    fn told(record: &Record, cursor: Cursor) -> Vec<(Kind, String)> {
        let lines = record.since(cursor).unwrap();
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        lines.iter().map(|l| (l.kind, text(&l.path))).collect()
    }

    #[test]
    fn each_path_is_told_once_and_as_the_asker_needs_it() {
        let mut record = Record::new(1);
        let start = record.cursor();
        record.add(&change(Kind::Create, "f"));
        let created = record.cursor();
        record.add(&change(Kind::Write, "f"));
        record.add(&change(Kind::Write, "f"));
        let written = record.cursor();
        record.add(&change(Kind::Chmod, "f"));
        let f = |kind| vec![(kind, "f".to_owned())];
        assert_eq!(told(&record, start), f(Kind::Create));
        assert_eq!(told(&record, created), f(Kind::Write));
        assert_eq!(told(&record, written), f(Kind::Chmod));
        assert_eq!(told(&record, record.cursor()), []);
        record.add(&change(Kind::Remove, "f"));
        assert_eq!(told(&record, written), f(Kind::Remove));
        assert_eq!(
            record.since(Cursor {
                instance: 2,
                ..start
            }),
            None
        );
        let future = Cursor {
            number: 99,
            ..start
        };
        assert_eq!(record.since(future), None);
    }

    #[test]
    fn a_directory_that_goes_takes_its_lines_along() {
        let mut record = Record::new(1);
        let start = record.cursor();
        record.add(&change(Kind::Create, "d/f"));
        record.add(&change(Kind::Create, "dx"));
        record.add(&Change {
            directory: true,
            ..change(Kind::Remove, "d")
        });
        let expected = [
            (Kind::Create, "dx".to_owned()),
            (Kind::Remove, "d".to_owned()),
        ];
        assert_eq!(told(&record, start), expected);
    }

    #[test]
    fn what_is_renamed_to_a_directorys_name_takes_the_place_of_all_in_it() {
        let mut record = Record::new(1);
        let start = record.cursor();
        record.add(&change(Kind::Create, "d/f"));
        record.add(&Change {
            from: Some(b"e".to_vec()),
            directory: true,
            ..change(Kind::Rename, "d")
        });
        record.add(&change(Kind::Carried, "d/g"));
        let expected = [
            (Kind::Remove, "e".to_owned()),
            (Kind::Create, "d".to_owned()),
            (Kind::Create, "d/g".to_owned()),
        ];
        assert_eq!(told(&record, start), expected);
    }

    #[test]
    fn the_oldest_goes_first_and_cursors_before_it_are_lost() {
        let mut record = Record::new(1);
        let start = record.cursor();
        for number in 0..=MAX_PATHS {
            record.add(&change(Kind::Create, &number.to_string()));
        }
        assert_eq!(record.since(start), None);
        let second = Cursor { number: 1, ..start };
        assert_eq!(record.since(second).unwrap().len(), MAX_PATHS);
        assert_eq!(record.paths.len(), record.order.len());
    }

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let cursor = Cursor {
            instance: 0xfeed,
            number: 7,
        };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for text in [
            "",
            "-",
            "feed-1",
            "000000000000feed-",
            "000000000000feed-+1",
            "000000000000FEED",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }

    proptest! {
        // Who applies the lines to what was there at the cursor has what is there now.
        #[test]
        fn what_is_told_leads_from_then_to_now(
            steps in prop::collection::vec((0u8..3, 0u8..6, 0u8..6), 0..60), at in 0usize..60,
        ) {
            let mut record = Record::new(9);
            let mut there: BTreeSet<Vec<u8>> = BTreeSet::new();
            let mut then = (record.cursor(), there.clone());
            for (index, (action, a, b)) in steps.into_iter().enumerate() {
                if index == at {
                    then = (record.cursor(), there.clone());
                }
                let (a, b) = (vec![b'a' + a], vec![b'a' + b]);
                let (kind, path, from) = match (action, there.contains(&a)) {
                    (0, false) => (Kind::Create, a, None),
                    (0, true) => (Kind::Write, a, None),
                    (1, true) => (Kind::Remove, a, None),
                    (2, true) if a != b => (Kind::Rename, b, Some(a)),
                    _ => continue,
                };
                match kind {
                    Kind::Remove => { there.remove(&path); }
                    Kind::Rename => {
                        there.remove(from.as_deref().unwrap_or_default());
                        there.insert(path.clone());
                    }
                    _ => { there.insert(path.clone()); }
                }
                record.add(&Change { kind, path, from, directory: false });
            }
            let lines = record.since(then.0).unwrap();
            let mut seen = BTreeSet::new();
            let mut now = then.1;
            for line in lines {
                prop_assert!(seen.insert(line.path.clone()), "a path twice");
                match line.kind {
                    Kind::Remove => { now.remove(&*line.path); }
                    Kind::Create => { now.insert(line.path.to_vec()); }
                    _ => prop_assert!(now.contains(&*line.path)),
                }
            }
            prop_assert_eq!(now, there);
        }
    }
}
