//! Handing the primary's role over, as planned.

/// Longest comparison of a whole store before a planned switchover, seconds; clients work meanwhile.
pub const HANDOVER_COMPARE_SECONDS_MAX: u64 = 3_600;
/// Longest wait for a step of a switchover that does no more than a few flushes, milliseconds.
pub const HANDOVER_STEP_MS_MAX: u64 = 10_000;
/// Time beyond the operator's own after which a primary lets clients in again when the standby is not heard of,
/// milliseconds.
pub const HANDOVER_GRACE_MS: u64 = 5_000;
/// Users who may change something between the comparison of everything and the last one: each costs a few milliseconds in
/// which nobody can log in.
pub const HANDOVER_USERS_MAX: usize = 2_000;
