//! The shipping protocol of one group between two nodes, as two state machines without I/O, clock, threads or
//! randomness: [`Ship`] on the primary's node (one for each peer), [`Receive`] on the standby's. Both live as long as
//! their role does, over any number of connections. The wire is [`crate::codec::wire`]; `schema/wire.md` describes it.
//!
//! A driver feeds `handle(now_ms, input)`, then takes everything that `request()` has and does it, and takes
//! `message()` whenever its socket's writer has room (that is the back-pressure: a body's next part is cut only when
//! asked for). `now_ms` is any clock that never goes back. After an error from `handle` the session is over: the driver
//! sends what `message()` still has, closes, and acts on [`SessionError::class`]. What the machine asked for before
//! may still be answered; answers of an older connection are told by their number and ignored.
//!
//! # The primary's side
//!
//! | the driver feeds ([`ShipInput`]) | when |
//! |---|---|
//! | `Connected` | TLS stands and the names are right |
//! | `Received` | a message was decoded |
//! | `Lost` | the connection is gone, for any reason |
//! | `Committed` | the journal's committed head moved (guarantee 2: only what is durable here is shipped) |
//! | `ChainAt`, `Frames`, `FramesGone`, `Body`, `Gone` | answers to the requests of nearly the same names |
//! | `Notice`, `Heartbeat`, `Offer` | from capture |
//! | `Ask`, `Answer` | an operator's question to the peer; our answer to one of the peer's |
//! | `Tick` | once a second |
//!
//! | the machine requests ([`ShipRequest`]) | the driver does |
//! |---|---|
//! | `ChainAt` | looks the chain hash up in the journal → `ChainAt` |
//! | `ReadFrames` | reads committed frames from the journal → `Frames`, or `FramesGone` where they were trimmed |
//! | `ReadBody` | reads the body at the source, places in turn, on a blocking thread → `Body` |
//! | `Gone` | asks the source which of these messages have no body → `Gone` |
//! | `Base` | lets capture emit a base for this peer; nothing to answer, the machine sees it in the journal |
//! | `Up`, `Position`, `OfferDone`, `Asked`, `Answered`, `Verdict` | news for status, trim, capture, verify |
//!
//! # The standby's side
//!
//! | the driver feeds ([`ReceiveInput`]) | when |
//! |---|---|
//! | `Connected`, `Received`, `Lost`, `Tick` | as above. While [`Receive::is_full`] it does not read its socket |
//! | `Journaled` | the journal's committed head moved |
//! | `Own`, `Checked`, `Stored`, `Pending` | answers to the requests below |
//! | `Applied` | the target's applied LSN or counts moved |
//! | `AskGone` | the target's questions before it can decide a transaction |
//! | `Verdict`, `Ask`, `Answer` | to be passed on |
//!
//! | the machine requests ([`ReceiveRequest`]) | the driver does |
//! |---|---|
//! | `Journal` | appends in order and commits when it likes → `Journaled` with the committed head |
//! | `RollBack` | drops the parts of a run whose end did not come before the connection was lost |
//! | `RestartJournal` | starts the journal anew at this base frame → `Journaled` |
//! | `ReadOwn` | reads committed frames of its own journal → `Own` |
//! | `CheckBodies` | `BodyStore::lacking` → `Checked` |
//! | `StoreBody`, `StoreMissing` | `BodyStore::put`, `put_missing`, `commit` when it likes; tries again by itself while the disk is full → `Stored` |
//! | `ListPending` | `BodyStore::pending` → `Pending` |
//! | `Durable` | may apply frames up to here (always the end of a transaction) |
//! | `Up`, `GoneAnswer`, `Asked`, `Answered` | news |
//!
//! # Decisions
//!
//! - Bodies are never interleaved, so a receiver assembles one at a time; frames and announcements go between parts.
//!   A body sent ahead goes before one that was asked for.
//! - A body crosses in memory, so [`crate::limits::BODY_IN_MEMORY_MAX`] bounds it; a larger one is *body pending*.
//! - Flow: a sender has at most [`crate::limits::WINDOW_BYTES`] beyond the peer's `taken`; a receiver that holds
//!   [`crate::limits::RECEIVE_BYTES_MAX`] unfinished says [`Receive::is_full`].
//! - A receiver's journal may run far ahead of its bodies: only [`crate::limits::WANTED_BODIES_MAX`] names are held, the
//!   frames beyond are read back from its own journal, which is also what happens after a restart.

pub mod announced;
mod bodies;
mod error;
mod link;
pub mod receive;
mod resume;
pub mod ship;

pub use crate::codec::wire::{Counts, Place, Position};
pub use announced::{Announced, WouldLose};
pub use error::{Class, SessionError};
pub use receive::{Receive, ReceiveInput, ReceiveRequest, ReceiveStart};
pub use ship::{Ship, ShipInput, ShipRequest, ShipStart, Standing};
