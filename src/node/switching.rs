//! `switchover`: the standby takes over as planned. Everything is compared while clients still work; then they are kept out,
//! the rest of the stream is applied and compared, and the primary yields. Until then all can be called off.

use super::asking::{AskError, Asking};
use super::promoting::{Ended, Takeover, Telling, ask_all, is_whole, take_over};
use super::steward::{Means, Steward};
use crate::control::promotion::PromoteReport;
use crate::control::roles::{HandOver, HandedOver};
use crate::control::verbs::{Exit, ProgressSink, SwitchoverTerms, VerbError};
use crate::io::clock::Stopwatch;
use crate::limits::{HANDOVER_COMPARE_SECONDS_MAX, HANDOVER_STEP_MS_MAX, RELIEVE_MS_MAX};
use crate::op::{Epoch, Lsn, NodeName};
use crate::role::Role;
use std::sync::Arc;
use std::time::Duration;

/// Makes the standby primary: this node, or the one that this primary asks.
pub(super) async fn switch_over(
    steward: &mut Steward,
    terms: SwitchoverTerms,
    progress: ProgressSink,
) -> Ended<PromoteReport> {
    let mut telling = Telling::new(progress);
    let means = steward.means.clone();
    let standing = means.group.standing();
    match standing.role() {
        Role::Standby => {}
        Role::Primary => {
            return Ok(Err(VerbError::usage(
                "a primary's switchover is not its steward's deed",
            )));
        }
        Role::Fenced => return Ok(Err(VerbError::refused("this node is fenced: `rejoin` comes first"))),
    }
    let mut primary = match Primary::find(&means).await {
        Ok(primary) => primary,
        Err(refused) => return Ok(Err(refused)),
    };
    let handed = hand_over(&means, &mut primary, terms, &mut telling).await;
    end(steward, primary, handed, telling).await
}

/// A promotion while the primary's daemon answers and its mail service does not: it is drained and yields, without a comparison
/// for which nobody has time.
pub(super) async fn relieve(steward: &mut Steward, mut telling: Telling) -> Ended<PromoteReport> {
    let means = steward.means.clone();
    let mut primary = match Primary::find(&means).await {
        Ok(primary) => primary,
        Err(refused) => return Ok(Err(refused)),
    };
    telling.step(
        format!(
            "{} answers, and its mail service does not: it is asked to yield",
            primary.name
        ),
        None,
    );
    let terms = SwitchoverTerms {
        max_wait_ms: RELIEVE_MS_MAX,
    };
    let handed = drain(&means, &mut primary, terms, None, &mut telling).await;
    let handed = handed.map_err(|why| {
        VerbError::refused(format!(
            "{why}; a primary that must not go on is stopped first: end its `shadowd`"
        ))
    });
    end(steward, primary, handed, telling).await
}

async fn end(
    steward: &mut Steward,
    mut primary: Primary,
    handed: Result<Epoch, VerbError>,
    telling: Telling,
) -> Ended<PromoteReport> {
    match handed {
        Ok(highest) => take_over(steward, highest, Takeover::Switchover, telling).await,
        Err(refused) => {
            primary.call_off().await;
            Ok(Err(refused))
        }
    }
}

/// A copy that can't be equal in time keeps nobody's clients out.
fn can_follow(means: &Means) -> Result<(), VerbError> {
    let shared = means.group.as_standby()?;
    if shared.is_paused() {
        return Err(VerbError::refused(
            "this copy is paused: `shadowctl resume` comes first",
        ));
    }
    is_whole(&shared)
}

/// A primary asks its standby: the one that has most of the stream.
pub(super) async fn ask_standby(means: &Means, terms: SwitchoverTerms) -> Result<PromoteReport, VerbError> {
    let standbys = ask_all(means)
        .await
        .into_iter()
        .filter(|(_, role)| role.role == Role::Standby);
    let Some((peer, _)) = standbys.max_by_key(|(_, role)| role.durable) else {
        return Err(VerbError::refused(
            "no standby answers: there is nobody to hand over to",
        ));
    };
    let mut asking = asking(means, &peer)?;
    let limit = Duration::from_millis(terms.max_wait_ms)
        .saturating_add(Duration::from_secs(HANDOVER_COMPARE_SECONDS_MAX))
        .saturating_add(Duration::from_secs(60));
    let step = HandOver::TakeOver {
        max_wait_ms: terms.max_wait_ms,
    };
    match asking.hand_over(&means.group.config.name, step, limit).await {
        Ok(HandedOver::Report(report)) => Ok(*report),
        Ok(HandedOver::Refused(refused)) => Err(refused),
        Ok(HandedOver::Done(_)) => Err(VerbError::failed(format!("{peer} answered something else"))),
        Err(error) => Err(VerbError::failed(format!(
            "{peer}: {error}; `shadowctl status` there says what became of it"
        ))),
    }
}

fn asking(means: &Means, peer: &NodeName) -> Result<Asking, VerbError> {
    let address = means.group.config.peers.get(peer);
    let address = address.ok_or_else(|| VerbError::failed(format!("{peer} is no peer")))?;
    Ok(Asking::new(Arc::clone(&means.tls), peer.clone(), address.clone()))
}

/// The primary, as its standby talks to it.
struct Primary {
    name: NodeName,
    group: String,
    asking: Asking,
    drained: bool,
}

