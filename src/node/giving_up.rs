//! A primary whose mail service is down is asked by a peer to let nobody in, so that the peer can take its place.

use super::group::GroupHandle;
use crate::control::roles::FenceAnswer;
use crate::control::status::ServiceStatus;
use crate::limits::{FENCE_ASKED_SECONDS_MAX, FENCE_LEASE_SECONDS};
use crate::op::NodeName;
use crate::role::Role;
use std::time::Duration;

/// Shuts the doors and says so. Where no higher epoch comes within the lease, they open again: the peer has gone back on
/// it, or is gone.
pub(super) async fn give_up(group: &GroupHandle, asker: &NodeName) -> FenceAnswer {
    let refused = |why: String| FenceAnswer {
        shut: false,
        why: Some(why),
    };
    let role = group.role();
    if role == Role::Standby {
        return refused("this node is a standby".to_owned());
    }
    let down = group.doors().service().as_ref().and_then(ServiceStatus::up) == Some(false);
    if role == Role::Primary && !down && !group.is_draining() {
        return refused("this node's mail service is not down: `shadowctl switchover` is the planned way".to_owned());
    }
    if role == Role::Primary && !group.is_draining() {
        let time = group.drain(true);
        tracing::warn!(%asker, group = group.config.name, "lets nobody in: the mail service is down, and a peer takes over");
        // apart from this answer: whoever asked may leave, and this must end all the same
        tokio::spawn(open_again(group.clone(), time));
    }
    let shut = match role {
        Role::Primary => group.until_shut(Duration::from_secs(FENCE_ASKED_SECONDS_MAX)).await,
        _ => Ok(()),
    };
    match (shut, group.is_shut()) {
        (Ok(()), Some(true)) => FenceAnswer { shut: true, why: None },
        (Ok(()), _) => refused("its mail server is not shut".to_owned()),
        (Err(error), _) => refused(error.to_string()),
    }
}

async fn open_again(group: GroupHandle, time: u64) {
    let mut standings = group.follow_standing();
    let overtaken = standings.wait_for(|standing| standing.role() != Role::Primary);
    let lease = Duration::from_secs(FENCE_LEASE_SECONDS);
    if tokio::time::timeout(lease, overtaken).await.is_err() {
        tracing::warn!(
            group = group.config.name,
            "no peer has taken over: clients are let in again"
        );
    }
    // a fenced node's doors stay shut for that reason
    if group.drained_by(time) {
        group.drain(false);
    }
}
