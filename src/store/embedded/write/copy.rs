//! COPY and MOVE (RFC 6851). A copy is the same message: its GUID stays, as in Dovecot's formats, and no body is stored twice.

use super::super::super::change::Changed;
use super::super::bodies;
use super::super::mailbox::Stored;
use super::append::bound_keywords;
use super::built::{Built, NewBody, Octets, Stop};
use super::expunge::leave;
use super::fresh::Fresh;
use super::lookup::{destination, messages, selected};
use super::txn::Txn;
use crate::op::{Append, MailboxId, MailboxName, Uid, UidRange};
use rusqlite::Connection;

/// `moved`: they leave where they were, in the same run and behind their append.
pub(super) fn copy(
    tx: &Connection,
    fresh: &mut Fresh,
    (from, uids): (&MailboxId, &[UidRange]),
    into: &MailboxName,
    moved: bool,
) -> Result<Built, Stop> {
    let source = selected(tx, from)?;
    let target = destination(tx, &from.user, into)?;
    let copied = messages(tx, &source, uids)?;
    bound_keywords(&target, copied.iter().flat_map(|stored| &stored.message.keywords))?;
    let mut arriving = Txn::on(&target);
    let mut built = arrive(tx, fresh, (target.user, &mut arriving), &copied)?;
    let mut leaving = Txn::on(&source);
    if moved && !copied.is_empty() {
        let uids: Vec<Uid> = copied.iter().map(|stored| stored.message.uid).collect();
        let txn = if target.is == source.is {
            &mut arriving
        } else {
            &mut leaving
        };
        leave(txn, &uids);
    }
    built
        .payloads
        .extend(arriving.payload().into_iter().chain(leaving.payload()));
    Ok(built)
}

/// Appends copies to an open transaction of the user's; the payloads are left to the caller.
pub(super) fn arrive(
    tx: &Connection,
    fresh: &mut Fresh,
    (user, txn): (i64, &mut Txn),
    copied: &[Stored],
) -> Result<Built, Stop> {
    let (mut to, mut bodies) = (Vec::new(), Vec::new());
    for stored in copied {
        let name = txn.append(again(tx, fresh, stored)?)?;
        to.push(name.place.uid);
        // Mostly user, GUID and size find the body; where two contents claim them the place must be noted too.
        if let Some(body) = stored.body
            && bodies::resolve(tx, user, &name)?.is_none_or(|found| found.id != body)
        {
            let (hash, location) = bodies::by_id(tx, body)?;
            let length = location.length;
            let octets = Octets::Stored { hash, length };
            bodies.push(NewBody { name, octets });
        }
    }
    Ok(Built {
        payloads: Vec::new(),
        bodies,
        changed: Changed::Copied {
            uidvalidity: txn.uidvalidity,
            from: copied.iter().map(|stored| stored.message.uid).collect(),
            to,
        },
    })
}

/// The message as it is appended once more. What the source never told of it, its body here does.
fn again(tx: &Connection, fresh: &mut Fresh, stored: &Stored) -> Result<Append, Stop> {
    let mut message = stored.message.clone();
    message.save_date = Some(fresh.now());
    if let Some(body) = stored.body {
        if message.size.is_none() {
            message.size = Some(bodies::by_id(tx, body)?.1.length);
        }
        if message.guid.is_unknown() {
            message.guid = fresh.message_guid()?;
        }
    }
    Ok(message)
}
