//! Files that are read again when they change: certificates are renewed by other programs, at night, and nobody sends a
//! signal.

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// A certificate and its key are written one after the other: they are looked at once it is quiet.
const QUIET: Duration = Duration::from_secs(1);

/// Hears when one of some files has other content than before.
#[derive(Debug)]
pub struct Renewal {
    files: Vec<PathBuf>,
    seen: blake3::Hash,
    stirred: watch::Receiver<u64>,
    // it hears as long as this lives
    _watcher: Option<RecommendedWatcher>,
}

impl Renewal {
    /// Watches the folders of these files, for files are replaced by renaming and folders by links. Where that can't be
    /// done it is logged, and a signal is needed.
    #[must_use]
    pub fn of(files: Vec<PathBuf>) -> Self {
        let (stir, stirred) = watch::channel(0);
        let watcher = watcher(&files, stir);
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(%error, "certificates are not watched: after a renewal send SIGHUP");
        });
        Self {
            seen: content(&files),
            files,
            stirred,
            _watcher: watcher.ok(),
        }
    }

    /// Returns once the content of a file is another.
    pub async fn changed(&mut self) {
        loop {
            if self.stirred.changed().await.is_err() {
                // without a watcher nothing is ever heard
                std::future::pending::<()>().await;
            }
            while let Ok(Ok(())) = tokio::time::timeout(QUIET, self.stirred.changed()).await {}
            let now = content(&self.files);
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

fn watcher(files: &[PathBuf], stir: watch::Sender<u64>) -> notify::Result<RecommendedWatcher> {
    let heard = move |event: notify::Result<notify::Event>| {
        // whoever reads a file changes nothing
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            stir.send_modify(|count| *count += 1);
        }
    };
    let mut watcher = notify::recommended_watcher(heard)?;
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// A file that can't be read counts as empty: it is read again when it is there.
fn content(files: &[PathBuf]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let octets = std::fs::read(file).unwrap_or_default();
        hasher.update(blake3::hash(&octets).as_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_certificate_that_was_replaced_is_heard_of_without_a_signal() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mail-a.pem");
        std::fs::write(&file, "old").unwrap();
        let mut renewal = Renewal::of(vec![file.clone()]);
        // another file in that folder is none of ours
        std::fs::write(folder.path().join("other"), "x").unwrap();
        let heard = tokio::time::timeout(QUIET * 2, renewal.changed()).await;
        assert!(heard.is_err(), "nothing of ours has changed");
        std::fs::write(folder.path().join("new"), "new").unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
        tokio::time::timeout(QUIET * 30, renewal.changed()).await.unwrap();
    }
}
