//! Speaks to a running Dovecot, of 2.3 or 2.4 and any format, as the deciding side of a dsync session.
//!
//! What it says is a [`Delta`] of one user; what comes back is a [`Report`]. Both are plain values. Everything between them
//! that needs no file, socket or clock is pure: bytes in, bytes out.
//!
//! | module | does |
//! |---|---|
//! | [`delta`] | the values: what to tell, what became of it, what was read |
//! | [`check`] | what is never said, because it would make a server abort, destroy or mix up something |
//! | [`judge`](mod@judge), `compare`(mod@compare) | what may be told, before anything is changed there; how a mailbox that differs becomes equal |
//! | [`telling`], [`asking`] | the two kinds of session: state machines |
//! | `say`, [`said`], [`reader`] | what we say, what the other side says |
//! | `columns`, `value`, `stuffing`, `attribute` | the bytes of both |
//! | `ways`, `greeting`, `link` | the ways to a `dsync-server`: the `doveadm` socket, or a process |
//! | `inbox` | the one mailbox that can't be made as others are |
//! | `amend` | small changes to a Dovecot that clients use meanwhile |
//! | `talk`, [`speaker`] | a session over its link; which sessions there are, and which are kept |
//!
//! Why it is never otherwise than so: bodies go out by ascending UID whatever the order of requests (else MODSEQs are
//! attached to the wrong messages); the version said is 3.5 (from 3.6 on, attributes that are not sent are deleted); the whole
//! tree is told, never one mailbox by name (a rename would make two mailboxes with one GUID); a mailbox that the target
//! already holds is never told as a complete list but as the difference from what was read of it (a list that lacks a
//! message, or has one more, below the target's UIDNEXT makes Dovecot delete the mailbox).

mod amend;
pub mod asking;
mod attribute;
pub mod check;
mod columns;
mod compare;
pub mod delta;
mod greeting;
mod inbox;
mod judge;
mod link;
pub mod reader;
pub mod said;
mod say;
pub mod speaker;
mod stuffing;
mod talk;
pub mod telling;
mod value;
mod ways;

pub use asking::Asking;
pub use check::Flaw;
pub use delta::*;
pub use greeting::fuzz_greeting;
pub use reader::fuzz_dsync;
pub use speaker::{DsyncError, Speaker};
pub use telling::Telling;

/// A session that can't go on: the other side failed, went away, or said what can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Broken {
    /// Why, for people.
    pub why: String,
}

fn broken(why: impl Into<String>) -> Broken {
    Broken { why: why.into() }
}

#[cfg(test)]
mod tests;
