//! Questions of an operator that only the primary's node can answer, asked on the standby's: they travel over the
//! session as bounded JSON text.

use super::primary::PrimaryShared;
use super::standby::StandbyShared;
use super::verifying;
use crate::control::report::VerifyReport;
use crate::control::verbs::{ProgressSink, VerbError, VerifyRequest};
use crate::op::NodeName;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Differences that fit an answer; the rest is seen by asking on the primary's node.
const DIFFERENCES_MAX: usize = 1000;
/// Questions that wait for the session.
pub(super) const QUESTIONS_MAX: usize = 16;

/// A question on its way to the primary.
pub(super) struct Question {
    pub(super) json: String,
    /// None: nobody can answer.
    pub(super) answer: oneshot::Sender<Option<String>>,
}

/// Asks the primary to verify this node's copy.
pub(super) async fn verify(shared: &StandbyShared, request: &VerifyRequest) -> Result<VerifyReport, VerbError> {
    let failed = |e: serde_json::Error| VerbError::failed(e.to_string());
    let json = serde_json::to_string(request).map_err(failed)?;
    let (answer, told) = oneshot::channel();
    let sent = shared.questions.try_send(Question { json, answer });
    sent.map_err(|_| VerbError::failed("too many questions are open"))?;
    let json = told.await.ok().flatten();
    let json = json.ok_or_else(|| VerbError::failed("the primary is not connected: it can't be asked"))?;
    let told: Result<VerifyReport, VerbError> = serde_json::from_str(&json).map_err(failed)?;
    told
}

/// Answers a standby's question; always a text that it can read.
pub(super) async fn answer(shared: Arc<PrimaryShared>, peer: NodeName, json: String) -> String {
    let report = match serde_json::from_str(&json) {
        Ok(request) => verify_for(&shared, &peer, &request).await,
        Err(error) => Err(VerbError::usage(format!(
            "the primary does not know this question: {error}"
        ))),
    };
    serde_json::to_string(&report).unwrap_or_else(|error| {
        tracing::error!(%error, "answer a standby's question");
        String::new()
    })
}

async fn verify_for(
    shared: &PrimaryShared,
    peer: &NodeName,
    request: &VerifyRequest,
) -> Result<VerifyReport, VerbError> {
    let (progress, mut told) = mpsc::channel(1);
    told.close();
    let mut report = VerifyReport {
        deep: request.deep,
        ..VerifyReport::default()
    };
    let only = |name: &NodeName| name == peer;
    verifying::verify_group(shared, &request.into(), only, &ProgressSink::new(progress), &mut report).await?;
    report.different.truncate(DIFFERENCES_MAX);
    report.notes.truncate(DIFFERENCES_MAX);
    Ok(report)
}
