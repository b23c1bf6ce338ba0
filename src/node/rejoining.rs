//! `rejoin`: a fenced node becomes a standby of whoever is primary now.

use super::promoting::Ended;
use super::steward::Steward;
use crate::config::StoreConfig;
use crate::control::promotion::RejoinReport;
use crate::control::verbs::VerbError;
use crate::op::Lsn;
use crate::role::Role;
use serde_json::json;

/// Becomes a standby where that can be done without losing anything; says what is here alone.
pub(super) async fn rejoin(steward: &mut Steward) -> Ended<RejoinReport> {
    let mut standing = steward.means.group.standing();
    let report = match tail(steward)? {
        Ok(report) => report,
        Err(refused) => return Ok(Err(refused)),
    };
    if report.tail_frames > 0 {
        return Ok(Ok(report));
    }
    if let Err(refusal) = standing.rejoin() {
        return Ok(Err(VerbError::refused(refusal.to_string())));
    }
    steward.note("rejoined", &json!({ "epoch": standing.epoch() }));
    steward.take(standing).await?;
    Ok(Ok(RejoinReport {
        role: Some(Role::Standby),
        note: "a standby now: the primary connects by itself".to_owned(),
        ..report
    }))
}

/// What this node has beyond the fork.
fn tail(steward: &Steward) -> Ended<RejoinReport> {
    let standing = steward.means.group.standing();
    if standing.role() != Role::Fenced {
        return Ok(Err(VerbError::refused(format!(
            "this node is {}, not fenced: there is nothing to rejoin",
            standing.role()
        ))));
    }
    if matches!(steward.means.group.config.store, StoreConfig::Dovecot(_)) {
        return Ok(Err(VerbError::refused(
            "this version applies to the embedded store only: a Dovecot can't be a standby",
        )));
    }
    let journal = steward.means.group.journal();
    let head = journal.head().map_or(Lsn(0), |head| head.lsn);
    let Some(fork) = standing.record().fork else {
        return Ok(Err(VerbError::refused(
            "where the new primary's history leaves this one is not known yet: it must answer once",
        )));
    };
    let beyond = head.0.saturating_sub(fork.lsn.0);
    Ok(Ok(RejoinReport {
        group: steward.means.group.config.name.clone(),
        role: Some(standing.role()),
        tail_frames: beyond,
        tail: Vec::new(),
        note: format!(
            "{beyond} frames behind LSN {} are here alone: this version does not merge them yet, and keeps them",
            fork.lsn
        ),
    }))
}
