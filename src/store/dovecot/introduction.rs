//! The first list of a mailbox: its messages are offered a few at a time, so that their bodies are fetched before the
//! `state` that lists them is emitted, and other mailboxes' changes go on meanwhile.

use super::folder::Folder;
use super::identity::Identities;
use super::mail_root::MailRoot;
use super::mailbox::{FullList, list};
use super::snapshot::ReadError;
use crate::limits::{ASIDE_INDEX_BYTES, OFFER_BYTES, OFFER_MESSAGES, OFFER_SIZE_GUESS, OFFER_SMALL_BYTES};
use crate::op::{Append, Guid, Lineage, MailboxId, MessageGuid, Uid, UidValidity};
use crate::store::source::Outlet;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// `nice` of a thread that nobody waits for.
const LOWEST_PRIORITY: i32 = 19;

/// A large mailbox's first list, being made on a thread of its own, behind everybody else: each message's file is looked at,
/// which may take minutes on a slow disk, and nobody's live mail waits for it.
#[derive(Debug)]
pub struct Aside {
    guid: Guid,
    directory: PathBuf,
    done: Receiver<Result<Introduction, ReadError>>,
}

impl Aside {
    /// Starts the thread. None: the mailbox is small, or there is no thread to be had.
    #[must_use]
    pub fn start(id: &MailboxId, root: &Arc<MailRoot>, directory: &Path, identities: &Arc<Identities>) -> Option<Self> {
        let size = |file: &str| std::fs::metadata(directory.join(file)).map_or(0, |meta| meta.len());
        if size("dovecot.index").max(size("dovecot.index.log")) < ASIDE_INDEX_BYTES {
            return None;
        }
        let (told, done) = channel();
        let (guid, id, root, place) = (id.guid, id.clone(), Arc::clone(root), directory.to_owned());
        let identities = Arc::clone(identities);
        let list = move || {
            step_back();
            let begun = Introduction::begin(id, &root, &place, &identities);
            if told.send(begun).is_err() {
                tracing::debug!("nobody waits for this list any more");
            }
        };
        std::thread::Builder::new().name("list".to_owned()).spawn(list).ok()?;
        Some(Self {
            guid,
            directory: directory.to_owned(),
            done,
        })
    }

    /// Which mailbox.
    #[must_use]
    pub fn guid(&self) -> Guid {
        self.guid
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The list, once it is made.
    #[must_use]
    pub fn take(&self) -> Option<Result<Introduction, ReadError>> {
        match self.done.try_recv() {
            Ok(begun) => Some(begun),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(ReadError::Unsettled("the listing broke off".to_owned()))),
        }
    }
}

/// Lets everybody else go first: the lowest priority at the processor, and by that (Linux takes the one from the other) the
/// lowest of the usual ones at the disk.
fn step_back() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), LOWEST_PRIORITY) {
        tracing::debug!(%error, "a list is made at the usual priority");
    }
}

/// A mailbox that is being offered.
#[derive(Debug)]
pub struct Introduction {
    id: MailboxId,
    directory: PathBuf,
    folder: Folder,
    uidvalidity: UidValidity,
    messages: BTreeMap<Uid, Append>,
    offered: Option<Uid>,
}

impl Introduction {
    /// Lists the mailbox for the first time.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn begin(
        id: MailboxId,
        root: &Arc<MailRoot>,
        directory: &Path,
        identities: &Identities,
    ) -> Result<Self, ReadError> {
        let mut folder = Folder::new(id.clone(), root, directory);
        let list = list(&mut folder, directory, identities, &BTreeMap::new())?;
        let messages = list
            .chunk
            .messages
            .into_iter()
            .map(|message| (message.uid, message))
            .collect();
        let uidvalidity = list.chunk.uidvalidity;
        Ok(Self {
            id,
            directory: directory.to_owned(),
            folder,
            uidvalidity,
            messages,
            offered: None,
        })
    }

    /// The list without any offer.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn at_once(
        id: MailboxId,
        root: &Arc<MailRoot>,
        directory: &Path,
        identities: &Identities,
    ) -> Result<FullList, ReadError> {
        Self::begin(id, root, directory, identities)?.finish(identities)
    }

    /// Which mailbox.
    #[must_use]
    pub fn guid(&self) -> Guid {
        self.id.guid
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Offers the next few messages. False: all of them were.
    pub fn offer(&mut self, outlet: &mut dyn Outlet) -> bool {
        let mut part: Vec<(Uid, MessageGuid, Option<u64>)> = Vec::new();
        let mut bytes = 0_u64;
        let after = self.offered.map_or(Uid(0), |uid| Uid(uid.0.saturating_add(1)));
        for (uid, message) in self.messages.range(after..) {
            if part.len() >= OFFER_MESSAGES || bytes >= OFFER_BYTES {
                break;
            }
            bytes = bytes.saturating_add(message.size.unwrap_or_default());
            part.push((*uid, message.guid.clone(), message.size));
        }
        let Some((last, ..)) = part.last() else {
            return false;
        };
        self.offered = Some(*last);
        outlet.offer(&self.id, self.uidvalidity, &part);
        true
    }

    /// True where the list may not go out before what was offered is fetched, and everything was offered.
    #[must_use]
    pub fn waits_for_the_last(&self) -> bool {
        let last = self.messages.last_key_value().map(|(uid, _)| *uid);
        self.offered == last && last.is_some() && !self.is_small()
    }

    fn is_small(&self) -> bool {
        let size = |message: &Append| message.size.unwrap_or(OFFER_SIZE_GUESS);
        let bytes = self.messages.values().map(size).fold(0, u64::saturating_add);
        self.messages.len() <= OFFER_MESSAGES && bytes <= OFFER_SMALL_BYTES
    }

    /// The list as it is now.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn finish(&mut self, identities: &Identities) -> Result<FullList, ReadError> {
        let mut found = list(&mut self.folder, &self.directory, identities, &self.messages)?;
        if found.chunk.uidvalidity != self.uidvalidity {
            // What was looked at before is of other messages.
            found = list(&mut self.folder, &self.directory, identities, &BTreeMap::new())?;
        }
        found.chunk.lineage = Lineage::Initial;
        found.doubt(false);
        Ok(found)
    }
}
