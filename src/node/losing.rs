//! What a promotion would lose, and what it has lost: from what was announced and never became durable here.

use super::files::{NOWHERE, decode, oldest};
use super::group::{GroupHandle, Side};
use super::standby::StandbyShared;
use crate::control::promotion::{LossStatement, MissingMessage};
use crate::io::clock;
use crate::limits::LOSS_NAMED_MAX;
use crate::op::{Guid, Lsn, MailboxId, Notice, UidRange, UserName};
use crate::role::loss::Known;
use crate::session::announced::{Announced, WouldLose};
use crate::store::embedded::view::View;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// What is known while the primary may still be heard.
pub(super) fn known(shared: Option<&StandbyShared>) -> Known {
    let Some(shared) = shared else { return Known::default() };
    let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let silent_seconds = state.heartbeat.map(|(_, came_ms)| seconds_since(came_ms));
    let would_lose = state.would_lose.unwrap_or_default();
    Known {
        operations: Some(would_lose.operations),
        seconds: would_lose.seconds,
        silent_seconds,
        at_least: would_lose.at_least,
    }
}

/// True while a session with the primary is open.
pub(super) fn is_connected(shared: &StandbyShared) -> bool {
    let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.peer.is_some()
}

/// Last LSN that is durable with every body.
pub(super) fn durable(shared: &StandbyShared) -> Lsn {
    let applied = shared.progress.borrow().applied.lsn;
    let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.durable.max(applied)
}

fn seconds_since(ms: u64) -> f64 {
    let age = clock::unix_ms().saturating_sub(ms);
    std::time::Duration::from_millis(age).as_secs_f64()
}

/// What the old primary said before nobody listened any more.
#[derive(Debug, Default)]
pub(super) struct Last {
    announced: Announced,
    known: Known,
    /// Messages that were announced and never came.
    pub(super) messages: u64,
}

impl Last {
    pub(super) fn operations(&self) -> u64 {
        self.known.operations.unwrap_or(0)
    }
}

/// Hears no primary any more.
pub(super) async fn last_words(
    group: &GroupHandle,
    farewells: Option<mpsc::Sender<oneshot::Sender<Announced>>>,
) -> Last {
    let shared = group.as_standby().ok();
    let known = known(shared.as_deref());
    let Some(farewells) = farewells else {
        return Last {
            known,
            ..Last::default()
        };
    };
    let (told, announced) = oneshot::channel();
    if farewells.send(told).await.is_err() {
        return Last {
            known,
            ..Last::default()
        };
    }
    let announced = announced.await.unwrap_or_default();
    let WouldLose {
        operations, at_least, ..
    } = announced.would_lose(0);
    let messages = announced.unsettled().flat_map(|notice| &notice.appended).map(messages);
    Last {
        messages: messages.fold(0, u64::saturating_add),
        known: Known {
            operations: known.operations.map(|_| operations),
            at_least,
            ..known
        },
        announced,
    }
}

fn messages(range: &UidRange) -> u64 {
    u64::from(range.last.0.saturating_sub(range.first.0)).saturating_add(1)
}

/// The loss statement. `last`: the last LSN that is here.
pub(super) fn statement(group: &GroupHandle, lost: &mut Last, last: Lsn) -> LossStatement {
    let mut statement = LossStatement {
        operations: lost.known.operations,
        seconds: lost.known.seconds,
        at_least: lost.known.at_least,
        silent_seconds: lost.known.silent_seconds,
        last_applied_ms: captured_ms(group, last),
        ..LossStatement::default()
    };
    let view = match group.side() {
        Side::Primary(shared) => shared.embedded.as_ref().map(|embedded| Arc::clone(&embedded.view)),
        Side::Standby(shared, _) => Some(Arc::clone(&shared.view)),
        Side::Idle(_) => None,
    };
    let mut names = Names {
        view,
        known: BTreeMap::new(),
    };
    for notice in lost.announced.unsettled() {
        add(&mut statement, &mut names, notice);
    }
    statement
}

fn captured_ms(group: &GroupHandle, lsn: Lsn) -> Option<u64> {
    let journal = group.journal();
    if lsn < oldest(&journal) || lsn > journal.head().unwrap_or(NOWHERE).lsn {
        return None;
    }
    let read = journal.reader(lsn).read_batch(1).ok()?;
    Some(decode(read.first()?).ok()?.header.captured_ms)
}

fn add(statement: &mut LossStatement, names: &mut Names, notice: &Notice) {
    let count = |ranges: &[UidRange]| ranges.iter().map(messages).fold(0, u64::saturating_add);
    statement.changes_missing = statement.changes_missing.saturating_add(count(&notice.changed));
    statement.expunges_missing = statement.expunges_missing.saturating_add(count(&notice.expunged));
    let (user, mailbox) = (notice.mailbox.user.to_string(), names.of(&notice.mailbox));
    let room = LOSS_NAMED_MAX.saturating_sub(statement.known_missing.len());
    let named = notice
        .messages
        .iter()
        .take(room)
        .map(|(uid, guid, size)| MissingMessage {
            user: user.clone(),
            mailbox: mailbox.clone(),
            uid: uid.0,
            guid: guid.0.clone(),
            size: *size,
        });
    let before = statement.known_missing.len();
    statement.known_missing.extend(named);
    let told = u64::try_from(statement.known_missing.len().saturating_sub(before)).unwrap_or(u64::MAX);
    let unnamed = count(&notice.appended).saturating_sub(told);
    statement.unnamed_missing = statement.unnamed_missing.saturating_add(unnamed);
}

/// Names of mailboxes, a user's tree read once.
struct Names {
    view: Option<Arc<dyn View>>,
    known: BTreeMap<UserName, BTreeMap<Guid, String>>,
}

impl Names {
    fn of(&mut self, mailbox: &MailboxId) -> String {
        let view = self.view.clone();
        let tree = self.known.entry(mailbox.user.clone()).or_insert_with(|| {
            let tree = view.and_then(|view| view.tree(&mailbox.user).ok()).unwrap_or_default();
            let named = tree
                .rows
                .into_iter()
                .filter_map(|row| Some((row.guid?, row.name.join('/'))));
            named.collect()
        });
        tree.get(&mailbox.guid)
            .cloned()
            .unwrap_or_else(|| mailbox.guid.to_hex())
    }
}
