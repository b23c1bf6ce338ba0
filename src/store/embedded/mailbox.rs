//! A mailbox's row while it is being changed, and the rows of its messages.

use super::bodies;
use crate::op::{
    Append, BodyName, Flags, Guid, Keyword, MailboxId, MailboxName, MessageGuid, Modseq, Uid, UidRange, UidValidity,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Why a message leaves: what `retained` says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Its expunge was requested.
    Genuine,
    /// The source was asked, and it is gone.
    Attested,
    /// Its mailbox was deleted.
    Deleted,
    /// A new list took the place of the one it was in.
    Overwritten,
    /// An operator said that it was meant.
    Released,
    /// It stays, under another UID: nothing to retain.
    Renumbered,
}

impl Leaves {
    fn why(self) -> Option<&'static str> {
        match self {
            Self::Genuine => Some("genuine"),
            Self::Attested => Some("attested"),
            Self::Deleted => Some("deleted"),
            Self::Overwritten => Some("overwritten"),
            Self::Released => Some("released"),
            Self::Renumbered => None,
        }
    }
}

/// One mailbox. [`Self::save`] writes it back.
pub(super) struct Mailbox {
    pub(super) id: i64,
    pub(super) user: i64,
    pub(super) is: MailboxId,
    last_name: Option<String>,
    /// False where no client sees it: it is hidden.
    pub(super) named: bool,
    pub(super) uidvalidity: UidValidity,
    pub(super) uidnext: Uid,
    pub(super) highest_modseq: Modseq,
    /// Added to each MODSEQ of the source.
    pub(super) modseq_lift: u64,
    pub(super) messages: u32,
    unseen: u32,
    size: u64,
    rewritten: u64,
    expunged_since: Modseq,
    modseq_floor: Modseq,
    pub(super) held: Option<String>,
    keywords: Vec<Keyword>,
}

/// A message's row, but for its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) message: Append,
    pub(super) body: Option<i64>,
    octets: Option<u64>,
}

impl Stored {
    fn body(&self) -> Option<bodies::Body> {
        let (id, length) = self.body.zip(self.octets)?;
        Some(bodies::Body { id, length })
    }
}

impl Mailbox {
    /// The mailbox, if this store has it.
    pub(super) fn load(tx: &Connection, is: &MailboxId) -> rusqlite::Result<Option<Self>> {
        let Some(user) = bodies::known_user(tx, &is.user)? else {
            return Ok(None);
        };
        let loaded = tx
            .prepare_cached(
                "SELECT id, last_name, uidvalidity, uidnext, highest_modseq, messages, unseen, size, held,
                 rewritten, expunged_since, modseq_lift, modseq_floor, name IS NOT NULL
                 FROM mailboxes WHERE user = ?1 AND guid = ?2",
            )?
            .query_row(params![user, is.guid.0], |row| Self::from_row(user, is, row))
            .optional()?;
        let Some(mut mailbox) = loaded else { return Ok(None) };
        mailbox.keywords = keywords(tx, mailbox.id)?;
        Ok(Some(mailbox))
    }

