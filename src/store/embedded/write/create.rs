//! CREATE, and every other way in which a mailbox comes to be.

use super::super::super::change::{Changed, Reason};
use super::built::{Built, Stop, refuse};
use super::fresh::Fresh;
use super::hierarchy::{Listed, Names, payloads};
use super::names;
use super::txn::first_list;
use crate::op::{MailboxId, MailboxName, Payload, UidValidity, UserName};
use rusqlite::Connection;

/// Special uses that RFC 6154 and RFC 8457 know, without the backslash.
const SPECIAL_USES: [&str; 8] = [
    "All",
    "Archive",
    "Drafts",
    "Flagged",
    "Important",
    "Junk",
    "Sent",
    "Trash",
];

/// A mailbox that is about to be.
pub(super) struct NewMailbox {
    pub(super) is: MailboxId,
    pub(super) uidvalidity: UidValidity,
    /// The tree with it, and its empty list.
    pub(super) payloads: Vec<Payload>,
}

impl NewMailbox {
    /// Gives it GUID, UIDVALIDITY and name; names above it that are not there are listed from now on.
    pub(super) fn make(
        tx: &Connection,
        fresh: &mut Fresh,
        (user, name): (&UserName, &MailboxName),
        special_use: Option<&str>,
    ) -> Result<Self, Stop> {
        let mut names = Names::load(tx, user)?;
        if let Some(Listed::Mailbox(..)) = names.get(name) {
            return refuse(Reason::AlreadyExists, "there is such a mailbox");
        }
        names::check(name, &names.namespaces)?;
        let is = MailboxId {
            user: user.clone(),
            guid: fresh.guid()?,
        };
        let uidvalidity = fresh.uidvalidity();
        let mut change = names.change();
        let listed = Listed::Mailbox(is.guid, special_use.map(str::to_owned));
        names.add(&mut change, name.clone(), listed);
        let mut payloads = payloads(change);
        payloads.push(first_list(is.clone(), uidvalidity));
        Ok(Self {
            is,
            uidvalidity,
            payloads,
        })
    }
}

/// `special_use`: with the backslash.
pub(super) fn create(
    tx: &Connection,
    fresh: &mut Fresh,
    mailbox: (&UserName, &MailboxName),
    special_use: Option<&str>,
) -> Result<Built, Stop> {
    let special_use = special_use.map(known_use).transpose()?;
    let new = NewMailbox::make(tx, fresh, mailbox, special_use)?;
    Ok(Built::of(new.payloads, Changed::Done(Some(new.is))))
}

fn known_use(wanted: &str) -> Result<&'static str, Stop> {
    let name = wanted.strip_prefix('\\').unwrap_or_default();
    let known = SPECIAL_USES.into_iter().find(|known| known.eq_ignore_ascii_case(name));
    known.map_or_else(|| refuse(Reason::Cannot, "no such special use is known"), Ok)
}
