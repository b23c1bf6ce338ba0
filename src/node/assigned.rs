//! Users who were moved, on disk: `STATE/moved`. Durable first; then the groups' patterns say so to everybody who asks them.

use super::NodeError;
use crate::config::Config;
use crate::limits::MOVED_FILE_BYTES_MAX;
use crate::op::UserName;
use crate::role::moved::{Assignment, Assignments};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const FILE: &str = "moved";
const NEW: &str = "moved.new";

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
        let bytes = read(&path).map_err(|e| NodeError::folder(&path, e))?;
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
        self.replace(&bytes).map_err(|e| NodeError::folder(&path, e))?;
        self.show(&next);
        *known = next;
        Ok(())
    }

    fn show(&self, known: &Assignments) {
        for group in &self.config.groups {
            group.users.moved().replace(known.seen_by(&group.name));
        }
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.dir.join(NEW);
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(MOVED_FILE_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOVED_FILE_BYTES_MAX {
        true => Err(io::Error::other(format!(
            "it has more than {MOVED_FILE_BYTES_MAX} bytes"
        ))),
        false => Ok(Some(bytes)),
    }
}
