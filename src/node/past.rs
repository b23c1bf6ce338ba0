//! What a node whose Dovecot is primary remembers: its mirror as it was when it was promoted, and what its stream says was
//! settled of lost tails.

use super::files;
use crate::io::clock;
use crate::journal::JournalView;
use crate::op::{Append, MailboxId, Merged, Payload, Uid};
use crate::store::dovecot::merging::Past;
use crate::store::embedded::mirror::Remembered;
use crate::store::source::Command;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

/// See the module.
pub(super) struct NodePast {
    /// None: this node never was a standby, so nobody's tail leaves its history.
    mirror: Option<Remembered>,
    journal: JournalView,
    capture: Sender<Command>,
}

impl NodePast {
    /// `dir`: the group's folder.
    pub(super) fn of(dir: &Path, journal: JournalView, capture: Sender<Command>) -> Self {
        let store = dir.join("store");
        Self {
            mirror: store.is_dir().then(|| Remembered::of(&store)),
            journal,
            capture,
        }
    }
}

impl Past for NodePast {
    fn now(&self) -> i64 {
        clock::unix_seconds()
    }

    fn mailbox(&self, is: &MailboxId) -> Result<Option<BTreeMap<Uid, Append>>, String> {
        let mirror = self.mirror.as_ref();
        mirror.map_or(Ok(None), |mirror| mirror.mailbox(is).map_err(|e| e.to_string()))
    }

    fn settled(&self) -> Result<Vec<Merged>, String> {
        let before = self.mirror.as_ref().map(Remembered::settled).transpose();
        let mut all = before.map_err(|e| e.to_string())?.unwrap_or_default();
        let Some(head) = self.journal.head() else {
            return Ok(all);
        };
        let from = files::oldest(&self.journal);
        files::each_frame(&self.journal, from, head.lsn, |frame| {
            if let Payload::Merged(merged) = &frame.payload {
                all.push(merged.clone());
            }
        })
        .map_err(|e| e.to_string())?;
        Ok(all)
    }

    fn note(&self, merged: Merged) -> Result<(), String> {
        let (done, noted) = channel();
        let reply = Box::new(move |result| drop(done.send(result)));
        let ended = |_| "capture has ended".to_owned();
        self.capture
            .send(Command::Merged(Box::new(merged), reply))
            .map_err(ended)?;
        noted.recv().map_err(|_| "capture has ended".to_owned())?.map(drop)
    }
}
