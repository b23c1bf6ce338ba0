//! Applies what is durable: reads the standby's own journal, asks the source where a disappearance must be attested,
//! and decides whole transactions, many in one database transaction.

use super::NodeError;
use super::desk::Desk;
use super::disk_desk::DiskWork;
use super::standby::{Progress, StandbyShared};
use crate::codec::EncodedFrame;
use crate::codec::wire::Counts;
use crate::limits::{APPLY_FRAMES_MAX, STANDBY_JOURNAL_BYTES};
use crate::op::{DigestVerdict, Lsn, Payload, Uid};
use crate::session::receive::ReceiveInput;
use crate::store::target::{Frame, GoneAnswers, Target, TargetCounts, TargetError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Bytes of frames that are read at once.
const READ_BYTES: usize = 2 << 20;

/// Time between two looks whether the journal can be trimmed.
const TRIM_PAUSE: Duration = Duration::from_secs(1);

/// What the applying thread hears.
pub(super) enum ApplyWork {
    /// May apply up to here.
    Durable(Lsn),
    /// An operator decided something: count again.
    Recount,
    /// The Dovecot was told more.
    Shown,
    /// A digest was compared with the Dovecot, too.
    Verdict(DigestVerdict),
    /// The source's answer to a question.
    Gone { id: u64, gone: Vec<Uid> },
    /// Show that you make progress.
    Beat,
    /// Nothing more comes.
    Stop,
}

/// Where it tells what it did.
pub(super) struct Links {
    pub(super) shared: Arc<StandbyShared>,
    pub(super) fed: mpsc::Sender<ReceiveInput>,
    pub(super) trim: Sender<DiskWork>,
}

/// The thread that owns the target.
pub(super) struct Applier(Desk<ApplyWork>);

impl Applier {
    pub(super) fn start(target: Box<dyn Target>, links: Links) -> Result<Self, NodeError> {
        Desk::start("apply", move |asked| {
            let mut applying = Applying {
                target,
                links,
                durable: Lsn(0),
                questions: 0,
                trimmed_at: Instant::now(),
            };
            if let Err(Stopped::Halted(why)) = applying.run(&asked) {
                applying.links.shared.health.stop(format!("applying: {why}"));
            }
        })
        .map(Self)
    }

    pub(super) fn handle(&self) -> Sender<ApplyWork> {
        self.0.handle()
    }

    pub(super) fn stop(self) {
        if self.handle().send(ApplyWork::Stop).is_err() {
            tracing::debug!("the applying thread had ended before");
        }
        self.0.stop();
    }
}

/// Why the thread ends.
enum Stopped {
    Asked,
    Halted(String),
}

impl From<NodeError> for Stopped {
    fn from(error: NodeError) -> Self {
        Self::Halted(error.to_string())
    }
}

struct Applying {
    target: Box<dyn Target>,
    links: Links,
    durable: Lsn,
    questions: u64,
    trimmed_at: Instant,
}

impl Applying {
    fn run(&mut self, asked: &Receiver<ApplyWork>) -> Result<(), Stopped> {
        loop {
            self.hear(asked.recv().unwrap_or(ApplyWork::Stop))?;
            while let Ok(work) = asked.try_recv() {
                self.hear(work)?;
            }
            while self.apply_some(asked)? {}
        }
    }

    fn hear(&mut self, work: ApplyWork) -> Result<(), Stopped> {
        match work {
            ApplyWork::Stop => Err(Stopped::Asked),
            ApplyWork::Durable(lsn) => {
                self.durable = lsn;
                Ok(())
            }
            ApplyWork::Gone { .. } => Ok(()),
            ApplyWork::Recount => {
                self.links.shared.stir();
                self.tell()
            }
            ApplyWork::Shown => self.tell(),
            ApplyWork::Verdict(verdict) => self.feed(ReceiveInput::Verdict(verdict)),
            ApplyWork::Beat => {
                self.links.shared.pulses.applying.beat();
                Ok(())
            }
        }
    }

    /// The next frame to decide. A store that joins in the middle begins at the journal's first frame, its base.
    fn next(&self) -> Lsn {
        let (applied, journal) = (self.target.applied(), &self.links.shared.journal);
        let oldest = super::files::oldest(journal);
        if journal.head().is_some_and(|head| head.stream == applied.stream) {
            applied.lsn.next().max(oldest)
        } else {
            oldest
        }
    }

    /// Applies a batch; false where nothing is left to do.
    fn apply_some(&mut self, asked: &Receiver<ApplyWork>) -> Result<bool, Stopped> {
        let next = self.next();
        if next > self.durable || self.links.shared.is_paused() {
            return Ok(false);
        }
        let read = self.links.shared.journal.reader(next).read_batch(READ_BYTES);
        let frames = read.map_err(NodeError::journal)?;
        let mut batch = Vec::new();
        for transaction in transactions(frames, self.durable)? {
            if transaction.iter().any(|f| matches!(f.payload, Payload::State(_))) {
                self.decide(&mut batch, &GoneAnswers::new())?;
                let answers = self.attest(&transaction, asked)?;
                batch.push(transaction);
                self.decide(&mut batch, &answers)?;
            } else {
                batch.push(transaction);
                if batch.iter().map(Vec::len).sum::<usize>() >= APPLY_FRAMES_MAX {
                    self.decide(&mut batch, &GoneAnswers::new())?;
                }
            }
        }
        self.decide(&mut batch, &GoneAnswers::new())?;
        if self.next() == next {
            // A run that is longer than one read.
            return self.apply_long_run(next, asked);
        }
        Ok(true)
    }

    /// Reads a run of which one batch held only a part, whole.
    fn apply_long_run(&mut self, first: Lsn, asked: &Receiver<ApplyWork>) -> Result<bool, Stopped> {
        let mut reader = self.links.shared.journal.reader(first);
        let mut run: Vec<Frame> = Vec::new();
        while run.last().is_none_or(|f| f.header.run.is_some_and(|r| !r.is_last())) {
            let frames = reader.read_batch(READ_BYTES).map_err(NodeError::journal)?;
            if frames.is_empty() {
                return Err(Stopped::Halted(format!("the run at {first} has no end in the journal")));
            }
            for encoded in &frames {
                let frame = super::files::decode(encoded)?;
                let ends = frame.header.run.is_none_or(|r| r.is_last());
                run.push(frame);
                if ends {
                    break;
                }
            }
        }
        let answers = self.attest(&run, asked)?;
        self.decide(&mut vec![run], &answers)?;
        Ok(true)
    }

    fn decide(&mut self, batch: &mut Vec<Vec<Frame>>, answers: &GoneAnswers) -> Result<(), Stopped> {
        if batch.is_empty() {
            return Ok(());
        }
        let applied = self.links.shared.health.patiently("applying", || {
            self.links.shared.pulses.applying.beat();
            self.target.apply(batch, answers)
        });
        let verdicts = applied.map_err(|e| Stopped::Halted(e.to_string()))?;
        let different = verdicts.iter().filter(|verdict| !verdict.why.is_empty()).count();
        self.links.shared.counted.applied(batch.len(), different);
        batch.clear();
        self.links.shared.stir();
        self.tell()?;
        for verdict in verdicts {
            match &self.links.shared.projection {
                // somebody waits for it: a Dovecot's copy is what the Dovecot holds
                Some(projection) if verdict.request > 0 => projection.compare(verdict),
                _ => self.feed(ReceiveInput::Verdict(verdict))?,
            }
        }
        Ok(())
    }

    fn tell(&mut self) -> Result<(), Stopped> {
        let applied = self.target.applied();
        let counts = self.target.counts().map_err(|e| Stopped::Halted(e.to_string()))?;
        let shown = self.links.shared.shown(applied);
        let progress = Progress { applied, shown, counts };
        self.links.shared.progress.send_replace(progress);
        self.trim_where_due(applied.lsn)?;
        self.feed(ReceiveInput::Applied {
            stream: applied.stream,
            lsn: shown,
            counts: counts_of(&counts),
        })
    }

    /// Keeps a stretch of applied frames for peers that may follow this node one day. What goes must not be needed
    /// again after a power cut.
    fn trim_where_due(&mut self, applied: Lsn) -> Result<(), Stopped> {
        if self.links.shared.journal.bytes() <= STANDBY_JOURNAL_BYTES || self.trimmed_at.elapsed() < TRIM_PAUSE {
            return Ok(());
        }
        self.trimmed_at = Instant::now();
        match self.target.settle() {
            Ok(()) => {}
            Err(TargetError::Retry(why)) => {
                tracing::warn!(why, "the journal is not trimmed: the store can't be flushed");
                return Ok(());
            }
            Err(error) => return Err(Stopped::Halted(error.to_string())),
        }
        if self.links.trim.send(DiskWork::Trim(applied)).is_err() {
            tracing::debug!("the disk's thread has ended");
        }
        Ok(())
    }

    fn feed(&self, input: ReceiveInput) -> Result<(), Stopped> {
        self.links.fed.blocking_send(input).map_err(|_| Stopped::Asked)
    }

    /// Asks the source what the target must know before it decides, and waits for the answers: also over a lost
    /// connection, for a disappearance that nobody can attest would be quarantined without need.
    fn attest(&mut self, transaction: &[Frame], asked: &Receiver<ApplyWork>) -> Result<GoneAnswers, Stopped> {
        let questions = self
            .target
            .questions(transaction)
            .map_err(|e| Stopped::Halted(e.to_string()))?;
        let mut answers = GoneAnswers::new();
        for question in questions {
            self.questions += 1;
            let id = self.questions;
            self.feed(ReceiveInput::AskGone {
                id,
                question: question.clone(),
            })?;
            answers.push((question, self.await_answer(id, asked)?));
        }
        Ok(answers)
    }

    fn await_answer(&mut self, wanted: u64, asked: &Receiver<ApplyWork>) -> Result<BTreeSet<Uid>, Stopped> {
        loop {
            match asked.recv().unwrap_or(ApplyWork::Stop) {
                ApplyWork::Gone { id, gone } if id == wanted => return Ok(gone.into_iter().collect()),
                other => self.hear(other)?,
            }
        }
    }
}

/// Whole transactions up to `durable`; a run that is cut at the end is left for later.
fn transactions(frames: Vec<EncodedFrame>, durable: Lsn) -> Result<Vec<Vec<Frame>>, NodeError> {
    let mut whole = Vec::new();
    let mut open = Vec::new();
    for encoded in frames.into_iter().take_while(|f| f.lsn <= durable) {
        let ends = encoded.ends_transaction();
        open.push(super::files::decode(&encoded)?);
        if ends {
            whole.push(std::mem::take(&mut open));
        }
    }
    Ok(whole)
}

/// The counts as they travel.
pub(super) fn counts_of(counts: &TargetCounts) -> Counts {
    Counts {
        mailboxes: counts.mailboxes,
        messages: counts.messages,
        held: counts.held_mailboxes,
        pending: counts.bodies_pending,
        quarantined: counts.quarantined,
        building: counts.building,
    }
}
