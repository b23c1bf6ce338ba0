//! IMAP4rev1 and rev2, answers as Dovecot gives them; `docs/imap.md` lists the extensions.
//!
//! Bytes become commands in [`mod@line`] and [`grammar`], commands are answered by [`session`] with one file per command,
//! and everything that a message's octets tell (parts, ENVELOPE, BODYSTRUCTURE, searchable text) comes from [`mail`].
//! Only [`wire`] and [`session`] do I/O.

mod acl;
mod answer;
mod append;
mod authenticate;
mod capability;
mod change;
mod compress;
mod copy;
mod expunge;
mod fetch;
mod folders;
mod grammar;
mod idle;
mod letter;
mod line;
mod list;
mod login;
mod mail;
mod metadata;
mod mutf7;
mod quota;
mod search;
mod select;
mod selected;
mod session;
mod sort;
mod starttls;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod thread;
mod wire;

#[cfg(test)]
pub(crate) use tests::memory as test_store;

pub use session::Session;
pub use wire::{Duplex, Wire};

/// Reads arbitrary octets as a client's command, as the fuzz target does: whatever comes, it answers.
pub fn fuzz_command(octets: &[u8]) {
    // both outcomes are fine
    drop(grammar::parse(octets));
}

/// Makes of arbitrary octets what clients ask of a message, as the fuzz target does.
pub fn fuzz_message(octets: &[u8]) {
    let octets = std::sync::Arc::from(octets);
    drop(mail::pieces(
        &octets,
        &[
            &grammar::Item::Envelope,
            &grammar::Item::Body,
            &grammar::Item::BodyStructure,
            &grammar::Item::Preview("PREVIEW"),
        ],
    ));
}

/// Makes of arbitrary octets what SORT and THREAD compare, as the fuzz target does.
pub fn fuzz_letter(octets: &[u8]) {
    let letter = letter::Letter::new(octets);
    drop((letter.subject(), letter.display("from"), letter.mailbox("to")));
    drop((letter.sent(), letter.id(), letter.references()));
}
