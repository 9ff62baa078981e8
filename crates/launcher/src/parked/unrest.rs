//! When to fill up: making a parked process takes the processor from the creates that take them.

use std::time::{Duration, Instant};

/// After how long without a take there is time to fill up.
const QUIET: Duration = Duration::from_millis(150);

/// How long takes may follow each other before it is filled up among them: what goes on for longer
/// is no burst, and would else use up what is there.
const LONGEST: Duration = Duration::from_secs(1);

/// Takes that follow each other closely.
#[derive(Debug, Default)]
pub(super) struct Unrest {
    series: Option<Series>,
}

#[derive(Debug)]
struct Series {
    first: Instant,
    last: Instant,
}

impl Unrest {
    /// Notes that one is taken.
    pub(super) fn note(&mut self, now: Instant) {
        match &mut self.series {
            Some(series) if now < series.last + QUIET => series.last = now,
            _ => {
                self.series = Some(Series {
                    first: now,
                    last: now,
                });
            }
        }
    }

    /// How long filling up is to wait.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.series.as_ref().map_or(Duration::ZERO, |series| {
            let until = (series.last + QUIET).min(series.first + LONGEST);
            until.saturating_duration_since(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_waited_out() {
        let (mut unrest, start) = (Unrest::default(), Instant::now());
        assert_eq!(unrest.left(start), Duration::ZERO);
        for tick in 0..6 {
            unrest.note(start + QUIET / 2 * tick);
        }
        let last = start + QUIET / 2 * 5;
        assert_eq!(unrest.left(last), QUIET);
        assert_eq!(unrest.left(last + QUIET), Duration::ZERO);
    }

    #[test]
    fn what_does_not_end_is_not_waited_out() {
        let (mut unrest, start) = (Unrest::default(), Instant::now());
        let mut now = start;
        while now < start + LONGEST {
            unrest.note(now);
            now += QUIET / 2;
        }
        unrest.note(now);
        assert_eq!(unrest.left(now), Duration::ZERO);
        // The next series is a new one.
        let later = now + QUIET;
        unrest.note(later);
        assert_eq!(unrest.left(later), QUIET);
    }
}
