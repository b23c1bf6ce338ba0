//! Messages that a tail brings.

use super::account::Account;
use super::{Desk, InMailbox, Made, past, unavailable};
use crate::op::{Append, BodyName, Guid, MailboxName, MessageGuid, Modseq, Uid, UserName};
use crate::role::merge::{Arrival, Known, Octets, Settled as Why, arrival};
use crate::store::change::Refused;
use crate::store::dovecot::dsync::{Bodies, MailboxDelta, Message, Node, Outcome, Wanted};
use crate::store::dovecot::fetch;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

/// Where messages wait, below INBOX, which every namespace allows. Seen only while they are moved, or after a crash.
const ASIDE: &str = "Recovered by mailshadow";
/// Octets of a header in which its Message-ID is looked for.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Messages on their way into one mailbox.
#[derive(Default)]
struct Waiting {
    messages: Vec<Message>,
    /// As the tail names them, by UID of the mailbox in which they wait.
    names: BTreeMap<Uid, BodyName>,
    octets: BTreeMap<Uid, Arc<[u8]>>,
    /// Those that Dovecot asked for and that did not come with the piece.
    lacking: Vec<BodyName>,
}

impl Waiting {
    fn push(&mut self, message: &Append, name: BodyName, guid: MessageGuid, octets: Option<Arc<[u8]>>) {
        let uid = Uid(u32::try_from(self.messages.len()).unwrap_or(u32::MAX).saturating_add(1));
        self.messages.push(Message {
            uid,
            guid,
            flags: message.flags,
            keywords: message.keywords.clone(),
            modseq: Modseq(1),
            internal_date: message.internal_date,
            save_date: message.save_date,
            pop3_uidl: None,
            size: message.size,
        });
        self.names.insert(uid, name);
        self.octets.extend(octets.map(|octets| (uid, octets)));
    }

    fn delta(&self, guid: Guid) -> MailboxDelta {
        let count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        MailboxDelta {
            guid,
            uid_next: Uid(count.saturating_add(1)),
            highest_modseq: Modseq(1),
            messages: count,
            changed: self.messages.clone(),
            ..MailboxDelta::default()
        }
    }
}

impl Bodies for Waiting {
    fn open(&mut self, _: &UserName, _: Guid, message: &Message) -> std::io::Result<Box<dyn Read + '_>> {
        match self.octets.get(&message.uid) {
            Some(octets) => Ok(Box::new(octets.as_ref())),
            None => {
                self.lacking.extend(self.names.get(&message.uid).cloned());
                Err(std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    "it did not come with the tail yet",
                ))
            }
        }
    }
}

