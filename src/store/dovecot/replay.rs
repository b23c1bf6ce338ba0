//! A mailbox's whole state out of its files: the main index and what the log says after it, or the log alone.
//!
//! Even where the index gives the messages, the logs are walked from their beginning: MODSEQs and open expunge requests
//! are only there. Nothing here reads a disk; the caller hands in the files' octets and checks that none of them was
//! replaced meanwhile.

use super::chain::{Chain, ChainFile, IndexFile, in_file, parse_index, parse_index_header, retry};
pub use super::chain::{SnapshotError, SnapshotFiles};
use super::commit::{LogState, change_keywords};
use super::index::Index;
use super::log::LogError;
use super::ranges::UidSet;
use super::reader::LogReader;
use super::transaction::{Deletion, LogTransaction, RawAppend, RawOp};
use crate::op::{Guid, Modseq, SourcePosition, Uid, UidRange};
use std::collections::BTreeMap;

/// A mailbox at the end of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxState {
    /// Where it stands, ready to read on.
    pub reader: LogReader,
    /// The messages.
    pub messages: BTreeMap<Uid, RawAppend>,
    /// The log's last word on the mailbox's end.
    pub deletion: Option<Deletion>,
}

impl MailboxState {
    /// Of a mailbox without messages.
    #[must_use]
    pub fn empty(reader: LogReader) -> Self {
        Self {
            reader,
            messages: BTreeMap::new(),
            deletion: None,
        }
    }

    /// Where the log stands.
    #[must_use]
    pub fn position(&self) -> SourcePosition {
        self.reader.position()
    }

    /// Numbers and extensions.
    #[must_use]
    pub fn log_state(&self) -> &LogState {
        self.reader.state()
    }

    /// The mailbox's GUID, where the index holds it (sdbox, mdbox).
    #[must_use]
    pub fn guid(&self) -> Option<Guid> {
        self.reader.state().exts.mailbox_guid()
    }

    /// True where the messages' MODSEQs are what Dovecot's IMAP answers. Until a client first asks for MODSEQs Dovecot
    /// keeps none: each message then has here the MODSEQ of the last record that touched it, as far as the logs reach
    /// back. No client has seen those; what Dovecot makes of them when it begins is an operation of the log
    /// ([`LogTransaction::modseqs_enabled`]).
    #[must_use]
    pub fn modseqs_exact(&self) -> bool {
        self.reader.state().modseqs_tracked
    }

    /// Reads one more commit of the log and applies it; `bytes` and `base` as [`LogReader::next`] wants them.
    ///
    /// # Errors
    /// As [`LogReader::next`].
    pub fn advance(&mut self, bytes: &[u8], base: u64) -> Result<Option<LogTransaction>, LogError> {
        let txn = self.reader.next(bytes, base)?;
        if let Some(txn) = &txn {
            self.apply(txn);
        }
        Ok(txn)
    }

    /// Applies what the reader has read.
    fn apply(&mut self, txn: &LogTransaction) {
        self.deletion = txn.deletion.or(self.deletion);
        for op in &txn.ops {
            self.apply_op(op);
        }
        for (uid, detail) in &txn.details {
            if let Some(message) = self.messages.get_mut(uid) {
                message.learn(*detail);
            }
        }
    }

    fn apply_op(&mut self, op: &RawOp) {
        match op {
            RawOp::Append(message) => {
                self.messages.insert(message.uid, message.clone());
            }
            RawOp::Flags(change) => self.each(&change.uids, change.modseq, |message| {
                message.flags = message.flags.changed(change.add, change.remove);
            }),
            RawOp::Keywords(change) => self.each(&change.uids, change.modseq, |message| {
                change_keywords(&mut message.keywords, change.verb, &change.keyword);
            }),
            RawOp::Expunge(expunge) => {
                for range in &expunge.uids {
                    let gone: Vec<Uid> = self
                        .messages
                        .range(range.first..=range.last)
                        .map(|(uid, _)| *uid)
                        .collect();
                    for uid in gone {
                        self.messages.remove(&uid);
                    }
                }
            }
        }
    }

    fn each(&mut self, uids: &[UidRange], modseq: Modseq, change: impl Fn(&mut RawAppend)) {
        for range in uids {
            for (_, message) in self.messages.range_mut(range.first..=range.last) {
                change(message);
                message.modseq = message.modseq.max(modseq);
            }
        }
    }

    /// Before the index's place in the log only MODSEQs are taken from it; the rest is in the index already.
    fn raise_modseqs(&mut self, txn: &LogTransaction) {
        for op in &txn.ops {
            match op {
                RawOp::Append(append) => self.each(&[UidRange::one(append.uid)], append.modseq, |_| {}),
                RawOp::Flags(change) => self.each(&change.uids, change.modseq, |_| {}),
                RawOp::Keywords(change) => self.each(&change.uids, change.modseq, |_| {}),
                RawOp::Expunge(_) => {}
            }
        }
    }

