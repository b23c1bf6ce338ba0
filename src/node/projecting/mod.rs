//! The projector: brings a running Dovecot to what the standby's mirror says, a few users at a time.
//!
//! The mirror applies frames as every copy does and is never held up by the Dovecot. Workers take the users of whom something
//! changed ([`turns`]), ask the mirror what is new, tell it ([`turn`]), and note what was acknowledged. A Dovecot that is
//! down is tried again by one worker at a time; what it lacks meanwhile is the lag. Up to where everybody was told counts as
//! applied on this node, so that whoever waits for a change finds it in the Dovecot.

mod closing;
mod comparing;
mod own_first;
mod speaking;
mod target;
mod turn;
mod turns;
mod worker;

pub(super) use closing::bring_to_end;
pub(super) use speaking::{own_first, ways};
pub(super) use target::Dovecot;

use super::NodeError;
use super::applier::ApplyWork;
use crate::config::{Told, UserPatterns};
use crate::io::clock::{self, Stopwatch};
use crate::limits::{STATUS_NAMED_MAX, TOLD_NOTED_MS};
use crate::op::{DigestVerdict, Lsn, StreamId, UserName};
use crate::store::embedded::mirror::Mirror;
use crate::store::target::{Applied, TargetError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use turns::Turns;

/// What workers are waited for when the daemon ends or the role changes.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a worker waits at the most before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What workers, `status` and the applying thread share.
pub(super) struct Projection {
    mirror: Mirror,
    /// Whose users they are: who was moved away is told nothing here.
    users: UserPatterns,
    state: Mutex<State>,
    wake: Condvar,
    /// Something may have been applied since the mirror was asked last.
    stirred: AtomicBool,
    stopping: AtomicBool,
    paused: AtomicBool,
    kept: AtomicU64,
    applying: OnceLock<Sender<ApplyWork>>,
}

#[derive(Default)]
struct State {
    turns: Turns,
    applied: Applied,
    /// The last LSN that was told, as the applying thread knows it.
    shown: Lsn,
    /// Nobody is told anything before the mirror is at this LSN and is not being built: its Dovecot was further.
    hold: Option<Lsn>,
    noted_ms: u64,
    /// When the next user is looked at who has nothing to be told, and who was the last.
    patrol_ms: u64,
    patrolled: UserName,
    down: Option<Down>,
    /// Users who are told later: their mail server is ahead of the mirror.
    ahead: BTreeSet<UserName>,
    /// Verdicts of the mirror that the Dovecot is still to be compared for, by user.
    verdicts: BTreeMap<UserName, Vec<DigestVerdict>>,
    /// Users with messages that can't be told, and how many.
    left_out: BTreeMap<UserName, usize>,
}

/// The Dovecot does not answer.
#[derive(Clone, Debug)]
struct Down {
    why: String,
    again_ms: u64,
}

/// How far the Dovecot is, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Users of whom something is to be told.
    pub(super) waiting: usize,
    /// How many of them lack nothing but the MODSEQs of their messages.
    pub(super) lifting: usize,
    /// Messages that somebody else had put there, kept and undone since the daemon started.
    pub(super) kept: u64,
    /// What a human should look at.
    pub(super) problems: Vec<String>,
}

/// The running workers.
pub(super) struct Projecting {
    pub(super) shared: Arc<Projection>,
    threads: Vec<JoinHandle<()>>,
}

impl Projecting {
    /// Starts a worker for each way to the Dovecot, and looks at everybody. `hold`: where the Dovecot holds what a later
    /// mirror would tell, nobody is told anything before the mirror is at this LSN.
    pub(super) fn start(
        (mirror, users): (Mirror, &UserPatterns),
        ways: Vec<Box<dyn Dovecot>>,
        applied: Applied,
        hold: Option<Lsn>,
    ) -> Result<Self, NodeError> {
        let patterns = users;
        let failed = |e: TargetError| NodeError::Journal(e.to_string());
        let (users, told) = (
            mirror.users().map_err(failed)?,
            mirror.told(applied.stream).map_err(failed)?,
        );
        let projection = Projection::new((mirror, patterns), Turns::new(users, told), applied);
        projection.state().hold = hold;
        Self::work(projection, ways)
    }

    /// The same, where everything up to `told` was told, and the mirror knows who changed since.
    pub(super) fn go_on(
        mirror: (Mirror, &UserPatterns),
        ways: Vec<Box<dyn Dovecot>>,
        told: Applied,
    ) -> Result<Self, NodeError> {
        Self::work(Projection::new(mirror, Turns::new([], told.lsn), told), ways)
    }

