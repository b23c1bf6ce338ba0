//! What the tests and the quickstart stand on: private Dovecots of both versions, real clients, a seeded load, the
//! truth of a mail store as a client sees it, and pairs of nodes.
//!
//! | module | what it is |
//! |---|---|
//! | [`dovecot`] | starts and stops a private Dovecot 2.3 or 2.4 in a folder of its own |
//! | [`imap`], [`lmtp`] | small blocking clients |
//! | [`mail`] | messages out of a seed |
//! | [`link`] | a TCP relay with a rate, a delay and faults |
//! | [`load`] | a seeded mixed load, as users would make it |
//! | [`truth`] | what a client sees of every mailbox, and how two stores differ |
//! | [`node`] | `shadowd` processes, certificates and `shadowctl` |
//! | [`proxy`] | a node that only leads clients to the primary |
//! | [`pair`] | a Dovecot, its node and a standby, ready to go |
//!
//! Everything listens on 127.0.0.1, and everything ends with the thread that started it, also where that one is
//! killed: processes get a parent-death signal, and mounts live in namespaces of their own.

pub mod dovecot;
pub mod hostile;
pub mod imap;
pub mod link;
pub mod lmtp;
pub mod load;
pub mod mail;
pub mod node;
pub mod pair;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod rng;
pub mod truth;
pub mod twins;

pub use anyhow::Result;
