//! The embedded store's front end: what mail clients talk to.
//!
//! | file | what it does |
//! |---|---|
//! | [`accounts`], [`auth`] | who may log in: a passwd-file as Dovecot reads it, and a program for everybody else |
//! | [`server`] | listeners, bounds, TLS |
//! | [`census`], [`counts`], [`room`] | who is connected; what is counted; memory for mail on its way in |
//! | [`imap`], [`lmtp`] | the protocols; IMAP has one file per command |
//! | [`lacks`] | what a Dovecot does and this doesn't |
//! | `change` | has changes made, where this node is the primary |

pub mod accounts;
pub mod auth;
pub mod census;
mod change;
pub mod counts;
pub mod imap;
pub mod lacks;
pub mod lmtp;
mod password;
pub mod room;
pub mod server;
