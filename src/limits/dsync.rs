//! Speaking to a running Dovecot.

/// Longest line of a dsync session that is read: a mailbox's `cache_fields` of some hundred headers, the names of thousands
/// of deleted mailboxes.
pub const DSYNC_LINE_BYTES_MAX: usize = 4 << 20;
/// Longest value of an attribute that is read back: Sieve scripts are at most 1 MiB by Dovecot's own default.
pub const DSYNC_VALUE_BYTES_MAX: usize = 4 << 20;
/// Most messages that nobody told which a report names of one mailbox: enough to see what happened.
pub const DSYNC_FOREIGN_MAX: usize = 1000;
/// Most UIDs that one range of vanished ones may cover, each a line: a mailbox of a million messages, emptied.
pub const DSYNC_VANISHED_MAX: u32 = 1_000_000;
/// Most names of one user's tree at the target.
pub const DSYNC_MAILBOXES_MAX: usize = 200_000;
/// Most messages of one list that the target sends: some 200 bytes each in memory.
pub const DSYNC_REQUESTS_MAX: usize = 10_000_000;
/// Longest frame of a `doveadm` socket: the server's own buffer is far below.
pub const DSYNC_FRAME_BYTES_MAX: usize = 16 << 20;
/// Most that a server says before it lets us in: two short lines.
pub const DSYNC_GREETING_BYTES_MAX: usize = 4 << 10;
/// What is kept of a session's complaints.
pub const DSYNC_COMPLAINT_BYTES_MAX: usize = 16 << 10;
/// What is read of a session at a time.
pub const DSYNC_READ_BYTES: usize = 64 << 10;
/// Silence after which a session counts as dead, seconds: a large commit on a slow disk takes a minute.
pub const DSYNC_SILENCE_SECONDS_MAX: u64 = 300;
/// What is collected before it is written to a session.
pub const DSYNC_WRITE_BYTES: usize = 256 << 10;
/// Sessions that are kept open for users who were active lately: a process of some megabytes each at the server.
pub const DSYNC_KEPT_MAX: usize = 32;
/// Seconds without use after which one is let go.
pub const DSYNC_KEPT_SECONDS: u64 = 120;
/// Seconds after which one is begun anew: the server's own bound on silence is 600, and states grow old.
pub const DSYNC_KEPT_SECONDS_MAX: u64 = 540;
/// Messages told in one session after which it is begun anew: each later list of the same mailbox has them again.
pub const DSYNC_BURDEN_MAX: usize = 500;
/// Complaints that a report carries.
pub const DSYNC_COMPLAINTS_MAX: usize = 50;
