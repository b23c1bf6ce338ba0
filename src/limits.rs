//! Every bound in one place, each with its reason. A bound that a peer, a disk or a client can reach is checked where
//! the bytes come in, never later.

/// Largest frame on disk and on the wire, header included: a transaction beyond it becomes a run.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Most parts of a run: 4,096 frames of up to 1 MiB hold the list of a mailbox of some 20 million messages.
pub const RUN_PARTS_MAX: u32 = 4096;
/// Longest user name (RFC 5321 allows 64 + 1 + 255 octets; Dovecot has no bound of its own).
pub const USER_BYTES_MAX: usize = 512;
/// Longest message GUID: a maildir base file name (NAME_MAX).
pub const MESSAGE_GUID_BYTES_MAX: usize = 255;
/// Longest keyword that Dovecot's log can hold is 64 KiB; no client uses more than a line's worth.
pub const KEYWORD_BYTES_MAX: usize = 4096;
/// Deepest mailbox name; Dovecot refuses names beyond 4,096 bytes and some 100 levels.
pub const NAME_LEVELS_MAX: usize = 128;
/// Longest mailbox name in bytes, all levels.
pub const NAME_BYTES_MAX: usize = 4096;
/// Most ranges of open expunge requests that a position carries; beyond it the mailbox is read again as a `state`.
pub const OPEN_REQUESTS_MAX: usize = 4096;
/// Appended messages that a notice names one by one.
pub const NOTICE_MESSAGES_MAX: usize = 100;
/// Other places that a need names: the newest copies of a message are the likeliest to be there still.
pub const NEED_PLACES_MAX: usize = 32;
/// Largest message body that is carried. Dovecot itself has no bound; 2 GiB is what IMAP literals of 32 bit clients allow.
pub const BODY_BYTES_MAX: u64 = 2 << 30;
/// Bytes of a body in one wire message.
pub const BODY_PART_BYTES: usize = 256 << 10;
/// Largest transaction log that is read: Dovecot rotates at 1 MiB by default; an operator may have raised it.
pub const LOG_BYTES_MAX: u64 = 256 << 20;
/// Largest main index that is read (about 50 bytes a message).
pub const INDEX_BYTES_MAX: u64 = 1 << 30;
/// Largest configuration file: a thousand groups fit in a tenth of it.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Most patterns of users in one group: beyond it the user database should do the choosing.
pub const USER_PATTERNS_MAX: usize = 1024;
/// Frames that the daemon hands to `journal cat` at a time: some hundred kilobytes of JSON.
pub const JOURNAL_CAT_FRAMES_MAX: u64 = 500;
/// Longest wait for one call of `doveadm`: a listing of 10,000 users takes it some 10 s.
pub const DOVEADM_SECONDS_MAX: u64 = 120;
/// Most output of one call of `doveadm`: 100,000 users with paths of 200 bytes are 20 MB.
pub const DOVEADM_OUTPUT_BYTES_MAX: u64 = 64 << 20;
