//! A running Dovecot is told what another one holds: afterwards a client sees the same on both, whatever happened between.
//!
//! They need root and the Dovecots that `./check` installs; without them they fail and say so.

mod cuts;
mod equal;
mod foreign;
mod kept;
mod names;
mod room;

pub(crate) const USER: &str = "user1@example.test";
