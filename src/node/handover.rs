//! The primary's side of a planned switchover: it answers the standby's steps. Until it yields, nothing has changed for
//! good: clients are let in again when it is called off, or when the standby is not heard of in time.

use super::group::{GroupHandle, Side};
use super::primary::PrimaryShared;
use super::steward::Deed;
use super::verifying::{self, Comparison};
use crate::control::report::VerifyReport;
use crate::control::roles::{HandOver, HandedOver};
use crate::control::verbs::{ProgressSink, SwitchoverTerms, VerbError};
use crate::limits::{HANDOVER_GRACE_MS, HANDOVER_USERS_MAX, MOVE_COMPARE_AGAIN_MS, MOVE_COMPARED_MAX};
use crate::op::{EpochId, Lsn, NodeName, Payload, UserName};
use crate::store::source::Command;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Differences that a refusal names.
const DIFFERENCES_NAMED: usize = 5;

/// Does a step that `peer` asks for.
pub(super) async fn answer(group: &GroupHandle, peer: &NodeName, step: &HandOver) -> HandedOver {
    let done = match step {
        HandOver::TakeOver { max_wait_ms } => return take_over(group, peer, *max_wait_ms).await,
        HandOver::Compare => compare(group, peer, None).await,
        HandOver::Drain { at_most_ms } => drain(group, peer, *at_most_ms).await,
        HandOver::CompareAgain { since } => compare(group, peer, Some(*since)).await,
        HandOver::Yield { epoch, lsn } => {
            let epoch = EpochId {
                number: *epoch,
                node: peer.clone(),
            };
            let (lsn, told) = (*lsn, group.ask(|done| Deed::Yield { epoch, lsn: *lsn, done }).await);
            told.map(|()| lsn)
        }
        HandOver::CallOff => {
            call_off(group, peer);
            Ok(Lsn(0))
        }
    };
    done.map_or_else(HandedOver::Refused, HandedOver::Done)
}

/// The primary asks this standby to take its place.
async fn take_over(group: &GroupHandle, peer: &NodeName, max_wait_ms: u64) -> HandedOver {
    tracing::info!(%peer, "the primary asks this node to take over");
    let (progress, mut told) = mpsc::channel(1);
    told.close();
    let terms = SwitchoverTerms { max_wait_ms };
    let progress = ProgressSink::new(progress);
    match group.ask(|done| Deed::Switchover { terms, progress, done }).await {
        Ok(report) => HandedOver::Report(Box::new(report)),
        Err(refused) => HandedOver::Refused(refused),
    }
}

fn primary(group: &GroupHandle) -> Result<Arc<PrimaryShared>, VerbError> {
    match group.side() {
        Side::Primary(shared) => Ok(shared),
        _ => Err(VerbError::refused(format!(
            "this node is {}, not primary",
            group.role()
        ))),
    }
}

/// Compares these users with the peer's copy; one that is none: everybody.
async fn compare_users(
    shared: &PrimaryShared,
    peer: &NodeName,
    users: Vec<Option<UserName>>,
) -> Result<VerifyReport, VerbError> {
    let mut report = VerifyReport::default();
    for user in users {
        let (progress, mut told) = mpsc::channel(1);
        told.close();
        let comparison = Comparison::of_user(user);
        let only = |name: &NodeName| name == peer;
        verifying::verify_group(shared, &comparison, only, &ProgressSink::new(progress), &mut report).await?;
    }
    Ok(report)
}

