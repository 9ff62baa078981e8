//! What was found by reading, before the kernel told of it.

use std::collections::HashMap;

/// Paths that were told when they were found, until the kernel has told of all that happened
/// before that.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Up to which position what the kernel tells of a path is known already.
    paths: HashMap<Vec<u8>, u64>,
    /// The furthest of them.
    horizon: u64,
}

impl Found {
    /// Takes in a path that was found while the last event that waited was the one at `horizon`.
    pub(super) fn note(&mut self, path: Vec<u8>, horizon: u64) {
        self.paths.insert(path, horizon);
        self.horizon = horizon;
    }

    /// Whether what the kernel tells of `path` at `position` was told when it was found; once.
    pub(super) fn take(&mut self, path: &[u8], position: u64) -> bool {
        let horizon = self.paths.remove(path);
        horizon.is_some_and(|horizon| position <= horizon)
    }

    /// What is told of `path` next is new.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.paths.remove(path);
    }

    /// The kernel has told of what happened up to `position`.
    pub(super) fn reached(&mut self, position: u64) {
        if position > self.horizon {
            self.paths = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_after_the_finding_is_new() {
        let mut found = Found::default();
        for path in ["a", "b", "c"] {
            found.note(path.as_bytes().to_vec(), 10);
        }
        found.note(b"d".to_vec(), 20);
        assert!(found.take(b"a", 10));
        assert!(!found.take(b"a", 10), "told a second time");
        // Another finding since does not make the first one later.
        assert!(!found.take(b"b", 11));
        found.forget(b"c");
        assert!(!found.take(b"c", 10));
        found.reached(20);
        assert!(found.take(b"d", 20));
    }
}
