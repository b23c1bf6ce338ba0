//! Changes and commands on their way to the scribe: bounded, and every change is answered whatever happens.

use crate::io::clock::Stopwatch;
use crate::limits::{
    CHANGE_SECONDS_MAX, CHANGES_QUEUED_BYTES_MAX, CHANGES_QUEUED_MAX, WRITE_BATCH_BYTES, WRITE_BATCH_CHANGES,
    WRITE_GATHER_US,
};
use crate::store::change::{Answer, Change, Changer, Reason, Refused, TailPiece, TailSink};
use crate::store::embedded::write::Outcome;
use crate::store::source::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the scribe is asked.
pub(super) enum Work {
    Change(Asked),
    Command(Command),
}

/// The scribe's end.
pub(in super::super) struct Queued {
    pub(super) work: Receiver<Work>,
}

impl Queued {
    /// The next work, if some comes within that time.
    ///
    /// # Errors
    /// Nobody can ask any more.
    pub(super) fn soon(&self, patience: Duration) -> Result<Option<Work>, RecvTimeoutError> {
        match self.work.recv_timeout(patience) {
            Ok(work) => Ok(Some(work)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(ended) => Err(ended),
        }
    }

    /// The changes that wait, as many as one batch takes, up to the first command. Where the batch before had several,
    /// their clients are likely to come again at once, and are waited for: otherwise the first of them would take a flush
    /// alone.
    pub(super) fn gather(&self, first: Option<Work>, before: usize) -> (Vec<Asked>, Option<Command>) {
        let (mut changes, mut bytes, mut next) = (Vec::new(), 0usize, first);
        let time = Stopwatch::start();
        while let Some(work) = next {
            match work {
                Work::Command(command) => return (changes, Some(command)),
                Work::Change(asked) => {
                    bytes = bytes.saturating_add(asked.bytes());
                    changes.push(asked);
                }
            }
            if changes.len() >= WRITE_BATCH_CHANGES || bytes >= WRITE_BATCH_BYTES {
                break;
            }
            let patience = match changes.len() < before {
                true => Duration::from_micros(WRITE_GATHER_US).saturating_sub(time.elapsed()),
                false => Duration::ZERO,
            };
            next = self.work.recv_timeout(patience).ok();
        }
        (changes, None)
    }
}

/// Everybody else's end; cheap to clone.
#[derive(Clone)]
pub(in super::super) struct ChangeQueue {
    work: Sender<Work>,
    waiting: Arc<Waiting>,
}

impl ChangeQueue {
    /// Both ends.
    pub(in super::super) fn new() -> (Self, Queued) {
        let (sender, work) = channel();
        let queue = Self {
            work: sender,
            waiting: Arc::default(),
        };
        (queue, Queued { work })
    }

    /// Hands on a command; false where the scribe has ended.
    pub(in super::super) fn command(&self, command: Command) -> bool {
        self.work.send(Work::Command(command)).is_ok()
    }
}

impl Changer for ChangeQueue {
    fn change(&self, change: Change, answer: Answer) {
        let bytes = weight(&change);
        if !self.waiting.enter(bytes) {
            return answer(refusal(Reason::Unavailable, "too many changes wait"));
        }
        let place = Place {
            waiting: Arc::clone(&self.waiting),
            bytes,
        };
        let owed = Owed {
            answer: Some(answer),
            _place: place,
        };
        if let Err(unsent) = self.work.send(Work::Change(Asked { change, owed })) {
            // Dropped, it answers itself.
            drop(unsent);
        }
    }
}

impl TailSink for ChangeQueue {
    fn merge(&self, piece: TailPiece) -> Outcome {
        let (done, outcome) = channel();
        let answer = move |merged| {
            if done.send(merged).is_err() {
                tracing::debug!("whoever brought a piece of a tail is gone; it was merged all the same");
            }
        };
        self.change(Change::Merge(Box::new(piece)), Box::new(answer));
        outcome
            .recv()
            .unwrap_or_else(|_| refusal(Reason::NotPrimary, "this node takes no more changes"))
    }
}

/// A change and whom to answer.
pub(super) struct Asked {
    change: Change,
    owed: Owed,
}

impl Asked {
    pub(super) fn split(self) -> (Change, Owed) {
        (self.change, self.owed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.owed._place.bytes
    }
}

/// An answer that is owed, and the place that its change takes until then.
pub(super) struct Owed {
    answer: Option<Answer>,
    _place: Place,
}

impl Owed {
    pub(super) fn answer(mut self, outcome: Outcome) {
        if let Some(answer) = self.answer.take() {
            answer(outcome);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(refusal(Reason::NotPrimary, "this node takes no more changes"));
        }
    }
}

fn refusal(reason: Reason, why: &str) -> Outcome {
    let why = why.to_owned();
    Err(Refused { reason, why })
}

/// How much waits.
#[derive(Default)]
struct Waiting {
    state: Mutex<Load>,
    less: Condvar,
}

#[derive(Default)]
struct Load {
    changes: usize,
    bytes: usize,
}

impl Load {
    /// One change has room whatever its size.
    fn has_room(&self, bytes: usize) -> bool {
        self.changes == 0
            || (self.changes < CHANGES_QUEUED_MAX && self.bytes.saturating_add(bytes) <= CHANGES_QUEUED_BYTES_MAX)
    }
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, Load> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room; false where there was none for long.
    fn enter(&self, bytes: usize) -> bool {
        let patience = Duration::from_secs(CHANGE_SECONDS_MAX);
        let full = |load: &mut Load| !load.has_room(bytes);
        let waited = self.less.wait_timeout_while(self.state(), patience, full);
        let (mut load, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !load.has_room(bytes) {
            return false;
        }
        load.changes = load.changes.saturating_add(1);
        load.bytes = load.bytes.saturating_add(bytes);
        true
    }
}

/// Room that a change takes; given back when this is dropped.
struct Place {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut load = self.waiting.state();
        load.changes = load.changes.saturating_sub(1);
        load.bytes = load.bytes.saturating_sub(self.bytes);
        drop(load);
        self.waiting.less.notify_all();
    }
}

/// Octets that a change holds in memory, roughly.
fn weight(change: &Change) -> usize {
    let values = |entries: &[(String, Option<Vec<u8>>)]| -> usize {
        entries
            .iter()
            .map(|(_, value)| value.as_ref().map_or(0, Vec::len))
            .sum()
    };
    match change {
        Change::Append { messages, .. } => messages.iter().map(|message| message.octets.len()).sum(),
        Change::Deliver { message, .. } | Change::Replace { message, .. } => message.octets.len(),
        Change::Attributes { entries, .. } => values(entries),
        Change::Merge(piece) => piece.bodies.values().flatten().map(|octets| octets.len()).sum(),
        _ => 0,
    }
}
