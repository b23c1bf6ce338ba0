//! What IMAP says of each change, in memory and without operations.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) octets: String,
    pub(super) flags: Flags,
    /// In lower case.
    pub(super) keywords: BTreeSet<String>,
    pub(super) modseq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub(super) uidnext: u32,
    pub(super) highest: u64,
    pub(super) mail: BTreeMap<u32, Mail>,
    /// Every UID that was ever used.
    pub(super) used: BTreeSet<u32>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            uidnext: 1,
            highest: 1,
            mail: BTreeMap::new(),
            used: BTreeSet::new(),
        }
    }
}

impl Mailbox {
    fn put(&mut self, mail: Mail, modseq: u64) -> u32 {
        let uid = self.uidnext;
        assert!(self.used.insert(uid), "a UID comes again");
        self.uidnext += 1;
        self.highest = modseq;
        self.mail.insert(uid, Mail { modseq, ..mail });
        uid
    }

    fn take(&mut self, uids: &[u32], modseq: u64) {
        uids.iter().for_each(|uid| assert!(self.mail.remove(uid).is_some()));
        if !uids.is_empty() {
            self.highest = modseq;
        }
    }

    fn found(&self, ranges: &[UidRange]) -> Vec<u32> {
        let wanted = |uid: &&u32| ranges.iter().any(|range| range.contains(Uid(**uid)));
        self.mail.keys().filter(wanted).copied().collect()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) boxes: BTreeMap<MailboxName, Mailbox>,
    pub(super) noselect: BTreeSet<MailboxName>,
    pub(super) subscribed: BTreeSet<MailboxName>,
}

impl Account {
    fn is_listed(&self, name: &MailboxName) -> bool {
        self.boxes.contains_key(name) || self.noselect.contains(name)
    }

    fn has_below(&self, name: &MailboxName) -> bool {
        self.boxes
            .keys()
            .chain(&self.noselect)
            .any(|other| other.is_below(name))
    }

    fn inbox(&mut self) {
        self.boxes.entry(MailboxName::inbox()).or_default();
    }

    /// Names above a listed one are listed; those that stand above nothing are not.
    fn settle(&mut self) {
        let listed: Vec<MailboxName> = self.boxes.keys().chain(&self.noselect).cloned().collect();
        for name in listed {
            for levels in 1..name.0.len() {
                let above = MailboxName(name.0[..levels].to_vec());
                if above != MailboxName::inbox() && !self.boxes.contains_key(&above) {
                    self.noselect.insert(above);
                }
            }
        }
        loop {
            let empty = self.noselect.iter().find(|name| !self.has_below(name)).cloned();
            match empty {
                Some(name) => self.noselect.remove(&name),
                None => return,
            };
        }
    }

