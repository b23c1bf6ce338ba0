//! What frames and payloads survive.

mod frames;
mod golden;
mod message_guid;
mod splitting;
