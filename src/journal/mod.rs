//! The durable, ordered, hash-chained file of frames. The same code on both sides: on the primary it is the backlog
//! that survives an outage of the link, on the standby it is what an acknowledgement means.
//!
//! # What it promises
//!
//! - **Dense.** Frames stand in it by LSN without a gap, each chained to the one before; anything else is refused when
//!   it is appended and found when it is read ([`succession`]).
//! - **Whole.** A run is committed by its last frame. Recovery cuts a run without its end; nobody ever reads one.
//! - **Durable, then visible.** [`Journal::commit`] flushes once; readers and [`Journal::head`] see only what was
//!   flushed and whole.
//! - **Torn is not damaged.** What a crash may leave is cut, and only at the end of the newest segment. Every record
//!   says how far its segment was durable before it was written: where a record behind a bad one proves that the bad
//!   one had been durable, and in every older segment, it is damage ([`JournalError::Corrupt`]), and nothing is cut.
//! - **Poisoned.** After a failed flush nothing more is written to that file: what the kernel dropped can't be known.
//!   Restarting writes the unproven end again before it flushes.
//! - **Full is not broken.** A write that fails leaves nothing half-written behind, and may be tried again.
//!
//! # Files of one directory (`schema/journal.md`)
//!
//! | file | what |
//! |---|---|
//! | `journal-<first LSN, 20 digits>.seg` | a segment: header, then records (frames, checkpoint parts) |
//! | `segment.new`, `restart.new` | not yet durable; removed by recovery |
//! | `restart.seg` | a durable new beginning; recovery finishes it: removes the old segments and names it |
//! | `journal.lock` | held while a daemon has it open |
//!
//! # Modules, in the order of the way of a frame
//!
//! [`sealer`] gives out LSNs · [`writer`] appends and commits · [`record`] and [`segment`] are the bytes · [`disk`] is
//! where they lie · [`recovery`] makes a journal of what a crash left · [`reader`] reads while the writer goes on.

mod checkpoint;
pub mod disk;
pub mod error;
pub mod reader;
mod recent;
pub mod record;
pub mod recovery;
mod restart;
mod scan;
pub mod sealer;
pub mod segment;
mod shelf;
pub mod succession;
pub mod writer;

pub use disk::{Directory, Disk};
pub use error::{Class, JournalError};
pub use reader::{JournalView, Reader};
pub use recovery::{Checkpoint, Cut, Recovered};
pub use sealer::Sealer;
pub use succession::Head;
pub use writer::{Journal, JournalOptions};

#[cfg(test)]
mod tests;
