//! `verify`: fresh digests of the source travel in the stream; each standby compares when it decides them.

use super::group::{GroupHandle, Side};
use super::peer::{Heard, Peer};
use super::primary::PrimaryShared;
use super::relay;
use super::standby::StandbyShared;
use super::waiting::{await_applied, primaries};
use crate::control::report::{Difference, NewStream, RepairReport, StreamReport, VerifyReport};
use crate::control::verbs::{Progress, ProgressSink, RepairRequest, VerbError, VerifyRequest};
use crate::io::clock::{self, Stopwatch};
use crate::op::{DigestVerdict, NodeName, UserName};
use crate::store::source::{Command, Verified};
use std::sync::Arc;
use tokio::sync::mpsc;

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
            lasting: false,
        });
        report = relay::verify(&shared, asked).await?;
    } else {
        for (_, shared) in primaries(&groups)? {
            verify_group(&shared, &asked.into(), |_| true, progress, &mut report).await?;
        }
    }
    report.seconds = time.elapsed().as_secs_f64();
    Ok(report)
}

/// The one group that is meant, where this node is its standby.
fn only_standby(groups: &[GroupHandle]) -> Option<Arc<StandbyShared>> {
    match groups {
        [group] => match group.side() {
            Side::Standby(shared, _) => Some(shared),
            Side::Primary(_) | Side::Idle(_) => None,
        },
        _ => None,
    }
}

/// What is compared, and whether it is listed anew too.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    user: Option<UserName>,
    mailbox: Option<String>,
    deep: bool,
    repair: bool,
}

impl Comparison {
    /// Everything of one user, or of all.
    pub(super) fn of_user(user: Option<UserName>) -> Self {
        Self {
            user,
            ..Self::default()
        }
    }
}

impl From<&VerifyRequest> for Comparison {
    fn from(request: &VerifyRequest) -> Self {
        Self {
            user: request.user.clone(),
            deep: request.deep,
            ..Self::default()
        }
    }
}

/// Compares, and lists anew; then compares once more.
pub(super) async fn repair(
    groups: Vec<GroupHandle>,
    asked: &RepairRequest,
    progress: &ProgressSink,
) -> Result<RepairReport, VerbError> {
    let time = Stopwatch::start();
    let mut report = RepairReport::default();
    for (_, shared) in primaries(&groups)? {
        let mut comparison = Comparison {
            user: asked.user.clone(),
            mailbox: asked.mailbox.clone(),
            repair: true,
            ..Comparison::default()
        };
        let mut before = VerifyReport::default();
        verify_group(&shared, &comparison, |_| true, progress, &mut before).await?;
        report.mailboxes += before.mailboxes;
        report.differed.extend(before.different);
        report.peers.extend(before.peers);
        comparison.repair = false;
        let mut after = VerifyReport::default();
        verify_group(&shared, &comparison, |_| true, progress, &mut after).await?;
        let asked_for = |difference: &Difference| asked.mailbox.as_ref().is_none_or(|name| *name == difference.mailbox);
        report.remaining.extend(after.different.into_iter().filter(asked_for));
    }
    if report.mailboxes == 0 {
        return Err(VerbError::usage(
            "no mailbox of that name, or no user, is captured here",
        ));
    }
    report.seconds = time.elapsed().as_secs_f64();
    Ok(report)
}

/// Begins a new stream in each group: a diverged standby joins it.
pub(super) async fn new_streams(groups: Vec<GroupHandle>) -> Result<StreamReport, VerbError> {
    let mut report = StreamReport::default();
    for (group, shared) in primaries(&groups)? {
        let before = shared.committed.borrow().stream.to_string();
        let reason = format!("an operator replaced stream {before}");
        let begun = shared.ask(|reply| Command::NewStream { reason, reply }).await;
        report.groups.push(NewStream {
            group,
            before,
            stream: begun.map_err(VerbError::failed)?.to_string(),
            peers: shared.peers.iter().map(|peer| peer.name.clone()).collect(),
        });
    }
    Ok(report)
}

/// Compares with those connected standbys that are `wanted`.
pub(super) async fn verify_group(
    shared: &PrimaryShared,
    asked: &Comparison,
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
    let heard: Vec<_> = peers.iter().map(|peer| peer.verdicts()).collect();
    progress.tell(Progress {
        what: "reading the source afresh".to_owned(),
        done: None,
        total: None,
        lasting: false,
    });
    let Comparison {
        user,
        mailbox,
        deep,
        repair,
    } = asked.clone();
    let verified = shared
        .ask(|reply| Command::Verify {
            user,
            deep,
            mailbox,
            repair,
            request,
            reply,
        })
        .await
        .map_err(VerbError::failed)?;
    let left_out = verified.left_out.iter().map(|left| Difference {
        user: left.user.clone(),
        mailbox: left.mailbox.clone(),
        why: format!("not compared: {}", left.why),
        peer: None,
    });
    report.different.extend(left_out);
    for (peer, verdicts) in peers.iter().zip(heard) {
        await_applied(peer, verified.last, progress).await?;
        collect(peer, verdicts, (request, &verified), progress, report).await?;
    }
    Ok(())
}

/// Hears one verdict for each digest.
async fn collect(
    peer: &Peer,
    mut verdicts: mpsc::Receiver<Heard>,
    (request, verified): (u64, &Verified),
    progress: &ProgressSink,
    report: &mut VerifyReport,
) -> Result<(), VerbError> {
    let (mut mailboxes, mut trees, mut unequal) = (0, 0, 0);
    while mailboxes < verified.mailboxes || trees < verified.trees {
        let verdict = next(peer, &mut verdicts).await?;
        if verdict.request != request {
            continue;
        }
        mailboxes += u64::from(verdict.of_mailbox);
        trees += u64::from(!verdict.of_mailbox);
        if let Some(said) = &verdict.remark {
            if !said.note.is_empty() {
                report.notes.push(remark(peer, said, &said.note));
            }
            if !said.why.is_empty() {
                unequal += u64::from(verdict.of_mailbox);
                report.different.push(remark(peer, said, &said.why));
            }
        }
        let what = format!("{} compares", peer.name);
        progress.tell(Progress::of(what, mailboxes, Some(verified.mailboxes)));
    }
    report.mailboxes += mailboxes;
    report.equal += mailboxes - unequal;
    report.peers.push(peer.name.clone());
    Ok(())
}

/// The next verdict; a standby that loses its connection drops them.
async fn next(peer: &Peer, verdicts: &mut mpsc::Receiver<Heard>) -> Result<Heard, VerbError> {
    let mut standing = peer.standing.subscribe();
    let heard = tokio::select! {
        biased;
        verdict = verdicts.recv() => verdict,
        _ = standing.wait_for(|now| !now.connected) => {
            return Err(VerbError::failed(format!("the connection to {} was lost: verify again", peer.name)));
        }
    };
    heard.ok_or_else(|| VerbError::failed("more verdicts came than are kept; verify by user"))
}

fn remark(peer: &Peer, verdict: &DigestVerdict, why: &str) -> Difference {
    Difference {
        user: verdict.user.clone(),
        mailbox: verdict.mailbox.clone(),
        why: why.to_owned(),
        peer: Some(peer.name.clone()),
    }
}
