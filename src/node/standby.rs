//! The right half of a group: receive → journal → apply, and the front end that shows the copy.

use super::NodeError;
use super::applier::{self, Applier, ApplyWork};
use super::counted::Counted;
use super::disk_desk::DiskDesk;
use super::health::Health;
use super::notices::NoticeFile;
use super::projecting::{self, Projecting, Projection};
use super::pulse::Pulse;
use super::receiver::{self, Incoming, Receiver, ReceiverState};
use super::relay::{self, Question};
use super::written::OpenedEmbedded;
use crate::config::{DovecotConfig, GroupConfig, UserPatterns};
use crate::control::metrics::Metrics;
use crate::io::clock::{self, Clock};
use crate::journal::JournalView;
use crate::op::{Epoch, Lsn, NodeName, Payload, StreamId};
use crate::session::Place;
use crate::session::announced::Announced;
use crate::session::receive::{Receive, ReceiveStart};
use crate::store::custody::Custody;
use crate::store::embedded::view::View;
use crate::store::embedded::{Embedded, Upkeep};
use crate::store::source::Bodies;
use crate::store::target::{Applied, BodyStore, TargetCounts};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Connections of peers that wait to be taken over; the newest replaces the one before.
const INCOMING_MAX: usize = 4;

/// How far the copy is, for everybody who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// How far this node's store has decided.
    pub(super) applied: Applied,
    /// What counts as applied: not more than that, and told to the Dovecot where there is one.
    pub(super) shown: Lsn,
    pub(super) counts: TargetCounts,
}

/// What the tasks of a standby share.
pub(super) struct StandbyShared {
    pub(super) progress: watch::Sender<Progress>,
    pub(super) state: Mutex<ReceiverState>,
    pub(super) journal: JournalView,
    pub(super) view: Arc<dyn View>,
    pub(super) custody: Arc<dyn Custody>,
    /// Bodies, for a peer that borrows frames.
    pub(super) lent_bodies: Arc<dyn Bodies>,
    /// The applying thread, once it runs.
    pub(super) applying: OnceLock<std::sync::mpsc::Sender<ApplyWork>>,
    /// What an operator asks of the primary.
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) counted: Counted,
    pub(super) health: Arc<Health>,
    pub(super) pulses: Pulses,
    /// Set where the mail is for a running Dovecot.
    pub(super) projection: Option<Arc<Projection>>,
    /// Maintenance: nothing is applied, until the operator or a restart ends it.
    paused: AtomicBool,
}

impl StandbyShared {
    /// True while a Dovecot that was primary is told nothing, for its mirror has not caught up.
    pub(super) fn is_held(&self) -> bool {
        self.projection.as_ref().is_some_and(|projection| projection.is_held())
    }

    /// True while nothing is applied, on the operator's word.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Applies nothing, or goes on.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        if let Some(projection) = &self.projection {
            projection.pause(paused);
        }
        let woken = self
            .applying
            .get()
            .is_some_and(|applying| applying.send(ApplyWork::Recount).is_ok());
        if !woken {
            tracing::debug!("the applying thread has ended");
        }
    }
}

impl StandbyShared {
    /// What counts as applied.
    pub(super) fn shown(&self, applied: Applied) -> Lsn {
        let projection = self.projection.as_ref();
        projection.map_or(applied.lsn, |projection| projection.shown(applied))
    }

    /// The applying thread runs: it hears operators, and the Dovecot's part.
    fn applies(&self, applier: &Applier) {
        self.applying.get_or_init(|| applier.handle());
        if let Some(projection) = &self.projection {
            projection.tells(applier.handle());
        }
    }

    /// Mail changed: where it is for a Dovecot, that is told.
    pub(super) fn stir(&self) {
        if let Some(projection) = &self.projection {
            projection.stir();
        }
    }
}

/// Proofs that its two movers make progress.
#[derive(Debug, Default)]
pub(super) struct Pulses {
    /// Beaten by the receiving task once a second.
    pub(super) receiving: Pulse,
    /// Beaten by the applying thread when it is asked, and with each batch.
    pub(super) applying: Pulse,
}

/// What a standby begins with.
pub(super) struct Terms<'t> {
    /// Nothing of an older epoch is accepted.
    pub(super) floor: Epoch,
    /// Why the journal can't be gone on with, where that is so.
    pub(super) left: Option<String>,
    /// The Dovecot that the mail is for, where there is one, and whether it ever was a primary's.
    pub(super) dovecot: Option<(&'t DovecotConfig, bool)>,
}

/// A running standby.
pub(super) struct Standby {
    pub(super) shared: Arc<StandbyShared>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    farewells: mpsc::Sender<oneshot::Sender<Announced>>,
    tasks: Vec<JoinHandle<()>>,
    applier: Applier,
    projecting: Option<Projecting>,
    disk: DiskDesk,
    again: Embedded,
}

