//! Whose turn it is to be told to the Dovecot, and up to which LSN everything was told. Values and times only.
//!
//! Who was stirred last goes first, so that active users are never behind a long list of quiet ones; every few turns the
//! one who waits longest goes, so that nobody waits for ever. A user who can't be told waits longer each time.

use crate::limits::{TELL_AGAIN_MS, TELL_AGAIN_MS_MAX};
use crate::op::{Lsn, UserName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One turn in so many is that of the user who waits longest.
const OLDEST_EVERY: u64 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    users: BTreeMap<UserName, User>,
    /// Who may be told now, by the number of the last stirring.
    ready: BTreeSet<(u64, UserName)>,
    /// Whose messages wait for other MODSEQs, when nobody waits for more than that.
    lifting: BTreeSet<(u64, UserName)>,
    /// Who may be told again at a time.
    later: BTreeSet<(u64, UserName)>,
    /// Everything up to here that is not of a user here was told.
    drained: Lsn,
    stirrings: u64,
    taken: u64,
}

/// A user of whom something is to be told.
#[derive(Debug, Default)]
struct User {
    /// Everything of this user up to here was told.
    told: Lsn,
    place: Place,
    /// Stirred again while being told, and what was told before that.
    again: Option<Lsn>,
    failures: u32,
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Nowhere,
    Ready(u64),
    Lifting(u64),
    Later(u64),
    /// Somebody is at it.
    Busy,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything was acknowledged.
    Told,
    /// It goes on at once.
    More,
    /// Everything was acknowledged but the MODSEQs of messages: they come after all that anybody else lacks.
    Lifts,
    /// Too little is known of the user: it goes on with the next change.
    NotYet,
    /// It could not be done, for this reason.
    Failed(String),
}

impl Turns {
    /// Everybody may have something to be told that is not known as told up to `told`.
    pub(super) fn new(users: impl IntoIterator<Item = UserName>, told: Lsn) -> Self {
        let mut turns = Self {
            drained: told,
            ..Self::default()
        };
        turns.stir(users, told);
        turns
    }

    /// These users changed somewhere up to `applied`, and nobody else did since the last call.
    pub(super) fn stir(&mut self, users: impl IntoIterator<Item = UserName>, applied: Lsn) {
        let before = self.drained;
        for name in users {
            self.stirrings = self.stirrings.wrapping_add(1);
            let user = self.users.entry(name.clone()).or_insert_with(|| User {
                told: before,
                ..User::default()
            });
            match user.place {
                Place::Busy => {
                    user.again.get_or_insert(before);
                }
                Place::Later(_) => {}
                Place::Nowhere | Place::Ready(_) | Place::Lifting(_) => self.ready(name),
            }
        }
        self.drained = self.drained.max(applied);
    }

    fn ready(&mut self, name: UserName) {
        let Some(user) = self.users.get_mut(&name) else { return };
        match user.place {
            Place::Ready(number) => drop(self.ready.remove(&(number, name.clone()))),
            Place::Lifting(number) => drop(self.lifting.remove(&(number, name.clone()))),
            _ => {}
        }
        user.place = Place::Ready(self.stirrings);
        self.ready.insert((self.stirrings, name));
    }

