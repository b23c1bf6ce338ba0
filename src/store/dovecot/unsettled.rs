//! Mailboxes that were waited for in vain. Whoever reads bodies waits a moment for an index that is being replaced; where
//! that is no moment but damage, each message of the mailbox would cost that wait, and everybody's mail would stand behind.

use crate::limits::{UNSETTLED_MAILBOXES_MAX, UNSETTLED_SECONDS};
use crate::op::MailboxId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// See the module. Bounded: where too many mailboxes are like that, nobody is waited for.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    gave_up: BTreeMap<MailboxId, Instant>,
}

impl Unsettled {
    /// True where it may be worth to wait for this mailbox.
    pub(crate) fn may_wait_for(&mut self, mailbox: &MailboxId, now: Instant) -> bool {
        let pause = Duration::from_secs(UNSETTLED_SECONDS);
        self.gave_up.retain(|_, at| now.saturating_duration_since(*at) < pause);
        self.gave_up.len() < UNSETTLED_MAILBOXES_MAX && !self.gave_up.contains_key(mailbox)
    }

    /// It was waited for, and it was in vain.
    pub(crate) fn give_up(&mut self, mailbox: &MailboxId, now: Instant) {
        self.gave_up.insert(mailbox.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Guid;

    fn mailbox(number: usize) -> MailboxId {
        MailboxId {
            user: format!("user{number}").as_str().into(),
            guid: Guid([7; 16]),
        }
    }

    #[test]
    fn a_damaged_mailbox_costs_its_wait_once_in_a_while_and_another_one_its_own() {
        let (mut unsettled, start) = (Unsettled::default(), Instant::now());
        let later = start + Duration::from_secs(UNSETTLED_SECONDS);
        assert!(unsettled.may_wait_for(&mailbox(1), start));
        unsettled.give_up(&mailbox(1), start);
        assert!(!unsettled.may_wait_for(&mailbox(1), start));
        assert!(unsettled.may_wait_for(&mailbox(2), start));
        assert!(unsettled.may_wait_for(&mailbox(1), later));
    }

    #[test]
    fn a_disk_full_of_damage_is_not_waited_for() {
        let (mut unsettled, start) = (Unsettled::default(), Instant::now());
        (0..UNSETTLED_MAILBOXES_MAX).for_each(|number| unsettled.give_up(&mailbox(number), start));
        assert!(!unsettled.may_wait_for(&mailbox(UNSETTLED_MAILBOXES_MAX), start));
    }
}
