//! Takes what changes in quick succession together.
//!
//! What happens alone is captured at once. While one change follows another, capture looks only every
//! [`CAPTURE_PACE_MS`]: each look costs a flush of the journal, a message to each standby, and there a flush and a commit,
//! however many changes it found, and all of that is taken from the mail server's own time.

use crate::limits::CAPTURE_PACE_MS;
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(CAPTURE_PACE_MS);

/// When the bell is to be heard.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When something was found last.
    found: Option<Instant>,
    /// True while the bell has rung and nobody has looked.
    rang: bool,
}

impl Pace {
    /// The bell rings.
    pub(super) fn ring(&mut self) {
        self.rang = true;
    }

    /// Something was found.
    pub(super) fn found(&mut self, now: Instant) {
        self.found = Some(now);
    }

    /// When to look; none while the bell is silent.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let rest = self.found.map_or(now, |found| found + PACE);
        self.rang.then_some(rest.max(now))
    }

    /// True where it is time to look: then the bell has been heard.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due(now).is_some_and(|at| at <= now);
        if is_due {
            self.rang = false;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_alone_is_heard_at_once_and_a_series_in_its_pace() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!pace.take(at(0)), "the bell is silent");
        pace.ring();
        assert!(pace.take(at(0)));
        pace.found(at(0));
        pace.ring();
        assert_eq!(pace.due(at(1)), Some(at(CAPTURE_PACE_MS)));
        assert!(!pace.take(at(CAPTURE_PACE_MS - 1)));
        assert!(pace.take(at(CAPTURE_PACE_MS)));
        assert!(!pace.take(at(CAPTURE_PACE_MS)), "it was heard");
        // nothing was found since: no series
        pace.ring();
        assert!(pace.take(at(CAPTURE_PACE_MS + 1)));
    }
}
