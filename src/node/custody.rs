//! `quarantine` and `retained`: what this node's copies hold back or keep, and what the operator decides of it.

use super::applier::ApplyWork;
use super::group::{GroupHandle, Side};
use super::standby::StandbyShared;
use crate::control::report::{Decided, Decision, EntryDetail, EntryId, QuarantineList, RetainedList};
use crate::control::verbs::VerbError;
use crate::limits::CUSTODY_ROWS_MAX;
use crate::op::UserName;
use crate::store::custody::{Custody, CustodyError};
use std::sync::Arc;

impl From<CustodyError> for VerbError {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::Unknown(_) => Self::usage(error.to_string()),
            CustodyError::Refused(why) => Self::refused(why),
            CustodyError::Store(error) => Self::failed(error.to_string()),
        }
    }
}

/// Every open entry of these groups.
pub(super) async fn quarantine(groups: Vec<GroupHandle>, user: Option<UserName>) -> Result<QuarantineList, VerbError> {
    let mut list = QuarantineList::default();
    for copy in copies(&groups)? {
        let user = user.clone();
        list.entries
            .extend(ask(copy, move |custody| custody.entries(user.as_ref(), CUSTODY_ROWS_MAX)).await?);
    }
    Ok(list)
}

/// One entry with its messages.
pub(super) async fn entry(groups: Vec<GroupHandle>, id: EntryId) -> Result<EntryDetail, VerbError> {
    ask(only_copy(&groups)?, move |custody| custody.entry(id)).await
}

/// Applies or forgets what was not applied; `status` and `wait` count again.
pub(super) async fn decide(groups: Vec<GroupHandle>, id: EntryId, decision: Decision) -> Result<Decided, VerbError> {
    let copy = only_copy(&groups)?;
    let done = ask(Arc::clone(&copy), move |custody| custody.decide(id, decision)).await?;
    tracing::info!(
        entry = id,
        ?decision,
        done,
        "an operator decided an entry of the quarantine"
    );
    recount(&copy);
    Ok(Decided { id, done })
}

/// What left these groups' copies.
pub(super) async fn retained(groups: Vec<GroupHandle>, user: Option<UserName>) -> Result<RetainedList, VerbError> {
    let mut list = RetainedList::default();
    for copy in copies(&groups)? {
        let user = user.clone();
        list.messages
            .extend(ask(copy, move |custody| custody.retained(user.as_ref())).await?);
    }
    Ok(list)
}

/// A retained message was meant to go.
pub(super) async fn forget(groups: Vec<GroupHandle>, id: EntryId) -> Result<Decided, VerbError> {
    let done = ask(only_copy(&groups)?, move |custody| custody.forget(id)).await?;
    Ok(Decided { id, done })
}

/// A copy that follows a primary takes nothing but what the primary's store holds.
pub(super) fn restore(groups: &[GroupHandle]) -> Result<Decided, VerbError> {
    only_copy(groups)?;
    Err(VerbError::refused(
        "this copy follows a primary: a message that is put back here would be gone with the next list. It stays retained; \
         after a promotion of this node it can be restored",
    ))
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

fn copies(groups: &[GroupHandle]) -> Result<Vec<Arc<StandbyShared>>, VerbError> {
    let copies = groups.iter().filter_map(|group| match group.side() {
        Side::Standby(shared, _) => Some(shared),
        Side::Primary(_) | Side::Idle(_) => None,
    });
    let copies: Vec<_> = copies.collect();
    if copies.is_empty() {
        return Err(VerbError::usage(
            "this node holds no copy: what was not applied, and what is kept, is asked on a standby's node",
        ));
    }
    Ok(copies)
}

fn only_copy(groups: &[GroupHandle]) -> Result<Arc<StandbyShared>, VerbError> {
    let copies = copies(groups)?;
    match copies.as_slice() {
        [only] => Ok(Arc::clone(only)),
        _ => Err(VerbError::usage(
            "this node holds copies of several groups: say --group",
        )),
    }
}

async fn ask<T: Send + 'static>(
    copy: Arc<StandbyShared>,
    question: impl FnOnce(&dyn Custody) -> Result<T, CustodyError> + Send + 'static,
) -> Result<T, VerbError> {
    let asked = tokio::task::spawn_blocking(move || question(copy.custody.as_ref()));
    Ok(asked.await.map_err(|e| VerbError::failed(e.to_string()))??)
}
