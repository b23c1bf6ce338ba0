//! Records that stand in the packs and not yet in SQLite's index.

use super::{Content, Record};
use crate::op::{BodyHash, BodyName, BodyPlace, MessageGuid, UserName};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A place in the packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Which file.
    pub(crate) pack: u32,
    /// Byte offset.
    pub(crate) offset: u64,
}

/// Where octets stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) position: Position,
    pub(crate) length: u64,
}

/// A record, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// Of the record's octets (its end where it has none).
    pub(crate) octets: Position,
    /// Behind the record.
    pub(crate) after: Position,
}

impl Entry {
    pub(super) fn new(record: Record, octets: Position, after: Position) -> Self {
        Self { record, octets, after }
    }
}

/// Unindexed records in order, and ways to find them.
#[derive(Default)]
pub(crate) struct Tail {
    entries: Vec<Arc<Entry>>,
    durable: usize,
    locations: HashMap<BodyHash, Location>,
    places: HashSet<BodyPlace>,
    /// Bodies that may serve other places: GUID and size are known.
    sized: HashMap<(UserName, MessageGuid, u64), HashSet<BodyHash>>,
}

impl Tail {
    pub(super) fn push(&mut self, entry: Entry) {
        self.note(&entry);
        self.entries.push(Arc::new(entry));
    }

    fn note(&mut self, entry: &Entry) {
        let name = &entry.record.name;
        self.places.insert(name.place.clone());
        let (hash, length) = match entry.record.content {
            Content::Octets { hash, length } => {
                let position = entry.octets;
                self.locations.insert(hash, Location { position, length });
                (hash, length)
            }
            Content::Known { hash, length } => (hash, length),
            Content::Missing(_) => return,
        };
        if name.size == Some(length) && !name.guid.is_unknown() {
            let key = (name.place.mailbox.user.clone(), name.guid.clone(), length);
            self.sized.entry(key).or_default().insert(hash);
        }
    }

    /// Records that are not indexed.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn all_durable(&mut self) {
        self.durable = self.entries.len();
    }

    pub(super) fn durable(&self) -> Vec<Arc<Entry>> {
        self.entries.iter().take(self.durable).cloned().collect()
    }

    /// Everything behind the first `count` records, durable or not.
    pub(crate) fn behind(&self, count: usize) -> Vec<Arc<Entry>> {
        self.entries.iter().skip(count).cloned().collect()
    }

    pub(super) fn drop_first(&mut self, count: usize) {
        let rest = self.entries.split_off(count.min(self.entries.len()));
        let durable = self.durable.saturating_sub(count);
        *self = Self {
            durable,
            ..Self::default()
        };
        rest.iter().for_each(|entry| self.note(entry));
        self.entries = rest;
    }

    /// Where octets stand.
    pub(crate) fn location(&self, hash: &BodyHash) -> Option<Location> {
        self.locations.get(hash).copied()
    }

    /// True where this place was answered: with octets, or with their being missing.
    pub(crate) fn answers(&self, place: &BodyPlace) -> bool {
        self.places.contains(place)
    }

    /// Bodies that may serve `name` although they were asked for another place.
    pub(crate) fn reusable(&self, name: &BodyName) -> impl Iterator<Item = BodyHash> {
        let key = name
            .size
            .map(|size| (name.place.mailbox.user.clone(), name.guid.clone(), size));
        let hashes = key.and_then(|key| self.sized.get(&key));
        hashes.into_iter().flatten().copied()
    }
}
