//! Reads tree and logs: what is named, and where an expunge was found everything that it may belong to.

use super::{Absence, UserCapture};
use crate::op::{Guid, Payload};
use crate::store::dovecot::catalogue::Listing;
use crate::store::dovecot::identity::Identities;
use crate::store::dovecot::look::Look;
use crate::store::dovecot::mailbox::MailboxCapture;
use crate::store::dovecot::order::{Item, TreeSteps};
use crate::store::dovecot::places::Places;
use crate::store::dovecot::shared::{Shared, notice};
use crate::store::dovecot::snapshot::ReadError;
use crate::store::dovecot::tail::{self, Verdict};
use crate::store::source::Finding;
use crate::store::table::CaptureTable;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Readings of all logs in one turn: one finds an expunge, the second covers it, the others are for what came between.
const READINGS_MAX: usize = 5;
/// Listings in a row while directories appear that were not watched.
const COVERINGS_MAX: usize = 3;
/// Between two listings that only what Dovecot remembers of the tree asks for.
const LIST_INDEX_PAUSE: Duration = Duration::from_secs(1);

/// How reading some logs ended.
#[derive(Clone, Copy, Debug, Default)]
struct LogsRead {
    /// Something of them is left, and not for damage that lasts.
    unread: bool,
    /// Some mailbox is not where the last listing found it.
    moved: bool,
}

impl UserCapture {
    /// Readings of tree and logs until every expunge is covered. None: the tree can't be read.
    pub(super) fn read_everything(&mut self, look: Look, shared: &mut Shared<'_>) -> Option<TreeSteps> {
        let mut look = self.widened(look, shared.identities);
        let mut steps = TreeSteps::default();
        for _ in 0..READINGS_MAX {
            if look.tree {
                steps = self.list_tree(shared)?;
                // Where the log of one that is missing is still there, it tells what was left unread.
                look.logs.extend(self.tree.missing());
            }
            let before: BTreeMap<Guid, usize> = self.queues.iter().map(|(guid, queue)| (*guid, queue.len())).collect();
            let reading = self.read_logs(&look, shared);
            if look.every_log && !reading.unread {
                self.cover(&before);
            }
            let uncovered = |item: &Item| item.expunges && !item.covered;
            let moved = reading.moved && !look.tree;
            if !moved && !self.queues.values().flatten().any(uncovered) {
                break;
            }
            look = self.look_to_cover(moved, shared);
        }
        Some(steps)
    }

    /// What else must be looked at: what was in the middle of something, and where what happened can't be told apart.
    fn widened(&mut self, mut look: Look, identities: &Identities) -> Look {
        let renamed = |guid: &Guid| {
            let place = self.places.get(guid);
            place.is_none_or(|place| !matches!(identities.of(&self.root, &place), Ok(Some(found)) if found == *guid))
        };
        look.tree |= self.unfinished || !self.tree.is_settled() || look.names.iter().any(renamed);
        if look.list_index || self.list_index_late {
            // Dovecot writes it with every delivery: where it counts, it is looked at once a second.
            let due = self.tree.since_listed() >= LIST_INDEX_PAUSE;
            look.tree |= due && self.tree.heeds_list_index();
            self.list_index_late = !due && self.tree.heeds_list_index();
        }
        look.logs.extend(self.troubles.mailboxes());
        look.logs.extend(&self.settling);
        look
    }

    /// An expunge was read: whatever was written to the other logs before it is to be read too (whoever moves a message
    /// writes the append before the expunge). Every log is looked at. The tree need not be listed where all its
    /// directories are watched and the kernel's queue, read to its end *after* the expunge was read, has no word of it: a
    /// mailbox that was made or renamed before the expunge was written has its event in the queue by then.
    fn look_to_cover(&mut self, moved: bool, shared: &mut Shared<'_>) -> Look {
        shared.watch.drain();
        let mut look = shared.watch.take_of(&self.user);
        // No other look will have these events.
        self.attributes.look_at(&look.attributes);
        self.list_index_late |= look.list_index && self.tree.heeds_list_index();
        look.every_log = true;
        look.tree |= moved || !shared.watch.is_whole(&self.user);
        // With the layout index a rename or a new name is an event of the list index only.
        look.tree |= look.list_index && self.root.heeds_list_index(false);
        let look_names = std::mem::take(&mut look.names);
        look.tree |= !look_names.is_empty();
        look
    }

