//! Asks for the list of users on a thread of its own: the answer may take seconds, and capture goes on meanwhile.

use super::doveadm::{Doveadm, DoveadmError, Users};
use crate::config::PublicOwners;
use crate::limits::{PLACES_A_SECOND, PLACES_SECONDS, USERS_SECONDS};
use crate::op::UserName;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After a failure the next question comes sooner.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Desk {
    answer: Option<Users>,
    /// Number of the latest question, and of the one that was answered last, with or without success.
    asked: u64,
    answered: u64,
    /// True where it is also asked where everybody's mail lies, whoever the users are.
    places: bool,
    closed: bool,
}

/// The latest list of users, once it is there. Dropping it ends the thread.
#[derive(Debug)]
pub struct UserDirectory {
    desk: Arc<(Mutex<Desk>, Condvar)>,
}

impl UserDirectory {
    /// Asks at once, then every minute whether there are others, and whenever it is asked. `bell` rings after each
    /// answer.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(doveadm: Doveadm, public: PublicOwners, bell: impl Fn() + Send + 'static) -> io::Result<Self> {
        let desk = Arc::new((Mutex::new(Desk::default()), Condvar::new()));
        let shared = Arc::clone(&desk);
        let group = tracing::Span::current();
        std::thread::Builder::new()
            .name("users".to_owned())
            .spawn(move || group.in_scope(|| ask(&doveadm, &public, &shared, &bell)))?;
        Ok(Self { desk })
    }

    /// A list that was not taken yet.
    #[must_use]
    pub fn take(&self) -> Option<Users> {
        self.desk().answer.take()
    }

    /// Asks now who the users are. What is true by this moment is in what [`Self::take`] gave once [`Self::answered`] is
    /// no less than the number returned.
    #[must_use]
    pub fn ask(&self) -> u64 {
        let mut desk = self.desk();
        desk.asked = desk.asked.saturating_add(1);
        self.desk.1.notify_all();
        desk.asked
    }

    /// Number of the last question that was answered, or could not be. Ask before [`Self::take`].
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.desk().answered
    }

    /// Asks now who the users are and where their mail lies: somebody's is not where it was. Numbered as by
    /// [`Self::ask`].
    #[must_use]
    pub fn ask_places(&self) -> u64 {
        self.desk().places = true;
        self.ask()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserDirectory {
    fn drop(&mut self) {
        self.desk().closed = true;
        self.desk.1.notify_all();
    }
}

fn ask(doveadm: &Doveadm, public: &PublicOwners, (desk, changed): &(Mutex<Desk>, Condvar), bell: &dyn Fn()) {
    let mut known = Known::default();
    let mut said = false;
    loop {
        let (asked, places) = {
            let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
            (desk.asked, std::mem::take(&mut desk.places))
        };
        let (answer, pause) = match answer(doveadm, public, &mut known, places) {
            Ok(users) => {
                said = false;
                (users, Duration::from_secs(USERS_SECONDS))
            }
            Err(e) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::error!(error = %e, "the mail server does not tell its users; asking again");
                }
                (None, AGAIN)
            }
        };
        let mut guard = desk.lock().unwrap_or_else(PoisonError::into_inner);
        guard.answer = answer.or(guard.answer.take());
        guard.answered = asked;
        bell();
        let waits = |desk: &mut Desk| !desk.closed && desk.asked == asked;
        let waited = changed.wait_timeout_while(guard, pause, waits);
        guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        if guard.closed {
            return;
        }
    }
}

/// What was answered last.
#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<UserName>,
    at: Option<Instant>,
}

/// None: the same users as a moment ago. Where their mail lies is asked when there are others, and now and then: a home
/// may have moved.
fn answer(
    doveadm: &Doveadm,
    public: &PublicOwners,
    known: &mut Known,
    places: bool,
) -> Result<Option<Users>, DoveadmError> {
    let names: BTreeSet<UserName> = doveadm.user_names()?.into_iter().collect();
    let fresh = known.at.is_some_and(|at| at.elapsed() < good_for(names.len()));
    if fresh && !places && names == known.names {
        return Ok(None);
    }
    let users = doveadm.users(public)?;
    *known = Known {
        names,
        at: Some(Instant::now()),
    };
    Ok(Some(users))
}

/// How long places are not asked for again: longer where the users are many, so that asking costs no more a second.
fn good_for(users: usize) -> Duration {
    let users = u64::try_from(users).unwrap_or(u64::MAX);
    Duration::from_secs(PLACES_SECONDS.max(users / PLACES_A_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_where_everybodys_mail_lies_costs_no_more_a_second_where_they_are_many() {
        assert_eq!(good_for(0), Duration::from_secs(PLACES_SECONDS));
        assert_eq!(good_for(500), Duration::from_secs(PLACES_SECONDS));
        assert_eq!(good_for(5_000), Duration::from_secs(1_000));
    }
}