    pub(super) fn create(&mut self, name: &MailboxName) -> Result<(), Reason> {
        if self.boxes.contains_key(name) {
            return Err(Reason::AlreadyExists);
        }
        self.noselect.remove(name);
        self.boxes.insert(name.clone(), Mailbox::default());
        self.settle();
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &MailboxName) -> Result<(), Reason> {
        match (name == &MailboxName::inbox(), self.noselect.contains(name)) {
            (true, _) | (_, true) => return Err(Reason::Cannot),
            _ if self.boxes.remove(name).is_none() => return Err(Reason::Nonexistent),
            _ => {}
        }
        if self.has_below(name) {
            self.noselect.insert(name.clone());
        }
        self.settle();
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result<(), Reason> {
        if *from == MailboxName::inbox() {
            return self.rename_inbox(to);
        }
        if !self.is_listed(from) {
            return Err(Reason::Nonexistent);
        }
        if *to == MailboxName::inbox() || self.is_listed(to) {
            return Err(Reason::AlreadyExists);
        }
        if to.is_below(from) {
            return Err(Reason::Cannot);
        }
        let moved = |name: MailboxName| match name == *from || name.is_below(from) {
            true => MailboxName([&to.0, &name.0[from.0.len()..]].concat()),
            false => name,
        };
        self.boxes = std::mem::take(&mut self.boxes)
            .into_iter()
            .map(|(name, mailbox)| (moved(name), mailbox))
            .collect();
        self.noselect = std::mem::take(&mut self.noselect).into_iter().map(moved).collect();
        self.settle();
        Ok(())
    }

    fn rename_inbox(&mut self, to: &MailboxName) -> Result<(), Reason> {
        let inbox = MailboxName::inbox();
        if !self.boxes.contains_key(&inbox) {
            return Err(Reason::TryCreate);
        }
        self.create(to)?;
        let all: Vec<u32> = self.boxes[&inbox].mail.keys().copied().collect();
        self.copy(&inbox, &all, to, true);
        Ok(())
    }

    fn copy(&mut self, from: &MailboxName, uids: &[u32], to: &MailboxName, moved: bool) -> Vec<u32> {
        let modseq = self.boxes[to].highest + 1;
        let mail: Vec<Mail> = uids.iter().map(|uid| self.boxes[from].mail[uid].clone()).collect();
        let target = self.boxes.get_mut(to).unwrap();
        let new = mail.into_iter().map(|mail| target.put(mail, modseq)).collect();
        if moved {
            let source = self.boxes.get_mut(from).unwrap();
            let modseq = if from == to { modseq } else { source.highest + 1 };
            source.take(uids, modseq);
        }
        new
    }

    fn arrive(&mut self, name: &MailboxName, messages: &[NewMessage]) -> Vec<u32> {
        let mailbox = self.boxes.get_mut(name).unwrap();
        let modseq = mailbox.highest + 1;
        let mail = |message: &NewMessage| Mail {
            octets: String::from_utf8(message.octets.to_vec()).unwrap(),
            flags: message.flags,
            keywords: lower(&message.keywords),
            modseq,
        };
        messages
            .iter()
            .map(|message| mailbox.put(mail(message), modseq))
            .collect()
    }
}

fn lower(keywords: &[Keyword]) -> BTreeSet<String> {
    keywords.iter().map(|keyword| keyword.0.to_ascii_lowercase()).collect()
}

/// What of an outcome can be foreseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Foreseen {
    Appended(Vec<u32>),
    Stored(Vec<u32>, u64, Vec<u32>),
    Expunged(Vec<u32>, u64),
    Copied(Vec<u32>, Vec<u32>),
    Done,
    Refused(Reason),
}

impl Foreseen {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let numbers = |uids: &[Uid]| uids.iter().map(|uid| uid.0).collect();
        match outcome {
            Err(refused) => Self::Refused(refused.reason),
            Ok(Changed::Appended { uids, .. }) => Self::Appended(numbers(uids)),
            Ok(Changed::Stored { uids, modseq, modified }) => Self::Stored(numbers(uids), modseq.0, numbers(modified)),
            Ok(Changed::Expunged { uids, modseq }) => Self::Expunged(numbers(uids), modseq.0),
            Ok(Changed::Copied { from, to, .. }) => Self::Copied(numbers(from), numbers(to)),
            Ok(Changed::Done(_) | Changed::Told(_)) => Self::Done,
            Ok(other @ (Changed::Merged(_) | Changed::Lacks(_))) => panic!("{other:?} of a client's change"),
        }
    }
}

fn done(result: Result<(), Reason>) -> Foreseen {
    result.map_or_else(Foreseen::Refused, |()| Foreseen::Done)
}

