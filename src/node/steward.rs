//! The steward of a group: one task that hears what concerns the role, makes it durable, and only then lets the right half
//! of the path run. Everything that changes a role goes through its queue, one deed after another.

use super::NodeError;
use super::group::{Group, GroupHandle, Side};
use super::role_desk::RoleChanges;
use super::role_file::RoleFile;
use super::{promoting, rejoining, switching};
use crate::config::{Config, GroupConfig, Rejoin, StartAs};
use crate::control::metrics::Metrics;
use crate::control::promotion::{PromoteReport, PromoteRequest, RejoinReport};
use crate::control::verbs::{Exit, ProgressSink, SwitchoverTerms, VerbError};
use crate::io::clock::{self, Stopwatch};
use crate::io::tls::PeerTls;
use crate::limits::{DEEDS_QUEUED_MAX, REJOIN_AGAIN_SECONDS};
use crate::op::{Epoch, EpochId, Lsn, NodeName};
use crate::role::{Fork, Heard, Role, Standing};
use crate::session::announced::Announced;
use crate::telemetry;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Where an answer goes.
pub(super) type Told<T> = oneshot::Sender<Result<T, VerbError>>;

/// What a steward is asked.
pub(super) enum Deed {
    /// A peer said so of itself.
    Hear {
        peer: NodeName,
        number: Epoch,
        taken_by: Option<NodeName>,
        role: Role,
    },
    /// A primary of this epoch is about to be followed.
    Follow { epoch: EpochId, done: Told<()> },
    /// The operator's word that nobody else is primary.
    ResumeAlone { done: Told<()> },
    /// Become primary.
    Promote {
        request: PromoteRequest,
        progress: ProgressSink,
        done: Told<PromoteReport>,
    },
    /// Take over from a primary that yields.
    Switchover {
        terms: SwitchoverTerms,
        progress: ProgressSink,
        done: Told<PromoteReport>,
    },
    /// Yield to a peer that takes this epoch, where the stream still ends at this LSN.
    Yield { epoch: EpochId, lsn: Lsn, done: Told<()> },
    /// Nothing is applied, or it is again.
    Pause { paused: bool, done: Told<()> },
    /// A node whose history was left becomes a standby.
    Rejoin {
        progress: ProgressSink,
        done: Told<RejoinReport>,
    },
    /// The log of role changes keeps this.
    Note { what: String, facts: Value, done: Told<()> },
    /// The daemon ends.
    Stop,
}

/// What deeds are done with.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) group: GroupHandle,
    pub(super) config: Arc<Config>,
    pub(super) tls: Arc<PeerTls>,
}

/// See the module.
pub(super) struct Steward {
    /// The half; lent to a blocking thread while it changes.
    group: Option<Group>,
    pub(super) means: Means,
    file: RoleFile,
    deeds: mpsc::Receiver<Deed>,
    /// When it last tried to rejoin by itself.
    rejoin_tried: Stopwatch,
    /// In which epoch that was refused.
    rejoin_refused: Option<EpochId>,
}

impl Steward {
    /// Reads the role, opens journal and store, and starts what may run.
    pub(super) fn start(
        group: &GroupConfig,
        config: &Arc<Config>,
        tls: &Arc<PeerTls>,
        metrics: &Arc<Metrics>,
        changes: &RoleChanges,
    ) -> Result<Self, NodeError> {
        let _in_its_name = telemetry::group(&group.name).entered();
        let (group_config, node) = (Arc::new(group.clone()), Arc::new(config.node.clone()));
        let mut group = Group::open(Arc::clone(&group_config), node, tls, metrics)?;
        let (file, record) = RoleFile::open(&group.dir)?;
        let name = config.node.name.clone();
        let standing = match record {
            Some(record) => Standing::restarted(name, record),
            None => first(&group_config, name, &file)?,
        };
        if standing.role() == Role::Primary && !standing.confirmed() {
            tracing::info!(
                epoch = %standing.epoch(),
                "was primary: waits for a peer to say that nobody else is; `shadowctl resume --alone` goes on without"
            );
        }
        group.settle(&standing)?;
        let side = group.side().ok_or_else(|| NodeError::Group {
            group: group_config.name.clone(),
            why: "nothing runs".to_owned(),
        })?;
        let (sender, deeds) = mpsc::channel(DEEDS_QUEUED_MAX);
        Ok(Self {
            means: Means {
                group: GroupHandle::new(&group_config, (standing, side), changes.clone(), sender),
                config: Arc::clone(config),
                tls: Arc::clone(tls),
            },
            group: Some(group),
            file,
            deeds,
            rejoin_tried: Stopwatch::start(),
            rejoin_refused: None,
        })
    }

