//! The store as its readers see it.

use super::mailbox::{keywords, read_name, stored_name};
use super::store::Store;
use super::view::{Depth, Detail, Listing, MailboxKey, MailboxRow, Opening, Tree, TreeRow, View, ViewError, Visitor};
use super::{attributes, bodies, listings, tree};
use crate::op::{
    AttributeScope, Flags, Guid, MailboxName, MessageGuid, Modseq, Namespaces, Stale, Uid, UidValidity, Unselectable,
    UserName,
};
use crate::store::holdings::{Holding, Holdings, NameRules};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::Arc;
use tokio::sync::watch;

/// UIDs nearer to each other than this are read as one run: stepping over a row costs less than finding another.
const RUN_GAP: u32 = 8;

/// Reads through the store's pool.
pub(super) struct Reader(pub(super) Arc<Store>);

impl From<rusqlite::Error> for ViewError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl View for Reader {
    fn tree(&self, user: &UserName) -> Result<Tree, ViewError> {
        self.0.readers.read(|tx| {
            let Some(user) = bodies::known_user(tx, user)? else {
                return Ok(Tree::default());
            };
            Ok(Tree {
                namespaces: tree::namespaces(tx, user)?.unwrap_or_default(),
                rows: rows(tx, user)?,
                subscribed: subscribed(tx, user)?,
            })
        })
    }

    fn namespaces(&self, user: &UserName) -> Result<Option<Namespaces>, ViewError> {
        self.0.readers.read(|tx| match bodies::known_user(tx, user)? {
            Some(user) => Ok(tree::namespaces(tx, user)?),
            None => Ok(None),
        })
    }

    fn mailbox(&self, user: &UserName, name: &MailboxName) -> Result<Option<MailboxRow>, ViewError> {
        self.0.readers.read(|tx| named(tx, user, name))
    }

    fn stale(&self, user: &UserName, name: &MailboxName) -> Result<Option<Stale>, ViewError> {
        self.0.readers.read(|tx| {
            let mark: Option<Vec<u8>> = tx
                .prepare_cached(
                    "SELECT mark FROM unselectable n JOIN users u ON u.id = n.user WHERE u.name = ?1 AND n.name = ?2",
                )?
                .query_row(params![user.0, stored_name(name)], |row| row.get(0))
                .optional()?;
            mark.map_or(Ok(None), |mark| stale(&mark))
        })
    }

    fn mailbox_again(&self, key: MailboxKey) -> Result<Option<MailboxRow>, ViewError> {
        self.0.readers.read(|tx| numbers(tx, key))
    }

    fn open(
        &self,
        user: &UserName,
        name: &MailboxName,
        told: &mut dyn FnMut(Opening),
    ) -> Result<Option<Arc<Listing>>, ViewError> {
        self.0.readers.read(|tx| {
            let Some(row) = named(tx, user, name)? else {
                return Ok(None);
            };
            let known = self.0.listings.at_hand(&row);
            let first_unseen = match &known {
                Some(listing) => first_unseen(listing),
                None => first_unseen_of(tx, &row)?,
            };
            told(Opening {
                keywords: keywords(tx, row.key.0)?,
                row: row.clone(),
                first_unseen,
            });
            known.map_or_else(|| self.0.listings.read(tx, &row), Ok).map(Some)
        })
    }

    fn listing(&self, key: MailboxKey) -> Result<Option<Arc<Listing>>, ViewError> {
        self.0.readers.read(|tx| match numbers(tx, key)? {
            Some(row) => self.0.listings.read(tx, &row).map(Some),
            None => Ok(None),
        })
    }

