//! `migrate`: a whole server to another version, format or store, and back. What both nodes say of themselves is put beside
//! each other here; the copying is the group's own, and the cutover is its `switchover`.
//!
//! | file | what it does |
//! |---|---|
//! | `pair` | asks this node and the other one the same questions |
//! | `desk` | answers them |
//! | `history` | what happened so far, out of the log of role changes |
//! | `planning` `running` `reporting` `cutting` | one verb each |

mod cutting;
pub(super) mod desk;
mod history;
mod pair;
mod planning;
mod reporting;
mod running;

use super::steward::{Deed, Means};
use crate::control::migration::{MigrateRequest, Migrated};
use crate::control::verbs::{ProgressSink, VerbError};
use serde_json::Value;

/// The group that a request names.
pub(super) fn group_of(request: &MigrateRequest) -> Option<&str> {
    match request {
        MigrateRequest::Plan { group }
        | MigrateRequest::Run { group, .. }
        | MigrateRequest::Status { group }
        | MigrateRequest::Report { group, .. }
        | MigrateRequest::Cutover { group, .. } => group.as_deref(),
    }
}

/// See the module.
pub(super) async fn migrate(
    means: Means,
    request: MigrateRequest,
    progress: ProgressSink,
) -> Result<Migrated, VerbError> {
    Ok(match request {
        MigrateRequest::Plan { .. } => Migrated::Plan(Box::new(planning::plan(&means, &progress).await?)),
        MigrateRequest::Run { timeout_ms, .. } => {
            Migrated::Run(Box::new(running::run(&means, timeout_ms, &progress).await?))
        }
        MigrateRequest::Status { .. } => Migrated::Status(Box::new(reporting::status(&means, &progress).await?)),
        MigrateRequest::Report { deep, .. } => {
            Migrated::Report(Box::new(reporting::report(&means, deep, &progress).await?))
        }
        MigrateRequest::Cutover { back, max_wait_ms, .. } => {
            Migrated::Cutover(Box::new(cutting::cut_over(&means, back, max_wait_ms, progress).await?))
        }
    })
}

/// The log of role changes keeps it; a disk that takes nothing stops no migration.
async fn note(means: &Means, what: &str, facts: Value) {
    let what = what.to_owned();
    let noted = means.group.ask(|done| Deed::Note { what, facts, done }).await;
    if let Err(error) = noted {
        tracing::warn!(%error, "not in the log of role changes");
    }
}
