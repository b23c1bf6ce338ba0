//! Bodies that were read while their append was captured, kept for the moment in which they are shipped: that spares a
//! second reading, and a message that is deleted right after its arrival is not lost on the way.

use crate::limits::BODY_CACHE_BYTES_MAX;
use crate::op::{BodyPlace, MessageGuid};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
struct Shelf {
    bodies: BTreeMap<BodyPlace, (MessageGuid, Arc<[u8]>)>,
    oldest_first: VecDeque<BodyPlace>,
    bytes: usize,
}

/// At most [`BODY_CACHE_BYTES_MAX`] octets of bodies; the oldest go first.
#[derive(Debug, Default)]
pub struct BodyCache {
    shelf: Mutex<Shelf>,
}

impl BodyCache {
    /// Keeps a body as `BODY[]` answers it.
    pub fn put(&self, place: BodyPlace, guid: MessageGuid, octets: Vec<u8>) {
        if octets.len() > BODY_CACHE_BYTES_MAX {
            return;
        }
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.bytes = shelf.bytes.saturating_add(octets.len());
        shelf.oldest_first.push_back(place.clone());
        if let Some((_, replaced)) = shelf.bodies.insert(place, (guid, octets.into())) {
            shelf.bytes = shelf.bytes.saturating_sub(replaced.len());
        }
        while shelf.bytes > BODY_CACHE_BYTES_MAX {
            let Some(oldest) = shelf.oldest_first.pop_front() else {
                break;
            };
            if let Some((_, dropped)) = shelf.bodies.remove(&oldest) {
                shelf.bytes = shelf.bytes.saturating_sub(dropped.len());
            }
        }
    }

    /// The body at this place, where it is kept.
    #[must_use]
    pub fn get(&self, place: &BodyPlace) -> Option<(MessageGuid, Arc<[u8]>)> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.bodies.get(place).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Guid, MailboxId, Uid, UidValidity, UserName};

    fn place(uid: u32) -> BodyPlace {
        let mailbox = MailboxId {
            user: UserName::from("u"),
            guid: Guid::default(),
        };
        BodyPlace {
            mailbox,
            uidvalidity: UidValidity(1),
            uid: Uid(uid),
        }
    }

    #[test]
    fn a_flood_of_mail_pushes_out_the_oldest_only() {
        let cache = BodyCache::default();
        let half = BODY_CACHE_BYTES_MAX / 2;
        for uid in 1..=3 {
            cache.put(place(uid), MessageGuid::default(), vec![0; half]);
        }
        assert!(cache.get(&place(1)).is_none());
        assert!(cache.get(&place(2)).is_some() && cache.get(&place(3)).is_some());
        cache.put(place(3), MessageGuid::default(), vec![1]);
        assert_eq!(cache.get(&place(3)).unwrap().1.as_ref(), [1]);
    }
}
