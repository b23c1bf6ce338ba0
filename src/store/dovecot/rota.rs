//! When whom: who is to be read at a certain time, and who is next in the scan that goes round all users.
//!
//! The scan spreads over its period, so that its cost is the same in every second: users × time passed ÷ period are
//! looked at, the rest is carried over.

use crate::op::UserName;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::{Duration, Instant};

/// Who is to be read when.
#[derive(Debug, Default)]
pub struct Timetable {
    by_time: BTreeSet<(Instant, UserName)>,
    by_user: HashMap<UserName, Instant>,
}

impl Timetable {
    /// Reads this user then, or sooner where that was said before.
    pub fn put(&mut self, user: &UserName, at: Instant) {
        let before = self.by_user.get(user).copied();
        if before.is_some_and(|before| before <= at) {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, user.clone()));
        }
        self.by_user.insert(user.clone(), at);
        self.by_time.insert((at, user.clone()));
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one who is due.
    pub fn take(&mut self, now: Instant) -> Option<UserName> {
        if self.next()? > now {
            return None;
        }
        let (_, user) = self.by_time.pop_first()?;
        self.by_user.remove(&user);
        Some(user)
    }
}

/// Goes round users by name.
#[derive(Debug)]
pub struct Rota {
    after: Option<UserName>,
    at: Instant,
    /// Users × nanoseconds that have passed and were not used.
    owed: u128,
}

impl Rota {
    /// Begins with the first user.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            after: None,
            at: now,
            owed: 0,
        }
    }

    /// How many of `users` are due until now, where all of them are within `period`.
    pub fn due(&mut self, now: Instant, users: usize, period: Duration) -> usize {
        let users = u128::try_from(users).unwrap_or(u128::MAX);
        let passed = now.saturating_duration_since(self.at).as_nanos();
        self.at = now;
        let period = period.as_nanos().max(1);
        self.owed = self.owed.saturating_add(passed.saturating_mul(users));
        let due = (self.owed / period).min(users);
        // After a long sleep everybody is looked at once, not several times.
        self.owed = if due == users { 0 } else { self.owed % period };
        usize::try_from(due).unwrap_or(usize::MAX)
    }

    /// Who is next in a map of users.
    pub fn next_in<V>(&mut self, users: &BTreeMap<UserName, V>) -> Option<UserName> {
        let from = self.after.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = users
            .range((from, Bound::Unbounded))
            .next()
            .or_else(|| users.iter().next());
        self.after = next.map(|(user, _)| user.clone());
        self.after.clone()
    }

    /// Who is next in a set of users.
    pub fn next_of(&mut self, users: &BTreeSet<UserName>) -> Option<UserName> {
        let from = self.after.take().map_or(Bound::Unbounded, Bound::Excluded);
        self.after = users
            .range((from, Bound::Unbounded))
            .next()
            .or_else(|| users.first())
            .cloned();
        self.after.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u32) -> UserName {
        UserName(format!("user{number:04}"))
    }

    #[test]
    fn everybody_is_scanned_once_in_a_period_and_never_all_at_once() {
        let users: BTreeSet<UserName> = (0..1000).map(user).collect();
        let start = Instant::now();
        let mut rota = Rota::new(start);
        let mut seen: HashMap<UserName, u32> = HashMap::new();
        for tick in 1..=60 {
            let due = rota.due(
                start + Duration::from_millis(500 * tick),
                users.len(),
                Duration::from_secs(30),
            );
            assert!((16..=17).contains(&due), "{due} users in one tick");
            for _ in 0..due {
                *seen.entry(rota.next_of(&users).unwrap()).or_default() += 1;
            }
        }
        assert_eq!(seen.len(), users.len());
        assert!(seen.values().all(|times| *times == 1));
    }

    #[test]
    fn a_long_sleep_does_not_scan_anybody_twice() {
        let start = Instant::now();
        let mut rota = Rota::new(start);
        assert_eq!(
            rota.due(start + Duration::from_secs(900), 10, Duration::from_secs(30)),
            10
        );
        assert_eq!(
            rota.due(start + Duration::from_secs(900), 10, Duration::from_secs(30)),
            0
        );
    }

    #[test]
    fn users_who_come_and_go_do_not_stop_the_rota() {
        let mut users: BTreeSet<UserName> = (0..3).map(user).collect();
        let mut rota = Rota::new(Instant::now());
        assert_eq!(rota.next_of(&users), Some(user(0)));
        users.remove(&user(0));
        users.remove(&user(1));
        assert_eq!(rota.next_of(&users), Some(user(2)));
        assert_eq!(rota.next_of(&users), Some(user(2)));
        assert_eq!(rota.next_of(&BTreeSet::new()), None);
    }

    #[test]
    fn a_later_time_does_not_put_off_an_earlier_one() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        let mut timetable = Timetable::default();
        timetable.put(&user(1), later);
        timetable.put(&user(2), now);
        timetable.put(&user(2), later);
        assert_eq!(timetable.next(), Some(now));
        assert_eq!(timetable.take(now), Some(user(2)));
        assert_eq!(timetable.take(now), None);
        timetable.put(&user(1), now);
        assert_eq!(timetable.take(now), Some(user(1)));
        assert_eq!(timetable.next(), None);
    }
}
