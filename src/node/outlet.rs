//! Where capture pours what it found: sealed into frames, durable in the journal before capture goes on, announced to
//! the peers, and checkpointed and trimmed from time to time.

use super::health::Health;
use super::offered::Offered;
use super::peer::Peer;
use super::primary::Announcement;
use super::pulse::Pulse;
use crate::io::clock::{Clock, Stopwatch};
use crate::journal::{Head, Journal, JournalError, Sealer};
use crate::limits::{CHECKPOINT_FRAMES, CHECKPOINT_SECONDS, JOURNAL_BYTES_MAX};
use crate::op::{Lsn, MailboxId, MessageGuid, Notice, Payload, Uid, UidValidity};
use crate::store::source::{Captured, Outlet, OutletError};
use crate::store::table::CaptureTable;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// The journal of a primary, seen from capture.
pub(super) struct JournalOutlet {
    pub(super) journal: Journal,
    pub(super) sealer: Sealer,
    pub(super) committed: watch::Sender<Head>,
    pub(super) announcements: broadcast::Sender<Announcement>,
    pub(super) peers: Vec<Arc<Peer>>,
    pub(super) clock: Clock,
    pub(super) since_checkpoint: Since,
    pub(super) covered: Lsn,
    pub(super) offered: Offered,
    pub(super) pulse: Arc<Pulse>,
    pub(super) health: Arc<Health>,
}

/// What has gathered since the last checkpoint.
pub(super) struct Since {
    frames: u64,
    time: Stopwatch,
}

impl Default for Since {
    fn default() -> Self {
        Self {
            frames: 0,
            time: Stopwatch::start(),
        }
    }
}

impl Outlet for JournalOutlet {
    fn notice(&mut self, notice: Notice) {
        if self.announcements.send(Announcement::Notice(Box::new(notice))).is_err() {
            tracing::trace!("no peer hears this notice");
        }
    }

    fn emit(&mut self, captured: Vec<Captured>, table: &mut CaptureTable) -> Result<Lsn, OutletError> {
        let captured_ms = self.clock.unix_ms();
        for one in &captured {
            let sealed = self.sealer.seal(&one.payloads, one.peer.as_ref(), captured_ms);
            let frames = sealed.map_err(|e| OutletError(e.to_string()))?;
            self.since_checkpoint.frames += u64::try_from(frames.len()).unwrap_or(0);
            self.patiently(|journal| journal.append(&frames))?;
        }
        let head = self.patiently(Journal::commit)?;
        for one in captured.iter().filter(|one| one.peer.is_none()) {
            one.payloads.iter().for_each(|payload| table.apply(payload));
        }
        let lsn = self.publish(head);
        self.checkpoint_where_due(table)?;
        Ok(lsn)
    }

    fn offer(&mut self, mailbox: &MailboxId, uidvalidity: UidValidity, messages: &[(Uid, MessageGuid, Option<u64>)]) {
        if !messages.is_empty() {
            self.offered.push(&self.peers, mailbox, uidvalidity, messages);
        }
    }

    fn is_offer_full(&mut self) -> bool {
        self.offered.is_full()
    }

    fn is_offer_open(&mut self) -> bool {
        self.offered.is_open()
    }
}

impl JournalOutlet {
    /// Repeats while the disk is full: capture waits, nothing is lost.
    fn patiently<T>(
        &mut self,
        mut deed: impl FnMut(&mut Journal) -> Result<T, JournalError>,
    ) -> Result<T, OutletError> {
        let done = self.health.patiently("capture", || {
            self.pulse.beat();
            deed(&mut self.journal)
        });
        done.map_err(|error| OutletError(format!("{error}; {}", error.hint())))
    }

    fn checkpoint_where_due(&mut self, table: &CaptureTable) -> Result<(), OutletError> {
        let due = self.since_checkpoint.frames >= CHECKPOINT_FRAMES
            || self.since_checkpoint.time.elapsed() >= Duration::from_secs(CHECKPOINT_SECONDS);
        if due { self.checkpoint(table) } else { Ok(()) }
    }

    /// Makes the positions of everything emitted durable, then trims what every peer has.
    pub(super) fn checkpoint(&mut self, table: &CaptureTable) -> Result<(), OutletError> {
        let covers = self.sealer.head().lsn;
        let parts = table.to_parts().map_err(|e| OutletError(e.to_string()))?;
        self.patiently(|journal| journal.append_checkpoint(covers, parts.iter().cloned()))?;
        let head = self.patiently(Journal::commit)?;
        self.publish(head);
        self.covered = covers;
        self.since_checkpoint = Since::default();
        self.trim()
    }

    fn trim(&mut self) -> Result<(), OutletError> {
        let everywhere = self.peers.iter().map(|peer| peer.durable()).min().unwrap_or(Lsn(0));
        let full = self.journal.bytes() > JOURNAL_BYTES_MAX;
        if full && everywhere < self.covered {
            tracing::warn!(
                bytes = self.journal.bytes(),
                "the journal is at its bound: a standby that is behind will be built anew"
            );
        }
        let upto = if full {
            self.covered
        } else {
            everywhere.min(self.covered)
        };
        self.patiently(|journal| journal.trim(upto))?;
        Ok(())
    }

    /// Lets peers and waiters see what is durable.
    fn publish(&mut self, head: Option<Head>) -> Lsn {
        let head = head.unwrap_or(super::files::NOWHERE);
        self.committed.send_replace(head);
        head.lsn
    }
}

/// The table after a checkpoint and the frames behind it.
pub(super) fn replay(table: &mut CaptureTable, payload: &Payload, for_one_peer: bool) {
    if !for_one_peer {
        table.apply(payload);
    }
}
