//! Long work over all mailboxes, one mailbox a step: a verification, or a base for a peer.
//!
//! Both need a mailbox's list *at the position that was emitted*, or the copy would compare it with (or put it beside)
//! other transactions. So the logs are read to their end first, then the list is read afresh, and only where both end at
//! the same place it goes out; a busy mailbox is tried again.

use super::catalogue::{self, Evidence, Listing};
use super::folder::Folder;
use super::identity::Identities;
use super::mailbox::{FullList, list};
use super::shared::Shared;
use super::stored::{Look, Want};
use super::transaction::RawAppend;
use super::user::UserCapture;
use crate::op::{
    Append, BaseStart, BodyHash, Guid, Lineage, Lsn, MailboxDigest, MailboxId, MailboxName, NodeName, Payload,
    SourcePosition, StateChunk, TreeChange, TreeDigest, TreeMailbox, UserName,
};
use crate::store::source::{Captured, LeftOut, OutletError, Reply, Verified};
use crate::store::table::{MailboxRow, OpenBase, UserRow};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A mailbox that changes faster than it can be listed is left out after so many attempts.
const ATTEMPTS_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(2);

/// What is done with each mailbox.
enum Kind {
    Verify {
        deep: bool,
        request: u64,
        /// Of a repair: which mailboxes.
        repair: Option<Wanted>,
        reply: Reply<Verified>,
    },
    Base {
        peer: NodeName,
        reason: String,
        begun: Option<Lsn>,
    },
}

/// Mailboxes to repair: one by name (levels joined by `/`), or all of a user with his tree.
type Wanted = Option<String>;

/// Long work under way.
pub struct Job {
    kind: Kind,
    users: VecDeque<UserName>,
    mailboxes: VecDeque<MailboxId>,
    attempts: u32,
    verified: Verified,
}

/// What the next step is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Focus {
    /// A user's tree and every log of his.
    Tree(UserName),
    /// One mailbox.
    Mailbox(MailboxId),
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    More,
    /// Call [`Job::finish`].
    Done,
}

impl Job {
    /// Digests of these users' trees and mailboxes.
    #[must_use]
    pub fn verify(users: VecDeque<UserName>, deep: bool, request: u64, reply: Reply<Verified>) -> Self {
        let kind = Kind::Verify {
            deep,
            request,
            repair: None,
            reply,
        };
        Self::new(kind, users)
    }

    /// Behind each digest the list itself: what differs is said, and then put right.
    #[must_use]
    pub fn repairing(mut self, mailbox: Wanted) -> Self {
        if let Kind::Verify { repair, .. } = &mut self.kind {
            *repair = Some(mailbox);
        }
        self
    }

    /// Everything, for one peer.
    #[must_use]
    pub fn base(peer: NodeName, reason: String) -> Self {
        let kind = Kind::Base {
            peer,
            reason,
            begun: None,
        };
        Self::new(kind, VecDeque::new())
    }

    /// What is left of a base that was begun before a restart.
    #[must_use]
    pub fn rest_of_base(peer: NodeName, open: &OpenBase) -> Self {
        let users = open.users().cloned().collect();
        let kind = Kind::Base {
            peer,
            reason: String::new(),
            begun: Some(open.begun),
        };
        Self::new(kind, users)
    }

    /// For which peer alone it is done.
    #[must_use]
    pub fn peer(&self) -> Option<&NodeName> {
        match &self.kind {
            Kind::Base { peer, .. } => Some(peer),
            Kind::Verify { .. } => None,
        }
    }

    /// Nobody takes it any more: only its end is left to be emitted.
    pub fn abandon(&mut self) {
        (self.users, self.mailboxes) = Default::default();
    }

    fn new(kind: Kind, users: VecDeque<UserName>) -> Self {
        Self {
            kind,
            users,
            mailboxes: VecDeque::new(),
            attempts: 0,
            verified: Verified::default(),
        }
    }

    /// What must be read to its end before the next step.
    #[must_use]
    pub fn focus(&self) -> Option<Focus> {
        let mailbox = self.mailboxes.front().cloned().map(Focus::Mailbox);
        mailbox.or_else(|| self.users.front().cloned().map(Focus::Tree))
    }

