//! What one round of reading found, as it is told: filtered, and repeated writes made one.

use super::filter::Filter;
use super::{Change, Kind, Lost};
use std::collections::HashMap;

/// The most changes of one round, and the most bytes of their paths. Where more came at once, as
/// with a large tree moved in, to look anew is cheaper than to be told.
const MOST: usize = 200_000;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Changes in their order.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) changes: Vec<Change>,
    /// What was last said of each path.
    last: HashMap<Vec<u8>, Kind>,
    bytes: usize,
    overfull: bool,
}

impl Outcome {
    /// A path that is there now.
    pub(super) fn created(&mut self, filter: &Filter, path: &[u8], directory: bool) {
        if filter.tells(path) {
            self.push(Kind::Create, path, None, directory);
        }
    }

    /// A path whose content or attributes changed; once more while nothing else happened to it
    /// is not said again.
    pub(super) fn changed(&mut self, filter: &Filter, kind: Kind, path: &[u8], directory: bool) {
        if self.last.get(path) != Some(&kind) && filter.tells(path) {
            self.push(kind, path, None, directory);
        }
    }

    /// A path that is there no more.
    pub(super) fn removed(&mut self, filter: &Filter, path: &[u8], directory: bool) {
        if filter.tells_leaving(path, directory) {
            self.push(Kind::Remove, path, None, directory);
        }
    }

    /// A path that has another name now. Where only one of the two is told of, it came or went.
    pub(super) fn renamed(&mut self, filter: &Filter, from: &[u8], to: &[u8], directory: bool) {
        let leaves = filter.tells_leaving(from, directory);
        match (leaves, filter.tells_leaving(to, directory)) {
            (true, true) => {
                self.push(Kind::Rename, to, Some(from), directory);
                self.last.insert(from.to_vec(), Kind::Remove);
            }
            (true, false) => self.push(Kind::Remove, from, None, directory),
            (false, true) => self.push(Kind::Create, to, None, directory),
            (false, false) => {}
        }
    }

    /// A path that moved with a directory above it.
    pub(super) fn carried(&mut self, filter: &Filter, path: &[u8], directory: bool) {
        if filter.tells(path) {
            self.push(Kind::Carried, path, None, directory);
        }
    }

    fn push(&mut self, kind: Kind, path: &[u8], from: Option<&[u8]>, directory: bool) {
        self.bytes += path.len() + from.map_or(0, <[u8]>::len);
        if self.changes.len() >= MOST || self.bytes > MOST_BYTES {
            self.overfull = true;
            return;
        }
        self.last.insert(path.to_vec(), kind);
        self.changes.push(Change {
            kind,
            path: path.to_vec(),
            from: from.map(<[u8]>::to_vec),
            directory,
        });
    }

    /// Fails when there was more than is kept.
    ///
    /// # Errors
    /// [`Lost::Overflow`].
    pub(super) fn whole(&self) -> Result<(), Lost> {
        if self.overfull {
            Err(Lost::Overflow)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(outcome: &Outcome) -> Vec<Kind> {
        outcome.changes.iter().map(|c| c.kind).collect()
    }

    #[test]
    fn writes_in_a_row_are_one_and_others_between_them_part_them() {
        let all = Filter::new(&[], &[]).unwrap();
        let mut outcome = Outcome::default();
        outcome.created(&all, b"f", false);
        outcome.changed(&all, Kind::Write, b"f", false);
        outcome.changed(&all, Kind::Write, b"g", false);
        outcome.changed(&all, Kind::Write, b"f", false);
        outcome.removed(&all, b"f", false);
        outcome.created(&all, b"f", false);
        outcome.changed(&all, Kind::Write, b"f", false);
        use Kind::{Create, Remove, Write};
        assert_eq!(
            kinds(&outcome),
            [Create, Write, Write, Remove, Create, Write]
        );
    }

    #[test]
    fn a_rename_across_the_filter_is_a_coming_or_a_going() {
        let python = Filter::new(&["*.py".to_owned()], &[]).unwrap();
        let mut outcome = Outcome::default();
        outcome.renamed(&python, b"a.py", b"b.py", false);
        outcome.renamed(&python, b"b.py", b"b.txt", false);
        outcome.renamed(&python, b"b.txt", b"c.py", false);
        outcome.renamed(&python, b"x", b"y", false);
        assert_eq!(kinds(&outcome), [Kind::Rename, Kind::Remove, Kind::Create]);
        assert_eq!(outcome.changes[0].from.as_deref(), Some(&b"a.py"[..]));
    }

    #[test]
    fn more_than_is_kept_is_a_loss() {
        let all = Filter::new(&[], &[]).unwrap();
        let mut outcome = Outcome::default();
        for number in 0..=MOST {
            assert!(outcome.whole().is_ok());
            outcome.created(&all, number.to_string().as_bytes(), false);
        }
        assert_eq!(outcome.whole(), Err(Lost::Overflow));
    }
}
