//! The left half of a group: capture → journal → ship.

use super::NodeError;
use super::ahead::Ahead;
use super::counted::Counted;
use super::fencing;
use super::health::Health;
use super::offered::Offered;
use super::outlet::{JournalOutlet, Since, fold};
use super::past::NodePast;
use super::peer::{Offer, Peer};
use super::pulse::Pulse;
use super::replaced::Replaced;
use super::scribe::{self, ChangeQueue, Scribe};
use super::shipper::{self, Shipper};
use super::written::{self, OpenedEmbedded};
use crate::config::{DovecotConfig, GroupConfig};
use crate::io::clock::{Clock, Stopwatch};
use crate::io::tls::PeerTls;
use crate::journal::{Head, Journal, JournalOptions, JournalView, Recovered, Sealer};
use crate::op::{Epoch, Heartbeat, Lsn, NodeName, Notice};
use crate::store::change::TailSink;
use crate::store::custody::Custody;
use crate::store::dovecot::engine::{DovecotSource, Setup, SourceError};
use crate::store::dovecot::merging::TailMerger;
use crate::store::embedded::view::View;
use crate::store::source::{Bodies, Command, Outlet, Reply, SourceStatus};
use crate::store::table::CaptureTable;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc as thread_mpsc};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
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
    pub(super) source: Commands,
    pub(super) source_status: Arc<Mutex<SourceStatus>>,
    pub(super) peers: Vec<Arc<Peer>>,
    pub(super) clock: Clock,
    pub(super) counted: Counted,
    pub(super) health: Arc<Health>,
    /// Who may still have a stream that this one replaced.
    pub(super) replaced: Arc<Replaced>,
    /// Beaten by capture: whenever it answers, emits, or waits for room.
    pub(super) pulse: Arc<Pulse>,
    /// Set where the mail lies in the embedded store.
    pub(super) embedded: Option<EmbeddedSide>,
    /// Takes lost tails.
    pub(super) tails: Arc<dyn TailSink>,
}

/// What clients of an embedded primary read and change.
#[derive(Clone)]
pub(super) struct EmbeddedSide {
    pub(super) view: Arc<dyn View>,
    pub(super) custody: Arc<dyn Custody>,
    /// The way for changes.
    pub(super) changes: ChangeQueue,
}

/// The way to the source's thread.
pub(super) enum Commands {
    Capture(thread_mpsc::Sender<Command>),
    Scribe(ChangeQueue),
}

/// The source's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("capture has ended")]
pub(super) struct SourceEnded;

