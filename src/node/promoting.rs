//! `promote`: this node becomes primary. Each step is durable before the next one begins, so that a promotion that was cut
//! off anywhere leaves one primary or none, and is brought to its end by running it again.

use super::NodeError;
use super::asking::Asking;
use super::group::{Group, GroupHandle, Rest};
use super::standby::StandbyShared;
use super::steward::{Means, Steward};
use super::{lending, losing, pointing, switching};
use crate::config::StoreConfig;
use crate::control::promotion::{LossStatement, PromoteReport, PromoteRequest, Step};
use crate::control::roles::GroupRole;
use crate::control::verbs::{Progress, ProgressSink, VerbError};
use crate::io::clock::{self, Stopwatch};
use crate::journal::Sealer;
use crate::limits::ALIVE_SECONDS;
use crate::op::{Epoch, EpochId, Leap, NodeName, Payload, StreamId};
use crate::role::loss::judge;
use crate::role::{Fork, Role, Stage, Standing};
use crate::store::table::CaptureTable;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A verb's end, inside what ends the daemon.
pub(super) type Ended<T> = Result<Result<T, VerbError>, NodeError>;

/// Makes the group's node primary.
pub(super) async fn promote(
    steward: &mut Steward,
    request: &PromoteRequest,
    progress: ProgressSink,
) -> Ended<PromoteReport> {
    let mut telling = Telling::new(progress);
    let standing = steward.means.group.standing();
    if standing.role() == Role::Primary {
        return finish_what_was_begun(steward, standing, telling).await;
    }
    if is_primary_without_service(&steward.means.clone()).await {
        return switching::relieve(steward, telling).await;
    }
    let highest = match may_promote(&steward.means.clone(), request, &standing, &mut telling).await {
        Ok(highest) => highest,
        Err(refused) => return Ok(Err(refused)),
    };
    telling.step("no primary answers, and what would be lost is accepted", None);
    take_over(steward, highest, Takeover::Promotion { force: request.force }, telling).await
}

/// How the epoch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takeover {
    /// The primary is gone: what it may have done beyond what is here is unknown.
    Promotion { force: bool },
    /// The primary has stopped, and everything it did is here.
    Switchover,
}

impl Takeover {
    fn word(self) -> &'static str {
        match self {
            Self::Promotion { .. } => "promoted",
            Self::Switchover => "switched over",
        }
    }
}

/// Takes the next epoch and opens the store. Behind this there is no way back but another promotion.
pub(super) async fn take_over(
    steward: &mut Steward,
    highest: Epoch,
    how: Takeover,
    mut telling: Telling,
) -> Ended<PromoteReport> {
    let mut standing = steward.means.group.standing();
    let force = how == Takeover::Promotion { force: true };
    let before = standing.epoch().clone();
    let epoch = match standing.raise(highest, how == Takeover::Switchover, force) {
        Ok(epoch) => epoch,
        Err(refusal) => return Ok(Err(VerbError::refused(refusal.to_string()))),
    };
    steward.save(&standing)?;
    telling.step(
        format!("epoch {} taken: nothing of an older one is accepted", epoch.number),
        None,
    );
    let mut loss = losing::last_words(&steward.means.group.clone(), steward.farewells()).await;
    // what clients gave to a Dovecot is the truth that it is promoted to be; a standby's was told by us
    let has_own_mail = matches!(steward.means.group.config.store, StoreConfig::Dovecot(_))
        && steward.means.group.as_standby().is_err();
    let leap = match how {
        Takeover::Switchover => None,
        Takeover::Promotion { .. } if has_own_mail => None,
        Takeover::Promotion { .. } => Some(Leap::over(loss.messages)),
    };
    let begun = begin(steward, &epoch, leap).await;
    let (begun, untold) = match begun {
        Ok(begun) => begun,
        Err(error) => return back_to_standby(steward, &standing, error).await,
    };
    telling.step(
        format!("the journal goes on in epoch {} behind LSN {}", epoch.number, begun.lsn),
        None,
    );
    if untold.is_some() {
        telling.step("the mail server was told what this node has", untold);
    }
    standing.open(begun);
    steward.take(standing.clone()).await?;
    telling.step("applied to its end, and open for writing", None);
    if let Some(opened) = steward.means.group.doors().until_open().await {
        telling.step("the mail server lets clients in again", opened.err());
    }
    let mut statement = losing::statement(&steward.means.group, &mut loss, begun.lsn);
    if how == Takeover::Switchover {
        // the stream was applied to its end, and the primary had yielded
        (statement.operations, statement.seconds) = (Some(0), Some(0.0));
    }
    let facts = json!({ "epoch": epoch, "before": before, "fork": begun, "planned": how == Takeover::Switchover, "loss": statement });
    steward.note(how.word(), &facts);
    tracing::warn!(epoch = %epoch, lsn = %begun.lsn, lost = loss.operations(), "{}: this node is primary", how.word());
    let before = Some(before.node).filter(|node| !node.as_str().is_empty());
    point_clients(steward, standing, telling, statement, before).await
}