impl Primary {
    async fn find(means: &Means) -> Result<Self, VerbError> {
        can_follow(means)?;
        let ours = means.group.standing().epoch().number;
        let mut peers = ask_all(means).await.into_iter();
        let Some((name, role)) = peers.find(|(_, role)| role.role == Role::Primary && role.confirmed) else {
            return Err(VerbError::refused(
                "no primary answers: where it is gone, `shadowctl promote` is the way",
            ));
        };
        if role.epoch.number != ours {
            return Err(VerbError::refused(format!(
                "{name} is primary in epoch {}, this node follows epoch {ours}",
                role.epoch.number
            )));
        }
        Ok(Self {
            asking: asking(means, &name)?,
            group: means.group.config.name.clone(),
            name,
            drained: false,
        })
    }

    async fn step(&mut self, step: HandOver, limit: Duration) -> Result<Lsn, VerbError> {
        let told = self.asking.hand_over(&self.group, step, limit).await;
        match told {
            Ok(HandedOver::Done(lsn)) => Ok(lsn),
            Ok(HandedOver::Refused(refused)) => Err(refused),
            Ok(HandedOver::Report(_)) => Err(VerbError::failed(format!("{} answered something else", self.name))),
            Err(AskError::TimeOut(limit)) => {
                Err(VerbError::timed_out(format!("{}: no answer in {limit:?}", self.name)))
            }
            Err(error) => Err(VerbError::failed(format!("{}: {error}", self.name))),
        }
    }

    /// Clients are let in again at once, where they were kept out; the primary does so by itself a little later.
    async fn call_off(&mut self) {
        if !self.drained {
            return;
        }
        let limit = Duration::from_millis(HANDOVER_STEP_MS_MAX);
        if let Err(error) = self.step(HandOver::CallOff, limit).await {
            tracing::error!(%error, "the primary could not be told that the switchover is off; it lets clients in by itself");
        }
    }
}

/// Up to the moment in which the primary has yielded. Returns its epoch.
async fn hand_over(
    means: &Means,
    primary: &mut Primary,
    terms: SwitchoverTerms,
    telling: &mut Telling,
) -> Result<Epoch, VerbError> {
    let compare = Duration::from_secs(HANDOVER_COMPARE_SECONDS_MAX);
    let compared = primary.step(HandOver::Compare, compare).await?;
    telling.step("every mailbox was compared, and is equal", None);
    drain(means, primary, terms, Some(compared), telling).await
}

/// Keeps clients out until the primary has yielded. `compared`: the last LSN of a comparison, where there was one.
async fn drain(
    means: &Means,
    primary: &mut Primary,
    terms: SwitchoverTerms,
    compared: Option<Lsn>,
    telling: &mut Telling,
) -> Result<Epoch, VerbError> {
    let epoch = means.group.standing().epoch().number;
    let (out, patience) = (Stopwatch::start(), Duration::from_millis(terms.max_wait_ms));
    primary.drained = true;
    let at_most_ms = terms.max_wait_ms;
    let mut end = primary.step(HandOver::Drain { at_most_ms }, patience).await?;
    telling.step(
        format!("clients are kept out of {}; its stream ends at LSN {end}", primary.name),
        None,
    );
    loop {
        let left = patience.saturating_sub(out.elapsed());
        await_applied(means, end, left).await?;
        let now = match compared.map(|compared| compared.min(end)) {
            Some(since) => primary.step(HandOver::CompareAgain { since }, left).await?,
            None => end,
        };
        // digests are frames too: what was compared ends behind them
        await_applied(means, now, patience.saturating_sub(out.elapsed())).await?;
        let limit = Duration::from_millis(HANDOVER_STEP_MS_MAX).min(patience);
        let step = HandOver::Yield {
            epoch: Epoch(epoch.0.saturating_add(1)),
            lsn: now,
        };
        match primary.step(step, limit).await {
            Ok(_) => break,
            // something that had begun before came to its end
            Err(refused) if refused.message.starts_with(MOVED_ON) && out.elapsed() < patience => {
                end = primary.step(HandOver::Drain { at_most_ms }, patience).await?;
            }
            Err(refused) if refused.exit == Exit::Refused => return Err(refused),
            Err(unheard) => {
                return Err(VerbError::failed(format!(
                    "{unheard}; whether it has yielded is not known. Where `shadowctl status` shows no primary, `shadowctl \
                     promote` here finishes it"
                )));
            }
        }
    }
    let seconds = out.elapsed().as_secs_f64();
    telling.step(
        format!(
            "{} has yielded; everything it had is here ({seconds:.3} s without clients)",
            primary.name
        ),
        None,
    );
    primary.drained = false;
    Ok(epoch)
}

/// How a primary begins its refusal to yield where its stream has moved on.
pub(super) const MOVED_ON: &str = "the stream goes on";

async fn await_applied(means: &Means, lsn: Lsn, patience: Duration) -> Result<(), VerbError> {
    let shared = means.group.as_standby()?;
    let mut progress = shared.progress.subscribe();
    let reached = progress.wait_for(|progress| progress.shown >= lsn && !progress.counts.building);
    match tokio::time::timeout(patience, reached).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(VerbError::failed("this copy has ended")),
        Err(_) => {
            let applied = shared.progress.borrow().shown;
            Err(VerbError::timed_out(format!(
                "this copy has applied LSN {applied} of {lsn} in time: clients are let in again, nothing has changed"
            )))
        }
    }
}
