//! `dovecot.mailbox.log`: which mailboxes were deleted, renamed or subscribed, kept by Dovecot for dsync.
//!
//! Records of 24 bytes: `{u8 type, u8[3], u8 guid[16], u32 big-endian UNIX time}`. What is left over at the end is being
//! written.

use super::le::{array_at, u8_at};
use crate::op::Guid;

/// Octets of a record.
pub const MAILBOX_LOG_RECORD_BYTES: usize = 24;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxEvent {
    /// The mailbox with this GUID was deleted.
    Deleted(Guid),
    /// Something about a name (the first 16 octets of its SHA-1): directory deleted (2), renamed to it (3), subscribed
    /// (4), unsubscribed (5), directory created (6).
    Named {
        /// The record's type.
        kind: u8,
        /// The name's hash.
        name_hash: [u8; 16],
    },
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxLogRecord {
    /// What happened.
    pub event: MailboxEvent,
    /// When, UNIX seconds.
    pub time: u32,
}

/// The complete records, in order. Types that are not known are left out: they can't be deletions.
#[must_use]
pub fn parse(bytes: &[u8]) -> Vec<MailboxLogRecord> {
    bytes
        .chunks_exact(MAILBOX_LOG_RECORD_BYTES)
        .filter_map(record)
        .collect()
}

fn record(bytes: &[u8]) -> Option<MailboxLogRecord> {
    let (kind, guid) = (u8_at(bytes, 0)?, array_at(bytes, 4)?);
    let event = match kind {
        1 => MailboxEvent::Deleted(Guid(guid)),
        2..=6 => MailboxEvent::Named { kind, name_hash: guid },
        _ => return None,
    };
    let time = array_at(bytes, 20).map(u32::from_be_bytes)?;
    Some(MailboxLogRecord { event, time })
}

/// Entry point for fuzzing: any octets as a mailbox log.
pub fn fuzz_mailbox_log(bytes: &[u8]) {
    let _ = parse(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_being_written_waits() {
        let mut bytes = vec![1, 0, 0, 0];
        bytes.extend([0xaa; 16]);
        bytes.extend([0x6b, 2, 0x2f, 0xe0]);
        bytes.extend([1, 0, 0]);
        let records = parse(&bytes);
        let event = MailboxEvent::Deleted(Guid([0xaa; 16]));
        assert_eq!(
            records,
            [MailboxLogRecord {
                event,
                time: 0x6b02_2fe0
            }]
        );
    }
}
