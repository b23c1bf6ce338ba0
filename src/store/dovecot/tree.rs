//! Reads one user's tree until it holds still, and remembers which mailboxes are missing without an explanation.

use super::catalogue::{self, Evidence, Listing};
use super::identity::Identities;
use super::mail_root::MailRoot;
use super::order::TreeSteps;
use super::stamp::Stamp;
use crate::op::{Guid, UserName};
use crate::store::table::UserRow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
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
    root: Arc<MailRoot>,
    missing: BTreeMap<Guid, Instant>,
    /// True where the last listing held still, and nothing of it waits.
    settled: bool,
    /// True where some name is listed as Dovecot remembers it.
    heeds_list_index: bool,
    listed_at: Option<Instant>,
    /// The files that tell whether the tree changed, where nobody else does: as they were *before* the last listing. None
    /// where that was not looked at: such a one counts as changed.
    marks: BTreeMap<PathBuf, Option<Stamp>>,
    complaints: Vec<String>,
    found: bool,
    /// True where there is nothing any more.
    lost: bool,
}

impl Tree {
    /// Not read yet.
    #[must_use]
    pub fn new(user: UserName, root: Arc<MailRoot>) -> Self {
        Self {
            user,
            root,
            missing: BTreeMap::new(),
            settled: false,
            heeds_list_index: false,
            listed_at: None,
            marks: BTreeMap::new(),
            complaints: Vec::new(),
            found: false,
            lost: false,
        }
    }

    /// True where the last listing held still, and no mailbox is missing without an explanation.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled && self.missing.is_empty()
    }

    /// True where what Dovecot remembers of the tree is part of it.
    #[must_use]
    pub fn heeds_list_index(&self) -> bool {
        self.heeds_list_index
    }

    /// How long ago it was listed.
    #[must_use]
    pub fn since_listed(&self) -> Duration {
        self.listed_at.map_or(Duration::MAX, |at| at.elapsed())
    }

    /// Mailboxes that are missing, and nothing says why.
    pub fn missing(&self) -> impl Iterator<Item = Guid> {
        self.missing.keys().copied()
    }

    /// True where a mailbox is missing and nothing says why.
    #[must_use]
    pub fn misses_any(&self) -> bool {
        !self.missing.is_empty()
    }

    /// True where a directory or the subscriptions changed since the last listing, or may have.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let changed = |(path, mark): (&PathBuf, &Option<Stamp>)| mark.is_none() || Stamp::at(path) != *mark;
        self.marks.is_empty() || self.marks.iter().any(changed)
    }

    /// Looks at the marks before a listing, so that what changes during it counts as changed after it.
    fn look_at_marks(&mut self) {
        for (path, mark) in &mut self.marks {
            *mark = Stamp::at(path);
        }
    }

    /// The directories of a listing; those of mailboxes change with every message and are left out. A file that is not
    /// there keeps no mark, and its directory tells when it comes.
    fn keep_marks(&mut self, listing: &Listing, keep: bool) {
        let mailboxes: BTreeSet<&PathBuf> = listing.mailboxes.values().map(|found| &found.directory).collect();
        let directories = listing.directories.iter().filter(|path| !mailboxes.contains(path));
        let files = self.root.tree_files().filter(|file| file.exists());
        let namespaces = self.root.namespaces.iter();
        let roots = namespaces.flat_map(|namespace| [namespace.mail.clone(), namespace.index_root().to_owned()]);
        let wanted = directories.cloned().chain(roots).chain(files);
        let mut before = std::mem::take(&mut self.marks);
        if keep {
            self.marks = wanted
                .map(|path| (path.clone(), before.remove(&path).flatten()))
                .collect();
        }
    }

    /// True where there was a tree, and the last look found nothing in its place.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Looks whether that is so.
    pub fn is_away(&mut self, row: Option<&UserRow>) -> bool {
        let there = self.root.namespaces.first().is_none_or(|first| first.mail.exists());
        self.lost = !there && (self.found || row.is_some());
        if self.lost {
            let mail = self
                .root
                .namespaces
                .first()
                .map(|first| first.mail.display().to_string());
            self.complain(vec![format!(
                "there was mail, and now there is no {}",
                mail.unwrap_or_default()
            )]);
        }
        self.lost
    }

    /// Forgets mailboxes.
    pub fn retain(&mut self, keep: impl Fn(&Guid) -> bool) {
        self.missing.retain(|guid, _| keep(guid));
    }

    /// The tree as it is; listed again where something moved meanwhile. None: it can't be read (which is said once), or
    /// the user has never logged in. `keep_marks`: [`Self::has_changed`] will be asked.
    pub fn list(
        &mut self,
        row: Option<&UserRow>,
        deleted: &BTreeSet<Guid>,
        identities: &Identities,
        keep_marks: bool,
    ) -> Option<Listing> {
        let mut listing = None;
        (self.settled, self.listed_at) = (false, Some(Instant::now()));
        for attempt in 0..LISTINGS_MAX {
            if attempt > 0 {
                std::thread::sleep(LISTING_PAUSE);
            }
            self.look_at_marks();
            let now = match catalogue::list(&self.root, identities) {
                Ok(now) => now,
                Err(e) if e.kind() == io::ErrorKind::NotFound && !self.found && row.is_none() => return None,
                Err(e) => {
                    self.lost = e.kind() == io::ErrorKind::NotFound;
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
        self.keep_marks(&listing, keep_marks);
        (self.found, self.lost) = (true, false);
        self.complain(listing.complaints.clone());
        self.settled = !listing.unsettled;
        self.heeds_list_index = self.root.heeds_list_index(!listing.unselectable.is_empty());
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
            tracing::warn!(user = %crate::telemetry::user(&self.user), why, "a part of the tree can't be captured");
        }
        self.complaints = complaints;
    }
}
