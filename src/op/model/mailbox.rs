//! What a mailbox transaction means.

use super::Account;
use crate::op::{
    Append, Expunge, FlagChange, Keyword, KeywordChange, KeywordVerb, Leap, MailboxName, MailboxTxn, MessageGuid,
    Modseq, Op, Payload, Uid, UidRange, UidValidity,
};
use std::collections::{BTreeMap, BTreeSet};

/// One mailbox of the copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Its name; none while it is hidden.
    pub name: Option<MailboxName>,
    /// Its name, or its last one while it is hidden.
    pub last_name: Option<MailboxName>,
    /// Special use without the backslash.
    pub special_use: Option<String>,
    /// UIDVALIDITY; 0 until its first list.
    pub uidvalidity: UidValidity,
    /// UIDNEXT; never falls under one UIDVALIDITY.
    pub uidnext: Uid,
    /// HIGHESTMODSEQ; never falls under one UIDVALIDITY.
    pub highest_modseq: Modseq,
    /// Added to each MODSEQ of the source: its log was taken back, and clients of the copy must not miss what it says
    /// under numbers that were given out before.
    pub modseq_lift: u64,
    /// No message answers a lower MODSEQ: that with which the epoch began.
    pub modseq_floor: Modseq,
    /// By UID; keywords in the mailbox's spelling.
    pub messages: BTreeMap<Uid, Append>,
    /// Keywords in the order and spelling of their first use.
    pub keywords: Vec<Keyword>,
    /// UIDs that never come back under this UIDVALIDITY.
    pub expunged: BTreeSet<Uid>,
    /// What was not applied.
    pub quarantine: Quarantine,
}

/// What of a mailbox was not applied, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// Set where a contradiction holds the mailbox: everything later is diverted until a good `state`.
    pub held: Option<String>,
    /// The diverted, in order, the contradiction itself first.
    pub diverted: Vec<Payload>,
    /// Set where the mailbox itself disappeared without a request.
    pub vanished: Option<String>,
    /// Messages whose disappearance was only inferred. They stay visible.
    pub inferred: BTreeSet<Uid>,
    /// Expunged messages that stay until a held append of the same GUID is decided.
    pub deferred: BTreeMap<Uid, MessageGuid>,
    /// The mailbox is deleted, but holds a message whose append elsewhere is held: hidden until that is decided.
    pub doomed: bool,
}

impl Quarantine {
    /// True where there is an entry.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self != Self::default()
    }
}

impl Account {
    /// Applies or diverts a transaction.
    pub(super) fn transaction(&mut self, txn: MailboxTxn) {
        let held_appends = self.held_appends();
        let guid = txn.mailbox.guid;
        let mailbox = self.mailboxes.entry(guid).or_default();
        if mailbox.quarantine.held.is_some() {
            mailbox.quarantine.diverted.push(Payload::Mailbox(txn));
            return;
        }
        if let Some(why) = txn.contradiction(mailbox.uidvalidity, mailbox.uidnext) {
            mailbox.quarantine.held = Some(why);
            mailbox.quarantine.diverted.push(Payload::Mailbox(txn));
            return;
        }
        let txn = txn.lifted(mailbox.modseq_lift);
        let mut arriving = arriving(&txn);
        for op in &txn.ops {
            match op {
                Op::Append(append) => mailbox.insert(append.clone()),
                Op::Flags(change) => mailbox.change_flags(change),
                Op::Keywords(change) => mailbox.change_keywords(change),
                Op::Expunge(expunge) => {
                    let left = mailbox.expunge(expunge, &mut arriving, &held_appends);
                    self.retained
                        .extend(left.into_iter().map(|(uid, message)| (guid, uid, message)));
                }
            }
        }
        mailbox.raise(txn.uidnext, txn.highest_modseq);
        txn.ops.iter().for_each(|op| mailbox.raise(Uid(0), op.modseq()));
    }
}

/// GUIDs that the transaction brings and doesn't take away again, each as often as it comes: what a repair expunges
/// and appends under new UIDs is *renumbered*, not gone.
fn arriving(txn: &MailboxTxn) -> Vec<MessageGuid> {
    let expunged = |uid: Uid| {
        txn.ops
            .iter()
            .any(|op| matches!(op, Op::Expunge(e) if within(&e.uids, uid)))
    };
    let stay = txn
        .appends()
        .filter(|append| !expunged(append.uid) && !append.guid.is_unknown());
    stay.map(|append| append.guid.clone()).collect()
}

fn within(ranges: &[UidRange], uid: Uid) -> bool {
    ranges.iter().any(|range| range.contains(uid))
}

impl Mailbox {
    /// A new epoch: what a lost tail may have used is left out.
    pub(super) fn begin_epoch(&mut self, leap: Option<Leap>) {
        self.modseq_lift = 0;
        let Some(leap) = leap.filter(|_| self.uidvalidity != UidValidity(0)) else {
            return;
        };
        self.uidnext = Uid(self.uidnext.0.saturating_add(leap.uids));
        self.highest_modseq = self.highest_modseq.lifted(leap.modseqs);
        self.modseq_floor = self.highest_modseq;
        for message in self.messages.values_mut() {
            message.modseq = message.modseq.max(self.modseq_floor);
        }
    }

