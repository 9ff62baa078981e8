//! The trees that are watched, each once for all who ask for the same.

use super::tree::{Trouble, Wish};
use super::watched::{Key, Source, Watched};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How many trees may be watched at once: the kernel's own limit of inotify instances is 128 for
/// each user, and E2B's watches need some too.
const MAX_TREES: usize = 64;

/// All watched trees.
#[derive(Debug, Default)]
pub(crate) struct Trees(RefCell<HashMap<Key, Rc<Watched>>>);

impl Trees {
    /// The tree of `key`, watched from now on if it was not; all that has happened by now is in
    /// its record.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn get(
        self: &Rc<Self>,
        key: &Key,
        wish: &Wish,
    ) -> Result<Rc<Watched>, Trouble> {
        loop {
            let known = self.0.borrow().get(key).map(Rc::clone);
            if let Some(known) = known {
                if known.caught_up().await {
                    return Ok(known);
                }
                // It has just ended; whether there is another is to be seen.
                self.remove(&known);
                continue;
            }
            let source = match self.open(wish).await {
                Err(Trouble::Instances) if self.let_go() => self.open(wish).await?,
                other => other?,
            };
            let mut trees = self.0.borrow_mut();
            // Somebody may have asked for the same meanwhile; theirs serves.
            if !trees.contains_key(key) {
                let watched = Watched::start(key.clone(), wish.clone(), source, self);
                trees.insert(key.clone(), watched);
            }
        }
    }

    async fn open(&self, wish: &Wish) -> Result<Source, Trouble> {
        if self.0.borrow().len() >= MAX_TREES && !self.let_go() {
            return Err(Trouble::Instances);
        }
        Source::open(wish.clone()).await
    }

    /// Lets go of the tree that was asked for longest ago and that nobody listens to. Returns
    /// whether there was one.
    fn let_go(&self) -> bool {
        let idle = {
            let trees = self.0.borrow();
            let idle = trees.values().filter_map(|w| Some((w.idle_since()?, w)));
            idle.min_by_key(|(since, _)| *since)
                .map(|(_, w)| Rc::clone(w))
        };
        idle.is_some_and(|watched| {
            watched.stop();
            self.remove(&watched);
            true
        })
    }

    /// Forgets a tree, unless another has taken its place.
    pub(super) fn remove(&self, watched: &Rc<Watched>) {
        let mut trees = self.0.borrow_mut();
        if trees
            .get(&watched.key)
            .is_some_and(|known| Rc::ptr_eq(known, watched))
        {
            trees.remove(&watched.key);
        }
    }
}
