//! Capture of one user: reads tree and logs, and lets out what may go, in an order that never shows a move as an expunge.
//!
//! A *turn* lists the tree and reads every log to its end; where an expunge was found it does both once more, so that
//! whatever append belongs to it was read too ([`super::order`]). New mailboxes are then introduced one step at a time,
//! so that a large one does not hold up anybody's mail.

use super::catalogue::{self, Listing};
use super::doveadm::MailRoot;
use super::identity::Identities;
use super::introduction::Introduction;
use super::mailbox::MailboxCapture;
use super::order::{Item, Patience, Queues, TreeSteps, release};
use super::shared::{Shared, notice};
use super::snapshot::ReadError;
use super::tail::Verdict;
use super::tree::Tree;
use super::trouble::Troubles;
use crate::limits::QUEUED_ITEMS_MAX;
use crate::op::{Guid, MailboxId, Payload, UserName};
use crate::store::source::{Captured, Finding, OutletError};
use crate::store::table::CaptureTable;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Readings of all logs in one turn: one finds an expunge, the second covers it, the others are for what came between.
const READINGS_MAX: usize = 5;
/// When to look again at what was in the middle of something.
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_secs(1);

/// One user.
pub struct UserCapture {
    user: UserName,
    root: MailRoot,
    mailboxes: BTreeMap<Guid, MailboxCapture>,
    queues: Queues,
    introduction: Option<Introduction>,
    waiting: VecDeque<Guid>,
    troubles: Troubles,
    tree: Tree,
    listed: bool,
    /// True where the last turn left something for the next, or a mailbox was introduced since.
    unfinished: bool,
    /// Mailboxes that could not be introduced, and when to try again.
    retries: BTreeMap<Guid, Instant>,
}

/// When a user should be looked at again without any event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnEnd {
    /// None: nothing is open.
    pub again: Option<Duration>,
}

impl UserCapture {
    /// Not read yet.
    #[must_use]
    pub fn new(user: UserName, root: MailRoot) -> Self {
        Self {
            tree: Tree::new(user.clone(), root.clone()),
            user,
            root,
            mailboxes: BTreeMap::new(),
            queues: Queues::new(),
            introduction: None,
            waiting: VecDeque::new(),
            troubles: Troubles::default(),
            listed: false,
            unfinished: false,
            retries: BTreeMap::new(),
        }
    }

    /// Where the mail lies.
    #[must_use]
    pub fn root(&self) -> &MailRoot {
        &self.root
    }

