//! Where a user's mailboxes lie, in little memory: most lie below the mail root.

use super::catalogue::Listing;
use crate::op::Guid;
use crate::store::flat_map::FlatMap;
use std::path::{Path, PathBuf};

/// Index directories by mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    root: PathBuf,
    /// Below the root, or absolute.
    by_guid: FlatMap<Guid, Box<Path>>,
}

impl Places {
    /// Of a listing.
    #[must_use]
    pub fn of(root: &Path, listing: &Listing) -> Self {
        let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).into();
        let by_guid = listing.mailboxes.iter();
        Self {
            root: root.to_owned(),
            by_guid: by_guid.map(|(guid, found)| (*guid, below(&found.directory))).collect(),
        }
    }

    /// The index directory of a mailbox; none where the listing did not have it.
    #[must_use]
    pub fn get(&self, guid: &Guid) -> Option<PathBuf> {
        self.by_guid.get(guid).map(|path| self.root.join(path))
    }

    /// True where the listing had it.
    #[must_use]
    pub fn contains(&self, guid: &Guid) -> bool {
        self.by_guid.contains_key(guid)
    }

    /// Mailboxes that lie elsewhere, or nowhere, in `now`.
    pub fn moved<'a>(&'a self, now: &'a Self) -> impl Iterator<Item = Guid> + 'a {
        let same =
            |guid: &Guid, path: &Path| self.root == now.root && now.by_guid.get(guid).map(AsRef::as_ref) == Some(path);
        self.by_guid
            .iter()
            .filter(move |(guid, path)| !same(guid, path))
            .map(|(guid, _)| *guid)
    }
}

impl FromIterator<(Guid, PathBuf)> for Places {
    fn from_iter<I: IntoIterator<Item = (Guid, PathBuf)>>(places: I) -> Self {
        let places = places.into_iter();
        Self {
            root: PathBuf::new(),
            by_guid: places.map(|(guid, path)| (guid, path.into_boxed_path())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::catalogue::Found;

    #[test]
    fn an_index_outside_the_mail_root_is_found_where_it_is() {
        let mut listing = Listing::default();
        listing.mailboxes.insert(Guid([1; 16]), found("/mail/u/.A"));
        listing.mailboxes.insert(Guid([2; 16]), found("/index/u/.B"));
        listing.mailboxes.insert(Guid([3; 16]), found("/mail/u"));
        let before = Places::of(Path::new("/mail/u"), &listing);
        assert_eq!(before.get(&Guid([1; 16])), Some("/mail/u/.A".into()));
        assert_eq!(before.get(&Guid([2; 16])), Some("/index/u/.B".into()));
        assert_eq!(before.get(&Guid([3; 16])), Some("/mail/u/".into()));
        listing.mailboxes.insert(Guid([2; 16]), found("/index/u/.C"));
        listing.mailboxes.remove(&Guid([1; 16]));
        let now = Places::of(Path::new("/mail/u"), &listing);
        assert_eq!(before.moved(&now).collect::<Vec<_>>(), [Guid([1; 16]), Guid([2; 16])]);
        assert!(!now.contains(&Guid([1; 16])));
    }

    fn found(path: &str) -> Found {
        Found {
            name: crate::op::MailboxName::of([path]),
            special_use: None,
            directory: path.into(),
        }
    }
}
