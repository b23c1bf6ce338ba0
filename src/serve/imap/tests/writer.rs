//! A changer over the store in memory: what it does is what the answers' tests take for granted.

use super::memory::{Account, Folder, Memory};
use crate::op::{AttributeScope, Flags, Guid, Keyword, MailboxId, MailboxName, Modseq, Uid, UidRange, UidValidity};
use crate::store::change::{Answer, Change, Changed, Changer, FlagVerb, NewMessage, Reason, Refused};
use crate::store::embedded::view::TreeRow;

type Result<T = Changed> = std::result::Result<T, Refused>;

fn refused<T>(reason: Reason) -> Result<T> {
    let why = "a reason".to_owned();
    Err(Refused { reason, why })
}

impl Changer for Memory {
    fn change(&self, change: Change, answer: Answer) {
        let mut changed = refused(Reason::Unavailable);
        self.change(|account| changed = account.obey(change));
        answer(changed);
    }
}

impl Account {
    fn obey(&mut self, change: Change) -> Result {
        match change {
            Change::Append { mailbox, messages, .. } => self.named(&mailbox)?.append(messages),
            Change::Deliver { mailbox, message, .. } => {
                if self.tree.rows.is_empty() {
                    self.create(&["INBOX"], 1);
                }
                let into = self.named(&mailbox).is_ok();
                let mailbox = if into { mailbox } else { MailboxName::inbox() };
                self.named(&mailbox)?.append(vec![message])
            }
            Change::Replace {
                mailbox,
                uid,
                into,
                message,
            } => {
                let appended = self.named(&into)?.append(vec![message])?;
                self.identified(&mailbox)?.expunge(uid.0);
                Ok(appended)
            }
            Change::Store {
                mailbox,
                uids,
                verb,
                flags,
                keywords,
                unchanged_since,
            } => {
                let mailbox = self.identified(&mailbox)?;
                Ok(mailbox.store(&uids, (verb, flags, &keywords), unchanged_since))
            }
            Change::Expunge { mailbox, uids } => Ok(self.identified(&mailbox)?.expunge_deleted(uids.as_deref())),
            Change::Copy {
                mailbox,
                uids,
                into,
                moved,
            } => self.copy(&mailbox, &uids, &into, moved),
            change => self.obey_folders(change),
        }
    }

    fn obey_folders(&mut self, change: Change) -> Result {
        match change {
            Change::Create {
                name,
                special_use,
                user,
            } => {
                if self.named(&name).is_ok() {
                    return refused(Reason::AlreadyExists);
                }
                let levels: Vec<&str> = name.0.iter().map(String::as_str).collect();
                self.tree.rows.retain(|row| row.name != name);
                let key = self.create(&levels, 90);
                let row = self.tree.rows.last_mut().unwrap();
                row.special_use = special_use.map(|special| special.trim_start_matches('\\').to_owned());
                let guid = self.mailbox(key).guid;
                Ok(Changed::Done(Some(MailboxId { user, guid })))
            }
            Change::Delete { name, .. } => {
                let guid = self.named(&name).or(refused(Reason::Nonexistent))?.guid;
                self.boxes.retain(|_, (_, folder)| folder.guid != guid);
                self.tree.rows.retain(|row| row.name != name);
                Ok(Changed::Done(None))
            }
            Change::Rename { from, to, .. } => self.rename(&from, &to),
            Change::Subscribe { name, subscribed, .. } => {
                self.tree.subscribed.retain(|known| *known != name);
                if subscribed {
                    self.tree.subscribed.push(name);
                }
                Ok(Changed::Done(None))
            }
            Change::Attributes {
                mailbox,
                scope,
                entries,
                ..
            } => {
                let mailbox = mailbox.map(|name| Ok(self.named(&name)?.guid)).transpose()?;
                self.set(AttributeScope { mailbox, ..scope }, entries);
                Ok(Changed::Done(None))
            }
            other => panic!("{other:?} is no change of folders"),
        }
    }

    fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result {
        if self.tree.rows.iter().any(|row| row.name == *to) {
            return refused(Reason::AlreadyExists);
        }
        if !self
            .tree
            .rows
            .iter()
            .any(|row| row.name == *from || row.name.is_below(from))
        {
            return refused(Reason::Nonexistent);
        }
        let renamed = |name: &mut MailboxName| {
            if name == from || name.is_below(from) {
                let rest = name.0.split_off(from.0.len());
                name.0 = [to.0.clone(), rest].concat();
            }
        };
        self.tree.rows.iter_mut().for_each(|row| renamed(&mut row.name));
        self.boxes.values_mut().for_each(|(name, _)| renamed(name));
        Ok(Changed::Done(None))
    }

    fn set(&mut self, scope: AttributeScope, entries: Vec<(String, Option<Vec<u8>>)>) {
        let known = self.attributes.entry(scope).or_default();
        for (name, value) in entries {
            known.retain(|(other, _)| *other != name);
            known.extend(value.map(|value| (name, value)));
        }
    }