impl Commands {
    /// Hands on a command.
    pub(super) fn send(&self, command: Command) -> Result<(), SourceEnded> {
        let sent = match self {
            Self::Capture(thread) => thread.send(command).is_ok(),
            Self::Scribe(queue) => queue.command(command),
        };
        if sent { Ok(()) } else { Err(SourceEnded) }
    }
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
        self.source.send(command(reply)).map_err(|ended| ended.to_string())?;
        answer.await.map_err(|_| SourceEnded.to_string())?
    }

    /// What the source says of itself.
    pub(super) fn source_status(&self) -> SourceStatus {
        self.source_status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The thread that fills the journal.
enum Source {
    Dovecot(DovecotSource),
    Embedded(Scribe),
}

impl Source {
    fn is_finished(&self) -> bool {
        match self {
            Self::Dovecot(capture) => capture.is_finished(),
            Self::Embedded(scribe) => scribe.is_finished(),
        }
    }

    /// Waits for its end: what is left of an embedded primary, or why it ended.
    fn join(self) -> Result<Option<OpenedEmbedded>, String> {
        match self {
            Self::Dovecot(capture) => capture.join().map(|()| None).map_err(|e: SourceError| e.to_string()),
            Self::Embedded(scribe) => scribe.join().map(Some),
        }
    }
}

/// A running primary.
pub(super) struct Primary {
    pub(super) shared: Arc<PrimaryShared>,
    source: Option<Source>,
    tasks: Vec<JoinHandle<()>>,
}

/// What both kinds of primaries begin with.
struct Beginning {
    peers: Vec<Arc<Peer>>,
    offers: Vec<mpsc::Receiver<Offer>>,
    committed: watch::Sender<Head>,
    announcements: broadcast::Sender<Announcement>,
    view: JournalView,
    clock: Clock,
    pulse: Arc<Pulse>,
    health: Arc<Health>,
    replaced: Arc<Replaced>,
    status: Arc<Mutex<SourceStatus>>,
}

impl Beginning {
    fn new(group: &GroupConfig, dir: &Path, journal: &Journal, head: Head) -> Result<Self, NodeError> {
        let (peers, offers): (Vec<_>, Vec<_>) = group.peers.keys().map(|name| Peer::new(name.clone())).unzip();
        Ok(Self {
            peers: peers.into_iter().map(Arc::new).collect(),
            offers,
            committed: watch::Sender::new(head),
            announcements: broadcast::Sender::new(ANNOUNCEMENTS_MAX),
            view: journal.view(),
            clock: Clock::start(),
            pulse: Arc::default(),
            health: Arc::default(),
            replaced: Arc::new(Replaced::load(dir)?),
            status: Arc::default(),
        })
    }

    fn share(
        &self,
        counted: Counted,
        bodies: Arc<dyn Bodies>,
        source: Commands,
        kind: (Option<EmbeddedSide>, Arc<dyn TailSink>),
    ) -> Arc<PrimaryShared> {
        let (embedded, tails) = kind;
        Arc::new(PrimaryShared {
            committed: self.committed.clone(),
            announcements: self.announcements.clone(),
            view: self.view.clone(),
            bodies,
            source,
            source_status: Arc::clone(&self.status),
            peers: self.peers.clone(),
            clock: self.clock,
            counted,
            health: Arc::clone(&self.health),
            replaced: Arc::clone(&self.replaced),
            pulse: Arc::clone(&self.pulse),
            embedded,
            tails,
        })
    }
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
        let opened = open_journal(dir, node, &Clock::start())?;
        let beginning = Beginning::new(group, dir, &opened.journal, opened.sealer.head())?;
        let outlet = JournalOutlet {
            journal: opened.journal,
            sealer: opened.sealer,
            committed: beginning.committed.clone(),
            announcements: beginning.announcements.clone(),
            peers: beginning.peers.clone(),
            clock: beginning.clock,
            since_checkpoint: Since::default(),
            covered: opened.covered,
            gathered: None,
            offered: Offered::default(),
            ahead: Ahead::default(),
            replaced: Arc::clone(&beginning.replaced),
            pulse: Arc::clone(&beginning.pulse),
            health: Arc::clone(&beginning.health),
        };
        let status = Arc::clone(&beginning.status);
        let source = start_source(group, store, opened.table, Box::new(outlet), status);
        let source = source.map_err(|why| NodeError::Group {
            group: group.name.clone(),
            why,
        })?;
        let past = NodePast::of(dir, beginning.view.clone(), source.commands());
        let tails = TailMerger::new(fencing::doveadm(store), Box::new(past));
        let commands = Commands::Capture(source.commands());
        let shared = beginning.share(counted, source.bodies(), commands, (None, Arc::new(tails)));
        Ok(Self {
            tasks: ship(group, node, tls, &shared, beginning.offers),
            shared,
            source: Some(Source::Dovecot(source)),
        })
    }

    /// Starts the primary of a store and a journal that are open: applies the journal's rest, takes changes, ships. A journal
    /// that is empty begins a stream of epoch 1.
    pub(super) fn start_embedded(
        group: &GroupConfig,
        node: &NodeName,
        dir: &Path,
        tls: &Arc<PeerTls>,
        counted: Counted,
        opened: OpenedEmbedded,
    ) -> Result<Self, NodeError> {
        let mut opened = opened;
        let sealer = written::sealer(&mut opened.journal, node)?;
        let beginning = Beginning::new(group, dir, &opened.journal, sealer.head())?;
        let embedded = &opened.embedded;
        let (changes, queued) = ChangeQueue::new();
        let tools = scribe::Tools {
            export: embedded.export(),
            committed: beginning.committed.clone(),
            announcements: beginning.announcements.clone(),
            peers: beginning.peers.clone(),
            clock: beginning.clock,
            health: Arc::clone(&beginning.health),
            pulse: Arc::clone(&beginning.pulse),
            replaced: Arc::clone(&beginning.replaced),
            status: Arc::clone(&beginning.status),
        };
        let bodies = embedded.origin();
        let side = EmbeddedSide {
            view: Arc::clone(&embedded.view),
            custody: Arc::clone(&embedded.custody),
            changes: changes.clone(),
        };
        let upkeep = written::keep_small(embedded)?;
        let scribe = Scribe::start(opened, sealer, queued, tools)?;
        let shared = beginning.share(
            counted,
            bodies,
            Commands::Scribe(changes.clone()),
            (Some(side), Arc::new(changes)),
        );
        let mut tasks = ship(group, node, tls, &shared, beginning.offers);
        tasks.push(upkeep);
        Ok(Self {
            shared,
            source: Some(Source::Embedded(scribe)),
            tasks,
        })
    }

    /// Why capture has ended by itself, once it has.
    pub(super) fn failure(&mut self) -> Option<String> {
        if !self.source.as_ref()?.is_finished() {
            return None;
        }
        let ended = self.source.take()?.join();
        Some(ended.map_or_else(|why| why, |_| SourceEnded.to_string()))
    }

    /// Stops shipping and capture, and waits for the end of what was begun. An embedded primary leaves its open store and
    /// journal: for another role, or to be dropped.
    pub(super) fn stop(&mut self) -> Option<OpenedEmbedded> {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.health.end();
        if self.shared.source.send(Command::Stop).is_err() {
            tracing::debug!("capture had ended before");
        }
        match self.source.take()?.join() {
            Ok(left) => left,
            Err(error) => {
                tracing::error!(%error, "capture ended");
                None
            }
        }
    }
}