    /// UIDNEXT and HIGHESTMODSEQ never fall.
    pub(super) fn raise(&mut self, uidnext: Uid, modseq: Modseq) {
        self.uidnext = self.uidnext.max(uidnext);
        self.highest_modseq = self.highest_modseq.max(modseq);
    }

    /// The keyword as this mailbox spells it: case doesn't count, the first spelling stays.
    fn spelled(&mut self, keyword: &Keyword) -> Keyword {
        if let Some(known) = self.keywords.iter().find(|known| same_keyword(known, keyword)) {
            return known.clone();
        }
        self.keywords.push(keyword.clone());
        keyword.clone()
    }

    /// A message arrives; each keyword counts once.
    pub(super) fn insert(&mut self, mut message: Append) {
        let spelled: Vec<Keyword> = message.keywords.iter().map(|keyword| self.spelled(keyword)).collect();
        message.keywords = self.in_order(spelled);
        message.modseq = message.modseq.max(self.modseq_floor);
        self.messages.insert(message.uid, message);
    }

    /// Keywords of this mailbox in the order of their first use, none twice.
    fn in_order(&self, some: Vec<Keyword>) -> Vec<Keyword> {
        self.keywords
            .iter()
            .filter(|known| some.contains(known))
            .cloned()
            .collect()
    }

    fn change_flags(&mut self, change: &FlagChange) {
        for message in self.messages.values_mut().filter(|m| within(&change.uids, m.uid)) {
            message.flags = message.flags.changed(change.add, change.remove);
            message.modseq = message.modseq.max(change.modseq);
        }
    }

    fn change_keywords(&mut self, change: &KeywordChange) {
        let adds = matches!(change.verb, KeywordVerb::Add | KeywordVerb::Replace);
        let spelled = if adds {
            self.spelled(&change.keyword)
        } else {
            change.keyword.clone()
        };
        let order = self.keywords.clone();
        for message in self.messages.values_mut().filter(|m| within(&change.uids, m.uid)) {
            match change.verb {
                KeywordVerb::Add => message.keywords.push(spelled.clone()),
                KeywordVerb::Remove => message.keywords.retain(|keyword| !same_keyword(keyword, &spelled)),
                KeywordVerb::Replace => message.keywords = vec![spelled.clone()],
                KeywordVerb::Reset => message.keywords.clear(),
            }
            message.keywords = order
                .iter()
                .filter(|known| message.keywords.contains(known))
                .cloned()
                .collect();
            message.modseq = message.modseq.max(change.modseq);
        }
    }

    /// Genuine: gone, and retained, but deferred while an append of the same GUID is held. Not requested: gone only
    /// where the message was renumbered; otherwise it is noted and stays. Returns what must be retained.
    fn expunge(
        &mut self,
        expunge: &Expunge,
        arriving: &mut Vec<MessageGuid>,
        held_appends: &BTreeSet<MessageGuid>,
    ) -> Vec<(Uid, MessageGuid)> {
        let meant = self.messages.values().filter(|m| within(&expunge.uids, m.uid));
        let meant: Vec<(Uid, MessageGuid)> = meant.map(|m| (m.uid, m.guid.clone())).collect();
        let mut left = Vec::new();
        for (uid, guid) in meant {
            if expunge.requested {
                left.extend(self.expunge_or_defer(uid, guid, held_appends));
            } else if let Some(at) = arriving.iter().position(|arrives| *arrives == guid) {
                arriving.remove(at);
                self.remove(uid);
            } else {
                self.quarantine.inferred.insert(uid);
            }
        }
        left
    }

    /// Removes a message, unless an append of its GUID is held.
    pub(super) fn expunge_or_defer(
        &mut self,
        uid: Uid,
        guid: MessageGuid,
        held_appends: &BTreeSet<MessageGuid>,
    ) -> Option<(Uid, MessageGuid)> {
        if held_appends.contains(&guid) {
            self.quarantine.inferred.remove(&uid);
            self.quarantine.deferred.insert(uid, guid);
            return None;
        }
        self.remove(uid).map(|guid| (uid, guid))
    }

    /// A message leaves for good, and with it what quarantine said of it.
    pub(super) fn remove(&mut self, uid: Uid) -> Option<MessageGuid> {
        self.quarantine.inferred.remove(&uid);
        self.quarantine.deferred.remove(&uid);
        self.expunged.insert(uid);
        self.messages.remove(&uid).map(|message| message.guid)
    }

    /// True where a message has one of these GUIDs.
    pub(super) fn holds_any(&self, guids: &BTreeSet<MessageGuid>) -> bool {
        self.messages.values().any(|message| guids.contains(&message.guid))
    }
}

fn same_keyword(a: &Keyword, b: &Keyword) -> bool {
    a.0.eq_ignore_ascii_case(&b.0)
}
