//! `verify`: fresh digests of the source travel in the stream; each standby compares when it decides them.

use super::group::{GroupHandle, Side};
use super::peer::Peer;
use super::primary::PrimaryShared;
use super::relay;
use super::standby::StandbyShared;
use super::waiting::{await_applied, primaries};
use crate::control::report::{Difference, VerifyReport};
use crate::control::verbs::{Progress, ProgressSink, VerbError, VerifyRequest};
use crate::io::clock::{self, Stopwatch};
use crate::op::{DigestVerdict, Lsn, NodeName};
use crate::store::source::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Between two verdicts of one standby; a mailbox of a million bodies may take a while.
const VERDICT_WAIT: Duration = Duration::from_secs(600);

/// See the module.
pub(super) async fn verify(
    groups: Vec<GroupHandle>,
    asked: &VerifyRequest,
    progress: &ProgressSink,
) -> Result<VerifyReport, VerbError> {
    let time = Stopwatch::start();
    let mut report = VerifyReport {
        deep: asked.deep,
        ..VerifyReport::default()
    };
    if let Some(shared) = only_standby(&groups) {
        progress.tell(Progress {
            what: "asking the primary".to_owned(),
            done: None,
            total: None,
        });
        report = relay::verify(&shared, asked).await?;
    } else {
        for (_, shared) in primaries(&groups)? {
            verify_group(&shared, asked, |_| true, progress, &mut report).await?;
        }
    }
    report.seconds = time.elapsed().as_secs_f64();
    Ok(report)
}

/// The one group that is meant, where this node is its standby.
fn only_standby(groups: &[GroupHandle]) -> Option<Arc<StandbyShared>> {
    match groups {
        [group] => match &group.side {
            Side::Standby(shared, _) => Some(Arc::clone(shared)),
            Side::Primary(_) => None,
        },
        _ => None,
    }
}

/// Compares with those connected standbys that are `wanted`.
pub(super) async fn verify_group(
    shared: &PrimaryShared,
    asked: &VerifyRequest,
    wanted: impl Fn(&NodeName) -> bool,
    progress: &ProgressSink,
    report: &mut VerifyReport,
) -> Result<(), VerbError> {
    let peers: Vec<Arc<Peer>> = shared
        .peers
        .iter()
        .filter(|peer| peer.now().connected && wanted(&peer.name))
        .cloned()
        .collect();
    if peers.is_empty() {
        return Err(VerbError::failed(
            "no standby is connected: there is nothing to compare with",
        ));
    }
    let request = clock::unix_ms();
    let heard: Vec<_> = peers.iter().map(|peer| peer.verdicts.subscribe()).collect();
    progress.tell(Progress {
        what: "reading the source afresh".to_owned(),
        done: None,
        total: None,
    });
    let (user, deep) = (asked.user.clone(), asked.deep);
    let (mailboxes, last) = shared
        .ask(|reply| Command::Verify {
            user,
            deep,
            request,
            reply,
        })
        .await
        .map_err(VerbError::failed)?;
    for (peer, verdicts) in peers.iter().zip(heard) {
        collect(
            peer,
            verdicts,
            Asked {
                request,
                mailboxes,
                last,
            },
            progress,
            report,
        )
        .await?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Asked {
    request: u64,
    mailboxes: u64,
    last: Lsn,
}

async fn collect(
    peer: &Peer,
    mut verdicts: broadcast::Receiver<DigestVerdict>,
    asked: Asked,
    progress: &ProgressSink,
    report: &mut VerifyReport,
) -> Result<(), VerbError> {
    await_applied(peer, asked.last, progress).await?;
    let (mut seen, mut unequal) = (0, 0);
    while seen < asked.mailboxes {
        let verdict = next(peer, &mut verdicts).await?;
        if verdict.request != asked.request {
            continue;
        }
        let of_mailbox = !verdict.mailbox.is_empty();
        seen += u64::from(of_mailbox);
        if !verdict.why.is_empty() {
            unequal += u64::from(of_mailbox);
            report.different.push(difference(peer, verdict));
        }
        if verdict_is_last(seen, asked) {
            break;
        }
        progress.tell(Progress::of(
            format!("{} compares", peer.name),
            seen,
            Some(asked.mailboxes),
        ));
    }
    while let Ok(verdict) = verdicts.try_recv() {
        if verdict.request == asked.request && !verdict.why.is_empty() {
            report.different.push(difference(peer, verdict));
        }
    }
    report.mailboxes += asked.mailboxes;
    report.equal += asked.mailboxes - unequal;
    report.peers.push(peer.name.clone());
    Ok(())
}

fn verdict_is_last(seen: u64, asked: Asked) -> bool {
    seen >= asked.mailboxes
}

async fn next(peer: &Peer, verdicts: &mut broadcast::Receiver<DigestVerdict>) -> Result<DigestVerdict, VerbError> {
    match tokio::time::timeout(VERDICT_WAIT, verdicts.recv()).await {
        Ok(Ok(verdict)) => Ok(verdict),
        Ok(Err(RecvError::Lagged(missed))) => Err(VerbError::failed(format!(
            "{missed} verdicts came too fast; verify by user"
        ))),
        Ok(Err(RecvError::Closed)) => Err(VerbError::failed("this node is stopping")),
        Err(_) => Err(VerbError::timed_out(format!(
            "{} did not say what it found; it may have lost the connection: verify again",
            peer.name
        ))),
    }
}

fn difference(peer: &Peer, verdict: DigestVerdict) -> Difference {
    Difference {
        user: verdict.user,
        mailbox: verdict.mailbox,
        why: verdict.why,
        peer: Some(peer.name.clone()),
    }
}
