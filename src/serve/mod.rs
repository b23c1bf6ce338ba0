//! The embedded store's front end: what mail clients talk to.
//!
//! | file | what it does |
//! |---|---|
//! | [`auth`] | who may log in: a passwd-file as Dovecot reads it |
//! | [`server`] | listeners, bounds, TLS |
//! | [`census`], [`counts`], [`room`] | who is connected; what is counted; memory for mail on its way in |
//! | [`imap`] | the protocol, one file per command |

pub mod auth;
pub mod census;
pub mod counts;
pub mod imap;
mod password;
pub mod room;
pub mod server;