    fn from_row(user: i64, is: &MailboxId, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            user,
            is: is.clone(),
            last_name: row.get(1)?,
            uidvalidity: UidValidity(row.get(2)?),
            uidnext: Uid(row.get(3)?),
            highest_modseq: Modseq(row.get::<_, i64>(4)?.cast_unsigned()),
            messages: row.get(5)?,
            unseen: row.get(6)?,
            size: row.get::<_, i64>(7)?.cast_unsigned(),
            held: row.get(8)?,
            rewritten: row.get::<_, i64>(9)?.cast_unsigned(),
            expunged_since: Modseq(row.get::<_, i64>(10)?.cast_unsigned()),
            modseq_lift: row.get::<_, i64>(11)?.cast_unsigned(),
            modseq_floor: Modseq(row.get::<_, i64>(12)?.cast_unsigned()),
            named: row.get(13)?,
            keywords: Vec::new(),
        })
    }

    /// The mailbox, made hidden and without a list where this store doesn't have it.
    pub(super) fn load_or_create(tx: &Connection, is: &MailboxId) -> rusqlite::Result<Self> {
        if let Some(mailbox) = Self::load(tx, is)? {
            return Ok(mailbox);
        }
        let user = bodies::user(tx, &is.user)?;
        let id = tx
            .prepare_cached(
                "INSERT INTO mailboxes
                 (user, guid, uidvalidity, uidnext, highest_modseq, modseq_lift, messages, unseen, size, doomed)
                 VALUES (?1, ?2, 0, 0, 0, 0, 0, 0, 0, 0)",
            )?
            .insert(params![user, is.guid.0])?;
        Ok(Self {
            id,
            user,
            is: is.clone(),
            last_name: None,
            named: false,
            uidvalidity: UidValidity(0),
            uidnext: Uid(0),
            highest_modseq: Modseq(0),
            modseq_lift: 0,
            messages: 0,
            unseen: 0,
            size: 0,
            rewritten: 0,
            expunged_since: Modseq(0),
            modseq_floor: Modseq(0),
            held: None,
            keywords: Vec::new(),
        })
    }

    /// Writes the row back.
    pub(super) fn save(&self, tx: &Connection) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "UPDATE mailboxes SET uidvalidity = ?2, uidnext = ?3, highest_modseq = ?4, messages = ?5, unseen = ?6,
             size = ?7, held = ?8, rewritten = ?9,
             expunged_since = ?10, modseq_lift = ?11, modseq_floor = ?12 WHERE id = ?1",
        )?
        .execute(params![
            self.id,
            self.uidvalidity.0,
            self.uidnext.0,
            self.highest_modseq.0.cast_signed(),
            self.messages,
            self.unseen,
            self.size.cast_signed(),
            self.held,
            self.rewritten.cast_signed(),
            self.expunged_since.0.cast_signed(),
            self.modseq_lift.cast_signed(),
            self.modseq_floor.0.cast_signed()
        ])?;
        Ok(())
    }

    /// Something is about to change that no MODSEQ above the highest so far tells: readers must read everything again.
    pub(super) fn rewrite(&mut self) {
        self.rewritten = self.rewritten.wrapping_add(1);
    }

    /// The list begins here: what was expunged before, under this MODSEQ or a lower one, is not known.
    pub(super) fn begins(&mut self) {
        self.expunged_since = self.highest_modseq;
    }

    /// UIDNEXT and HIGHESTMODSEQ never fall.
    pub(super) fn raise(&mut self, uidnext: Uid, modseq: Modseq) {
        self.uidnext = self.uidnext.max(uidnext);
        self.highest_modseq = self.highest_modseq.max(modseq);
    }

    fn count(&mut self, stored: &Stored) {
        let unseen = u32::from(!stored.message.flags.contains(Flags::SEEN));
        self.messages = self.messages.saturating_add(1);
        self.unseen = self.unseen.saturating_add(unseen);
        self.size = self.size.saturating_add(stored.octets.unwrap_or(0));
    }

    fn uncount(&mut self, stored: &Stored) {
        let unseen = u32::from(!stored.message.flags.contains(Flags::SEEN));
        self.messages = self.messages.saturating_sub(1);
        self.unseen = self.unseen.saturating_sub(unseen);
        self.size = self.size.saturating_sub(stored.octets.unwrap_or(0));
    }

    /// Puts a message in the place of `before`, which has the same UID (none: it is new), with the body that it has
    /// here.
    pub(super) fn put(&mut self, tx: &Connection, before: Option<&Stored>, message: Append) -> rusqlite::Result<()> {
        let keywords = self.packed(tx, &message.keywords)?;
        let same = before
            .filter(|old| same_body(&old.message, &message))
            .and_then(Stored::body);
        let body = match same {
            Some(body) => Some(body),
            None => bodies::resolve(tx, self.user, &BodyName::of(&self.is, self.uidvalidity, &message))?,
        };
        let octets = body.map(|body| body.length).or(message.size);
        let stored = Stored {
            message,
            body: body.map(|body| body.id),
            octets,
        };
        if let Some(old) = before {
            self.uncount(old);
            self.rewrite();
        }
        self.count(&stored);
        self.write(tx, &stored, &keywords)
    }

    fn write(&self, tx: &Connection, stored: &Stored, keywords: &[u8]) -> rusqlite::Result<()> {
        let message = &stored.message;
        tx.prepare_cached(
            "INSERT OR REPLACE INTO messages
             (mailbox, uid, guid, flags, keywords, internal_date, save_date, size, modseq, body, octets, user)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            self.id,
            message.uid.0,
            message.guid.0,
            message.flags.bits(),
            keywords,
            message.internal_date,
            message.save_date,
            message.size.map(u64::cast_signed),
            message.modseq.0.cast_signed(),
            stored.body,
            stored.octets.map(u64::cast_signed),
            self.user
        ])?;
        Ok(())
    }

    /// A message leaves for good, and with it what quarantine says of it.
    pub(super) fn remove(&mut self, tx: &Connection, uid: Uid, modseq: Modseq, leaves: Leaves) -> rusqlite::Result<()> {
        let Some(stored) = self.message(tx, uid)? else {
            return Ok(());
        };
        self.uncount(&stored);
        self.retain(tx, &stored, leaves)?;
        let modseq = modseq.max(stored.message.modseq).0.cast_signed();
        tx.prepare_cached("INSERT OR REPLACE INTO expunged (mailbox, uid, modseq) VALUES (?1, ?2, ?3)")?
            .execute(params![self.id, uid.0, modseq])?;
        for statement in [
            "DELETE FROM messages WHERE mailbox = ?1 AND uid = ?2",
            "DELETE FROM inferred WHERE mailbox = ?1 AND uid = ?2",
            "DELETE FROM deferred WHERE mailbox = ?1 AND uid = ?2",
        ] {
            tx.prepare_cached(statement)?.execute(params![self.id, uid.0])?;
        }
        Ok(())
    }

    /// Notes a message that leaves, so that it can be brought back.
    pub(super) fn retain(&self, tx: &Connection, stored: &Stored, leaves: Leaves) -> rusqlite::Result<()> {
        let Some(why) = leaves.why() else { return Ok(()) };
        let message = &stored.message;
        let keywords: Vec<&str> = message.keywords.iter().map(Keyword::as_str).collect();
        tx.prepare_cached(
            "INSERT INTO retained (user, mailbox_guid, mailbox_name, uidvalidity, uid, guid, flags, keywords,
             internal_date, save_date, size, body, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            self.user,
            self.is.guid.0,
            self.last_name,
            self.uidvalidity.0,
            message.uid.0,
            message.guid.0,
            message.flags.bits(),
            serde_json::json!(keywords).to_string(),
            message.internal_date,
            message.save_date,
            message.size.map(u64::cast_signed),
            stored.body,
            why
        ])?;
        Ok(())
    }

    /// One message.
    pub(super) fn message(&self, tx: &Connection, uid: Uid) -> rusqlite::Result<Option<Stored>> {
        tx.prepare_cached(
            "SELECT uid, guid, flags, keywords, internal_date, save_date, size, modseq, body, octets
             FROM messages WHERE mailbox = ?1 AND uid = ?2",
        )?
        .query_row(params![self.id, uid.0], |row| self.stored(row))
        .optional()
    }

    /// All messages by UID.
    pub(super) fn all(&self, tx: &Connection) -> rusqlite::Result<Vec<Stored>> {
        self.within(tx, &UidRange::ALL)
    }

    /// Messages of a range, by UID.
    pub(super) fn within(&self, tx: &Connection, range: &UidRange) -> rusqlite::Result<Vec<Stored>> {
        let mut statement = tx.prepare_cached(
            "SELECT uid, guid, flags, keywords, internal_date, save_date, size, modseq, body, octets
             FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
        )?;
        let rows = statement.query_map(params![self.id, range.first.0, range.last.0], |row| self.stored(row))?;
        rows.collect()
    }

    /// Messages up to `last` with a MODSEQ above `since`, by UID.
    pub(super) fn changed_since(&self, tx: &Connection, since: Modseq, last: Uid) -> rusqlite::Result<Vec<Stored>> {
        let mut statement = tx.prepare_cached(
            "SELECT uid, guid, flags, keywords, internal_date, save_date, size, modseq, body, octets
             FROM messages INDEXED BY messages_modseq WHERE mailbox = ?1 AND modseq > ?2 AND uid <= ?3 ORDER BY uid",
        )?;
        let since = since.0.cast_signed();
        let rows = statement.query_map(params![self.id, since, last.0], |row| self.stored(row))?;
        rows.collect()
    }

    fn stored(&self, row: &Row<'_>) -> rusqlite::Result<Stored> {
        let message = Append {
            uid: Uid(row.get(0)?),
            guid: MessageGuid(row.get(1)?),
            flags: Flags::from_bits(row.get(2)?),
            keywords: self.unpacked(row.get_ref(3)?.as_blob()?),
            internal_date: row.get(4)?,
            save_date: row.get(5)?,
            size: row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned),
            modseq: Modseq(row.get::<_, i64>(7)?.cast_unsigned()).max(self.modseq_floor),
        };
        let octets = row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned);
        Ok(Stored {
            message,
            body: row.get(8)?,
            octets,
        })
    }

    /// The keyword's number in this mailbox: case doesn't count, the first spelling stays.
    pub(super) fn keyword(&mut self, tx: &Connection, keyword: &Keyword) -> rusqlite::Result<u32> {
        if let Some(number) = self.known_keyword(keyword) {
            return Ok(number);
        }
        let number = u32::try_from(self.keywords.len()).unwrap_or(u32::MAX);
        tx.prepare_cached("INSERT INTO keywords (mailbox, number, spelling) VALUES (?1, ?2, ?3)")?
            .execute(params![self.id, number, keyword.0])?;
        self.keywords.push(keyword.clone());
        Ok(number)
    }

    /// The keyword's number, if this mailbox has used it.
    pub(super) fn known_keyword(&self, keyword: &Keyword) -> Option<u32> {
        let at = self
            .keywords
            .iter()
            .position(|known| known.0.eq_ignore_ascii_case(&keyword.0))?;
        u32::try_from(at).ok()
    }

    /// How many keywords it knows.
    pub(super) fn known_keywords(&self) -> usize {
        self.keywords.len()
    }

    fn packed(&mut self, tx: &Connection, keywords: &[Keyword]) -> rusqlite::Result<Vec<u8>> {
        let numbers: Vec<u32> = keywords
            .iter()
            .map(|keyword| self.keyword(tx, keyword))
            .collect::<rusqlite::Result<_>>()?;
        Ok(pack(numbers))
    }

    fn unpacked(&self, bytes: &[u8]) -> Vec<Keyword> {
        spelled(&self.keywords, bytes)
    }

    /// `\Seen` was changed on many messages at once.
    pub(super) fn recount_unseen(&mut self, before: u32, after: u32) {
        self.unseen = self.unseen.saturating_sub(before).saturating_add(after);
    }

    /// Another list takes the place of everything: nothing of the old UIDs counts any more.
    pub(super) fn clear(&mut self, tx: &Connection) -> rusqlite::Result<()> {
        for statement in [
            "DELETE FROM messages WHERE mailbox = ?1",
            "DELETE FROM expunged WHERE mailbox = ?1",
            "DELETE FROM inferred WHERE mailbox = ?1",
            "DELETE FROM deferred WHERE mailbox = ?1",
        ] {
            tx.prepare_cached(statement)?.execute([self.id])?;
        }
        (self.messages, self.unseen, self.size) = (0, 0, 0);
        self.modseq_floor = Modseq(0);
        self.rewrite();
        Ok(())
    }
}

