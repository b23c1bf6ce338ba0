//! `migrate cutover` and `migrate back`: everybody to the other side. All is compared first, and who differs is named; then
//! it is a switchover: nothing is lost, or nothing changes.

use super::pair::{Pair, Standings, Who};
use super::{note, planning, reporting};
use crate::control::migration::{BACK, CUT_OVER, CutoverReport, Stage, Step, parity, plan};
use crate::control::promotion::PromoteReport;
use crate::control::report::VerifyReport;
use crate::control::verbs::{Progress, ProgressSink, SwitchoverTerms, VerbError, VerifyRequest};
use crate::io::clock::Stopwatch;
use crate::limits::USERS_NAMED_MAX;
use crate::node::steward::{Deed, Means};
use crate::node::switching;
use crate::op::UserName;
use serde_json::json;

/// See the module.
pub(super) async fn cut_over(
    means: &Means,
    back: bool,
    max_wait_ms: u64,
    progress: ProgressSink,
) -> Result<CutoverReport, VerbError> {
    let time = Stopwatch::start();
    let mut pair = Pair::of(means)?;
    let standings = pair.standings().await?;
    let mut report = CutoverReport {
        group: means.group.config.name.clone(),
        back,
        already: false,
        compared: 0,
        steps: Vec::new(),
        switchover: None,
        seconds: 0.0,
    };
    if is_there(&pair, &standings, back)? {
        report.already = true;
        report.seconds = time.elapsed().as_secs_f64();
        return Ok(report);
    }
    knows_everybody(&mut pair, &standings, &progress).await?;
    let compared = reporting::compare(means, &VerifyRequest::default(), &progress).await?;
    if !compared.is_equal() {
        return Err(differ(&compared));
    }
    report.compared = compared.mailboxes;
    let what = format!(
        "{} mailboxes were compared while users worked: all are equal",
        compared.mailboxes
    );
    let at_seconds = time.elapsed().as_secs_f64();
    progress.tell(Progress::step(format!("{at_seconds:8.3} s  {what}")));
    report.steps.push(Step {
        what,
        at_seconds,
        problem: None,
    });
    let switched = switch_over(means, &standings, max_wait_ms, progress).await?;
    report.steps.extend(switched.steps.iter().map(|step| Step {
        at_seconds: step.at_seconds + at_seconds,
        ..step.clone()
    }));
    report.seconds = time.elapsed().as_secs_f64();
    let what = if back { BACK } else { CUT_OVER };
    let text = format!("{} is primary in epoch {}", switched.primary, switched.epoch);
    let facts = json!({
        "primary": switched.primary, "epoch": switched.epoch, "compared": report.compared, "seconds": report.seconds,
        "redirects": switched.redirects, "note": text,
    });
    note(means, what, facts).await;
    report.switchover = Some(switched);
    Ok(report)
}

/// True where users work on that side already. Refused where there is no whole copy to lead them to.
fn is_there(pair: &Pair, standings: &Standings, back: bool) -> Result<bool, VerbError> {
    let stage = standings.stage();
    match (stage, back) {
        (Stage::CutOver, false) => return Ok(true),
        (Stage::Following | Stage::Back, true) => return Ok(true),
        _ => {}
    }
    if let Err(why) = &standings.peer {
        return Err(VerbError::refused(format!(
            "{why}; both nodes must answer for a cutover"
        )));
    }
    if !reporting::has_copy(stage) {
        let new = pair.name(standings.old().other());
        return Err(VerbError::refused(match stage {
            Stage::Unclear => format!("{}: `shadowctl status` on both nodes says more", stage.in_words()),
            _ => format!("{new} does not have everything yet: `shadowctl migrate run` shows how far it is"),
        }));
    }
    Ok(false)
}

/// Refused where the other side has no such user: who is moved there could not log in.
async fn knows_everybody(pair: &mut Pair, standings: &Standings, progress: &ProgressSink) -> Result<(), VerbError> {
    let source = standings.primary().unwrap_or(Who::Peer);
    let (from, to) = planning::look(pair, standings, source, progress).await?;
    let to = to?;
    let unknown = plan::unknown(&from.holdings, &to.facts, &to.holdings);
    match unknown.len() {
        0 => Ok(()),
        count => Err(VerbError::refused(format!(
            "{} does not know {count} of {} users: {}. Nothing has changed. Add them there under the same names",
            pair.name(source.other()),
            from.holdings.len(),
            plan::named(unknown.iter().map(|user| user.to_string()))
        ))),
    }
}

fn differ(compared: &VerifyReport) -> VerbError {
    let users = parity::unequal(compared);
    let named: Vec<&str> = users.iter().take(USERS_NAMED_MAX).map(UserName::as_str).collect();
    let more = users.len().saturating_sub(named.len());
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    VerbError::refused(format!(
        "{} users are not equal on both sides: {}{more}. Nothing has changed. `shadowctl verify` lists what differs, `shadowctl \
         repair` puts right what can be",
        users.len(),
        named.join(", ")
    ))
}

async fn switch_over(
    means: &Means,
    standings: &Standings,
    max_wait_ms: u64,
    progress: ProgressSink,
) -> Result<PromoteReport, VerbError> {
    let terms = SwitchoverTerms { max_wait_ms };
    match standings.primary() {
        Some(Who::Own) => switching::ask_standby(means, terms).await,
        _ => means.group.ask(|done| Deed::Switchover { terms, progress, done }).await,
    }
}
