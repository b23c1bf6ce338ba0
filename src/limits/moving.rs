//! Moving users, one by one.

/// Largest list of users who were moved: 100,000 with names of 300 octets.
pub const MOVED_FILE_BYTES_MAX: u64 = 48 << 20;
/// Milliseconds after which it is looked again whether a move may go on.
pub const MOVE_AGAIN_MS: u64 = 10;
/// How often both sides are compared, of a move or a switchover, before a user counts as different, and the milliseconds between: what differed is told
/// anew meanwhile.
pub const MOVE_COMPARED_MAX: u32 = 3;
/// See [`MOVE_COMPARED_MAX`].
pub const MOVE_COMPARE_AGAIN_MS: u64 = 300;
/// Seconds that the other node has to take a user: it lists his mail once, which takes a moment a mailbox.
pub const MOVE_TAKE_SECONDS_MAX: u64 = 110;
/// Seconds that its answer is waited for: longer than it may take.
pub const MOVE_ANSWER_SECONDS_MAX: u64 = 120;
/// Turns of a keeper after which it looks at users who are kept out one by one, where nothing changed.
pub const MOVE_LOOK_EVERY: u32 = 10;
