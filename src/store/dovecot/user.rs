//! Capture of one user: reads tree and logs, and lets out what may go, in an order that never shows a move as an expunge.
//!
//! A *turn* looks at what is said to have changed: a log that was written to, or the tree. Where an expunge was found it
//! looks at everything once more, so that whatever append belongs to it was read too ([`super::order`], [`reading`]). New
//! mailboxes are then introduced one step at a time ([`introducing`]), so that a large one does not hold up anybody's mail.

mod introducing;
mod reading;

use super::attributes::AttributeCapture;
use super::introduction::{Aside, Introduction};
use super::look::Look;
use super::mail_root::MailRoot;
use super::mailbox::MailboxCapture;
use super::order::{Item, Patience, Queues, TreeSteps, release};
use super::places::Places;
use super::shared::Shared;
use super::stamp::{Stamp, StampDigest};
use super::tail::LOG;
use super::tree::Tree;
use super::trouble::Troubles;
use crate::limits::QUEUED_ITEMS_MAX;
use crate::op::{Guid, MailboxId, Payload, UserName};
use crate::store::flat_map::FlatMap;
use crate::store::source::{Captured, Finding, OutletError};
use crate::store::table::CaptureTable;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When to look again at what was in the middle of something.
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_secs(1);
/// The longest pause between two looks for mail that is not there yet.
const ABSENCE_MAX: Duration = Duration::from_secs(30);

/// One user.
pub struct UserCapture {
    user: UserName,
    root: Arc<MailRoot>,
    mailboxes: BTreeMap<Guid, MailboxCapture>,
    /// Where they lie, as of the last listing. Shared with whoever reads bodies.
    places: Arc<Places>,
    attributes: AttributeCapture,
    /// Mailboxes of which only the table's position is kept: their logs' stamps when they were read to their end, where
    /// that is known.
    resting: FlatMap<Guid, Option<StampDigest>>,
    queues: Queues,
    /// A large mailbox that is listed for the first time.
    aside: Option<Aside>,
    /// Boxed: few users have one.
    introduction: Option<Box<Introduction>>,
    waiting: VecDeque<Guid>,
    troubles: Troubles,
    /// Mailboxes that were repaired a moment ago.
    settling: BTreeSet<Guid>,
    tree: Tree,
    listed: bool,
    /// True where the last turn left something for the next, or a mailbox was introduced since.
    unfinished: bool,
    /// Mailboxes that could not be introduced, and when to try again.
    retries: BTreeMap<Guid, Instant>,
    absence: Absence,
    /// True where what Dovecot remembers of the tree changed and is to be looked at later.
    list_index_late: bool,
    /// True where mailboxes may have to be forgotten: the tree was listed.
    swept: bool,
}

/// How long somebody who has never logged in is not looked for: longer each time.
#[derive(Clone, Copy, Debug, Default)]
struct Absence {
    looks: u32,
}

impl Absence {
    fn next_look(&mut self) -> Duration {
        let pause = LATER.saturating_mul(1 << self.looks.min(5)).min(ABSENCE_MAX);
        self.looks = self.looks.saturating_add(1);
        pause
    }
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
    pub fn new(user: UserName, root: Arc<MailRoot>) -> Self {
        Self {
            tree: Tree::new(user.clone(), Arc::clone(&root)),
            attributes: AttributeCapture::new(user.clone(), Arc::clone(&root)),
            user,
            root,
            mailboxes: BTreeMap::new(),
            places: Arc::default(),
            resting: FlatMap::default(),
            queues: Queues::new(),
            aside: None,
            introduction: None,
            waiting: VecDeque::new(),
            troubles: Troubles::default(),
            settling: BTreeSet::new(),
            listed: false,
            unfinished: false,
            retries: BTreeMap::new(),
            absence: Absence::default(),
            list_index_late: false,
            swept: false,
        }
    }

    /// Where the mail lies.
    #[must_use]
    pub fn root(&self) -> &Arc<MailRoot> {
        &self.root
    }

