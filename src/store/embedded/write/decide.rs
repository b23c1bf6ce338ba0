//! An operator's word on a primary: what is in quarantine is decided, what was retained comes back. Each word becomes operations
//! of the stream, so that every standby follows.

use super::super::super::change::{Changed, Reason};
use super::super::super::custody::{CustodyError, Decision, Entry, EntryId, Reason as Why};
use super::super::mailbox::{Mailbox, id_of};
use super::super::{bodies, custody, export, quarantine, release};
use super::append::bound_keywords;
use super::built::{Built, NewBody, Octets, Stop, refuse};
use super::create::NewMailbox;
use super::expunge::leave;
use super::fresh::Fresh;
use super::hierarchy::{Listed, Names, payloads};
use super::lookup::{destination, named};
use super::txn::Txn;
use crate::op::{
    Append, BodyHash, Disappearance, Flags, Guid, Keyword, Lineage, MailboxId, MailboxName, MessageGuid, Modseq,
    Payload, StateChunk, TreeMailbox, Uid, UserName,
};
use rusqlite::{Connection, OptionalExtension};

impl From<CustodyError> for Stop {
    fn from(error: CustodyError) -> Self {
        let refused = |reason, why: String| Self::Refused(super::super::super::change::Refused { reason, why });
        match error {
            CustodyError::Unknown(_) => refused(Reason::Nonexistent, error.to_string()),
            CustodyError::Refused(why) => refused(Reason::Cannot, why),
            CustodyError::Store(error) => Self::Store(error),
        }
    }
}

/// Decides an entry of the quarantine.
pub(super) fn decide(tx: &Connection, id: EntryId, decision: Decision) -> Result<Built, Stop> {
    let entry = custody::one(tx, id)?;
    let is = id_of(tx, entry.id)?;
    let (payloads, told) = match (entry.reason, decision) {
        (Why::Held, _) => believe(tx, &entry, &is, decision)?,
        (Why::Vanished, Decision::Release) => delete(tx, &entry, &is)?,
        (Why::Vanished, Decision::Drop) => keep_name(tx, &entry, &is)?,
        (Why::Inferred, Decision::Release) => expunge(tx, &entry, &is)?,
        (Why::Inferred, Decision::Drop) => {
            let list = list(tx, &is)?;
            (vec![Payload::State(list)], "the mailbox keeps the messages".to_owned())
        }
        (Why::Waiting, _) => {
            return refuse(
                Reason::Cannot,
                "these expunges were asked for, and only wait for a held mailbox: release or drop that one",
            );
        }
    };
    Ok(Built::of(payloads, Changed::Told(told)))
}

fn list(tx: &Connection, is: &MailboxId) -> Result<StateChunk, Stop> {
    match Mailbox::load(tx, is)? {
        Some(mailbox) => Ok(export::list(tx, &mailbox)?),
        None => refuse(Reason::Nonexistent, "the mailbox is gone"),
    }
}

/// The list that was diverted, with what came after it, or the one that is here: from now on it is the truth everywhere.
fn believe(tx: &Connection, entry: &Entry, is: &MailboxId, decision: Decision) -> Result<(Vec<Payload>, String), Stop> {
    let (list, told) = match decision {
        Decision::Drop => {
            let told = "the mailbox stays as it is here; what was diverted is void".to_owned();
            (list(tx, is)?, told)
        }
        Decision::Release => {
            // tried, looked at and taken back: what is built changes nothing before it is in the journal
            tx.execute_batch("SAVEPOINT believed")?;
            let released = release::release(tx, entry);
            let list = list(tx, is);
            tx.execute_batch("ROLLBACK TO believed; RELEASE believed")?;
            let told = released?;
            (list?, told)
        }
    };
    let list = StateChunk {
        lineage: Lineage::Believed,
        ..list
    };
    Ok((vec![Payload::State(list)], told))
}

fn delete(tx: &Connection, entry: &Entry, is: &MailboxId) -> Result<(Vec<Payload>, String), Stop> {
    let mut names = Names::load(tx, &is.user)?;
    let mut change = names.change();
    change.mailboxes.push(TreeMailbox {
        guid: is.guid,
        name: Err(Disappearance::Genuine),
        special_use: None,
    });
    if let Some((name, _)) = names.of(is.guid) {
        names.free(&mut change, &name);
        names.prune_above(&mut change, &name);
    }
    let told = format!("the mailbox is deleted, its {} messages are retained", entry.messages);
    Ok((payloads(change), told))
}

fn keep_name(tx: &Connection, entry: &Entry, is: &MailboxId) -> Result<(Vec<Payload>, String), Stop> {
    let names = Names::load(tx, &is.user)?;
    let Some((name, Listed::Mailbox(guid, special_use))) = names.of(is.guid) else {
        let why = format!(
            "another mailbox has the name of {} now: release it, its messages stay in `shadowctl retained`",
            entry.mailbox
        );
        return refuse(Reason::Cannot, &why);
    };
    let mut change = names.change();
    change.mailboxes.push(TreeMailbox {
        guid,
        name: Ok(name),
        special_use,
    });
    Ok((payloads(change), "the mailbox stays".to_owned()))
}

