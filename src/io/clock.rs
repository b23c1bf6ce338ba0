//! The only place that reads clocks. Pure rooms are handed times; they never ask for them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// UNIX time in milliseconds; 0 on a clock before 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// UNIX time in seconds, as INTERNALDATE and certificates count it.
#[must_use]
pub fn unix_seconds() -> i64 {
    i64::try_from(unix_ms() / 1000).unwrap_or(i64::MAX)
}

/// Time that only goes forward, from when this was made: for deadlines and durations.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that the sessions are driven by: monotonic milliseconds and UNIX milliseconds of the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    since: Stopwatch,
}

impl Clock {
    /// Monotonic time counts from here.
    #[must_use]
    pub fn start() -> Self {
        Self {
            since: Stopwatch::start(),
        }
    }

    /// Monotonic milliseconds since [`Clock::start`].
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.since.elapsed_ms()
    }

    /// UNIX milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        unix_ms()
    }
}
