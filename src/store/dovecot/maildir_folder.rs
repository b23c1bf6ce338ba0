//! One mailbox of a maildir: from a UID to its file.
//!
//! `dovecot-uidlist` gives the name without the flags; the file may be in `new/` or `cur/` and is renamed whenever its
//! flags change. The likely names are tried first, then the directories are listed.

use super::crlf::virtual_size;
use super::plain::{Plugins, Sizes, plain};
use super::stored::{Look, Stored, Want, contradiction, seconds, unreadable, with_body};
use super::transaction::RawAppend;
use super::uidlist::Uidlist;
use crate::limits::{BODY_IN_MEMORY_MAX, UIDLIST_BYTES_MAX};
use crate::op::{Flags, MessageGuid, Uid, UidValidity};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const UIDLIST: &str = "dovecot-uidlist";

/// A mailbox's files. Keeps the uidlist and the last listing.
#[derive(Debug)]
pub(crate) struct MaildirFolder {
    directory: PathBuf,
    /// Where the uidlist is.
    control: PathBuf,
    uidlist: Option<(FileMark, Uidlist)>,
    files: Option<HashMap<String, PathBuf>>,
    listed_since_refresh: bool,
    plugins: Plugins,
    /// Where the last file was: the next one is mostly in the same place.
    last_kind: NameKind,
}

/// Where a message's file is likely to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameKind {
    New,
    WithFlags,
    WithoutFlags,
}

impl NameKind {
    const ALL: [Self; 3] = [Self::New, Self::WithFlags, Self::WithoutFlags];

    fn name(self, base: &str, flags: Flags) -> String {
        match self {
            Self::New => format!("new/{base}"),
            Self::WithFlags => format!("cur/{base}:2,{}", letters(flags)),
            Self::WithoutFlags => format!("cur/{base}:2,"),
        }
    }
}

/// Tells whether a file was replaced or has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileMark {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl FileMark {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

impl MaildirFolder {
    pub(crate) fn new(directory: &Path, control: &Path, plugins: Plugins) -> Self {
        Self {
            directory: directory.to_owned(),
            control: control.to_owned(),
            uidlist: None,
            files: None,
            listed_since_refresh: false,
            plugins,
            last_kind: NameKind::New,
        }
    }

    /// Something changed: a name that is not found may be looked for anew.
    pub(crate) fn refresh(&mut self) {
        self.listed_since_refresh = false;
        let now = std::fs::metadata(self.control.join(UIDLIST))
            .map(|meta| FileMark::of(&meta))
            .ok();
        if self.uidlist.as_ref().map(|(mark, _)| *mark) != now {
            self.uidlist = None;
        }
    }

    /// Gives the memory back.
    pub(crate) fn rest(&mut self) {
        self.uidlist = None;
        self.files = None;
    }

    /// UIDVALIDITY as the uidlist has it: it is given out there before the index knows it.
    pub(crate) fn uidvalidity(&mut self) -> Option<UidValidity> {
        self.uidlist()
            .ok()
            .flatten()
            .map(|list| list.uidvalidity)
            .filter(|given| given.0 != 0)
    }

