//! STATUS (RFC 9051 section 6.3.11; SIZE of RFC 8438; HIGHESTMODSEQ of RFC 7162; X-GUID as Dovecot answers it).

use super::answer;
use super::grammar::StatusItem;
use super::mutf7;
use super::session::{Reply, Session, Stop};
use crate::limits::INTAKE_MESSAGE_BYTES_MAX;
use crate::op::{Flags, Guid, MailboxName, Stale};
use crate::store::embedded::view::{MailboxKey, MailboxRow};
use std::time::Duration;

impl Session {
    pub(super) async fn status(&mut self, mailbox: &[u8], items: &[StatusItem]) -> Result<Reply, Stop> {
        let name = self.named(mailbox)?;
        let words: Vec<String> = match self.look(&name).await? {
            Looked::Mailbox(row) => self.status_words(&row, items).await?,
            Looked::Stale(stale, _) if items == [StatusItem::Guid] && stale.guid != Guid::default() => {
                vec![guid(stale.guid)]
            }
            Looked::Stale(stale, took) => return Err(self.gone(&name, stale, took)),
            Looked::Nothing => return Err(self.nonexistent(&name)),
        };
        if items.contains(&StatusItem::HighestModseq) {
            self.knows_modseqs();
        }
        self.status_line(&name, &words);
        Reply::ok("Status completed.")
    }

    pub(super) fn status_line(&mut self, name: &MailboxName, words: &[String]) {
        self.wire.put("* STATUS ");
        self.wire.put(answer::name(name, self.script()));
        self.wire.put(format!(" ({})\r\n", words.join(" ")));
    }

    pub(super) async fn status_words(&self, row: &MailboxRow, items: &[StatusItem]) -> Result<Vec<String>, Stop> {
        let deleted = if items.contains(&StatusItem::Deleted) {
            self.deleted(row.key).await?
        } else {
            0
        };
        Ok(items.iter().map(|item| word(*item, row, deleted)).collect())
    }

    /// Number of messages with `\Deleted`.
    async fn deleted(&self, key: MailboxKey) -> Result<usize, Stop> {
        self.read(move |view| {
            let listing = view.listing(key)?;
            let marks = listing.iter().flat_map(|listing| listing.iter());
            Ok(marks.filter(|mark| mark.flags.contains(Flags::DELETED)).count())
        })
        .await
    }

    /// A mailbox name as the client wrote it, or the reply that it is none.
    pub(super) fn named(&self, mailbox: &[u8]) -> Result<MailboxName, Stop> {
        let invalid = || Stop::Reply(Reply::No("Mailbox name is not valid mUTF-7".to_owned()));
        mutf7::mailbox(mailbox, self.script()).ok_or_else(invalid)
    }

    /// The mailbox of that name, or the reply that there is none.
    pub(super) async fn find(&self, name: &MailboxName) -> Result<MailboxRow, Stop> {
        match self.look(name).await? {
            Looked::Mailbox(row) => Ok(row),
            Looked::Stale(stale, took) => Err(self.gone(name, stale, took)),
            Looked::Nothing => Err(self.nonexistent(name)),
        }
    }

    pub(super) async fn look(&self, name: &MailboxName) -> Result<Looked, Stop> {
        let (user, wanted) = (self.user()?, name.clone());
        self.read(move |view| {
            let began = processor_time();
            if let Some(row) = view.mailbox(&user, &wanted)? {
                return Ok(Looked::Mailbox(row));
            }
            let stale = view.stale(&user, &wanted)?;
            Ok(stale.map_or(Looked::Nothing, |stale| {
                Looked::Stale(stale, processor_time().saturating_sub(began))
            }))
        })
        .await
    }

    /// What the source's Dovecot says of a stale name, to the letter. The name is decoded there, and at the end stands how
    /// long the command took: working, and waiting for other sessions, which nothing here does.
    fn gone(&self, name: &MailboxName, stale: Stale, took: Duration) -> Stop {
        let code = if stale.nonexistent_code { "[NONEXISTENT] " } else { "" };
        let shown: String = name
            .join(self.script().separator)
            .chars()
            // A name may hold anything; a line of IMAP may not.
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        let took = seconds(took);
        Stop::Reply(Reply::No(format!(
            "{code}Mailbox doesn't exist: {shown} ({took} + 0.000 secs)."
        )))
    }

    pub(super) fn nonexistent(&self, name: &MailboxName) -> Stop {
        let shown = mutf7::encode(&name.join(self.script().separator));
        Stop::Reply(Reply::No(format!("[NONEXISTENT] Mailbox doesn't exist: {shown}")))
    }
}

/// Work of this thread so far. A machine that is busy with something else doesn't make a command longer.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// What a name stands for.
pub(super) enum Looked {
    Mailbox(MailboxRow),
    /// With the time that finding it took.
    Stale(Stale, Duration),
    Nothing,
}

/// Seconds with three decimals, rounded up as Dovecot does.
fn seconds(elapsed: Duration) -> String {
    let ms = elapsed.as_micros().div_ceil(1000);
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn guid(guid: Guid) -> String {
    format!("X-GUID {}", guid.to_hex())
}

fn word(item: StatusItem, row: &MailboxRow, deleted: usize) -> String {
    let value = match item {
        StatusItem::Messages => row.messages.to_string(),
        StatusItem::Recent => "0".to_owned(),
        StatusItem::UidNext => row.uidnext.to_string(),
        StatusItem::UidValidity => row.uidvalidity.to_string(),
        StatusItem::Unseen => row.unseen.to_string(),
        StatusItem::HighestModseq => row.highest_modseq.to_string(),
        StatusItem::Size => row.size.to_string(),
        StatusItem::Deleted => deleted.to_string(),
        StatusItem::AppendLimit => INTAKE_MESSAGE_BYTES_MAX.to_string(),
        StatusItem::MailboxId => format!("({})", row.guid.to_hex()),
        StatusItem::Guid => return guid(row.guid),
    };
    let name = StatusItem::NAMED
        .iter()
        .find(|(i, _)| *i == item)
        .map_or("", |(_, name)| name);
    format!("{name} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_millisecond_counts_as_one() {
        let shown = |us| seconds(Duration::from_micros(us));
        assert_eq!(
            [shown(0), shown(1), shown(1000), shown(1001), shown(61_234_567)],
            ["0.000", "0.001", "0.001", "0.002", "61.235"]
        );
    }
}
