//! What was announced and is not durable here: what a promotion would lose (protocol 9 and 20).

use crate::limits::{HEARTBEATS_MAX, NOTICES_MAX};
use crate::op::{Heartbeat, Lsn, MailboxId, Notice, Payload, SourcePosition, UidRange};
use crate::session::receive::Settles;
use std::collections::{BTreeMap, VecDeque};

/// What a promotion would lose, as far as it can be known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WouldLose {
    /// Operations announced and not durable here: each appended message, each range of changed flags, each range of
    /// expunged messages; at least one for each transaction.
    pub operations: u64,
    /// True where announcements were missed: the loss statement then says "at least".
    pub at_least: bool,
    /// Age of what is durable here against the newest heartbeat, by the source's clock. None: no heartbeat was heard
    /// whose frames are durable here.
    pub seconds: Option<f64>,
    /// Time since the newest heartbeat, by this node's clock. None: none was heard since the daemon started.
    pub silent_seconds: Option<f64>,
}

/// Announcements that are not settled, and heartbeats. Bounded by [`NOTICES_MAX`] and [`HEARTBEATS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Announced {
    notices: BTreeMap<MailboxId, VecDeque<Notice>>,
    count: usize,
    operations: u64,
    /// Number of the last notice; a gap means that some were missed.
    last_number: Option<u64>,
    /// True once numbers began anew: the restarted agent announces again what it had not emitted.
    began_anew: bool,
    missed: Missed,
    /// Heartbeats whose captured LSN is not durable here; ascending.
    ahead: VecDeque<Heartbeat>,
    /// The newest heartbeat whose captured LSN is durable here.
    reached: Option<Heartbeat>,
    newest: Option<Heartbeat>,
    newest_at_ms: u64,
    revision: u64,
}

/// Whether announcements were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Missed {
    #[default]
    None,
    /// Some were; the next heartbeat says up to which LSN they can be.
    Some,
    /// Once this LSN is durable, none of the missed ones matters any more.
    UpTo(Lsn),
}

impl Announced {
    /// What was written down before a restart. Some may have come after that: until a heartbeat tells up to where, it is
    /// "at least".
    #[must_use]
    pub fn recalled(notices: impl IntoIterator<Item = Notice>) -> Self {
        let mut announced = Self::default();
        notices.into_iter().for_each(|notice| announced.notice(notice));
        Self {
            last_number: None,
            began_anew: true,
            missed: Missed::Some,
            ..announced
        }
    }

    /// Grows with each change of what is not settled.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A frame with this payload is durable here.
    pub fn settled_by(&mut self, payload: &Payload) {
        if let Some(settles) = Settles::of(payload) {
            self.settle(&settles);
        }
    }

    /// Takes an announcement.
    pub fn notice(&mut self, notice: Notice) {
        let expected = self.last_number.map(|last| last.saturating_add(1));
        if expected.is_some_and(|expected| expected < notice.number) {
            self.missed = Missed::Some;
        }
        self.began_anew |= self.last_number.is_some_and(|last| notice.number <= last);
        self.last_number = Some(notice.number);
        if self.count >= NOTICES_MAX {
            self.missed = Missed::Some;
            return;
        }
        let of_mailbox = self.notices.entry(notice.mailbox.clone()).or_default();
        if self.began_anew && of_mailbox.iter().any(|known| known.position == notice.position) {
            return;
        }
        self.revision += 1;
        self.count = self.count.saturating_add(1);
        self.operations = self.operations.saturating_add(operations(&notice));
        of_mailbox.push_back(notice);
    }

    /// Takes a heartbeat. `durable` is the last durable LSN here.
    pub fn heartbeat(&mut self, heartbeat: Heartbeat, durable: Lsn, now_ms: u64) {
        self.newest = Some(heartbeat);
        self.newest_at_ms = now_ms;
        if self.missed == Missed::Some {
            self.missed = Missed::UpTo(heartbeat.captured);
        }
        // Another primary, or a new stream: what was heard before is not comparable.
        if self.ahead.back().is_some_and(|last| last.captured > heartbeat.captured) {
            self.ahead.clear();
        }
        self.ahead.push_back(heartbeat);
        if self.ahead.len() > HEARTBEATS_MAX {
            self.thin_out();
        }
        self.durable(durable);
    }

