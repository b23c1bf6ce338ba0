//! The embedded store as a primary: one thread that owns the journal, the sealer and the store's writing side.
//!
//! Changes come through a bounded queue and are taken as many as there are: one database transaction, one flush of the
//! bodies, one of the journal ([`ledger`]), then all of them are answered. It is a source, too: what peers and operators
//! ask of it (`Command`) is done between two batches, a bounded piece at a time ([`telling`]).

mod ledger;
mod queue;
mod telling;

#[cfg(test)]
mod tests;

pub(super) use queue::ChangeQueue;

use super::NodeError;
use super::ahead::Ahead;
use super::health::Health;
use super::peer::Peer;
use super::primary::Announcement;
use super::pulse::Pulse;
use super::replaced::Replaced;
use super::written::OpenedEmbedded;
use crate::io::clock::{Clock, Stopwatch};
use crate::journal::{Head, JournalView, Sealer};
use crate::limits::{JOURNAL_BYTES_MAX, STANDBY_JOURNAL_BYTES};
use crate::op::{BaseStart, Lsn, NodeName, Payload, StreamId};
use crate::store::change::{Reason, Refused};
use crate::store::embedded::export::Export;
use crate::store::embedded::write::{Batch, Outcome, Writer};
use crate::store::source::{Command, Reply, SourceStatus};
use crate::store::target::{Frame, TargetError};
use ledger::JournalLedger;
use queue::{Asked, Queued};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use telling::{Telling, Told};
use tokio::sync::{broadcast, watch};

/// Pause between two looks whether a peer takes more of a base.
const TELLING_PAUSE: Duration = Duration::from_millis(5);
/// Time between two looks whether the journal can be trimmed.
const TRIM_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of frames that are applied at once when the store is behind its journal.
const REPLAY_BYTES: usize = 2 << 20;

/// What the thread works with.
pub(super) struct Tools {
    pub(super) export: Export,
    pub(super) committed: watch::Sender<Head>,
    pub(super) announcements: broadcast::Sender<Announcement>,
    pub(super) peers: Vec<Arc<Peer>>,
    pub(super) clock: Clock,
    pub(super) health: Arc<Health>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) replaced: Arc<Replaced>,
    pub(super) status: Arc<Mutex<SourceStatus>>,
}

/// The thread, and what is left when it has ended cleanly.
pub(super) struct Scribe {
    thread: JoinHandle<Result<OpenedEmbedded, String>>,
}

impl Scribe {
    /// Applies what the journal has and the store lacks, then takes changes.
    pub(super) fn start(
        opened: OpenedEmbedded,
        sealer: Sealer,
        queued: Queued,
        tools: Tools,
    ) -> Result<Self, NodeError> {
        let OpenedEmbedded { journal, embedded, .. } = opened;
        let mut writer = super::written::writer(&embedded, &tools.clock)?;
        catch_up(&mut writer, &journal.view())?;
        let mut scribe = Scribing {
            ledger: JournalLedger::new(journal, sealer, tools.announcements.clone()),
            opened_at: writer.applied().lsn,
            writer,
            tools,
            tellings: Vec::new(),
            bases_ended: BTreeMap::new(),
            ahead: Ahead::default(),
            trimmed: Stopwatch::start(),
        };
        scribe.note_status().map_err(|e| NodeError::Journal(e.to_string()))?;
        let group = tracing::Span::current();
        let work = move || match scribe.run(&queued) {
            Ok(()) | Err(Ended::Asked) => {
                let journal = scribe.ledger.into_journal();
                Ok(OpenedEmbedded {
                    journal,
                    embedded,
                    held: false,
                })
            }
            Err(Ended::Halted(why)) => Err(why),
        };
        let thread = std::thread::Builder::new()
            .name("scribe".to_owned())
            .spawn(move || group.in_scope(work))
            .map_err(|e| NodeError::Thread(e.to_string()))?;
        Ok(Self { thread })
    }