    /// Requests for messages that are not there will never be carried out.
    fn forget_idle_requests(&mut self) {
        let mut open = UidSet::default();
        for range in self.reader.state().open_requests.ranges() {
            for (uid, _) in self.messages.range(range.first..=range.last) {
                open.insert(UidRange::one(*uid));
            }
        }
        self.reader.state_mut().open_requests = open;
    }
}

/// A mailbox's state at the end of its log.
///
/// # Errors
/// [`SnapshotError`]
pub fn snapshot(files: &SnapshotFiles<'_>) -> Result<MailboxState, SnapshotError> {
    let chain = Chain::of(files)?;
    let index = parse_index(files, &chain)?;
    let mut state = match index.as_ref().and_then(|index| Some((index, chain.place_of(index)?))) {
        Some((index, place)) => from_index(&chain, index, place)?,
        None => from_logs(&chain)?,
    };
    state.forget_idle_requests();
    Ok(state)
}

/// Without a usable index the logs must reach back to the empty mailbox.
fn from_logs(chain: &Chain<'_>) -> Result<MailboxState, SnapshotError> {
    let oldest = &chain.oldest()?.header;
    if !oldest.starts_empty() {
        return Err(retry(
            "no main index fits, and the logs don't reach back to the beginning",
        ));
    }
    let mut state = MailboxState::empty(LogReader::at_start(*oldest));
    for (number, file) in chain.0.iter().enumerate() {
        if number > 0 {
            state.reader = state.reader.clone().rotated(file.header);
        }
        while state
            .advance(file.bytes, 0)
            .map_err(|error| in_file(file.file, error))?
            .is_some()
        {}
        at_end(file, &state)?;
    }
    Ok(state)
}

/// All of `.log.2` up to where the new log continues it must have been readable.
fn at_end(file: &ChainFile<'_>, state: &MailboxState) -> Result<(), SnapshotError> {
    let end = u64::try_from(file.bytes.len()).unwrap_or(u64::MAX);
    if file.file == IndexFile::Log2 && state.reader.offset() != end {
        return Err(retry("the old log does not end where the new one continues it"));
    }
    Ok(())
}

/// The index's messages, with MODSEQs and requests out of the logs before its place, and all that comes after it.
fn from_index(chain: &Chain<'_>, index: &Index, place: (usize, u64)) -> Result<MailboxState, SnapshotError> {
    let mut walk = IndexWalk::begin(chain, index, place)?;
    for (number, file) in chain.0.iter().enumerate() {
        if number > 0 {
            walk.state.reader = walk.state.reader.clone().rotated(file.header);
        }
        walk.file(number, file)?;
    }
    if !walk.arrived {
        return Err(retry("the index is ahead of the log"));
    }
    Ok(walk.state)
}

struct IndexWalk<'a> {
    state: MailboxState,
    index: &'a Index,
    /// File number and offset where the index's knowledge ends.
    place: (usize, u64),
    arrived: bool,
    /// Only records from here on (log sequence, offset) raise MODSEQs: the index has seen those before.
    modseqs_from: (u32, u64),
}

impl<'a> IndexWalk<'a> {
    fn begin(chain: &Chain<'_>, index: &'a Index, place: (usize, u64)) -> Result<Self, SnapshotError> {
        let oldest = chain.oldest()?.header;
        let kept = index.exts.modseq_header();
        // A message whose MODSEQ was never written has what the counter was when Dovecot began to write them.
        let floor = kept.map_or(oldest.initial_modseq, |header| header.highest);
        let with_modseq = |message: &RawAppend| {
            let modseq = if message.modseq.0 == 0 { floor } else { message.modseq };
            (
                message.uid,
                RawAppend {
                    modseq,
                    ..message.clone()
                },
            )
        };
        let before = LogState {
            modseq: oldest.initial_modseq,
            uidnext: Uid(1),
            exts: index.exts.without_generations(),
            modseqs_tracked: kept.is_some(),
            ..LogState::default()
        };
        let mut state = MailboxState::empty(LogReader::at_first_record(oldest, before));
        state.messages = index.messages.iter().map(with_modseq).collect();
        let modseqs_from = kept.map_or((0, 0), |header| (header.log_seq, u64::from(header.log_offset)));
        Ok(Self {
            state,
            index,
            place,
            arrived: false,
            modseqs_from,
        })
    }