    /// Answers.
    pub fn finish(self, last: Lsn) {
        if let Kind::Verify { reply, .. } = self.kind {
            reply(Ok(Verified { last, ..self.verified }));
        }
    }

    /// Does the next mailbox or tree.
    ///
    /// # Errors
    /// The journal takes nothing more.
    pub fn step(
        &mut self,
        users: &mut BTreeMap<UserName, Box<UserCapture>>,
        shared: &mut Shared<'_>,
    ) -> Result<Progress, OutletError> {
        if let Kind::Base {
            peer,
            reason,
            begun: begun @ None,
        } = &mut self.kind
        {
            let base = Payload::Base(BaseStart { reason: reason.clone() });
            let peer = peer.clone();
            shared.emit(vec![Captured {
                payloads: vec![base],
                peer: Some(peer.clone()),
            }])?;
            *begun = Some(*shared.last);
            let open = shared.table.base(&peer);
            self.users = open.into_iter().flat_map(OpenBase::users).cloned().collect();
            return Ok(Progress::More);
        }
        if let Some(id) = self.mailboxes.front().cloned() {
            let done = match users.get_mut(&id.user) {
                Some(user) => self.mailbox(&id, user, shared)?,
                None => true,
            };
            let name = shared.table.mailbox(&id).map(|row| row.name.join('/'));
            let name = name.unwrap_or_else(|| id.guid.to_hex());
            self.advance(done, &id.user, &name, |job| drop(job.mailboxes.pop_front()));
            return Ok(Progress::More);
        }
        if let Some(name) = self.users.front().cloned() {
            let done = match users.get_mut(&name) {
                Some(user) => self.tree(&name, user, shared)?,
                None => true,
            };
            self.advance(done, &name, "", |job| drop(job.users.pop_front()));
            return Ok(Progress::More);
        }
        if let Kind::Base {
            peer,
            begun: Some(begun),
            ..
        } = &self.kind
        {
            let end = Captured {
                payloads: vec![Payload::BaseEnd(*begun)],
                peer: Some(peer.clone()),
            };
            shared.emit(vec![end])?;
        }
        Ok(Progress::Done)
    }

    /// Goes on to the next one, or tries this one again. A base must be whole: there it is tried again after the others.
    fn advance(&mut self, done: bool, user: &UserName, mailbox: &str, next: impl FnOnce(&mut Self)) {
        self.attempts = self.attempts.saturating_add(1);
        if !done && self.attempts < ATTEMPTS_MAX {
            std::thread::sleep(PAUSE);
            return;
        }
        self.attempts = 0;
        match &self.kind {
            Kind::Base { .. } if !done && !mailbox.is_empty() => self.mailboxes.rotate_left(1),
            Kind::Base { .. } if !done => self.users.rotate_left(1),
            _ => {
                if !done {
                    self.leave_out(user, mailbox, "changes too fast to be read at one moment");
                }
                next(self);
            }
        }
    }

    /// What can't be compared is said, not skipped.
    fn leave_out(&mut self, user: &UserName, mailbox: &str, why: &str) {
        if matches!(self.kind, Kind::Verify { .. }) {
            self.verified.left_out.push(LeftOut {
                user: user.clone(),
                mailbox: mailbox.to_owned(),
                why: why.to_owned(),
            });
        } else {
            tracing::warn!(user = %crate::telemetry::user(user), mailbox, why, "a mailbox is not part of the base");
        }
    }

