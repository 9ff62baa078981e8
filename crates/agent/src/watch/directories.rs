//! Where each watched directory lies. Renaming one moves all below it in one step.

use super::join;
use std::collections::HashMap;

/// Deeper than any path the kernel takes.
const MAX_DEPTH: usize = 4096;

#[derive(Debug)]
struct Directory {
    /// `None` for the root.
    parent: Option<i32>,
    name: Vec<u8>,
    children: HashMap<Vec<u8>, i32>,
}

/// The watched directories of one tree, by the number of their watch.
#[derive(Debug, Default)]
pub(super) struct Directories(HashMap<i32, Directory>);

impl Directories {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Begins with the root.
    pub(super) fn root(&mut self, watch: i32) {
        let root = Directory {
            parent: None,
            name: Vec::new(),
            children: HashMap::new(),
        };
        self.0.insert(watch, root);
    }

    pub(super) fn is_root(&self, watch: i32) -> bool {
        self.0.get(&watch).is_some_and(|d| d.parent.is_none())
    }

    /// Places a directory, which may have been elsewhere until now. Returns whether it is new or
    /// was elsewhere.
    pub(super) fn place(&mut self, watch: i32, parent: i32, name: &[u8]) -> Placed {
        let placed = match self.0.get(&watch) {
            Some(known) if known.parent == Some(parent) && known.name == name => {
                return Placed::Already
            }
            // The root can't move below itself.
            Some(known) if known.parent.is_none() => return Placed::Already,
            Some(_) => Placed::Moved,
            None => Placed::New,
        };
        self.detach(watch);
        if let Some(above) = self.0.get_mut(&parent) {
            above.children.insert(name.to_vec(), watch);
        }
        let directory = self.0.entry(watch).or_insert_with(|| Directory {
            parent: None,
            name: Vec::new(),
            children: HashMap::new(),
        });
        directory.parent = Some(parent);
        directory.name = name.to_vec();
        placed
    }

    /// Takes a directory's name away from its parent, unless it is another's by now.
    fn detach(&mut self, watch: i32) {
        let Some(directory) = self.0.get(&watch) else {
            return;
        };
        let (parent, name) = (directory.parent, directory.name.clone());
        if let Some(above) = parent.and_then(|p| self.0.get_mut(&p)) {
            if above.children.get(&name) == Some(&watch) {
                above.children.remove(&name);
            }
        }
    }

    /// The directory called `name` in another.
    pub(super) fn child(&self, parent: i32, name: &[u8]) -> Option<i32> {
        self.0.get(&parent)?.children.get(name).copied()
    }

    /// Where a directory lies, relative to the root.
    pub(super) fn path(&self, watch: i32) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = self.0.get(&watch)?;
        while let Some(parent) = at.parent {
            names.push(at.name.as_slice());
            if names.len() > MAX_DEPTH {
                return None;
            }
            at = self.0.get(&parent)?;
        }
        let path = names.into_iter().rev();
        Some(path.fold(Vec::new(), |path, name| join(&path, name)))
    }

    /// Forgets a directory and all below it. Returns the numbers of their watches.
    pub(super) fn forget(&mut self, watch: i32) -> Vec<i32> {
        self.detach(watch);
        let mut forgotten = Vec::new();
        let mut queue = vec![watch];
        while let Some(watch) = queue.pop() {
            if let Some(directory) = self.0.remove(&watch) {
                forgotten.push(watch);
                // A child may have moved away while its name was taken.
                queue.extend(directory.children.into_values().filter(|child| {
                    let known = self.0.get(child);
                    known.is_some_and(|c| c.parent == Some(watch))
                }));
            }
        }
        forgotten
    }

    /// Forgets all below a directory, but not itself. Returns the numbers of their watches.
    pub(super) fn forget_below(&mut self, watch: i32) -> Vec<i32> {
        let directory = self.0.get_mut(&watch);
        let children = directory.map(|d| std::mem::take(&mut d.children));
        let mut forgotten = Vec::new();
        for child in children.into_iter().flat_map(HashMap::into_values) {
            forgotten.extend(self.forget(child));
        }
        forgotten
    }
}

/// What [`Directories::place`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    New,
    Moved,
    Already,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_below_a_directory_moves_with_it() {
        let mut directories = Directories::default();
        directories.root(1);
        assert_eq!(directories.place(2, 1, b"a"), Placed::New);
        assert_eq!(directories.place(3, 2, b"b"), Placed::New);
        assert_eq!(directories.place(4, 1, b"c"), Placed::New);
        assert_eq!(directories.place(2, 4, b"z"), Placed::Moved);
        assert_eq!(directories.place(2, 4, b"z"), Placed::Already);
        assert_eq!(directories.path(3).unwrap(), b"c/z/b");
        assert_eq!(directories.child(1, b"a"), None);
        assert_eq!(directories.forget_below(2), [3]);
        assert_eq!(directories.path(2).unwrap(), b"c/z");
        assert_eq!(directories.place(3, 2, b"b"), Placed::New);
        let mut forgotten = directories.forget(4);
        forgotten.sort_unstable();
        assert_eq!(forgotten, [2, 3, 4]);
        assert_eq!(directories.len(), 1);
        assert_eq!(directories.path(3), None);
    }

    proptest! {
        // Whatever order events come in, every name leads to where its directory says it is.
        #[test]
        fn names_and_places_agree(steps in prop::collection::vec((2i32..8, 1i32..8, 0u8..4, any::<bool>()), 0..60)) {
            let mut directories = Directories::default();
            directories.root(1);
            for (watch, parent, name, forget) in steps {
                if forget {
                    directories.forget(watch);
                } else if directories.0.contains_key(&parent) {
                    directories.place(watch, parent, &[b'a' + name]);
                }
                for (watch, directory) in &directories.0 {
                    for (name, child) in &directory.children {
                        if let Some(child) = directories.0.get(child) {
                            prop_assert_eq!(child.parent, Some(*watch));
                            prop_assert_eq!(&child.name, name);
                        }
                    }
                    directories.path(*watch);
                }
            }
        }
    }
}
