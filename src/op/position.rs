//! Where a source's log was read to.

use super::{Modseq, Uid, UidRange, UidValidity};
use serde::{Deserialize, Serialize};

/// Place in one mailbox's Dovecot transaction log, with all that makes it unmistakable. Always the end of a complete
/// transaction. Inode numbers are no proof, and `(index_id, file_seq)` may come again after a reset: hence the stamp
/// and the fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// The log's index id (a UNIX time). 0: not read from a log.
    pub index_id: u32,
    /// The log's file sequence.
    pub file_seq: u32,
    /// The log's creation stamp (UNIX time).
    pub create_stamp: u32,
    /// Bytes consumed of that file, a transaction's end.
    pub offset: u64,
    /// MODSEQ counter at `offset`.
    pub modseq: Modseq,
    /// UIDVALIDITY at `offset`.
    pub uidvalidity: UidValidity,
    /// UIDNEXT at `offset`.
    pub uidnext: Uid,
    /// First 8 bytes of BLAKE3 over the log's header (40 bytes) and the last at most 64 consumed bytes.
    pub fingerprint: [u8; 8],
    /// How often Dovecot has rebuilt this mailbox (sdbox) or the user's storage (mdbox) from the files; 0 for maildir.
    pub rebuild_count: u32,
    /// True where the index carries Dovecot's mark that it was repaired (a maildir keeps it for ever).
    pub repaired: bool,
    /// True once messages left in this chain without a request: a list that follows for a copy that was not told so
    /// attests nothing.
    pub unattested: bool,
    /// UIDs whose expunge was requested in this chain and has not happened yet; ascending, bounded by
    /// [`crate::limits::OPEN_REQUESTS_MAX`] ranges.
    pub open_requests: Vec<UidRange>,
}

impl SourcePosition {
    /// True where both are the same place of the same file. What else was known there (open requests, say) may differ:
    /// it depends on where reading began.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.at_or_after(other) && other.at_or_after(self)
    }

    /// True where `self` and `other` are places of one lineage and `self` is not before `other`. A log of the same
    /// index with a higher sequence is later; two logs with equal sequence and another stamp don't compare.
    #[must_use]
    pub fn at_or_after(&self, other: &Self) -> bool {
        if self.index_id != other.index_id {
            return false;
        }
        if self.file_seq == other.file_seq {
            return self.create_stamp == other.create_stamp && self.offset >= other.offset;
        }
        self.file_seq > other.file_seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index_id: u32, file_seq: u32, create_stamp: u32, offset: u64) -> SourcePosition {
        SourcePosition {
            index_id,
            file_seq,
            create_stamp,
            offset,
            ..SourcePosition::default()
        }
    }

    #[test]
    fn a_reset_with_the_same_sequence_does_not_compare() {
        let before = at(7, 2, 100, 400);
        assert!(at(7, 2, 100, 400).at_or_after(&before));
        assert!(at(7, 3, 200, 40).at_or_after(&before));
        assert!(!at(7, 2, 100, 396).at_or_after(&before));
        assert!(!at(7, 2, 101, 800).at_or_after(&before));
        assert!(!at(8, 9, 100, 800).at_or_after(&before));
    }
}
