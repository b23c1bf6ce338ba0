//! The left half of a group: capture → journal → ship.

use super::NodeError;
use super::ahead::Ahead;
use super::counted::Counted;
use super::health::Health;
use super::offered::Offered;
use super::outlet::{JournalOutlet, Since, fold};
use super::peer::Peer;
use super::pulse::Pulse;
use super::replaced::Replaced;
use super::shipper::{self, Shipper};
use crate::config::{DovecotConfig, GroupConfig};
use crate::io::clock::{Clock, Stopwatch};
use crate::io::tls::PeerTls;
use crate::journal::{Head, Journal, JournalOptions, JournalView, Recovered, Sealer};
use crate::op::{Epoch, Heartbeat, Lsn, NodeName, Notice};
use crate::store::dovecot::doveadm::Doveadm;
use crate::store::dovecot::engine::{DovecotSource, Setup, SourceError};
use crate::store::source::{Bodies, Command, Reply, SourceStatus};
use crate::store::table::CaptureTable;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc as thread_mpsc};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Announcements that a slow peer may be behind; older ones are dropped, as a notice may be.
const ANNOUNCEMENTS_MAX: usize = 4096;

/// Said to every peer ahead of the stream.
#[derive(Clone, Debug)]
pub(super) enum Announcement {
    Notice(Box<Notice>),
    Heartbeat(Heartbeat),
}

/// What the tasks of a primary share.
pub(super) struct PrimaryShared {
    pub(super) committed: watch::Sender<Head>,
    pub(super) announcements: broadcast::Sender<Announcement>,
    pub(super) view: JournalView,
    pub(super) bodies: Arc<dyn Bodies>,
    pub(super) source: thread_mpsc::Sender<Command>,
    pub(super) source_status: Arc<Mutex<SourceStatus>>,
    pub(super) peers: Vec<Arc<Peer>>,
    pub(super) clock: Clock,
    pub(super) counted: Counted,
    pub(super) health: Arc<Health>,
    /// Who may still have a stream that this one replaced.
    pub(super) replaced: Arc<Replaced>,
    /// Beaten by capture: whenever it answers, emits, or waits for room.
    pub(super) pulse: Arc<Pulse>,
}

impl PrimaryShared {
    /// Asks capture something and waits for its answer.
    pub(super) async fn ask<T: Send + 'static>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, String> {
        let (told, answer) = oneshot::channel();
        let reply: Reply<T> = Box::new(move |result| {
            if told.send(result).is_err() {
                tracing::trace!("whoever asked capture is gone");
            }
        });
        self.source
            .send(command(reply))
            .map_err(|_| "capture has ended".to_owned())?;
        answer.await.map_err(|_| "capture has ended".to_owned())?
    }

    /// What the source says of itself.
    pub(super) fn source_status(&self) -> SourceStatus {
        self.source_status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A running primary.
pub(super) struct Primary {
    pub(super) shared: Arc<PrimaryShared>,
    source: Option<DovecotSource>,
    tasks: Vec<JoinHandle<()>>,
}

impl Primary {
    /// Opens the journal, starts capture and a shipper for each peer.
    pub(super) fn start(
        group: &GroupConfig,
        store: &DovecotConfig,
        node: &NodeName,
        dir: &Path,
        tls: &Arc<PeerTls>,
        counted: Counted,
    ) -> Result<Self, NodeError> {
        let clock = Clock::start();
        let opened = open_journal(dir, node, &clock)?;
        let (peers, queues): (Vec<_>, Vec<_>) = group.peers.keys().map(|name| Peer::new(name.clone())).unzip();
        let peers: Vec<_> = peers.into_iter().map(Arc::new).collect();
        let committed = watch::Sender::new(opened.sealer.head());
        let announcements = broadcast::Sender::new(ANNOUNCEMENTS_MAX);
        let view = opened.journal.view();
        let pulse = Arc::new(Pulse::default());
        let health = Arc::<Health>::default();
        let replaced = Arc::new(Replaced::load(dir)?);
        let outlet = JournalOutlet {
            journal: opened.journal,
            sealer: opened.sealer,
            committed: committed.clone(),
            announcements: announcements.clone(),
            peers: peers.clone(),
            clock,
            since_checkpoint: Since::default(),
            covered: opened.covered,
            gathered: None,
            offered: Offered::default(),
            ahead: Ahead::default(),
            replaced: Arc::clone(&replaced),
            pulse: Arc::clone(&pulse),
            health: Arc::clone(&health),
        };
        let source_status = Arc::new(Mutex::new(SourceStatus::default()));
        let source = start_source(group, store, opened.table, outlet, Arc::clone(&source_status))?;
        let shared = Arc::new(PrimaryShared {
            committed,
            announcements,
            view,
            bodies: source.bodies(),
            source: source.commands(),
            source_status,
            peers: peers.clone(),
            clock,
            counted,
            health,
            replaced,
            pulse,
        });
        let mut tasks = vec![tokio::spawn(beat(Arc::clone(&shared)))];
        for ((peer, offers), address) in peers.into_iter().zip(queues).zip(group.peers.values()) {
            let shipper = Shipper {
                shared: Arc::clone(&shared),
                peer,
                address: address.clone(),
                tls: Arc::clone(tls),
                offers,
                compress: group.compress,
                bytes_per_second: group.bytes_per_second,
            };
            let ship = shipper::run(shipper, group.name.clone(), node.clone());
            tasks.push(tokio::spawn(ship.in_current_span()));
        }
        Ok(Self {
            shared,
            source: Some(source),
            tasks,
        })
    }

    /// Why capture has ended by itself, once it has.
    pub(super) fn failure(&mut self) -> Option<String> {
        if !self.source.as_ref()?.is_finished() {
            return None;
        }
        let ended = self.source.take()?.join();
        Some(ended.map_or_else(|e: SourceError| e.to_string(), |()| "capture has ended".to_owned()))
    }

    /// Stops shipping and capture, and waits for its last checkpoint.
    pub(super) fn stop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.health.end();
        if self.shared.source.send(Command::Stop).is_err() {
            tracing::debug!("capture had ended before");
        }
        if let Some(Err(error)) = self.source.take().map(DovecotSource::join) {
            tracing::error!(%error, "capture ended");
        }
    }
}

