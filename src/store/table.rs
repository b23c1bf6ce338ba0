//! What a source remembers between restarts: each user's tree as it was last emitted, and how far each mailbox's log
//! was read. A pure fold over the emitted payloads: a checkpoint plus the frames after it give the same table again.

mod bases;

pub use bases::OpenBase;

use super::flat_map::FlatMap;
use crate::codec::CodecError;
use crate::codec::packed;
use crate::limits::TABLE_PART_BYTES_MAX;
use crate::op::{
    AttributeFingerprint, AttributeKind, AttributeScope, Guid, Lineage, Lsn, MailboxId, MailboxName, Namespaces,
    NodeName, Payload, SourcePosition, Stale, TreeChange, Unselectable, UserName,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// First byte of each checkpoint part.
const PART_VERSION: u8 = 1;

/// One fact of the table, as a checkpoint part holds it. Its kind is a number, because bytes may not depend on the
/// order in an enum; what a kind has no use for is empty.
#[derive(Debug, Serialize, Deserialize)]
struct Fact {
    user: UserName,
    kind: u8,
    guid: Guid,
    name: MailboxName,
    position: Option<SourcePosition>,
    special_use: Option<String>,
    attributes: Option<(AttributeKind, AttributeFingerprint)>,
    base: Option<(NodeName, Lsn)>,
}

const USER: u8 = 0;
const MAILBOX: u8 = 1;
const NOSELECT: u8 = 2;
const SUBSCRIBED: u8 = 3;
const STALE: u8 = 4;
const STALE_WITH_CODE: u8 = 5;
const ATTRIBUTES_OF_MAILBOX: u8 = 6;
const ATTRIBUTES_OF_USER: u8 = 7;
const MAILBOX_AFTER_REPAIR: u8 = 8;
const NAMESPACES: u8 = 9;
/// A base that was begun.
const BASE: u8 = 10;
/// A user of a base whose tree is not out, one whose tree is, and a mailbox of his that was not listed.
const BASE_USER: u8 = 11;
const BASE_TREE: u8 = 12;
const BASE_MAILBOX: u8 = 13;
/// Everything was listed once, and the stream says so.
const WHOLE: u8 = 14;

/// A checkpoint can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Written by another version of the program.
    #[error("checkpoint part of unknown version {0}")]
    Version(u8),
    /// A fact of unknown kind, or without what its kind needs.
    #[error("checkpoint with a fact of unknown kind {0}")]
    Fact(u8),
    /// The bytes are no facts.
    #[error("checkpoint part: {0}")]
    Bytes(#[from] CodecError),
}

/// One mailbox, as last emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRow {
    /// Its name.
    pub name: MailboxName,
    /// Its special use.
    pub special_use: Option<String>,
    /// How far its log was emitted; none until its first `state`.
    pub position: Option<SourcePosition>,
    /// True where the last list had a broken lineage: a repair may not have been over, so it is listed once more after a
    /// restart.
    pub after_repair: bool,
}

impl MailboxRow {
    fn kind(&self) -> u8 {
        if self.after_repair {
            MAILBOX_AFTER_REPAIR
        } else {
            MAILBOX
        }
    }
}

/// One user, as last emitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRow {
    /// Selectable mailboxes.
    pub mailboxes: FlatMap<Guid, MailboxRow>,
    /// How names are written.
    pub namespaces: Namespaces,
    /// Names that are listed and can't be selected, and how they are listed.
    pub unselectable: BTreeMap<MailboxName, Unselectable>,
    /// Subscribed names.
    pub subscriptions: BTreeSet<MailboxName>,
    /// What each scope held that held any attributes.
    pub attributes: BTreeMap<AttributeScope, AttributeFingerprint>,
}

/// The whole memory of a source: about 200 bytes a mailbox, no messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureTable {
    users: BTreeMap<UserName, UserRow>,
    /// Of all users.
    mailboxes: u64,
    bases: bases::Bases,
    /// Everything has been listed once, and the stream says so.
    whole: bool,
}

