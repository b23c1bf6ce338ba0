//! What becomes of a lost tail: what a former primary wrote and never shipped, found when its disk comes back
//! (guarantee 12). Pure: what is read of the tail and of the new primary comes in, what is to be done comes out.
//!
//! | file | what it is |
//! |---|---|
//! | `net` | the tail's operations taken together: what it leaves behind, not how it came about |
//! | `mailbox` | the same of one mailbox |
//! | `items` | pieces of it in the order in which they are merged |
//! | `fate` | what becomes of one message, one change, one expunge, given what the new primary knows |
//! | `tally` | what was found and what became of it, counted |
//!
//! ```text
//! frames behind the fork ──┐
//!                          ├─► Net ──► items ──TLS──► the new primary: fate of each ──► operations of its own stream
//! the logs behind these ───┘
//! ```
//!
//! | the tail has | the new primary then |
//! |---|---|
//! | new mail | appends it, under the GUID that it had; not where the very same octets arrived meanwhile |
//! | a message whose GUID the user has already | appends a copy of it: the tail copied or moved it |
//! | a message for a mailbox that was deleted meanwhile | appends it to INBOX |
//! | a change of flags | makes it where nothing else changed the message since the fork |
//! | an expunge that was the other half of a move | makes it, where nothing else changed the message since the fork |
//! | any other expunge, a deleted mailbox | notes it in quarantine: an operator decides |
//! | a new mailbox | makes it under its GUID; where the name is taken, mail goes to the mailbox that has it |
//! | a new name for a mailbox | renames, where the name is free |
//! | a new or changed attribute | sets it where there is none; another one that is there stays |

mod fate;
mod items;
mod mailbox;
mod net;
mod tally;

#[cfg(test)]
mod tests;

pub use fate::{Arrival, ChangeFate, ExpungeFate, Known, Octets, Settled, arrival, change, expunge};
pub use items::Item;
pub use net::Net;
pub use tally::Tally;