    /// Forgets every second heartbeat but the oldest: what is answered is then too large, never too small.
    fn thin_out(&mut self) {
        let mut keep = false;
        self.ahead.retain(|_| {
            keep = !keep;
            keep
        });
    }

    /// Everything up to `lsn` is durable here.
    pub fn durable(&mut self, lsn: Lsn) {
        while let Some(first) = self.ahead.front()
            && first.captured <= lsn
        {
            self.reached = self.ahead.pop_front();
        }
        if matches!(self.missed, Missed::UpTo(last) if last <= lsn) {
            self.missed = Missed::None;
        }
    }

    /// What a durable frame settles.
    pub(super) fn settle(&mut self, settles: &Settles) {
        match settles {
            Settles::Position {
                mailbox,
                position,
                is_state,
            } => self.settle_mailbox(mailbox, *is_state, |notice| {
                reaches(position, *is_state, &notice.position)
            }),
            Settles::Vanished(mailboxes) => {
                for mailbox in mailboxes {
                    self.settle_mailbox(mailbox, false, |_| true);
                }
            }
        }
    }

    /// A mailbox's announcements are in its log's order, so looking at the first ones is enough; but where the log
    /// began anew, a state may settle any of them.
    fn settle_mailbox(&mut self, mailbox: &MailboxId, any: bool, settled: impl Fn(&Notice) -> bool) {
        let Some(notices) = self.notices.get_mut(mailbox) else {
            return;
        };
        let mut forget = |notice: &Notice| {
            self.revision += 1;
            self.operations = self.operations.saturating_sub(operations(notice));
            self.count = self.count.saturating_sub(1);
        };
        while let Some(notice) = notices.front().filter(|notice| settled(notice)) {
            forget(notice);
            notices.pop_front();
        }
        if any {
            notices.retain(|notice| {
                let settled = settled(notice);
                if settled {
                    forget(notice);
                }
                !settled
            });
        }
        if notices.is_empty() {
            self.notices.remove(mailbox);
        }
    }

    /// What a promotion would lose now.
    #[must_use]
    pub fn would_lose(&self, now_ms: u64) -> WouldLose {
        let seconds = |ms: u64| std::time::Duration::from_millis(ms).as_secs_f64();
        let behind_ms = match (self.newest, self.reached) {
            _ if self.ahead.is_empty() => self.newest.map(|_| 0),
            (Some(newest), Some(reached)) => Some(newest.source_ms.saturating_sub(reached.source_ms)),
            _ => None,
        };
        WouldLose {
            operations: self.operations,
            at_least: self.missed != Missed::None,
            seconds: behind_ms.map(seconds),
            silent_seconds: self.newest.map(|_| seconds(now_ms.saturating_sub(self.newest_at_ms))),
        }
    }

    /// Every announcement that is not settled, by mailbox, in the order of arrival.
    pub fn unsettled(&self) -> impl Iterator<Item = &Notice> {
        self.notices.values().flatten()
    }
}

/// True where a durable frame at `position` covers what was announced at `announced`. A state of another lineage (the
/// log began anew, so the places don't compare) covers everything before it.
fn reaches(position: &SourcePosition, is_state: bool, announced: &SourcePosition) -> bool {
    position.at_or_after(announced) || (is_state && !announced.at_or_after(position))
}