    /// What to watch, after a turn.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        self.tree.directories()
    }

    /// Damage that lasts.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        self.troubles.findings()
    }

    /// True while mailboxes are to be introduced: call [`Self::introduce`].
    #[must_use]
    pub fn is_introducing(&self) -> bool {
        self.introduction.is_some() || !self.waiting.is_empty()
    }

    /// True once the tree was read and nothing waits.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let lasting = |guid: &Guid| self.troubles.lasts(guid);
        let waits = self.unfinished || self.is_introducing() || self.tree.misses_any();
        self.listed && !waits && self.queues.is_empty() && self.retries.keys().all(lasting)
    }

    /// True once the tree was looked for, with or without success.
    #[must_use]
    pub fn was_read(&self) -> bool {
        self.listed
    }

    /// True where transactions of a mailbox wait to go out.
    #[must_use]
    pub fn has_queued(&self, guid: Guid) -> bool {
        self.queues.contains_key(&guid)
    }

    /// True where lasting trouble is in the way of reading a mailbox.
    #[must_use]
    pub fn is_held(&self, guid: Guid) -> bool {
        self.troubles.lasts(&guid)
    }

    /// Open log files.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.mailboxes.values().filter(|mailbox| mailbox.is_open()).count()
    }

    /// Closes them.
    pub fn close_files(&mut self) {
        self.mailboxes.values_mut().for_each(MailboxCapture::close);
    }

    /// A mailbox that was listed.
    pub fn mailbox(&mut self, guid: Guid) -> Option<&mut MailboxCapture> {
        self.mailboxes.get_mut(&guid)
    }

    fn id(&self, guid: Guid) -> MailboxId {
        MailboxId {
            user: self.user.clone(),
            guid,
        }
    }

    /// Lists the tree, reads all logs, lets out what may go.
    ///
    /// # Errors
    /// The journal takes nothing more.
    pub fn turn(&mut self, shared: &mut Shared<'_>) -> Result<TurnEnd, OutletError> {
        self.listed = true;
        let Some(mut steps) = self.read_everything(shared) else {
            return Ok(TurnEnd { again: Some(LATER) });
        };
        self.announce_tree(&mut steps, shared)?;
        self.find_waiting(shared.table);
        let patience = if steps.together {
            self.take_over(&mut steps, shared)
        } else if self.is_introducing() {
            // An expunge may be the other half of a move into a mailbox that is still to come.
            Patience::Prefixes
        } else {
            self.patience()
        };
        let out = release(&mut self.queues, &mut steps, patience);
        shared.emit(out)?;
        self.unfinished = steps.before.is_some() || steps.after.is_some();
        self.after_emission(shared.table);
        Ok(self.end())
    }

    fn patience(&self) -> Patience {
        let queued: usize = self.queues.values().map(VecDeque::len).sum();
        if queued > QUEUED_ITEMS_MAX {
            Patience::Everything
        } else {
            Patience::Covered
        }
    }

    /// New names go out before what they introduce, unless a name changes hands.
    fn announce_tree(&mut self, steps: &mut TreeSteps, shared: &mut Shared<'_>) -> Result<(), OutletError> {
        if steps.together {
            return Ok(());
        }
        let change = steps.before.take().map(|change| Captured {
            payloads: vec![Payload::Tree(change)],
            peer: None,
        });
        steps.introduced.clear();
        shared.emit(change.into_iter().collect())
    }

    /// Mailboxes of the tree that have no position yet.
    fn find_waiting(&mut self, table: &CaptureTable) {
        let introducing = self.introduction.as_ref().map(Introduction::guid);
        let known = table.user(&self.user);
        let lacking = known
            .into_iter()
            .flat_map(|row| row.mailboxes.iter())
            .filter(|(_, row)| row.position.is_none());
        let lacking: BTreeSet<Guid> = lacking.map(|(guid, _)| *guid).collect();
        self.retries.retain(|guid, _| lacking.contains(guid));
        let due = |guid: &Guid| self.retries.get(guid).is_none_or(|at| *at <= Instant::now());
        let ready = |guid: &Guid| Some(*guid) != introducing && !self.mailboxes.contains_key(guid) && due(guid);
        self.waiting = lacking.into_iter().filter(ready).collect();
    }

    /// A name changes hands: what is introduced under it goes out in the same run.
    fn take_over(&mut self, steps: &mut TreeSteps, shared: &mut Shared<'_>) -> Patience {
        for guid in steps.introduced.clone() {
            if self.mailboxes.contains_key(&guid) {
                continue;
            }
            let Some(place) = self.place_of(guid, shared.identities) else {
                return Patience::Prefixes;
            };
            let Ok(list) = Introduction::at_once(self.id(guid), &self.root, &place, shared.identities) else {
                return Patience::Prefixes;
            };
            self.mailboxes
                .insert(guid, MailboxCapture::after(self.id(guid), &self.root, &place, &list));
            let item = Item::of(vec![Payload::State(list.chunk)]);
            self.queues.entry(guid).or_default().push_front(item);
        }
        self.patience()
    }

    fn place_of(&self, guid: Guid, identities: &Identities) -> Option<PathBuf> {
        let listing = catalogue::list(&self.root, identities).ok()?;
        listing.mailboxes.get(&guid).map(|found| found.directory.clone())
    }

    fn end(&self) -> TurnEnd {
        let unread = self.troubles.any_young();
        let queued = self.unfinished || self.queues.values().flatten().next().is_some();
        let again = if queued || unread || !self.retries.is_empty() {
            Some(SOON)
        } else if self.tree.misses_any() || !self.troubles.is_empty() {
            Some(LATER)
        } else {
            None
        };
        TurnEnd { again }
    }

    /// Readings of tree and logs until every expunge is covered. None: the tree can't be read.
    fn read_everything(&mut self, shared: &mut Shared<'_>) -> Option<TreeSteps> {
        let mut steps = TreeSteps::default();
        for _ in 0..READINGS_MAX {
            let row = shared.table.user(&self.user);
            let listing = self.tree.list(row, &self.deleted(), shared.identities)?;
            self.adopt(&listing, shared.table);
            // Before anything goes out: whoever hears of an append may ask for its body at once.
            let places = listing
                .mailboxes
                .iter()
                .map(|(guid, found)| (*guid, found.directory.clone()));
            shared.bodies.note(&self.user, &self.root, places.collect());
            steps = self
                .tree
                .changes(shared.table.user(&self.user), &self.deleted(), &listing);
            let before: BTreeMap<Guid, usize> = self.queues.iter().map(|(guid, queue)| (*guid, queue.len())).collect();
            if self.read_logs(&listing, shared) {
                self.cover(&before);
            }
            if !self
                .queues
                .values()
                .flatten()
                .any(|item| item.expunges && !item.covered)
            {
                break;
            }
        }
        Some(steps)
    }

    fn deleted(&self) -> BTreeSet<Guid> {
        let deleted = self.mailboxes.iter().filter(|(_, mailbox)| mailbox.is_deleted());
        deleted.map(|(guid, _)| *guid).collect()
    }

    /// Goes on where the table says, at the place that the listing says.
    fn adopt(&mut self, listing: &Listing, table: &CaptureTable) {
        for (guid, found) in &listing.mailboxes {
            if let Some(mailbox) = self.mailboxes.get_mut(guid) {
                mailbox.moved(&found.directory);
                continue;
            }
            let id = self.id(*guid);
            if let Some(position) = table.mailbox(&id).and_then(|row| row.position.clone()) {
                let capture = MailboxCapture::resume(id, &self.root, &found.directory, position);
                self.mailboxes.insert(*guid, capture);
            }
        }
    }

    /// Reads all logs to their end. True where nothing is left unread but what lasting damage hides.
    fn read_logs(&mut self, listing: &Listing, shared: &mut Shared<'_>) -> bool {
        let mut all_read = true;
        let guids: Vec<Guid> = self.mailboxes.keys().copied().collect();
        for guid in guids {
            all_read &= self.read_log(guid, listing, shared);
        }
        all_read
    }

    fn read_log(&mut self, guid: Guid, listing: &Listing, shared: &mut Shared<'_>) -> bool {
        let Some(mailbox) = self.mailboxes.get_mut(&guid) else {
            return true;
        };
        let reading = mailbox.read(shared.identities, shared.bodies.cache());
        for txn in reading.transactions {
            *shared.notices = shared.notices.saturating_add(1);
            shared.outlet.notice(notice(*shared.notices, &txn));
            self.queue(guid, Item::of(vec![Payload::Mailbox(txn)]));
        }
        match reading.verdict {
            Verdict::End => self.well(guid),
            Verdict::State { broken, why } => self.list_again(guid, broken, why, shared.identities),
            // Deleted: nothing more can be read. Else it was moved since the listing.
            Verdict::Absent if !listing.mailboxes.contains_key(&guid) => true,
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
        }
    }

    /// Puts an item behind the others. A floor says nothing that what follows it does not say too, and of two lists in a
    /// row the first says nothing.
    fn queue(&mut self, guid: Guid, mut item: Item) {
        let queue = self.queues.entry(guid).or_default();
        if item.is_state()
            && let Some(before) = queue.pop_back_if(|last| last.is_state())
        {
            item.follow(&before);
        }
        let is_floor = |item: &Item| matches!(item.payloads.as_slice(), [Payload::Mailbox(txn)] if txn.ops.is_empty());
        queue.pop_back_if(|last| is_floor(last));
        queue.push_back(item);
    }

    fn list_again(&mut self, guid: Guid, broken: bool, why: &'static str, identities: &Identities) -> bool {
        let id = self.id(guid);
        let Some(mailbox) = self.mailboxes.get_mut(&guid) else {
            return true;
        };
        match mailbox.list_again(broken, identities) {
            Ok(list) => {
                tracing::info!(mailbox = %id, why, lineage = ?list.chunk.lineage, "read the mailbox as a state");
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

    fn well(&mut self, guid: Guid) -> bool {
        self.troubles.over(&self.id(guid));
        true
    }

    /// True once the trouble has lasted: the other mailboxes don't wait for this one any longer.
    fn ill(&mut self, guid: Guid, finding: Option<Finding>) -> bool {
        self.troubles.note(&self.id(guid), finding)
    }

    fn cover(&mut self, before: &BTreeMap<Guid, usize>) {
        for (guid, count) in before {
            if let Some(queue) = self.queues.get_mut(guid) {
                queue.iter_mut().take(*count).for_each(|item| item.covered = true);
            }
        }
    }

    /// Forgets what the table does not know any more, and gives back what only made reading quicker.
    fn after_emission(&mut self, table: &CaptureTable) {
        let known = table.user(&self.user);
        let gone = |guid: &Guid| known.is_none_or(|row| !row.mailboxes.contains_key(guid));
        let queues = &self.queues;
        self.mailboxes
            .retain(|guid, _| !gone(guid) || queues.contains_key(guid));
        self.troubles.retain(|guid| !gone(guid));
        self.tree.retain(|guid| !gone(guid));
        self.mailboxes.values_mut().for_each(MailboxCapture::rest);
    }

    /// One step of introducing a mailbox: offers some messages, or emits its list.
    ///
    /// # Errors
    /// The journal takes nothing more.
    pub fn introduce(&mut self, shared: &mut Shared<'_>) -> Result<(), OutletError> {
        if self.introduction.is_none() {
            let Some(guid) = self.waiting.pop_front() else {
                return Ok(());
            };
            let Some(place) = self.place_of(guid, shared.identities) else {
                self.retries.insert(guid, Instant::now() + SOON);
                return Ok(());
            };
            match Introduction::begin(self.id(guid), &self.root, &place, shared.identities) {
                Ok(introduction) => self.introduction = Some(introduction),
                Err(e) => self.not_introduced(guid, &place, &e),
            }
            return Ok(());
        }
        let Some(introduction) = &mut self.introduction else {
            return Ok(());
        };
        if introduction.offer(shared.outlet) {
            return Ok(());
        }
        self.unfinished = true;
        let guid = introduction.guid();
        let result = introduction.finish(shared.identities);
        let place = introduction.directory().to_owned();
        self.introduction = None;
        match result {
            Ok(list) => {
                let capture = MailboxCapture::after(self.id(guid), &self.root, &place, &list);
                let captured = Captured {
                    payloads: vec![Payload::State(list.chunk)],
                    peer: None,
                };
                shared.emit(vec![captured])?;
                self.mailboxes.insert(guid, capture);
                self.retries.remove(&guid);
                self.well(guid);
            }
            Err(e) => self.not_introduced(guid, &place, &e),
        }
        Ok(())
    }

    /// The next turn finds it waiting again.
    fn not_introduced(&mut self, guid: Guid, place: &std::path::Path, error: &ReadError) {
        let finding = match error {
            ReadError::Absent | ReadError::Unsettled(_) => None,
            ReadError::Damaged { file, offset, why } => Some((file.clone(), *offset, why.clone())),
            ReadError::Io(e) => Some((place.to_owned(), 0, e.to_string())),
        };
        self.retries
            .insert(guid, Instant::now() + if finding.is_some() { LATER } else { SOON });
        let mailbox = self.id(guid);
        let finding = finding.map(|(file, offset, why)| Finding {
            mailbox,
            file,
            offset,
            why,
        });
        self.ill(guid, finding);
    }
}
