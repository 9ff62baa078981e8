//! Against a real kernel: what is told leads from what was there to what is there.

mod following;
mod steps;

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wardian-tree-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self, include: &[&str], exclude: &[&str]) -> Tree {
        let own = |globs: &[&str]| globs.iter().map(|&g| g.to_owned()).collect::<Vec<_>>();
        Tree::open(Wish {
            root: self.0.clone(),
            recursive: true,
            filter: Filter::new(&own(include), &own(exclude)).unwrap(),
        })
        .unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn told(tree: &mut Tree) -> Vec<String> {
    let round = tree.round(true).unwrap();
    assert!(round.drained && !round.unsettled);
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let changes = round.changes.iter().filter(|c| c.kind != Kind::Carried);
    changes
        .map(|c| {
            let from = c.from.as_ref().map(|f| format!("{} ", text(f)));
            format!("{:?} {}{}", c.kind, from.unwrap_or_default(), text(&c.path))
        })
        .collect()
}

#[test]
fn every_kind_is_told() {
    let root = Temporary::new();
    let outside = Temporary::new();
    let mut tree = root.open(&[], &[]);
    let at = |name: &str| root.0.join(name);
    fs::write(at("f"), "x").unwrap();
    assert_eq!(told(&mut tree), ["Create f", "Write f"]);
    fs::set_permissions(at("f"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(told(&mut tree), ["Chmod f"]);
    fs::rename(at("f"), at("g")).unwrap();
    assert_eq!(told(&mut tree), ["Rename f g"]);
    fs::create_dir(at("d")).unwrap();
    assert_eq!(told(&mut tree), ["Create d"]);
    fs::rename(at("g"), at("d/g")).unwrap();
    assert_eq!(told(&mut tree), ["Rename g d/g"]);
    fs::rename(at("d/g"), outside.0.join("g")).unwrap();
    assert_eq!(told(&mut tree), ["Remove d/g"]);
    fs::rename(outside.0.join("g"), at("h")).unwrap();
    assert_eq!(told(&mut tree), ["Create h"]);
    fs::remove_file(at("h")).unwrap();
    assert_eq!(told(&mut tree), ["Remove h"]);
    fs::rename(at("d"), outside.0.join("d")).unwrap();
    assert_eq!(told(&mut tree), ["Remove d"]);
    fs::write(outside.0.join("d/unseen"), "x").unwrap();
    assert_eq!(told(&mut tree), Vec::<String>::new());
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/b/f"), "").unwrap();
    fs::create_dir(at("z")).unwrap();
    let first = told(&mut tree);
    for line in ["Create a", "Create a/b", "Create a/b/f", "Create z"] {
        assert_eq!(
            first.iter().filter(|l| *l == line).count(),
            1,
            "{line}: {first:?}"
        );
    }
    fs::write(at("z/inner"), "").unwrap();
    assert_eq!(told(&mut tree), ["Create z/inner", "Write z/inner"]);
}

#[test]
fn two_names_that_change_places_are_both_there_afterwards() {
    let root = Temporary::new();
    fs::create_dir_all(root.0.join("a/in-a")).unwrap();
    fs::create_dir_all(root.0.join("b/in-b")).unwrap();
    let mut tree = root.open(&[], &[]);
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    let (a, b) = (root.0.join("a"), root.0.join("b"));
    rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &b, flags).unwrap();
    told(&mut tree);
    fs::write(root.0.join("a/in-b/f"), "").unwrap();
    assert_eq!(told(&mut tree)[0], "Create a/in-b/f");
}

#[test]
fn halves_of_a_rename_wait_for_each_other() {
    let (root, outside) = (Temporary::new(), Temporary::new());
    fs::write(root.0.join("f"), "").unwrap();
    let mut tree = root.open(&[], &[]);
    fs::rename(root.0.join("f"), outside.0.join("f")).unwrap();
    let round = tree.round(false).unwrap();
    assert!(round.unsettled && round.changes.is_empty());
    // The name is another's now: the old one is told as gone before it.
    fs::write(root.0.join("f"), "").unwrap();
    let lines = told(&mut tree);
    assert_eq!(lines[..2], ["Remove f", "Create f"]);
}

#[test]
fn what_moved_in_and_out_again_is_forgotten() {
    let (root, outside) = (Temporary::new(), Temporary::new());
    fs::create_dir(outside.0.join("d")).unwrap();
    fs::write(outside.0.join("d/f"), "").unwrap();
    let mut tree = root.open(&[], &[]);
    fs::rename(outside.0.join("d"), root.0.join("d")).unwrap();
    assert_eq!(told(&mut tree), ["Create d", "Create d/f"]);
    fs::rename(root.0.join("d"), outside.0.join("e")).unwrap();
    fs::write(outside.0.join("e/unseen"), "").unwrap();
    assert_eq!(told(&mut tree), ["Remove d"]);
    fs::write(outside.0.join("e/unseen, too"), "").unwrap();
    assert_eq!(told(&mut tree), Vec::<String>::new());
}

#[test]
fn excluded_directories_are_not_watched() {
    let root = Temporary::new();
    fs::create_dir_all(root.0.join("node_modules/deep/er")).unwrap();
    fs::create_dir_all(root.0.join("src")).unwrap();
    let mut tree = root.open(&["*.py"], &["node_modules"]);
    assert_eq!(tree.directories.len(), 2);
    fs::write(root.0.join("node_modules/deep/x.py"), "").unwrap();
    fs::write(root.0.join("src/x.txt"), "").unwrap();
    fs::write(root.0.join("src/x.py"), "").unwrap();
    assert_eq!(told(&mut tree), ["Create src/x.py", "Write src/x.py"]);
    fs::rename(root.0.join("src"), root.0.join("node_modules/src")).unwrap();
    assert_eq!(told(&mut tree), ["Remove src"]);
    assert_eq!(tree.directories.len(), 1);
    fs::rename(root.0.join("node_modules/src"), root.0.join("lib")).unwrap();
    assert_eq!(told(&mut tree), ["Create lib/x.py"]);
}

#[test]
fn a_root_that_goes_is_noticed() {
    let root = Temporary::new();
    fs::create_dir(root.0.join("w")).unwrap();
    let open = || {
        Tree::open(Wish {
            root: root.0.join("w"),
            recursive: true,
            filter: Filter::new(&[], &[]).unwrap(),
        })
    };
    let mut tree = open().unwrap();
    fs::rename(root.0.join("w"), root.0.join("v")).unwrap();
    fs::create_dir(root.0.join("w")).unwrap();
    assert!(matches!(tree.round(true), Err(Lost::RootGone)));
    let mut tree = open().unwrap();
    fs::remove_dir(root.0.join("w")).unwrap();
    assert!(matches!(tree.round(true), Err(Lost::RootGone)));
    assert!(matches!(open(), Err(Trouble::Root(_))));
    fs::write(root.0.join("w"), "").unwrap();
    assert!(matches!(open(), Err(Trouble::NotADirectory)));
}