    /// False: not at one moment.
    fn mailbox(
        &mut self,
        id: &MailboxId,
        user: &mut UserCapture,
        shared: &mut Shared<'_>,
    ) -> Result<bool, OutletError> {
        match shared.table.mailbox(id) {
            // Deleted meanwhile: nothing to compare.
            None => return Ok(true),
            Some(row) if row.position.is_none() => {
                self.leave_out(&id.user, &row.name.join('/'), "not listed yet");
                return Ok(true);
            }
            Some(row) if user.is_held(id.guid) => {
                self.leave_out(&id.user, &row.name.join('/'), "held for damage at the source");
                if let (Kind::Base { .. }, Some(mailbox)) = (&self.kind, user.mailbox(id.guid)) {
                    mailbox.list_next("a standby joined while the mailbox could not be read");
                }
                return Ok(true);
            }
            Some(_) => {}
        }
        let Some((list, mut folder, unattested)) = list_at_captured(id, user, shared.identities) else {
            return Ok(false);
        };
        let captured = match &self.kind {
            Kind::Verify {
                deep, request, repair, ..
            } => {
                let digest = digest(&list, *request, deep.then_some(&mut folder));
                let repair = repair.is_some().then(|| Payload::State(list_anew(list, unattested)));
                let payloads = std::iter::once(Payload::Digest(digest)).chain(repair);
                payloads.map(for_all).collect()
            }
            Kind::Base { peer, .. } => vec![Captured {
                payloads: vec![Payload::State(list_anew(list, unattested))],
                peer: Some(peer.clone()),
            }],
        };
        shared.emit(captured)?;
        self.verified.mailboxes = self.verified.mailboxes.saturating_add(1);
        Ok(true)
    }

    /// False: not at one moment.
    fn tree(&mut self, name: &UserName, user: &mut UserCapture, shared: &mut Shared<'_>) -> Result<bool, OutletError> {
        let Some(row) = shared.table.user(name) else {
            return Ok(true);
        };
        let mut unread_attributes = Vec::new();
        let mut left = None;
        let mut payloads = Vec::new();
        match &self.kind {
            Kind::Verify { request, repair, .. } => {
                let Ok(listing) = catalogue::list(user.root(), shared.identities) else {
                    return Ok(false);
                };
                let (steps, missing) = catalogue::difference(name, Some(row), &listing, &Evidence::default());
                if steps.before.is_some() || steps.after.is_some() || !missing.is_empty() {
                    return Ok(false);
                }
                let mut digest = tree_digest(name, &listing, *request);
                let (attributes, places) = user.attributes();
                let Some(unread) = attributes.add_to(row, places, &mut digest) else {
                    return Ok(false);
                };
                unread_attributes = unread;
                payloads.push(Payload::TreeDigest(digest));
                if matches!(repair, Some(None)) {
                    payloads.push(Payload::Tree(complete_tree(name, row)));
                }
            }
            Kind::Base { peer, .. } => {
                let (attributes, places) = user.attributes();
                let Some(changes) = attributes.complete(row, places) else {
                    return Ok(false);
                };
                left = shared.table.base(peer).and_then(|open| open.mailboxes(name).cloned());
                // The tree went before a restart; whether all attributes did is not known.
                if left.is_none() {
                    payloads.push(Payload::Tree(complete_tree(name, row)));
                }
                payloads.extend(changes.into_iter().map(Payload::Attributes));
            }
        }
        let id = |guid: &Guid| MailboxId {
            user: name.clone(),
            guid: *guid,
        };
        let wanted = |(guid, mailbox): &(&Guid, &MailboxRow)| match &self.kind {
            Kind::Verify {
                repair: Some(Some(name)),
                ..
            } => mailbox.name.join('/') == *name,
            _ => left.as_ref().is_none_or(|left| left.contains(*guid)),
        };
        let ids: VecDeque<MailboxId> = row.mailboxes.iter().filter(wanted).map(|(guid, _)| id(guid)).collect();
        let peer = match &self.kind {
            Kind::Base { peer, .. } => Some(peer.clone()),
            Kind::Verify { .. } => None,
        };
        let captured = payloads.into_iter().map(|payload| Captured {
            payloads: vec![payload],
            peer: peer.clone(),
        });
        shared.emit(captured.collect())?;
        for why in unread_attributes {
            self.leave_out(name, "", &why);
        }
        self.verified.trees = self.verified.trees.saturating_add(1);
        self.mailboxes = ids;
        Ok(true)
    }
}

fn for_all(payload: Payload) -> Captured {
    Captured {
        payloads: vec![payload],
        peer: None,
    }
}

