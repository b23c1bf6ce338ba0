//! What a mailbox's complete list means: the copy finds the difference itself.

use super::{Account, Mailbox};
use crate::op::{GoneQuestion, Lineage, MessageGuid, Payload, StateChunk, Uid, UidValidity};
use std::collections::{BTreeMap, BTreeSet};

impl Account {
    /// Applies a list; one that contradicts the copy holds the mailbox. Either way it makes void what was diverted.
    pub(super) fn state(&mut self, state: StateChunk, answers: &[(GoneQuestion, BTreeSet<Uid>)]) {
        let guid = state.mailbox.guid;
        let mailbox = self.mailboxes.entry(guid).or_default();
        mailbox.quarantine.diverted.clear();
        mailbox.quarantine.held = mailbox.contradiction(&state);
        if mailbox.quarantine.held.is_some() {
            mailbox.quarantine.diverted.push(Payload::State(state));
            return;
        }
        let held_appends = self.held_appends();
        let Some(mailbox) = self.mailboxes.get_mut(&guid) else {
            return;
        };
        let left = if mailbox.uidvalidity == state.uidvalidity {
            let gone = attested(&state, answers);
            mailbox.correct(state, &gone, &held_appends)
        } else {
            mailbox.replace(state)
        };
        self.retained
            .extend(left.into_iter().map(|(uid, message)| (guid, uid, message)));
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
        if state.lineage != Lineage::Whole || !comparable {
            return None;
        }
        let messages = self.lacking_in(state);
        (!messages.is_empty()).then(|| GoneQuestion {
            mailbox: state.mailbox.clone(),
            uidvalidity: state.uidvalidity,
            messages,
        })
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
    /// lacks leaves where that is attested. MODSEQs never fall. Returns what must be retained.
    fn correct(
        &mut self,
        state: StateChunk,
        gone: &BTreeSet<(Uid, MessageGuid)>,
        held_appends: &BTreeSet<MessageGuid>,
    ) -> Vec<(Uid, MessageGuid)> {
        let lacking = self.lacking_in(&state);
        self.quarantine.inferred.clear();
        let mut left = Vec::new();
        for (uid, guid) in lacking {
            if state.lineage == Lineage::Whole && gone.contains(&(uid, guid.clone())) {
                left.extend(self.expunge_or_defer(uid, guid, held_appends));
            } else {
                self.quarantine.inferred.insert(uid);
            }
        }
        self.raise(state.uidnext, state.highest_modseq);
        for mut message in state.messages {
            self.quarantine.deferred.remove(&message.uid);
            if let Some(ours) = self.messages.get(&message.uid) {
                message.modseq = message.modseq.max(ours.modseq);
                message.size = message.size.or(ours.size);
                if message.guid.is_unknown() {
                    message.guid = ours.guid.clone();
                }
            }
            self.raise(Uid(0), message.modseq);
            self.insert(message);
        }
        left
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
        (self.uidnext, self.highest_modseq) = (state.uidnext, state.highest_modseq);
        for message in state.messages {
            self.raise(Uid(0), message.modseq);
            self.insert(message);
        }
        left
    }
}
