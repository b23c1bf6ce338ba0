//! LMTP (RFC 2033, RFC 5321): where a mail server delivers. A message is durable before its `250`.
//!
//! | file | what it does |
//! |---|---|
//! | [`grammar`], [`path`] | command lines; the addresses in them |
//! | [`input`] | from bytes to lines, dot-stuffed and counted data |
//! | [`trace`] | the fields that a delivery adds, as Dovecot's LMTP does |
//! | [`recipient`] | which user and mailbox an address means |
//! | [`session`], [`data`] | one connection's dialogue; taking a message and delivering it |
//!
//! Only [`session`] and [`data`] do I/O.

mod data;
mod grammar;
mod input;
mod path;
mod recipient;
mod session;
#[cfg(test)]
mod tests;
mod trace;

pub use session::serve_lmtp;

/// Reads arbitrary octets as a client's command lines and as data, as the fuzz target does: whatever comes, it answers.
pub fn fuzz_lines(octets: &[u8]) {
    for line in octets.split(|b| *b == b'\n') {
        drop(grammar::parse(line));
    }
    let (mut dots, mut out) = (input::Dots::default(), Vec::new());
    dots.read(octets, &mut out);
}
