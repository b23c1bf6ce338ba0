//! Where the messages of one mailbox lie, in each format: what the log lacks of an append (GUID, INTERNALDATE, size) is
//! in or beside the message's file.

use super::body_cache::BodyCache;
use super::doveadm::{Layout, MailRoot};
use super::maildir_folder::MaildirFolder;
use super::mdbox_folder::MdboxFolder;
use super::sdbox_folder::SdboxFolder;
use super::snapshot::ReadError;
use super::stored::{Look, Stored, Want};
use super::transaction::RawAppend;
use crate::op::{Append, BodyPlace, Guid, MailboxId, MessageGuid, Uid, UidValidity};
use std::collections::BTreeMap;
use std::path::Path;

/// A mailbox's messages.
#[derive(Debug)]
pub struct Folder {
    id: MailboxId,
    root: MailRoot,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Maildir(MaildirFolder),
    /// sdbox and mdbox look alike from outside: the log of an mdbox names a place in the map.
    Dbox(SdboxFolder, MdboxFolder),
}

impl Format {
    fn of(root: &MailRoot, directory: &Path, mailbox: Guid) -> Self {
        let settings = || root.bodies.clone();
        match root.layout {
            Layout::MaildirPlusPlus => Self::Maildir(MaildirFolder::new(directory, root.bodies.decompresses)),
            Layout::Dbox => Self::Dbox(
                SdboxFolder::new(&root.path, directory, mailbox, settings()),
                MdboxFolder::new(&root.path, settings()),
            ),
        }
    }
}

impl Folder {
    /// Of the mailbox that lies in `directory`.
    #[must_use]
    pub fn new(id: MailboxId, root: &MailRoot, directory: &Path) -> Self {
        let format = Format::of(root, directory, id.guid);
        Self {
            id,
            root: root.clone(),
            format,
        }
    }

    /// Whose messages.
    #[must_use]
    pub fn id(&self) -> &MailboxId {
        &self.id
    }

    /// How directories make a tree there.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.root.layout
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
            Format::Dbox(_, folder) => folder.rest(),
        }
    }

    /// UIDVALIDITY, where it is given out before the index knows it (maildir).
    #[must_use]
    pub fn uidvalidity(&mut self) -> Option<UidValidity> {
        match &mut self.format {
            Format::Maildir(folder) => folder.uidvalidity(),
            Format::Dbox(..) => None,
        }
    }

    /// How often an mdbox user's storage was rebuilt from its files. (An sdbox mailbox's log says it.)
    ///
    /// # Errors
    /// The map of bodies can't be read.
    pub(crate) fn rebuild_count(&mut self) -> Result<u32, ReadError> {
        if !self.is_mdbox() {
            return Ok(0);
        }
        match &mut self.format {
            Format::Dbox(_, folder) => match folder.map_now() {
                Ok(map) => Ok(map.rebuild_count),
                // Nothing was saved yet.
                Err(ReadError::Absent) => Ok(0),
                Err(e) => Err(e),
            },
            Format::Maildir(_) => Ok(0),
        }
    }

    /// True where bodies lie in the user's storage, not in the mailbox's directory.
    pub(crate) fn is_mdbox(&self) -> bool {
        self.root.layout == Layout::Dbox && self.root.path.join("storage").is_dir()
    }

    /// Which of these have no file any more (maildir, sdbox). Where that can't be seen: none of them.
    /// `listed` are the messages that are there.
    pub(crate) fn gone(&mut self, messages: &[(Uid, MessageGuid)], listed: &BTreeMap<Uid, RawAppend>) -> Vec<Uid> {
        match &mut self.format {
            Format::Maildir(folder) => folder.gone(messages, listed),
            Format::Dbox(folder, _) => messages
                .iter()
                .map(|(uid, _)| *uid)
                .filter(|uid| folder.is_gone(*uid))
                .collect(),
        }
    }

    pub(crate) fn look(&mut self, raw: &RawAppend, want: Want) -> Look {
        match &mut self.format {
            Format::Maildir(folder) => folder.look(raw, want),
            Format::Dbox(sdbox, _) if raw.map_uid.is_none() => sdbox.look(raw, want),
            Format::Dbox(_, mdbox) => mdbox.look(raw, want),
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
                tracing::warn!(mailbox = %self.id, uid = raw.uid.0, file = missing.file, why = missing.why, "damage at the source");
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
            internal_date: stored.received,
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