/// A body stays with its message while nothing says that it is another one.
fn same_body(old: &Append, new: &Append) -> bool {
    old.guid == new.guid && old.size == new.size
}

/// Keywords of a mailbox in the order of their numbers.
pub(super) fn keywords(tx: &Connection, mailbox: i64) -> rusqlite::Result<Vec<Keyword>> {
    let mut statement = tx.prepare_cached("SELECT spelling FROM keywords WHERE mailbox = ?1 ORDER BY number")?;
    let rows = statement.query_map([mailbox], |row| row.get(0).map(Keyword))?;
    rows.collect()
}

/// Keyword numbers as bytes: ascending, none twice, 4 bytes each.
pub(super) fn pack(mut numbers: Vec<u32>) -> Vec<u8> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// What [`pack`] wrote.
pub(super) fn unpack(bytes: &[u8]) -> Vec<u32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|number| u32::from_le_bytes(*number)).collect()
}

/// The keywords that packed numbers stand for.
pub(super) fn spelled(keywords: &[Keyword], bytes: &[u8]) -> Vec<Keyword> {
    let known = unpack(bytes)
        .into_iter()
        .filter_map(|number| keywords.get(usize::try_from(number).ok()?));
    known.cloned().collect()
}

/// A mailbox name as it is stored.
pub(super) fn stored_name(name: &MailboxName) -> String {
    serde_json::json!(name.0).to_string()
}

/// What [`stored_name`] wrote.
pub(super) fn read_name(text: &str) -> Result<MailboxName, serde_json::Error> {
    serde_json::from_str(text).map(MailboxName)
}

/// A mailbox by its number.
pub(super) fn id_of(tx: &Connection, mailbox: i64) -> rusqlite::Result<MailboxId> {
    tx.prepare_cached("SELECT u.name, m.guid FROM mailboxes m JOIN users u ON u.id = m.user WHERE m.id = ?1")?
        .query_row([mailbox], |row| {
            Ok(MailboxId {
                user: crate::op::UserName(row.get(0)?),
                guid: Guid(row.get(1)?),
            })
        })
}
