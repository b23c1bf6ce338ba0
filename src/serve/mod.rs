//! The embedded store's front end: what mail clients talk to.
//!
//! | file | what it does |
//! |---|---|
//! | [`auth`] | who may log in: a passwd-file as Dovecot reads it |
//! | [`server`] | listeners, connection bounds, TLS |
//! | [`imap`] | the protocol, one file per command |

pub mod auth;
pub mod imap;
mod password;
pub mod server;
