//! One mailbox of a maildir: from a UID to its file.
//!
//! `dovecot-uidlist` gives the name without the flags; the file may be in `new/` or `cur/` and is renamed whenever its
//! flags change. The likely names are tried first, then the directories are listed.

use super::crlf::virtual_size;
use super::plain::{Plugins, Sizes, plain};
use super::stamp::Stamp;
use super::stored::{Look, Stored, Want, contradiction, seconds, unreadable, with_body};
use super::tail::read_range;
use super::transaction::RawAppend;
use super::uidlist::{Uidlist, UidlistEntry};
use super::uidlist_file::{LookError, UidlistFile};
use crate::limits::{BODY_IN_MEMORY_MAX, SMALL_FILE_BYTES_MAX};
use crate::op::{Flags, Keyword, MessageGuid, Uid, UidValidity};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const UIDLIST: &str = "dovecot-uidlist";

/// Flags that a file may have in its name.
const FLAG_LETTERS: [(Flags, char); 5] = [
    (Flags::DRAFT, 'D'),
    (Flags::FLAGGED, 'F'),
    (Flags::ANSWERED, 'R'),
    (Flags::SEEN, 'S'),
    (Flags::DELETED, 'T'),
];

/// A mailbox's files. Keeps the open uidlist and the last listing until [`Self::rest`].
#[derive(Debug)]
pub(crate) struct MaildirFolder {
    directory: PathBuf,
    /// Where the uidlist is.
    control: PathBuf,
    uidlist: Option<UidlistFile>,
    /// All of the uidlist, where looking for one UID was not enough.
    whole: Option<Uidlist>,
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

impl MaildirFolder {
    pub(crate) fn new(directory: &Path, control: &Path, plugins: Plugins) -> Self {
        Self {
            directory: directory.to_owned(),
            control: control.to_owned(),
            uidlist: None,
            whole: None,
            files: None,
            listed_since_refresh: false,
            plugins,
            last_kind: NameKind::New,
        }
    }

    /// Something changed: a name that is not found may be looked for anew.
    pub(crate) fn refresh(&mut self) {
        self.listed_since_refresh = false;
        let read = self.uidlist.as_ref().map(UidlistFile::stamp);
        if read.is_some() && read != Stamp::at(&self.control.join(UIDLIST)) {
            (self.uidlist, self.whole) = (None, None);
        }
    }

    /// Gives memory and files back.
    pub(crate) fn rest(&mut self) {
        (self.uidlist, self.whole, self.files) = (None, None, None);
    }

    /// UIDVALIDITY as the uidlist has it: it is given out there before the index knows it.
    pub(crate) fn uidvalidity(&mut self) -> Option<UidValidity> {
        let given = self.uidlist().ok().flatten()?.header().uidvalidity;
        (given.0 != 0).then_some(given)
    }

    fn uidlist(&mut self) -> Result<Option<&mut UidlistFile>, LookError> {
        if self.uidlist.is_none() {
            self.uidlist = UidlistFile::open(&self.control.join(UIDLIST))?;
        }
        Ok(self.uidlist.as_mut())
    }

    /// What the uidlist has for a UID. Where it seems to have nothing, or is damaged, all of it is read.
    fn entry(&mut self, uid: Uid) -> Result<Option<UidlistEntry>, LookError> {
        if self.whole.is_none() {
            match self.uidlist()?.map(|list| list.get(uid)) {
                None => return Ok(None),
                Some(Ok(Some(entry))) => return Ok(Some(entry)),
                Some(Ok(None) | Err(LookError::Irregular)) => {}
                Some(Err(e)) => return Err(e),
            }
        }
        Ok(self.whole()?.and_then(|list| list.get(uid)).cloned())
    }

    fn whole(&mut self) -> Result<Option<&Uidlist>, LookError> {
        if self.whole.is_none() {
            self.whole = self.uidlist()?.map(|list| list.whole()).transpose()?;
        }
        Ok(self.whole.as_ref())
    }

