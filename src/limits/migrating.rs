//! Looking at both sides of a migration.

/// Names that a store can't have, of one user: enough to see the pattern.
pub const UNFIT_NAMES_MAX: usize = 5;
/// Largest list of all mailboxes that a Dovecot prints: a million with names of a hundred octets.
pub const CENSUS_BYTES_MAX: u64 = 256 << 20;
/// Longest wait for such a list, seconds: a maildir whose sizes nobody has asked for is read once.
pub const CENSUS_SECONDS_MAX: u64 = 3_600;
/// Octets of users' figures that one node tells another in one answer: under [`super::WIRE_JSON_BYTES_MAX`], with room for the
/// longest entry.
pub const CENSUS_PAGE_BYTES: usize = 256 << 10;
/// Longest wait for any other answer about a migration, seconds: it runs `doveadm` a few times.
pub const MIGRATION_ASK_SECONDS_MAX: u64 = 120;
/// Octets of messages that are read to see how fast that goes.
pub const SAMPLE_BYTES_MAX: u64 = 32 << 20;
/// Longest time for it, seconds.
pub const SAMPLE_SECONDS_MAX: u64 = 5;
/// Users whose mail is read for it: the largest.
pub const SAMPLE_USERS_MAX: usize = 8;
/// How long a copy is watched to see how fast it goes, milliseconds.
pub const RATE_WATCH_MS: u64 = 2_000;
/// Longest part of the log of role changes that a migration's history is read from: its end.
pub const HISTORY_BYTES_MAX: u64 = 1 << 20;
/// Events of a migration's history that are told.
pub const HISTORY_EVENTS_MAX: usize = 50;
/// Largest users, and largest mailboxes, that a plan names.
pub const LARGEST_NAMED_MAX: usize = 10;
/// Users that a plan or a refusal names one by one.
pub const USERS_NAMED_MAX: usize = 20;