    /// Whose turn it is.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<UserName> {
        while let Some((due, _)) = self.later.first()
            && *due <= now_ms
        {
            let Some((_, name)) = self.later.pop_first() else { break };
            if let Some(user) = self.users.get_mut(&name) {
                user.place = Place::Nowhere;
            }
            self.ready(name);
        }
        self.taken = self.taken.wrapping_add(1);
        let taken = match self.taken.is_multiple_of(OLDEST_EVERY) {
            true => self.ready.pop_first(),
            false => self.ready.pop_last(),
        };
        let (_, name) = taken.or_else(|| self.lifting.pop_last())?;
        if let Some(user) = self.users.get_mut(&name) {
            user.place = Place::Busy;
        }
        Some(name)
    }

    /// True where somebody could be told now.
    pub(super) fn is_anybody_ready(&self) -> bool {
        !self.ready.is_empty() || !self.lifting.is_empty()
    }

    /// How the turn of a user ended.
    pub(super) fn end(&mut self, name: &UserName, ended: Ended, now_ms: u64) {
        let Some(user) = self.users.get_mut(name) else { return };
        match ended {
            Ended::Told => {
                (user.failures, user.why) = (0, None);
                match user.again.take() {
                    Some(told) => user.told = told,
                    None => {
                        self.users.remove(name);
                        return;
                    }
                }
                user.place = Place::Nowhere;
                self.ready(name.clone());
            }
            Ended::More => {
                (user.failures, user.why) = (0, None);
                user.place = Place::Nowhere;
                self.ready(name.clone());
            }
            Ended::Lifts => {
                (user.failures, user.why) = (0, None);
                user.place = Place::Lifting(self.stirrings);
                self.lifting.insert((self.stirrings, name.clone()));
            }
            Ended::NotYet => {
                (user.failures, user.why) = (0, None);
                user.place = Place::Nowhere;
                if user.again.take().is_some() {
                    self.ready(name.clone());
                }
            }
            Ended::Failed(why) => {
                let pause = TELL_AGAIN_MS
                    .saturating_mul(1 << user.failures.min(16))
                    .min(TELL_AGAIN_MS_MAX);
                let due = now_ms.saturating_add(pause);
                (user.failures, user.why) = (user.failures.saturating_add(1), Some(why));
                // what came meanwhile is told with the next attempt
                user.again = None;
                user.place = Place::Later(due);
                self.later.insert((due, name.clone()));
            }
        }
    }

    /// Everybody who waits after a failure may be told at once: the Dovecot answers again.
    pub(super) fn hurry(&mut self) {
        for (_, name) in std::mem::take(&mut self.later) {
            if let Some(user) = self.users.get_mut(&name) {
                user.place = Place::Nowhere;
            }
            self.ready(name);
        }
    }

    /// Up to where everything was told.
    pub(super) fn told(&self) -> Lsn {
        let behind = self.users.values().map(|user| user.told).min();
        behind.map_or(self.drained, |lsn| lsn.min(self.drained))
    }

    /// When the next one who failed may be tried again.
    pub(super) fn due_in(&self, now_ms: u64) -> Option<Duration> {
        let (due, _) = self.later.first()?;
        Some(Duration::from_millis(due.saturating_sub(now_ms)))
    }

    /// True where something of this user is to be told, and may soon be.
    pub(super) fn is_behind(&self, name: &UserName) -> bool {
        let user = self.users.get(name);
        user.is_some_and(|user| matches!(user.place, Place::Ready(_) | Place::Lifting(_) | Place::Busy))
    }

    /// True while this user is being told.
    pub(super) fn is_busy(&self, name: &UserName) -> bool {
        self.users.get(name).is_some_and(|user| user.place == Place::Busy)
    }

    /// True where somebody is behind, and nobody of them could be told without another change of the mirror.
    pub(super) fn are_stuck(&self) -> bool {
        !self.users.is_empty() && self.users.values().all(|user| user.place == Place::Nowhere)
    }

    /// Users of whom something is to be told.
    pub(super) fn waiting(&self) -> usize {
        self.users.len()
    }

    /// How many of them lack nothing but the MODSEQs of their messages.
    pub(super) fn lifting(&self) -> usize {
        self.lifting.len()
    }

    /// Users who could not be told, with the reason, at most `most`; and how many they are.
    pub(super) fn failing(&self, most: usize) -> (Vec<(UserName, String)>, usize) {
        let failing = self
            .users
            .iter()
            .filter_map(|(name, user)| Some((name, user.why.as_ref()?)));
        let count = failing.clone().count();
        (
            failing
                .take(most)
                .map(|(name, why)| (name.clone(), why.clone()))
                .collect(),
            count,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u8) -> UserName {
        UserName(format!("user{number}"))
    }

    #[test]
    fn nothing_counts_as_told_while_somebody_is_behind() {
        let mut turns = Turns::new([name(1), name(2)], Lsn(3));
        turns.stir([], Lsn(9));
        assert_eq!(turns.told(), Lsn(3));
        let first = turns.next(0).unwrap();
        turns.end(&first, Ended::Told, 0);
        assert_eq!(turns.told(), Lsn(3));
        let second = turns.next(0).unwrap();
        assert_ne!(first, second);
        turns.end(&second, Ended::Told, 0);
        assert_eq!((turns.told(), turns.waiting()), (Lsn(9), 0));
    }

    #[test]
    fn what_changes_while_a_user_is_told_is_told_again() {
        let mut turns = Turns::new([], Lsn(0));
        turns.stir([name(1)], Lsn(5));
        let user = turns.next(0).unwrap();
        turns.stir([name(1)], Lsn(6));
        turns.stir([name(1)], Lsn(7));
        assert_eq!(turns.next(0), None, "told twice at once");
        turns.end(&user, Ended::Told, 0);
        assert_eq!(turns.told(), Lsn(5));
        assert_eq!(turns.next(0), Some(name(1)));
        turns.end(&user, Ended::Told, 0);
        assert_eq!(turns.told(), Lsn(7));
    }

    #[test]
    fn a_user_who_cannot_be_told_keeps_nobody_waiting() {
        let mut turns = Turns::new([], Lsn(0));
        turns.stir([name(1)], Lsn(1));
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..9 {
            assert_eq!(turns.next(now), Some(name(1)));
            turns.end(&name(1), Ended::Failed("no such user".to_owned()), now);
            assert_eq!(turns.next(now), None);
            let wait = turns.due_in(now).unwrap();
            now += u64::try_from(wait.as_millis()).unwrap();
            waits.push(wait);
        }
        assert!(
            waits.is_sorted() && waits[8] == Duration::from_millis(TELL_AGAIN_MS_MAX),
            "{waits:?}"
        );
        turns.stir([name(2)], Lsn(2));
        assert_eq!(turns.next(0), Some(name(2)));
        turns.end(&name(2), Ended::Told, 0);
        assert_eq!(turns.told(), Lsn(0), "the first one still lacks something");
        assert_eq!(turns.failing(5), (vec![(name(1), "no such user".to_owned())], 1));
        turns.hurry();
        assert_eq!(turns.next(0), Some(name(1)));
    }

    #[test]
    fn nobody_waits_for_the_modseqs_of_somebody_elses_messages() {
        let mut turns = Turns::new((0..9).map(name), Lsn(0));
        let mut told = BTreeSet::new();
        while told.len() < 9 {
            let user = turns.next(0).unwrap();
            assert!(told.insert(user.clone()), "lifted before all were told");
            turns.end(&user, Ended::Lifts, 0);
        }
        assert_eq!((turns.lifting(), turns.waiting(), turns.told()), (9, 9, Lsn(0)));
        turns.stir([name(4)], Lsn(1));
        assert_eq!((turns.next(0), turns.lifting()), (Some(name(4)), 8));
        turns.end(&name(4), Ended::Told, 0);
        while let Some(user) = turns.next(0) {
            turns.end(&user, Ended::Told, 0);
        }
        assert_eq!((turns.lifting(), turns.told()), (0, Lsn(1)));
    }

    #[test]
    fn active_users_come_first_and_the_oldest_is_not_forgotten() {
        let mut turns = Turns::new((0..100).map(name), Lsn(0));
        let mut before = 0;
        for round in 0..50_u64 {
            turns.stir([name(200)], Lsn(round));
            before += 1;
            let user = turns.next(0).unwrap();
            turns.end(&user, Ended::Told, 0);
            if user == name(200) {
                assert!(before <= 2, "the active user waited {before} turns");
                before = 0;
            }
        }
        assert!(turns.waiting() < 95, "quiet users are never told");
        while let Some(user) = turns.next(0) {
            turns.end(&user, Ended::Told, 0);
        }
        assert_eq!(turns.waiting(), 0);
    }
}
