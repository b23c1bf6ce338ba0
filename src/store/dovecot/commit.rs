//! Makes one commit into operations: what the records of a commit say together.
//!
//! An append is pending until its commit ends, because keywords, GUID and size of a new message follow its record. Of
//! ranges that cover pending messages, that part is merged into the append and the rest stays an operation.

use super::exts::{self, ExtTable};
use super::log::LogError;
use super::payload::{Change, FlagEntry, Intro, Patch, ext_records, parse};
use super::ranges::UidSet;
use super::record::Record;
use super::transaction::{Deletion, Detail, LogTransaction, RawAppend, RawOp};
use crate::limits::OPEN_REQUESTS_MAX;
use crate::op::UidValidity;
use crate::op::{Expunge, FlagChange, Flags, Guid, Keyword, KeywordChange, KeywordVerb, Modseq, Uid, UidRange};
use std::collections::BTreeMap;

/// First minor version of the log format that doesn't count Dovecot's own flags as changes.
const MINOR_INTERNAL_FLAGS_HIDDEN: u8 = 3;
const HEADER_UIDVALIDITY: u32 = 24;
const HEADER_UIDNEXT: u32 = 28;

/// What is known of a mailbox at one place of its log, without its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// MODSEQ counter.
    pub modseq: Modseq,
    /// UIDVALIDITY; 0: none given out yet.
    pub uidvalidity: UidValidity,
    /// UIDNEXT.
    pub uidnext: Uid,
    /// Expunges that were requested and have not happened.
    pub open_requests: UidSet,
    /// The index's extensions.
    pub exts: ExtTable,
    /// True once Dovecot keeps a MODSEQ of each message.
    pub modseqs_tracked: bool,
    /// How often an mdbox user's storage was rebuilt: the map of bodies says it, not the log.
    pub storage_rebuilds: u32,
    /// True where the main index carries the mark of a repair.
    pub repaired: bool,
    /// True once messages left without a request.
    pub unattested: bool,
}

/// Folds the records of one commit into `state` and a transaction.
pub(crate) struct CommitFold {
    pub(crate) state: LogState,
    pub(crate) txn: LogTransaction,
    minor_version: u8,
    /// Place in `txn.ops` of each message that this commit appends.
    pending: BTreeMap<Uid, usize>,
}

impl CommitFold {
    pub(crate) fn new(state: LogState, minor_version: u8) -> Self {
        Self {
            state,
            txn: LogTransaction::default(),
            minor_version,
            pending: BTreeMap::new(),
        }
    }

    /// Takes the next record.
    pub(crate) fn record(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        let corrupt = |why| LogError::corrupt(record.offset, why);
        let change = parse(record).map_err(corrupt)?;
        self.change(change, record.external).map_err(corrupt)
    }

    /// The finished transaction; `before` is the state that the fold began with.
    pub(crate) fn finish(mut self, before: &LogState) -> (LogState, LogTransaction) {
        let state = &self.state;
        self.txn.uidvalidity = state.uidvalidity;
        self.txn.uidvalidity_changed = before.uidvalidity != state.uidvalidity;
        self.txn.uidnext = state.uidnext;
        self.txn.modseq = state.modseq;
        self.txn.raised = state.modseq > before.modseq || state.uidnext > before.uidnext;
        (self.state, self.txn)
    }

    fn change(&mut self, change: Change<'_>, external: bool) -> Result<(), String> {
        match change {
            Change::Expunge(uids) if external => self.expunge(&uids),
            Change::Expunge(uids) => self.request_expunge(&uids),
            Change::Append(mails) => self.append(&mails)?,
            Change::Flags(entries) => self.flags(&entries),
            Change::Keywords { verb, keyword, uids } => self.keywords(verb, &keyword, &uids)?,
            Change::Modseqs(raises) => self.modseqs(&raises),
            Change::Header(patches) => self.index_header(&patches),
            Change::Intro(intros) => self.introduce(&intros)?,
            Change::ExtReset { reset_id, preserve } => self.state.exts.reset(reset_id, preserve)?,
            Change::ExtHeader(patches) => self.ext_header(&patches)?,
            Change::ExtRecords(payload) => self.ext_records(payload)?,
            // No extension of a mailbox that counts is changed this way; the map of bodies is (`super::map`).
            Change::Increments(_) => {}
            Change::IndexDeleted if external => self.txn.deletion = Some(Deletion::Deleted),
            Change::IndexDeleted => self.txn.deletion = Some(Deletion::Requested),
            Change::IndexUndeleted => self.txn.deletion = Some(Deletion::Undeleted),
            Change::Attributes(_) => {
                self.bump();
                self.txn.attributes_changed = true;
            }
        }
        Ok(())
    }

