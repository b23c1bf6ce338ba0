//! Where capture pours what it found: sealed into frames, durable in the journal before capture goes on, announced to
//! the peers, and checkpointed and trimmed from time to time.

use super::ahead::Ahead;
use super::health::Health;
use super::offered::Offered;
use super::peer::Peer;
use super::primary::Announcement;
use super::pulse::Pulse;
use super::replaced::Replaced;
use crate::io::clock::{Clock, Stopwatch};
use crate::journal::{Head, Journal, JournalError, Sealer};
use crate::limits::{CHECKPOINT_FRAMES, CHECKPOINT_SECONDS, JOURNAL_BYTES_MAX};
use crate::op::{BaseStart, Lsn, MailboxId, MessageGuid, NodeName, Notice, Payload, StreamId, Uid, UidValidity};
use crate::store::source::{Captured, Outlet, OutletError, Takes};
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
    /// Frames that wait for the next flush; none while each emission is flushed by itself.
    pub(super) gathered: Option<usize>,
    pub(super) offered: Offered,
    pub(super) ahead: Ahead,
    pub(super) replaced: Arc<Replaced>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) health: Arc<Health>,
}

/// Frames that become durable with one flush at the most: what a power cut could make capture read again.
const GATHERED_FRAMES_MAX: usize = 256;

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
        let mut first = Vec::with_capacity(captured.len());
        for one in &captured {
            let sealed = self.sealer.seal(&one.payloads, one.peer.as_ref(), captured_ms);
            let frames = sealed.map_err(|e| OutletError(e.to_string()))?;
            first.push(frames.first().map_or(Lsn(0), |frame| frame.lsn));
            if let Some(peer) = &one.peer {
                self.ahead.push(peer, &frames);
            }
            self.since_checkpoint.frames += u64::try_from(frames.len()).unwrap_or(0);
            self.patiently(|journal| journal.append(&frames))?;
            self.gathered = self.gathered.map(|gathered| gathered.saturating_add(frames.len()));
        }
        for (one, lsn) in captured.iter().zip(first) {
            one.payloads
                .iter()
                .for_each(|payload| fold(table, payload, lsn, one.peer.as_ref()));
        }
        if self.gathered.is_none_or(|frames| frames >= GATHERED_FRAMES_MAX) {
            self.commit()?;
        }
        self.checkpoint_where_due(table)?;
        Ok(self.sealer.head().lsn)
    }

    fn beat(&mut self) {
        self.pulse.beat();
    }

    fn gather(&mut self) {
        self.gathered = Some(0);
    }

    fn flush(&mut self) -> Result<(), OutletError> {
        match self.gathered.take() {
            None | Some(0) => Ok(()),
            Some(_) => self.commit(),
        }
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

    fn begin_stream(&mut self, reason: &str, table: &mut CaptureTable) -> Result<StreamId, OutletError> {
        let stream = super::files::new_stream_id().map_err(|e| OutletError(e.to_string()))?;
        let peers = self.peers.iter().map(|peer| peer.name.clone()).collect();
        let failed = |e: std::io::Error| OutletError(format!("note the new stream: {e}"));
        self.replaced.begin(stream, peers).map_err(failed)?;
        // LSNs go on, so nobody can take the new stream's first frames for those of a beginning.
        let mut sealer = Sealer::resume(Head {
            stream,
            ..self.sealer.head()
        });
        let base = Payload::Base(BaseStart {
            reason: reason.to_owned(),
        });
        let sealed = sealer.seal(&[base], None, self.clock.unix_ms());
        let sealed = sealed.map_err(|e| OutletError(e.to_string()))?;
        let base = sealed
            .first()
            .ok_or_else(|| OutletError("no base was made".to_owned()))?;
        let head = self.patiently(|journal| journal.restart_at(base))?;
        self.sealer = sealer;
        self.ahead = Ahead::default();
        for peer in &self.peers {
            // What it had of the old stream says nothing about this one.
            peer.standing.send_modify(|standing| standing.position = None);
        }
        table.forget_bases();
        self.publish(Some(head));
        self.checkpoint(table)?;
        tracing::warn!(%stream, lsn = %head.lsn, reason, "a new stream begins: every standby joins at a base");
        Ok(stream)
    }

    fn takes(&mut self, peer: &NodeName) -> Takes {
        match self.peers.iter().find(|known| known.name == *peer) {
            None => Takes::Never,
            Some(peer) if self.ahead.is_full(peer) => Takes::Later,
            Some(_) => Takes::Now,
        }
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

    /// Makes everything appended durable, and lets it go.
    fn commit(&mut self) -> Result<(), OutletError> {
        let head = self.patiently(Journal::commit)?;
        self.gathered = self.gathered.map(|_| 0);
        self.publish(head);
        Ok(())
    }

    fn checkpoint_where_due(&mut self, table: &CaptureTable) -> Result<(), OutletError> {
        let due = self.since_checkpoint.frames >= CHECKPOINT_FRAMES
            || self.since_checkpoint.time.elapsed() >= Duration::from_secs(CHECKPOINT_SECONDS);
        if due { self.checkpoint(table) } else { Ok(()) }
    }

    /// Makes the positions of everything emitted durable, then trims what every peer has.
    pub(super) fn checkpoint(&mut self, table: &CaptureTable) -> Result<(), OutletError> {
        let covers = self.sealer.head().lsn;
        self.patiently(|journal| journal.append_checkpoint(covers, table.parts()))?;
        self.commit()?;
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
    fn publish(&mut self, head: Option<Head>) {
        self.committed.send_replace(head.unwrap_or(super::files::NOWHERE));
    }
}

/// The table after a checkpoint and the frames behind it.
pub(super) fn fold(table: &mut CaptureTable, payload: &Payload, lsn: Lsn, peer: Option<&NodeName>) {
    match peer {
        None => table.apply(payload),
        Some(peer) => table.apply_for(peer, lsn, payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::JournalOptions;
    use crate::op::{Epoch, TreeChange};

    fn outlet(dir: &std::path::Path) -> JournalOutlet {
        let (journal, _) = super::super::files::open_journal(dir, JournalOptions::default()).unwrap();
        let sealer = Sealer::begin(StreamId([1; 16]), Epoch(1));
        JournalOutlet {
            journal,
            committed: watch::Sender::new(sealer.head()),
            sealer,
            announcements: broadcast::Sender::new(1),
            peers: Vec::new(),
            clock: Clock::start(),
            since_checkpoint: Since::default(),
            covered: Lsn(0),
            gathered: None,
            offered: Offered::default(),
            ahead: Ahead::default(),
            replaced: Arc::new(Replaced::load(dir).unwrap()),
            pulse: Arc::default(),
            health: Arc::default(),
        }
    }

    fn emit(outlet: &mut JournalOutlet, table: &mut CaptureTable, user: &str) -> Lsn {
        let tree = TreeChange {
            user: user.into(),
            ..TreeChange::default()
        };
        let captured = Captured {
            payloads: vec![Payload::Tree(tree)],
            peer: None,
        };
        outlet.emit(vec![captured], table).unwrap()
    }

    #[test]
    fn what_is_gathered_is_shipped_with_the_flush_and_no_sooner() {
        let dir = tempfile::tempdir().unwrap();
        let (mut outlet, mut table) = (outlet(dir.path()), CaptureTable::default());
        let shipped = outlet.committed.subscribe();
        assert_eq!(emit(&mut outlet, &mut table, "ann"), Lsn(1));
        assert_eq!(shipped.borrow().lsn, Lsn(1));
        outlet.gather();
        assert_eq!(emit(&mut outlet, &mut table, "bob"), Lsn(2));
        assert_eq!(emit(&mut outlet, &mut table, "cid"), Lsn(3));
        assert_eq!(shipped.borrow().lsn, Lsn(1), "shipped before it was durable");
        assert_eq!(outlet.journal.head().unwrap().lsn, Lsn(1));
        assert_eq!(table.users().count(), 3, "what follows builds on it");
        outlet.flush().unwrap();
        assert_eq!(shipped.borrow().lsn, Lsn(3));
        assert_eq!(outlet.journal.head().unwrap().lsn, Lsn(3));
        assert_eq!(emit(&mut outlet, &mut table, "dan"), Lsn(4));
        assert_eq!(shipped.borrow().lsn, Lsn(4), "after a flush each is by itself again");
    }

    #[test]
    fn what_is_gathered_stays_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let (mut outlet, mut table) = (outlet(dir.path()), CaptureTable::default());
        let shipped = outlet.committed.subscribe();
        outlet.gather();
        for _ in 0..=GATHERED_FRAMES_MAX {
            emit(&mut outlet, &mut table, "ann");
        }
        assert_eq!(shipped.borrow().lsn, Lsn(GATHERED_FRAMES_MAX as u64));
    }
}