fn operations(notice: &Notice) -> u64 {
    let messages = |range: &UidRange| u64::from(range.last.0.saturating_sub(range.first.0)).saturating_add(1);
    let appended = notice.appended.iter().map(messages).fold(0, u64::saturating_add);
    let others = notice.changed.len().saturating_add(notice.expunged.len());
    appended
        .saturating_add(u64::try_from(others).unwrap_or(u64::MAX))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Guid, Uid, UidValidity};

    fn position(index_id: u32, offset: u64) -> SourcePosition {
        SourcePosition {
            index_id,
            file_seq: 1,
            offset,
            ..SourcePosition::default()
        }
    }

    fn mailbox() -> MailboxId {
        MailboxId {
            user: "u".into(),
            guid: Guid([1; 16]),
        }
    }

    fn notice(number: u64, offset: u64) -> Notice {
        Notice {
            number,
            mailbox: mailbox(),
            uidvalidity: UidValidity(1),
            appended: vec![UidRange::one(Uid(1))],
            changed: Vec::new(),
            expunged: Vec::new(),
            messages: Vec::new(),
            position: position(7, offset),
        }
    }

    fn settles(index_id: u32, offset: u64, is_state: bool) -> Settles {
        Settles::Position {
            mailbox: mailbox(),
            position: position(index_id, offset),
            is_state,
        }
    }

    fn beat(source_ms: u64, captured: u64) -> Heartbeat {
        Heartbeat {
            source_ms,
            captured: Lsn(captured),
        }
    }

    #[test]
    fn an_announcement_is_lost_until_a_frame_reaches_its_position() {
        let mut announced = Announced::default();
        announced.notice(notice(1, 100));
        announced.notice(notice(2, 200));
        assert_eq!(announced.would_lose(0).operations, 2);
        announced.settle(&settles(7, 100, false));
        assert_eq!(announced.would_lose(0).operations, 1);
        announced.settle(&settles(7, 150, true));
        assert_eq!(
            announced.would_lose(0).operations,
            1,
            "a state from before it settles nothing"
        );
        announced.settle(&settles(8, 40, false));
        assert_eq!(
            announced.would_lose(0).operations,
            1,
            "another lineage does not compare"
        );
        announced.settle(&settles(8, 40, true));
        assert_eq!(announced.would_lose(0).operations, 0);
        assert_eq!(announced.unsettled().count(), 0);
    }

    #[test]
    fn a_restart_forgets_no_announcement_and_says_that_there_may_be_more() {
        let mut before = Announced::default();
        before.notice(notice(1, 100));
        before.notice(notice(2, 200));
        let mut after = Announced::recalled(before.unsettled().cloned());
        let lost = after.would_lose(0);
        assert_eq!((lost.operations, lost.at_least), (2, true));
        // The primary goes on counting where it was, or began anew and announces again.
        after.notice(notice(7, 200));
        assert_eq!(after.would_lose(0).operations, 2);
        after.heartbeat(beat(1, 40), Lsn(40), 0);
        assert!(!after.would_lose(0).at_least);
    }

    #[test]
    fn a_missed_announcement_makes_it_at_least_until_it_can_not_matter() {
        let mut announced = Announced::default();
        announced.notice(notice(1, 100));
        announced.notice(notice(3, 300));
        assert!(announced.would_lose(0).at_least);
        announced.heartbeat(beat(1000, 9), Lsn(8), 0);
        assert!(announced.would_lose(0).at_least);
        announced.durable(Lsn(9));
        assert!(!announced.would_lose(0).at_least);
    }

    #[test]
    fn memory_is_bounded_and_overflow_is_said() {
        let mut announced = Announced::default();
        for n in 1..=u64::try_from(NOTICES_MAX).unwrap() + 1 {
            let mut other = notice(n, 100);
            other.mailbox.guid = Guid(u128::from(n).to_le_bytes());
            announced.notice(other);
        }
        assert_eq!(announced.unsettled().count(), NOTICES_MAX);
        assert!(announced.would_lose(0).at_least);
        for n in 0..5_000 {
            announced.heartbeat(beat(n, n + 1), Lsn(0), 0);
        }
        assert!(announced.ahead.len() <= HEARTBEATS_MAX);
    }

    #[test]
    fn quiet_time_never_counts_as_lost() {
        let mut announced = Announced::default();
        assert_eq!(announced.would_lose(5_000), WouldLose::default());
        announced.heartbeat(beat(10_000, 5), Lsn(5), 1_000);
        assert_eq!(announced.would_lose(61_000).seconds, Some(0.0));
        assert_eq!(announced.would_lose(61_000).silent_seconds, Some(60.0));
        announced.heartbeat(beat(40_000, 9), Lsn(5), 31_000);
        assert_eq!(announced.would_lose(31_000).seconds, Some(30.0));
        announced.durable(Lsn(9));
        assert_eq!(announced.would_lose(31_000).seconds, Some(0.0));
    }
}