    /// True once it has ended, asked or not.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end: what is left, or why it stopped by itself.
    pub(super) fn join(self) -> Result<OpenedEmbedded, String> {
        match self.thread.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Applies the journal's rest to the store.
fn catch_up(writer: &mut Writer, journal: &JournalView) -> Result<(), NodeError> {
    let Some(head) = journal.head() else { return Ok(()) };
    let applied = writer.applied();
    let oldest = super::files::oldest(journal);
    let next = match applied.stream == head.stream {
        true => applied.lsn.next(),
        // A stream that was begun anew begins with the journal.
        false => oldest,
    };
    if next < oldest || applied.lsn > head.lsn && applied.stream == head.stream {
        let (lsn, head) = (applied.lsn, head.lsn);
        return Err(NodeError::Journal(format!(
            "the store has decided {lsn}, the journal holds {oldest} to {head}: they don't belong together"
        )));
    }
    let mut reader = journal.reader(next);
    let mut open: Vec<Frame> = Vec::new();
    while reader.next_lsn() <= head.lsn {
        let mut transactions = Vec::new();
        for encoded in reader.read_batch(REPLAY_BYTES).map_err(NodeError::journal)? {
            open.push(super::files::decode(&encoded)?);
            if encoded.ends_transaction() {
                transactions.push(std::mem::take(&mut open));
            }
        }
        let failed = |e: TargetError| NodeError::Journal(e.to_string());
        writer.replay(&transactions).map_err(failed)?;
    }
    Ok(())
}

/// Why the thread ends.
enum Ended {
    Asked,
    Halted(String),
}

impl From<TargetError> for Ended {
    fn from(error: TargetError) -> Self {
        Self::Halted(error.to_string())
    }
}

struct Scribing {
    ledger: JournalLedger,
    writer: Writer,
    tools: Tools,
    /// What is being told, a piece at a time.
    tellings: Vec<Telling>,
    /// Where the last base for each peer ended.
    bases_ended: BTreeMap<NodeName, Lsn>,
    ahead: Ahead,
    /// What had been applied when the thread began.
    opened_at: Lsn,
    trimmed: Stopwatch,
}

impl Scribing {
    fn run(&mut self, queued: &Queued) -> Result<(), Ended> {
        let mut before = 0;
        loop {
            let first = match self.is_telling() {
                true => queued.soon(TELLING_PAUSE).map_err(|_| Ended::Asked)?,
                false => Some(queued.work.recv().map_err(|_| Ended::Asked)?),
            };
            self.tools.pulse.beat();
            let (changes, command) = queued.gather(first, before);
            before = changes.len();
            if !changes.is_empty() {
                self.make(changes)?;
            }
            if let Some(command) = command {
                self.obey(command)?;
            }
            self.tell_on()?;
            self.trim_where_due()?;
        }
    }

    /// True while there is something to be told to somebody who is there. (The heartbeat looks once a second for those
    /// who come back.)
    fn is_telling(&self) -> bool {
        let away = |name: &NodeName| {
            self.tools
                .peers
                .iter()
                .any(|peer| peer.name == *name && !peer.now().connected)
        };
        self.tellings.iter().any(|telling| !telling.peer().is_some_and(away))
    }

    /// Makes a batch of changes and answers them.
    fn make(&mut self, asked: Vec<Asked>) -> Result<(), Ended> {
        let (changes, owed): (Vec<_>, Vec<_>) = asked.into_iter().map(Asked::split).unzip();
        let now_ms = self.tools.clock.unix_ms();
        self.ledger.begin(now_ms);
        let batch = self.writer.write(&changes, now_ms, &mut self.ledger);
        drop(changes);
        let outcomes = match batch {
            Batch::Made(outcomes) => outcomes,
            Batch::Unapplied(outcomes, error) => {
                tracing::warn!(%error, "changes are in the journal and not in the store yet");
                self.apply_rest()?;
                outcomes
            }
            Batch::Undone(error) => {
                let undone = self.ledger.undo();
                let why = error.to_string();
                owed.into_iter().for_each(|owed| owed.answer(unavailable(&why)));
                return match error {
                    TargetError::Retry(_) => Ok(undone?),
                    _ => Err(Ended::Halted(why)),
                };
            }
        };
        self.publish();
        owed.into_iter()
            .zip(outcomes)
            .for_each(|(owed, outcome)| owed.answer(outcome));
        Ok(())
    }

    /// Until the store has what the journal has: those who wait for it were not refused, and are not answered yet.
    fn apply_rest(&mut self) -> Result<(), Ended> {
        let (writer, view) = (&mut self.writer, self.ledger.view());
        let pulse = &self.tools.pulse;
        let applied = self.tools.health.patiently("applying", || {
            pulse.beat();
            catch_up(writer, &view).map_err(|error| TargetError::Retry(error.to_string()))
        });
        Ok(applied?)
    }

    /// Lets peers and waiters see what is durable.
    fn publish(&self) {
        let head = self.ledger.head();
        self.tools.committed.send_if_modified(|known| {
            let news = *known != head;
            *known = head;
            news
        });
    }

    fn obey(&mut self, command: Command) -> Result<(), Ended> {
        match command {
            Command::Wake => {}
            Command::CatchUp(reply) => {
                self.note_status()?;
                self.resume_bases();
                reply(Ok(self.ledger.head().lsn));
            }
            Command::Sweep(reply) => reply(Ok(self.ledger.head().lsn)),
            Command::Verify {
                user,
                deep,
                mailbox,
                repair,
                request,
                reply,
            } => {
                let users = match user {
                    Some(user) => vec![user],
                    None => self.tools.export.users()?,
                };
                let telling = Telling::comparison(users, (deep, repair, mailbox), request, reply);
                self.tellings.push(telling);
            }
            Command::Base { peer, reason } => self.begin_base(peer, reason)?,
            Command::NewStream { reason, reply } => self.begin_stream(&reason, reply)?,
            Command::Merged(_, reply) => reply(Err("an embedded store notes what it merges by itself".to_owned())),
            Command::Stop => return Err(Ended::Asked),
        }
        Ok(())
    }

    fn note_status(&self) -> Result<(), TargetError> {
        let (counts, users) = (self.writer.counts()?, self.tools.export.user_count()?);
        let mut status = self.tools.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.users = users;
        (status.mailboxes, status.initial_done) = (counts.mailboxes, true);
        Ok(())
    }

    /// A peer that still says that it is being built, although it has applied everything that was meant to end that: the base
    /// was lost with a restart of this daemon, and is made once more.
    fn resume_bases(&mut self) {
        for peer in self.tools.peers.clone() {
            let standing = peer.now();
            let Some(position) = standing.position.filter(|_| standing.connected) else {
                continue;
            };
            let ended = self.bases_ended.get(&peer.name).copied().unwrap_or(self.opened_at);
            let open = self.tellings.iter().any(|telling| telling.peer() == Some(&peer.name));
            if position.counts.building && position.applied >= ended && !open {
                let reason = "the base before was not finished".to_owned();
                if let Err(error) = self.begin_base(peer.name.clone(), reason) {
                    tracing::warn!(peer = %peer.name, why = error.why(), "begin a base once more");
                }
            }
        }
    }

    fn begin_base(&mut self, peer: NodeName, reason: String) -> Result<(), Ended> {
        self.tellings.retain(|telling| telling.peer() != Some(&peer));
        let base = Payload::Base(BaseStart { reason });
        let began = self.ledger.head().lsn.next();
        self.tell(&[vec![base]], Some(&peer))?;
        let users = self.tools.export.users()?;
        tracing::info!(%peer, lsn = %began, users = users.len(), "a base begins");
        self.tellings.push(Telling::base(peer, began, users));
        Ok(())
    }

    fn begin_stream(&mut self, reason: &str, reply: Reply<StreamId>) -> Result<(), Ended> {
        let begun = self.new_stream(reason);
        let stream = match begun {
            Ok(stream) => stream,
            Err(error) => {
                reply(Err(error.to_string()));
                return Ok(());
            }
        };
        self.apply_rest()?;
        self.tellings.retain(|telling| telling.peer().is_none());
        (self.ahead, self.opened_at) = (Ahead::default(), self.ledger.head().lsn);
        self.bases_ended.clear();
        for peer in &self.tools.peers {
            // What it had of the old stream says nothing about this one.
            peer.standing.send_modify(|standing| standing.position = None);
        }
        self.publish();
        tracing::warn!(%stream, reason, "a new stream begins: every standby joins at a base");
        reply(Ok(stream));
        Ok(())
    }

    fn new_stream(&mut self, reason: &str) -> Result<StreamId, NodeError> {
        let stream = super::files::new_stream_id()?;
        let peers = self.tools.peers.iter().map(|peer| peer.name.clone()).collect();
        let noted = self.tools.replaced.begin(stream, peers);
        noted.map_err(|e| NodeError::Journal(format!("note the new stream: {e}")))?;
        let base = Payload::Base(BaseStart {
            reason: reason.to_owned(),
        });
        self.ledger.restart(stream, &base, self.tools.clock.unix_ms())?;
        Ok(stream)
    }

    /// One piece of everything that is being told.
    fn tell_on(&mut self) -> Result<(), Ended> {
        for mut telling in std::mem::take(&mut self.tellings) {
            let peer = telling.peer().cloned();
            let known = peer
                .as_ref()
                .and_then(|name| self.tools.peers.iter().find(|known| known.name == *name));
            if known.is_some_and(|known| !known.now().connected || self.ahead.is_full(known)) {
                self.tellings.push(telling);
                continue;
            }
            match telling.step(&self.tools.export)? {
                Told::Some(transactions) => {
                    self.tell(&transactions, peer.as_ref())?;
                    self.tellings.push(telling);
                }
                Told::All => self.told(telling)?,
            }
        }
        Ok(())
    }

    fn told(&mut self, telling: Telling) -> Result<(), Ended> {
        if let Some((peer, began)) = telling.began() {
            let (peer, began) = (peer.clone(), began);
            self.tell(&[vec![Payload::BaseEnd(began)]], Some(&peer))?;
            let lsn = self.ledger.head().lsn;
            tracing::info!(%peer, %lsn, "the base is complete");
            self.bases_ended.insert(peer, lsn);
        }
        telling.reply(self.ledger.head().lsn);
        Ok(())
    }

    /// Emits what the store holds, durable and shipped when it returns. Nothing of it changes the store.
    fn tell(&mut self, transactions: &[Vec<Payload>], peer: Option<&NodeName>) -> Result<(), Ended> {
        if transactions.is_empty() {
            return Ok(());
        }
        let captured_ms = self.tools.clock.unix_ms();
        let frames = self
            .ledger
            .tell(transactions, peer, captured_ms)
            .map_err(|e| Ended::Halted(e.to_string()))?;
        if let Some(peer) = peer {
            self.ahead.push(peer, &frames);
        }
        let decoded: Result<Vec<_>, _> = frames.iter().map(super::files::decode).collect();
        let decoded = decoded.map_err(|e| Ended::Halted(e.to_string()))?;
        let (ledger, writer, tools) = (&mut self.ledger, &mut self.writer, &self.tools);
        let durable = tools.health.patiently("capture", || {
            tools.pulse.beat();
            ledger.flush()
        });
        durable.map_err(|e| Ended::Halted(e.to_string()))?;
        tools.health.patiently("applying", || writer.follow(&decoded))?;
        self.publish();
        Ok(())
    }

    /// Keeps what a peer lacks, within the journal's bound, and a stretch for those who may follow one day.
    fn trim_where_due(&mut self) -> Result<(), Ended> {
        let bytes = self.ledger.view().bytes();
        if bytes <= STANDBY_JOURNAL_BYTES || self.trimmed.elapsed() < TRIM_PAUSE {
            return Ok(());
        }
        self.trimmed = Stopwatch::start();
        let applied = self.writer.applied().lsn;
        let everywhere = self.tools.peers.iter().map(|peer| peer.durable()).min();
        let upto = match bytes > JOURNAL_BYTES_MAX {
            true => applied,
            false => everywhere.unwrap_or(applied).min(applied),
        };
        // What goes must not be needed again after a power cut.
        match self.writer.settle() {
            Ok(()) => {}
            Err(TargetError::Retry(why)) => {
                tracing::warn!(why, "the journal is not trimmed: the store can't be flushed");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = self.ledger.trim(upto) {
            tracing::warn!(%error, "the journal is not trimmed");
        }
        Ok(())
    }
}

impl Ended {
    fn why(&self) -> &str {
        match self {
            Self::Asked => "the daemon stops",
            Self::Halted(why) => why,
        }
    }
}

fn unavailable(why: &str) -> Outcome {
    Err(Refused {
        reason: Reason::Unavailable,
        why: why.to_owned(),
    })
}
