//! Telling a running Dovecot what its mirror says.

/// Messages of one user that are told at once; more come with the next turn. A mailbox is never parted.
pub const DELTA_MESSAGES_MAX: usize = 20_000;
/// Workers that tell a Dovecot: each has a session of its own there, and most of its time is Dovecot's flushing.
pub const TELLERS: usize = 4;
/// Attempts of one turn to bring a user's mailboxes in order: what was forgotten is told as a whole, what is foreign is kept
/// first, a mailbox that had to go is made again.
pub const TELL_ROUNDS_MAX: u32 = 6;
/// Pause before a user who could not be told is tried again; doubled with each failure.
pub const TELL_AGAIN_MS: u64 = 500;
/// Longest such pause.
pub const TELL_AGAIN_MS_MAX: u64 = 60_000;
/// Pause between two attempts while the Dovecot does not answer at all.
pub const DOWN_AGAIN_MS: u64 = 1_000;
/// How often it is noted up to where everything was told: what lies behind is looked at again after a restart.
pub const TOLD_NOTED_MS: u64 = 1_000;
/// Longest time that a promotion waits until a Dovecot was told everything: 5,000 users with a backlog.
pub const PROJECT_SECONDS_MAX: u64 = 60;
/// How often a user who has nothing to be told is looked at for changes by others: a look is one session of some 30 ms.
pub const PATROL_MS: u64 = 5_000;
