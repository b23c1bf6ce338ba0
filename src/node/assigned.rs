//! Users who were moved, on disk: `STATE/moved`. Durable first; then the groups' patterns say so to everybody who asks them.

use super::{NodeError, small_file};
use crate::config::Config;
use crate::limits::MOVED_FILE_BYTES_MAX;
use crate::op::UserName;
use crate::role::moved::{Assignment, Assignments};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

const FILE: &str = "moved";

/// See the module.
pub(super) struct Assigned {
    dir: PathBuf,
    config: Arc<Config>,
    known: Mutex<Assignments>,
}

impl Assigned {
    /// Reads what is known. Whoever was about to leave when the daemon ended stays.
    pub(super) fn open(config: &Arc<Config>) -> Result<Self, NodeError> {
        let dir = config.node.state.clone();
        let path = dir.join(FILE);
        let bytes = small_file::bounded(&path, MOVED_FILE_BYTES_MAX).map_err(|e| NodeError::folder(&path, e))?;
        let known = match bytes {
            Some(bytes) => Assignments::decode(&bytes).map_err(|e| NodeError::folder(&path, e))?,
            None => Assignments::default(),
        };
        let assigned = Self {
            dir,
            config: Arc::clone(config),
            known: Mutex::new(known.restarted()),
        };
        assigned.show(&assigned.now());
        Ok(assigned)
    }

    /// Everybody who was moved.
    pub(super) fn now(&self) -> Assignments {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where a user is who was moved.
    pub(super) fn of(&self, user: &UserName) -> Option<Assignment> {
        self.now().0.remove(user)
    }

    /// Durable, and heeded, when it returns. Blocks.
    pub(super) fn assign(&self, user: &UserName, to: Assignment) -> Result<(), NodeError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = known.clone();
        next.0.insert(user.clone(), to);
        let path = self.dir.join(FILE);
        let bytes = next.encode().map_err(|e| NodeError::folder(&path, e))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOVED_FILE_BYTES_MAX {
            return Err(NodeError::folder(&path, "more users were moved than it may hold"));
        }
        small_file::replace(&self.dir, FILE, &bytes).map_err(|e| NodeError::folder(&path, e))?;
        self.show(&next);
        *known = next;
        Ok(())
    }

    fn show(&self, known: &Assignments) {
        for group in &self.config.groups {
            group.users.moved().replace(known.seen_by(&group.name));
        }
    }
}
