//! inotify as a wake-up, never as the truth: an event says that something of a user may have changed, and the capture
//! looks for itself. Events that were lost, or never came (network file systems, the kernel's limits), are made good by
//! the slow scan.
//!
//! Opening a file is an event too, our own readings' included: those are dropped here, or we would wake ourselves. An
//! overflow of the kernel's queue comes as an event *without a path*.

use crate::op::UserName;
use crate::store::source::{Command, Wake};
use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

/// What the callback needs to know: whose directory it is, and whether that user's wake-up is under way already.
#[derive(Debug, Default)]
struct Board {
    owners: HashMap<PathBuf, UserName>,
    woken: HashSet<UserName>,
    all_woken: bool,
}

/// The watched directories of all users.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    board: Arc<Mutex<Board>>,
    /// Device and inode of each watched directory: a watch follows the directory, not its name.
    watched: HashMap<PathBuf, (u64, u64)>,
    complained: bool,
}

impl Watch {
    /// Starts watching nothing. Without inotify everything is left to the scan, which is said once.
    #[must_use]
    pub fn start(commands: Sender<Command>) -> Self {
        let board = Arc::new(Mutex::new(Board::default()));
        let seen = Arc::clone(&board);
        let watcher = notify::recommended_watcher(move |event| post(&event, &seen, &commands));
        let mut watch = Self {
            watcher: None,
            board,
            watched: HashMap::new(),
            complained: false,
        };
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(e) => watch.complain(&e.to_string()),
        }
        watch
    }

    /// Watches exactly `directories` for `user`.
    pub fn cover(&mut self, user: &UserName, directories: &[PathBuf]) {
        let wanted: BTreeSet<&PathBuf> = directories.iter().collect();
        let old: Vec<PathBuf> = self.of(user).filter(|path| !wanted.contains(path)).collect();
        for path in old {
            self.forget(&path);
        }
        for path in wanted {
            let Ok(now) = std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())) else {
                continue;
            };
            if self.watched.get(path).is_some_and(|was| *was == now) {
                continue;
            }
            self.forget(path);
            self.add(user, path, now);
        }
    }

    /// Whose directory this is.
    #[must_use]
    pub fn owner(&self, directory: &Path) -> Option<UserName> {
        self.board().owners.get(directory).cloned()
    }

    /// The next event of this user wakes again. To be called before looking.
    pub fn taken(&self, user: &UserName) {
        self.board().woken.remove(user);
    }

    /// The next loss of events wakes again. To be called before looking.
    pub fn all_taken(&self) {
        let mut board = self.board();
        board.woken.clear();
        board.all_woken = false;
    }

    fn of(&self, user: &UserName) -> impl Iterator<Item = PathBuf> {
        let board = self.board();
        let paths: Vec<PathBuf> = board
            .owners
            .iter()
            .filter(|(_, owner)| *owner == user)
            .map(|(path, _)| path.clone())
            .collect();
        paths.into_iter()
    }

    fn add(&mut self, user: &UserName, path: &Path, identity: (u64, u64)) {
        let Some(watcher) = &mut self.watcher else { return };
        match watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(path.to_owned(), identity);
                self.board().owners.insert(path.to_owned(), user.clone());
            }
            // A directory that has gone meanwhile is seen by the next listing.
            Err(e) if matches!(e.kind, notify::ErrorKind::PathNotFound) => {}
            Err(e) => self.complain(&e.to_string()),
        }
    }

    fn forget(&mut self, path: &Path) {
        if self.watched.remove(path).is_some() {
            self.board().owners.remove(path);
            if let Some(watcher) = &mut self.watcher {
                // The kernel may have dropped the watch with its directory.
                drop(watcher.unwatch(path));
            }
        }
    }

    fn complain(&mut self, why: &str) {
        if !self.complained {
            self.complained = true;
            tracing::warn!(
                why,
                "some directories can't be watched: changes there are seen by the scan only"
            );
        }
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs on the watcher's thread and never blocks.
fn post(event: &notify::Result<Event>, board: &Mutex<Board>, commands: &Sender<Command>) {
    let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
    let event = match event {
        Ok(event) if !event.need_rescan() => event,
        _ => {
            if !std::mem::replace(&mut board.all_woken, true) {
                // Without a receiver the capture has ended.
                drop(commands.send(Command::Wake(Wake::All)));
            }
            return;
        }
    };
    if matches!(
        event.kind,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_))
    ) {
        return;
    }
    for path in event.paths.iter().filter(|path| matters(path)) {
        let directory = path
            .parent()
            .filter(|parent| board.owners.contains_key(*parent))
            .unwrap_or(path);
        let Some(user) = board.owners.get(directory).cloned() else {
            continue;
        };
        if board.woken.insert(user) {
            drop(commands.send(Command::Wake(Wake::Dirty(directory.to_owned()))));
        }
    }
}

/// False for files that only accompany a change, or are none: the log of the same change wakes.
fn matters(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let noise = [
        "u.",
        ".temp.",
        "temp.",
        "dovecot.index.cache",
        "dovecot.list.index",
        "dovecot-acl",
        "m.",
    ];
    let temporary = [".lock", ".newlock", ".tmp"];
    !noise.iter().any(|start| name.starts_with(start)) && !temporary.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    fn wakes(commands: &Receiver<Command>) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        while let Ok(command) = commands.recv_timeout(Duration::from_millis(300)) {
            if let Command::Wake(Wake::Dirty(path)) = command {
                paths.push(path);
            }
        }
        paths
    }

    #[test]
    fn a_burst_of_writes_wakes_once_and_reading_does_not_wake() {
        let directory = tempfile::tempdir().unwrap();
        let (commands, received) = channel();
        let user = UserName::from("u");
        let mut watch = Watch::start(commands);
        watch.cover(&user, &[directory.path().to_owned()]);
        let log = directory.path().join("dovecot.index.log");
        for round in 0..20 {
            std::fs::write(&log, vec![0; round]).unwrap();
        }
        assert_eq!(wakes(&received), [directory.path()]);
        watch.taken(&user);
        drop(std::fs::read(&log).unwrap());
        assert!(wakes(&received).is_empty());
        std::fs::write(&log, "x").unwrap();
        assert_eq!(wakes(&received).len(), 1);
    }

    #[test]
    fn a_directory_made_anew_at_the_same_path_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let (commands, received) = channel();
        let user = UserName::from("u");
        let mut watch = Watch::start(commands);
        let path = root.path().join("box");
        std::fs::create_dir(&path).unwrap();
        watch.cover(&user, std::slice::from_ref(&path));
        std::fs::rename(&path, root.path().join("old")).unwrap();
        std::fs::create_dir(&path).unwrap();
        watch.cover(&user, std::slice::from_ref(&path));
        watch.taken(&user);
        drop(wakes(&received));
        watch.taken(&user);
        std::fs::write(path.join("dovecot.index.log"), "x").unwrap();
        assert_eq!(wakes(&received), [path]);
    }
}
