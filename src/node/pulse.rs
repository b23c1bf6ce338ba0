//! Proof that a group's threads make progress: they beat, and whoever watches sees the age of the last beat.
//!
//! A thread beats when it answered a question that it can only answer between two pieces of work, and while it waits for
//! something that no restart would mend (a full disk). A thread that hangs does neither.

use crate::io::clock::Stopwatch;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The last beat; starts with one.
#[derive(Debug)]
pub(super) struct Pulse {
    since: Stopwatch,
    last_ms: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            since: Stopwatch::start(),
            last_ms: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    /// Progress was made.
    pub(super) fn beat(&self) {
        self.last_ms.store(self.since.elapsed_ms(), Ordering::Relaxed);
    }

    /// Age of the last beat.
    pub(super) fn age(&self) -> Duration {
        let last = self.last_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.since.elapsed_ms().saturating_sub(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stopped_is_told_from_one_that_goes_on() {
        let pulse = Pulse::default();
        std::thread::sleep(Duration::from_millis(20));
        assert!(pulse.age() >= Duration::from_millis(20));
        pulse.beat();
        assert!(pulse.age() < Duration::from_millis(20));
    }
}
