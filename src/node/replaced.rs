//! Which peers may still have a stream that an operator replaced by the present one: they join at a base, where otherwise
//! they would be diverged. Kept in the group's folder (`schema/journal.md`) until each has joined.

use super::{NodeError, small_file};
use crate::limits::REPLACED_FILE_BYTES_MAX;
use crate::op::{NodeName, StreamId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const FILE: &str = "replaced.json";

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The stream that replaces; a mark for another one says nothing.
    stream: String,
    peers: BTreeSet<NodeName>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Replaced {
    dir: PathBuf,
    mark: Mutex<Mark>,
}

impl Replaced {
    /// Reads the mark; without one nobody is waited for.
    pub(super) fn load(dir: &Path) -> Result<Self, NodeError> {
        let path = dir.join(FILE);
        let mark = match File::open(&path).and_then(read_bounded) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| NodeError::folder(&path, e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Mark::default(),
            Err(e) => return Err(NodeError::folder(&path, e)),
        };
        Ok(Self {
            dir: dir.to_owned(),
            mark: Mutex::new(mark),
        })
    }

    /// `stream` is about to replace what all these peers have. Durable when it returns.
    pub(super) fn begin(&self, stream: StreamId, peers: BTreeSet<NodeName>) -> io::Result<()> {
        self.set(Mark {
            stream: stream.to_string(),
            peers,
        })
    }

    /// True where `peer` may still have an older stream than `stream`.
    pub(super) fn by(&self, stream: StreamId, peer: &NodeName) -> bool {
        let mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        mark.peers.contains(peer) && mark.stream == stream.to_string()
    }

    /// `peer` follows `stream`: from now on another one is a divergence again.
    pub(super) fn joined(&self, stream: StreamId, peer: &NodeName) {
        if !self.by(stream, peer) {
            return;
        }
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner).clone();
        mark.peers.remove(peer);
        if let Err(error) = self.set(mark) {
            tracing::warn!(%error, %peer, "note that a standby follows the new stream; it is noted at its next word");
        }
    }

    fn set(&self, mark: Mark) -> io::Result<()> {
        let bytes = serde_json::to_vec(&mark)?;
        small_file::replace(&self.dir, FILE, &bytes)?;
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
        Ok(())
    }
}

/// A longer file is cut off, and then no JSON.
fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(REPLACED_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_that_was_away_joins_the_new_stream_after_a_restart_and_then_never_another() {
        let dir = tempfile::tempdir().unwrap();
        let (new, other) = (StreamId([7; 16]), StreamId([8; 16]));
        let (here, away) = (NodeName::from("mail-b"), NodeName::from("mail-c"));
        let replaced = Replaced::load(dir.path()).unwrap();
        assert!(!replaced.by(new, &here));
        replaced.begin(new, [here.clone(), away.clone()].into()).unwrap();
        replaced.joined(new, &here);
        let restarted = Replaced::load(dir.path()).unwrap();
        assert!(!restarted.by(new, &here) && restarted.by(new, &away));
        // a crash before the new stream began: the mark is for one that is not there
        assert!(!restarted.by(other, &away));
        restarted.joined(other, &away);
        assert!(restarted.by(new, &away));
    }
}
