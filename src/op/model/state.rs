//! What a mailbox's complete list means: the copy finds the difference itself.

use super::{Account, Mailbox};
use crate::op::{GoneQuestion, Guid, Lineage, MessageGuid, Modseq, Payload, StateChunk, Uid, UidValidity};
use std::collections::{BTreeMap, BTreeSet};

impl Account {
    /// Applies a list; one that contradicts the copy holds the mailbox. Either way it makes void what was diverted.
    pub(super) fn state(&mut self, state: StateChunk, answers: &[(GoneQuestion, BTreeSet<Uid>)]) {
        let guid = state.mailbox.guid;
        let mailbox = self.mailboxes.entry(guid).or_default();
        mailbox.quarantine.diverted.clear();
        let believed = state.lineage == Lineage::Believed;
        mailbox.quarantine.held = mailbox.contradiction(&state).filter(|_| !believed);
        if mailbox.quarantine.held.is_some() {
            mailbox.quarantine.diverted.push(Payload::State(state));
            return;
        }
        let held_appends = self.held_appends();
        let Some(mailbox) = self.mailboxes.get_mut(&guid) else {
            return;
        };
        let left = if mailbox.uidvalidity == state.uidvalidity && !believed {
            let gone = attested(&state, answers);
            mailbox.correct(state, &gone, &held_appends)
        } else {
            mailbox.replace(state)
        };
        self.retained
            .extend(left.into_iter().map(|(uid, message)| (guid, uid, message)));
        self.renumbered_into(guid);
    }

    /// A repair may give a mailbox another GUID. Where everything in a mailbox that lost its name to this one is here,
    /// nothing left: it goes without an entry.
    pub(super) fn renumbered_into(&mut self, guid: Guid) {
        let Some((name, heir)) = self.mailboxes.get(&guid).and_then(|m| Some((m.name.clone()?, m))) else {
            return;
        };
        let mut here: BTreeMap<&MessageGuid, usize> = BTreeMap::new();
        let known = heir.messages.values().filter(|message| !message.guid.is_unknown());
        known.for_each(|message| *here.entry(&message.guid).or_default() += 1);
        let is_here = |old: &Mailbox| {
            let mut left = here.clone();
            old.messages.values().all(|message| match left.get_mut(&message.guid) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    true
                }
                _ => false,
            })
        };
        let replaced = |old: &Mailbox| {
            let vanished = old.quarantine.vanished.is_some() && !old.quarantine.doomed && old.quarantine.held.is_none();
            vanished && old.name.is_none() && old.last_name.as_ref() == Some(&name)
        };
        let gone: Vec<Guid> = self
            .mailboxes
            .iter()
            .filter(|(_, old)| replaced(old) && is_here(old))
            .map(|(guid, _)| *guid)
            .collect();
        for guid in gone {
            self.delete_attributes(guid);
            self.mailboxes.remove(&guid);
        }
    }
}

/// Messages of that mailbox that the source was asked about and that are gone.
fn attested(state: &StateChunk, answers: &[(GoneQuestion, BTreeSet<Uid>)]) -> BTreeSet<(Uid, MessageGuid)> {
    let ours = answers
        .iter()
        .filter(|(q, _)| q.mailbox == state.mailbox && q.uidvalidity == state.uidvalidity);
    let gone = ours.flat_map(|(q, gone)| q.messages.iter().filter(|(uid, _)| gone.contains(uid)));
    gone.cloned().collect()
}

impl Mailbox {
    /// Why the list can't follow on what the copy has.
    fn contradiction(&self, state: &StateChunk) -> Option<String> {
        if let Some(flaw) = state.flaw() {
            return Some(flaw);
        }
        if self.uidvalidity == UidValidity(0) {
            return None;
        }
        if self.uidvalidity != state.uidvalidity {
            return self.missing_from(state);
        }
        for listed in &state.messages {
            if self.expunged.contains(&listed.uid) {
                return Some(format!("UID {} was expunged and is listed again", listed.uid));
            }
            let ours = self.messages.get(&listed.uid).map(|ours| &ours.guid);
            if ours.is_some_and(|guid| !guid.is_unknown() && !listed.guid.is_unknown() && *guid != listed.guid) {
                return Some(format!("UID {} is another message than before", listed.uid));
            }
        }
        None
    }

    /// A new UIDVALIDITY is a renumbering only where no message leaves with it.
    fn missing_from(&self, state: &StateChunk) -> Option<String> {
        let mut listed: BTreeMap<&MessageGuid, usize> = BTreeMap::new();
        state
            .messages
            .iter()
            .for_each(|message| *listed.entry(&message.guid).or_default() += 1);
        let mut missing = 0;
        for message in self.messages.values() {
            let leaves = message.guid.is_unknown() || self.quarantine.deferred.contains_key(&message.uid);
            match listed.get_mut(&message.guid) {
                Some(left) if *left > 0 => *left -= 1,
                _ if leaves => {}
                _ => missing += 1,
            }
        }
        let (old, new) = (self.uidvalidity, state.uidvalidity);
        (missing > 0).then(|| format!("UIDVALIDITY went from {old} to {new} and {missing} messages are missing"))
    }

