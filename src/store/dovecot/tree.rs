//! Reads one user's tree until it holds still, and remembers which mailboxes are missing without an explanation.

use super::catalogue::{self, Evidence, Listing};
use super::doveadm::MailRoot;
use super::identity::Identities;
use super::order::TreeSteps;
use crate::op::{Guid, UserName};
use crate::store::table::UserRow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Listings in a row while something is being renamed.
const LISTINGS_MAX: usize = 4;
const LISTING_PAUSE: Duration = Duration::from_millis(3);
/// A mailbox that is missing for so long without any evidence was not renamed.
const MISSING_GRACE: Duration = Duration::from_secs(5);

/// One user's tree.
#[derive(Debug)]
pub struct Tree {
    user: UserName,
    root: MailRoot,
    missing: BTreeMap<Guid, Instant>,
    directories: Vec<PathBuf>,
    complaints: Vec<String>,
    found: bool,
}

impl Tree {
    /// Not read yet.
    #[must_use]
    pub fn new(user: UserName, root: MailRoot) -> Self {
        Self {
            user,
            root,
            missing: BTreeMap::new(),
            directories: Vec::new(),
            complaints: Vec::new(),
            found: false,
        }
    }

    /// Directories whose changes may change the tree or a mailbox.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// True where a mailbox is missing and nothing says why.
    #[must_use]
    pub fn misses_any(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Forgets mailboxes.
    pub fn retain(&mut self, keep: impl Fn(&Guid) -> bool) {
        self.missing.retain(|guid, _| keep(guid));
    }

    /// The tree as it is; listed again where something moved meanwhile. None: it can't be read (which is said once), or
    /// the user has never logged in.
    pub fn list(
        &mut self,
        row: Option<&UserRow>,
        deleted: &BTreeSet<Guid>,
        identities: &Identities,
    ) -> Option<Listing> {
        let mut listing = None;
        for attempt in 0..LISTINGS_MAX {
            if attempt > 0 {
                std::thread::sleep(LISTING_PAUSE);
            }
            let now = match catalogue::list(&self.root, identities) {
                Ok(now) => now,
                Err(e) if e.kind() == io::ErrorKind::NotFound && !self.found && row.is_none() => return None,
                Err(e) => {
                    self.complain(vec![e.to_string()]);
                    return None;
                }
            };
            let (_, unexplained) = self.compare(row, deleted, &now);
            let moving = now.unsettled || unexplained.iter().any(|guid| !self.missing.contains_key(guid));
            listing = Some(now);
            if !moving {
                break;
            }
        }
        let listing = listing?;
        self.found = true;
        self.complain(listing.complaints.clone());
        self.directories.clone_from(&listing.directories);
        Some(listing)
    }

    /// What changed since it was emitted last.
    pub fn changes(&mut self, row: Option<&UserRow>, deleted: &BTreeSet<Guid>, listing: &Listing) -> TreeSteps {
        let (steps, unexplained) = self.compare(row, deleted, listing);
        self.missing
            .retain(|guid, _| unexplained.contains(guid) || steps.gone.contains(guid));
        for guid in unexplained {
            self.missing.entry(guid).or_insert_with(Instant::now);
        }
        steps
    }

    fn compare(
        &self,
        row: Option<&UserRow>,
        deleted: &BTreeSet<Guid>,
        listing: &Listing,
    ) -> (TreeSteps, BTreeSet<Guid>) {
        let overdue = self.missing.iter().filter(|(_, since)| since.elapsed() > MISSING_GRACE);
        let evidence = Evidence {
            deleted: deleted.clone(),
            overdue: overdue.map(|(guid, _)| *guid).collect(),
        };
        catalogue::difference(&self.user, row, listing, &evidence)
    }

    /// Says what is new among the complaints.
    fn complain(&mut self, complaints: Vec<String>) {
        for why in complaints.iter().filter(|why| !self.complaints.contains(why)) {
            tracing::warn!(user = %self.user, why, "a part of the tree can't be captured");
        }
        self.complaints = complaints;
    }
}
