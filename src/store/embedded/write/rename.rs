//! RENAME: of a mailbox with all below it; of INBOX, whose messages move and which stays (RFC 9051 section 6.3.6).

use super::super::super::change::{Changed, Reason};
use super::built::{Built, Stop, refuse};
use super::copy::arrive;
use super::create::NewMailbox;
use super::expunge::leave;
use super::fresh::Fresh;
use super::hierarchy::{Names, payloads};
use super::lookup::destination;
use super::names;
use super::txn::Txn;
use crate::op::{MailboxName, Uid, UserName};
use rusqlite::Connection;

/// `to` must not be there; INBOX always is, whether a message ever came to it or not.
pub(super) fn rename(
    tx: &Connection,
    fresh: &mut Fresh,
    user: &UserName,
    from: &MailboxName,
    to: &MailboxName,
) -> Result<Built, Stop> {
    if *from == MailboxName::inbox() {
        return rename_inbox(tx, fresh, user, to);
    }
    let mut names = Names::load(tx, user)?;
    let below: Vec<_> = names
        .below(from)
        .map(|(name, listed)| (name.clone(), listed.clone()))
        .collect();
    let Some(top) = names.get(from).cloned() else {
        return refuse(Reason::Nonexistent, "there is no such mailbox");
    };
    if *to == MailboxName::inbox() || to == from || names.get(to).is_some() {
        return refuse(Reason::AlreadyExists, "the new name is taken");
    }
    if to.is_below(from) {
        return refuse(Reason::Cannot, "a mailbox can't move below itself");
    }
    let mut change = names.change();
    let moved: Vec<_> = std::iter::once((from.clone(), top)).chain(below).collect();
    for (old, _) in &moved {
        names.free(&mut change, old);
    }
    for (old, listed) in moved {
        let rest = old.0.into_iter().skip(from.0.len());
        let new = MailboxName(to.0.iter().cloned().chain(rest).collect());
        names::check(&new, &names.namespaces)?;
        if names.get(&new).is_some() {
            return refuse(Reason::AlreadyExists, "a name below the new one is taken");
        }
        names.add(&mut change, new, listed);
    }
    names.prune_above(&mut change, from);
    Ok(Built::of(payloads(change), Changed::Done(None)))
}

fn rename_inbox(tx: &Connection, fresh: &mut Fresh, user: &UserName, to: &MailboxName) -> Result<Built, Stop> {
    let inbox = destination(tx, user, &MailboxName::inbox())?;
    if *to == MailboxName::inbox() {
        return refuse(Reason::AlreadyExists, "the new name is taken");
    }
    let new = NewMailbox::make(tx, fresh, (user, to), None)?;
    let messages = inbox.all(tx)?;
    let mut arriving = Txn::on_new(new.is.clone(), new.uidvalidity);
    let mut built = arrive(tx, fresh, (inbox.user, &mut arriving), &messages)?;
    let mut leaving = Txn::on(&inbox);
    if !messages.is_empty() {
        let uids: Vec<Uid> = messages.iter().map(|stored| stored.message.uid).collect();
        leave(&mut leaving, &uids);
    }
    built.payloads = new.payloads;
    built
        .payloads
        .extend(arriving.payload().into_iter().chain(leaving.payload()));
    built.changed = Changed::Done(Some(new.is));
    Ok(built)
}