/// The last steps, which may be done again.
async fn point_clients(
    steward: &mut Steward,
    mut standing: Standing,
    mut telling: Telling,
    loss: LossStatement,
    before: Option<NodeName>,
) -> Ended<PromoteReport> {
    let pointed = pointing::point(&steward.means.clone(), standing.epoch(), before).await;
    for redirect in &pointed.redirects {
        telling.step(
            format!("clients led here by {}", redirect.kind),
            redirect.why.clone().filter(|_| !redirect.ok),
        );
    }
    for probe in &pointed.probes {
        telling.step(
            format!("logged in as a client at {}", probe.address),
            probe.why.clone().filter(|_| !probe.ok),
        );
    }
    let report = PromoteReport {
        group: steward.means.group.config.name.clone(),
        primary: steward.means.config.node.name.clone(),
        epoch: standing.epoch().number,
        applied_lsn: standing.record().fork.map(|fork| fork.lsn).unwrap_or_default(),
        loss,
        old_side_fenced: pointed.old_side_fenced,
        redirects: pointed.redirects,
        probes: pointed.probes,
        not_carried: pointed.not_carried,
        seconds: telling.began.elapsed().as_secs_f64(),
        steps: telling.steps,
    };
    standing.finish();
    steward.save(&standing)?;
    steward.note(
        "clients led here",
        &json!({ "redirects": report.redirects, "probes": report.probes }),
    );
    Ok(Ok(report))
}

/// This node is primary: where a promotion was cut off behind its opening, its last steps are done.
async fn finish_what_was_begun(
    steward: &mut Steward,
    mut standing: Standing,
    mut telling: Telling,
) -> Ended<PromoteReport> {
    let refused = |why: &str| Ok(Err(VerbError::refused(why)));
    let opened = standing
        .record()
        .taking
        .is_some_and(|taking| taking.stage == Stage::Opened);
    if !opened {
        return refused("this node is primary already");
    }
    for (peer, role) in ask_all(&steward.means.clone()).await {
        if role.epoch.number > standing.epoch().number {
            return refused(&format!(
                "{peer} knows epoch {}, which is higher than this node's",
                role.epoch.number
            ));
        }
    }
    if !standing.confirmed() {
        if let Err(refusal) = standing.resume_alone() {
            return refused(&refusal.to_string());
        }
        steward.take(standing.clone()).await?;
    }
    telling.step("this promotion was begun before, and goes on", None);
    let mut loss = losing::Last::default();
    let lsn = standing.record().fork.map(|fork| fork.lsn).unwrap_or_default();
    let statement = losing::statement(&steward.means.group, &mut loss, lsn);
    point_clients(steward, standing, telling, statement, None).await
}

/// What refuses a promotion; else the highest epoch that anybody knows.
async fn may_promote(
    means: &Means,
    request: &PromoteRequest,
    standing: &Standing,
    telling: &mut Telling,
) -> Result<Epoch, VerbError> {
    let refused = |why: String| Err(VerbError::refused(why));
    if standing.role() == Role::Fenced && !request.force {
        let why = standing.clone().raise(Epoch(0), false, false).err();
        return refused(why.map_or_else(String::new, |why| why.to_string()));
    }
    let shared = means.group.as_standby().ok();
    // a Dovecot that was primary has what it had, whatever its mirror lacks
    if let Some(shared) = shared.as_ref().filter(|shared| !(request.force && shared.is_held())) {
        is_whole(shared)?;
    }
    let answers = ask_all(means).await;
    let mut highest = standing.epoch().number;
    for (peer, role) in &answers {
        judge_peer(peer, role, standing)?;
        highest = highest.max(role.epoch.number);
    }
    if let Some(shared) = &shared {
        borrow_from_the_furthest(means, &answers, shared, telling).await?;
    }
    let known = losing::known(shared.as_deref());
    if shared.as_deref().is_some_and(losing::is_connected) && known.silent_seconds.is_none() {
        return refused("the primary is connected, and has just begun: it is alive".to_owned());
    }
    if let Some(silent) = known
        .silent_seconds
        .filter(|silent| *silent < ALIVE_SECONDS && standing.role() == Role::Standby)
    {
        return refused(format!(
            "the primary was heard {silent:.1} s ago: it counts as alive for {ALIVE_SECONDS} s; `shadowctl switchover` is \
             the planned way"
        ));
    }
    let silence_max = request.max_silence_ms.map(Duration::from_millis);
    judge(&known, request.max_loss, silence_max).map_err(|refusal| VerbError::refused(refusal.to_string()))?;
    Ok(highest)
}