/// Compares this source with the peer's copy: all of it, or what was changed behind an LSN. A Dovecot that took something under
/// a lower MODSEQ is told it anew by being compared, so whoever differs is compared again.
async fn compare(group: &GroupHandle, peer: &NodeName, since: Option<Lsn>) -> Result<Lsn, VerbError> {
    let shared = primary(group)?;
    let users = match since {
        None => vec![None],
        Some(since) => changed_since(&shared, since).await?.into_iter().map(Some).collect(),
    };
    let mut report = compare_users(&shared, peer, users).await?;
    for _ in 1..MOVE_COMPARED_MAX {
        if report.different.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(MOVE_COMPARE_AGAIN_MS)).await;
        let again: BTreeSet<UserName> = report.different.iter().map(|d| d.user.clone()).collect();
        report = compare_users(&shared, peer, again.into_iter().map(Some).collect()).await?;
    }
    if report.different.is_empty() {
        return Ok(shared.committed.borrow().lsn);
    }
    let named = report.different.iter().take(DIFFERENCES_NAMED);
    let named: Vec<String> = named.map(|d| format!("{} {}: {}", d.user, d.mailbox, d.why)).collect();
    Err(VerbError::refused(format!(
        "{} mailboxes differ on {peer}: {}; `shadowctl verify` lists them, `repair` puts them right",
        report.different.len(),
        named.join("; ")
    )))
}

/// Users of whom anything stands behind an LSN.
async fn changed_since(shared: &PrimaryShared, since: Lsn) -> Result<BTreeSet<UserName>, VerbError> {
    let view = shared.view.clone();
    let last = shared.committed.borrow().lsn;
    let read = tokio::task::spawn_blocking(move || {
        let mut users = BTreeSet::new();
        super::files::each_frame(&view, since.next(), last, |frame| users.extend(user_of(&frame.payload)))?;
        Ok::<_, super::NodeError>(users)
    });
    let users = read.await.map_err(|e| VerbError::failed(e.to_string()))?;
    let users = users.map_err(|e| VerbError::failed(e.to_string()))?;
    match users.len() <= HANDOVER_USERS_MAX {
        true => Ok(users),
        false => Err(VerbError::refused(format!(
            "{} users changed something since all was compared: try again at a quieter time",
            users.len()
        ))),
    }
}

fn user_of(payload: &Payload) -> Option<UserName> {
    match payload {
        Payload::Mailbox(txn) => Some(txn.mailbox.user.clone()),
        Payload::State(state) => Some(state.mailbox.user.clone()),
        Payload::Tree(change) => Some(change.user.clone()),
        Payload::Attributes(change) => Some(change.user.clone()),
        Payload::Epoch(_)
        | Payload::Base(_)
        | Payload::BaseEnd(_)
        | Payload::Digest(_)
        | Payload::TreeDigest(_)
        | Payload::Merged(_) => None,
    }
}

/// Keeps clients out, reads the source to its end, and says where that is. Without another word it ends by itself.
async fn drain(group: &GroupHandle, peer: &NodeName, at_most_ms: u64) -> Result<Lsn, VerbError> {
    let shared = primary(group)?;
    let ticket = group.drain(true);
    tracing::warn!(%peer, "clients are kept out, so that another node can take over");
    let (watched, patience) = (
        group.clone(),
        Duration::from_millis(at_most_ms.saturating_add(HANDOVER_GRACE_MS)),
    );
    tokio::spawn(async move {
        tokio::time::sleep(patience).await;
        if watched.drained_by(ticket) {
            tracing::error!("the switchover was not heard of any more: clients are let in again");
            watched.drain(false);
        }
    });
    // an embedded store: what was begun before stands in the queue that the sweep stands behind
    let shut = group.until_shut(Duration::from_millis(at_most_ms)).await;
    let swept = match shut {
        Ok(()) => shared.ask(Command::Sweep).await.map_err(VerbError::failed),
        Err(why) => Err(why),
    };
    swept.inspect_err(|_| {
        group.drain(false);
    })
}

/// Lets clients in again, where this node is still primary.
pub(super) fn call_off(group: &GroupHandle, peer: &NodeName) {
    if group.is_draining() && group.role() == crate::role::Role::Primary {
        tracing::warn!(%peer, "the switchover was called off: clients are let in again");
        group.drain(false);
    }
}
