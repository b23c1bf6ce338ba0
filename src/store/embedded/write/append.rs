//! APPEND, MULTIAPPEND, REPLACE and deliveries.

use super::super::super::change::{Changed, NewMessage, Reason};
use super::super::mailbox::Mailbox;
use super::built::{Built, NewBody, Octets, Stop, refuse};
use super::create::NewMailbox;
use super::fresh::Fresh;
use super::lookup::{destination, named, selected};
use super::txn::Txn;
use crate::limits::{MAILBOX_KEYWORDS_MAX, MESSAGE_BYTES_MAX};
use crate::op::{Append, Expunge, Keyword, MailboxId, MailboxName, MessageGuid, Modseq, Op, Uid, UidRange, UserName};
use rusqlite::Connection;

/// All messages or none. INBOX is there for everybody.
pub(super) fn append(
    tx: &Connection,
    fresh: &mut Fresh,
    (user, name): (&UserName, &MailboxName),
    messages: &[NewMessage],
) -> Result<Built, Stop> {
    if *name == MailboxName::inbox() {
        return into_inbox(tx, fresh, user, messages);
    }
    into(fresh, &destination(tx, user, name)?, messages)
}

/// Mail finds its way: where the mailbox is not there it goes to INBOX.
pub(super) fn deliver(
    tx: &Connection,
    fresh: &mut Fresh,
    (user, name): (&UserName, &MailboxName),
    message: &NewMessage,
) -> Result<Built, Stop> {
    let messages = std::slice::from_ref(message);
    match named(tx, user, name)?.filter(|mailbox| mailbox.held.is_none()) {
        Some(mailbox) => into(fresh, &mailbox, messages),
        None => into_inbox(tx, fresh, user, messages),
    }
}

fn into_inbox(tx: &Connection, fresh: &mut Fresh, user: &UserName, messages: &[NewMessage]) -> Result<Built, Stop> {
    let inbox = MailboxName::inbox();
    if named(tx, user, &inbox)?.is_some() {
        return into(fresh, &destination(tx, user, &inbox)?, messages);
    }
    let new = NewMailbox::make(tx, fresh, (user, &inbox), None)?;
    let mut txn = Txn::on_new(new.is.clone(), new.uidvalidity);
    let mut built = put(fresh, &mut txn, messages)?;
    built.payloads = new.payloads.into_iter().chain(txn.payload()).collect();
    Ok(built)
}

fn into(fresh: &mut Fresh, mailbox: &Mailbox, messages: &[NewMessage]) -> Result<Built, Stop> {
    bound_keywords(mailbox, messages.iter().flat_map(|message| &message.keywords))?;
    let mut txn = Txn::on(mailbox);
    let mut built = put(fresh, &mut txn, messages)?;
    built.payloads.extend(txn.payload());
    Ok(built)
}

/// Appends the messages to an open transaction; the payloads are left to the caller.
fn put(fresh: &mut Fresh, txn: &mut Txn, messages: &[NewMessage]) -> Result<Built, Stop> {
    let (mut uids, mut guids, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for message in messages {
        let size = u64::try_from(message.octets.len()).unwrap_or(u64::MAX);
        if size > MESSAGE_BYTES_MAX {
            return refuse(Reason::Limit, "the message is too large");
        }
        let guid = fresh.message_guid()?;
        let name = txn.append(arrived(message, guid.clone(), size, fresh.now()))?;
        uids.push(name.place.uid);
        guids.push(guid);
        let octets = Octets::New(message.octets.clone());
        bodies.push(NewBody { name, octets });
    }
    let uidvalidity = txn.uidvalidity;
    Ok(Built {
        payloads: Vec::new(),
        bodies,
        changed: Changed::Appended {
            uidvalidity,
            uids,
            guids,
        },
    })
}

/// UID and MODSEQ are the transaction's to give.
fn arrived(message: &NewMessage, guid: MessageGuid, size: u64, now: i64) -> Append {
    Append {
        uid: Uid(0),
        guid,
        size: Some(size),
        internal_date: message.internal_date.unwrap_or(now),
        save_date: Some(now),
        flags: message.flags,
        keywords: each_once(&message.keywords),
        modseq: Modseq(0),
    }
}

/// Keywords without those that differ from an earlier one in case only.
pub(super) fn each_once(keywords: &[Keyword]) -> Vec<Keyword> {
    let mut once: Vec<Keyword> = Vec::new();
    for keyword in keywords {
        if !once.iter().any(|known| known.0.eq_ignore_ascii_case(&keyword.0)) {
            once.push(keyword.clone());
        }
    }
    once
}

/// A mailbox keeps every keyword that it ever knew.
pub(super) fn bound_keywords<'k>(mailbox: &Mailbox, wanted: impl Iterator<Item = &'k Keyword>) -> Result<(), Stop> {
    let new = wanted
        .filter(|keyword| mailbox.known_keyword(keyword).is_none())
        .count();
    if new > 0 && mailbox.known_keywords().saturating_add(new) > MAILBOX_KEYWORDS_MAX {
        return refuse(Reason::Limit, "the mailbox has too many keywords");
    }
    Ok(())
}

/// The new message comes, the old one goes: nobody sees both, or none (RFC 8508).
pub(super) fn replace(
    tx: &Connection,
    fresh: &mut Fresh,
    (from, uid): (&MailboxId, Uid),
    into: &MailboxName,
    message: &NewMessage,
) -> Result<Built, Stop> {
    let source = selected(tx, from)?;
    if source.message(tx, uid)?.is_none() {
        return refuse(Reason::Nonexistent, "there is no such message");
    }
    let target = destination(tx, &from.user, into)?;
    bound_keywords(&target, message.keywords.iter())?;
    let mut arriving = Txn::on(&target);
    let mut built = put(fresh, &mut arriving, std::slice::from_ref(message))?;
    let mut leaving = Txn::on(&source);
    let txn = if target.is == source.is {
        &mut arriving
    } else {
        &mut leaving
    };
    txn.push(Op::Expunge(Expunge {
        uids: vec![UidRange::one(uid)],
        requested: true,
        modseq: txn.modseq(),
    }));
    built
        .payloads
        .extend(arriving.payload().into_iter().chain(leaving.payload()));
    Ok(built)
}
