//! The front end over a store in memory, driven through a real socket: transcripts of client (`C:`) and server (`S:`).

mod attributes;
mod bounds;
mod extensions;
mod house;
pub(crate) mod memory;
mod properties;
mod transcripts;
mod writer;
mod writes;
