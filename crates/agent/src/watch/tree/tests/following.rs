//! Whoever follows what is told knows what is there, whatever happened in between.

use super::super::super::record::{Cursor, Record};
use super::steps::{carry_out, exchange, listing, steps, Step};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A tree, and somebody who is told of all that changes in it.
struct Followed {
    root: Temporary,
    outside: Temporary,
    tree: Tree,
    record: Record,
    start: Cursor,
    there: BTreeSet<Vec<u8>>,
}

impl Followed {
    fn new() -> Self {
        let (root, outside) = (Temporary::new(), Temporary::new());
        let tree = root.open(&[], &[]);
        let record = Record::new(1);
        let (start, there) = (record.cursor(), BTreeSet::new());
        Self {
            root,
            outside,
            tree,
            record,
            start,
            there,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.0.join(name)
    }

    fn directory(&self, name: &str) {
        fs::create_dir_all(self.at(name)).unwrap();
    }

    fn file(&self, name: &str) {
        fs::write(self.at(name), "x").unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    fn read(&mut self, settle: bool) {
        for change in self.tree.round(settle).unwrap().changes {
            follow(&mut self.there, &change);
            self.record.add(&change);
        }
    }

    /// Reads all, and sees that it led to what is there, and that all of it is watched.
    fn check(&mut self) {
        self.read(true);
        let actual = listing(&self.root.0);
        assert_eq!(names(&self.there), names(&actual), "the stream");
        let mut recorded = BTreeSet::new();
        for line in self.record.since(self.start).unwrap() {
            let (path, from) = (line.path.to_vec(), None);
            let (kind, directory) = (line.kind, line.directory);
            follow(
                &mut recorded,
                &Change {
                    kind,
                    path,
                    from,
                    directory,
                },
            );
        }
        assert_eq!(names(&recorded), names(&actual), "the record");
        let is_directory = |p: &&Vec<u8>| self.root.0.join(OsStr::from_bytes(p)).is_dir();
        let directories: Vec<_> = actual.iter().filter(is_directory).collect();
        assert_eq!(self.tree.directories.len(), directories.len() + 1);
        for path in directories {
            let watch = self.tree.watch(path).unwrap();
            let placed = self.tree.directories.path(watch);
            assert_eq!(placed.as_ref(), Some(path), "it is watched elsewhere");
        }
    }
}

fn names(paths: &BTreeSet<Vec<u8>>) -> Vec<String> {
    let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    paths.iter().map(text).collect()
}

fn under<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(directory)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

fn follow(there: &mut BTreeSet<Vec<u8>>, change: &Change) {
    match change.kind {
        Kind::Create => {
            there.insert(change.path.clone());
        }
        Kind::Remove => there.retain(|path| under(path, &change.path).is_none()),
        Kind::Rename => {
            let from = change.from.as_deref().unwrap_or_default();
            there.retain(|path| under(path, &change.path).is_none());
            let moved: Vec<_> = there
                .iter()
                .filter(|p| under(p, from).is_some())
                .cloned()
                .collect();
            for path in moved {
                there.remove(&path);
                there.insert([&change.path, under(&path, from).unwrap()].concat());
            }
            there.insert(change.path.clone());
        }
        Kind::Write | Kind::Chmod | Kind::Carried => {}
    }
}

#[test]
fn what_left_a_directory_that_came_back_is_told_with_all_in_it() {
    let mut followed = Followed::new();
    followed.directory("a/x/y");
    followed.file("c");
    followed.directory("a/a/x/y/a");
    followed.file("a/a/a");
    followed.file("a/a/x/f");
    followed.read(false);
    let away = followed.outside.0.join("d");
    fs::rename(followed.at("a/a"), &away).unwrap();
    fs::remove_dir_all(followed.at("a/x")).unwrap();
    fs::rename(&away, followed.at("back")).unwrap();
    followed.rename("back/x", "r");
    followed.check();
    assert!(followed.there.contains(b"r/y/a".as_slice()));
}

#[test]
fn what_is_new_in_a_directory_found_before_its_rename_is_told_stays() {
    let mut followed = Followed::new();
    followed.directory("p");
    followed.directory("q/old");
    followed.read(false);
    followed.rename("p", "r");
    followed.rename("q", "r/q");
    followed.rename("r/q/old", "r/q/new");
    followed.file("r/q/f");
    followed.check();
}

#[test]
fn what_took_the_place_of_something_by_exchange_is_told() {
    let mut followed = Followed::new();
    followed.directory("d/inner");
    followed.directory("e");
    followed.file("e/f");
    followed.read(false);
    let outside = followed.outside.0.join("o");
    fs::create_dir_all(outside.join("in-o")).unwrap();
    exchange(&outside, &followed.at("d")).unwrap();
    followed.check();
    // The directory of one of the two moves on before the exchange is told.
    exchange(&followed.at("d/in-o"), &followed.at("e/f")).unwrap();
    followed.rename("e", "d/e");
    followed.check();
}

#[test]
fn a_directory_that_replaced_an_empty_one_is_told_with_all_in_it() {
    let mut followed = Followed::new();
    followed.directory("c/inner");
    followed.directory("d/inner");
    followed.read(false);
    fs::remove_dir(followed.at("c/inner")).unwrap();
    followed.rename("d", "c/d");
    followed.rename("c/d/inner", "c/inner");
    followed.rename("c/d", "c/inner");
    followed.file("c/inner/f");
    followed.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn who_follows_knows_what_is_there(steps in steps()) {
        let mut followed = Followed::new();
        for step in &steps {
            carry_out(step, &followed.root.0, &followed.outside.0);
            match step {
                Step::Read => followed.read(false),
                Step::Settle => followed.check(),
                _ => {}
            }
        }
        followed.check();
    }
}
