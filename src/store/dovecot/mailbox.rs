//! Capture of one mailbox: its log's transactions and its complete list, as operations with all that they need.

use super::body_cache::BodyCache;
use super::folder::Folder;
use super::identity::Identities;
use super::mail_root::MailRoot;
use super::reader::LogReader;
use super::replay::MailboxState;
use super::settling::{Settled, Settling};
use super::snapshot::{self, ReadError, RepairMark};
use super::stamp::Stamp;
use super::tail::{Tail, Verdict};
use super::transaction::{Deletion, LogTransaction, RawAppend, RawOp};
use crate::op::{
    Append, Lineage, MailboxId, MailboxTxn, Modseq, Op, SourcePosition, StateChunk, Uid, UidRange, UidValidity,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks for a message before it is taken for gone.
const LOOKS_MAX: u32 = 6;
/// Why a mailbox is listed once more after a repair.
const REPAIR_OVER: &str = "the repair is over";
/// Between two looks; a rename takes microseconds.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// A mailbox that was listed once.
#[derive(Debug)]
pub struct MailboxCapture {
    id: MailboxId,
    root: Arc<MailRoot>,
    directory: PathBuf,
    tail: Tail,
    folder: Folder,
    /// As last emitted. maildir gives it out before the index knows it.
    uidvalidity: UidValidity,
    /// Above every UID that was emitted. A log that was taken back may give them out again: to the same messages
    /// (maildir) or to others, which only a list tells.
    uidnext: Uid,
    /// What the log could not tell, until a list was emitted in its place.
    unlisted: Option<Verdict>,
    /// Open for a while after a repair.
    settling: Settling,
    index: RepairMark,
}

/// What a reading of the log gave.
#[derive(Debug)]
pub struct Reading {
    /// In the log's order; without those that changed nothing that a client could see.
    pub transactions: Vec<MailboxTxn>,
    /// True where attributes of the mailbox changed, or may have.
    pub attributes_changed: bool,
    /// How it ended.
    pub verdict: Verdict,
}

/// A mailbox's complete list, not emitted yet.
#[derive(Debug)]
pub struct FullList {
    /// To read on from there.
    pub reader: LogReader,
    /// What it says.
    pub chunk: StateChunk,
    /// Its messages as index and log tell them, in the same order.
    pub raw: Vec<RawAppend>,
    /// True where each message's MODSEQ is what Dovecot's IMAP answers.
    pub modseqs_exact: bool,
}

impl FullList {
    /// Notes whether messages may have left without a request before this list, for copies that were not told.
    pub fn doubt(&mut self, unattested: bool) {
        self.reader.state_mut().unattested = unattested;
        self.chunk.position.unattested = unattested;
    }
}

impl MailboxCapture {
    /// Goes on where it was.
    #[must_use]
    pub fn resume(id: MailboxId, root: &Arc<MailRoot>, directory: &Path, position: SourcePosition) -> Self {
        let folder = Folder::new(id.clone(), root, directory);
        let (uidvalidity, uidnext) = (position.uidvalidity, position.uidnext);
        let tail = Tail::resume(id.guid, Arc::clone(root), directory.to_owned(), position);
        Self {
            id,
            root: Arc::clone(root),
            directory: directory.to_owned(),
            tail,
            folder,
            uidvalidity,
            uidnext,
            unlisted: None,
            settling: Settling::default(),
            index: RepairMark::default(),
        }
    }

    /// The list before this start may have been read in the middle of a repair.
    pub fn came_into_a_repair(&mut self) {
        self.settling = Settling::after_restart(self.tail.position(), Instant::now());
    }

    /// Goes on after a list.
    #[must_use]
    pub fn after(id: MailboxId, root: &Arc<MailRoot>, directory: &Path, list: &FullList) -> Self {
        let mut capture = Self::resume(id, root, directory, list.chunk.position.clone());
        capture.restart(list);
        capture
    }

    /// True while a repair may not be over.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        self.settling.is_open()
    }

    /// Whatever the log says: the next reading asks for a list.
    pub fn list_next(&mut self, why: &'static str) {
        let verdict = Verdict::State { broken: false, why };
        self.unlisted.get_or_insert(verdict);
    }

    /// Goes on after another list of the same mailbox.
    pub fn restart(&mut self, list: &FullList) {
        let again = matches!(&self.unlisted, Some(Verdict::State { why, .. }) if *why == REPAIR_OVER);
        if list.chunk.lineage == Lineage::Broken && !again {
            self.settling = Settling::begin(list.chunk.position.clone(), Instant::now());
        }
        self.tail = Tail::after(
            self.id.guid,
            Arc::clone(&self.root),
            self.directory.clone(),
            list.reader.clone(),
        );
        let same = self.uidvalidity == list.chunk.uidvalidity;
        self.uidnext = list.chunk.uidnext.max(if same { self.uidnext } else { Uid(0) });
        self.uidvalidity = list.chunk.uidvalidity;
        self.unlisted = None;
    }

    /// The mailbox lies here now.
    pub fn moved(&mut self, directory: &Path) {
        if self.directory != directory {
            directory.clone_into(&mut self.directory);
            self.tail.moved(directory);
            self.folder.moved(directory);
        }
    }

    /// The mailbox is not in the tree any more: its log may have said before it was first listed that it is deleted.
    pub(crate) fn heed_deletion(&mut self, identities: &Identities) {
        let is_here = matches!(identities.of(&self.root, &self.directory), Ok(Some(found)) if found == self.id.guid);
        if is_here && snapshot::read(&self.directory).is_ok_and(|state| state.deletion == Some(Deletion::Deleted)) {
            self.tail.take_for_deleted();
        }
    }

    /// True once the log said that the mailbox is deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.tail.is_deleted()
    }

    /// True where all that counts of it is in `emitted`, the position that the table has: what was read since then told
    /// nothing, and is read again.
    pub(crate) fn may_rest(&self, emitted: &SourcePosition) -> bool {
        let read = self.tail.position();
        let same = self.uidvalidity == emitted.uidvalidity
            && self.uidnext <= emitted.uidnext
            && (read.repaired, read.unattested) == (emitted.repaired, emitted.unattested);
        same && !self.is_settling() && self.unlisted.is_none() && !self.tail.is_deleted() && !self.tail.is_displaced()
    }

    /// Of its log when that was read to its end.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.tail.stamp()
    }

    /// True where nothing was written to the log since it was read to its end.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.unlisted.is_none() && self.tail.is_unchanged()
    }

    /// True where the last reading found another mailbox in this one's place.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        self.tail.is_displaced()
    }

    /// How far the log was read.
    #[must_use]
    pub fn position(&self) -> SourcePosition {
        self.tail.position()
    }

    /// True while the log is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tail.is_open()
    }

    /// Closes the log; the next reading opens it again.
    pub fn close(&mut self) {
        self.tail.close();
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads the log to its end.
    pub fn read(&mut self, identities: &Identities, cache: &BodyCache) -> Reading {
        if let Some(verdict) = self.unlisted.clone() {
            return Reading {
                transactions: Vec::new(),
                attributes_changed: false,
                verdict,
            };
        }
        let mut found: Vec<(LogTransaction, SourcePosition)> = Vec::new();
        let verdict = self
            .tail
            .read(identities, &mut |txn, reader| found.push((txn, reader.position())));
        let news = !found.is_empty();
        let mut reading = Reading {
            transactions: Vec::new(),
            attributes_changed: found.iter().any(|(txn, _)| txn.attributes_changed),
            verdict: verdict.unwrap_or_else(|e| Verdict::Damaged {
                file: self.directory.clone(),
                offset: 0,
                why: e.to_string(),
            }),
        };
        if found.iter().any(|(txn, _)| !txn.ops.is_empty()) {
            self.folder.refresh();
        }
        let expunges = expunged(&found);
        for (txn, position) in found {
            if let Some(why) = self.only_a_list_tells(&txn) {
                reading.verdict = Verdict::State { broken: true, why };
                break;
            }
            if !txn.ops.is_empty() || txn.raised {
                let txn = self.transaction(txn, position, &expunges, cache);
                push_merging_floors(&mut reading.transactions, txn);
            }
        }
        self.folder.rest();
        if reading.verdict == Verdict::End {
            self.look_for_repairs(news, &mut reading);
        }
        if matches!(reading.verdict, Verdict::State { .. }) {
            // What the log would have said of them is among what could not be read.
            reading.attributes_changed = true;
            self.unlisted = Some(reading.verdict.clone());
        }
        reading
    }

    /// What Dovecot repairs without a word in the log.
    fn look_for_repairs(&mut self, news: bool, reading: &mut Reading) {
        let position = self.tail.position();
        let repaired = news && self.index.is_new(&self.directory, position.repaired);
        let settled = self.settling.look(&position, Instant::now());
        let (broken, why) = match settled {
            _ if repaired => (true, "Dovecot repaired the index"),
            Settled::ListAgain => (true, REPAIR_OVER),
            // what was listed before is the ground that this one is compared with
            Settled::ListToBeSure => (false, "a restart came into a repair"),
            Settled::Long | Settled::NotYet | Settled::AsListed => return,
        };
        reading.verdict = Verdict::State { broken, why };
    }

    fn only_a_list_tells(&mut self, txn: &LogTransaction) -> Option<&'static str> {
        if self.uidvalidity.0 == 0 {
            self.uidvalidity = self.folder.uidvalidity().unwrap_or(txn.uidvalidity);
        }
        // A maildir gives it out in the uidlist first: that the index learns it then is no change.
        let is_told = txn.uidvalidity_changed || txn.uidvalidity.0 != 0;
        if is_told && txn.uidvalidity != self.uidvalidity {
            return Some("UIDVALIDITY changed");
        }
        let again = |op: &RawOp| matches!(op, RawOp::Append(raw) if raw.uid < self.uidnext);
        if txn.ops.iter().any(again) {
            return Some("UIDs are given out again");
        }
        self.uidnext = self.uidnext.max(txn.uidnext);
        txn.requests_forgotten
            .then_some("more expunges were requested than can be kept")
    }

    fn transaction(
        &mut self,
        txn: LogTransaction,
        position: SourcePosition,
        expunged: &BTreeSet<Uid>,
        cache: &BodyCache,
    ) -> MailboxTxn {
        let mut ops = Vec::with_capacity(txn.ops.len());
        for op in txn.ops {
            ops.push(match op {
                RawOp::Append(raw) => Op::Append(self.completed(&raw, expunged.contains(&raw.uid), cache)),
                RawOp::Flags(change) => Op::Flags(change),
                RawOp::Keywords(change) => Op::Keywords(change),
                RawOp::Expunge(expunge) => Op::Expunge(expunge),
            });
        }
        MailboxTxn {
            mailbox: self.id.clone(),
            uidvalidity: self.uidvalidity,
            ops,
            uidnext: txn.uidnext,
            highest_modseq: txn.modseq.max(Modseq(1)),
            position,
        }
    }

    /// A message that was appended. Where it is not found, the mailbox was renamed or the file was, just now: both
    /// happen at any time. Only one that stays away, or whose expunge was read too, is gone.
    fn completed(&mut self, raw: &RawAppend, expunged: bool, cache: &BodyCache) -> Append {
        let mut looks = 0;
        loop {
            self.follow_log();
            let before = self.directory.clone();
            let (append, was_there) = self.folder.complete(raw, self.uidvalidity, Some(cache));
            self.follow_log();
            let settled = was_there || expunged || self.tail.directory_now().is_none();
            looks += 1;
            if looks >= LOOKS_MAX || (settled && self.directory == before) {
                return append;
            }
            std::thread::sleep(LOOK_PAUSE);
            self.folder.refresh();
        }
    }

    /// A rename moves the directory, not the open log: where that lies is where the mailbox is.
    fn follow_log(&mut self) {
        if let Some(directory) = self.tail.directory_now() {
            self.moved(&directory);
        }
    }

    /// The complete list, as a `state` that follows on what was read of the log.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn list_again(&mut self, broken: bool, identities: &Identities) -> Result<FullList, ReadError> {
        let before = self.tail.position();
        let uidvalidity = self.uidvalidity;
        let listed = list(&mut self.folder, &self.directory, identities, &BTreeMap::new());
        self.folder.rest();
        let mut list = listed?;
        list.chunk.lineage = lineage(&before, uidvalidity, &list, broken);
        list.doubt(before.unattested || list.chunk.lineage == Lineage::Broken);
        Ok(list)
    }
}

