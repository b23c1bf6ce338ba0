//! The store's bodies as the receiving side sees them.

use super::super::target::{BodyStore, TargetError};
use super::attributes;
use super::bodies;
use super::packs::{Content, Record, Tail};
use super::store::Store;
use crate::limits::{BODIES_UNINDEXED_MAX, BODY_BYTES_MAX, NEED_PLACES_MAX};
use crate::op::{BodyHash, BodyName, BodyPlace, Missing};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest text of a [`Missing`] that is kept, in characters.
const MISSING_TEXT_CHARS: usize = 1000;

/// Takes bodies into the packs. What was put counts as stored at once, and is durable after the next commit.
pub(super) struct Shelf {
    store: Arc<Store>,
    /// Put since the last commit.
    fresh: Mutex<Vec<BodyName>>,
}

impl Shelf {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            fresh: Mutex::default(),
        }
    }

    fn append(&self, name: &BodyName, content: Content, octets: &[u8]) -> Result<(), TargetError> {
        self.store.packs.append(
            Record {
                name: name.clone(),
                content,
            },
            octets,
        )?;
        self.fresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name.clone());
        Ok(())
    }

    /// True where `name` was answered, or another body serves it, by a record that isn't indexed yet.
    fn in_tail(&self, name: &BodyName) -> bool {
        self.store
            .packs
            .tail(|tail| tail.answers(&name.place) || one(tail.reusable(name)))
    }

    /// None where the index has it or knows it to be missing; else where it might be read, too.
    fn lacks(tx: &Connection, user: Option<i64>, name: &BodyName) -> rusqlite::Result<Option<Vec<BodyPlace>>> {
        let Some(user) = user else { return Ok(Some(Vec::new())) };
        let known = bodies::is_named(tx, user, name)?
            && (bodies::answered(tx, user, name)? || bodies::resolve(tx, user, name)?.is_some());
        if known {
            return Ok(None);
        }
        bodies::places(tx, user, name, NEED_PLACES_MAX).map(Some)
    }
}

/// Exactly one: two contents under one name serve nobody else.
fn one(mut hashes: impl Iterator<Item = BodyHash>) -> bool {
    hashes.next().is_some() && hashes.next().is_none()
}

impl BodyStore for Shelf {
    fn lacking(&self, names: &[BodyName]) -> Result<BTreeMap<BodyName, Vec<BodyPlace>>, TargetError> {
        // The tail first: what leaves it meanwhile stands in the index before the index is looked at.
        let unknown: Vec<&BodyName> = names.iter().filter(|name| !self.in_tail(name)).collect();
        self.store.readers.read(|tx| {
            let (mut lacking, mut owner) = (BTreeMap::new(), None);
            for name in unknown {
                let user = &name.place.mailbox.user;
                let id = match owner {
                    Some((known, id)) if known == user => id,
                    _ => bodies::known_user(tx, user)?,
                };
                owner = Some((user, id));
                if let Some(places) = Self::lacks(tx, id, name)? {
                    lacking.insert(name.clone(), places);
                }
            }
            Ok(lacking)
        })
    }

    fn put(&self, name: &BodyName, octets: &[u8], hash: &BodyHash) -> Result<(), TargetError> {
        let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        if length > BODY_BYTES_MAX || name.size.is_some_and(|size| size != length) {
            let (place, size) = (&name.place.mailbox, name.size);
            return Err(TargetError::Broken(format!(
                "a body of {place} has {length} octets, not {size:?}"
            )));
        }
        let hash = *hash;
        let in_tail = self.store.packs.tail(|tail| tail.location(&hash).is_some());
        let stored = in_tail || self.store.readers.look(|tx| bodies::by_hash(tx, &hash))?.is_some();
        if stored {
            return self.append(name, Content::Known { hash, length }, &[]);
        }
        self.append(name, Content::Octets { hash, length }, octets)
    }

    fn put_missing(&self, name: &BodyName, missing: &Missing) -> Result<(), TargetError> {
        let short = |text: &str| text.chars().take(MISSING_TEXT_CHARS).collect();
        let missing = Missing {
            file: short(&missing.file),
            why: short(&missing.why),
            ..missing.clone()
        };
        self.append(name, Content::Missing(missing), &[])
    }

    fn commit(&self) -> Result<(), TargetError> {
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        self.store.packs.commit()?;
        // A message that waits for one of these gets it now; for all others the index can wait for the next mail.
        let many = self.store.packs.tail(Tail::len) >= BODIES_UNINDEXED_MAX;
        if many || self.store.readers.look(|tx| bodies::any_awaited(tx, &fresh))? {
            self.store.write(|_| Ok(()))?;
        }
        Ok(())
    }

    fn pending(&self, most: usize) -> Result<BTreeMap<BodyName, Vec<BodyPlace>>, TargetError> {
        self.store.readers.read(|tx| {
            let mut names = bodies::pending(tx, most)?;
            names.extend(attributes::pending(tx, most.saturating_sub(names.len()))?);
            let mut pending = BTreeMap::new();
            for name in names {
                let user = bodies::known_user(tx, &name.place.mailbox.user)?;
                let places = user
                    .map(|user| bodies::places(tx, user, &name, NEED_PLACES_MAX))
                    .transpose()?;
                pending.insert(name, places.unwrap_or_default());
            }
            Ok(pending)
        })
    }
}