impl CaptureTable {
    /// True once the stream has said that everything was listed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// What is remembered of a user; none before its first tree was emitted.
    #[must_use]
    pub fn user(&self, user: &UserName) -> Option<&UserRow> {
        self.users.get(user)
    }

    /// Every remembered user.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &UserRow)> {
        self.users.iter()
    }

    /// What is remembered of a mailbox.
    #[must_use]
    pub fn mailbox(&self, id: &MailboxId) -> Option<&MailboxRow> {
        self.users.get(&id.user)?.mailboxes.get(&id.guid)
    }

    /// Number of mailboxes of all users.
    #[must_use]
    pub fn mailboxes(&self) -> u64 {
        self.mailboxes
    }

    /// The base that is being made for a peer.
    #[must_use]
    pub fn base(&self, peer: &NodeName) -> Option<&OpenBase> {
        self.bases.get(peer)
    }

    /// A new stream begins: what was made of bases is lost with the old one.
    pub fn forget_bases(&mut self) {
        self.bases.clear();
    }

    /// Every base that is being made.
    pub fn bases(&self) -> impl Iterator<Item = (&NodeName, &OpenBase)> {
        self.bases.iter()
    }

    /// Takes in what was emitted for one peer: it says nothing new about the source, but how far that peer's base is.
    pub fn apply_for(&mut self, peer: &NodeName, lsn: Lsn, payload: &Payload) {
        match payload {
            Payload::Base(_) => {
                let open = OpenBase::begin(lsn, self.users.keys());
                self.bases.insert(peer.clone(), open);
            }
            Payload::BaseEnd(_) => drop(self.bases.remove(peer)),
            payload => {
                if let Some(open) = self.bases.get_mut(peer) {
                    open.apply(payload);
                }
            }
        }
    }

    /// Takes in one payload that was emitted for all, in the order of emission.
    pub fn apply(&mut self, payload: &Payload) {
        match payload {
            Payload::Mailbox(txn) => {
                self.advance(&txn.mailbox, &txn.position);
            }
            Payload::State(chunk) => {
                if let Some(row) = self.advance(&chunk.mailbox, &chunk.position) {
                    row.after_repair = chunk.lineage == Lineage::Broken;
                }
            }
            Payload::Tree(change) => self.change_tree(change),
            Payload::Attributes(change) => self.change_attributes(&change.user, change.scope, change.fingerprint),
            Payload::BaseEnd(_) => self.whole = true,
            Payload::Epoch(_) | Payload::Base(_) | Payload::Digest(_) | Payload::TreeDigest(_) | Payload::Merged(_) => {
            }
        }
    }

    /// The table as checkpoint parts, each of at most [`TABLE_PART_BYTES_MAX`] bytes: a version byte, then facts. One is
    /// made when it is asked for: all of them together are larger than the table.
    ///
    /// # Errors
    /// A fact is larger than the codec's bound.
    pub fn parts(&self) -> impl Iterator<Item = Result<Vec<u8>, CodecError>> {
        let facts = self.facts().chain(self.facts_of_bases()).chain(self.fact_of_whole());
        let mut encoded = facts.map(|fact| packed::encode(&fact)).peekable();
        let mut made = 0_usize;
        std::iter::from_fn(move || {
            // An empty table is one part, too.
            if made > 0 && encoded.peek().is_none() {
                return None;
            }
            made = made.saturating_add(1);
            let mut part = vec![PART_VERSION];
            // A long fact is a part of its own.
            let room = |part: &[u8], fact: &[u8]| {
                part.len() <= 1 || part.len().saturating_add(fact.len()) <= TABLE_PART_BYTES_MAX
            };
            while let Some(fact) = encoded.next_if(|fact| fact.as_ref().map_or(true, |fact| room(&part, fact))) {
                match fact {
                    Ok(fact) => part.extend(fact),
                    Err(error) => return Some(Err(error)),
                }
            }
            Some(Ok(part))
        })
    }

    /// Reads what [`Self::parts`] made.
    ///
    /// # Errors
    /// An unknown version, or bytes that are no facts.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TableError> {
        let mut table = Self::default();
        for part in parts {
            let (version, mut rest) = part.split_first().ok_or(TableError::Version(0))?;
            if *version != PART_VERSION {
                return Err(TableError::Version(*version));
            }
            while !rest.is_empty() {
                let (fact, used) = packed::decode_prefix(rest)?;
                table.take(fact)?;
                rest = rest.get(used..).unwrap_or_default();
            }
        }
        Ok(table)
    }

    fn facts(&self) -> impl Iterator<Item = Fact> {
        self.users.iter().flat_map(|(user, row)| {
            let fact = |kind, guid, name: &MailboxName, position| Fact {
                user: user.clone(),
                kind,
                guid,
                name: name.clone(),
                position,
                special_use: None,
                attributes: None,
                base: None,
            };
            let namespaces = row.namespaces.to_levels();
            let mut facts = vec![
                fact(USER, Guid::default(), &MailboxName::default(), None),
                fact(NAMESPACES, Guid::default(), &namespaces, None),
            ];
            let mailboxes = row.mailboxes.iter();
            facts.extend(mailboxes.map(|(guid, m)| Fact {
                special_use: m.special_use.clone(),
                ..fact(m.kind(), *guid, &m.name, m.position.clone())
            }));
            let unselectable = row.unselectable.iter();
            facts.extend(unselectable.map(|(name, how)| match how.stale() {
                None => fact(NOSELECT, Guid::default(), name, None),
                Some(stale) if stale.nonexistent_code => fact(STALE_WITH_CODE, stale.guid, name, None),
                Some(stale) => fact(STALE, stale.guid, name, None),
            }));
            facts.extend(
                row.subscriptions
                    .iter()
                    .map(|name| fact(SUBSCRIBED, Guid::default(), name, None)),
            );
            facts.extend(row.attributes.iter().map(|(scope, fingerprint)| {
                let (kind, guid) = match scope.mailbox {
                    Some(guid) => (ATTRIBUTES_OF_MAILBOX, guid),
                    None => (ATTRIBUTES_OF_USER, Guid::default()),
                };
                Fact {
                    attributes: Some((scope.kind, *fingerprint)),
                    ..fact(kind, guid, &MailboxName::default(), None)
                }
            }));
            facts
        })
    }

    fn facts_of_bases(&self) -> impl Iterator<Item = Fact> {
        self.bases.iter().flat_map(|(peer, open)| {
            let fact = |kind, user: &UserName, guid| Fact {
                user: user.clone(),
                kind,
                guid,
                name: MailboxName::default(),
                position: None,
                special_use: None,
                attributes: None,
                base: Some((peer.clone(), open.begun)),
            };
            let nobody = UserName::default();
            let mut facts = vec![fact(BASE, &nobody, Guid::default())];
            for (user, mailboxes) in open.left() {
                let kind = if mailboxes.is_some() { BASE_TREE } else { BASE_USER };
                facts.push(fact(kind, user, Guid::default()));
                let guids = mailboxes.into_iter().flatten();
                facts.extend(guids.map(|guid| fact(BASE_MAILBOX, user, *guid)));
            }
            facts
        })
    }

    fn fact_of_whole(&self) -> Option<Fact> {
        self.whole.then(|| Fact {
            user: UserName::default(),
            kind: WHOLE,
            guid: Guid::default(),
            name: MailboxName::default(),
            position: None,
            special_use: None,
            attributes: None,
            base: None,
        })
    }

    fn take_base(&mut self, fact: Fact) -> Result<(), TableError> {
        let (peer, begun) = fact.base.ok_or(TableError::Fact(fact.kind))?;
        let open = self.bases.entry(peer).or_default();
        open.begun = begun;
        match fact.kind {
            BASE => {}
            BASE_MAILBOX => open.restore(fact.user, true, Some(fact.guid)),
            kind => open.restore(fact.user, kind == BASE_TREE, None),
        }
        Ok(())
    }

    fn take(&mut self, fact: Fact) -> Result<(), TableError> {
        if matches!(fact.kind, BASE | BASE_USER | BASE_TREE | BASE_MAILBOX) {
            return self.take_base(fact);
        }
        if fact.kind == WHOLE {
            self.whole = true;
            return Ok(());
        }
        let row = self.users.entry(fact.user).or_default();
        let (name, position, guid) = (fact.name, fact.position, fact.guid);
        let stale = |nonexistent_code| Unselectable::Stale(Stale { guid, nonexistent_code });
        match fact.kind {
            USER => {}
            NAMESPACES => row.namespaces = Namespaces::from_levels(name).ok_or(TableError::Fact(NAMESPACES))?,
            MAILBOX | MAILBOX_AFTER_REPAIR => {
                let special_use = fact.special_use;
                let row_now = MailboxRow {
                    name,
                    special_use,
                    position,
                    after_repair: fact.kind == MAILBOX_AFTER_REPAIR,
                };
                let before = row.mailboxes.insert(guid, row_now);
                self.mailboxes = self.mailboxes.saturating_add(u64::from(before.is_none()));
            }
            ATTRIBUTES_OF_MAILBOX | ATTRIBUTES_OF_USER => {
                let (kind, fingerprint) = fact.attributes.ok_or(TableError::Fact(fact.kind))?;
                let mailbox = (fact.kind == ATTRIBUTES_OF_MAILBOX).then_some(guid);
                row.attributes.insert(AttributeScope { mailbox, kind }, fingerprint);
            }
            NOSELECT => drop(row.unselectable.insert(name, Unselectable::Noselect)),
            STALE => drop(row.unselectable.insert(name, stale(false))),
            STALE_WITH_CODE => drop(row.unselectable.insert(name, stale(true))),
            SUBSCRIBED => drop(row.subscriptions.insert(name)),
            other => return Err(TableError::Fact(other)),
        }
        Ok(())
    }

    fn advance(&mut self, id: &MailboxId, position: &SourcePosition) -> Option<&mut MailboxRow> {
        let row = self.users.get_mut(&id.user)?.mailboxes.get_mut(&id.guid)?;
        row.position = Some(position.clone());
        Some(row)
    }

    fn change_attributes(&mut self, user: &UserName, scope: AttributeScope, fingerprint: AttributeFingerprint) {
        let row = self.users.entry(user.clone()).or_default();
        if fingerprint == AttributeFingerprint::default() {
            row.attributes.remove(&scope);
        } else {
            row.attributes.insert(scope, fingerprint);
        }
    }

    /// `complete` is not looked at: a source names every disappearance in the change itself, and a long change may
    /// arrive in parts of which only one is marked.
    fn change_tree(&mut self, change: &TreeChange) {
        let row = self.users.entry(change.user.clone()).or_default();
        if let Some(namespaces) = &change.namespaces {
            row.namespaces = namespaces.clone();
        }
        for mailbox in &change.mailboxes {
            let Ok(name) = &mailbox.name else {
                let gone = row.mailboxes.remove(&mailbox.guid).is_some();
                self.mailboxes = self.mailboxes.saturating_sub(u64::from(gone));
                row.attributes.retain(|scope, _| scope.mailbox != Some(mailbox.guid));
                continue;
            };
            if let Some(known) = row.mailboxes.get_mut(&mailbox.guid) {
                known.name = name.clone();
                known.special_use.clone_from(&mailbox.special_use);
                continue;
            }
            let new = MailboxRow {
                name: name.clone(),
                special_use: mailbox.special_use.clone(),
                position: None,
                after_repair: false,
            };
            row.mailboxes.insert(mailbox.guid, new);
            self.mailboxes = self.mailboxes.saturating_add(1);
        }
        for (name, how) in &change.unselectable {
            match how {
                Some(how) => row.unselectable.insert(name.clone(), *how),
                None => row.unselectable.remove(name),
            };
        }
        for (name, present) in &change.subscriptions {
            if *present {
                row.subscriptions.insert(name.clone());
            } else {
                row.subscriptions.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
