//! `migrate plan`: looks at both sides, and measures how fast this copying goes.

use super::note;
use super::pair::{Pair, Standings, Who};
use crate::config::StoreConfig;
use crate::control::migration::plan::{self, Looked, size, time};
use crate::control::migration::{
    COPIED, Holdings, NameRules, NodeStanding, PLANNED, PlanReport, Stage, StoreFacts, Totals,
};
use crate::control::verbs::{Progress, ProgressSink, VerbError};
use crate::io::clock::Stopwatch;
use crate::limits::{RATE_WATCH_MS, SAMPLE_USERS_MAX};
use crate::node::fencing;
use crate::node::steward::Means;
use crate::op::UserName;
use crate::store::dovecot::doveadm::Doveadm;
use serde_json::json;
use std::time::Duration;

/// What one side answered to all questions.
pub(super) struct Side {
    pub(super) facts: StoreFacts,
    pub(super) holdings: Holdings,
}

/// Asks both sides; of the target where it answers, with the reason where it does not.
pub(super) async fn look(
    pair: &mut Pair,
    standings: &Standings,
    source: Who,
    progress: &ProgressSink,
) -> Result<(Side, Result<Side, VerbError>), VerbError> {
    let target = source.other();
    let told = |what: String| {
        progress.tell(Progress {
            what,
            done: None,
            total: None,
            lasting: false,
        });
    };
    told(format!("looking at {}", pair.name(target)));
    let target_facts = match standings.of(target) {
        Some(_) => pair.store(target).await,
        None => Err(VerbError::failed(
            standings
                .peer
                .as_ref()
                .err()
                .map(ToString::to_string)
                .unwrap_or_default(),
        )),
    };
    let rules = target_facts
        .as_ref()
        .map_or_else(|_| NameRules::default(), |facts| facts.name_rules.clone());
    told(format!("counting what users have on {}", pair.name(source)));
    let from = Side {
        facts: pair.store(source).await?,
        holdings: pair.census(source, &rules).await?,
    };
    let to = match target_facts {
        Ok(mut facts) => {
            told(format!("counting what users have on {}", pair.name(target)));
            let counted = pair.census(target, &NameRules::default()).await;
            let holdings = counted.unwrap_or_else(|error| {
                facts.problem = Some(error.to_string());
                Holdings::new()
            });
            Ok(Side { facts, holdings })
        }
        Err(why) => Err(why),
    };
    Ok((from, to))
}

/// See the module.
pub(super) async fn plan(means: &Means, progress: &ProgressSink) -> Result<PlanReport, VerbError> {
    let mut pair = Pair::of(means)?;
    let standings = pair.standings().await?;
    let Some(source) = standings.primary() else {
        let unanswered = standings
            .peer
            .as_ref()
            .err()
            .map_or(String::new(), |why| format!(": {why}"));
        return Err(VerbError::refused(format!("no confirmed primary answers{unanswered}")));
    };
    let stage = standings.stage();
    let (from, to) = look(&mut pair, &standings, source, progress).await?;
    let of = |who: Who, side| standings.of(who).map(|standing| looked(standing, side));
    let no_source = || VerbError::failed("the primary did not say how it stands");
    let from_looked = of(source, &from).ok_or_else(no_source)?;
    let to_looked = to.as_ref().ok().and_then(|side| of(source.other(), side));
    let totals = Totals::of(from.holdings.values());
    let bytes_left = bytes_left(stage, totals, &standings, source.other());
    let mut findings = plan::findings(from_looked, to_looked, bytes_left);
    if let Err(why) = &to {
        let todo = "start shadowd there; until then it is not known what it can take";
        findings.insert(0, plan::unanswered(&pair.name(source.other()), why.to_string(), todo));
    }
    let rate = measure(means, &mut pair, (stage, source), &from.holdings, progress).await;
    let report = PlanReport {
        group: means.group.config.name.clone(),
        stage,
        totals,
        largest_users: plan::largest_users(&from.holdings),
        largest_mailboxes: plan::largest_mailboxes(&from.holdings),
        findings,
        estimate: plan::estimate(bytes_left, rate.measured, rate.basis),
        source: from_looked.side(),
        target: to_looked.map(|looked| looked.side()),
    };
    if standings.own.history.iter().all(|event| event.what != PLANNED) {
        let text = format!(
            "{} users, {} messages, {}",
            totals.users,
            totals.messages,
            size(totals.bytes)
        );
        note(means, PLANNED, json!({ "totals": totals, "note": text })).await;
    }
    Ok(report)
}

