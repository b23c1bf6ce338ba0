//! Finds the mailboxes of one namespace: in directories (Maildir++, fs) or in the list index (index).
//!
//! Listing doesn't lock, so what moves meanwhile makes the listing unsettled, not wrong.

use super::catalogue::{Found, Listing};
use super::identity::Identities;
use super::mail_root::{Driver, Layout, MailRoot, Namespace};
use super::snapshot::{self, ReadError};
use crate::limits::{LISTING_MAILBOXES_MAX, NAME_LEVELS_MAX};
use crate::op::{Guid, MailboxName, Stale, Unselectable};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Deleted mailboxes on their way to the bin; never a mailbox.
const TRASHES: [&str; 2] = ["..DOVECOT-TRASHED", "..DOVECOT-TrasH"];
/// A maildir's own directories.
const MAILDIR_PARTS: [&str; 3] = ["cur", "new", "tmp"];

/// Adds a namespace's mailboxes to `listing`.
///
/// # Errors
/// The tree can't be read. (It does not exist before a user's first login.)
pub(super) fn walk(
    namespace: &Namespace,
    root: &MailRoot,
    identities: &Identities,
    listing: &mut Listing,
) -> io::Result<()> {
    let mut walk = Walk {
        namespace,
        root,
        identities,
        listing,
        unready: BTreeSet::new(),
    };
    match namespace.layout {
        Layout::MaildirPlusPlus => {
            walk.maildir()?;
            walk.stale_names();
            Ok(())
        }
        Layout::Fs => walk.fs(),
        Layout::Index => walk.index(),
    }
}

/// A listing in the making.
struct Walk<'a> {
    namespace: &'a Namespace,
    root: &'a MailRoot,
    identities: &'a Identities,
    listing: &'a mut Listing,
    /// Mailboxes that have no GUID yet.
    unready: BTreeSet<MailboxName>,
}

