//! A repair takes Dovecot several steps: a list that was read between two of them may be empty, or lack what is added
//! next. So a mailbox is listed once more when it has come to rest.

use crate::op::SourcePosition;
use std::time::{Duration, Instant};

/// A log that did not grow for so long is at rest.
const REST: Duration = Duration::from_secs(1);
/// A mailbox that never rests is listed after so many looks.
const LOOKS_MAX: u32 = 15;

/// What is known of a mailbox since its repair.
#[derive(Clone, Debug, Default)]
pub struct Settling(Option<Since>);

#[derive(Clone, Debug)]
struct Since {
    /// None where that is not known any more: it is listed again in any case.
    listed: Option<SourcePosition>,
    last: SourcePosition,
    look_at: Instant,
    looks: u32,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing is under way.
    Long,
    /// Look again later.
    NotYet,
    /// It came to rest and is as it was listed.
    AsListed,
    /// It came to rest, and something happened after the list.
    ListAgain,
    /// It came to rest, and what happened after the list is not known.
    ListToBeSure,
}

impl Settling {
    /// A list was read here, in the middle of a repair or after it.
    #[must_use]
    pub fn begin(listed: SourcePosition, now: Instant) -> Self {
        Self(Some(Since {
            last: listed.clone(),
            listed: Some(listed),
            look_at: now + REST,
            looks: 0,
        }))
    }

    /// The daemon was started since the list: whether the repair was over then, nobody knows.
    #[must_use]
    pub fn after_restart(resumed: SourcePosition, now: Instant) -> Self {
        Self(Some(Since {
            last: resumed,
            listed: None,
            look_at: now + REST,
            looks: 0,
        }))
    }

    /// True until it has come to rest.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// A look at how far the log was read now. [`Settled::AsListed`] and [`Settled::ListAgain`] are said once.
    pub fn look(&mut self, read: &SourcePosition, now: Instant) -> Settled {
        let Some(since) = &mut self.0 else {
            return Settled::Long;
        };
        if now < since.look_at {
            return Settled::NotYet;
        }
        since.looks = since.looks.saturating_add(1);
        if !since.last.is_same_place(read) && since.looks < LOOKS_MAX {
            since.last = read.clone();
            since.look_at = now + REST;
            return Settled::NotYet;
        }
        let listed = self.0.take().and_then(|since| since.listed);
        match listed {
            None => Settled::ListToBeSure,
            Some(listed) if listed.is_same_place(read) => Settled::AsListed,
            Some(_) => Settled::ListAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> SourcePosition {
        SourcePosition {
            offset,
            ..SourcePosition::default()
        }
    }

    #[test]
    fn a_list_between_two_steps_of_a_repair_is_read_again_once_it_rests() {
        let start = Instant::now();
        let mut settling = Settling::begin(at(40), start);
        assert_eq!(settling.look(&at(80), start), Settled::NotYet);
        assert_eq!(settling.look(&at(80), start + REST), Settled::NotYet);
        assert_eq!(settling.look(&at(80), start + REST + REST), Settled::ListAgain);
        assert_eq!(settling.look(&at(80), start + REST * 3), Settled::Long);
    }

    #[test]
    fn a_mailbox_that_rests_after_its_list_is_not_read_again() {
        let start = Instant::now();
        let mut settling = Settling::begin(at(40), start);
        assert_eq!(settling.look(&at(40), start + REST), Settled::AsListed);
        assert!(!settling.is_open());
    }

    #[test]
    fn a_repair_that_a_restart_came_into_is_listed_even_where_the_log_rests() {
        let start = Instant::now();
        let mut settling = Settling::after_restart(at(80), start);
        assert_eq!(settling.look(&at(80), start), Settled::NotYet);
        assert_eq!(settling.look(&at(80), start + REST), Settled::ListToBeSure);
        assert!(!settling.is_open());
    }

    #[test]
    fn a_mailbox_that_never_rests_is_read_again_after_a_while() {
        let start = Instant::now();
        let mut settling = Settling::begin(at(40), start);
        let looks = (1..=LOOKS_MAX).map(|n| settling.look(&at(u64::from(n) * 100), start + REST * n));
        let looks: Vec<Settled> = looks.collect();
        assert_eq!(looks.last(), Some(&Settled::ListAgain));
        assert!(looks[..looks.len() - 1].iter().all(|look| *look == Settled::NotYet));
    }
}
