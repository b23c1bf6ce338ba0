//! Reading listings, and keeping those that were asked for lately: the next client gets the same one, and after a change
//! only what changed is read.
//!
//! A listing is brought forward by the MODSEQs that rose and the expunges noted since. Changes that this can't show (a
//! list that corrected messages, MODSEQs that didn't rise) count in `mailboxes.rewritten`; after one of those, and where
//! the numbers don't add up, everything is read again.

use super::listing::{Listing, Packed};
use super::mailbox::keywords;
use super::view::{MailboxKey, MailboxRow, ViewError};
use crate::limits::LISTINGS_BYTES_MAX;
use crate::op::{Flags, Modseq, Uid};
use rusqlite::{Connection, Row, params};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Listings that were asked for lately.
#[derive(Default)]
pub(super) struct Listings(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_key: HashMap<MailboxKey, (Arc<Listing>, u64)>,
    bytes: usize,
    clock: u64,
}

impl Listings {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox whose numbers `tx` has just read as `row`.
    pub(super) fn read(&self, tx: &Connection, row: &MailboxRow) -> Result<Arc<Listing>, ViewError> {
        let known = self.kept().get(row.key);
        let fresh = match known {
            Some(known) if known.row == *row => return Ok(known),
            Some(known) => match advanced(tx, &known, row)? {
                Some(advanced) => advanced,
                None => whole(tx, row)?,
            },
            None => whole(tx, row)?,
        };
        let fresh = Arc::new(fresh);
        self.kept().put(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// The listing of exactly this moment, where it is at hand.
    pub(super) fn at_hand(&self, row: &MailboxRow) -> Option<Arc<Listing>> {
        self.kept().get(row.key).filter(|known| known.row == *row)
    }
}

impl Kept {
    fn get(&mut self, key: MailboxKey) -> Option<Arc<Listing>> {
        self.clock = self.clock.wrapping_add(1);
        let (listing, used) = self.by_key.get_mut(&key)?;
        *used = self.clock;
        Some(Arc::clone(listing))
    }

    /// Two readers may finish in either order: the newer picture stays.
    fn put(&mut self, listing: Arc<Listing>) {
        let order = |row: &MailboxRow| (row.highest_modseq, row.uidnext, row.rewritten);
        let key = listing.row.key;
        let newer = |(known, _): &(Arc<Listing>, u64)| {
            known.row.uidvalidity == listing.row.uidvalidity && order(&known.row) > order(&listing.row)
        };
        if self.by_key.get(&key).is_some_and(newer) {
            return;
        }
        self.bytes = self.bytes.saturating_add(listing.bytes());
        self.clock = self.clock.wrapping_add(1);
        if let Some((old, _)) = self.by_key.insert(key, (listing, self.clock)) {
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
        while self.bytes > LISTINGS_BYTES_MAX {
            let oldest = self
                .by_key
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(key, _)| *key);
            let Some((old, _)) = oldest.and_then(|key| self.by_key.remove(&key)) else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
    }
}

fn whole(tx: &Connection, row: &MailboxRow) -> Result<Listing, ViewError> {
    let mut listing = Listing::new(row.clone(), keywords(tx, row.key.0)?);
    let mut statement =
        tx.prepare_cached("SELECT uid, flags, keywords, modseq FROM messages WHERE mailbox = ?1 ORDER BY uid")?;
    let mut rows = statement.query([row.key.0])?;
    let floor = row.modseq_floor;
    while let Some(row) = rows.next()? {
        listing.put(packed(row, floor)?);
    }
    Ok(listing)
}

fn packed<'r>(row: &'r Row<'_>, floor: Modseq) -> rusqlite::Result<Packed<'r>> {
    Ok(Packed {
        uid: Uid(row.get(0)?),
        flags: Flags::from_bits(row.get(1)?),
        keywords: row.get_ref(2)?.as_blob()?,
        modseq: Modseq(row.get::<_, i64>(3)?.cast_unsigned()).max(floor),
    })
}

/// `known` with what changed since; none where that is no shorter, or can't be told.
fn advanced(tx: &Connection, known: &Listing, row: &MailboxRow) -> Result<Option<Listing>, ViewError> {
    if (known.row.uidvalidity, known.row.rewritten) != (row.uidvalidity, row.rewritten) {
        return Ok(None);
    }
    let since = known.row.highest_modseq.0.cast_signed();
    let mut next = known.renewed(row.clone(), keywords(tx, row.key.0)?);
    let mut gone = vanished(tx, row.key, known.row.highest_modseq)?;
    gone.sort_unstable();
    if !gone.is_empty() {
        next.remove(&gone);
    }
    // a new place in the middle moves all behind it: not for many
    let most = known.len() / 4 + 100;
    let mut statement = tx.prepare_cached(
        "SELECT uid, flags, keywords, modseq FROM messages INDEXED BY messages_modseq
         WHERE mailbox = ?1 AND modseq > ?2",
    )?;
    let mut rows = statement.query(params![row.key.0, since])?;
    let (mut changed, floor) = (0, row.modseq_floor);
    while let Some(row) = rows.next()? {
        changed += 1;
        if changed > most {
            return Ok(None);
        }
        next.put(packed(row, floor)?);
    }
    Ok(next.adds_up().then_some(next))
}

/// UIDs that were expunged under a higher MODSEQ, in no order.
pub(super) fn vanished(tx: &Connection, key: MailboxKey, since: Modseq) -> Result<Vec<Uid>, ViewError> {
    let mut statement =
        tx.prepare_cached("SELECT uid FROM expunged INDEXED BY expunged_modseq WHERE mailbox = ?1 AND modseq > ?2")?;
    let rows = statement.query_map(params![key.0, since.0.cast_signed()], |row| row.get(0).map(Uid))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