    fn attributes(&self, user: &UserName, scope: AttributeScope) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
        attributes::read(&self.0, user, scope)
    }

    fn visit(&self, key: MailboxKey, uids: &[Uid], depth: Depth, each: &mut Visitor<'_>) -> Result<(), ViewError> {
        self.0.readers.read(|tx| {
            for run in uids.chunk_by(|a, b| b.0.saturating_sub(a.0) < RUN_GAP) {
                if !self.visit_run(tx, key, run, depth, each)? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn vanished(&self, key: MailboxKey, since: Modseq) -> Result<Vec<Uid>, ViewError> {
        let mut gone = self.0.readers.read(|tx| listings::vanished(tx, key, since))?;
        gone.sort_unstable();
        Ok(gone)
    }

    fn holdings(&self, rules: &NameRules) -> Result<Holdings, ViewError> {
        self.0.readers.read(|tx| holdings(tx, rules))
    }

    fn users_and_bytes(&self) -> Result<(u64, u64), ViewError> {
        self.0.readers.read(|tx| {
            let sums = tx
                .prepare_cached(
                    "SELECT count(DISTINCT user) - count(DISTINCT CASE uidvalidity WHEN 0 THEN user END), coalesce(sum(size), 0)
                     FROM mailboxes WHERE name IS NOT NULL",
                )?
                .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            Ok((sums.0.cast_unsigned(), sums.1.cast_unsigned()))
        })
    }

    fn watch(&self, key: MailboxKey) -> watch::Receiver<u64> {
        self.0.changes.watch(key)
    }
}

impl Reader {
    /// Visits UIDs that lie close together; false where the visitor has enough.
    fn visit_run(
        &self,
        tx: &Connection,
        key: MailboxKey,
        uids: &[Uid],
        depth: Depth,
        each: &mut Visitor<'_>,
    ) -> Result<bool, ViewError> {
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else {
            return Ok(true);
        };
        let mut statement = tx.prepare_cached(
            "SELECT m.uid, m.guid, m.internal_date, m.save_date, m.octets, m.body, b.hash, b.pack, b.pack_offset, b.length
             FROM messages m LEFT JOIN bodies b ON b.id = m.body
             WHERE m.mailbox = ?1 AND m.uid BETWEEN ?2 AND ?3 ORDER BY m.uid",
        )?;
        let mut rows = statement.query(params![key.0, first.0, last.0])?;
        while let Some(row) = rows.next()? {
            let detail = detail(row)?;
            if uids.binary_search(&detail.uid).is_err() {
                continue;
            }
            let octets = match depth {
                Depth::Detail => None,
                _ if detail.body_pending => None,
                Depth::Header => Some(self.header(row)?),
                Depth::Whole => Some(self.whole(row)?),
            };
            if !each(detail, octets) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A body that was checked once is trusted for its header's sake: what lies in a pack doesn't change, and deep
    /// verification reads it all.
    fn header(&self, row: &Row<'_>) -> Result<Arc<[u8]>, ViewError> {
        let body: i64 = row.get(5)?;
        if !self.0.checked.holds(body) {
            let octets = self.whole(row)?;
            self.0.checked.add(body);
            return Ok(octets);
        }
        let (_, location) = bodies::located(row, 6)?;
        let octets = self.0.packs.read_header(&location).map_err(ViewError)?;
        Ok(octets.into())
    }

    fn whole(&self, row: &Row<'_>) -> Result<Arc<[u8]>, ViewError> {
        let (hash, location) = bodies::located(row, 6)?;
        let octets = self.0.packs.read(&location, &hash).map_err(ViewError)?;
        Ok(octets.into())
    }
}

fn detail(row: &Row<'_>) -> rusqlite::Result<Detail> {
    Ok(Detail {
        uid: Uid(row.get(0)?),
        guid: MessageGuid(row.get(1)?),
        internal_date: row.get(2)?,
        save_date: row.get(3)?,
        size: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        body_pending: row.get::<_, Option<i64>>(5)?.is_none(),
    })
}

/// The numbers of the mailbox of that name.
fn named(tx: &Connection, user: &UserName, name: &MailboxName) -> Result<Option<MailboxRow>, ViewError> {
    let Some(user) = bodies::known_user(tx, user)? else {
        return Ok(None);
    };
    let found = tx
        .prepare_cached("SELECT id FROM mailboxes WHERE user = ?1 AND name = ?2")?
        .query_row(params![user, stored_name(name)], |row| row.get(0).map(MailboxKey))
        .optional()?;
    found.map_or(Ok(None), |key| numbers(tx, key))
}

fn first_unseen(listing: &Listing) -> Option<u32> {
    let place = listing.iter().position(|mark| !mark.flags.contains(Flags::SEEN))?;
    u32::try_from(place.saturating_add(1)).ok()
}

/// The same without a listing; most often one of the first rows answers it, or there is none.
fn first_unseen_of(tx: &Connection, row: &MailboxRow) -> rusqlite::Result<Option<u32>> {
    if row.unseen == 0 {
        return Ok(None);
    }
    let uid: Option<u32> = tx
        .prepare_cached("SELECT uid FROM messages WHERE mailbox = ?1 AND flags & ?2 = 0 ORDER BY uid LIMIT 1")?
        .query_row(params![row.key.0, Flags::SEEN.bits()], |row| row.get(0))
        .optional()?;
    let Some(uid) = uid else { return Ok(None) };
    tx.prepare_cached("SELECT count(*) FROM messages WHERE mailbox = ?1 AND uid <= ?2")?
        .query_row(params![row.key.0, uid], |row| row.get(0))
        .map(Some)
}

fn name(row: &Row<'_>, column: usize) -> Result<MailboxName, ViewError> {
    let text: String = row.get(column)?;
    read_name(&text).map_err(|e| ViewError(format!("a stored mailbox name: {e}")))
}

/// What a stored mark of an unselectable name says.
fn stale(mark: &[u8]) -> Result<Option<Stale>, ViewError> {
    Unselectable::from_mark(mark)
        .map(Unselectable::stale)
        .ok_or_else(|| ViewError("a stored name's mark is none".to_owned()))
}

fn rows(tx: &Connection, user: i64) -> Result<Vec<TreeRow>, ViewError> {
    let mut statement = tx.prepare_cached(
        "SELECT name, guid, special_use, NULL FROM mailboxes WHERE user = ?1 AND name IS NOT NULL
         UNION ALL SELECT name, NULL, NULL, mark FROM unselectable n WHERE user = ?1
         AND NOT EXISTS (SELECT 1 FROM mailboxes m WHERE m.user = n.user AND m.name = n.name)",
    )?;
    let mut rows = statement.query([user])?;
    let mut tree = Vec::new();
    while let Some(row) = rows.next()? {
        let guid: Option<[u8; 16]> = row.get(1)?;
        tree.push(TreeRow {
            name: name(row, 0)?,
            guid: guid.map(Guid),
            stale: row
                .get::<_, Option<Vec<u8>>>(3)?
                .map_or(Ok(None), |mark| stale(&mark))?,
            special_use: row.get(2)?,
        });
    }
    Ok(tree)
}

fn holdings(tx: &Connection, rules: &NameRules) -> Result<Holdings, ViewError> {
    let mut statement = tx.prepare_cached(
        "SELECT u.name, m.name, m.messages, m.size FROM users u JOIN mailboxes m ON m.user = u.id WHERE m.name IS NOT NULL",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Holdings::new();
    while let Some(row) = rows.next()? {
        let user = UserName(row.get(0)?);
        let holding = found.entry(user.clone()).or_insert_with(|| Holding {
            user,
            ..Holding::default()
        });
        let (messages, bytes): (u32, i64) = (row.get(2)?, row.get(3)?);
        holding.add(&name(row, 1)?, u64::from(messages), bytes.cast_unsigned(), rules);
    }
    Ok(found)
}

fn subscribed(tx: &Connection, user: i64) -> Result<Vec<MailboxName>, ViewError> {
    let mut statement = tx.prepare_cached("SELECT name FROM subscriptions WHERE user = ?1 ORDER BY id")?;
    let mut rows = statement.query([user])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        names.push(name(row, 0)?);
    }
    Ok(names)
}

/// The numbers of a mailbox that has a name.
fn numbers(tx: &Connection, key: MailboxKey) -> Result<Option<MailboxRow>, ViewError> {
    let found = tx
        .prepare_cached(
            "SELECT guid, uidvalidity, uidnext, highest_modseq, messages, unseen, size, rewritten,
             expunged_since, modseq_floor
             FROM mailboxes WHERE id = ?1 AND name IS NOT NULL",
        )?
        .query_row([key.0], |row| {
            Ok(MailboxRow {
                key,
                guid: Guid(row.get(0)?),
                uidvalidity: UidValidity(row.get(1)?),
                uidnext: Uid(row.get(2)?),
                highest_modseq: Modseq(row.get::<_, i64>(3)?.cast_unsigned()),
                messages: row.get(4)?,
                unseen: row.get(5)?,
                size: row.get::<_, i64>(6)?.cast_unsigned(),
                rewritten: row.get::<_, i64>(7)?.cast_unsigned(),
                expunged_since: Modseq(row.get::<_, i64>(8)?.cast_unsigned()),
                modseq_floor: Modseq(row.get::<_, i64>(9)?.cast_unsigned()),
            })
        })
        .optional()?;
    Ok(found)
}
