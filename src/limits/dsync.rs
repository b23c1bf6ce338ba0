//! Speaking to a running Dovecot.

/// Longest line of a dsync session that is read: a mailbox's `cache_fields` of some hundred headers, the names of thousands
/// of deleted mailboxes.
pub const DSYNC_LINE_BYTES_MAX: usize = 4 << 20;
/// Longest value of an attribute that is read back: Sieve scripts are at most 1 MiB by Dovecot's own default.
pub const DSYNC_VALUE_BYTES_MAX: usize = 4 << 20;
/// Most messages that nobody told which a report names of one mailbox: enough to see what happened.
pub const DSYNC_FOREIGN_MAX: usize = 1000;