    /// The half, for what is made of it at the start.
    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// Where to ask that no primary is heard any more, where this node is a standby.
    pub(super) fn farewells(&self) -> Option<mpsc::Sender<oneshot::Sender<Announced>>> {
        Some(self.group()?.standby()?.farewells())
    }

    /// Runs until it is told to stop, or can't go on.
    pub(super) async fn run(mut self) -> Result<(), NodeError> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                deed = self.deeds.recv() => match deed {
                    None | Some(Deed::Stop) => return self.stop().await,
                    Some(deed) => self.deed(deed).await?,
                },
                _ = ticks.tick() => {
                    if let Some(failed) = self.group.as_mut().and_then(Group::failure) {
                        return Err(failed);
                    }
                    self.rejoin_by_itself().await?;
                }
            }
        }
    }

    /// Where it is so configured, a fenced node does what `rejoin` does; what was refused is not tried again in this epoch.
    async fn rejoin_by_itself(&mut self) -> Result<(), NodeError> {
        let standing = self.means.group.standing();
        let auto = self.means.group.config.rejoin == Rejoin::Auto && standing.role() == Role::Fenced;
        let refused = self.rejoin_refused.as_ref() == Some(standing.epoch());
        if !auto || refused || self.rejoin_tried.elapsed() < Duration::from_secs(REJOIN_AGAIN_SECONDS) {
            return Ok(());
        }
        let (sender, mut told) = mpsc::channel(1);
        told.close();
        let rejoined = rejoining::rejoin(self, ProgressSink::new(sender), true).await?;
        self.rejoin_tried = Stopwatch::start();
        match rejoined {
            Ok(report) => tracing::warn!(note = report.note, "rejoined by itself"),
            Err(refused)
                if self
                    .means
                    .group
                    .seen()
                    .values()
                    .any(|role| role.role == Role::Primary && role.confirmed) =>
            {
                tracing::error!(
                    why = refused.message,
                    "can't rejoin by itself: `shadowctl rejoin` tells more"
                );
                if refused.exit == Exit::Refused {
                    self.rejoin_refused = Some(standing.epoch().clone());
                }
            }
            Err(waits) => tracing::debug!(why = waits.message, "waits for a primary to rejoin"),
        }
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), NodeError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let stopped = tokio::task::spawn_blocking(move || group.stop()).await;
        stopped.map_err(|e| NodeError::Thread(e.to_string()))
    }

    async fn deed(&mut self, deed: Deed) -> Result<(), NodeError> {
        match deed {
            Deed::Hear {
                peer,
                number,
                taken_by,
                role,
            } => self.hear(&peer, number, taken_by.as_ref(), role).await,
            Deed::Follow { epoch, done } => {
                let followed = self.follow(epoch).await?;
                answer(done, followed);
                Ok(())
            }
            Deed::ResumeAlone { done } => {
                let resumed = self.resume_alone().await?;
                answer(done, resumed);
                Ok(())
            }
            Deed::Promote {
                request,
                progress,
                done,
            } => {
                let promoted = promoting::promote(self, &request, progress).await?;
                answer(done, promoted);
                Ok(())
            }
            Deed::Switchover { terms, progress, done } => {
                let switched = switching::switch_over(self, terms, progress).await?;
                answer(done, switched);
                Ok(())
            }
            Deed::Yield { epoch, lsn, done } => {
                let yielded = self.yield_to(epoch, lsn).await?;
                answer(done, yielded);
                Ok(())
            }
            Deed::Rejoin { progress, done } => {
                let rejoined = rejoining::rejoin(self, progress, false).await?;
                answer(done, rejoined);
                Ok(())
            }
            Deed::Note { what, facts, done } => {
                self.note(&what, &facts);
                answer(done, Ok(()));
                Ok(())
            }
            Deed::Pause { paused, done } => {
                answer(done, self.pause(paused));
                Ok(())
            }
            Deed::Stop => Ok(()),
        }
    }

    async fn hear(
        &mut self,
        peer: &NodeName,
        number: Epoch,
        taken_by: Option<&NodeName>,
        role: Role,
    ) -> Result<(), NodeError> {
        let mut standing = self.means.group.standing();
        let epoch = standing.epoch().clone();
        match standing.hear(number, taken_by, role) {
            Heard::Nothing => return Ok(()),
            Heard::Confirmed => tracing::info!(%peer, epoch = %epoch, "still primary: a peer says so"),
            Heard::Raised => tracing::info!(%peer, epoch = %standing.epoch(), "a higher epoch exists"),
            Heard::Fenced => {
                tracing::error!(%peer, epoch = %standing.epoch(), before = %epoch, "fenced: another node is primary in a higher epoch");
                let facts = json!({ "by": standing.epoch(), "before": epoch, "peer": peer });
                self.note("fenced", &facts);
            }
            Heard::Forked => {
                tracing::error!(%peer, epoch = %epoch, "two nodes took the same epoch: this one stops; `shadowctl promote --force` on the one to keep");
                self.note("forked", &json!({ "epoch": epoch, "peer": peer }));
            }
        }
        self.take(standing).await
    }

    async fn follow(&mut self, epoch: EpochId) -> Result<Result<(), VerbError>, NodeError> {
        let mut standing = self.means.group.standing();
        let ours = standing.epoch().clone();
        if standing.role() != Role::Standby || epoch.number < ours.number {
            return Ok(Err(VerbError::refused(format!(
                "this node is {} in epoch {ours}",
                standing.role()
            ))));
        }
        if epoch.number == ours.number && epoch.node != ours.node && !ours.node.as_str().is_empty() {
            return Ok(Err(VerbError::refused(format!(
                "epoch {epoch} is another one than {ours}: two nodes took the same number"
            ))));
        }
        if standing.follow(&epoch) {
            self.take(standing).await?;
        }
        Ok(Ok(()))
    }

    async fn resume_alone(&mut self) -> Result<Result<(), VerbError>, NodeError> {
        let mut standing = self.means.group.standing();
        if let Err(refusal) = standing.resume_alone() {
            return Ok(Err(VerbError::refused(refusal.to_string())));
        }
        tracing::warn!(epoch = %standing.epoch(), "primary again, on the operator's word");
        self.note("resumed alone", &json!({ "epoch": standing.epoch() }));
        self.take(standing).await?;
        Ok(Ok(()))
    }

    /// Stops being primary. The half is stopped first, so that nothing comes behind what is compared; where something did,
    /// this node goes on as primary.
    async fn yield_to(&mut self, epoch: EpochId, lsn: Lsn) -> Result<Result<(), VerbError>, NodeError> {
        let mut standing = self.means.group.standing();
        if !standing.may_write() || !self.means.group.is_draining() || epoch.number <= standing.epoch().number {
            return Ok(Err(VerbError::refused(format!(
                "this node is {} and yields nothing to epoch {epoch}",
                standing.role()
            ))));
        }
        let ends = self.means.group.journal().head().map_or(Lsn(0), |head| head.lsn);
        if ends != lsn {
            let why = format!("{}: it ends at LSN {ends} now, not at {lsn}", switching::MOVED_ON);
            return Ok(Err(VerbError::refused(why)));
        }
        let head = self.with_group(|group| Ok(group.rest()?.journal().head())).await?;
        let head = head.unwrap_or(super::files::NOWHERE);
        if head.lsn != lsn {
            self.settle(&standing).await?;
            let why = format!("{}: it ends at LSN {} now, not at {lsn}", switching::MOVED_ON, head.lsn);
            return Ok(Err(VerbError::refused(why)));
        }
        let fork = Fork { lsn, chain: head.chain };
        self.note(
            "yielded",
            &json!({ "to": epoch, "before": standing.epoch(), "fork": fork }),
        );
        standing.yield_to(epoch, fork);
        // it has nothing that its successor lacks: it is a standby at once
        standing.rejoin(None);
        tracing::warn!(epoch = %standing.epoch(), %lsn, "yielded: another node is primary");
        self.take(standing).await?;
        self.means.group.drain(false);
        Ok(Ok(()))
    }

    fn pause(&self, paused: bool) -> Result<(), VerbError> {
        let shared = self.means.group.as_standby().map_err(|_| {
            VerbError::refused(format!(
                "this node is {}: only a standby applies",
                self.means.group.role()
            ))
        })?;
        shared.pause(paused);
        tracing::info!(paused, "on the operator's word");
        self.means.group.touch();
        Ok(())
    }

    /// Makes a standing durable, then lets what it says come true.
    pub(super) async fn take(&mut self, standing: Standing) -> Result<(), NodeError> {
        self.save(&standing)?;
        self.settle(&standing).await
    }

    /// Makes a standing durable and known.
    pub(super) fn save(&mut self, standing: &Standing) -> Result<(), NodeError> {
        if standing.record() != self.means.group.standing().record() {
            self.file.save(standing.record())?;
        }
        self.means.group.stands(standing.clone());
        Ok(())
    }

    /// Lets the half run that the standing asks for.
    pub(super) async fn settle(&mut self, standing: &Standing) -> Result<(), NodeError> {
        let standing = standing.clone();
        self.with_group(move |group| group.settle(&standing)).await
    }

    /// Lends the half to a thread that may block, and shows what runs afterwards.
    pub(super) async fn with_group<T: Send + 'static>(
        &mut self,
        deed: impl FnOnce(&mut Group) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let Some(mut group) = self.group.take() else {
            return Err(NodeError::Thread("the group has ended".to_owned()));
        };
        let done = tokio::task::spawn_blocking(move || {
            let done = deed(&mut group);
            (group, done)
        });
        let (group, done) = done.await.map_err(|e| NodeError::Thread(e.to_string()))?;
        if let Some(side) = group.side() {
            self.means.group.show(side);
        }
        self.group = Some(group);
        done
    }

    /// What the log of role changes keeps; a disk that takes nothing stops no promotion.
    pub(super) fn note(&mut self, what: &str, facts: &Value) {
        if let Err(error) = self.file.note(clock::unix_ms(), what, facts) {
            tracing::error!(%error, what, %facts, "not in the log of role changes");
        }
    }
}

