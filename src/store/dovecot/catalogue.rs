//! A user's tree, read from its files, and how it differs from what was emitted last.
//!
//! A mailbox is what its GUID says, wherever it lies; a mailbox that has none yet is left out until it has. Listing
//! doesn't lock, so a rename in progress may hide a mailbox or show it twice: such a listing says that it is not
//! settled, and a disappearance without evidence is believed only after a while.

use super::identity::Identities;
use super::mail_root::{MailRoot, Namespace};
use super::mailbox_log::{self, MailboxEvent};
use super::order::TreeSteps;
use super::subscriptions;
use super::walk::walk;
use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::op::{Disappearance, Guid, MailboxName, Namespaces, TreeChange, TreeMailbox, Unselectable, UserName};
use crate::store::table::UserRow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A mailbox in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: MailboxName,
    /// Its special use.
    pub special_use: Option<String>,
    /// Where its index files lie.
    pub directory: PathBuf,
}

/// A user's tree at about one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Selectable mailboxes.
    pub mailboxes: BTreeMap<Guid, Found>,
    /// How clients see its names.
    pub namespaces: Namespaces,
    /// Names that `LIST "" "*"` shows although they are no mailboxes, and how.
    pub unselectable: BTreeMap<MailboxName, Unselectable>,
    /// Subscribed names.
    pub subscriptions: BTreeSet<MailboxName>,
    /// Mailboxes whose deletion stands in `dovecot.mailbox.log`.
    pub deleted: BTreeSet<Guid>,
    /// Directories whose changes may change the tree, or what a mailbox's files say.
    pub directories: Vec<PathBuf>,
    /// Those among them that hold files of a mailbox whose index lies elsewhere.
    pub beside: BTreeMap<PathBuf, Guid>,
    /// What could not be understood, for people.
    pub complaints: Vec<String>,
    /// True where something moved while it was read: read again.
    pub unsettled: bool,
}

/// Reads a user's tree, all namespaces in one.
///
/// # Errors
/// A tree can't be read. (It does not exist before a user's first login.)
pub fn list(root: &MailRoot, identities: &Identities) -> io::Result<Listing> {
    let mut listing = Listing {
        namespaces: root.seen_namespaces(),
        ..Listing::default()
    };
    for namespace in &root.namespaces {
        match walk(namespace, root, identities, &mut listing) {
            // Nothing was ever put there.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !namespace.inbox => continue,
            other => other?,
        }
        listing.directories.push(namespace.index_root().to_owned());
        listing.directories.extend(namespace.control.clone());
        read_subscriptions(namespace, &mut listing)?;
        for file in ["dovecot.mailbox.log.2", "dovecot.mailbox.log"] {
            let bytes = read_small(&namespace.index_root().join(file))?.unwrap_or_default();
            let deleted = mailbox_log::parse(&bytes)
                .into_iter()
                .filter_map(|record| match record.event {
                    MailboxEvent::Deleted(guid) => Some(guid),
                    MailboxEvent::Named { .. } => None,
                });
            listing.deleted.extend(deleted);
        }
    }
    for found in listing.mailboxes.values_mut() {
        found.special_use = root.attributes.special_use(&found.name).map(str::to_owned);
    }
    Ok(listing)
}

fn read_subscriptions(namespace: &Namespace, listing: &mut Listing) -> io::Result<()> {
    let Some(file) = &namespace.subscriptions else {
        return Ok(());
    };
    let Some(bytes) = read_small(&namespace.control_root().join(file))? else {
        return Ok(());
    };
    let read = subscriptions::parse(&bytes, namespace.layout.separator(), namespace.spelling)
        .map_err(|e| io::Error::other(e.to_string()))?;
    listing
        .complaints
        .extend(read.undecodable.iter().map(ToString::to_string));
    let seen = read.names.into_iter().map(|name| namespace.seen(name.0));
    listing.subscriptions.extend(seen);
    Ok(())
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
        namespaces: (row.is_none() || known.namespaces != listing.namespaces).then(|| listing.namespaces.clone()),
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
        if was.is_none_or(|was| was.name != found.name || was.special_use != found.special_use) {
            before.mailboxes.push(TreeMailbox {
                special_use: found.special_use.clone(),
                ..named(*guid, Ok(found.name.clone()))
            });
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
    change.namespaces.is_none()
        && change.mailboxes.is_empty()
        && change.unselectable.is_empty()
        && change.subscriptions.is_empty()
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
