//! GUIDs and UIDVALIDITYs that were never there before.

use super::super::super::target::TargetError;
use super::Random;
use crate::op::{Guid, MessageGuid, UidValidity};
use rusqlite::{Connection, params};

/// UIDVALIDITYs that lie further ahead than this, seconds, were no clock's; new ones don't follow them.
const AHEAD_SECONDS_MAX: i64 = 86_400;

/// Gives them out.
pub(super) struct Fresh {
    random: Random,
    /// UNIX seconds.
    now: i64,
    last_uidvalidity: u32,
}

impl Fresh {
    /// Goes on behind the newest UIDVALIDITY of the store. `now_ms`: UNIX milliseconds.
    pub(super) fn new(tx: &Connection, random: Random, now_ms: u64) -> Result<Self, TargetError> {
        let mut fresh = Self {
            random,
            now: 0,
            last_uidvalidity: 0,
        };
        fresh.set_clock(now_ms);
        let newest = "SELECT coalesce(max(uidvalidity), 0) FROM mailboxes WHERE uidvalidity <= ?1";
        let most = fresh.now.saturating_add(AHEAD_SECONDS_MAX);
        fresh.last_uidvalidity = tx.query_row(newest, params![most], |row| row.get(0))?;
        Ok(fresh)
    }

    /// What time it is, UNIX milliseconds.
    pub(super) fn set_clock(&mut self, now_ms: u64) {
        self.now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    }

    /// UNIX seconds.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// A mailbox's.
    pub(super) fn guid(&mut self) -> Result<Guid, TargetError> {
        let mut octets = [0; 16];
        (self.random)(&mut octets).map_err(|why| TargetError::Retry(format!("no random numbers: {why}")))?;
        Ok(Guid(octets))
    }

    /// A message's: random but for octets 4 to 7, which say when it was made, as in Dovecot's. By them whoever ships it knows
    /// that no peer can have its body.
    pub(super) fn message_guid(&mut self) -> Result<MessageGuid, TargetError> {
        let Guid(mut octets) = self.guid()?;
        let seconds = u32::try_from(self.now).unwrap_or(u32::MAX).to_le_bytes();
        octets
            .iter_mut()
            .skip(4)
            .zip(seconds)
            .for_each(|(octet, of_time)| *octet = of_time);
        Ok(MessageGuid(Guid(octets).to_hex()))
    }

    /// The time, or more where that was given out already: a name that is used again never has an old one.
    pub(super) fn uidvalidity(&mut self) -> UidValidity {
        let now = u32::try_from(self.now).unwrap_or(u32::MAX);
        self.last_uidvalidity = now.max(self.last_uidvalidity.saturating_add(1)).max(1);
        UidValidity(self.last_uidvalidity)
    }
}
