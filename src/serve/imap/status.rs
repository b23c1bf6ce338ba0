//! STATUS (RFC 9051 section 6.3.11; SIZE of RFC 8438; HIGHESTMODSEQ of RFC 7162; X-GUID as Dovecot answers it).

use super::answer;
use super::grammar::StatusItem;
use super::mutf7;
use super::session::{Reply, Session, Stop};
use crate::op::MailboxName;
use crate::store::embedded::view::MailboxRow;

impl Session {
    pub(super) async fn status(&mut self, mailbox: &[u8], items: &[StatusItem]) -> Result<Reply, Stop> {
        let name = named(mailbox)?;
        let row = self.find(&name).await?;
        let words: Vec<String> = items.iter().map(|item| word(*item, &row)).collect();
        self.condstore |= items.contains(&StatusItem::HighestModseq);
        self.wire.put("* STATUS ");
        self.wire.put(answer::name(&name));
        self.wire.put(format!(" ({})\r\n", words.join(" ")));
        Reply::ok("Status completed.")
    }

    /// The mailbox of that name, or the reply that there is none.
    pub(super) async fn find(&self, name: &MailboxName) -> Result<MailboxRow, Stop> {
        let (user, wanted) = (self.user()?, name.clone());
        let row = self.read(move |view| view.mailbox(&user, &wanted)).await?;
        row.ok_or_else(|| {
            let shown = mutf7::encode(&name.join(mutf7::SEPARATOR));
            Stop::Reply(Reply::No(format!("[NONEXISTENT] Mailbox doesn't exist: {shown}")))
        })
    }
}

/// A mailbox name as the client wrote it, or the reply that it is none.
pub(super) fn named(mailbox: &[u8]) -> Result<MailboxName, Stop> {
    let invalid = || Stop::Reply(Reply::No("Mailbox name is not valid mUTF-7".to_owned()));
    mutf7::mailbox(mailbox).ok_or_else(invalid)
}

fn word(item: StatusItem, row: &MailboxRow) -> String {
    let value = match item {
        StatusItem::Messages => row.messages.to_string(),
        StatusItem::Recent => "0".to_owned(),
        StatusItem::UidNext => row.uidnext.to_string(),
        StatusItem::UidValidity => row.uidvalidity.to_string(),
        StatusItem::Unseen => row.unseen.to_string(),
        StatusItem::HighestModseq => row.highest_modseq.to_string(),
        StatusItem::Size => row.size.to_string(),
        StatusItem::Guid => row.guid.to_hex(),
    };
    let name = StatusItem::NAMED
        .iter()
        .find(|(i, _)| *i == item)
        .map_or("", |(_, name)| name);
    format!("{name} {value}")
}
