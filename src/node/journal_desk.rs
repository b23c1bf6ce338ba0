//! The standby's journal: appends what was received, commits once for all that has gathered, trims what was applied.

use super::NodeError;
use super::desk::Desk;
use crate::codec::EncodedFrame;
use crate::journal::{Class, Head, Journal, JournalError};
use crate::limits::STANDBY_JOURNAL_BYTES;
use crate::op::Lsn;
use crate::session::receive::ReceiveInput;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the journal is asked to do.
pub(super) enum JournalWork {
    Append(Vec<EncodedFrame>),
    Restart(Box<EncodedFrame>),
    Trim(Lsn),
    /// The sender is gone: parts of a run without its end are forgotten.
    RollBack,
    /// Nothing more comes.
    Stop,
}

/// The thread that owns the journal.
pub(super) struct JournalDesk(Desk<JournalWork>);

impl JournalDesk {
    pub(super) fn start(journal: Journal, fed: mpsc::Sender<ReceiveInput>) -> Result<Self, NodeError> {
        Desk::start("journal", move |asked| run(journal, &asked, &fed)).map(Self)
    }

    pub(super) fn handle(&self) -> Sender<JournalWork> {
        self.0.handle()
    }

    pub(super) fn stop(self) {
        if self.handle().send(JournalWork::Stop).is_err() {
            tracing::debug!("the journal's thread had ended before");
        }
        self.0.stop();
    }
}

fn run(mut journal: Journal, asked: &Receiver<JournalWork>, fed: &mpsc::Sender<ReceiveInput>) {
    while let Ok(first) = asked.recv() {
        let mut appended = None;
        let mut dirty = false;
        for work in std::iter::once(first).chain(asked.try_iter().take(63)) {
            let done = match work {
                JournalWork::Stop => return,
                JournalWork::Trim(upto) => trim(&mut journal, upto),
                JournalWork::RollBack => roll_back(&mut journal).map(|()| {
                    appended = None;
                    dirty = true;
                }),
                JournalWork::Restart(base) => patiently(|| journal.restart_at(&base)).map(|_| {
                    appended = Some(base.lsn);
                    dirty = true;
                }),
                JournalWork::Append(frames) => patiently(|| journal.append(&frames)).map(|()| {
                    appended = frames.last().map(|f| f.lsn).or(appended);
                    dirty = true;
                }),
            };
            if done.is_none() {
                return;
            }
        }
        if dirty {
            let Some(head) = patiently(|| journal.commit()) else {
                return;
            };
            let head = head.unwrap_or(super::files::NOWHERE);
            if fed.blocking_send(journaled(head, appended)).is_err() {
                return;
            }
        }
    }
}

/// What is whole is kept: it was handed over before and counts as taken.
fn roll_back(journal: &mut Journal) -> Option<()> {
    patiently(|| journal.commit())?;
    patiently(|| journal.roll_back())
}

/// Keeps a stretch of applied frames for peers that may follow this node one day.
fn trim(journal: &mut Journal, upto: Lsn) -> Option<()> {
    if journal.bytes() <= STANDBY_JOURNAL_BYTES {
        return Some(());
    }
    patiently(|| journal.trim(upto)).map(drop)
}

fn journaled(head: Head, appended: Option<Lsn>) -> ReceiveInput {
    ReceiveInput::Journaled {
        stream: head.stream,
        appended: appended.unwrap_or(head.lsn).max(head.lsn),
        committed: head.lsn,
    }
}

/// Repeats while the disk is full; none after an error that only an operator can mend. Then nothing more is
/// acknowledged, and the primary keeps what is not.
fn patiently<T>(mut deed: impl FnMut() -> Result<T, JournalError>) -> Option<T> {
    let mut said = false;
    loop {
        match deed() {
            Ok(value) => return Some(value),
            Err(error) if error.class() == Class::Retry => {
                if !said {
                    tracing::error!(%error, hint = error.hint(), "the journal can't be written: receiving waits");
                }
                said = true;
                super::pause(Duration::from_secs(1));
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "the journal has stopped: nothing more is received");
                return None;
            }
        }
    }
}