    /// Lists the tree, watches it, and takes over where mailboxes lie.
    fn list_tree(&mut self, shared: &mut Shared<'_>) -> Option<TreeSteps> {
        let mut listing = self.list_once(shared)?;
        for _ in 0..COVERINGS_MAX {
            let covered = shared.cover(&self.user, &listing);
            self.attributes.look_at(&covered.begun);
            if !covered.missed {
                break;
            }
            // A directory is watched since a moment ago: what appeared in it before that is seen now.
            listing = self.list_once(shared)?;
        }
        self.absence = Absence::default();
        self.adopt(&listing, shared.table);
        let steps = self
            .tree
            .changes(shared.table.user(&self.user), &self.deleted(), &listing);
        let missing: Vec<Guid> = self.tree.missing().collect();
        for guid in missing {
            // By the places of the listing before: this one has none for them.
            self.wake(guid, shared.table);
            if let Some(mailbox) = self.mailboxes.get_mut(&guid) {
                mailbox.heed_deletion(shared.identities);
            }
        }
        self.places = Arc::new(Places::of(
            self.root
                .namespaces
                .first()
                .map_or(Path::new(""), |first| first.index_root()),
            &listing,
        ));
        // Before anything goes out: whoever hears of an append may ask for its body at once.
        shared.bodies.note(&self.user, &self.root, Arc::clone(&self.places));
        self.swept = true;
        Some(steps)
    }

    fn list_once(&mut self, shared: &Shared<'_>) -> Option<Listing> {
        let deleted = self.deleted();
        let scanned = !shared.watch.is_whole(&self.user);
        let row = shared.table.user(&self.user);
        let mut listing = self.tree.list(row, &deleted, shared.identities, scanned)?;
        listing.directories.extend(self.attributes.directories());
        Some(listing)
    }

    fn deleted(&self) -> BTreeSet<Guid> {
        let deleted = self.mailboxes.iter().filter(|(_, mailbox)| mailbox.is_deleted());
        deleted.map(|(guid, _)| *guid).collect()
    }

    /// Goes on where the table says, at the place that the listing says.
    fn adopt(&mut self, listing: &Listing, table: &CaptureTable) {
        let known = table.user(&self.user);
        for (guid, found) in &listing.mailboxes {
            if let Some(mailbox) = self.mailboxes.get_mut(guid) {
                mailbox.moved(&found.directory);
                continue;
            }
            if known.is_some_and(|row| row.mailboxes.get(guid).is_some_and(|row| row.position.is_some())) {
                // a stamp that is known stays
                if !self.resting.contains_key(guid) {
                    self.resting.insert(*guid, None);
                }
            }
        }
    }

    /// Reads logs to their end: those that are named, or every one that is not proved unchanged.
    fn read_logs(&mut self, look: &Look, shared: &mut Shared<'_>) -> LogsRead {
        if look.every_log {
            self.look_at_resting(shared.table);
        }
        look.logs.iter().for_each(|guid| self.wake(*guid, shared.table));
        let unchanged = |guid: &Guid, mailbox: &MailboxCapture| !look.logs.contains(guid) && mailbox.is_unchanged();
        let guids: Vec<Guid> = if look.every_log {
            let changed = self
                .mailboxes
                .iter()
                .filter(|(guid, mailbox)| !unchanged(guid, mailbox));
            changed.map(|(guid, _)| *guid).collect()
        } else {
            look.logs.iter().copied().collect()
        };
        let mut read = LogsRead::default();
        for guid in guids {
            self.read_log(guid, shared, &mut read);
        }
        read
    }

