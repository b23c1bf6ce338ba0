//! What the Dovecot has of one user now.

use super::{Desk, past, unavailable};
use crate::op::{Guid, MailboxName, MessageGuid, Uid, UserName};
use crate::store::change::Refused;
use crate::store::dovecot::dsync::{MailboxReading, Reading, Wanted};

/// A user's mailboxes. The one in which messages of a tail wait is none of them.
pub(super) struct Account {
    reading: Reading,
}

impl Account {
    /// The mailbox of that GUID, where it was asked for and is there.
    pub(super) fn mailbox(&self, guid: Guid) -> Option<&MailboxReading> {
        self.reading.mailboxes.get(&guid)
    }

    /// The mailbox that has the name.
    pub(super) fn named(&self, name: &MailboxName) -> Option<Guid> {
        let node = self.reading.tree.iter().find(|node| node.name == *name)?;
        Some(node.mailbox?.guid)
    }

    /// Where the user has a message of that GUID.
    pub(super) fn places<'a>(&'a self, guid: &'a MessageGuid) -> impl Iterator<Item = (Guid, Uid)> + 'a {
        let all = self
            .reading
            .mailboxes
            .iter()
            .flat_map(|(mailbox, reading)| reading.listed.iter().map(|message| (*mailbox, message)));
        all.filter(move |(_, message)| message.guid == *guid)
            .map(|(mailbox, message)| (mailbox, message.uid))
    }
}

impl Desk<'_> {
    pub(super) fn account(&self, user: &UserName, wanted: Wanted) -> Result<Account, Refused> {
        let mut reading = self.merger.speaker().read(user, wanted).map_err(unavailable)?;
        let waiting = past::aside(user);
        reading.mailboxes.remove(&waiting);
        reading
            .tree
            .retain(|node| node.mailbox.is_none_or(|mailbox| mailbox.guid != waiting));
        Ok(Account { reading })
    }

    /// The mailbox's name as `doveadm` takes it.
    pub(super) fn spelled(&self, user: &UserName, guid: Guid) -> Result<String, Refused> {
        let words = ["-f", "tab", "mailbox", "status", "-u", user.as_str(), "guid", "*"];
        let said = self.doveadm(&words)?;
        let hex = guid.to_hex();
        let lines = said.lines().filter_map(|line| line.rsplit_once('\t'));
        let found = lines
            .filter(|(_, guid)| *guid == hex)
            .map(|(name, _)| name.to_owned())
            .next();
        found.ok_or_else(|| unavailable(format!("{user}: mailbox {guid} is gone; run it again")))
    }
}
