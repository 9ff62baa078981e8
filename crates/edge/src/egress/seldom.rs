//! Keeps what happens over and over from being told each time.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the same thing stays untold once it was told.
const PAUSE: Duration = Duration::from_secs(1);
/// How many things are told apart within that time; what is above is not told.
const MOST: usize = 256;

/// What was told lately.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<HashMap<u64, Instant>>);

impl Seldom {
    /// Whether `what` is to be told now.
    pub(crate) fn tells(&self, what: impl Hash) -> bool {
        self.tells_at(what, Instant::now())
    }

    fn tells_at(&self, what: impl Hash, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let what = hasher.finish();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |then: &Instant| now.saturating_duration_since(*then) < PAUSE;
        if told.get(&what).is_some_and(lately) {
            return false;
        }
        if told.len() >= MOST {
            told.retain(|_, then| lately(then));
        }
        let room = told.len() < MOST;
        if room {
            told.insert(what, now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_and_then_again_after_a_pause() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert!(seldom.tells_at("a", now) && seldom.tells_at("b", now));
        assert!(!seldom.tells_at("a", now));
        assert!(seldom.tells_at("a", now + PAUSE));
    }

    #[test]
    fn a_flood_of_different_things_takes_no_more_room() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        let told = (0..10_000)
            .filter(|what| seldom.tells_at(what, now))
            .count();
        assert_eq!(told, MOST);
        assert!(seldom.tells_at(10_000, now + PAUSE));
        assert!(seldom.0.lock().unwrap().len() <= MOST);
    }
}