/// A copy that is being built, or has stopped, is not promoted.
pub(super) fn is_whole(shared: &StandbyShared) -> Result<(), VerbError> {
    let progress = *shared.progress.borrow();
    if let Some(why) = shared.health.stopped() {
        return Err(VerbError::refused(format!("this copy has stopped: {why}")));
    }
    if progress.counts.building || progress.applied.stream == StreamId::default() {
        let why = match shared.is_held() {
            false => "most of its mail is not here. `shadowctl status` says how far it is",
            true => {
                "its mail server has what it had when it was primary, and nothing newer. `shadowctl promote --force` opens it as it is"
            }
        };
        return Err(VerbError::refused(format!("this copy is still being built: {why}")));
    }
    Ok(())
}

/// True where the primary's daemon answers, and says that its mail service is down.
async fn is_primary_without_service(means: &Means) -> bool {
    let ours = means.group.standing().epoch().number;
    let down = |role: &GroupRole| {
        role.role == Role::Primary && role.confirmed && role.epoch.number == ours && role.service_up == Some(false)
    };
    means.group.role() == Role::Standby && ask_all(means).await.iter().any(|(_, role)| down(role))
}

/// Frames that another standby has and this one lacks come over first, with their bodies.
async fn borrow_from_the_furthest(
    means: &Means,
    answers: &[(NodeName, GroupRole)],
    shared: &StandbyShared,
    telling: &mut Telling,
) -> Result<(), VerbError> {
    let standbys = answers.iter().filter(|(_, role)| role.role == Role::Standby);
    let furthest = standbys.max_by_key(|(_, role)| role.durable);
    let Some((peer, theirs)) = furthest.and_then(|(peer, role)| Some((peer, role.durable?))) else {
        return Ok(());
    };
    let ours = losing::durable(shared);
    if theirs <= ours {
        return Ok(());
    }
    if shared.is_paused() {
        return Err(VerbError::refused(format!(
            "{peer} has more of the stream (up to LSN {theirs}) than this node (up to {ours}), which is paused: `shadowctl \
             resume` first, or promote {peer} instead"
        )));
    }
    let upto = lending::borrow(means, peer).await?;
    telling.step(format!("frames {} to {upto} taken from {peer}", ours.next()), None);
    Ok(())
}

fn judge_peer(peer: &NodeName, role: &GroupRole, standing: &Standing) -> Result<(), VerbError> {
    let ours = standing.epoch().number;
    if role.epoch.number > ours {
        return Err(VerbError::refused(format!(
            "{peer} knows epoch {}, and this node only epoch {ours}: another promotion came first",
            role.epoch.number
        )));
    }
    if role.role == Role::Primary && standing.role() != Role::Fenced {
        return Err(VerbError::refused(format!(
            "{peer} answers and is primary in epoch {}: `shadowctl switchover` is the planned way; a primary that must not \
             go on is stopped first",
            role.epoch.number
        )));
    }
    Ok(())
}

/// What every peer that answers within half a second says of itself.
pub(super) async fn ask_all(means: &Means) -> Vec<(NodeName, GroupRole)> {
    let group = means.group.config.name.clone();
    let mut asked = tokio::task::JoinSet::new();
    for (name, address) in &means.group.config.peers {
        let (name, group) = (name.clone(), group.clone());
        let mut asking = Asking::new(Arc::clone(&means.tls), name.clone(), address.clone());
        asked.spawn(async move {
            let roles = asking.roles(None).await.ok()?;
            let role = roles.groups.into_iter().find(|role| role.name == group)?;
            Some((name, role))
        });
    }
    asked.join_all().await.into_iter().flatten().collect()
}