/// A floor says nothing that the transaction after it does not say too.
fn push_merging_floors(transactions: &mut Vec<MailboxTxn>, txn: MailboxTxn) {
    transactions.pop_if(|last| last.ops.is_empty());
    transactions.push(txn);
}

/// The complete list of a mailbox. `known` saves looking at messages again that were completed a moment ago.
///
/// # Errors
/// [`ReadError`]
pub fn list(
    folder: &mut Folder,
    directory: &Path,
    identities: &Identities,
    known: &BTreeMap<Uid, Append>,
) -> Result<FullList, ReadError> {
    let id = folder.id().clone();
    let is_here = |folder: &Folder| Ok::<bool, ReadError>(identities.of(folder.root(), directory)? == Some(id.guid));
    if !is_here(folder)? {
        return Err(ReadError::Absent);
    }
    let mut state = snapshot::read(directory)?;
    state.reader.state_mut().storage_rebuilds = folder.rebuild_count()?;
    // Another mailbox may have taken the path in between.
    if !is_here(folder)? || state.guid().is_some_and(|guid| guid != id.guid) {
        return Err(ReadError::Absent);
    }
    folder.refresh();
    let uidvalidity = match state.log_state().uidvalidity {
        UidValidity(0) => folder
            .uidvalidity()
            .ok_or_else(|| ReadError::Unsettled("no UIDVALIDITY yet".to_owned()))?,
        given => given,
    };
    let messages = complete_all(folder, &state, uidvalidity, known);
    // The files that were looked at may have been another mailbox's.
    if !is_here(folder)? {
        return Err(ReadError::Absent);
    }
    Ok(FullList {
        modseqs_exact: state.modseqs_exact(),
        chunk: chunk(&id, uidvalidity, &state, messages),
        reader: state.reader,
        raw: state.messages.into_values().collect(),
    })
}

