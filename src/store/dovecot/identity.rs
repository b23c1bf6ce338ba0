//! Which mailbox lies in a directory: its GUID, whatever it is called.
//!
//! With the layout index it is the directory's name. Else maildir keeps it in the first line of `dovecot-uidlist`, dbox in a header of the index that the log holds too until
//! its first rotation. Reading it anew each time is what makes renames, swaps and recreations safe to follow.

use super::log::{LOG_HEADER_BYTES, LogHeader};
use super::mail_root::{Driver, Layout, MailRoot};
use super::reader::LogReader;
use super::snapshot::{self, ReadError};
use super::tail::{LOG, open_log, read_range};
use super::uidlist::Uidlist;
use crate::limits::IDENTITIES_MAX;
use crate::op::Guid;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What makes a rotated dbox log unmistakable: the file's device and inode, and its header.
type LogKey = (u64, u64, [u8; LOG_HEADER_BYTES]);

/// A dbox log's first commit, with the GUID in it, is some 100 bytes; a rebuild's is longer.
const BEGINNING_BYTES: u64 = 16 << 10;
/// Within so many a mailbox that dsync makes is given the GUID that it is to have: it is created with another one.
const CREATION_BYTES: u64 = 2 << 10;
/// The first line of `dovecot-uidlist` is some 60 bytes.
const UIDLIST_LINE_BYTES: u64 = 4 << 10;

/// Finds out GUIDs. Keeps those that stand only in a large main index.
#[derive(Debug, Default)]
pub struct Identities {
    known: Mutex<HashMap<LogKey, Guid>>,
}

impl Identities {
    /// The GUID of the mailbox whose index lies in `directory`; none while it has none, or where nothing lies there.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn of(&self, root: &MailRoot, directory: &Path) -> io::Result<Option<Guid>> {
        let Some(namespace) = root.namespace_of(directory) else {
            return Ok(None);
        };
        if namespace.layout == Layout::Index {
            return of_name(directory);
        }
        match namespace.driver {
            Driver::Maildir => of_maildir(&namespace.control_directory(directory)),
            Driver::Sdbox | Driver::Mdbox => self.of_dbox(directory),
        }
    }

    fn of_dbox(&self, directory: &Path) -> io::Result<Option<Guid>> {
        let Some((file, header)) = open_log(&directory.join(LOG))? else {
            return Ok(None);
        };
        if header.starts_empty()
            && let Some(guid) = of_beginning(&file, header)?
        {
            return Ok(Some(guid));
        }
        let meta = file.metadata()?;
        let key = (meta.dev(), meta.ino(), header.raw);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guid) = known().get(&key) {
            return Ok(Some(*guid));
        }
        let guid = match snapshot::read(directory) {
            Ok(state) => state.guid(),
            Err(ReadError::Io(e)) => return Err(e),
            // Damaged or being replaced: without a GUID just now.
            Err(_) => None,
        };
        if let Some(guid) = guid {
            let mut known = known();
            if known.len() >= IDENTITIES_MAX {
                known.clear();
            }
            known.insert(key, guid);
        }
        Ok(guid)
    }
}

fn of_beginning(file: &File, header: LogHeader) -> io::Result<Option<Guid>> {
    let bytes = read_range(file, 0, BEGINNING_BYTES)?;
    let (mut reader, mut guid) = (LogReader::at_start(header), None);
    while let Ok(Some(_)) = reader.next(&bytes, 0) {
        guid = reader.state().exts.mailbox_guid();
        if guid.is_some() && reader.offset() > CREATION_BYTES {
            break;
        }
    }
    Ok(guid)
}

/// With the layout index a mailbox's directory is called by its GUID. The mailbox's own header has another one for a
/// moment, while it is being created.
fn of_name(directory: &Path) -> io::Result<Option<Guid>> {
    let name = directory.file_name().and_then(|name| name.to_str());
    let guid = name.and_then(Guid::from_hex);
    Ok(match open_log(&directory.join(LOG))? {
        Some(_) => guid,
        None => None,
    })
}

fn of_maildir(directory: &Path) -> io::Result<Option<Guid>> {
    let file = match File::open(directory.join("dovecot-uidlist")) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let bytes = read_range(&file, 0, UIDLIST_LINE_BYTES)?;
    // What stands behind the first line is cut anywhere, and of no interest here.
    let first = bytes
        .split_inclusive(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    Ok(Uidlist::parse(first).ok().and_then(|list| list.mailbox_guid))
}
