//! Where the messages of one mailbox lie, in each format: what the log lacks of an append (GUID, INTERNALDATE, size) is
//! in or beside the message's file.

use super::body_cache::BodyCache;
use super::mail_root::{Driver, MailRoot};
use super::maildir_folder::MaildirFolder;
use super::mdbox_folder::MdboxFolder;
use super::sdbox_folder::SdboxFolder;
use super::snapshot::ReadError;
use super::stored::{Look, Stored, Want};
use super::transaction::RawAppend;
use crate::op::{Append, BodyPlace, Guid, MailboxId, MessageGuid, Uid, UidValidity};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A mailbox's messages.
#[derive(Debug)]
pub struct Folder {
    id: MailboxId,
    root: Arc<MailRoot>,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Maildir(MaildirFolder),
    Sdbox(SdboxFolder),
    Mdbox(MdboxFolder),
    /// In none of the user's namespaces: the mailbox is on its way to the bin.
    Nowhere,
}

impl Format {
    /// `directory` is that of the index.
    fn of(root: &MailRoot, directory: &Path, mailbox: Guid) -> Self {
        let Some(namespace) = root.namespace_of(directory) else {
            return Self::Nowhere;
        };
        let settings = || root.bodies.clone();
        match namespace.driver {
            Driver::Maildir => Self::Maildir(MaildirFolder::new(
                &namespace.mail_directory(directory),
                &namespace.control_directory(directory),
                root.bodies.plugins,
            )),
            Driver::Sdbox => Self::Sdbox(SdboxFolder::new(namespace, directory, mailbox, settings())),
            Driver::Mdbox => Self::Mdbox(MdboxFolder::new(namespace, settings())),
        }
    }
}

impl Folder {
    /// Of the mailbox whose index lies in `directory`.
    #[must_use]
    pub fn new(id: MailboxId, root: &Arc<MailRoot>, directory: &Path) -> Self {
        let format = Format::of(root, directory, id.guid);
        Self {
            id,
            root: Arc::clone(root),
            format,
        }
    }

    /// Whose messages.
    #[must_use]
    pub fn id(&self) -> &MailboxId {
        &self.id
    }

    /// Where its owner's mail lies.
    #[must_use]
    pub fn root(&self) -> &MailRoot {
        &self.root
    }

    /// The mailbox lies here now.
    pub fn moved(&mut self, directory: &Path) {
        self.format = Format::of(&self.root, directory, self.id.guid);
    }

    /// Something changed since the last look.
    pub fn refresh(&mut self) {
        if let Format::Maildir(folder) = &mut self.format {
            folder.refresh();
        }
    }

    /// Gives back what is kept only to be quicker.
    pub fn rest(&mut self) {
        match &mut self.format {
            Format::Maildir(folder) => folder.rest(),
            Format::Mdbox(folder) => folder.rest(),
            Format::Sdbox(_) | Format::Nowhere => {}
        }
    }

    /// UIDVALIDITY, where it is given out before the index knows it (maildir).
    #[must_use]
    pub fn uidvalidity(&mut self) -> Option<UidValidity> {
        match &mut self.format {
            Format::Maildir(folder) => folder.uidvalidity(),
            _ => None,
        }
    }

    /// How often an mdbox user's storage was rebuilt from its files. (An sdbox mailbox's log says it.)
    ///
    /// # Errors
    /// The map of bodies can't be read.
    pub(crate) fn rebuild_count(&mut self) -> Result<u32, ReadError> {
        let Format::Mdbox(folder) = &mut self.format else {
            return Ok(0);
        };
        match folder.map_now() {
            Ok(map) => Ok(map.rebuild_count),
            // Nothing was saved yet.
            Err(ReadError::Absent) => Ok(0),
            Err(e) => Err(e),
        }
    }

    /// True where bodies lie in the user's storage, not in the mailbox's directory.
    pub(crate) fn is_mdbox(&self) -> bool {
        matches!(self.format, Format::Mdbox(_))
    }

    /// Which of these have no file any more (maildir, sdbox). Where that can't be seen: none of them.
    /// `listed` are the messages that are there.
    pub(crate) fn gone(&mut self, messages: &[(Uid, MessageGuid)], listed: &BTreeMap<Uid, RawAppend>) -> Vec<Uid> {
        match &mut self.format {
            Format::Maildir(folder) => folder.gone(messages, listed),
            Format::Sdbox(folder) => {
                let uids = messages.iter().map(|(uid, _)| *uid);
                uids.filter(|uid| folder.is_gone(*uid)).collect()
            }
            Format::Mdbox(_) | Format::Nowhere => Vec::new(),
        }
    }

    pub(crate) fn look(&mut self, raw: &RawAppend, want: Want) -> Look {
        match &mut self.format {
            Format::Maildir(folder) => folder.look(raw, want),
            Format::Sdbox(folder) => folder.look(raw, want),
            Format::Mdbox(folder) => folder.look(raw, want),
            Format::Nowhere => Look::Gone(MessageGuid::default()),
        }
    }

    /// An append with all that can be found out, and whether its message was there. One that is gone already has no
    /// date; its expunge follows. Where there is a cache, small bodies are put into it.
    pub fn complete(&mut self, raw: &RawAppend, uidvalidity: UidValidity, cache: Option<&BodyCache>) -> (Append, bool) {
        let want = if cache.is_some() { Want::SmallBody } else { Want::Facts };
        let looked = self.look(raw, want);
        let was_there = !matches!(looked, Look::Gone(_));
        let mut stored = match looked {
            Look::Found(stored) => stored,
            Look::Gone(guid) => nothing_but(guid),
            Look::Damaged(missing) => {
                // The append is applied as *body pending*; what is wrong is said to whoever asks for the body.
                tracing::warn!(mailbox = %crate::telemetry::mailbox(&self.id), uid = raw.uid.0, file = %crate::telemetry::file(missing.file.as_ref()), why = missing.why, "damage at the source");
                nothing_but(MessageGuid::default())
            }
        };
        if stored.guid.is_unknown() {
            stored.guid = raw.guid.map(|guid| MessageGuid(guid.to_hex())).unwrap_or_default();
        }
        if let (Some(cache), Some(octets)) = (cache, stored.body.take()) {
            let place = BodyPlace {
                mailbox: self.id.clone(),
                uidvalidity,
                uid: raw.uid,
            };
            cache.put(place, stored.guid.clone(), octets);
        }
        let append = Append {
            uid: raw.uid,
            guid: stored.guid,
            size: stored.size,
            internal_date: self.root.seen_date(stored.received),
            save_date: stored.saved.or(raw.save_date),
            flags: raw.flags,
            keywords: raw.keywords.clone(),
            modseq: raw.modseq,
        };
        (append, was_there)
    }
}

fn nothing_but(guid: MessageGuid) -> Stored {
    Stored {
        guid,
        received: 0,
        saved: None,
        size: None,
        body: None,
    }
}