/// The list again for a copy that this stream has followed the mailbox for all the time. But what left without a request
/// must not be attested now to a copy that was not told so.
fn list_anew(list: FullList, unattested: bool) -> StateChunk {
    let mut chunk = list.chunk;
    chunk.lineage = match chunk.lineage {
        Lineage::Initial if !unattested => Lineage::Whole,
        _ => Lineage::Broken,
    };
    chunk
}

/// The list as the files have it now, where nothing of it waits to go out; and whether messages left it without a
/// request.
fn list_at_captured(
    id: &MailboxId,
    user: &mut UserCapture,
    identities: &Identities,
) -> Option<(FullList, Folder, bool)> {
    if user.has_queued(id.guid) {
        return None;
    }
    let root = user.root().clone();
    let mailbox = user.mailbox(id.guid)?;
    let captured = mailbox.position();
    let directory = mailbox.directory().to_owned();
    let mut folder = Folder::new(id.clone(), &root, &directory);
    let found = list(&mut folder, &directory, identities, &BTreeMap::new()).ok()?;
    let repaired = found.chunk.position.repaired && !captured.repaired;
    same_place(&captured, &found.chunk.position).then_some((found, folder, captured.unattested || repaired))
}

fn same_place(one: &SourcePosition, other: &SourcePosition) -> bool {
    one.at_or_after(other) && other.at_or_after(one)
}

fn digest(list: &FullList, request: u64, deep: Option<&mut Folder>) -> MailboxDigest {
    let chunk = &list.chunk;
    let mut digest = MailboxDigest::empty(
        chunk.mailbox.clone(),
        chunk.uidvalidity,
        chunk.uidnext,
        chunk.highest_modseq,
    );
    digest.request = request;
    if !list.modseqs_exact {
        digest.modseqs = None;
    }
    chunk.messages.iter().for_each(|message| digest.add(message));
    if let Some(folder) = deep {
        digest.bodies = Some(crate::op::digest::Sum::default());
        for (message, raw) in chunk.messages.iter().zip(&list.raw) {
            add_body(&mut digest, message, raw, folder);
        }
    }
    digest
}

/// A body that can't be read is left out, as it is on the copy.
fn add_body(digest: &mut MailboxDigest, message: &Append, raw: &RawAppend, folder: &mut Folder) {
    if let Look::Found(stored) = folder.look(raw, Want::Body)
        && let Some(octets) = stored.body
    {
        digest.add_body(message.uid, &BodyHash(*blake3::hash(&octets).as_bytes()));
    }
}

fn tree_digest(user: &UserName, listing: &Listing, request: u64) -> TreeDigest {
    let mut digest = TreeDigest::empty(user.clone());
    digest.request = request;
    listing
        .mailboxes
        .iter()
        .for_each(|(guid, found)| digest.add(b'm', &guid.0, &found.name));
    for (guid, found) in &listing.mailboxes {
        if let Some(special) = &found.special_use {
            digest.add(b'u', &guid.0, &MailboxName::of([special]));
        }
    }
    digest.add(b'h', &[], &listing.namespaces.to_levels());
    for (name, how) in &listing.unselectable {
        digest.add(b'n', &how.to_mark(), name);
    }
    listing
        .subscriptions
        .iter()
        .for_each(|name| digest.add(b's', &[], name));
    digest
}

fn complete_tree(user: &UserName, row: &UserRow) -> TreeChange {
    let mailbox = |(guid, row): (&Guid, &MailboxRow)| TreeMailbox {
        guid: *guid,
        name: Ok(row.name.clone()),
        special_use: row.special_use.clone(),
    };
    TreeChange {
        user: user.clone(),
        complete: true,
        namespaces: Some(row.namespaces.clone()),
        mailboxes: row.mailboxes.iter().map(mailbox).collect(),
        unselectable: row
            .unselectable
            .iter()
            .map(|(name, how)| (name.clone(), Some(*how)))
            .collect(),
        subscriptions: row.subscriptions.iter().map(|name| (name.clone(), true)).collect(),
    }
}
