//! A running standby for mail servers: copies transactions, not disks.
//!
//! The rooms in the order in which a change walks through them. Arrows point down this list only: [`op`] knows
//! nothing, the programs know all, and rooms at one level don't import each other (`tests/tidy.rs` holds it).
//!
//! | room | what it does |
//! |---|---|
//! | [`op`] | what a change is, and the model that says what each operation means |
//! | [`codec`] | bytes ↔ `op` types: frames, wire messages |
//! | [`journal`] | the durable, ordered, hash-chained file of frames |
//! | [`session`] | the shipping protocol as a state machine without I/O |
//! | [`store`] | where mail lives: Dovecot as a source, the embedded SQLite store as a target |
//! | [`serve`] | the embedded store's IMAP front end |
//! | [`role`] | who may write: roles and epochs as a state machine without I/O |
//! | [`io`] | the rim: files, clock, TLS, certificates, sockets |
//! | [`redirect`] | where clients are pointed: the built-in proxy, and drivers of other redirectors |
//! | [`control`] | the admin socket, HTTP status and metrics |
//! | [`node`] | composition: runs the boxes of a group, turns an error's class into a deed |

pub mod codec;
pub mod config;
pub mod control;
pub mod io;
pub mod journal;
pub mod limits;
pub mod node;
pub mod op;
pub mod redirect;
pub mod role;
pub mod serve;
pub mod session;
pub mod store;
pub mod telemetry;
