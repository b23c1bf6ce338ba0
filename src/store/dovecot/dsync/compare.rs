//! A complete list against what the target holds of that mailbox: what is to be told so that it becomes equal, and
//! whether that destroys something.

use super::{MailboxDelta, MailboxReading, Message};
use crate::limits::DSYNC_FOREIGN_MAX;
use crate::op::{MessageGuid, Uid, UidRange};
use std::collections::{BTreeMap, BTreeSet};

/// How the mailbox becomes equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// By this delta, which goes on from where the target stands.
    Tell(Box<MailboxDelta>),
    /// It must be made anew: it lacks messages below its UIDNEXT, or has others under their UIDs. Nothing that only it has
    /// gets lost by that, or the caller allows it.
    Rebuild,
    /// It holds messages that nobody told, or gave out UIDs that we did not: not without the caller's word.
    Foreign(Vec<(Uid, MessageGuid)>),
}

/// Compares; with `replaceable` whatever only the target has may go.
pub(super) fn compare(delta: &MailboxDelta, reading: &MailboxReading, replaceable: bool) -> Remedy {
    let there: BTreeMap<Uid, &Message> = reading.listed.iter().map(|message| (message.uid, message)).collect();
    let ours: BTreeMap<Uid, &Message> = delta.changed.iter().map(|message| (message.uid, message)).collect();
    let clashes = there
        .iter()
        .filter(|(uid, message)| ours.get(uid).is_some_and(|ours| ours.guid != message.guid));
    let clashes: Vec<_> = clashes.map(|(uid, message)| (*uid, message.guid.clone())).collect();
    let surplus: Vec<Uid> = there.keys().filter(|uid| !ours.contains_key(uid)).copied().collect();
    let unknown = surplus.iter().filter(|uid| !delta.has_vanished(**uid));
    let unknown = unknown.filter_map(|uid| Some((*uid, there.get(uid)?.guid.clone())));
    let mut foreign: Vec<_> = clashes.iter().cloned().chain(unknown).take(DSYNC_FOREIGN_MAX).collect();
    foreign.sort();
    let is_ahead = reading.uid_next > delta.uid_next;
    if (is_ahead || !foreign.is_empty()) && !replaceable {
        return Remedy::Foreign(foreign);
    }
    let lacks = ours
        .keys()
        .any(|uid| *uid < reading.uid_next && !there.contains_key(uid));
    if lacks || is_ahead || !clashes.is_empty() {
        return Remedy::Rebuild;
    }
    Remedy::Tell(Box::new(MailboxDelta {
        since: Some(reading.state()),
        changed: changed(&delta.changed, &there),
        vanished: surplus.into_iter().map(UidRange::one).collect(),
        highest_modseq: delta.highest_modseq,
        attributes: delta.attributes.clone(),
        ..*delta
    }))
}

/// Our messages that the target lacks or shows otherwise.
fn changed(ours: &[Message], there: &BTreeMap<Uid, &Message>) -> Vec<Message> {
    let differs = |message: &&Message| there.get(&message.uid).is_none_or(|there| !looks_like(message, there));
    ours.iter().filter(differs).cloned().collect()
}

fn looks_like(ours: &Message, there: &Message) -> bool {
    let keywords = |message: &Message| -> BTreeSet<String> {
        let lower = message.keywords.iter().map(|keyword| keyword.0.to_ascii_lowercase());
        lower.collect()
    };
    ours.flags == there.flags && ours.modseq <= there.modseq && keywords(ours) == keywords(there)
}
