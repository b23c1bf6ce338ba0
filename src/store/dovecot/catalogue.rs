//! A user's tree, read from the directories, and how it differs from what was emitted last.
//!
//! The directories are the truth for Maildir++ and for dbox's default layout; `dovecot.list.index` is a lazy cache,
//! asked only how a name without a mailbox is listed ([`stale_names`]). A mailbox is what its GUID says, wherever it lies; a mailbox that has none yet is left out until it
//! has. Listing doesn't lock, so a rename in progress may hide a mailbox or show it twice: such a listing says that it
//! is not settled, and a disappearance without evidence is believed only after a while.

use super::doveadm::{Layout, MailRoot};
use super::identity::Identities;
use super::mailbox_log::{self, MailboxEvent};
use super::mutf7;
use super::order::TreeSteps;
use super::snapshot::{self, ReadError};
use super::subscriptions;
use crate::limits::{LISTING_MAILBOXES_MAX, NAME_LEVELS_MAX, SMALL_FILE_BYTES_MAX};
use crate::op::{Disappearance, Guid, MailboxName, Stale, TreeChange, TreeMailbox, Unselectable, UserName};
use crate::store::table::UserRow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Directories that hold mail or rubbish, never a mailbox.
const DBOX_MAILS: &str = "dbox-Mails";
const TRASHES: [&str; 2] = ["..DOVECOT-TRASHED", "..DOVECOT-TrasH"];

/// A mailbox in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: MailboxName,
    /// Where its index files lie.
    pub directory: PathBuf,
}

/// A user's tree at about one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Selectable mailboxes.
    pub mailboxes: BTreeMap<Guid, Found>,
    /// Names that `LIST "" "*"` shows although they are no mailboxes, and how.
    pub unselectable: BTreeMap<MailboxName, Unselectable>,
    /// Subscribed names.
    pub subscriptions: BTreeSet<MailboxName>,
    /// Mailboxes whose deletion stands in `dovecot.mailbox.log`.
    pub deleted: BTreeSet<Guid>,
    /// Directories whose changes may change the tree.
    pub directories: Vec<PathBuf>,
    /// What could not be understood, for people.
    pub complaints: Vec<String>,
    /// True where something moved while it was read: read again.
    pub unsettled: bool,
}

/// Reads a user's tree.
///
/// # Errors
/// The mail root can't be read. (It does not exist before a user's first login.)
pub fn list(root: &MailRoot, identities: &Identities) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut walk = Walk {
        layout: root.layout,
        identities,
        listing: &mut listing,
        unready: BTreeSet::new(),
    };
    match root.layout {
        Layout::MaildirPlusPlus => {
            walk.maildir(&root.path)?;
            stale_names(root, &mut listing);
        }
        Layout::Dbox => walk.dbox(&root.path)?,
    }
    listing.directories.push(root.path.clone());
    read_subscriptions(root, &mut listing)?;
    for file in ["dovecot.mailbox.log.2", "dovecot.mailbox.log"] {
        if let Some(bytes) = read_small(&root.path.join(file))? {
            listing.deleted.extend(
                mailbox_log::parse(&bytes)
                    .iter()
                    .filter_map(|record| match record.event {
                        MailboxEvent::Deleted(guid) => Some(guid),
                        _ => None,
                    }),
            );
        }
    }
    Ok(listing)
}

/// Finds the names that Dovecot lists as if their mailbox were there. Under Maildir++ the list index keeps the entry of
/// a deleted mailbox as long as its name has children; a dbox mailbox without its directory is marked `\Noselect` by
/// the next LIST, whatever the list index says before.
fn stale_names(root: &MailRoot, listing: &mut Listing) {
    if listing.unselectable.is_empty() {
        return;
    }
    let index = match snapshot::list_index(&root.path) {
        Ok(index) => index,
        // Switched off, or nothing was listed yet.
        Err(ReadError::Absent) => return,
        Err(e) => {
            listing.unsettled |= matches!(e, ReadError::Unsettled(_));
            listing.complaints.push(format!("dovecot.list.index: {e}"));
            return;
        }
    };
    for (name, how) in &mut listing.unselectable {
        if let Some(node) = index.find(name).filter(|node| node.is_selectable()) {
            *how = Unselectable::Stale(Stale {
                guid: node.guid,
                nonexistent_code: root.nonexistent_code,
            });
        }
    }
}