    pub(crate) fn look(&mut self, raw: &RawAppend, want: Want) -> Look {
        let entry = match self.entry(raw.uid) {
            Ok(entry) => entry,
            Err(e) => return contradiction(&self.control.join(UIDLIST), 0, e.to_string()),
        };
        let Some(entry) = entry else {
            return Look::Gone(MessageGuid::default());
        };
        let guid = entry.message_guid();
        // Once for a name that changed since the listing, once more for one that changed in between.
        for _ in 0..3 {
            let Some((path, file)) = self.open(&entry.base, raw) else {
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
    fn open(&mut self, base: &str, raw: &RawAppend) -> Option<(PathBuf, File)> {
        let guessed = [self.last_kind].into_iter().chain(NameKind::ALL);
        for kind in guessed {
            let path = self.directory.join(kind.name(base, raw.flags));
            if let Ok(file) = File::open(&path) {
                self.last_kind = kind;
                return Some((path, file));
            }
        }
        // Before all names of a large directory are read: those that other flags would give it.
        let keywords = self.keyword_letters(&raw.keywords);
        let at = |name: String| {
            let path = self.directory.join(name);
            File::open(&path).ok().map(|file| (path, file))
        };
        if !self.listed_since_refresh
            && let Some(found) = names_with_flags(base, &keywords).find_map(at)
        {
            return Some(found);
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

    /// The letters that `dovecot-keywords` gives these keywords in file names; one that has none is left out.
    fn keyword_letters(&self, keywords: &[Keyword]) -> String {
        if keywords.is_empty() {
            return String::new();
        }
        let file = File::open(self.control.join("dovecot-keywords"));
        let bytes = file
            .and_then(|file| read_range(&file, 0, SMALL_FILE_BYTES_MAX))
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let has = |name: &str| keywords.iter().any(|keyword| keyword.0.eq_ignore_ascii_case(name));
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let numbers = lines
            .filter(|(_, name)| has(name))
            .filter_map(|(number, _)| number.parse::<u8>().ok());
        let letters: BTreeSet<char> = numbers
            .filter(|n| *n < 26)
            .map(|n| char::from(b'a'.saturating_add(n)))
            .collect();
        letters.into_iter().collect()
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
        let Ok(Some(list)) = self.whole() else {
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
    FLAG_LETTERS
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, letter)| *letter)
        .collect()
}

/// Every name that flags can give a file, with these keywords and without.
fn names_with_flags(base: &str, keywords: &str) -> impl Iterator<Item = String> {
    let sets = 0..1_u8 << FLAG_LETTERS.len();
    sets.flat_map(move |set| {
        let letters = FLAG_LETTERS
            .iter()
            .enumerate()
            .filter(move |(bit, _)| set >> bit & 1 != 0);
        let flags: String = letters.map(|(_, (_, letter))| *letter).collect();
        let with = (!keywords.is_empty()).then(|| format!("cur/{base}:2,{flags}{keywords}"));
        with.into_iter().chain([format!("cur/{base}:2,{flags}")])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mailbox with one message, whose file is called so.
    fn mailbox(name: &str) -> (tempfile::TempDir, MaildirFolder) {
        let directory = tempfile::tempdir().unwrap();
        for sub in ["cur", "new"] {
            std::fs::create_dir(directory.path().join(sub)).unwrap();
        }
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write(UIDLIST, "3 V5 N9 G90339d030430026b0803000087ad316d\n7 W9 :1700.M1P1\n");
        write("dovecot-keywords", "0 other\n2 Work\n5 $Forwarded\n");
        write(name, "a: b\r\n\r\nc");
        let folder = MaildirFolder::new(directory.path(), directory.path(), Plugins::default());
        (directory, folder)
    }

    fn raw() -> RawAppend {
        RawAppend {
            uid: Uid(7),
            keywords: vec!["work".into(), "$Forwarded".into()],
            ..RawAppend::default()
        }
    }

    #[test]
    fn a_file_renamed_by_later_flags_and_keywords_is_found_without_reading_the_directory() {
        for name in [
            "new/1700.M1P1",
            "cur/1700.M1P1:2,",
            "cur/1700.M1P1:2,FRS",
            "cur/1700.M1P1:2,Scf",
        ] {
            let (_directory, mut folder) = mailbox(name);
            assert!(matches!(folder.look(&raw(), Want::Facts), Look::Found(_)), "{name}");
            assert!(folder.files.is_none(), "{name}: the directory was read");
        }
    }

    #[test]
    fn a_file_with_letters_that_nobody_knows_is_still_found() {
        let (_directory, mut folder) = mailbox("cur/1700.M1P1:2,Sxyz");
        assert!(matches!(folder.look(&raw(), Want::Facts), Look::Found(_)));
        let absent = RawAppend {
            uid: Uid(8),
            ..RawAppend::default()
        };
        assert!(matches!(folder.look(&absent, Want::Facts), Look::Gone(_)));
    }

    #[test]
    fn a_line_appended_since_is_seen_after_a_refresh() {
        let (directory, mut folder) = mailbox("new/1700.M1P1");
        folder.look(&raw(), Want::Facts);
        let path = directory.path().join(UIDLIST);
        let grown = [std::fs::read(&path).unwrap(), b"8 W9 :1700.M1P1\n".to_vec()].concat();
        std::fs::write(&path, grown).unwrap();
        folder.refresh();
        let next = RawAppend {
            uid: Uid(8),
            ..RawAppend::default()
        };
        assert!(matches!(folder.look(&next, Want::Facts), Look::Found(_)));
    }
}