    fn named(&mut self, name: &MailboxName) -> Result<&mut Folder> {
        let found = self.boxes.values_mut().find(|(known, _)| known == name);
        found.map_or_else(|| refused(Reason::TryCreate), |(_, folder)| Ok(folder))
    }

    fn identified(&mut self, id: &MailboxId) -> Result<&mut Folder> {
        let found = self.boxes.values_mut().find(|(_, folder)| folder.guid == id.guid);
        found.map_or_else(|| refused(Reason::NoPermission), |(_, folder)| Ok(folder))
    }

    fn copy(&mut self, from: &MailboxId, uids: &[UidRange], into: &MailboxName, moved: bool) -> Result {
        let mut origin = self.identified(from)?.clone();
        let same = self.named(into)?.guid == origin.guid;
        let target = self.named(into)?;
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for uid in origin.within(uids) {
            let message = &origin.messages[&uid];
            let octets = message.octets.clone().unwrap();
            let keywords: Vec<&str> = message.keywords.iter().map(Keyword::as_str).collect();
            new.push(Uid(target.deliver(&octets, message.flags, &keywords)));
            old.push(Uid(uid));
        }
        let uidvalidity = UidValidity(target.uidvalidity);
        for uid in old.iter().filter(|_| moved) {
            let mailbox = if same { self.named(into)? } else { &mut origin };
            mailbox.expunge(uid.0);
        }
        if !same {
            *self.identified(from)? = origin;
        }
        Ok(Changed::Copied {
            uidvalidity,
            from: old,
            to: new,
        })
    }

    /// A GUID that no mailbox has had.
    pub(super) fn fresh_guid(&mut self) -> Guid {
        self.guids += 1;
        Guid([self.guids; 16])
    }
}

impl Folder {
    fn within(&self, uids: &[UidRange]) -> Vec<u32> {
        let asked = |uid: &&u32| uids.iter().any(|range| range.contains(Uid(**uid)));
        self.messages.keys().filter(asked).copied().collect()
    }

    fn append(&mut self, messages: Vec<NewMessage>) -> Result {
        let (mut uids, mut guids) = (Vec::new(), Vec::new());
        for message in messages {
            let keywords: Vec<&str> = message.keywords.iter().map(Keyword::as_str).collect();
            let uid = self.deliver(&message.octets, message.flags, &keywords);
            let detail = &mut self.messages.get_mut(&uid).unwrap().detail;
            detail.internal_date = message.internal_date.unwrap_or(detail.internal_date);
            guids.push(detail.guid.clone());
            uids.push(Uid(uid));
        }
        let uidvalidity = UidValidity(self.uidvalidity);
        Ok(Changed::Appended {
            uidvalidity,
            uids,
            guids,
        })
    }

    fn store(
        &mut self,
        uids: &[UidRange],
        (verb, flags, keywords): (FlagVerb, Flags, &[Keyword]),
        since: Option<Modseq>,
    ) -> Changed {
        let (mut stored, mut modified) = (Vec::new(), Vec::new());
        let modseq = Modseq(self.highest_modseq + 1);
        for uid in self.within(uids) {
            let message = self.messages.get_mut(&uid).unwrap();
            if since.is_some_and(|since| message.modseq > since) {
                modified.push(Uid(uid));
                continue;
            }
            stored.push(Uid(uid));
            let mut fresh = message.keywords.clone();
            fresh.retain(|known| verb == FlagVerb::Add || (verb == FlagVerb::Remove && !keywords.contains(known)));
            let added = keywords.iter().filter(|_| verb != FlagVerb::Remove);
            let added: Vec<_> = added.filter(|word| !fresh.contains(word)).cloned().collect();
            fresh.extend(added);
            let (add, remove) = match verb {
                FlagVerb::Add => (flags, Flags::NONE),
                FlagVerb::Remove => (Flags::NONE, flags),
                FlagVerb::Replace => (flags, Flags::from_bits(u8::MAX)),
            };
            let changed = message.flags.changed(add, remove);
            if changed != message.flags || fresh != message.keywords {
                (message.flags, message.keywords, message.modseq) = (changed, fresh, modseq);
                self.highest_modseq = modseq.0;
            }
        }
        Changed::Stored {
            uids: stored,
            modseq,
            modified,
        }
    }

    fn expunge_deleted(&mut self, uids: Option<&[UidRange]>) -> Changed {
        let all: Vec<u32> = self.messages.keys().copied().collect();
        let mut going = uids.map_or(all, |uids| self.within(uids));
        going.retain(|uid| self.messages[uid].flags.contains(Flags::DELETED));
        going.iter().for_each(|uid| self.expunge(*uid));
        Changed::Expunged {
            uids: going.into_iter().map(Uid).collect(),
            modseq: Modseq(self.highest_modseq),
        }
    }
}

/// A row of a name that can't be selected.
pub(super) fn noselect(levels: &[&str]) -> TreeRow {
    TreeRow {
        name: MailboxName::of(levels.iter().copied()),
        guid: None,
        stale: None,
        special_use: None,
    }
}
