//! Bytes ↔ [`crate::op`] types. Bounded on both ways, and never panics: every byte may come from a damaged disk or a
//! stranger.
//!
//! | module | bytes of |
//! |---|---|
//! | [`frame`] | a frame: header, payload, checksum, chain hash (`schema/frame.md`) |
//! | [`payload`] | what a frame carries, with explicit numeric tags (`schema/operations.md`) |
//! | [`check`] | what a decoded (or to be encoded) payload must satisfy |
//! | [`split`] | payloads that don't fit one frame |
//! | [`wire`] | what two nodes say to each other (`schema/wire.md`) |
//! | [`packed`] | plain values; the only module that names the serialisation crate |

mod attributes;
pub mod check;
pub(crate) mod cursor;
pub mod error;
pub mod frame;
pub mod packed;
pub mod payload;
pub mod split;
pub mod wire;

#[cfg(test)]
mod tests;

pub use error::CodecError;
pub use frame::{EncodedFrame, open, peek, seal};