    /// What to ask the source before the list is applied.
    pub(super) fn question(&self, state: &StateChunk) -> Option<GoneQuestion> {
        let comparable = self.uidvalidity == state.uidvalidity && self.contradiction(state).is_none();
        if !self.may_attest(state) || !comparable {
            return None;
        }
        let mut messages = self.lacking_in(state);
        messages.retain(|(uid, _)| !self.quarantine.inferred.contains(uid));
        (!messages.is_empty()).then(|| GoneQuestion {
            mailbox: state.mailbox.clone(),
            uidvalidity: state.uidvalidity,
            messages,
        })
    }

    /// True where the list follows on this copy without a doubt, as far as both can tell.
    fn may_attest(&self, state: &StateChunk) -> bool {
        let modseq = state.highest_modseq.lifted(self.modseq_lift);
        state.lineage == Lineage::Whole && state.uidnext >= self.uidnext && modseq >= self.highest_modseq
    }

    /// Messages that the copy has and the list lacks, but for those whose expunge waits anyway.
    fn lacking_in(&self, state: &StateChunk) -> Vec<(Uid, MessageGuid)> {
        let listed: BTreeSet<Uid> = state.messages.iter().map(|message| message.uid).collect();
        let waits = |uid: &Uid| self.quarantine.deferred.contains_key(uid);
        let lacking = self
            .messages
            .values()
            .filter(|m| !listed.contains(&m.uid) && !waits(&m.uid));
        lacking.map(|message| (message.uid, message.guid.clone())).collect()
    }

    /// Same UIDVALIDITY: new messages come, known ones take the list's flags, keywords and dates, and what the list
    /// lacks leaves where that is attested; what was only inferred before stays so. MODSEQs never fall. Returns what
    /// must be retained.
    fn correct(
        &mut self,
        state: StateChunk,
        gone: &BTreeSet<(Uid, MessageGuid)>,
        held_appends: &BTreeSet<MessageGuid>,
    ) -> Vec<(Uid, MessageGuid)> {
        let attests = self.may_attest(&state);
        let lifts = self.lift(&state);
        let lacking = self.lacking_in(&state);
        let inferred = std::mem::take(&mut self.quarantine.inferred);
        let mut left = Vec::new();
        for (uid, guid) in lacking {
            if attests && !inferred.contains(&uid) && gone.contains(&(uid, guid.clone())) {
                left.extend(self.expunge_or_defer(uid, guid, held_appends));
            } else {
                self.quarantine.inferred.insert(uid);
            }
        }
        let highest = state.highest_modseq.lifted(self.modseq_lift);
        self.raise(state.uidnext, highest);
        for mut message in state.messages {
            self.quarantine.deferred.remove(&message.uid);
            message.modseq = message.modseq.lifted(self.modseq_lift);
            let ours = self.messages.get(&message.uid);
            if let Some(ours) = ours {
                message.keep_known(ours);
            }
            if lifts {
                let same = ours.is_some_and(|ours| ours.looks_like(&message));
                message.modseq = ours.filter(|_| same).map_or(highest, |ours| ours.modseq);
            }
            self.raise(Uid(0), message.modseq);
            self.insert(message);
        }
        left
    }

    /// The source's MODSEQs fell: from now on they count from where this copy is. True where that is so.
    fn lift(&mut self, state: &StateChunk) -> bool {
        let falls = state.highest_modseq.lifted(self.modseq_lift) < self.highest_modseq;
        if falls {
            let next = self.highest_modseq.0.saturating_add(1);
            self.modseq_lift = next.saturating_sub(state.highest_modseq.0);
        }
        falls
    }

    /// The first list, or the same messages under new UIDs: the list takes the place of everything. Returns what must
    /// be retained: messages that are not in it (see [`Self::missing_from`]).
    fn replace(&mut self, state: StateChunk) -> Vec<(Uid, MessageGuid)> {
        let mut listed: Vec<MessageGuid> = state.messages.iter().map(|message| message.guid.clone()).collect();
        let mut left = Vec::new();
        for message in std::mem::take(&mut self.messages).into_values() {
            match listed.iter().position(|guid| *guid == message.guid) {
                Some(at) => drop(listed.swap_remove(at)),
                None => left.push((message.uid, message.guid)),
            }
        }
        self.expunged.clear();
        self.quarantine.inferred.clear();
        self.quarantine.deferred.clear();
        self.uidvalidity = state.uidvalidity;
        (self.modseq_lift, self.modseq_floor) = (0, Modseq(0));
        (self.uidnext, self.highest_modseq) = (state.uidnext, state.highest_modseq);
        for message in state.messages {
            self.raise(Uid(0), message.modseq);
            self.insert(message);
        }
        left
    }
}
