//! What keeps a group from going on, for `status`: a part that has stopped until a restart, and parts that wait for room on
//! a disk and go on by themselves.

use crate::journal::{Class, JournalError};
use crate::store::target::TargetError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two attempts of what waits.
const PAUSE: Duration = Duration::from_secs(1);

/// Nothing while all is well.
#[derive(Debug, Default)]
pub(super) struct Health {
    stopped: Mutex<Option<String>>,
    waiting: Mutex<BTreeMap<&'static str, String>>,
    ending: AtomicBool,
}

/// An error that may go away by itself.
pub(super) trait Passing {
    /// Why, for people; none where repeating is no use.
    fn passes(&self) -> Option<String>;
}

impl Passing for JournalError {
    fn passes(&self) -> Option<String> {
        (self.class() == Class::Retry).then(|| format!("the journal: {self}; {}", self.hint()))
    }
}

impl Passing for TargetError {
    fn passes(&self) -> Option<String> {
        match self {
            Self::Retry(why) => Some(why.clone()),
            _ => None,
        }
    }
}

impl Health {
    /// The daemon ends: nobody waits any longer.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Notes and logs why a part has stopped; the first reason stays.
    pub(super) fn stop(&self, why: String) {
        if self.ending.load(Ordering::Relaxed) {
            return;
        }
        tracing::error!(
            why,
            "this copy has stopped; it keeps what it has until the daemon is started again"
        );
        lock(&self.stopped).get_or_insert(why);
    }

    /// Why it has stopped.
    pub(super) fn stopped(&self) -> Option<String> {
        lock(&self.stopped).clone()
    }

    /// What waits, and why, a sentence each.
    pub(super) fn waits(&self) -> Vec<String> {
        lock(&self.waiting)
            .iter()
            .map(|(part, why)| format!("{part} waits: {why}"))
            .collect()
    }

    /// Repeats while the error is of a kind that passes, as a full disk is, and lets `status` say so.
    pub(super) fn patiently<T, E: Passing>(
        &self,
        part: &'static str,
        mut deed: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            let done = deed();
            let Some(why) = done.as_ref().err().and_then(Passing::passes) else {
                if lock(&self.waiting).remove(part).is_some() {
                    tracing::info!(part, "goes on");
                }
                return done;
            };
            if self.ending.load(Ordering::Relaxed) {
                return done;
            }
            if lock(&self.waiting).insert(part, why.clone()).is_none() {
                tracing::error!(part, why, "waits, and goes on by itself once this is over");
            }
            super::pause(PAUSE);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_room_says_so_until_it_goes_on() {
        let health = Health::default();
        let mut attempts = 0;
        let done = health.patiently("applying", || {
            attempts += 1;
            if attempts == 1 {
                return Err(TargetError::Retry("the disk is full".to_owned()));
            }
            assert_eq!(health.waits(), ["applying waits: the disk is full"]);
            Ok(attempts)
        });
        assert_eq!(done.ok(), Some(2));
        assert!(health.waits().is_empty());
    }

    #[test]
    fn end_of_the_daemon_does_not_wait_for_room() {
        let health = Health::default();
        health.end();
        let done: Result<(), _> =
            health.patiently("applying", || Err(TargetError::Retry("the disk is full".to_owned())));
        assert!(done.is_err());
    }
}
