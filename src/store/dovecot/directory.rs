//! Asks for the list of users on a thread of its own: the answer may take seconds, and capture goes on meanwhile.

use super::doveadm::{Doveadm, DoveadmError, Users};
use crate::limits::{PLACES_SECONDS, USERS_SECONDS};
use crate::op::UserName;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After a failure the next question comes sooner.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Desk {
    answer: Option<Users>,
    closed: bool,
}

/// The latest list of users, once it is there. Dropping it ends the thread.
#[derive(Debug)]
pub struct UserDirectory {
    desk: Arc<(Mutex<Desk>, Condvar)>,
}

impl UserDirectory {
    /// Asks at once, and then every minute whether there are others.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(doveadm: Doveadm) -> io::Result<Self> {
        let desk = Arc::new((Mutex::new(Desk::default()), Condvar::new()));
        let shared = Arc::clone(&desk);
        std::thread::Builder::new()
            .name("users".to_owned())
            .spawn(move || ask(&doveadm, &shared))?;
        Ok(Self { desk })
    }

    /// A list that was not taken yet.
    #[must_use]
    pub fn take(&self) -> Option<Users> {
        self.desk.0.lock().unwrap_or_else(PoisonError::into_inner).answer.take()
    }
}

impl Drop for UserDirectory {
    fn drop(&mut self) {
        self.desk.0.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.desk.1.notify_all();
    }
}

fn ask(doveadm: &Doveadm, (desk, changed): &(Mutex<Desk>, Condvar)) {
    let mut known = Known::default();
    let mut said = false;
    loop {
        let pause = match answer(doveadm, &mut known) {
            Ok(users) => {
                said = false;
                if let Some(users) = users {
                    desk.lock().unwrap_or_else(PoisonError::into_inner).answer = Some(users);
                }
                Duration::from_secs(USERS_SECONDS)
            }
            Err(e) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::error!(error = %e, "the mail server does not tell its users; asking again");
                }
                AGAIN
            }
        };
        let guard = desk.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = changed
            .wait_timeout_while(guard, pause, |desk| !desk.closed)
            .unwrap_or_else(PoisonError::into_inner);
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
fn answer(doveadm: &Doveadm, known: &mut Known) -> Result<Option<Users>, DoveadmError> {
    let names: BTreeSet<UserName> = doveadm.user_names()?.into_iter().collect();
    let fresh = known
        .at
        .is_some_and(|at| at.elapsed() < Duration::from_secs(PLACES_SECONDS));
    if fresh && names == known.names {
        return Ok(None);
    }
    let users = doveadm.users()?;
    *known = Known {
        names,
        at: Some(Instant::now()),
    };
    Ok(Some(users))
}