    /// One record that counts: one step of the counter, however many messages it names. 0: not counting yet.
    fn bump(&mut self) -> Modseq {
        if self.state.modseq.0 != 0 {
            self.state.modseq.0 = self.state.modseq.0.saturating_add(1);
        }
        self.state.modseq
    }

    fn request_expunge(&mut self, uids: &[UidRange]) {
        for range in uids {
            if self.state.open_requests.len() >= OPEN_REQUESTS_MAX {
                self.txn.requests_forgotten = true;
                return;
            }
            self.state.open_requests.insert(*range);
        }
    }

    fn expunge(&mut self, uids: &[UidRange]) {
        let modseq = self.bump();
        let (mut asked, mut unasked) = (UidSet::default(), UidSet::default());
        for range in uids {
            let (inside, outside) = self.state.open_requests.split(*range);
            inside.into_iter().for_each(|range| asked.insert(range));
            outside.into_iter().for_each(|range| unasked.insert(range));
            self.state.open_requests.remove(*range);
        }
        self.state.unattested |= !unasked.is_empty();
        for (set, requested) in [(asked, true), (unasked, false)] {
            if !set.is_empty() {
                let uids = set.ranges().to_vec();
                let expunge = Expunge {
                    uids,
                    requested,
                    modseq,
                };
                self.txn.ops.push(RawOp::Expunge(expunge));
            }
        }
    }

    fn append(&mut self, mails: &[(Uid, u8)]) -> Result<(), String> {
        let modseq = self.bump();
        for &(uid, bits) in mails {
            if uid < self.state.uidnext || uid.0 == u32::MAX {
                return Err(format!("append of UID {uid} where UIDNEXT is {}", self.state.uidnext));
            }
            self.state.uidnext = Uid(uid.0.saturating_add(1));
            self.pending.insert(uid, self.txn.ops.len());
            self.txn.ops.push(RawOp::Append(RawAppend {
                uid,
                flags: Flags::from_bits(bits),
                modseq,
                ..RawAppend::default()
            }));
        }
        Ok(())
    }

    fn flags(&mut self, entries: &[FlagEntry]) {
        let counts = self.minor_version < MINOR_INTERNAL_FLAGS_HIDDEN || entries.iter().any(|e| !e.is_internal());
        if !counts {
            return;
        }
        let modseq = self.bump();
        for entry in entries.iter().filter(|entry| !entry.is_internal()) {
            let (add, remove) = (Flags::from_bits(entry.add), Flags::from_bits(entry.remove));
            self.flag_range(entry.uids, add, remove, modseq);
        }
    }

    fn flag_range(&mut self, range: UidRange, add: Flags, remove: Flags, modseq: Modseq) {
        for uids in self.merge(range, |mail| {
            mail.flags = mail.flags.changed(add, remove);
            mail.modseq = mail.modseq.max(modseq);
        }) {
            match self.txn.ops.last_mut() {
                Some(RawOp::Flags(last)) if (last.add, last.remove, last.modseq) == (add, remove, modseq) => {
                    last.uids.push(uids);
                }
                _ => self.txn.ops.push(RawOp::Flags(FlagChange {
                    uids: vec![uids],
                    add,
                    remove,
                    modseq,
                })),
            }
        }
    }

    fn keywords(&mut self, verb: KeywordVerb, keyword: &Keyword, uids: &[UidRange]) -> Result<(), String> {
        if verb != KeywordVerb::Reset {
            self.state.exts.note_keywords()?;
        }
        let modseq = self.bump();
        let mut rest = Vec::new();
        for range in uids {
            rest.extend(self.merge(*range, |mail| {
                change_keywords(&mut mail.keywords, verb, keyword);
                mail.modseq = mail.modseq.max(modseq);
            }));
        }
        if !rest.is_empty() {
            self.txn.ops.push(RawOp::Keywords(KeywordChange {
                uids: rest,
                verb,
                keyword: keyword.clone(),
                modseq,
            }));
        }
        Ok(())
    }

    /// A MODSEQ alone is a flag change without flags.
    fn modseqs(&mut self, raises: &[(Uid, Modseq)]) {
        for &(uid, modseq) in raises {
            if self.state.modseq.0 != 0 {
                self.state.modseq = self.state.modseq.max(modseq);
            }
            if uid.0 != 0 {
                self.flag_range(UidRange::one(uid), Flags::NONE, Flags::NONE, modseq);
            }
        }
    }

