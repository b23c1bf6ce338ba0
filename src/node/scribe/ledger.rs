//! The journal as the ledger of a batch: frames are sealed while the changes are made, and durable with one flush.

use super::super::NodeError;
use super::super::files::NOWHERE;
use super::super::primary::Announcement;
use crate::codec::{CodecError, EncodedFrame, frame};
use crate::journal::{Class, Head, Journal, JournalError, JournalView, Sealer};
use crate::limits::{NOTICE_MESSAGES_MAX, NOTICE_RANGES_MAX};
use crate::op::{Append, Lsn, MailboxTxn, NodeName, Notice, Op, Payload, StreamId, UidRange};
use crate::store::embedded::write::Ledger;
use crate::store::target::{Frame, TargetError};
use tokio::sync::broadcast;

/// See the module.
pub(super) struct JournalLedger {
    journal: Journal,
    sealer: Sealer,
    /// The sealer as it was before what is not committed.
    before: Sealer,
    /// Sealed and not in the journal yet.
    sealed: Vec<EncodedFrame>,
    notices: Vec<Notice>,
    announcements: broadcast::Sender<Announcement>,
    /// Number of the last notice.
    number: u64,
    captured_ms: u64,
}

impl From<JournalError> for TargetError {
    fn from(error: JournalError) -> Self {
        let why = format!("the journal: {error}; {}", error.hint());
        match error.class() {
            Class::Retry => Self::Retry(why),
            Class::Resume | Class::Halt => Self::Halt(why),
        }
    }
}

impl JournalLedger {
    pub(super) fn new(journal: Journal, sealer: Sealer, announcements: broadcast::Sender<Announcement>) -> Self {
        Self {
            journal,
            before: sealer.clone(),
            sealer,
            sealed: Vec::new(),
            notices: Vec::new(),
            announcements,
            number: 0,
            captured_ms: 0,
        }
    }

    /// A batch begins.
    pub(super) fn begin(&mut self, captured_ms: u64) {
        self.captured_ms = captured_ms;
        self.before = self.sealer.clone();
    }

    /// What was sealed since is forgotten: its places are given out again.
    pub(super) fn undo(&mut self) -> Result<(), TargetError> {
        self.sealer = self.before.clone();
        self.sealed.clear();
        self.notices.clear();
        Ok(self.journal.roll_back()?)
    }

    /// The end of what is sealed.
    pub(super) fn head(&self) -> Head {
        self.sealer.head()
    }

    pub(super) fn view(&self) -> JournalView {
        self.journal.view()
    }

    pub(super) fn into_journal(self) -> Journal {
        self.journal
    }

    pub(super) fn trim(&mut self, upto: Lsn) -> Result<(), JournalError> {
        self.journal.trim(upto).map(drop)
    }

    /// Seals transactions of their own, for one peer or for all, and hands them to the journal.
    pub(super) fn tell(
        &mut self,
        transactions: &[Vec<Payload>],
        peer: Option<&NodeName>,
        captured_ms: u64,
    ) -> Result<Vec<EncodedFrame>, CodecError> {
        self.begin(captured_ms);
        for payloads in transactions {
            match self.sealer.seal(payloads, peer, captured_ms) {
                Ok(frames) => self.sealed.extend(frames),
                Err(error) => {
                    self.sealer = self.before.clone();
                    self.sealed.clear();
                    return Err(error);
                }
            }
        }
        Ok(self.sealed.clone())
    }

    /// Makes everything sealed durable; may be tried again after a failed write.
    pub(super) fn flush(&mut self) -> Result<(), JournalError> {
        if !self.sealed.is_empty() {
            self.journal.append(&self.sealed)?;
            self.sealed.clear();
        }
        self.journal.commit().map(drop)
    }

    /// Begins another stream in the journal; what it held is gone when this returns.
    pub(super) fn restart(&mut self, stream: StreamId, base: &Payload, captured_ms: u64) -> Result<(), NodeError> {
        // LSNs go on, so nobody can take the new stream's first frames for those of a beginning.
        let mut sealer = Sealer::resume(Head {
            stream,
            ..self.sealer.head()
        });
        let sealed = sealer.seal(std::slice::from_ref(base), None, captured_ms);
        let sealed = sealed.map_err(|e| NodeError::Journal(e.to_string()))?;
        let Some(base) = sealed.first() else {
            return Err(NodeError::Journal("no base was made".to_owned()));
        };
        self.journal.restart_at(base).map_err(NodeError::journal)?;
        self.sealer = sealer;
        Ok(())
    }

    fn announce(&mut self) {
        for mut notice in std::mem::take(&mut self.notices) {
            self.number += 1;
            notice.number = self.number;
            if self.announcements.send(Announcement::Notice(Box::new(notice))).is_err() {
                tracing::trace!("no peer hears this notice");
            }
        }
    }
}

impl Ledger for JournalLedger {
    fn seal(&mut self, payloads: &[Payload]) -> Result<Vec<Frame>, CodecError> {
        let encoded = self.sealer.seal(payloads, None, self.captured_ms)?;
        let mut frames = Vec::with_capacity(encoded.len());
        for one in &encoded {
            let (header, chain, payload) = frame::open(&one.bytes)?;
            frames.push(Frame { header, chain, payload });
        }
        self.sealed.extend(encoded);
        if self.announcements.receiver_count() > 0 {
            self.notices.extend(payloads.iter().filter_map(notice));
        }
        Ok(frames)
    }

    /// What was announced is durable here: nothing that was refused is ever counted as lost.
    fn commit(&mut self) -> Result<(), TargetError> {
        self.flush()?;
        self.before = self.sealer.clone();
        debug_assert_eq!(self.journal.head().unwrap_or(NOWHERE), self.sealer.head());
        self.announce();
        Ok(())
    }
}

/// The announcement of a mailbox's transaction; its number is given when it is sent.
fn notice(payload: &Payload) -> Option<Notice> {
    let Payload::Mailbox(txn) = payload else { return None };
    let ranges = |of: fn(&Op) -> Vec<UidRange>| -> Vec<UidRange> {
        txn.ops.iter().flat_map(of).take(NOTICE_RANGES_MAX).collect()
    };
    Some(Notice {
        number: 0,
        mailbox: txn.mailbox.clone(),
        uidvalidity: txn.uidvalidity,
        appended: appended(txn),
        changed: ranges(|op| match op {
            Op::Flags(change) => change.uids.clone(),
            Op::Keywords(change) => change.uids.clone(),
            _ => Vec::new(),
        }),
        expunged: ranges(|op| match op {
            Op::Expunge(expunge) => expunge.uids.clone(),
            _ => Vec::new(),
        }),
        messages: txn
            .appends()
            .take(NOTICE_MESSAGES_MAX)
            .map(|append| (append.uid, append.guid.clone(), append.size))
            .collect(),
        position: txn.position.clone(),
    })
}

/// New UIDs follow each other.
fn appended(txn: &MailboxTxn) -> Vec<UidRange> {
    let uids: Vec<&Append> = txn.appends().collect();
    let runs = uids.chunk_by(|a, b| a.uid.0.saturating_add(1) == b.uid.0);
    let range = |run: &[&Append]| {
        Some(UidRange {
            first: run.first()?.uid,
            last: run.last()?.uid,
        })
    };
    runs.filter_map(range).take(NOTICE_RANGES_MAX).collect()
}