impl Standby {
    /// Waits for the primary to connect.
    pub(super) fn start(
        group: &GroupConfig,
        node: &NodeName,
        dir: &Path,
        metrics: Arc<Metrics>,
        opened: OpenedEmbedded,
        terms: Terms<'_>,
    ) -> Result<Self, NodeError> {
        let Terms { floor, left, dovecot } = terms;
        let (journal, again) = (opened.journal, opened.embedded);
        let opened = open_again(&again, group)?;
        let view = journal.view();
        let applied = opened.target.applied();
        let projecting = dovecot
            .map(|dovecot| project(&opened, (dovecot, &group.users), &view))
            .transpose()?;
        let mut start = receive_start(group, node, &view, applied, left);
        start.shown = shown(projecting.as_ref(), applied);
        start.epoch = start.epoch.max(floor);
        let (machine, notices) = machine(start, dir, &view)?;
        let (questions, asked) = mpsc::channel(relay::QUESTIONS_MAX);
        let counted = Counted {
            metrics,
            group: group.name.clone(),
        };
        let (shared, first) = share(&opened, &view, questions, counted, projecting.as_ref())?;
        let (fed, inputs) = mpsc::channel(receiver::INPUTS_MAX);
        let bodies = bodies(&opened, dovecot);
        let disk = DiskDesk::start(journal, bodies, fed.clone(), Arc::clone(&shared.health))?;
        let links = applier::Links {
            shared: Arc::clone(&shared),
            fed: fed.clone(),
            trim: disk.handle(),
        };
        let applier = Applier::start(opened.target, links)?;
        shared.applies(&applier);
        let (incoming, callers) = mpsc::channel(INCOMING_MAX);
        let receiver = Receiver {
            shared: Arc::clone(&shared),
            disk: disk.handle(),
            applier: applier.handle(),
            clock: Clock::start(),
            first,
            fed,
            notices,
        };
        let (farewells, farewell) = mpsc::channel(1);
        let ears = receiver::Ears {
            inputs,
            callers,
            asked,
            farewell,
        };
        let receives = receiver::run(receiver, machine, ears).in_current_span();
        let tasks = vec![
            tokio::spawn(receives),
            tokio::spawn(upkeep(opened.upkeep).in_current_span()),
        ];
        Ok(Self {
            shared,
            incoming,
            tasks,
            farewells,
            applier,
            projecting,
            disk,
            again,
        })
    }

    /// Where to ask that no primary is heard any more. The answer is what was announced and is not durable here.
    pub(super) fn farewells(&self) -> mpsc::Sender<oneshot::Sender<Announced>> {
        self.farewells.clone()
    }

    /// Stops receiving, then applying; leaves journal and store open, for another role or to be dropped. Blocks.
    pub(super) fn stop(self) -> OpenedEmbedded {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.health.end();
        self.applier.stop();
        let held = self.shared.is_held();
        if let Some(projecting) = self.projecting {
            projecting.stop();
        }
        OpenedEmbedded {
            journal: self.disk.stop(),
            embedded: self.again,
            held,
        }
    }
}

/// The same store once more, for this role.
fn open_again(store: &Embedded, group: &GroupConfig) -> Result<Embedded, NodeError> {
    store.again().map_err(|e| NodeError::Group {
        group: group.name.clone(),
        why: e.to_string(),
    })
}

/// Where bodies are kept, and looked for first.
fn bodies(opened: &Embedded, dovecot: Option<(&DovecotConfig, bool)>) -> Arc<dyn BodyStore> {
    match dovecot {
        Some((dovecot, _)) => projecting::own_first(dovecot, Arc::clone(&opened.bodies)),
        None => Arc::clone(&opened.bodies),
    }
}

/// What counts as applied.
fn shown(projecting: Option<&Projecting>, applied: Applied) -> Lsn {
    projecting.map_or(applied.lsn, |projecting| projecting.shared.shown(applied))
}

/// Starts to tell the Dovecot what the mirror has. One that clients wrote to is told nothing before the mirror has caught up.
fn project(
    opened: &Embedded,
    ((dovecot, had_clients), users): ((&DovecotConfig, bool), &UserPatterns),
    journal: &JournalView,
) -> Result<Projecting, NodeError> {
    let mirror = opened.mirror().map_err(|e| NodeError::Journal(e.to_string()))?;
    let hold = had_clients.then(|| journal.head().map_or(Lsn(0), |head| head.lsn));
    Projecting::start(
        (mirror, users),
        projecting::ways(dovecot),
        opened.target.applied(),
        hold,
    )
}

/// The receiving machine, with what was announced before a restart.
fn machine(start: ReceiveStart, dir: &Path, view: &JournalView) -> Result<(Receive, NoticeFile), NodeError> {
    let notices = NoticeFile::new(dir);
    let recalled = notices.recall(view, start.applied)?;
    let mut machine = Receive::new(start);
    if let Some(announced) = recalled {
        machine.recall(announced);
    }
    Ok((machine, notices))
}