    /// Damage that lasts.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        self.troubles.findings().chain(self.attributes.findings())
    }

    /// True while mailboxes are to be introduced: call [`Self::introduce`].
    #[must_use]
    pub fn is_introducing(&self) -> bool {
        self.aside.is_some() || self.introduction.is_some() || !self.waiting.is_empty()
    }

    /// True while the next step of introducing waits for a list.
    #[must_use]
    pub fn is_listing(&self) -> bool {
        self.aside.is_some()
    }

    /// True where the mailbox that is being introduced waits until all that was offered of it is fetched.
    #[must_use]
    pub fn waits_for_offers(&self) -> bool {
        self.introduction.as_ref().is_some_and(|list| list.waits_for_the_last())
    }

    /// True once the tree was read and nothing waits.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let lasting = |guid: &Guid| self.troubles.lasts(guid);
        let waits = self.unfinished || self.is_introducing() || self.tree.misses_any();
        let waits = waits || self.attributes.is_waiting() || !self.settling.is_empty();
        self.listed && !self.tree.is_lost() && !waits && self.queues.is_empty() && self.retries.keys().all(lasting)
    }

    /// True where there was mail, and there is nothing in its place.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.tree.is_lost()
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

    /// What differs from what was read, by looking at files' times and sizes only: for those of whom not every directory is
    /// watched.
    #[must_use]
    pub fn scan(&mut self) -> Look {
        let changed = self.mailboxes.iter().filter(|(_, mailbox)| !mailbox.is_unchanged());
        let mut logs: BTreeSet<Guid> = changed.map(|(guid, _)| *guid).collect();
        let resting = self
            .resting
            .iter()
            .filter(|(guid, stamp)| !self.is_quiet(guid, **stamp));
        logs.extend(resting.map(|(guid, _)| *guid));
        Look {
            tree: self.tree.has_changed(),
            // A log that was written to may be that of another mailbox now.
            names: logs.clone(),
            logs,
            ..Look::default()
        }
    }

    /// Mailboxes of which more than a position is kept; each may hold a file open.
    #[must_use]
    pub fn awake(&self) -> usize {
        self.mailboxes.len()
    }

    /// Keeps only the table's position of every mailbox of which nothing else counts.
    pub fn rest(&mut self, table: &CaptureTable) {
        let row = table.user(&self.user);
        for (guid, capture) in std::mem::take(&mut self.mailboxes) {
            let position = row.and_then(|row| row.mailboxes.get(&guid)?.position.as_ref());
            let free = !self.queues.contains_key(&guid) && !self.troubles.mailboxes().any(|ill| ill == guid);
            if free && position.is_some_and(|position| capture.may_rest(position)) {
                self.resting.insert(guid, capture.stamp().map(|stamp| stamp.digest()));
            } else {
                self.mailboxes.insert(guid, capture);
            }
        }
    }

    /// True where nothing was written to a resting mailbox's log since it was read to its end.
    fn is_quiet(&self, guid: &Guid, stamp: Option<StampDigest>) -> bool {
        // One that is not in the tree any more has no log to be read.
        let Some(place) = self.places.get(guid) else {
            return true;
        };
        stamp.is_some() && Stamp::at(&place.join(LOG)).map(|now| now.digest()) == stamp
    }

    /// Follows a resting mailbox again, from the position that the table has.
    fn wake(&mut self, guid: Guid, table: &CaptureTable) {
        let id = self.id(guid);
        let row = table.mailbox(&id);
        let after_repair = row.is_some_and(|row| row.after_repair);
        let position = row.and_then(|row| row.position.clone());
        if let (Some(position), Some(place)) = (position, self.places.get(&guid))
            && self.resting.remove(&guid).is_some()
        {
            let mut capture = MailboxCapture::resume(id, &self.root, &place, position);
            if after_repair {
                capture.came_into_a_repair();
            }
            self.mailboxes.insert(guid, capture);
        }
    }

    /// A mailbox that was listed, once it was read.
    pub fn mailbox(&mut self, guid: Guid) -> Option<&mut MailboxCapture> {
        self.mailboxes.get_mut(&guid)
    }

    fn id(&self, guid: Guid) -> MailboxId {
        MailboxId {
            user: self.user.clone(),
            guid,
        }
    }

    /// Looks at what `look` says, and at what that makes necessary; lets out what may go.
    ///
    /// # Errors
    /// The journal takes nothing more.
    pub fn turn(&mut self, look: Look, shared: &mut Shared<'_>) -> Result<TurnEnd, OutletError> {
        self.listed = true;
        if self.tree.is_away(shared.table.user(&self.user)) {
            // Its logs may still be read, but are perhaps another user's now: what they say is for whom the next list of
            // users says they belong to.
            return Ok(TurnEnd {
                again: Some(self.absence.next_look()),
            });
        }
        self.attributes.look_at(&look.attributes);
        let Some(mut steps) = self.read_everything(look, shared) else {
            return Ok(TurnEnd {
                again: Some(self.absence.next_look()),
            });
        };
        self.attributes.renamed(&steps);
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
        self.emit_attributes(shared)?;
        self.after_emission(shared.table);
        Ok(self.end())
    }

    /// Attributes go behind the tree that names their mailboxes.
    fn emit_attributes(&mut self, shared: &mut Shared<'_>) -> Result<(), OutletError> {
        let Some(row) = shared.table.user(&self.user) else {
            return Ok(());
        };
        let changes = self.attributes.changes(row, &self.places);
        let captured = |change| Captured {
            payloads: vec![Payload::Attributes(change)],
            peer: None,
        };
        shared.emit(changes.into_iter().map(captured).collect())
    }

    /// The user's attributes, and where the mailboxes lie.
    #[must_use]
    pub fn attributes(&self) -> (&AttributeCapture, &Places) {
        (&self.attributes, &self.places)
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

    fn end(&self) -> TurnEnd {
        let unread = self.troubles.any_young();
        let queued = self.unfinished || self.queues.values().flatten().next().is_some();
        let again = if queued || unread || self.attributes.is_waiting() || !self.retries.is_empty() {
            Some(SOON)
        } else if self.tree.misses_any()
            || self.list_index_late
            || !self.troubles.is_empty()
            || self.attributes.findings().next().is_some()
            || !self.settling.is_empty()
        {
            Some(LATER)
        } else {
            None
        };
        TurnEnd { again }
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

    /// Forgets what the table does not know any more.
    fn after_emission(&mut self, table: &CaptureTable) {
        if !std::mem::take(&mut self.swept) {
            return;
        }
        let known = table.user(&self.user);
        let gone = |guid: &Guid| known.is_none_or(|row| !row.mailboxes.contains_key(guid));
        let queues = &self.queues;
        self.mailboxes
            .retain(|guid, _| !gone(guid) || queues.contains_key(guid));
        // Whose last words have not gone out is forgotten the next time.
        self.swept = self.mailboxes.keys().any(gone);
        self.resting.retain(|guid, _| !gone(guid));
        self.troubles.retain(|guid| !gone(guid));
        self.settling.retain(|guid| !gone(guid));
        self.tree.retain(|guid| !gone(guid));
    }
}

#[cfg(test)]
mod tests;
