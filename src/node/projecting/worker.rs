//! One worker: takes turns as long as there are any.

use super::comparing::{compare, touched, unread};
use super::target::{Dovecot, TellError};
use super::turn::{Turned, turn};
use super::turns::Ended;
use super::{Down, LOOK_AGAIN, Projection, State};
use crate::config::Told;
use crate::io::clock;
use crate::limits::{DOWN_AGAIN_MS, PATROL_MS};
use crate::op::{DigestVerdict, UserName};
use crate::store::target::TargetError;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Until the projection stops.
pub(super) fn run(shared: &Projection, mut way: Box<dyn Dovecot>) {
    while let Some(work) = next(shared) {
        match work {
            Work::Turn(user) => {
                let turned = turn(&shared.mirror, way.as_mut(), &user);
                end(shared, &user, turned);
                shared.note(false);
            }
            Work::Compare(user, mut verdicts) => {
                match compare(&shared.mirror, way.as_mut(), &user, &mut verdicts) {
                    Ok(false) => {}
                    Ok(true) => doubt(shared, &user, "it differs"),
                    Err(error) => unread(&mut verdicts, &error.to_string()),
                }
                shared.judge(verdicts);
            }
            Work::Patrol(user) => match touched(&shared.mirror, way.as_mut(), &user) {
                Ok(None) => {}
                Ok(Some(why)) => doubt(shared, &user, &why),
                Err(error) => tracing::debug!(%error, "look whether somebody else wrote to the mail server"),
            },
        }
    }
    way.rest();
}

/// What is to be done next.
enum Work {
    Turn(UserName),
    Compare(UserName, Vec<DigestVerdict>),
    /// Look whether somebody else wrote there.
    Patrol(UserName),
}

/// The Dovecot holds something else than it was told: the user's mail is compared as a whole, and what is foreign is kept
/// and undone.
fn doubt(shared: &Projection, user: &UserName, why: &str) {
    tracing::warn!(user = %crate::telemetry::user(user), why, "the mail server holds something else than it was told: compared as a whole");
    if let Err(error) = shared.mirror.doubt(user) {
        tracing::error!(%error, "note that a user is to be compared");
        return;
    }
    let mut state = shared.state();
    let applied = state.applied.lsn;
    state.turns.stir([user.clone()], applied);
    shared.wake.notify_one();
}

/// Waits for something to do; none where the projection stops.
fn next(shared: &Projection) -> Option<Work> {
    let mut state = shared.state();
    loop {
        if shared.stopping.load(Ordering::Acquire) {
            return None;
        }
        let now_ms = clock::unix_ms();
        if let Err(error) = shared.hear(&mut state) {
            tracing::warn!(%error, "ask the mirror what changed");
        } else if !shared.paused.load(Ordering::Acquire)
            && state.hold.is_none()
            && may_try(&mut state, now_ms)
            && let Some(user) = state.turns.next(now_ms)
        {
            if state.turns.is_anybody_ready() {
                shared.wake.notify_one();
            }
            if is_told(shared, &mut state, &user, now_ms) {
                return Some(Work::Turn(user));
            }
            continue;
        } else if let Some((user, verdicts)) = comparison(&mut state) {
            return Some(Work::Compare(user, verdicts));
        } else if let Some(user) = patrol(shared, &mut state, now_ms) {
            return Some(Work::Patrol(user));
        }
        shared.show(&mut state);
        let pause = state.turns.due_in(now_ms).map_or(LOOK_AGAIN, |due| due.min(LOOK_AGAIN));
        let waited = shared.wake.wait_timeout(state, pause);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// False for a user who was moved away, of whom nothing is told any more, and for one whose mail server is ahead of the
/// mirror: he is told later.
fn is_told(shared: &Projection, state: &mut State, user: &UserName, now_ms: u64) -> bool {
    let ended = match shared.users.moved().told(user, state.applied.stream, state.applied.lsn) {
        Told::Now | Told::From(..) => return true,
        Told::Never => Ended::Told,
        Told::Later => {
            state.ahead.insert(user.clone());
            Ended::NotYet
        }
    };
    state.turns.end(user, ended, now_ms);
    false
}

/// Verdicts of a user of whom nothing is to be told any more, or can't be.
fn comparison(state: &mut State) -> Option<(UserName, Vec<DigestVerdict>)> {
    let is_down = state.down.is_some();
    let turns = &state.turns;
    let mut users = state.verdicts.keys();
    let user = users.find(|user| is_down || !turns.is_behind(user))?.clone();
    state.verdicts.remove_entry(&user)
}

/// From time to time the next user, where there is nothing else to do.
fn patrol(shared: &Projection, state: &mut State, now_ms: u64) -> Option<UserName> {
    let is_idle = state.down.is_none()
        && state.hold.is_none()
        && state.turns.waiting() == 0
        && !shared.paused.load(Ordering::Acquire);
    if !is_idle || now_ms < state.patrol_ms {
        return None;
    }
    state.patrol_ms = now_ms.saturating_add(PATROL_MS);
    let user = shared.mirror.user_behind(&state.patrolled).unwrap_or_else(|error| {
        tracing::warn!(%error, "whose mail server is looked at next");
        None
    });
    state.patrolled = user.clone().unwrap_or_default();
    let (stream, lsn) = (state.applied.stream, state.applied.lsn);
    user.filter(|user| shared.users.moved().told(user, stream, lsn) == Told::Now)
}

/// A Dovecot that is down is tried by one worker from time to time.
fn may_try(state: &mut State, now_ms: u64) -> bool {
    match &mut state.down {
        None => true,
        Some(down) if now_ms >= down.again_ms => {
            down.again_ms = now_ms.saturating_add(DOWN_AGAIN_MS);
            true
        }
        Some(_) => false,
    }
}

fn end(shared: &Projection, user: &UserName, turned: Result<Turned, TargetError>) {
    let now_ms = clock::unix_ms();
    let mut state = shared.state();
    let ended = match turned {
        Err(error) => Ended::Failed(format!("the mirror: {error}")),
        Ok(turned) => {
            shared.kept.fetch_add(turned.kept, Ordering::Relaxed);
            match turned.left_out {
                0 => drop(state.left_out.remove(user)),
                count => drop(state.left_out.insert(user.clone(), count)),
            }
            match turned.ended {
                Err(TellError::Down(why)) => {
                    went_down(&mut state, why, now_ms);
                    Ended::More
                }
                Err(error) => {
                    came_up(shared, &mut state);
                    Ended::Failed(error.to_string())
                }
                Ok(ended) => {
                    came_up(shared, &mut state);
                    ended
                }
            }
        }
    };
    if let Ended::Failed(why) = &ended {
        tracing::warn!(user = %crate::telemetry::user(user), why, "the mail server could not be told; tried again");
    }
    state.turns.end(user, ended, now_ms);
    shared.show(&mut state);
}

fn went_down(state: &mut State, why: String, now_ms: u64) {
    if state.down.is_none() {
        tracing::error!(
            why,
            "the mail server can't be told what changed; tried again until it can"
        );
    }
    state.down = Some(Down {
        why,
        again_ms: now_ms.saturating_add(DOWN_AGAIN_MS),
    });
}

fn came_up(shared: &Projection, state: &mut State) {
    if state.down.take().is_some() {
        tracing::info!("the mail server takes what changed again");
        state.turns.hurry();
        shared.wake.notify_all();
    }
}