    /// Wakes those whose log was written to. One of which no stamp is known (after a start) is compared with its position
    /// first: most have not changed while nobody looked.
    fn look_at_resting(&mut self, table: &CaptureTable) {
        let changed: Vec<Guid> = self
            .resting
            .iter()
            .filter(|(guid, stamp)| !self.is_quiet(guid, **stamp))
            .map(|(guid, _)| *guid)
            .collect();
        for guid in changed {
            let row = table.mailbox(&self.id(guid)).filter(|row| !row.after_repair);
            let position = row.and_then(|row| row.position.as_ref());
            let place = self.places.get(&guid);
            let stamp = place.and_then(|place| tail::stamp_at_end(&place, position?));
            if stamp.is_some() {
                self.resting.insert(guid, stamp.map(|stamp| stamp.digest()));
            } else {
                self.wake(guid, table);
            }
        }
    }

    fn read_log(&mut self, guid: Guid, shared: &mut Shared<'_>, read: &mut LogsRead) {
        let Some(mailbox) = self.mailboxes.get_mut(&guid) else {
            return;
        };
        let reading = mailbox.read(shared.identities, shared.bodies.cache());
        let displaced = mailbox.is_displaced();
        if reading.attributes_changed {
            self.attributes.logged(guid);
        }
        for txn in reading.transactions {
            *shared.notices = shared.notices.saturating_add(1);
            shared.outlet.notice(notice(*shared.notices, &txn));
            self.queue(guid, Item::of(vec![Payload::Mailbox(txn)]));
        }
        let is_listed = self.places.contains(&guid);
        read.moved |= is_listed && (displaced || reading.verdict == Verdict::Absent);
        let whole = match reading.verdict {
            Verdict::End => self.well(guid),
            Verdict::State { broken, why } => self.list_again(guid, broken, why, shared.identities),
            // Deleted: nothing more can be read. Else it was moved since the listing.
            Verdict::Absent if !is_listed => true,
            Verdict::Absent | Verdict::GivenUp | Verdict::Unsettled => self.ill(guid, None),
            Verdict::Damaged { file, offset, why } => {
                let mailbox = self.id(guid);
                self.ill(
                    guid,
                    Some(Finding {
                        mailbox,
                        file,
                        offset,
                        why,
                    }),
                )
            }
        };
        read.unread |= !whole || (displaced && is_listed);
        if self.mailboxes.get(&guid).is_some_and(MailboxCapture::is_settling) {
            self.settling.insert(guid);
        } else {
            self.settling.remove(&guid);
        }
    }

    fn list_again(&mut self, guid: Guid, broken: bool, why: &'static str, identities: &Identities) -> bool {
        let id = self.id(guid);
        let Some(mailbox) = self.mailboxes.get_mut(&guid) else {
            return true;
        };
        match mailbox.list_again(broken, identities) {
            Ok(list) => {
                tracing::info!(mailbox = %crate::telemetry::mailbox(&id), why, lineage = ?list.chunk.lineage, "read the mailbox as a state");
                mailbox.restart(&list);
                self.queue(guid, Item::of(vec![Payload::State(list.chunk)]));
                self.well(guid)
            }
            Err(ReadError::Absent | ReadError::Unsettled(_)) => self.ill(guid, None),
            Err(ReadError::Damaged { file, offset, why }) => self.ill(
                guid,
                Some(Finding {
                    mailbox: id,
                    file,
                    offset,
                    why,
                }),
            ),
            Err(ReadError::Io(e)) => {
                let file = mailbox.directory().to_owned();
                self.ill(
                    guid,
                    Some(Finding {
                        mailbox: id,
                        file,
                        offset: 0,
                        why: e.to_string(),
                    }),
                )
            }
        }
    }
}