    fn work(projection: Projection, ways: Vec<Box<dyn Dovecot>>) -> Result<Self, NodeError> {
        let shared = Arc::new(projection);
        let start = |(number, way): (usize, Box<dyn Dovecot>)| {
            let (shared, group) = (Arc::clone(&shared), tracing::Span::current());
            std::thread::Builder::new()
                .name(format!("project-{number}"))
                .spawn(move || group.in_scope(|| worker::run(&shared, way)))
                .map_err(|e| NodeError::Thread(e.to_string()))
        };
        let threads = ways.into_iter().enumerate().map(start).collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// Lets what was begun come to its end, and notes how far it is. Blocks.
    pub(super) fn stop(self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.notify_all();
        let time = Stopwatch::start();
        let ends = |thread: &JoinHandle<()>| {
            while !thread.is_finished() && time.elapsed() < FAREWELL {
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.is_finished()
        };
        for thread in self.threads {
            if !ends(&thread) {
                tracing::warn!(
                    "the mail server does not answer: what it was being told may arrive later, and is told again"
                );
            } else if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.shared.note(true);
    }
}

impl Projection {
    fn new((mirror, users): (Mirror, &UserPatterns), turns: Turns, applied: Applied) -> Self {
        Self {
            mirror,
            users: users.clone(),
            state: Mutex::new(State {
                shown: turns.told(),
                turns,
                applied,
                ..State::default()
            }),
            wake: Condvar::new(),
            stirred: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            kept: AtomicU64::new(0),
            applying: OnceLock::new(),
        }
    }

    /// Whom to tell when more counts as applied.
    pub(super) fn tells(&self, applying: Sender<ApplyWork>) {
        self.applying.get_or_init(|| applying);
    }

    /// Something was applied, or decided by an operator.
    pub(super) fn stir(&self) {
        self.stirred.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// The mirror has compared a digest: now the Dovecot is read back, and [`ApplyWork::Verdict`] says what was found.
    pub(super) fn compare(&self, verdict: DigestVerdict) {
        let user = verdict.user.clone();
        self.state().verdicts.entry(user).or_default().push(verdict);
        self.wake.notify_one();
    }

    /// Tells nobody anything, or goes on.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.wake.notify_all();
    }

    /// What counts as applied: what this store has decided and the Dovecot was told.
    pub(super) fn shown(&self, applied: Applied) -> Lsn {
        let state = self.state();
        match state.applied.stream == applied.stream {
            true => state.shown.min(applied.lsn),
            false => Lsn(0),
        }
    }

    /// True while nothing is told: the Dovecot was primary, and its mirror has not caught up yet.
    pub(super) fn is_held(&self) -> bool {
        self.state().hold.is_some()
    }

    /// True where waiting brings no more to the Dovecot.
    fn is_stuck(&self) -> bool {
        let state = self.state();
        !self.stirred.load(Ordering::Acquire) && state.turns.are_stuck()
    }

    /// True while somebody tells the mail server of this user.
    pub(super) fn is_telling(&self, user: &UserName) -> bool {
        self.state().turns.is_busy(user)
    }

    /// For `status`.
    pub(super) fn standing(&self) -> Standing {
        let state = self.state();
        let kept = self.kept.load(Ordering::Relaxed);
        let mut problems = Vec::new();
        if let Some(down) = &state.down {
            problems.push(format!("the mail server can't be told what changed: {}", down.why));
        }
        let (named, count) = state.turns.failing(usize::try_from(STATUS_NAMED_MAX).unwrap_or(0));
        if count > 0 {
            let named: Vec<String> = named.iter().map(|(user, why)| format!("{user}: {why}")).collect();
            problems.push(format!(
                "the mail server does not take {count} users: {}",
                named.join("; ")
            ));
        }
        let left_out: usize = state.left_out.values().sum();
        if left_out > 0 {
            problems.push(format!(
                "{left_out} messages have no body yet: a Dovecot can't hold them, they come once the body does"
            ));
        }
        if kept > 0 {
            problems.push(format!(
                "{kept} messages that somebody else had put into this standby's mail server were undone there and kept: \
                 `shadowctl retained ls` shows them as foreign"
            ));
        }
        Standing {
            waiting: state.turns.waiting(),
            lifting: state.turns.lifting(),
            kept,
            problems,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears whose mail changed.
    fn hear(&self, state: &mut State) -> Result<(), TargetError> {
        if !self.stirred.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let stirred = match self.mirror.stirred() {
            Ok(stirred) => stirred,
            Err(error) => {
                self.stirred.store(true, Ordering::Release);
                return Err(error);
            }
        };
        let (before, now) = (state.applied.stream, stirred.applied.stream);
        if before != now && before != StreamId::default() {
            // LSNs of another stream say nothing about this one
            state.turns = Turns::new(self.mirror.users()?, Lsn(0));
            state.shown = Lsn(0);
        }
        state.applied = stirred.applied;
        if state
            .hold
            .is_some_and(|until| stirred.applied.lsn >= until && !stirred.building)
        {
            state.hold = None;
        }
        state.turns.stir(stirred.users, stirred.applied.lsn);
        let told = |user: &UserName| {
            self.users
                .moved()
                .told(user, stirred.applied.stream, stirred.applied.lsn)
        };
        let due: Vec<UserName> = state.ahead.extract_if(.., |user| told(user) != Told::Later).collect();
        state.turns.stir(due, stirred.applied.lsn);
        Ok(())
    }

    /// Hands on what was found.
    fn judge(&self, verdicts: Vec<DigestVerdict>) {
        let Some(applying) = self.applying.get() else { return };
        for verdict in verdicts {
            if applying.send(ApplyWork::Verdict(verdict)).is_err() {
                tracing::debug!("the applying thread has ended");
            }
        }
    }

    /// Lets everybody see how far it is.
    fn show(&self, state: &mut State) {
        let told = state.turns.told();
        if told <= state.shown {
            return;
        }
        state.shown = told;
        if let Some(applying) = self.applying.get()
            && applying.send(ApplyWork::Shown).is_err()
        {
            tracing::debug!("the applying thread has ended");
        }
    }

    /// Notes how far it is, from time to time: a restart looks at everybody behind it.
    fn note(&self, at_once: bool) {
        let (stream, told) = {
            let mut state = self.state();
            let now_ms = clock::unix_ms();
            if !at_once && now_ms < state.noted_ms.saturating_add(TOLD_NOTED_MS) {
                return;
            }
            state.noted_ms = now_ms;
            (state.applied.stream, state.shown)
        };
        if let Err(error) = self.mirror.note_told(stream, told) {
            tracing::warn!(%error, "note what the mail server was told");
        }
    }
}

#[cfg(test)]
mod tests;
