//! The Dovecot parsers against stores that real Dovecots wrote.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a vector that can't be read is a failed test; Clippy does not take functions beside the tests for tests"
)]

mod bodies;
mod damage;
mod final_state;
mod list_index;
mod resets;
mod stored_bodies;
mod tailing;
mod trees;
mod vector;