    fn index_header(&mut self, patches: &[Patch<'_>]) {
        for patch in patches {
            if let Some(uidvalidity) = patch.u32_field(HEADER_UIDVALIDITY) {
                self.state.uidvalidity = UidValidity(uidvalidity);
            }
            if let Some(uidnext) = patch.u32_field(HEADER_UIDNEXT) {
                self.state.uidnext = self.state.uidnext.max(Uid(uidnext));
            }
        }
    }

    fn introduce(&mut self, intros: &[Intro<'_>]) -> Result<(), String> {
        for intro in intros {
            self.state.exts.introduce(intro)?;
            // Files that are older than the counter start it where the extension appears.
            if self.state.modseq.0 == 0
                && self
                    .state
                    .exts
                    .current()?
                    .is_some_and(|(name, _)| &*name == exts::MODSEQ)
            {
                self.state.modseq = Modseq(1);
            }
        }
        Ok(())
    }

    fn ext_header(&mut self, patches: &[Patch<'_>]) -> Result<(), String> {
        match self.state.exts.patch_header(patches)?.as_deref() {
            Some(exts::SDBOX_HEADER | exts::MDBOX_HEADER) => self.txn.identity_written = true,
            Some(exts::MODSEQ) if !self.state.modseqs_tracked => self.enable_modseqs(),
            _ => {}
        }
        Ok(())
    }

    /// Dovecot begins to keep a MODSEQ of each message. It answers the counter's value in the commit for every message
    /// that no later record touched (`mail_index_modseq_sync_init`).
    fn enable_modseqs(&mut self) {
        self.state.modseqs_tracked = true;
        self.txn.modseqs_enabled = true;
        let Some(header) = self.state.exts.modseq_header() else {
            return;
        };
        let last = Uid(self.state.uidnext.0.saturating_sub(1));
        if last.0 > 0 {
            let all = UidRange { first: Uid(1), last };
            self.flag_range(all, Flags::NONE, Flags::NONE, header.highest);
        }
    }

    fn ext_records(&mut self, payload: &[u8]) -> Result<(), String> {
        let Some((name, record_bytes)) = self.state.exts.current()? else {
            return Ok(());
        };
        if !matches!(&*name, "vsize" | "guid" | "mdbox") {
            return Ok(());
        }
        for (uid, data) in ext_records(payload, record_bytes)? {
            if let Some(detail) = Detail::read(&name, data) {
                self.detail(uid, detail);
            }
        }
        Ok(())
    }

    fn detail(&mut self, uid: Uid, detail: Detail) {
        match self.pending_append(uid) {
            Some(mail) => mail.learn(detail),
            None => self.txn.details.push((uid, detail)),
        }
    }

    fn pending_append(&mut self, uid: Uid) -> Option<&mut RawAppend> {
        match self.txn.ops.get_mut(*self.pending.get(&uid)?) {
            Some(RawOp::Append(mail)) => Some(mail),
            _ => None,
        }
    }

    /// Changes the pending messages of `range`; what is left of it concerns messages that were there before.
    fn merge(&mut self, range: UidRange, change: impl Fn(&mut RawAppend)) -> Vec<UidRange> {
        let mut merged = UidSet::default();
        for (uid, at) in self.pending.range(range.first..=range.last) {
            if let Some(RawOp::Append(mail)) = self.txn.ops.get_mut(*at) {
                change(mail);
                merged.insert(UidRange::one(*uid));
            }
        }
        merged.split(range).1
    }
}

impl RawAppend {
    /// Takes in what an extension says.
    pub fn learn(&mut self, detail: Detail) {
        match detail {
            Detail::Size(size) => self.size = size,
            Detail::Guid(guid) => self.guid = Some(guid),
            Detail::Map { map_uid, save_date } => {
                self.map_uid = Some(map_uid);
                self.save_date = Some(save_date);
            }
        }
    }
}

impl Detail {
    /// What the record of the extension `name` says of a message; none where it says nothing.
    #[must_use]
    pub fn read(name: &str, data: &[u8]) -> Option<Self> {
        use super::le::{array_at, u32_at};
        match name {
            // One more than the size: 0 is "not known".
            "vsize" => Some(Self::Size(u32_at(data, 0)?.checked_sub(1).map(u64::from))),
            "guid" => array_at(data, 0)
                .map(Guid)
                .filter(|guid| guid.0 != [0; 16])
                .map(Self::Guid),
            "mdbox" => Some(Self::Map {
                map_uid: u32_at(data, 0).filter(|map_uid| *map_uid != 0)?,
                save_date: i64::from(u32_at(data, 4)?),
            }),
            _ => None,
        }
    }
}

/// One change of a message's keywords; they are compared without regard to ASCII case.
pub fn change_keywords(keywords: &mut Vec<Keyword>, verb: KeywordVerb, keyword: &Keyword) {
    let same = |other: &Keyword| other.0.eq_ignore_ascii_case(&keyword.0);
    match verb {
        KeywordVerb::Add if keywords.iter().any(same) => {}
        KeywordVerb::Add => keywords.push(keyword.clone()),
        KeywordVerb::Remove => keywords.retain(|other| !same(other)),
        KeywordVerb::Replace => *keywords = vec![keyword.clone()],
        KeywordVerb::Reset => keywords.clear(),
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
