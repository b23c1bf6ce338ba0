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
/// Largest PEM file: a CA bundle of some hundred certificates.
pub const PEM_BYTES_MAX: u64 = 1 << 20;
/// Handshakes with callers who have not proved who they are: peers are few, strangers must not use up the memory.
pub const HANDSHAKES_MAX: usize = 32;
/// Longest TLS handshake, the connection's setup included.
pub const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// Frames that the daemon hands to `journal cat` at a time: some hundred kilobytes of JSON.
pub const JOURNAL_CAT_FRAMES_MAX: u64 = 500;
/// Longest wait for one call of `doveadm`: a listing of 10,000 users takes it some 10 s.
pub const DOVEADM_SECONDS_MAX: u64 = 120;
/// Most output of one call of `doveadm`: 100,000 users with paths of 200 bytes are 20 MB.
pub const DOVEADM_OUTPUT_BYTES_MAX: u64 = 64 << 20;
/// Longest node name: what a DNS name in a certificate can have (RFC 1035 section 2.3.4).
pub const NODE_BYTES_MAX: usize = 253;
/// Longest reason for a base; a sentence for people.
pub const REASON_BYTES_MAX: usize = 1024;
/// Longest special use; the registered ones have at most 10 bytes.
pub const SPECIAL_USE_BYTES_MAX: usize = 255;
/// Largest value that goes through [`crate::codec::packed`]: nothing in it is larger than a frame.
pub const PACKED_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Room for a frame's header (98 bytes and a node name), payload length and checksum, rounded up.
pub const FRAME_OVERHEAD_BYTES_MAX: usize = 512;
/// Largest payload of one frame.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES_MAX;
/// UID ranges that one operation keeps when its transaction must become a run: at most 10 bytes each, so that every
/// piece fits a frame. Shorter transactions are carried as they were logged.
pub const SPLIT_RANGES_MAX: usize = 32_768;
/// Largest body of a journal record: a frame, or a part of a checkpoint.
pub const RECORD_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Largest part of a checkpoint: as a frame, so that recovery needs one buffer size; 32 bytes are the record's own.
pub const CHECKPOINT_PART_BYTES_MAX: usize = RECORD_BYTES_MAX - 32;
/// Most parts of a checkpoint: 4,096 parts of 1 MiB are positions of some 20 million mailboxes.
pub const CHECKPOINT_PARTS_MAX: u32 = 4096;
/// A journal segment that has reached this size is sealed at the next commit: small enough that trimming frees space
/// soon, large enough that a seal (two more flushes) is rare.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// Records that the journal holds in memory before it writes them; a commit writes them earlier.
pub const JOURNAL_PENDING_BYTES_MAX: usize = 4 << 20;
/// Distance of the marks by which a reader finds an LSN inside a segment.
pub const JOURNAL_MARK_BYTES: u64 = 64 << 10;
/// Most segments of one journal: 16 MiB each make 1 TiB, far above any `journal_bytes_max`.
pub const JOURNAL_SEGMENTS_MAX: usize = 65_536;
/// Most extensions of one Dovecot index: its own are about a dozen, plugins add a few (`fts`, `sort-*`).
pub const EXTS_MAX: usize = 256;
/// Largest extension header: the list index keeps all names of a user's mailboxes in one (20,000 names of 200 bytes).
pub const EXT_HEADER_BYTES_MAX: usize = 4 << 20;