impl Walk<'_> {
    fn maildir(&mut self) -> io::Result<()> {
        let (tree, _) = self.namespace.listed_tree();
        let children = directories(&tree)?;
        self.listing.directories.push(tree);
        let apart = self.namespace.inbox_index();
        if let Some(inbox) = apart.clone() {
            self.add(MailboxName::inbox(), inbox);
        }
        for directory in children {
            let Some(name) = directory.file_name() else { continue };
            let Some(levels) = name.as_bytes().strip_prefix(b".").filter(|_| !is_trash(name)) else {
                continue;
            };
            match self.namespace.name(levels.split(|octet| *octet == b'.')) {
                Ok(found) if apart.is_some() && found == MailboxName::inbox() => {}
                Ok(found) => self.add(found, self.namespace.index_directory(Path::new(name))),
                Err(why) => self.complain(format!("{}: {why}", directory.display())),
            }
        }
        self.missing_parents();
        Ok(())
    }

    /// Maildir++ has no directory for a parent that is no mailbox.
    fn missing_parents(&mut self) {
        let mailboxes = self.listing.mailboxes.values();
        let names: Vec<MailboxName> = mailboxes.map(|found| found.name.clone()).collect();
        let selectable: BTreeSet<&MailboxName> = names.iter().collect();
        for name in &names {
            for depth in 1..name.0.len() {
                let parent = MailboxName::of(name.0.iter().take(depth).cloned());
                let is_mailbox = selectable.contains(&parent) || self.unready.contains(&parent);
                if !is_mailbox && parent != MailboxName::inbox() {
                    self.listing.unselectable.insert(parent, Unselectable::Noselect);
                }
            }
        }
    }

    /// Finds the names that Dovecot lists as if their mailbox were there. Under Maildir++ the list index keeps the entry
    /// of a deleted mailbox as long as its name has children; with the layout fs a mailbox without its directory is
    /// marked `\Noselect` by the next LIST, whatever the list index says before.
    fn stale_names(&mut self) {
        if self.listing.unselectable.is_empty() {
            return;
        }
        let index = match snapshot::list_index(self.namespace) {
            Ok(index) => index,
            // Switched off, or nothing was listed yet.
            Err(ReadError::Absent) => return,
            Err(e) => {
                self.listing.unsettled |= matches!(e, ReadError::Unsettled(_));
                return self.complain(format!("{}: {e}", self.namespace.list_index.1));
            }
        };
        for (levels, node) in index.walk().filter(|(_, node)| node.is_selectable()) {
            if let Some(how) = self.listing.unselectable.get_mut(&self.namespace.seen(levels)) {
                *how = Unselectable::Stale(Stale {
                    guid: node.guid,
                    nonexistent_code: self.root.nonexistent_code,
                });
            }
        }
    }

    fn fs(&mut self) -> io::Result<()> {
        let (tree, _) = self.namespace.listed_tree();
        if let Some(inbox) = self.namespace.inbox_index() {
            self.add(MailboxName::inbox(), inbox);
        }
        let mut open = vec![(tree, Vec::<Vec<u8>>::new())];
        while let Some((directory, levels)) = open.pop() {
            let children = match directories(&directory) {
                Ok(children) => children,
                Err(e) if e.kind() == io::ErrorKind::NotFound && !levels.is_empty() => {
                    self.listing.unsettled = true;
                    continue;
                }
                Err(e) => return Err(e),
            };
            self.fs_directory(&directory, &levels, &children);
            for child in children {
                let name = child.file_name().unwrap_or_default();
                if !self.is_internal(name) && levels.len() < NAME_LEVELS_MAX {
                    let mut levels = levels.clone();
                    levels.push(name.as_bytes().to_vec());
                    open.push((child, levels));
                }
            }
        }
        Ok(())
    }

    fn is_internal(&self, name: &OsStr) -> bool {
        let is_part = self.namespace.driver == Driver::Maildir && MAILDIR_PARTS.iter().any(|part| name == *part);
        is_trash(name) || is_part || (!self.namespace.leaf.is_empty() && name == self.namespace.leaf.as_str())
    }

    /// A directory is a mailbox where it has the files of one, else a name that can't be selected.
    fn fs_directory(&mut self, directory: &Path, levels: &[Vec<u8>], children: &[PathBuf]) {
        self.listing.directories.push(directory.to_owned());
        if levels.is_empty() {
            return;
        }
        match self.namespace.name(levels.iter().map(Vec::as_slice)) {
            // It lies elsewhere, and here are its children.
            Ok(name) if name == MailboxName::inbox() && self.namespace.inbox_index().is_some() => {}
            Ok(name) if self.is_mailbox(directory, children) => {
                let at: PathBuf = levels.iter().map(|level| OsStr::from_bytes(level)).collect();
                self.add(name, self.namespace.index_directory(&at));
            }
            Ok(name) if name == MailboxName::inbox() => {}
            Ok(name) => drop(self.listing.unselectable.insert(name, Unselectable::Noselect)),
            Err(why) => self.complain(format!("{}: {why}", directory.display())),
        }
    }

    fn is_mailbox(&self, directory: &Path, children: &[PathBuf]) -> bool {
        let (_, has_leaf) = self.namespace.listed_tree();
        if has_leaf {
            children.contains(&directory.join(&self.namespace.leaf))
        } else if self.namespace.driver == Driver::Maildir && !self.namespace.iterate_index {
            children.contains(&directory.join("cur"))
        } else {
            directory.join("dovecot.index.log").exists()
        }
    }

    /// The list index is the tree; each mailbox lies in a directory that is called by its GUID.
    fn index(&mut self) -> io::Result<()> {
        let (directory, name) = &self.namespace.list_index;
        let index = match snapshot::list_index(self.namespace) {
            Ok(index) => index,
            Err(ReadError::Absent) => {
                return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no {name}")));
            }
            Err(ReadError::Io(e)) => return Err(e),
            Err(e) => return Err(io::Error::other(format!("{name}: {e}"))),
        };
        let (tree, _) = self.namespace.listed_tree();
        self.listing.directories.extend([directory.clone(), tree]);
        for why in index.undecodable() {
            self.complain(format!("{name}: {why}"));
        }
        for (levels, node) in index.walk() {
            let found = self.namespace.seen(levels);
            if node.is_selectable() && node.guid != Guid::default() {
                self.add(found, self.namespace.index_directory(Path::new(&node.guid.to_hex())));
            } else if found != MailboxName::inbox() {
                self.listing.unselectable.insert(found, Unselectable::Noselect);
            }
        }
        Ok(())
    }

    /// Adds a mailbox under its GUID.
    fn add(&mut self, name: MailboxName, directory: PathBuf) {
        if self.listing.mailboxes.len() >= LISTING_MAILBOXES_MAX {
            return self.complain(format!(
                "more than {LISTING_MAILBOXES_MAX} mailboxes: {name} is left out"
            ));
        }
        self.listing.directories.push(directory.clone());
        let beside = self.beside(&directory);
        let nearest = |path: &PathBuf| self.nearest(path);
        let watched: Vec<PathBuf> = beside.iter().filter_map(nearest).collect();
        self.listing.directories.extend(watched);
        match self.identities.of(self.root, &directory) {
            Ok(Some(guid)) => {
                self.listing.beside.extend(beside.into_iter().map(|path| (path, guid)));
                if let Some(other) = self.listing.mailboxes.insert(
                    guid,
                    Found {
                        name,
                        special_use: None,
                        directory,
                    },
                ) {
                    self.complain(format!("{} has the GUID of another mailbox", other.directory.display()));
                    self.listing.unsettled = true;
                }
            }
            Ok(None) => drop(self.unready.insert(name)),
            Err(e) => {
                self.complain(format!("{}: {e}", directory.display()));
                self.listing.unsettled = true;
                self.unready.insert(name);
            }
        }
    }

    /// Where a mailbox has files that count apart from its index: a uidlist that is made anew names another mailbox, and
    /// of an access control list no log tells.
    fn beside(&self, directory: &Path) -> BTreeSet<PathBuf> {
        let control = || self.namespace.control_directory(directory);
        let mail = || self.namespace.mail_directory(directory);
        let named = (self.namespace.driver == Driver::Maildir).then(control);
        let listed = self.root.attributes.acl.then(mail);
        let apart = [named, listed].into_iter().flatten();
        apart.filter(|path| path != directory).collect()
    }

    /// The directory, or where it will appear: dbox makes the directory of a mailbox without mail for its list only.
    fn nearest(&self, directory: &Path) -> Option<PathBuf> {
        let roots = [&self.namespace.mail, self.namespace.control_root()];
        let of_tree = |path: &&Path| roots.iter().any(|root| path.starts_with(root));
        let mut upwards = directory.ancestors().take_while(of_tree);
        upwards.find(|path| path.is_dir()).map(Path::to_owned)
    }

    fn complain(&mut self, why: String) {
        self.listing.complaints.push(why);
    }
}

fn is_trash(name: &OsStr) -> bool {
    TRASHES.iter().any(|trash| name == *trash)
}

/// Directories in `directory` (symbolic links to directories count, as they do for Dovecot).
fn directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_directory = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
            Ok(kind) => kind.is_dir(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        if is_directory {
            found.push(entry.path());
        }
    }
    Ok(found)
}
