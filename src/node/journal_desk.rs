//! The standby's journal: appends what was received, commits once for all that has gathered, trims what was applied.

use super::NodeError;
use super::desk::Desk;
use super::health::Health;
use crate::codec::EncodedFrame;
use crate::journal::{Head, Journal, JournalError};
use crate::limits::STANDBY_JOURNAL_BYTES;
use crate::op::Lsn;
use crate::session::receive::ReceiveInput;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use tokio::sync::mpsc;

const RECEIVING: &str = "receiving";

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
    pub(super) fn start(
        journal: Journal,
        fed: mpsc::Sender<ReceiveInput>,
        health: Arc<Health>,
    ) -> Result<Self, NodeError> {
        Desk::start("journal", move |asked| {
            if let Err(error) = run(journal, &asked, &fed, &health) {
                health.stop(format!("the journal: {error}; {}", error.hint()));
            }
        })
        .map(Self)
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

/// After an error nothing more is acknowledged, and the primary keeps what is not.
fn run(
    mut journal: Journal,
    asked: &Receiver<JournalWork>,
    fed: &mpsc::Sender<ReceiveInput>,
    health: &Health,
) -> Result<(), JournalError> {
    while let Ok(first) = asked.recv() {
        let mut changed = None;
        for work in std::iter::once(first).chain(asked.try_iter().take(63)) {
            match work {
                JournalWork::Stop => return Ok(()),
                JournalWork::Trim(upto) => trim(&mut journal, upto, health)?,
                JournalWork::RollBack => {
                    roll_back(&mut journal, health)?;
                    changed = Some(Lsn(0));
                }
                JournalWork::Restart(base) => {
                    changed = Some(health.patiently(RECEIVING, || journal.restart_at(&base))?.lsn)
                }
                JournalWork::Append(frames) => {
                    health.patiently(RECEIVING, || journal.append(&frames))?;
                    changed = frames.last().map(|f| f.lsn).or(changed);
                }
            }
        }
        if let Some(appended) = changed {
            let head = health
                .patiently(RECEIVING, || journal.commit())?
                .unwrap_or(super::files::NOWHERE);
            if fed.blocking_send(journaled(head, appended)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What is whole is kept: it was handed over before and counts as taken.
fn roll_back(journal: &mut Journal, health: &Health) -> Result<(), JournalError> {
    health.patiently(RECEIVING, || journal.commit())?;
    health.patiently(RECEIVING, || journal.roll_back())
}

/// Keeps a stretch of applied frames for peers that may follow this node one day.
fn trim(journal: &mut Journal, upto: Lsn, health: &Health) -> Result<(), JournalError> {
    if journal.bytes() > STANDBY_JOURNAL_BYTES {
        health.patiently(RECEIVING, || journal.trim(upto))?;
    }
    Ok(())
}

fn journaled(head: Head, appended: Lsn) -> ReceiveInput {
    ReceiveInput::Journaled {
        stream: head.stream,
        appended: appended.max(head.lsn),
        committed: head.lsn,
    }
}
