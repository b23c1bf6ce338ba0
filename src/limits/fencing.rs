//! Fencing a Dovecot, and watching a primary's mail service.

/// Longest wait for one call of `doveadm` while a Dovecot is fenced: both versions answer within 50 ms, a container's
/// within a second.
pub const FENCE_CALL_SECONDS_MAX: u64 = 10;
/// Users who are kicked one by one in one turn, where a server has other users too: some 50 ms each. The next turn goes on.
pub const FENCE_KICKS_MAX: usize = 100;
/// Largest file of users who are kept out: 100,000 with names of 300 octets.
pub const HOLD_BYTES_MAX: u64 = 32 << 20;
/// Milliseconds after which a Dovecot must have read that file anew: it looks at it once a second.
pub const HOLD_READ_MS_MAX: u64 = 3_000;
/// Turns after which the users who are to be kept out are listed anew: somebody may be new.
pub const HOLD_LIST_EVERY: u32 = 15;
/// Seconds between two looks at the doors of a fenced Dovecot: a reload opens them.
pub const FENCE_AGAIN_SECONDS: u64 = 1;
/// Seconds that the operator's own command has, to fence or to start a mail server.
pub const FENCE_COMMAND_SECONDS_MAX: u64 = 60;
/// Seconds after which the operator's command to fence, which succeeded, is run again: what it did may have been undone.
pub const FENCE_COMMAND_AGAIN_SECONDS: u64 = 15;
/// Seconds between two looks at a primary's mail service.
pub const SERVICE_EVERY_SECONDS: u64 = 5;
/// Seconds in which a mail service must greet.
pub const SERVICE_SECONDS_MAX: u64 = 2;
/// Longest line of a greeting that is read.
pub const SERVICE_LINE_BYTES_MAX: u64 = 8 << 10;
/// Most lines of an answer of a mail service that are read.
pub const SERVICE_LINES_MAX: usize = 64;
/// Seconds between two logins of the watch of a primary's mail service: each starts processes and leaves lines in logs.
pub const SERVICE_LOGIN_EVERY_SECONDS: u64 = 30;
/// Seconds that such a login may take: Dovecot itself holds a refusal back for two, and more where somebody guesses.
pub const SERVICE_LOGIN_SECONDS_MAX: u64 = 10;
/// Seconds that a promotion waits for a former primary that answers to shut its mail server: it hears of the epoch within
/// one, and needs another.
pub const OLD_SIDE_SECONDS_MAX: u64 = 3;
/// Seconds that a promotion waits for its own mail server to let clients in again.
pub const OPEN_SECONDS_MAX: u64 = 10;
/// How long `promote` waits for a primary whose mail service is down to yield, milliseconds.
pub const RELIEVE_MS_MAX: u64 = 10_000;
