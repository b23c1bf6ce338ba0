//! Who waits for changes of a mailbox, and telling them: each hears of its own mailbox only, so that a thousand idle
//! clients cost nothing while other mailboxes change.

use super::view::MailboxKey;
use rusqlite::Connection;
use rusqlite::hooks::Action;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Mailboxes that somebody watches, and those that the open transaction has touched.
#[derive(Default)]
pub(super) struct Changes {
    watched: Mutex<HashMap<MailboxKey, watch::Sender<u64>>>,
    touched: Mutex<HashSet<MailboxKey>>,
}

impl Changes {
    /// Looks on from now on while `writer` writes. Every change of a mailbox writes its row, so rows tell.
    pub(super) fn observe(writer: &Connection) -> rusqlite::Result<Arc<Self>> {
        let changes = Arc::new(Self::default());
        let observer = Arc::clone(&changes);
        writer.update_hook(Some(move |_: Action, _: &str, table: &str, row: i64| {
            if table == "mailboxes" {
                observer.touched().insert(MailboxKey(row));
            }
        }))?;
        Ok(changes)
    }

    fn touched(&self) -> MutexGuard<'_, HashSet<MailboxKey>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<MailboxKey, watch::Sender<u64>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction begins; what one before touched and took back is forgotten.
    pub(super) fn begin(&self) {
        self.touched().clear();
    }

    /// The transaction is there for all to read.
    pub(super) fn committed(&self) {
        let touched = std::mem::take(&mut *self.touched());
        if touched.is_empty() {
            return;
        }
        let mut watched = self.watched();
        for key in touched {
            let Some(watcher) = watched.get(&key) else { continue };
            if watcher.is_closed() {
                watched.remove(&key);
            } else {
                watcher.send_modify(|number| *number = number.wrapping_add(1));
            }
        }
    }

    /// Grows with every change of that mailbox from now on.
    pub(super) fn watch(&self, key: MailboxKey) -> watch::Receiver<u64> {
        let mut watched = self.watched();
        if let Some(watcher) = watched.get(&key) {
            return watcher.subscribe();
        }
        // nobody looks at the others any more: the map stays as small as the sessions are few
        watched.retain(|_, watcher| !watcher.is_closed());
        let (watcher, receiver) = watch::channel(0);
        watched.insert(key, watcher);
        receiver
    }
}
