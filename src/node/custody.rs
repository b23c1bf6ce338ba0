//! `quarantine` and `retained`: what this node's embedded stores hold back or keep, and what the operator decides of it.

use super::applier::ApplyWork;
use super::group::{GroupHandle, Side};
use super::scribe::ChangeQueue;
use super::standby::StandbyShared;
use crate::control::report::{Decided, Decision, EntryDetail, EntryId, QuarantineList, RetainedList};
use crate::control::verbs::VerbError;
use crate::limits::CUSTODY_ROWS_MAX;
use crate::op::UserName;
use crate::store::change::{Change, Changed, Changer, Reason, Refused};
use crate::store::custody::{Custody, CustodyError};
use std::sync::Arc;
use tokio::sync::oneshot;

impl From<CustodyError> for VerbError {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::Unknown(_) => Self::usage(error.to_string()),
            CustodyError::Refused(why) => Self::refused(why),
            CustodyError::Store(error) => Self::failed(error.to_string()),
        }
    }
}

/// A store that keeps something back, and how an operator's word reaches it.
#[derive(Clone)]
struct Keeper {
    custody: Arc<dyn Custody>,
    way: Way,
}

#[derive(Clone)]
enum Way {
    /// A copy decides by itself what its primary's stream does not say.
    Standby(Arc<StandbyShared>),
    /// A primary makes an operation of it, which every standby follows.
    Primary(ChangeQueue),
}

/// Every open entry of these groups.
pub(super) async fn quarantine(groups: Vec<GroupHandle>, user: Option<UserName>) -> Result<QuarantineList, VerbError> {
    let mut list = QuarantineList::default();
    for keeper in keepers(&groups)? {
        let user = user.clone();
        list.entries
            .extend(ask(keeper, move |custody| custody.entries(user.as_ref(), CUSTODY_ROWS_MAX)).await?);
    }
    Ok(list)
}

/// One entry with its messages.
pub(super) async fn entry(groups: Vec<GroupHandle>, id: EntryId) -> Result<EntryDetail, VerbError> {
    ask(only_keeper(&groups)?, move |custody| custody.entry(id)).await
}

/// Applies or forgets what was not applied; `status` and `wait` count again.
pub(super) async fn decide(groups: Vec<GroupHandle>, id: EntryId, decision: Decision) -> Result<Decided, VerbError> {
    let keeper = only_keeper(&groups)?;
    let done = match &keeper.way {
        Way::Primary(changes) => told(changes, Change::Decide { entry: id, decision }).await?,
        Way::Standby(copy) => {
            let done = ask(keeper.clone(), move |custody| custody.decide(id, decision)).await?;
            recount(copy);
            done
        }
    };
    tracing::info!(
        entry = id,
        ?decision,
        done,
        "an operator decided an entry of the quarantine"
    );
    Ok(Decided { id, done })
}

/// What left these groups' mailboxes.
pub(super) async fn retained(groups: Vec<GroupHandle>, user: Option<UserName>) -> Result<RetainedList, VerbError> {
    let mut list = RetainedList::default();
    for keeper in keepers(&groups)? {
        let user = user.clone();
        list.messages
            .extend(ask(keeper, move |custody| custody.retained(user.as_ref())).await?);
    }
    Ok(list)
}

/// A retained message was meant to go.
pub(super) async fn forget(groups: Vec<GroupHandle>, id: EntryId) -> Result<Decided, VerbError> {
    let done = ask(only_keeper(&groups)?, move |custody| custody.forget(id)).await?;
    Ok(Decided { id, done })
}

/// A retained message comes back. A copy that follows a primary takes nothing but what the primary's store holds.
pub(super) async fn restore(groups: &[GroupHandle], id: EntryId) -> Result<Decided, VerbError> {
    match only_keeper(groups)?.way {
        Way::Primary(changes) => {
            let done = told(&changes, Change::Restore { entry: id }).await?;
            Ok(Decided { id, done })
        }
        Way::Standby(_) => Err(VerbError::refused(
            "this copy follows a primary: a message that is put back here would be gone with the next list. It stays \
             retained; after a promotion of this node it can be restored",
        )),
    }
}

/// Has a change made, and tells in words what came of it.
async fn told(changes: &ChangeQueue, change: Change) -> Result<String, VerbError> {
    match changed(changes, change).await? {
        Ok(Changed::Told(told)) => Ok(told),
        Ok(_) => Ok("done".to_owned()),
        Err(refused) => Err(match refused.reason {
            Reason::Nonexistent => VerbError::usage(refused.why),
            Reason::Unavailable => VerbError::failed(refused.why),
            _ => VerbError::refused(refused.why),
        }),
    }
}

/// Has a change made by the scribe.
pub(super) async fn changed(changes: &ChangeQueue, change: Change) -> Result<Result<Changed, Refused>, VerbError> {
    let (done, outcome) = oneshot::channel();
    let changes = changes.clone();
    // the queue makes its askers wait while it is full
    let handed_on = tokio::task::spawn_blocking(move || {
        let answer = move |outcome| {
            if done.send(outcome).is_err() {
                tracing::debug!("whoever asked for a change is gone; it was made all the same");
            }
        };
        changes.change(change, Box::new(answer));
    });
    handed_on.await.map_err(|e| VerbError::failed(e.to_string()))?;
    outcome
        .await
        .map_err(|_| VerbError::failed("this node takes no more changes"))
}

fn recount(copy: &StandbyShared) {
    let told = copy
        .applying
        .get()
        .is_some_and(|applying| applying.send(ApplyWork::Recount).is_ok());
    if !told {
        tracing::debug!("the applying thread has ended: nothing counts again");
    }
}

fn keepers(groups: &[GroupHandle]) -> Result<Vec<Keeper>, VerbError> {
    let keepers = groups.iter().filter_map(|group| match group.side() {
        Side::Standby(shared, _) => Some(Keeper {
            custody: Arc::clone(&shared.custody),
            way: Way::Standby(shared),
        }),
        Side::Primary(shared) => shared.embedded.as_ref().map(|embedded| Keeper {
            custody: Arc::clone(&embedded.custody),
            way: Way::Primary(embedded.changes.clone()),
        }),
        Side::Idle(_) => None,
    });
    let keepers: Vec<_> = keepers.collect();
    if keepers.is_empty() {
        return Err(VerbError::usage(
            "this node holds no embedded store that is at work: what was not applied, and what is kept, is asked where one is",
        ));
    }
    Ok(keepers)
}

fn only_keeper(groups: &[GroupHandle]) -> Result<Keeper, VerbError> {
    match keepers(groups)?.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(VerbError::usage("this node has several groups: say --group")),
    }
}

async fn ask<T: Send + 'static>(
    keeper: Keeper,
    question: impl FnOnce(&dyn Custody) -> Result<T, CustodyError> + Send + 'static,
) -> Result<T, VerbError> {
    let asked = tokio::task::spawn_blocking(move || question(keeper.custody.as_ref()));
    Ok(asked.await.map_err(|e| VerbError::failed(e.to_string()))??)
}
