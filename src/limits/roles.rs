//! Changes of roles: a lost tail on its way to the new primary, frames that one standby lends another.

/// Messages, and ranges of expunges, that one key of a merged tail names: with the longest GUIDs some 300 KiB, so that it
/// fits a frame.
pub const MERGED_MESSAGES_MAX: usize = 1_000;
/// Messages of a lost tail that are merged at a time: clients of the new primary wait behind no more.
pub const TAIL_ITEM_MESSAGES: usize = 64;
/// Octets of messages that are merged at a time; one message may be larger.
pub const TAIL_ITEM_BYTES: u64 = 8 << 20;
/// What a message of unknown size counts for.
pub const TAIL_UNKNOWN_BYTES: u64 = 1 << 20;
/// Ranges of UIDs that one `doveadm` is told: with the longest numbers 12 KiB of its command line.
pub const TAIL_UIDS_AT_ONCE: usize = 500;
/// Expunges of a lost tail, in ranges, that are merged at a time.
pub const TAIL_ITEM_RANGES: usize = MERGED_MESSAGES_MAX;
/// Messages that one expunge of a tail may name at the new primary: a whole mailbox that was emptied is merged piece by piece.
pub const TAIL_EXPUNGES_MAX: usize = 100_000;
/// Largest item of a tail as frames: the flags of a large mailbox, changed a thousand times.
pub const TAIL_ITEM_FRAME_BYTES_MAX: usize = 32 << 20;
/// Octets that an item of a tail may bring, all bodies together.
pub const TAIL_BODIES_BYTES_MAX: u64 = 512 << 20;
/// Lines of a tail that `rejoin` shows.
pub const TAIL_LINES_MAX: usize = 1_000;
/// Most operations of a tail that are gathered; a longer one is a history of its own, and is merged by hand.
pub const TAIL_OPERATIONS_MAX: usize = 5_000_000;
/// Forks that a primary names: as many promotions as its journal remembers.
pub const FORKS_MAX: usize = 1_000;
/// Longest wait for an answer while a tail is merged, seconds: a batch behind others, on a busy disk.
pub const TAIL_ANSWER_SECONDS_MAX: u64 = 120;
/// Seconds between two attempts of `rejoin = "auto"`.
pub const REJOIN_AGAIN_SECONDS: u64 = 5;
/// Longest time in which a promotion takes missing frames from a more advanced standby, seconds: nobody serves meanwhile.
pub const BORROW_SECONDS_MAX: u64 = 60;
/// Longest reading of a fenced Dovecot's logs for its tail, seconds.
pub const TAIL_CAPTURE_SECONDS_MAX: u64 = 300;