/// Makes a change; a selected mailbox is named by what it is called now.
pub(super) fn foresee(account: &mut Account, change: &Change, selected: Option<&MailboxName>) -> Foreseen {
    match change {
        Change::Append { mailbox, messages, .. } => {
            if *mailbox == MailboxName::inbox() {
                account.inbox();
            }
            match account.boxes.contains_key(mailbox) {
                true => Foreseen::Appended(account.arrive(mailbox, messages)),
                false => Foreseen::Refused(Reason::TryCreate),
            }
        }
        Change::Deliver { mailbox, message, .. } => {
            let (inbox, is_there) = (MailboxName::inbox(), account.boxes.contains_key(mailbox));
            if !is_there {
                account.inbox();
            }
            let into = if is_there { mailbox } else { &inbox };
            Foreseen::Appended(account.arrive(into, std::slice::from_ref(message)))
        }
        Change::Create { name, .. } => done(account.create(name)),
        Change::Delete { name, .. } => done(account.delete(name)),
        Change::Rename { from, to, .. } => done(account.rename(from, to)),
        Change::Subscribe { name, subscribed, .. } => {
            match subscribed {
                true => account.subscribed.insert(name.clone()),
                false => account.subscribed.remove(name),
            };
            Foreseen::Done
        }
        Change::Attributes { .. } => Foreseen::Done,
        _ => match selected {
            Some(selected) => in_mailbox(account, change, selected),
            None => Foreseen::Refused(Reason::NoPermission),
        },
    }
}

fn in_mailbox(account: &mut Account, change: &Change, selected: &MailboxName) -> Foreseen {
    match change {
        Change::Store { .. } => stored(account.boxes.get_mut(selected).unwrap(), change),
        Change::Expunge { uids, .. } => {
            let mailbox = account.boxes.get_mut(selected).unwrap();
            let among = mailbox.found(uids.as_deref().unwrap_or(&[UidRange::ALL]));
            let deleted = |uid: &u32| mailbox.mail[uid].flags.contains(Flags::DELETED);
            let uids: Vec<u32> = among.into_iter().filter(deleted).collect();
            mailbox.take(&uids, mailbox.highest + 1);
            Foreseen::Expunged(uids, mailbox.highest)
        }
        Change::Copy { uids, into, moved, .. } => {
            if !account.boxes.contains_key(into) {
                return Foreseen::Refused(Reason::TryCreate);
            }
            let from = account.boxes[selected].found(uids);
            let to = account.copy(selected, &from, into, *moved);
            Foreseen::Copied(from, to)
        }
        Change::Replace { uid, into, message, .. } => {
            if !account.boxes[selected].mail.contains_key(&uid.0) {
                return Foreseen::Refused(Reason::Nonexistent);
            }
            if !account.boxes.contains_key(into) {
                return Foreseen::Refused(Reason::TryCreate);
            }
            let new = account.arrive(into, std::slice::from_ref(message));
            let source = account.boxes.get_mut(selected).unwrap();
            let modseq = if into == selected {
                source.highest
            } else {
                source.highest + 1
            };
            source.take(&[uid.0], modseq);
            Foreseen::Appended(new)
        }
        other => panic!("{other:?} is of no mailbox"),
    }
}

fn stored(mailbox: &mut Mailbox, change: &Change) -> Foreseen {
    let Change::Store {
        uids,
        verb,
        flags,
        keywords,
        unchanged_since,
        ..
    } = change
    else {
        panic!("no STORE")
    };
    let (found, modseq, keywords) = (mailbox.found(uids), mailbox.highest + 1, lower(keywords));
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for uid in found {
        let mail = mailbox.mail.get_mut(&uid).unwrap();
        if unchanged_since.is_some_and(|since| mail.modseq > since.0) {
            left.push(uid);
            continue;
        }
        taken.push(uid);
        let before = mail.clone();
        match verb {
            FlagVerb::Add => {
                mail.flags = mail.flags.with(*flags);
                mail.keywords.extend(keywords.clone());
            }
            FlagVerb::Remove => {
                mail.flags = mail.flags.changed(Flags::NONE, *flags);
                mail.keywords.retain(|keyword| !keywords.contains(keyword));
            }
            FlagVerb::Replace => (mail.flags, mail.keywords) = (*flags, keywords.clone()),
        }
        if *mail != before {
            mail.modseq = modseq;
            mailbox.highest = modseq;
        }
    }
    Foreseen::Stored(taken, mailbox.highest, left)
}