impl Desk<'_> {
    /// Appends what is new, in their order. `listed`: no append of them was seen.
    pub(super) fn arrive(&mut self, tail: &InMailbox<'_>, messages: &[&Append], listed: bool) -> Result<Made, Refused> {
        let user = &tail.is.user;
        let account = self.account(user, Wanted::Everything)?;
        let place = self.place(tail, &account)?;
        let past = match listed {
            true => self.merger.past.mailbox(tail.is).map_err(unavailable)?,
            false => None,
        };
        let mut made = Made::default();
        let (mut key, mut waiting) = (self.key(tail), Waiting::default());
        let mut arrived = BTreeSet::new();
        for message in messages {
            let was_there = past.as_ref().is_some_and(|past| past.contains_key(&message.uid));
            let mut known = self.known(tail, &account, place, message);
            known.listed = listed;
            known.expunged = was_there && !known.in_place;
            known.in_mailbox |= arrived.contains(&message.guid);
            let name = BodyName::of(tail.is, tail.uidvalidity, message);
            let octets = self.octets(user, &account, &name)?;
            let judged = arrival(known, octets);
            let guid = self.guid(tail, message);
            match judged {
                Arrival::Ask => made.lacks.push(name),
                Arrival::Nothing(why) => {
                    made.tally.settle(why);
                    if !known.settled && why != Why::Lost {
                        key.appended.push((message.uid, message.guid.clone()));
                    }
                }
                Arrival::Copied | Arrival::New => {
                    made.tally.append(judged == Arrival::Copied);
                    key.appended.push((message.uid, guid.clone()));
                    let octets = self.piece.bodies.get(&name).cloned().flatten();
                    waiting.push(message, name, guid, octets);
                }
            }
            if !message.guid.is_unknown() {
                arrived.insert(message.guid.clone());
            }
        }
        if made.lacks.is_empty() && !waiting.messages.is_empty() {
            made.lacks = self.bring(user, &account, waiting, place)?;
        }
        made.key = Some(key);
        Ok(made)
    }

    /// The tail's own mailbox; else the one that has its name; else INBOX.
    fn place(&self, tail: &InMailbox<'_>, account: &Account) -> Result<Guid, Refused> {
        if account.mailbox(tail.is.guid).is_some() {
            return Ok(tail.is.guid);
        }
        let inbox = MailboxName::inbox();
        let by_name = self.piece.item.name.as_ref().and_then(|name| account.named(name));
        let found = by_name.or_else(|| account.named(&inbox));
        found.ok_or_else(|| unavailable(format!("{} has no INBOX in the mail server", tail.is.user)))
    }

    fn known(&self, tail: &InMailbox<'_>, account: &Account, place: Guid, message: &Append) -> Known {
        let own = account
            .mailbox(tail.is.guid)
            .filter(|own| own.uid_validity == tail.uidvalidity);
        let in_place = own.is_some_and(|own| {
            let mut listed = own.listed.iter();
            listed.any(|there| there.uid == message.uid && there.guid == message.guid)
        });
        let mut places = account
            .places(&message.guid)
            .filter(|_| !message.guid.is_unknown())
            .peekable();
        let owned = places.peek().is_some();
        Known {
            settled: self
                .settled
                .has((self.piece.stream, self.piece.epoch), tail, message.uid),
            in_place,
            in_mailbox: places.any(|(mailbox, _)| mailbox == place),
            owned,
            ..Known::default()
        }
    }

    /// A GUID for a message whose own nobody knows: the same at each attempt.
    fn guid(&self, tail: &InMailbox<'_>, message: &Append) -> MessageGuid {
        if !message.guid.is_unknown() {
            return message.guid.clone();
        }
        let key = (
            self.piece.stream,
            self.piece.epoch,
            tail.is,
            tail.uidvalidity,
            message.uid,
        );
        let hash = blake3::derive_key("mailshadow: a message of a lost tail", format!("{key:?}").as_bytes());
        MessageGuid(hash.iter().take(16).map(|octet| format!("{octet:02x}")).collect())
    }

    fn octets(&self, user: &UserName, account: &Account, name: &BodyName) -> Result<Octets, Refused> {
        Ok(match self.piece.bodies.get(name) {
            None => Octets::Unasked,
            Some(None) => Octets::Gone,
            Some(Some(octets)) => Octets::Here {
                arrived: self.has_arrived(user, account, octets)?,
            },
        })
    }

    /// True where the user has the very same octets in a message that came since the fork, and that no tail brought.
    fn has_arrived(&self, user: &UserName, account: &Account, octets: &[u8]) -> Result<bool, Refused> {
        let Some(id) = message_id(octets) else { return Ok(false) };
        let words = [
            "-f",
            "tab",
            "fetch",
            "-u",
            user.as_str(),
            "mailbox-guid uid guid",
            "header",
            "message-id",
            &id,
        ];
        for line in self.doveadm(&words)?.lines().skip(1) {
            let mut columns = line.split('\t');
            let (mailbox, uid, guid) = (columns.next(), columns.next(), columns.next());
            let (Some(mailbox), Some(uid)) = (mailbox.and_then(Guid::from_hex), uid.and_then(|uid| uid.parse().ok()))
            else {
                continue;
            };
            let (uid, guid) = (Uid(uid), MessageGuid(guid.unwrap_or_default().to_owned()));
            if account.mailbox(mailbox).is_none()
                || self.settled.brought(user, &guid)
                || self.was_there(user, mailbox, uid)?
            {
                continue;
            }
            let fetched = fetch::message(&self.merger.doveadm, user, mailbox, uid).map_err(unavailable)?;
            if fetched.is_some_and(|fetched| fetched.octets == octets) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn was_there(&self, user: &UserName, guid: Guid, uid: Uid) -> Result<bool, Refused> {
        let is = crate::op::MailboxId {
            user: user.clone(),
            guid,
        };
        let past = self.merger.past.mailbox(&is).map_err(unavailable)?;
        Ok(past.is_some_and(|past| past.contains_key(&uid)))
    }

    /// Puts the messages into a mailbox of their own, and moves them. Returns the octets that must come first; then nothing
    /// was moved.
    fn bring(
        &self,
        user: &UserName,
        account: &Account,
        mut waiting: Waiting,
        place: Guid,
    ) -> Result<Vec<BodyName>, Refused> {
        let speaker = self.merger.speaker();
        let guid = past::aside(user);
        let is_other = |node: &Node| node.mailbox.is_none_or(|there| there.guid != guid);
        // what an earlier attempt left, it is brought again
        let separator = speaker.amend(user, |tree| tree.retain(is_other)).map_err(unavailable)?;
        self.create(user, guid, &MailboxName::of(["INBOX", ASIDE]), separator)?;
        let delta = waiting.delta(guid);
        let told = speaker.fill(user, &delta, &mut waiting, self.merger.past.now());
        if let Some(gone) = waiting.lacking.iter().find(|name| self.piece.bodies.contains_key(name)) {
            // asked for again, it would be so for ever
            let guid = &gone.guid;
            return Err(unavailable(format!(
                "{user}: the mail server does not copy its own message {guid}, and nobody else has the octets"
            )));
        }
        if !waiting.lacking.is_empty() {
            return Ok(waiting.lacking);
        }
        match told.map_err(unavailable)? {
            Outcome::Acknowledged(_) | Outcome::Differs { .. } => {}
            other => {
                return Err(unavailable(format!(
                    "{user}: the mail server did not take them: {other:?}"
                )));
            }
        }
        let (to, from) = (self.spelled(user, place)?, guid.to_hex());
        self.doveadm(&["move", "-u", user.as_str(), "--", &to, "mailbox-guid", &from, "all"])?;
        self.moved(user, account, &waiting, place)?;
        speaker.amend(user, |tree| tree.retain(is_other)).map_err(unavailable)?;
        Ok(Vec::new())
    }

    /// Reads back that every message is where it belongs.
    fn moved(&self, user: &UserName, before: &Account, waiting: &Waiting, place: Guid) -> Result<(), Refused> {
        let now = self.account(user, Wanted::Mailboxes([place].into()))?;
        let old: BTreeSet<Uid> = before
            .mailbox(place)
            .into_iter()
            .flat_map(|m| &m.listed)
            .map(|m| m.uid)
            .collect();
        let listed = now.mailbox(place).into_iter().flat_map(|mailbox| &mailbox.listed);
        let new: BTreeSet<&MessageGuid> = listed.filter(|m| !old.contains(&m.uid)).map(|m| &m.guid).collect();
        match waiting.messages.iter().find(|message| !new.contains(&message.guid)) {
            None => Ok(()),
            Some(message) => Err(unavailable(format!(
                "{user}: message {} was moved and is not where it belongs; it may be in INBOX/{ASIDE}",
                message.guid
            ))),
        }
    }
}

/// What stands in `Message-ID:`, where it is one line of plain text.
fn message_id(octets: &[u8]) -> Option<String> {
    let header = octets.get(..octets.len().min(HEADER_BYTES_MAX))?;
    for line in header.split(|octet| *octet == b'\n') {
        let line = std::str::from_utf8(line).unwrap_or_default().trim_end();
        if line.is_empty() {
            return None;
        }
        if let Some((field, value)) = line.split_once(':')
            && field.eq_ignore_ascii_case("message-id")
        {
            let value = value.trim();
            return (!value.is_empty() && !value.contains(char::is_control)).then(|| value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::message_id;

    #[test]
    fn a_message_id_is_found_in_the_header_alone() {
        let found = |text: &str| message_id(text.as_bytes());
        assert_eq!(found("A: b\r\nmessage-Id:  <x@y> \r\n\r\n"), Some("<x@y>".to_owned()));
        for none in [
            "",
            "A: b\r\n\r\nMessage-ID: <x@y>\r\n",
            "Message-ID:\r\n <x@y>\r\n\r\n",
            "Message-ID: \u{7f}\r\n\r\n",
        ] {
            assert_eq!(found(none), None, "{none:?}");
        }
    }
}
