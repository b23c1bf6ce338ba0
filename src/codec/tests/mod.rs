//! What frames and payloads survive.

mod frames;
mod golden;
mod splitting;