/// A side with everything that was asked of it.
pub(super) fn looked<'l>(standing: &'l NodeStanding, side: &'l Side) -> Looked<'l> {
    Looked {
        standing,
        facts: &side.facts,
        holdings: &side.holdings,
    }
}

/// What the copy has already needs no time and no room.
fn bytes_left(stage: Stage, totals: Totals, standings: &Standings, target: Who) -> u64 {
    let has = standings
        .of(target)
        .and_then(|standing| standing.bytes)
        .unwrap_or_default();
    match stage {
        Stage::Following | Stage::CutOver | Stage::Back => 0,
        Stage::New | Stage::Planned | Stage::Copying | Stage::Unclear => totals.bytes.saturating_sub(has),
    }
}

/// Octets in seconds, where something was measured, and what it was.
struct Rate {
    measured: Option<(u64, f64)>,
    basis: String,
}

fn not_measured(why: &str) -> Rate {
    Rate {
        measured: None,
        basis: format!("not measured: {why}"),
    }
}

/// The copy's own rate where it runs, else how fast the source's bodies can be read.
async fn measure(
    means: &Means,
    pair: &mut Pair,
    (stage, source): (Stage, Who),
    holdings: &Holdings,
    progress: &ProgressSink,
) -> Rate {
    match stage {
        Stage::Copying => watch(pair, source.other(), progress).await,
        Stage::Following | Stage::CutOver | Stage::Back => {
            let standing = pair.standing(source).await.ok();
            let mut copied = standing.into_iter().flat_map(|standing| standing.history);
            let copied = copied.rfind(|event| event.what == COPIED);
            Rate {
                measured: None,
                basis: copied.map_or_else(
                    || "nothing is left to copy".to_owned(),
                    |event| format!("nothing is left to copy; the first copy was {}", event.more),
                ),
            }
        }
        Stage::New | Stage::Planned | Stage::Unclear => match (source, &means.group.config.store) {
            (Who::Own, StoreConfig::Dovecot(dovecot)) => sample(fencing::doveadm(dovecot), holdings).await,
            (Who::Own, StoreConfig::Embedded(_)) => {
                not_measured("the copying has not begun, and this store is not read for a sample")
            }
            (Who::Peer, _) => not_measured("the copying has not begun; the plan of the primary's node reads a sample"),
        },
    }
}

/// Watches the copying for a moment.
async fn watch(pair: &mut Pair, target: Who, progress: &ProgressSink) -> Rate {
    progress.tell(Progress {
        what: "watching how fast the copying goes".to_owned(),
        done: None,
        total: None,
        lasting: false,
    });
    let clock = Stopwatch::start();
    let before = pair.standing(target).await.ok().and_then(|standing| standing.bytes);
    tokio::time::sleep(Duration::from_millis(RATE_WATCH_MS)).await;
    let after = pair.standing(target).await.ok().and_then(|standing| standing.bytes);
    let seconds = clock.elapsed().as_secs_f64();
    match (before, after) {
        (Some(before), Some(after)) => {
            let bytes = after.saturating_sub(before);
            Rate {
                measured: Some((bytes, seconds)),
                basis: format!("this very copying, watched for {}: {} came", time(seconds), size(bytes)),
            }
        }
        _ => not_measured("the target does not say how far it is"),
    }
}

/// Reads some bodies where they lie.
async fn sample(doveadm: Doveadm, holdings: &Holdings) -> Rate {
    let users: Vec<UserName> = plan::largest_users(holdings)
        .into_iter()
        .take(SAMPLE_USERS_MAX)
        .map(|holding| holding.user)
        .collect();
    let read = tokio::task::spawn_blocking(move || doveadm.sample(&users)).await;
    match read {
        Ok(Ok(sample)) if sample.bytes > 0 => Rate {
            measured: Some((sample.bytes, sample.seconds)),
            basis: format!(
                "reading alone: {} of the largest INBOXes in {}; the network and the target were not measured, so it takes \
                 at least this long",
                size(sample.bytes),
                time(sample.seconds)
            ),
        },
        Ok(Ok(_)) => not_measured("there was no mail to read"),
        Ok(Err(error)) => not_measured(&error.to_string()),
        Err(error) => not_measured(&error.to_string()),
    }
}