/// At the first start the configuration says what this node is; it is durable before anything runs.
fn first(group: &GroupConfig, name: NodeName, file: &RoleFile) -> Result<Standing, NodeError> {
    let role = match group.start_as {
        StartAs::Primary => Role::Primary,
        StartAs::Standby => Role::Standby,
    };
    let standing = Standing::first(name, role);
    file.save(standing.record())?;
    Ok(standing)
}

fn answer<T>(done: Told<T>, answer: Result<T, VerbError>) {
    if done.send(answer).is_err() {
        tracing::debug!("whoever asked for it is gone; it was done all the same");
    }
}

/// Whoever wants to have something done.
impl GroupHandle {
    /// Asks the steward, and waits for the end; what was begun goes on when the asker leaves.
    pub(super) async fn ask<T>(&self, deed: impl FnOnce(Told<T>) -> Deed) -> Result<T, VerbError> {
        let (done, told) = oneshot::channel();
        let ended = || VerbError::failed("the daemon is stopping");
        self.deeds.send(deed(done)).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }

    /// The running standby's shared parts; refused where this node is none.
    pub(super) fn as_standby(&self) -> Result<Arc<super::standby::StandbyShared>, VerbError> {
        match self.side() {
            Side::Standby(shared, _) => Ok(shared),
            _ => Err(VerbError::refused(format!("this node is {}", self.role()))),
        }
    }
}
