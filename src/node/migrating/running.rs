//! `migrate run`: shows the copying until the standby has everything. The copying itself needs nobody who looks: it begins
//! when both daemons run, goes on when the command ends, and after a crash of either where it was.

use super::note;
use super::pair::{Pair, Who};
use crate::control::migration::plan::{estimate, size, time};
use crate::control::migration::{COPIED, NameRules, NodeStanding, RunReport, Stage, Totals};
use crate::control::report::WaitReport;
use crate::control::verbs::{Progress, ProgressSink, VerbError};
use crate::io::clock::Stopwatch;
use crate::node::steward::Means;
use crate::node::waiting;
use crate::op::NodeName;
use serde_json::json;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the standby is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks that the rate is taken over.
const LOOKS_KEPT: usize = 15;
/// A wait without a limit; the longest that timers take without care.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// See the module.
pub(super) async fn run(
    means: &Means,
    timeout_ms: Option<u64>,
    progress: &ProgressSink,
) -> Result<RunReport, VerbError> {
    let mut pair = Pair::of(means)?;
    let standings = pair.standings().await?;
    match standings.primary() {
        Some(Who::Peer) => {
            return Err(VerbError::refused(format!(
                "{} is the primary: run it there",
                pair.peer
            )));
        }
        Some(Who::Own) | None => {}
    }
    let clock = Stopwatch::start();
    let was_first_copy = matches!(standings.stage(), Stage::New | Stage::Planned | Stage::Copying);
    progress.tell(Progress {
        what: "counting what users have here".to_owned(),
        done: None,
        total: None,
        lasting: false,
    });
    let totals = Totals::of(pair.census(Who::Own, &NameRules::default()).await?.values());
    let began_with = standings
        .of(Who::Peer)
        .and_then(|standing| standing.bytes)
        .unwrap_or_default();
    let limit = timeout_ms.map_or(FOR_EVER, Duration::from_millis);
    let waited = wait_and_show(means, &mut pair, totals, limit, progress).await?;
    let has = pair.standing(Who::Peer).await.ok().and_then(|standing| standing.bytes);
    let report = RunReport {
        group: means.group.config.name.clone(),
        totals,
        bytes: has.unwrap_or_default().saturating_sub(began_with),
        seconds: clock.elapsed().as_secs_f64(),
        diverted: waited.groups.into_iter().flat_map(|group| group.diverted).collect(),
    };
    let known = standings.own.history.iter().any(|event| event.what == COPIED);
    if was_first_copy && !known {
        let text = copied(&report);
        let facts = json!({ "totals": totals, "bytes": report.bytes, "seconds": report.seconds, "note": text });
        note(means, COPIED, facts).await;
    }
    Ok(report)
}

fn copied(report: &RunReport) -> String {
    format!(
        "{} messages of {} users, {} seen to come in {}",
        report.totals.messages,
        report.totals.users,
        size(report.bytes),
        time(report.seconds)
    )
}

/// Until the standby has all that the source had when this began.
async fn wait_and_show(
    means: &Means,
    pair: &mut Pair,
    totals: Totals,
    limit: Duration,
    progress: &ProgressSink,
) -> Result<WaitReport, VerbError> {
    // its own progress counts LSNs: nothing for people who wait for mail
    let (quiet, mut told) = mpsc::channel(1);
    told.close();
    let quiet = ProgressSink::new(quiet);
    let waiting = waiting::wait(vec![means.group.clone()], limit, &quiet);
    tokio::pin!(waiting);
    let mut meter = Meter::new(pair.peer.clone(), totals);
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            waited = &mut waiting => return waited,
            _ = ticks.tick() => {
                // the wait goes on meanwhile: this is short, and another task's work
                let standing = pair.standing(Who::Peer).await;
                for problem in standing.iter().flat_map(|standing| meter.news(standing)) {
                    progress.tell(Progress::step(problem));
                }
                progress.tell(meter.progress(standing.as_ref()));
            }
        }
    }
}

/// What the copy had at the last looks.
struct Meter {
    peer: NodeName,
    totals: Totals,
    clock: Stopwatch,
    looks: VecDeque<(Duration, u64)>,
    told: BTreeSet<String>,
}

impl Meter {
    fn new(peer: NodeName, totals: Totals) -> Self {
        Self {
            peer,
            totals,
            clock: Stopwatch::start(),
            looks: VecDeque::new(),
            told: BTreeSet::new(),
        }
    }

    fn progress(&mut self, standing: Result<&NodeStanding, &VerbError>) -> Progress {
        match standing {
            Ok(standing) => self.look(self.clock.elapsed(), standing),
            Err(why) => Progress {
                what: format!("waiting for {}: {why}", self.peer),
                done: None,
                total: None,
                lasting: false,
            },
        }
    }

    /// What a human should look at there, each once: a user whom nobody knows there would be waited for in vain.
    fn news(&mut self, standing: &NodeStanding) -> Vec<String> {
        let problems = standing.status.problems.iter();
        let of = |problem: &String| format!("{}: {problem}", self.peer);
        let mut news: Vec<String> = problems.map(of).collect();
        news.retain(|problem| self.told.insert(problem.clone()));
        news
    }

    /// `at`: since it began.
    fn look(&mut self, at: Duration, standing: &NodeStanding) -> Progress {
        let (bytes, users) = (standing.bytes.unwrap_or_default(), standing.users.unwrap_or_default());
        self.looks.push_back((at, bytes));
        if self.looks.len() > LOOKS_KEPT {
            self.looks.pop_front();
        }
        let users = users.saturating_sub(standing.users_waiting.unwrap_or_default());
        let rate = self.rate();
        let left = plan_left(self.totals.bytes.saturating_sub(bytes), rate);
        let what = format!(
            "messages; {} of {}, {} of {} users{}{}",
            size(bytes.min(self.totals.bytes)),
            size(self.totals.bytes),
            users.min(self.totals.users),
            self.totals.users,
            rate.map_or(String::new(), |(bytes, seconds)| {
                let a_second = estimate(0, Some((bytes, seconds)), String::new());
                a_second
                    .bytes_per_second
                    .map_or(String::new(), |rate| format!(", {}/s", size(whole(rate))))
            }),
            left.map_or(String::new(), |left| format!(", {} left", time(left))),
        );
        let messages = standing.status.messages.unwrap_or_default();
        Progress::of(what, messages.min(self.totals.messages), Some(self.totals.messages))
    }

    /// Octets and seconds between the first and the last look that are kept.
    fn rate(&self) -> Option<(u64, f64)> {
        let ((began, first), (ended, last)) = (self.looks.front()?, self.looks.back()?);
        let bytes = last.checked_sub(*first).filter(|bytes| *bytes > 0)?;
        Some((bytes, ended.saturating_sub(*began).as_secs_f64()))
    }
}

fn plan_left(bytes: u64, rate: Option<(u64, f64)>) -> Option<f64> {
    rate?;
    estimate(bytes, rate, String::new()).seconds.filter(|_| bytes > 0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "a rate for people; the cast saturates"
)]
fn whole(rate: f64) -> u64 {
    rate as u64
}