/// Starts the heartbeat, and a shipper for each peer.
fn ship(
    group: &GroupConfig,
    node: &NodeName,
    tls: &Arc<PeerTls>,
    shared: &Arc<PrimaryShared>,
    offers: Vec<mpsc::Receiver<Offer>>,
) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![tokio::spawn(beat(Arc::clone(shared)))];
    for ((peer, offers), address) in shared.peers.iter().zip(offers).zip(group.peers.values()) {
        let shipper = Shipper {
            shared: Arc::clone(shared),
            peer: Arc::clone(peer),
            address: address.clone(),
            tls: Arc::clone(tls),
            offers,
            compress: group.compress,
            bytes_per_second: group.bytes_per_second,
        };
        let ship = shipper::run(shipper, group.name.clone(), node.clone());
        tasks.push(tokio::spawn(ship.in_current_span()));
    }
    tasks
}

/// Starts to read the group's users out of their Dovecot.
pub(super) fn start_source(
    group: &GroupConfig,
    store: &DovecotConfig,
    table: CaptureTable,
    outlet: Box<dyn Outlet>,
    status: Arc<Mutex<SourceStatus>>,
) -> Result<DovecotSource, String> {
    let patterns = group.users.clone();
    let setup = Setup {
        doveadm: fencing::doveadm(store),
        public: store.public.clone(),
        changes: Box::new({
            let patterns = patterns.clone();
            move || patterns.moved().changes()
        }),
        wanted: Box::new(move |user| patterns.matches(user.as_str())),
        table,
        outlet,
        status,
    };
    DovecotSource::start(setup).map_err(|e| e.to_string())
}

struct Opened {
    journal: Journal,
    sealer: Sealer,
    table: CaptureTable,
    covered: Lsn,
}

/// The journal of a Dovecot primary that does nothing.
pub(super) fn open_journal_at_rest(dir: &Path) -> Result<Journal, NodeError> {
    Ok(super::files::open_journal(dir, options())?.0)
}

fn options() -> JournalOptions {
    JournalOptions {
        checkpointed: true,
        ..JournalOptions::default()
    }
}

/// The journal of a Dovecot that is read and gives out no LSN, and how far its logs were captured.
pub(super) fn open_journal_with_table(dir: &Path) -> Result<(Journal, CaptureTable), NodeError> {
    let (journal, recovered) = super::files::open_journal(dir, options())?;
    let table = recover_table(&journal.view(), &recovered)?;
    Ok((journal, table))
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
