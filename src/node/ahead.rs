//! How far a base runs ahead of the peer that it is made for: frames in the journal that are not durable there. It is bounded,
//! so that a base larger than the journal doesn't push itself out of it, and live frames have little in front of them.

use super::peer::Peer;
use crate::codec::EncodedFrame;
use crate::limits::{BASE_AHEAD_BYTES, BASE_AHEAD_FRAMES};
use crate::op::{Lsn, NodeName};
use std::collections::{BTreeMap, VecDeque};

/// Frames for one peer since the start, by LSN, with their bytes.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    frames: BTreeMap<NodeName, VecDeque<(Lsn, usize)>>,
}

impl Ahead {
    /// These were made for `peer`.
    pub(super) fn push(&mut self, peer: &NodeName, frames: &[EncodedFrame]) {
        let known = self.frames.entry(peer.clone()).or_default();
        known.extend(frames.iter().map(|frame| (frame.lsn, frame.bytes.len())));
    }

    /// True while enough is on its way to fill the link.
    pub(super) fn is_full(&mut self, peer: &Peer) -> bool {
        let Some(frames) = self.frames.get_mut(&peer.name) else {
            return false;
        };
        let durable = peer.durable();
        while frames.pop_front_if(|(lsn, _)| *lsn <= durable).is_some() {}
        let bytes = frames
            .iter()
            .fold(0, |sum: usize, (_, bytes)| sum.saturating_add(*bytes));
        frames.len() >= BASE_AHEAD_FRAMES || bytes >= BASE_AHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Position;

    #[test]
    fn a_base_waits_for_its_peer_and_not_for_another() {
        let (peer, _offers) = Peer::new("mail-b".into());
        let (other, _offers) = Peer::new("mail-c".into());
        let mut ahead = Ahead::default();
        assert!(!ahead.is_full(&peer));
        let frames: VecDeque<_> = (1..=4).map(|n| (Lsn(n), BASE_AHEAD_BYTES / 4)).collect();
        ahead.frames.insert(peer.name.clone(), frames);
        assert!(ahead.is_full(&peer) && !ahead.is_full(&other));
        let durable = Position {
            durable: Lsn(1),
            ..Position::default()
        };
        peer.standing.send_modify(|standing| standing.position = Some(durable));
        assert!(!ahead.is_full(&peer));
        let many = (0..BASE_AHEAD_FRAMES).map(|_| (Lsn(9), 1));
        ahead.frames.insert(peer.name.clone(), many.collect());
        assert!(ahead.is_full(&peer));
    }
}
