//! The embedded store: SQLite for what a mailbox holds, packs for bodies.
//!
//! One directory holds one group's copy: `mail.sqlite` (with its `-wal` and `-shm`), `packs/NNNN.pack`, `lock`.

pub mod view;

use super::target::{BodyStore, Target, TargetError};
use crate::op::NodeName;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use view::View;

/// An open store, by who uses it. The parts share one writing connection and close with the last of them.
pub struct Embedded {
    /// Applies frames; for the one applying thread.
    pub target: Box<dyn Target>,
    /// Takes and serves bodies; for the receiving side.
    pub bodies: Arc<dyn BodyStore>,
    /// Reads; for the front end.
    pub view: Arc<dyn View>,
    /// Keeps the store small; for a timer.
    pub upkeep: Upkeep,
}

impl Embedded {
    /// Opens or creates the store in `dir`. `node` is this node's own name: frames made for other peers change
    /// nothing. What was expunged stays undoable for `retain`.
    ///
    /// # Errors
    /// The directory can't be used, is open elsewhere, was written by a newer version, or is damaged.
    pub fn open(dir: &Path, node: &NodeName, retain: Duration) -> Result<Self, TargetError> {
        let _ = (node, retain);
        Err(TargetError::Halt(format!("{}: not built yet", dir.display())))
    }
}

/// What is done from time to time: the write-ahead log is folded back, old retained messages are pruned.
pub struct Upkeep(());

impl Upkeep {
    /// Call it about once a minute, on a blocking thread. `now_ms`: UNIX milliseconds.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn run(&self, now_ms: u64) -> Result<(), TargetError> {
        let _ = now_ms;
        Ok(())
    }
}