fn read_subscriptions(root: &MailRoot, listing: &mut Listing) -> io::Result<()> {
    let Some(bytes) = read_small(&root.path.join("subscriptions"))? else {
        return Ok(());
    };
    let separator = match root.layout {
        Layout::MaildirPlusPlus => b'.',
        Layout::Dbox => b'/',
    };
    let read = subscriptions::parse(&bytes, separator).map_err(|e| io::Error::other(e.to_string()))?;
    listing
        .complaints
        .extend(read.undecodable.iter().map(ToString::to_string));
    listing.subscriptions.extend(read.names);
    Ok(())
}

/// A listing in the making.
struct Walk<'a> {
    layout: Layout,
    identities: &'a Identities,
    listing: &'a mut Listing,
    /// Mailboxes that have no GUID yet.
    unready: BTreeSet<MailboxName>,
}

impl Walk<'_> {
    fn maildir(&mut self, root: &Path) -> io::Result<()> {
        self.add(MailboxName::inbox(), root.to_owned());
        for directory in directories(root)? {
            let Some(name) = directory.file_name().and_then(|n| n.to_str()) else {
                self.complain(format!("{}: its name is not UTF-8", directory.display()));
                continue;
            };
            let Some(levels) = name.strip_prefix('.').filter(|_| !TRASHES.contains(&name)) else {
                continue;
            };
            match decode(levels.split('.')) {
                Ok(name) => self.add(name, directory),
                Err(why) => self.complain(why),
            }
        }
        self.missing_parents();
        Ok(())
    }

    /// Maildir++ has no directory for a parent that is no mailbox.
    fn missing_parents(&mut self) {
        let names: Vec<MailboxName> = self
            .listing
            .mailboxes
            .values()
            .map(|found| found.name.clone())
            .collect();
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

    fn dbox(&mut self, root: &Path) -> io::Result<()> {
        let mut open = vec![(root.join("mailboxes"), Vec::<String>::new())];
        while let Some((directory, levels)) = open.pop() {
            let children = match directories(&directory) {
                Ok(children) => children,
                Err(e) if e.kind() == io::ErrorKind::NotFound && !levels.is_empty() => {
                    self.listing.unsettled = true;
                    continue;
                }
                Err(e) => return Err(e),
            };
            self.dbox_directory(&directory, &levels, &children);
            for child in children {
                let name = child
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned())
                    .unwrap_or_default();
                if name != DBOX_MAILS && !TRASHES.contains(&name.as_str()) && levels.len() < NAME_LEVELS_MAX {
                    let mut levels = levels.clone();
                    levels.push(name);
                    open.push((child, levels));
                }
            }
        }
        Ok(())
    }

    /// A directory is a mailbox where it has `dbox-Mails`, else a name that can't be selected.
    fn dbox_directory(&mut self, directory: &Path, levels: &[String], children: &[PathBuf]) {
        self.listing.directories.push(directory.to_owned());
        if levels.is_empty() {
            return;
        }
        match decode(levels.iter().map(String::as_str)) {
            Ok(name) => {
                let mails = directory.join(DBOX_MAILS);
                if children.contains(&mails) {
                    self.add(name, mails);
                } else if name != MailboxName::inbox() {
                    self.listing.unselectable.insert(name, Unselectable::Noselect);
                }
            }
            Err(why) => self.complain(why),
        }
    }

    /// Adds a mailbox directory under its GUID.
    fn add(&mut self, name: MailboxName, directory: PathBuf) {
        if self.listing.mailboxes.len() >= LISTING_MAILBOXES_MAX {
            return self.complain(format!(
                "more than {LISTING_MAILBOXES_MAX} mailboxes: {name} is left out"
            ));
        }
        self.listing.directories.push(directory.clone());
        match self.identities.of(self.layout, &directory) {
            Ok(Some(guid)) => {
                if let Some(other) = self.listing.mailboxes.insert(guid, Found { name, directory }) {
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

    fn complain(&mut self, why: String) {
        self.listing.complaints.push(why);
    }
}

fn decode<'a>(levels: impl Iterator<Item = &'a str>) -> Result<MailboxName, String> {
    let mut name = Vec::new();
    for level in levels {
        if level.is_empty() {
            return Err("a mailbox name with an empty level".to_owned());
        }
        name.push(mutf7::decode(level.as_bytes()).map_err(|e| e.to_string())?);
    }
    // INBOX is case-insensitive, at the first level only.
    if let Some(first) = name.first_mut().filter(|first| first.eq_ignore_ascii_case("INBOX")) {
        "INBOX".clone_into(first);
    }
    Ok(MailboxName(name))
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

/// A small file's bytes; none where it doesn't exist. Beyond the bound it is an error: half a file says wrong things.
fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > SMALL_FILE_BYTES_MAX => Err(io::Error::other(format!(
            "{}: more than {SMALL_FILE_BYTES_MAX} bytes",
            path.display()
        ))),
        Ok(_) => match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// What is known of mailboxes that a listing lacks.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Their own log, or `dovecot.mailbox.log`, says that they were deleted.
    pub deleted: BTreeSet<Guid>,
    /// Missing for so long that no rename explains it.
    pub overdue: BTreeSet<Guid>,
}

/// How the tree changed since it was emitted last, and which mailboxes are missing without an explanation.
#[must_use]
pub fn difference(
    user: &UserName,
    row: Option<&UserRow>,
    listing: &Listing,
    evidence: &Evidence,
) -> (TreeSteps, BTreeSet<Guid>) {
    let nothing = UserRow::default();
    let known = row.unwrap_or(&nothing);
    let mut steps = TreeSteps::default();
    let mut unexplained = BTreeSet::new();
    let mut before = TreeChange {
        user: user.clone(),
        complete: row.is_none(),
        ..TreeChange::default()
    };
    let mut after = TreeChange {
        user: user.clone(),
        ..TreeChange::default()
    };
    for (guid, found) in &listing.mailboxes {
        let was = known.mailboxes.get(guid);
        if was.is_none() {
            steps.introduced.insert(*guid);
        }
        if was.is_none_or(|was| was.name != found.name) {
            before.mailboxes.push(named(*guid, Ok(found.name.clone())));
        }
    }
    for guid in known
        .mailboxes
        .keys()
        .filter(|guid| !listing.mailboxes.contains_key(guid))
    {
        let why = if evidence.deleted.contains(guid) || listing.deleted.contains(guid) {
            Disappearance::Genuine
        } else if evidence.overdue.contains(guid) {
            Disappearance::Inferred
        } else {
            unexplained.insert(*guid);
            continue;
        };
        steps.gone.insert(*guid);
        after.mailboxes.push(named(*guid, Err(why)));
    }
    if takes_a_name_of(known, &unexplained, &before) {
        // Who the name belonged to is not known yet; the next listing tells.
        return (TreeSteps::default(), unexplained);
    }
    names_changed(known, listing, &steps.gone, &mut before, &mut after);
    steps.together = takes_a_name_of(known, &steps.gone, &before);
    steps.before = Some(before).filter(|change| change.complete || !is_empty(change));
    steps.after = Some(after).filter(|change| !is_empty(change));
    (steps, unexplained)
}

fn named(guid: Guid, name: Result<MailboxName, Disappearance>) -> TreeMailbox {
    TreeMailbox {
        guid,
        name,
        special_use: None,
    }
}

fn is_empty(change: &TreeChange) -> bool {
    change.mailboxes.is_empty() && change.unselectable.is_empty() && change.subscriptions.is_empty()
}

/// A name that becomes unselectable because its mailbox goes can't become so before it has gone.
fn names_changed(
    known: &UserRow,
    listing: &Listing,
    gone: &BTreeSet<Guid>,
    before: &mut TreeChange,
    after: &mut TreeChange,
) {
    let going: BTreeSet<&MailboxName> = names_of(known, gone).collect();
    for (name, how) in &listing.unselectable {
        if known.unselectable.get(name) == Some(how) {
            continue;
        }
        let change = if going.contains(name) {
            &mut *after
        } else {
            &mut *before
        };
        change.unselectable.push((name.clone(), Some(*how)));
    }
    for name in known
        .unselectable
        .keys()
        .filter(|name| !listing.unselectable.contains_key(name))
    {
        before.unselectable.push((name.clone(), None));
    }
    for name in listing.subscriptions.difference(&known.subscriptions) {
        before.subscriptions.push((name.clone(), true));
    }
    for name in known.subscriptions.difference(&listing.subscriptions) {
        before.subscriptions.push((name.clone(), false));
    }
}

fn takes_a_name_of(known: &UserRow, gone: &BTreeSet<Guid>, before: &TreeChange) -> bool {
    let going: BTreeSet<&MailboxName> = names_of(known, gone).collect();
    let taken = |mailbox: &TreeMailbox| mailbox.name.as_ref().is_ok_and(|name| going.contains(name));
    before.mailboxes.iter().any(taken)
}

fn names_of<'a>(known: &'a UserRow, guids: &'a BTreeSet<Guid>) -> impl Iterator<Item = &'a MailboxName> {
    guids
        .iter()
        .filter_map(|guid| known.mailboxes.get(guid))
        .map(|row| &row.name)
}

#[cfg(test)]
mod tests;
