//! What happens to a tree in tests, step by step.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(u8, u8),
    MakeTree(u8, u8),
    Rename(u8, u8),
    Remove(u8),
    Away(u8),
    Back(u8),
    Exchange(u8, u8),
    Read,
    Settle,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u8..8, 0u8..4).prop_map(|(a, b)| Step::Write(a, b)),
        (0u8..8, 0u8..4).prop_map(|(a, b)| Step::MakeTree(a, b)),
        (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Rename(a, b)),
        any::<u8>().prop_map(Step::Remove),
        any::<u8>().prop_map(Step::Away),
        (0u8..8).prop_map(Step::Back),
        (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Exchange(a, b)),
        Just(Step::Read),
        Just(Step::Settle),
    ];
    prop::collection::vec(step, 0..40)
}

/// Every path below `root`, relative.
pub(super) fn listing(root: &Path) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    let mut queue = vec![Vec::new()];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(root.join(OsStr::from_bytes(&directory))).unwrap() {
            let entry = entry.unwrap();
            let child = join(&directory, entry.file_name().as_bytes());
            if entry.file_type().unwrap().is_dir() {
                queue.push(child.clone());
            }
            all.insert(child);
        }
    }
    all
}

pub(super) fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    Ok(rustix::fs::renameat_with(here, a, here, b, flags)?)
}

/// An existing path, or the root itself as the empty one.
fn pick(root: &Path, number: u8) -> Vec<u8> {
    let all: Vec<_> = listing(root).into_iter().collect();
    all.get(usize::from(number) % (all.len() + 1))
        .cloned()
        .unwrap_or_default()
}

pub(super) fn carry_out(step: &Step, root: &Path, outside: &Path) {
    let at = |path: &[u8]| root.join(OsStr::from_bytes(path));
    let name = |n: u8| vec![b'a' + n];
    // A step that the kernel refuses changes nothing.
    let _ = match step {
        Step::Write(place, n) => fs::write(at(&join(&pick(root, *place), &name(*n))), "x"),
        Step::MakeTree(place, n) => {
            let top = join(&pick(root, *place), &name(*n));
            fs::create_dir_all(at(&join(&top, b"x/y")))
                .and_then(|()| fs::write(at(&join(&top, b"x/f")), "x"))
        }
        Step::Rename(from, to) => {
            let (from, to) = (pick(root, *from), pick(root, *to));
            fs::rename(at(&from), at(&to)).or_else(|_| fs::rename(at(&from), at(&join(&to, b"r"))))
        }
        Step::Remove(n) => {
            let path = pick(root, *n);
            if path.is_empty() {
                return;
            }
            fs::remove_file(at(&path)).or_else(|_| fs::remove_dir_all(at(&path)))
        }
        Step::Away(n) => {
            let path = pick(root, *n);
            if path.is_empty() {
                return;
            }
            fs::rename(at(&path), outside.join(OsStr::from_bytes(&name(*n % 4))))
        }
        Step::Back(n) => fs::rename(outside.join(OsStr::from_bytes(&name(*n % 4))), at(b"back")),
        Step::Exchange(a, b) => exchange(&at(&pick(root, *a)), &at(&pick(root, *b))),
        Step::Read | Step::Settle => return,
    };
}
