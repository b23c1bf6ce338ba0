//! The parts of a long payload put together again.
//!
//! A transaction that doesn't fit into one frame is a run: a `state` cut by messages, a mailbox transaction cut by
//! operations, a tree cut by names, attributes cut by entries. What each of them *means* is said of the whole only.

use super::Payload;

/// Joins neighbouring parts of one thing: states of one mailbox, transactions of one mailbox, changes of one tree.
/// Everything else stays as it is, and the order never changes.
#[must_use]
pub fn whole(parts: impl IntoIterator<Item = Payload>) -> Vec<Payload> {
    let mut joined: Vec<Payload> = Vec::new();
    for part in parts {
        let rest = match joined.last_mut() {
            Some(last) => join(last, part),
            None => Some(part),
        };
        joined.extend(rest);
    }
    joined
}

/// Adds `part` to `last` where both are parts of one thing; hands it back where they are not.
fn join(last: &mut Payload, part: Payload) -> Option<Payload> {
    match (last, part) {
        (Payload::State(a), Payload::State(b)) if a.mailbox == b.mailbox && a.uidvalidity == b.uidvalidity => {
            a.messages.extend(b.messages);
            (a.uidnext, a.highest_modseq, a.position) = (b.uidnext, b.highest_modseq, b.position);
        }
        (Payload::Mailbox(a), Payload::Mailbox(b)) if a.mailbox == b.mailbox && a.uidvalidity == b.uidvalidity => {
            a.ops.extend(b.ops);
            (a.uidnext, a.highest_modseq, a.position) = (b.uidnext, b.highest_modseq, b.position);
        }
        (Payload::Tree(a), Payload::Tree(b)) if a.user == b.user => {
            a.complete |= b.complete;
            a.namespaces = b.namespaces.or(a.namespaces.take());
            a.mailboxes.extend(b.mailboxes);
            a.unselectable.extend(b.unselectable);
            a.subscriptions.extend(b.subscriptions);
        }
        (Payload::Attributes(a), Payload::Attributes(b)) if a.user == b.user && a.scope == b.scope => {
            a.complete |= b.complete;
            a.entries.extend(b.entries);
            a.fingerprint = b.fingerprint;
            a.holders = a.holders.take().or(b.holders);
        }
        (_, part) => return Some(part),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Guid, MailboxId, StateChunk, TreeChange};

    #[test]
    fn parts_of_two_mailboxes_stay_apart() {
        let state = |guid: u8| {
            Payload::State(StateChunk {
                mailbox: MailboxId {
                    user: "u".into(),
                    guid: Guid([guid; 16]),
                },
                ..StateChunk::default()
            })
        };
        let tree = |complete| {
            Payload::Tree(TreeChange {
                complete,
                ..TreeChange::default()
            })
        };
        let joined = whole([state(1), state(1), state(2), tree(false), tree(true)]);
        assert_eq!(joined, [state(1), state(2), tree(true)]);
    }
}
