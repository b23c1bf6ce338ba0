//! Mailboxes that can't be read just now. Trouble of a short life is a reading in the middle of a write or of a repair;
//! what lasts is said, holds the mailbox, and is over by itself when the source heals.

use crate::op::{Guid, MailboxId};
use crate::store::source::Finding;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct Trouble {
    finding: Option<Finding>,
    since: Instant,
    said: bool,
}

/// The troubles of one user's mailboxes.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    by_mailbox: BTreeMap<Guid, Trouble>,
}

impl Troubles {
    /// Damage that lasts.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        let lasting = self.by_mailbox.values().filter(|trouble| trouble.said);
        lasting.filter_map(|trouble| trouble.finding.clone())
    }

    /// True where a mailbox's trouble has lasted.
    #[must_use]
    pub fn lasts(&self, guid: &Guid) -> bool {
        self.by_mailbox.get(guid).is_some_and(|trouble| trouble.said)
    }

    /// Whose they are.
    pub fn mailboxes(&self) -> impl Iterator<Item = Guid> {
        self.by_mailbox.keys().copied()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_mailbox.is_empty()
    }

    /// True where some trouble may be over soon.
    #[must_use]
    pub fn any_young(&self) -> bool {
        self.by_mailbox.values().any(|trouble| !trouble.said)
    }

    /// Forgets mailboxes.
    pub fn retain(&mut self, keep: impl Fn(&Guid) -> bool) {
        self.by_mailbox.retain(|guid, _| keep(guid));
    }

    /// The mailbox could be read.
    pub fn over(&mut self, mailbox: &MailboxId) {
        if self
            .by_mailbox
            .remove(&mailbox.guid)
            .is_some_and(|trouble| trouble.said)
        {
            tracing::info!(mailbox = %crate::telemetry::mailbox(mailbox), "the mailbox can be read again");
        }
    }

    /// The mailbox could not be read. True once that has lasted. Without a finding its index is being replaced.
    pub fn note(&mut self, mailbox: &MailboxId, finding: Option<Finding>) -> bool {
        let fresh = || Trouble {
            finding: None,
            since: Instant::now(),
            said: false,
        };
        let trouble = self.by_mailbox.entry(mailbox.guid).or_insert_with(fresh);
        trouble.finding = finding;
        let lasting = trouble.since.elapsed() > GRACE;
        if lasting && !std::mem::replace(&mut trouble.said, true) {
            match &trouble.finding {
                Some(Finding { file, offset, why, .. }) => {
                    tracing::warn!(mailbox = %crate::telemetry::mailbox(mailbox), file = %crate::telemetry::file(file), offset, why, "the mailbox is held: damage at the source");
                }
                None => {
                    tracing::warn!(mailbox = %crate::telemetry::mailbox(mailbox), "the mailbox's index is absent or being replaced, and that takes long: its changes wait")
                }
            }
        }
        lasting
    }
}
