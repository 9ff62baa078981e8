//! Uid ranges: each sandbox has 65,536 users of its own on the host.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many users a sandbox has.
pub(crate) const USERS: u32 = 65_536;

/// Which ranges are free.
#[derive(Debug)]
pub(crate) struct Slots {
    base: u32,
    count: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Below this every slot has been used once.
    next: u32,
    returned: BTreeSet<u32>,
    /// Found in use at the start.
    taken: BTreeSet<u32>,
}

impl Slots {
    /// `count` ranges from the uid `base` on; `None` if the numbers do not suffice for them.
    pub(crate) fn new(base: u32, count: u32) -> Option<Self> {
        let end = u64::from(base) + u64::from(count) * u64::from(USERS);
        // Uid -1 is nobody's.
        (base >= USERS && count > 0 && end <= u64::from(u32::MAX)).then(|| Self {
            base,
            count,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First uid of a slot.
    pub(crate) fn uid_base(&self, slot: u32) -> u32 {
        self.base + slot * USERS
    }

    /// Takes a free slot, if there is one. Fresh ones first: the longer a range rests, the less a
    /// left-over file or process of its last user matters.
    pub(crate) fn take(&self) -> Option<u32> {
        let mut state = self.lock();
        while state.next < self.count {
            let slot = state.next;
            state.next += 1;
            if !state.taken.remove(&slot) {
                return Some(slot);
            }
        }
        state.returned.pop_first()
    }

    /// Marks a slot as in use that somebody else took before this launcher was started.
    pub(crate) fn mark_taken(&self, slot: u32) {
        self.lock().taken.insert(slot);
    }

    /// Gives a slot back.
    pub(crate) fn give_back(&self, slot: u32) {
        let mut state = self.lock();
        if !state.taken.remove(&slot) || slot < state.next {
            state.returned.insert(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_slot_is_given_twice() {
        let slots = Slots::new(100_000, 4).unwrap();
        slots.mark_taken(1);
        let mut got: Vec<u32> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(got, [0, 2, 3]);
        slots.give_back(1);
        slots.give_back(2);
        got = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(got, [1, 2]);
    }

    #[test]
    fn an_adopted_slot_returned_early_is_given_once() {
        let slots = Slots::new(100_000, 3).unwrap();
        slots.mark_taken(2);
        slots.give_back(2);
        let got: Vec<u32> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(got, [0, 1, 2]);
    }

    #[test]
    fn ranges_stay_below_the_last_uid() {
        assert!(Slots::new(2_000_000_000, 30_000).is_some());
        assert!(Slots::new(2_000_000_000, 40_000).is_none());
        assert!(Slots::new(0, 1).is_none());
    }
}