fn expunge(tx: &Connection, entry: &Entry, is: &MailboxId) -> Result<(Vec<Payload>, String), Stop> {
    let uids: Vec<Uid> = quarantine::inferred(tx, entry.id)?.into_iter().collect();
    let Some(mailbox) = Mailbox::load(tx, is)? else {
        return refuse(Reason::Nonexistent, "the mailbox is gone");
    };
    let mut txn = Txn::on(&mailbox);
    leave(&mut txn, &uids);
    let told = format!("{} messages left the mailbox, and are retained", uids.len());
    Ok((txn.payload().into_iter().collect(), told))
}

/// A message that left, as it was then.
struct Kept {
    user: UserName,
    mailbox: Guid,
    name: Option<String>,
    message: Append,
    body: Option<i64>,
}

fn kept(tx: &Connection, id: EntryId) -> Result<Kept, Stop> {
    let found = tx
        .prepare_cached(
            "SELECT u.name, r.mailbox_guid, r.mailbox_name, r.guid, r.flags, r.keywords, r.internal_date, r.save_date, r.size,
             r.body FROM retained r JOIN users u ON u.id = r.user WHERE r.id = ?1",
        )?
        .query_row([id], |row| {
            let keywords: Vec<String> = serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default();
            let flags = Flags::from_bits(row.get(4)?);
            Ok(Kept {
                user: UserName(row.get(0)?),
                mailbox: Guid(row.get(1)?),
                name: row.get(2)?,
                message: Append {
                    uid: Uid(0),
                    guid: MessageGuid(row.get(3)?),
                    size: row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned),
                    internal_date: row.get(6)?,
                    save_date: row.get(7)?,
                    // it comes back to stay
                    flags: flags.changed(Flags::NONE, Flags::DELETED),
                    keywords: keywords.into_iter().map(Keyword).collect(),
                    modseq: Modseq(0),
                },
                body: row.get(9)?,
            })
        })
        .optional()?;
    found.map_or_else(|| Err(CustodyError::Unknown(id).into()), Ok)
}

/// Brings a retained message back where it was, or where a mailbox of that name is now, or to INBOX.
pub(super) fn restore(tx: &Connection, fresh: &mut Fresh, id: EntryId) -> Result<Built, Stop> {
    let Kept {
        user,
        mailbox,
        name,
        mut message,
        body,
    } = kept(tx, id)?;
    let Some(body) = body else {
        return refuse(Reason::Cannot, "its octets never came to this store");
    };
    let (hash, location) = bodies::by_id(tx, body)?;
    message.size = Some(location.length);
    if message.guid.is_unknown() {
        message.guid = fresh.message_guid()?;
    }
    message.save_date = Some(fresh.now());
    let (first, mut txn, shown) = place(tx, fresh, &user, (mailbox, name.as_deref()), &message)?;
    let new = txn.append(message)?;
    let told = format!("the message is back in {shown} as UID {}", new.place.uid);
    let mut changes = first;
    changes.extend(txn.payload());
    Ok(Built {
        bodies: vec![stored(new, hash, location.length)],
        ..Built::of(changes, Changed::Told(told))
    })
}

fn stored(name: crate::op::BodyName, hash: BodyHash, length: u64) -> NewBody {
    NewBody {
        name,
        octets: Octets::Stored { hash, length },
    }
}

fn place(
    tx: &Connection,
    fresh: &mut Fresh,
    user: &UserName,
    (guid, name): (Guid, Option<&str>),
    message: &Append,
) -> Result<(Vec<Payload>, Txn, MailboxName), Stop> {
    let names = Names::load(tx, user)?;
    let own = names.of(guid).map(|(name, _)| name);
    let last = name.and_then(|name| super::super::mailbox::read_name(name).ok());
    let last = last.filter(|name| matches!(names.get(name), Some(Listed::Mailbox(..))));
    let name = own.or(last).unwrap_or_else(MailboxName::inbox);
    if name == MailboxName::inbox() && named(tx, user, &name)?.is_none() {
        let new = NewMailbox::make(tx, fresh, (user, &name), None)?;
        return Ok((new.payloads, Txn::on_new(new.is, new.uidvalidity), name));
    }
    let mailbox = destination(tx, user, &name)?;
    bound_keywords(&mailbox, message.keywords.iter())?;
    let there = tx
        .prepare_cached("SELECT 1 FROM messages WHERE user = ?1 AND guid = ?2 AND mailbox = ?3")?
        .exists(rusqlite::params![mailbox.user, message.guid.0, mailbox.id])?;
    if there {
        return refuse(Reason::Cannot, &format!("it is in {name} already"));
    }
    Ok((Vec::new(), Txn::on(&mailbox), name))
}