fn share(
    opened: &Embedded,
    journal: &JournalView,
    questions: mpsc::Sender<Question>,
    counted: Counted,
    projecting: Option<&Projecting>,
) -> Result<(Arc<StandbyShared>, Progress), NodeError> {
    let counts = opened.target.counts().map_err(|e| NodeError::Journal(e.to_string()))?;
    let applied = opened.target.applied();
    let shown = shown(projecting, applied);
    let first = Progress { applied, shown, counts };
    let shared = StandbyShared {
        progress: watch::Sender::new(first),
        state: Mutex::new(ReceiverState::default()),
        journal: journal.clone(),
        view: Arc::clone(&opened.view),
        custody: Arc::clone(&opened.custody),
        lent_bodies: opened.origin(),
        applying: OnceLock::new(),
        pulses: Pulses::default(),
        projection: projecting.map(|projecting| Arc::clone(&projecting.shared)),
        health: Arc::default(),
        questions,
        counted,
        paused: AtomicBool::new(false),
    };
    Ok((Arc::new(shared), first))
}

/// What the receiving machine is told of this node: where journal and store are, or why they don't fit together.
/// `left`: why nothing of the journal counts any more.
fn receive_start(
    group: &GroupConfig,
    node: &NodeName,
    view: &JournalView,
    applied: Applied,
    left: Option<String>,
) -> ReceiveStart {
    let head = view.head().unwrap_or(super::files::NOWHERE);
    let is_left = left.is_some();
    let lost = left.or_else(|| misfit(view, applied, node));
    if let Some(why) = &lost {
        tracing::warn!(why, "journal and store don't fit together: this copy is built anew");
    }
    ReceiveStart {
        group: group.name.clone(),
        node: node.clone(),
        stream: head.stream,
        epoch: head.epoch.max(applied.epoch),
        head: Place {
            lsn: head.lsn,
            chain: head.chain,
        },
        oldest: super::files::oldest(view),
        // What was decided of another stream says nothing about this one.
        applied: match lost.is_none() && applied.stream == head.stream {
            true => applied.lsn,
            // nothing of it is to be applied
            false if is_left => head.lsn,
            false => Lsn(0),
        },
        shown: applied.lsn,
        lost,
    }
}

/// True where the journal holds the base that this node joined at and all that came since: the store goes on there.
fn begins_with_base(view: &JournalView, node: &NodeName) -> bool {
    let read = view.reader(super::files::oldest(view)).read_batch(1).ok();
    let first = read.and_then(|read| super::files::decode(read.first()?).ok());
    first.is_some_and(|frame| matches!(frame.payload, Payload::Base(_)) && frame.header.peer.as_ref() == Some(node))
}

fn misfit(view: &JournalView, applied: Applied, node: &NodeName) -> Option<String> {
    let head = view.head().unwrap_or(super::files::NOWHERE);
    let nothing = StreamId::default();
    if applied.stream == nothing && head.stream == nothing {
        return None;
    }
    if applied.stream != nothing && applied.stream != head.stream && !begins_with_base(view, node) {
        return Some(format!(
            "the store is of stream {}, the journal of {}",
            applied.stream, head.stream
        ));
    }
    if applied.lsn > head.lsn && applied.stream == head.stream {
        return Some(format!(
            "the store has decided {}, the journal ends at {}",
            applied.lsn, head.lsn
        ));
    }
    if applied.stream == head.stream && applied.lsn.next() < super::files::oldest(view) && !begins_with_base(view, node)
    {
        return Some(format!(
            "the store has decided {}, the journal begins at {}",
            applied.lsn,
            super::files::oldest(view)
        ));
    }
    if applied.stream == nothing && super::files::oldest(view) > Lsn(1) && !begins_with_base(view, node) {
        return Some(format!(
            "the store is new, the journal begins at {}",
            super::files::oldest(view)
        ));
    }
    let known = view.chain_at(applied.lsn).ok().flatten();
    known
        .filter(|chain| applied.stream == head.stream && applied.lsn != Lsn(0) && *chain != applied.chain)
        .map(|_| format!("the store and the journal have different frames {}", applied.lsn))
}

/// Keeps the store small.
pub(super) async fn upkeep(upkeep: Upkeep) {
    let upkeep = Arc::new(upkeep);
    let mut ticks = tokio::time::interval(Duration::from_secs(60));
    loop {
        ticks.tick().await;
        let upkeep = Arc::clone(&upkeep);
        let done = tokio::task::spawn_blocking(move || upkeep.run(clock::unix_ms())).await;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "upkeep of the store"),
            Err(error) => tracing::error!(%error, "upkeep of the store"),
        }
    }
}
