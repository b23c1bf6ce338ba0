//! New mailboxes: introduced one step at a time, or at once where a name changes hands.

use super::{LATER, SOON, UserCapture};
use crate::op::{Guid, Payload};
use crate::store::dovecot::catalogue;
use crate::store::dovecot::identity::Identities;
use crate::store::dovecot::introduction::{Aside, Introduction};
use crate::store::dovecot::mailbox::MailboxCapture;
use crate::store::dovecot::order::{Item, Patience, TreeSteps};
use crate::store::dovecot::shared::Shared;
use crate::store::dovecot::snapshot::ReadError;
use crate::store::source::{Captured, Finding, OutletError};
use crate::store::table::CaptureTable;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

impl UserCapture {
    /// Mailboxes of the tree that have no position yet.
    pub(super) fn find_waiting(&mut self, table: &CaptureTable) {
        let introducing = self.introduction.as_ref().map(|list| list.guid());
        let introducing = introducing.or_else(|| self.aside.as_ref().map(Aside::guid));
        let known = table.user(&self.user);
        let lacking = known
            .into_iter()
            .flat_map(|row| row.mailboxes.iter())
            .filter(|(_, row)| row.position.is_none());
        // One that came and went before it was read is not waited for: its deletion is what comes next.
        let listed = lacking.filter(|(guid, _)| self.places.contains(guid));
        let lacking: BTreeSet<Guid> = listed.map(|(guid, _)| *guid).collect();
        self.retries.retain(|guid, _| lacking.contains(guid));
        let due = |guid: &Guid| self.retries.get(guid).is_none_or(|at| *at <= Instant::now());
        let ready = |guid: &Guid| Some(*guid) != introducing && !self.mailboxes.contains_key(guid) && due(guid);
        self.waiting = lacking.into_iter().filter(ready).collect();
    }

    /// A name changes hands: what is introduced under it goes out in the same run.
    pub(super) fn take_over(&mut self, steps: &mut TreeSteps, shared: &mut Shared<'_>) -> Patience {
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

    /// Where the last listing found it, if it is still there; else a new listing tells.
    fn place_of(&self, guid: Guid, identities: &Identities) -> Option<PathBuf> {
        if let Some(place) = self.places.get(&guid)
            && matches!(identities.of(&self.root, &place), Ok(Some(found)) if found == guid)
        {
            return Some(place);
        }
        let listing = catalogue::list(&self.root, identities).ok()?;
        listing.mailboxes.get(&guid).map(|found| found.directory.clone())
    }

    /// One step of introducing a mailbox: offers some messages, or emits its list.
    ///
    /// # Errors
    /// The journal takes nothing more.
    pub fn introduce(&mut self, shared: &mut Shared<'_>) -> Result<(), OutletError> {
        if let Some(aside) = self.aside.take() {
            match aside.take() {
                None => self.aside = Some(aside),
                Some(Ok(introduction)) => self.introduction = Some(Box::new(introduction)),
                Some(Err(e)) => self.not_introduced(aside.guid(), aside.directory(), &e),
            }
            return Ok(());
        }
        if self.introduction.is_none() {
            let Some(guid) = self.waiting.pop_front() else {
                return Ok(());
            };
            let Some(place) = self.place_of(guid, shared.identities) else {
                self.retries.insert(guid, Instant::now() + SOON);
                return Ok(());
            };
            self.aside = Aside::start(&self.id(guid), &self.root, &place, shared.identities);
            if self.aside.is_some() {
                return Ok(());
            }
            match Introduction::begin(self.id(guid), &self.root, &place, shared.identities) {
                Ok(introduction) => self.introduction = Some(Box::new(introduction)),
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