fn start_source(
    group: &GroupConfig,
    store: &DovecotConfig,
    table: CaptureTable,
    outlet: JournalOutlet,
    status: Arc<Mutex<SourceStatus>>,
) -> Result<DovecotSource, NodeError> {
    let patterns = group.users.clone();
    let setup = Setup {
        doveadm: Doveadm {
            command: store.doveadm.words().to_vec(),
            config: store.config.clone(),
        },
        wanted: Box::new(move |user| patterns.matches(user.as_str())),
        table,
        outlet: Box::new(outlet),
        status,
    };
    DovecotSource::start(setup).map_err(|e| NodeError::Group {
        group: group.name.clone(),
        why: e.to_string(),
    })
}

struct Opened {
    journal: Journal,
    sealer: Sealer,
    table: CaptureTable,
    covered: Lsn,
}

fn options() -> JournalOptions {
    JournalOptions {
        checkpointed: true,
        ..JournalOptions::default()
    }
}

fn open_journal(dir: &Path, node: &NodeName, clock: &Clock) -> Result<Opened, NodeError> {
    let time = Stopwatch::start();
    let (mut journal, recovered) = super::files::open_journal(dir, options())?;
    let mut sealer = match recovered.head {
        None => Sealer::begin(super::files::new_stream_id()?, Epoch(1)),
        Some(head) => Sealer::resume(head),
    };
    if recovered.head.is_none() {
        let first = sealer.begin_epoch(Epoch(1), node, None, clock.unix_ms());
        let first = first.map_err(|e| NodeError::Journal(e.to_string()))?;
        journal
            .append(std::slice::from_ref(&first))
            .map_err(NodeError::journal)?;
        journal.commit().map_err(NodeError::journal)?;
        tracing::info!(stream = %first.stream, "a new stream begins");
    }
    let covered = recovered.checkpoint.as_ref().map_or(Lsn(0), |c| c.covers);
    let table = recover_table(&journal.view(), &recovered)?;
    tracing::info!(lsn = %sealer.head().lsn, mailboxes = table.mailboxes(), ms = time.elapsed_ms(), "journal opened");
    Ok(Opened {
        journal,
        sealer,
        table,
        covered,
    })
}

/// The latest checkpoint with every frame behind it applied: where capture goes on.
fn recover_table(view: &JournalView, recovered: &Recovered) -> Result<CaptureTable, NodeError> {
    let (mut table, covers) = match &recovered.checkpoint {
        Some(checkpoint) => {
            let table = CaptureTable::from_parts(checkpoint.parts.iter().map(Vec::as_slice))
                .map_err(|e| NodeError::Journal(e.to_string()))?;
            (table, checkpoint.covers)
        }
        None => (CaptureTable::default(), Lsn(0)),
    };
    super::files::each_frame(
        view,
        covers.next(),
        recovered.head.map_or(Lsn(0), |head| head.lsn),
        |frame| {
            fold(&mut table, &frame.payload, frame.header.lsn, frame.header.peer.as_ref());
        },
    )?;
    Ok(table)
}

/// A heartbeat a second: the source's clock, and how far its logs have been read at that time.
async fn beat(shared: Arc<PrimaryShared>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let source_ms = shared.clock.unix_ms();
        let Ok(captured) = shared.ask(Command::CatchUp).await else {
            return;
        };
        shared.pulse.beat();
        let beat = Announcement::Heartbeat(Heartbeat { source_ms, captured });
        if shared.announcements.send(beat).is_err() {
            tracing::trace!("no peer hears the heartbeat");
        }
    }
}
