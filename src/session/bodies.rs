//! Which bodies a frame names, and which of them the peer can't have yet.

use crate::codec::wire::Offer;
use crate::limits::{FRESH_SECONDS, SENT_BODIES_MAX};
use crate::op::{Append, BodyName, BodyPlace, FrameHeader, Guid, MessageGuid, NodeName, Op, Payload, UserName};
use std::collections::{BTreeSet, VecDeque};

/// Every body that a frame names, once each. A frame made for another peer names none here: it is decided as no change.
pub(super) fn named(header: &FrameHeader, payload: &Payload, reader: &NodeName) -> BTreeSet<BodyName> {
    if header.peer.as_ref().is_some_and(|peer| peer != reader) {
        return BTreeSet::new();
    }
    match payload {
        Payload::Mailbox(txn) => appended(&txn.ops)
            .map(|append| BodyName::of(&txn.mailbox, txn.uidvalidity, append))
            .collect(),
        Payload::State(chunk) => {
            let of = |append| BodyName::of(&chunk.mailbox, chunk.uidvalidity, append);
            chunk.messages.iter().map(of).collect()
        }
        Payload::Attributes(change) => change.bodies().collect(),
        _ => BTreeSet::new(),
    }
}

/// Every body that an offer lists.
pub(super) fn offered(offer: &Offer) -> impl Iterator<Item = BodyName> {
    offer.messages.iter().map(|(uid, guid, size)| BodyName {
        place: BodyPlace {
            mailbox: offer.mailbox.clone(),
            uidvalidity: offer.uidvalidity,
            uid: *uid,
        },
        guid: guid.clone(),
        size: *size,
    })
}

/// Bodies of a frame that were made when it was captured: the peer can't have them, so they go ahead of the frame.
/// Never those of a `state`, whose messages were offered or are old.
pub(super) fn fresh(header: &FrameHeader, payload: &Payload) -> Vec<BodyName> {
    match payload {
        Payload::Mailbox(txn) if header.peer.is_none() => appended(&txn.ops)
            .filter(|append| made_near(&append.guid, header.captured_ms))
            .map(|append| BodyName::of(&txn.mailbox, txn.uidvalidity, append))
            .collect(),
        _ => Vec::new(),
    }
}

fn appended(ops: &[Op]) -> impl Iterator<Item = &Append> {
    ops.iter().filter_map(|op| match op {
        Op::Append(append) => Some(append),
        _ => None,
    })
}

fn made_near(guid: &MessageGuid, captured_ms: u64) -> bool {
    made_at(guid).is_some_and(|seconds| seconds.abs_diff(captured_ms / 1000) <= FRESH_SECONDS)
}

/// When a GUID was made, UNIX seconds, where it tells: a maildir base name starts with it; bytes 4..8 of a GUID that
/// Dovecot generated are it, little endian (`guid_128_generate` in Dovecot's lib/guid.c).
fn made_at(guid: &MessageGuid) -> Option<u64> {
    if let Some(Guid(bytes)) = Guid::from_hex(&guid.0) {
        let seconds = bytes.get(4..8)?.try_into().ok()?;
        return Some(u64::from(u32::from_le_bytes(seconds)));
    }
    let (seconds, _) = guid.0.split_once('.')?;
    seconds.parse().ok()
}

/// Bodies that went to a peer, so that a copy or a move doesn't send them once more. Bounded: the oldest are forgotten,
/// and then a body is perhaps sent twice. Keeps 16 bytes of a hash for each; two with the same 16 bytes would mean that
/// one of them is asked for instead of sent ahead.
#[derive(Debug, Default)]
pub(super) struct Sent {
    known: BTreeSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Sent {
    /// The peer asked for this one: a move of it that follows soon need not send it.
    pub(super) fn note(&mut self, user: &UserName, guid: &MessageGuid) {
        self.first_time(user, guid);
    }

    /// True the first time.
    pub(super) fn first_time(&mut self, user: &UserName, guid: &MessageGuid) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(user.0.as_bytes()).update(&[0]).update(guid.0.as_bytes());
        let mut key = [0; 16];
        hasher.finalize_xof().fill(&mut key);
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > SENT_BODIES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_old_message_is_not_taken_for_a_new_one() {
        let captured_ms = 1_764_000_000_000;
        // As Dovecot 2.3 made them: nanoseconds, seconds, process, host hash.
        let dbox = |seconds: u32| {
            let mut bytes = [7; 16];
            bytes[4..8].copy_from_slice(&seconds.to_le_bytes());
            MessageGuid(Guid(bytes).to_hex())
        };
        assert!(made_near(&dbox(1_764_000_000 - 5), captured_ms));
        assert!(!made_near(&dbox(1_763_000_000), captured_ms));
        assert!(made_near(&"1763999990.M123P4.host".into(), captured_ms));
        assert!(!made_near(&"1700000000.M123P4.host".into(), captured_ms));
        for strange in ["", "x", "1764000000", ".M1", "99999999999999999999.x"] {
            assert!(!made_near(&strange.into(), captured_ms), "{strange}");
        }
    }

    #[test]
    fn what_the_peer_asked_for_is_not_sent_ahead_when_it_is_moved() {
        let mut sent = Sent::default();
        sent.note(&"u".into(), &"g".into());
        assert!(!sent.first_time(&"u".into(), &"g".into()));
        assert!(sent.first_time(&"v".into(), &"g".into()), "another user's");
    }

    #[test]
    fn the_memory_of_sent_bodies_is_bounded() {
        let mut sent = Sent::default();
        for n in 0..=SENT_BODIES_MAX {
            assert!(sent.first_time(&"u".into(), &MessageGuid(n.to_string())));
        }
        assert_eq!(sent.known.len(), SENT_BODIES_MAX);
        assert!(!sent.first_time(&"u".into(), &MessageGuid("1".into())));
        assert!(sent.first_time(&"u".into(), &MessageGuid("0".into())));
    }
}
