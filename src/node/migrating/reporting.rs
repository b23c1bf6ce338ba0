//! `migrate status` and `migrate report`: every user on both sides, and where the whole stands.

use super::pair::{Pair, Standings, Who};
use super::planning::{Side, look, looked};
use crate::control::migration::{Event, Holdings, MigrationReport, MigrationStatus, NameRules, Stage, parity, plan};
use crate::control::report::VerifyReport;
use crate::control::status::Lag;
use crate::control::verbs::{ProgressSink, VerbError, VerifyRequest};
use crate::io::clock;
use crate::node::steward::Means;
use crate::node::verifying;
use std::time::Duration;

/// What a comparison says where a Dovecot holds everything, but some of it under a lower MODSEQ.
const MODSEQ_BEHIND: &str = "in the mail server: modseq";
/// How often that is looked at again.
const COMPARE_AGAIN: u32 = 3;
const COMPARE_PAUSE: Duration = Duration::from_millis(500);

/// Where it stands. A side that does not answer has nobody.
pub(super) async fn status(means: &Means, _progress: &ProgressSink) -> Result<MigrationStatus, VerbError> {
    let mut pair = Pair::of(means)?;
    let standings = pair.standings().await?;
    let mut problems = Vec::new();
    let mut holdings = Vec::new();
    for who in [standings.old(), standings.old().other()] {
        let counted = match (who, &standings.peer) {
            (Who::Peer, Err(why)) => Err(why.clone()),
            _ => pair.census(who, &NameRules::default()).await,
        };
        holdings.push(counted.unwrap_or_else(|why| {
            problems.push(why.to_string());
            Holdings::new()
        }));
    }
    let [old, new] = holdings.as_slice() else {
        return Err(VerbError::failed("there are two sides"));
    };
    Ok(put_together(means, &pair, &standings, (old, new), problems))
}

fn put_together(
    means: &Means,
    pair: &Pair,
    standings: &Standings,
    (old, new): (&Holdings, &Holdings),
    mut problems: Vec<String>,
) -> MigrationStatus {
    let stage = standings.stage();
    for standing in [Some(&standings.own), standings.peer.as_ref().ok()]
        .into_iter()
        .flatten()
    {
        let of = |problem: &String| format!("{}: {problem}", standing.node);
        problems.extend(standing.status.problems.iter().map(of));
    }
    let mut history: Vec<Event> = standings.own.history.clone();
    history.extend(standings.peer.iter().flat_map(|peer| peer.history.iter().cloned()));
    history.sort();
    MigrationStatus {
        group: means.group.config.name.clone(),
        stage,
        note: stage.in_words().to_owned(),
        old: pair.name(standings.old()),
        new: pair.name(standings.old().other()),
        lag: lag(standings),
        users: parity::users(old, new),
        history,
        problems,
    }
}

/// As the primary sees it, where it answers.
fn lag(standings: &Standings) -> Lag {
    let primary = standings.primary().and_then(|who| standings.of(who));
    primary.map_or(Lag::default(), |primary| primary.status.lag)
}

/// Compares everything, and tells of each user.
pub(super) async fn report(means: &Means, deep: bool, progress: &ProgressSink) -> Result<MigrationReport, VerbError> {
    let mut pair = Pair::of(means)?;
    let standings = pair.standings().await?;
    let old = standings.old();
    let (from, to) = look(&mut pair, &standings, old, progress).await?;
    let to = to?;
    let asked = VerifyRequest {
        group: None,
        user: None,
        deep,
    };
    let compared = compare(means, &asked, progress).await?;
    let mut status = put_together(means, &pair, &standings, (&from.holdings, &to.holdings), Vec::new());
    parity::judge(&mut status.users, &compared);
    Ok(MigrationReport {
        not_carried: not_carried(&standings, &from, &to),
        status,
        made_ms: clock::unix_ms(),
        old: from.facts,
        new: to.facts,
        mailboxes: compared.mailboxes,
        equal: compared.equal,
        deep,
        different: compared.different,
        notes: compared.notes,
        seconds: compared.seconds,
    })
}

/// What users had on the old side and have not on the new one.
fn not_carried(standings: &Standings, from: &Side, to: &Side) -> Vec<String> {
    let (Some(old), Some(new)) = (standings.of(standings.old()), standings.of(standings.old().other())) else {
        return Vec::new();
    };
    plan::not_carried(looked(old, from), looked(new, to))
}

/// Everything. A Dovecot that was told lower MODSEQs than it should have is told again by the comparison itself: where nothing
/// else differs, that is waited for.
pub(super) async fn compare(
    means: &Means,
    asked: &VerifyRequest,
    progress: &ProgressSink,
) -> Result<VerifyReport, VerbError> {
    let groups = || vec![means.group.clone()];
    let mut report = verifying::verify(groups(), asked, progress).await?;
    for _ in 0..COMPARE_AGAIN {
        let behind = report
            .different
            .iter()
            .all(|difference| difference.why == MODSEQ_BEHIND);
        if report.is_equal() || !behind {
            break;
        }
        tokio::time::sleep(COMPARE_PAUSE).await;
        report = verifying::verify(groups(), asked, progress).await?;
    }
    Ok(report)
}

/// True where a stage has a whole copy on the other side.
pub(super) fn has_copy(stage: Stage) -> bool {
    matches!(stage, Stage::Following | Stage::CutOver | Stage::Back)
}