/// Looks twice where files were not found: they may have been renamed just then.
fn complete_all(
    folder: &mut Folder,
    state: &MailboxState,
    uidvalidity: UidValidity,
    known: &BTreeMap<Uid, Append>,
) -> Vec<Append> {
    let mut messages = Vec::with_capacity(state.messages.len());
    let mut absent = Vec::new();
    for raw in state.messages.values() {
        if let Some(complete) = known.get(&raw.uid).filter(|complete| !complete.guid.is_unknown()) {
            let (flags, keywords, modseq) = (raw.flags, raw.keywords.clone(), raw.modseq);
            messages.push(Append {
                flags,
                keywords,
                modseq,
                ..complete.clone()
            });
            continue;
        }
        let (append, was_there) = folder.complete(raw, uidvalidity, None);
        if !was_there {
            absent.push((messages.len(), raw));
        }
        messages.push(append);
    }
    if !absent.is_empty() {
        std::thread::sleep(LOOK_PAUSE);
        folder.refresh();
    }
    for (at, raw) in absent {
        if let Some(message) = messages.get_mut(at) {
            *message = folder.complete(raw, uidvalidity, None).0;
        }
    }
    messages
}

/// UIDs of messages whose expunge stands in what was read.
fn expunged(found: &[(LogTransaction, SourcePosition)]) -> BTreeSet<Uid> {
    let ops = found.iter().flat_map(|(txn, _)| &txn.ops);
    let appended: BTreeSet<Uid> = ops
        .clone()
        .filter_map(|op| match op {
            RawOp::Append(raw) => Some(raw.uid),
            _ => None,
        })
        .collect();
    let ranges = ops.filter_map(|op| match op {
        RawOp::Expunge(expunge) => Some(expunge.uids.iter()),
        _ => None,
    });
    let of_range = |range: &UidRange| appended.range(range.first..=range.last).copied().collect::<Vec<_>>();
    ranges.flatten().flat_map(of_range).collect()
}

fn chunk(id: &MailboxId, uidvalidity: UidValidity, state: &MailboxState, messages: Vec<Append>) -> StateChunk {
    StateChunk {
        mailbox: id.clone(),
        uidvalidity,
        lineage: Lineage::Initial,
        messages,
        uidnext: state.log_state().uidnext.max(Uid(1)),
        highest_modseq: state.log_state().modseq.max(Modseq(1)),
        position: state.position(),
    }
}

/// Whether the list follows on what was read before without anything that speaks of damage (guarantee 7). A rebuild
/// begins a log anew, but rotations may have hidden that beginning: its count tells.
fn lineage(before: &SourcePosition, uidvalidity: UidValidity, list: &FullList, broken: bool) -> Lineage {
    let now = &list.chunk.position;
    let repaired = now.repaired && !before.repaired;
    let whole = !broken
        && !repaired
        && before.index_id == now.index_id
        && uidvalidity == list.chunk.uidvalidity
        && before.file_seq <= now.file_seq
        && before.modseq <= now.modseq
        && before.uidnext <= now.uidnext
        && before.rebuild_count == now.rebuild_count;
    if whole { Lineage::Whole } else { Lineage::Broken }
}