    fn file(&mut self, number: usize, file: &ChainFile<'_>) -> Result<(), SnapshotError> {
        loop {
            self.arrive(number)?;
            let arrived = self.arrived;
            let step = if arrived {
                self.state.advance(file.bytes, 0)
            } else {
                self.state.reader.next(file.bytes, 0)
            };
            let Some(txn) = step.map_err(|error| in_file(file.file, error))? else {
                return at_end(file, &self.state);
            };
            if !arrived && (file.header.file_seq, txn.start) >= self.modseqs_from {
                self.state.raise_modseqs(&txn);
            }
        }
    }

    /// At the index's place what it says takes over.
    fn arrive(&mut self, number: usize) -> Result<(), SnapshotError> {
        let here = (number, self.state.reader.offset());
        if self.arrived || here < self.place {
            return Ok(());
        }
        if here > self.place {
            return Err(retry("the index's place is inside a commit of the log"));
        }
        self.arrived = true;
        let kept = self.index.exts.modseq_header();
        let log_seq = self.state.reader.header().file_seq;
        let highest = kept
            .filter(|header| header.log_seq == log_seq)
            .map(|header| header.highest);
        let state = self.state.reader.state_mut();
        state.uidvalidity = self.index.uidvalidity;
        state.uidnext = self.index.uidnext;
        state.exts = self.index.exts.clone();
        state.repaired = self.index.repaired;
        state.modseqs_tracked = kept.is_some();
        state.modseq = state.modseq.max(highest.unwrap_or_default());
        Ok(())
    }
}

/// A reader at a position that was kept, after a restart. None: its file is not there any more, or not the same
/// ([`super::classify`] tells which).
///
/// # Errors
/// [`SnapshotError`]: the extensions at that place can't be found out.
pub fn reader_at(files: &SnapshotFiles<'_>, position: &SourcePosition) -> Result<Option<LogReader>, SnapshotError> {
    let chain = Chain::of(files)?;
    let is_here = |file: &ChainFile<'_>| super::classify::is_file_of(position, &file.header);
    let Some(wanted) = chain.0.iter().position(is_here) else {
        return Ok(None);
    };
    let index = parse_index_header(files, &chain)?;
    let mut reader = walk_start(index.as_ref(), &chain)?;
    for (number, file) in chain.0.iter().enumerate().take(wanted.saturating_add(1)) {
        if number > 0 {
            reader = reader.rotated(file.header);
        }
        let stop = if number == wanted { position.offset } else { u64::MAX };
        while reader.offset() < stop {
            if reader
                .next(file.bytes, 0)
                .map_err(|error| in_file(file.file, error))?
                .is_none()
            {
                break;
            }
        }
    }
    let walked = reader.position();
    if (walked.offset, walked.fingerprint) != (position.offset, position.fingerprint) {
        return Ok(None);
    }
    let kept_in_index = index.is_some_and(|index| index.exts.modseq_header().is_some());
    let before_the_logs = kept_in_index && !reader.state().modseqs_tracked && !enables_later(&chain, wanted, &reader);
    reader.state_mut().modseqs_tracked |= before_the_logs;
    Ok(Some(reader.at_position(position)))
}

/// True where Dovecot begins to keep MODSEQs behind the reader's place, which is in the chain's file `number`.
fn enables_later(chain: &Chain<'_>, number: usize, reader: &LogReader) -> bool {
    let mut reader = reader.clone();
    for (at, file) in chain.0.iter().enumerate().skip(number) {
        if at > number {
            reader = reader.rotated(file.header);
        }
        // Where it can't be read on, the tailer will say so itself.
        while let Ok(Some(txn)) = reader.next(file.bytes, 0) {
            if txn.modseqs_enabled {
                return true;
            }
        }
    }
    false
}

/// A reader at the oldest log's first record that knows the extensions, but no numbers.
fn walk_start(index: Option<&Index>, chain: &Chain<'_>) -> Result<LogReader, SnapshotError> {
    let oldest = chain.oldest()?.header;
    if oldest.starts_empty() {
        return Ok(LogReader::at_start(oldest));
    }
    let index = index.ok_or_else(|| retry("no main index tells the extensions"))?;
    let state = LogState {
        modseq: oldest.initial_modseq,
        uidnext: Uid(1),
        exts: index.exts.without_generations(),
        ..LogState::default()
    };
    Ok(LogReader::at_first_record(oldest, state))
}

/// Entry point for fuzzing: the octets are cut into an index and a log by their first two.
pub fn fuzz_snapshot(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let at = usize::from(u16::from_le_bytes(*cut)).min(rest.len());
    let (index, log) = rest.split_at(at);
    let _ = snapshot(&SnapshotFiles {
        index: Some(index),
        log,
        log2: None,
    });
    let _ = snapshot(&SnapshotFiles {
        index: None,
        log,
        log2: Some(index),
    });
    let _ = reader_at(
        &SnapshotFiles {
            index: Some(index),
            log,
            log2: None,
        },
        &SourcePosition::default(),
    );
}
