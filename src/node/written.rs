//! An embedded store that is written: what its primary begins with and leaves.

use super::NodeError;
use super::standby;
use crate::io::clock::{self, Clock};
use crate::journal::{Journal, JournalOptions, Sealer};
use crate::op::{Epoch, NodeName, Payload};
use crate::store::embedded::Embedded;
use crate::store::embedded::write::{Random, Writer};
use crate::store::target::TargetError;
use ring::rand::{SecureRandom, SystemRandom};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// An open store and its open journal. Whoever has them may take them for any role.
pub(super) struct OpenedEmbedded {
    pub(super) journal: Journal,
    pub(super) embedded: Embedded,
    /// Of a Dovecot that was primary: it was told nothing yet, for its mirror lacks what it has itself.
    pub(super) held: bool,
}

impl OpenedEmbedded {
    /// Opens what a group's folder holds, creating what isn't there.
    pub(super) fn open(dir: &Path, node: &NodeName, retain: Duration) -> Result<Self, NodeError> {
        let (journal, _) = super::files::open_journal(dir, JournalOptions::default())?;
        let store = dir.join("store");
        let embedded = Embedded::open(&store, node, retain).map_err(|e| NodeError::folder(&store, e))?;
        Ok(Self {
            journal,
            embedded,
            held: false,
        })
    }
}

/// Goes on where the journal ends; an empty one begins a stream.
pub(super) fn sealer(journal: &mut Journal, node: &NodeName) -> Result<Sealer, NodeError> {
    if let Some(head) = journal.head() {
        return Ok(Sealer::resume(head));
    }
    let mut sealer = Sealer::begin(super::files::new_stream_id()?, Epoch(1));
    let first = sealer.begin_epoch(Epoch(1), node, None, clock::unix_ms());
    let first = first.map_err(|e| NodeError::Journal(e.to_string()))?;
    // nothing is here that would have to be copied first
    let whole = sealer.seal(&[Payload::BaseEnd(first.lsn)], None, clock::unix_ms());
    let mut frames = whole.map_err(|e| NodeError::Journal(e.to_string()))?;
    frames.insert(0, first.clone());
    journal.append(&frames).map_err(NodeError::journal)?;
    journal.commit().map_err(NodeError::journal)?;
    tracing::info!(stream = %first.stream, "a new stream begins");
    Ok(sealer)
}

/// The store's writing side, with the system's random numbers.
pub(super) fn writer(embedded: &Embedded, clock: &Clock) -> Result<Writer, NodeError> {
    let failed = |e: TargetError| NodeError::Journal(e.to_string());
    let system = SystemRandom::new();
    let random: Random = Box::new(move |octets| system.fill(octets).map_err(|e| e.to_string()));
    embedded.writer(random, clock.unix_ms()).map_err(failed)
}

/// Folds logs back and prunes what was retained, once a minute.
pub(super) fn keep_small(embedded: &Embedded) -> Result<JoinHandle<()>, NodeError> {
    let again = embedded.again().map_err(|e| NodeError::Journal(e.to_string()))?;
    Ok(tokio::spawn(standby::upkeep(again.upkeep).in_current_span()))
}