    fn uidlist(&mut self) -> io::Result<Option<&Uidlist>> {
        if self.uidlist.is_none() {
            let file = match File::open(self.control.join(UIDLIST)) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e),
            };
            let mark = FileMark::of(&file.metadata()?);
            let mut bytes = Vec::new();
            file.take(UIDLIST_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
            let list = Uidlist::parse(&bytes).map_err(|e| io::Error::other(e.to_string()))?;
            self.uidlist = Some((mark, list));
        }
        Ok(self.uidlist.as_ref().map(|(_, list)| list))
    }

    pub(crate) fn look(&mut self, raw: &RawAppend, want: Want) -> Look {
        let entry = match self.uidlist() {
            Ok(list) => list.and_then(|list| list.get(raw.uid)).cloned(),
            Err(e) => return unreadable(&self.control.join(UIDLIST), &e),
        };
        let Some(entry) = entry else {
            return Look::Gone(MessageGuid::default());
        };
        let guid = entry.message_guid();
        // Once for a name that changed since the listing, once more for one that changed in between.
        for _ in 0..3 {
            let Some((path, file)) = self.open(&entry.base, raw.flags) else {
                return Look::Gone(guid);
            };
            // What the index says later of the size is left out: a digest must not depend on when it was asked.
            let sizes = Sizes {
                plain: entry.plain_bytes(),
                body: entry.body_bytes(),
            };
            match self.facts(&path, &file, guid.clone(), sizes, want) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.listed_since_refresh = false,
                Err(e) => return unreadable(&path, &e),
                Ok(look) => return look,
            }
        }
        Look::Gone(guid)
    }

    /// Opens the file of that base name, wherever it is.
    fn open(&mut self, base: &str, flags: Flags) -> Option<(PathBuf, File)> {
        let guessed = [self.last_kind].into_iter().chain(NameKind::ALL);
        for kind in guessed {
            let path = self.directory.join(kind.name(base, flags));
            if let Ok(file) = File::open(&path) {
                self.last_kind = kind;
                return Some((path, file));
            }
        }
        for _ in 0..2 {
            if let Some(path) = self.files.as_ref().and_then(|files| files.get(base)).cloned()
                && let Ok(file) = File::open(&path)
            {
                return Some((path, file));
            }
            if self.listed_since_refresh {
                return None;
            }
            self.list();
        }
        None
    }

    fn list(&mut self) {
        self.listed_since_refresh = true;
        self.files = Some(names(&self.directory));
    }

    /// Which of these have no file any more: by the base name that the uidlist has for the UID, else by the GUID, which
    /// is the base name of most. A file that belongs to a listed message is nobody else's (a copy within the mailbox has
    /// the GUID of the original, which is the original's name). Nothing is said where the directories can't be read.
    pub(crate) fn gone(&mut self, messages: &[(Uid, MessageGuid)], listed: &BTreeMap<Uid, RawAppend>) -> Vec<Uid> {
        let readable = |sub: &str| std::fs::read_dir(self.directory.join(sub)).is_ok();
        if !readable("cur") || !readable("new") {
            return Vec::new();
        }
        let mut present = names(&self.directory);
        self.refresh();
        let Ok(Some(list)) = self.uidlist() else {
            return Vec::new();
        };
        for entry in list.entries.iter().filter(|entry| listed.contains_key(&entry.uid)) {
            present.remove(&entry.base);
        }
        let absent = |(uid, guid): &&(Uid, MessageGuid)| {
            let base = list.get(*uid).map_or(guid.as_str(), |entry| entry.base.as_str());
            !base.is_empty() && !present.contains_key(base) && !present.contains_key(guid.as_str())
        };
        messages.iter().filter(absent).map(|(uid, _)| *uid).collect()
    }

    fn facts(&self, path: &Path, mut file: &File, guid: MessageGuid, sizes: Sizes, want: Want) -> io::Result<Look> {
        let meta = file.metadata()?;
        let mut stored = Stored {
            guid,
            received: meta.mtime(),
            saved: seconds(meta.ctime()),
            size: sizes.body,
            body: None,
        };
        // Without a size in its name a file is read to count its line ends.
        if sizes.body.is_some() && !want.reads(meta.len()) {
            return Ok(Look::Found(stored));
        }
        if meta.len() > BODY_IN_MEMORY_MAX && want != Want::Body {
            return Ok(Look::Found(stored));
        }
        if meta.len() > BODY_IN_MEMORY_MAX {
            let why = format!("a message of {} bytes", meta.len());
            return Ok(contradiction(path, BODY_IN_MEMORY_MAX, why));
        }
        let mut octets = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
        file.read_to_end(&mut octets)?;
        let plain = plain(Cow::Owned(octets), sizes, self.plugins);
        if let (None, Ok(plain)) = (sizes.body, &plain) {
            stored.size = Some(virtual_size(plain));
        }
        if want == Want::Facts {
            return Ok(Look::Found(stored));
        }
        Ok(with_body(path, 0, plain, stored, want))
    }
}

fn names(directory: &Path) -> HashMap<String, PathBuf> {
    let mut files = HashMap::new();
    // A file moves from new/ to cur/, never back: in this order none is missed.
    for sub in ["new", "cur"] {
        let Ok(entries) = std::fs::read_dir(directory.join(sub)) else {
            continue;
        };
        for entry in entries.flatten() {
            if let Ok(name) = entry.file_name().into_string() {
                let base = name.split(':').next().unwrap_or_default();
                files.insert(base.to_owned(), entry.path());
            }
        }
    }
    files
}

/// The flags in a file name, in the order of their letters.
fn letters(flags: Flags) -> String {
    let letters = [
        (Flags::DRAFT, 'D'),
        (Flags::FLAGGED, 'F'),
        (Flags::ANSWERED, 'R'),
        (Flags::SEEN, 'S'),
        (Flags::DELETED, 'T'),
    ];
    letters
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, letter)| *letter)
        .collect()
}