/// Ends the old history and begins the epoch; durable when it returns. Done again, it finds what it began. A Dovecot that
/// followed as a standby has been told everything then, or it is said what not.
async fn begin(
    steward: &mut Steward,
    epoch: &EpochId,
    leap: Option<Leap>,
) -> Result<(Fork, Option<String>), NodeError> {
    let epoch = epoch.clone();
    let begin = move |group: &mut Group| {
        let fork = begin_epoch(group, &epoch, leap)?;
        Ok((fork, group.bring_to_end()?))
    };
    steward.with_group(begin).await
}

fn begin_epoch(group: &mut Group, epoch: &EpochId, leap: Option<Leap>) -> Result<Fork, NodeError> {
    let node = group.node.name.clone();
    let name = group.config.name.clone();
    let is_dovecot = matches!(group.config.store, StoreConfig::Dovecot(_));
    let rest = group.rest()?;
    // positions in the logs of the primary before are none in this one's
    let captures_anew = is_dovecot && matches!(rest, Rest::Embedded(_));
    let journal = rest.journal();
    journal.commit().map_err(NodeError::journal)?;
    // parts of a transaction whose end never came
    journal.roll_back().map_err(NodeError::journal)?;
    let Some(head) = journal.head() else {
        return Err(NodeError::Group {
            group: name,
            why: "nothing was ever received".to_owned(),
        });
    };
    if head.epoch == epoch.number {
        return begun_before(group, epoch);
    }
    let mut sealer = Sealer::resume(head);
    let first = sealer.begin_epoch(epoch.number, &node, leap, clock::unix_ms());
    let first = first.map_err(|e| NodeError::Journal(e.to_string()))?;
    journal
        .append(std::slice::from_ref(&first))
        .map_err(NodeError::journal)?;
    if captures_anew {
        let nothing = CaptureTable::default();
        let noted = journal.append_checkpoint(first.lsn, nothing.parts());
        noted.map_err(NodeError::journal)?;
    }
    journal.commit().map_err(NodeError::journal)?;
    Ok(Fork {
        lsn: head.lsn,
        chain: head.chain,
    })
}

/// Where the epoch that the journal is in began.
fn begun_before(group: &mut Group, epoch: &EpochId) -> Result<Fork, NodeError> {
    let view = group.rest()?.journal().view();
    let (from, head) = (
        super::files::oldest(&view),
        view.head().unwrap_or(super::files::NOWHERE),
    );
    let mut fork = None;
    super::files::each_frame(&view, from, head.lsn, |frame| {
        if let Payload::Epoch(start) = &frame.payload
            && start.id() == *epoch
        {
            fork = Some(Fork {
                lsn: start.fork_lsn,
                chain: start.fork_hash,
            });
        }
    })?;
    fork.ok_or_else(|| NodeError::Group {
        group: group.config.name.clone(),
        why: format!("the journal is in epoch {epoch} and does not hold its beginning"),
    })
}

/// The epoch stays taken, and nobody is primary: the promotion is to be run again.
async fn back_to_standby(steward: &mut Steward, standing: &Standing, error: NodeError) -> Ended<PromoteReport> {
    tracing::error!(%error, "the promotion could not begin its epoch");
    steward.settle(standing).await?;
    Ok(Err(VerbError::failed(format!(
        "{error}; nobody is primary now: run it again once this is mended"
    ))))
}

/// Tells each step as it happens.
pub(super) struct Telling {
    progress: ProgressSink,
    began: Stopwatch,
    steps: Vec<Step>,
}

impl Telling {
    pub(super) fn new(progress: ProgressSink) -> Self {
        Self {
            progress,
            began: Stopwatch::start(),
            steps: Vec::new(),
        }
    }

    /// A step has been done, or failed.
    pub(super) fn step(&mut self, what: impl Into<String>, problem: Option<String>) {
        let step = Step {
            what: what.into(),
            at_seconds: self.began.elapsed().as_secs_f64(),
            problem,
        };
        let failed = step
            .problem
            .as_ref()
            .map_or(String::new(), |why| format!(": FAILED: {why}"));
        self.progress.tell(Progress::step(format!(
            "{:8.3} s  {}{failed}",
            step.at_seconds, step.what
        )));
        self.steps.push(step);
    }
}

impl GroupHandle {
    /// Last LSN that is durable here, with every body.
    pub(super) fn durable(&self) -> Option<crate::op::Lsn> {
        self.as_standby().ok().map(|shared| losing::durable(&shared))
    }
}
