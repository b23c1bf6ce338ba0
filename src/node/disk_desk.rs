//! The standby's disk: the journal and the bodies that its frames name, by one thread, flushed together.
//!
//! Whatever has gathered is written first, then flushed once. Bodies that no frame waits for yet are flushed a little
//! later, so that the next ones share the flush. Nothing is told that is not on disk.

use super::NodeError;
use super::desk::Desk;
use super::health::Health;
use crate::codec::EncodedFrame;
use crate::journal::{Head, Journal, JournalError};
use crate::limits::{BODIES_UNFLUSHED_BYTES_MAX, BODIES_UNFLUSHED_MS_MAX, DISK_ROUND_MAX};
use crate::op::{BodyHash, BodyName, Lsn, Missing};
use crate::session::receive::ReceiveInput;
use crate::store::target::{BodyStore, TargetError};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What waits while the disk is full.
const RECEIVING: &str = "receiving";

/// What the disk is asked to do.
pub(super) enum DiskWork {
    Append(Vec<EncodedFrame>),
    Restart(Box<EncodedFrame>),
    Trim(Lsn),
    /// The sender is gone: parts of a run without its end are forgotten.
    RollBack,
    Body {
        name: BodyName,
        octets: Vec<u8>,
        hash: BodyHash,
    },
    Missing {
        name: BodyName,
        missing: Missing,
    },
    Check {
        request: u64,
        names: Vec<BodyName>,
    },
    ListPending {
        most: usize,
    },
    /// Nothing more comes.
    Stop,
}

/// The thread that owns the journal and fills the body store.
pub(super) struct DiskDesk(Desk<DiskWork, Journal>);

impl DiskDesk {
    pub(super) fn start(
        journal: Journal,
        bodies: Arc<dyn BodyStore>,
        fed: mpsc::Sender<ReceiveInput>,
        health: Arc<Health>,
    ) -> Result<Self, NodeError> {
        Desk::start("disk", move |asked| {
            let mut disk = Disk::new(journal, bodies, fed, Arc::clone(&health));
            if let Err(Ended::Halted(why)) = disk.run(&asked) {
                health.stop(why);
            }
            disk.journal
        })
        .map(Self)
    }

    pub(super) fn handle(&self) -> Sender<DiskWork> {
        self.0.handle()
    }

    /// Stops, and gives the journal back as it is: what was appended last may not be flushed.
    pub(super) fn stop(self) -> Journal {
        if self.handle().send(DiskWork::Stop).is_err() {
            tracing::debug!("the disk's thread had ended before");
        }
        self.0.stop()
    }
}

/// Why the thread ends. After an error nothing more is acknowledged, and the primary keeps what is not.
enum Ended {
    Asked,
    Halted(String),
}

impl From<JournalError> for Ended {
    fn from(error: JournalError) -> Self {
        Self::Halted(format!("the journal: {error}; {}", error.hint()))
    }
}

impl From<TargetError> for Ended {
    fn from(error: TargetError) -> Self {
        Self::Halted(format!("the body store: {error}"))
    }
}

struct Disk {
    journal: Journal,
    bodies: Arc<dyn BodyStore>,
    fed: mpsc::Sender<ReceiveInput>,
    health: Arc<Health>,
    unflushed: Unflushed,
    /// Last LSN that was appended since the last flush.
    appended: Option<Lsn>,
    checks: Vec<(u64, Vec<BodyName>)>,
}

/// Bodies that are written and not on disk for certain.
struct Unflushed {
    names: Vec<BodyName>,
    bytes: usize,
    since: Instant,
}

impl Disk {
    fn new(journal: Journal, bodies: Arc<dyn BodyStore>, fed: mpsc::Sender<ReceiveInput>, health: Arc<Health>) -> Self {
        Self {
            journal,
            bodies,
            fed,
            health,
            unflushed: Unflushed {
                names: Vec::new(),
                bytes: 0,
                since: Instant::now(),
            },
            appended: None,
            checks: Vec::new(),
        }
    }

    fn run(&mut self, asked: &Receiver<DiskWork>) -> Result<(), Ended> {
        loop {
            if let Some(first) = self.next(asked)? {
                for work in std::iter::once(first).chain(asked.try_iter().take(DISK_ROUND_MAX)) {
                    self.write(work)?;
                }
            }
            self.flush_where_due()?;
        }
    }

    /// The next work; none where bodies have waited long enough for others to share their flush.
    fn next(&self, asked: &Receiver<DiskWork>) -> Result<Option<DiskWork>, Ended> {
        if self.unflushed.names.is_empty() {
            return asked.recv().map(Some).map_err(|_| Ended::Asked);
        }
        match asked.recv_timeout(self.unflushed.patience()) {
            Ok(work) => Ok(Some(work)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Ended::Asked),
        }
    }

    fn write(&mut self, work: DiskWork) -> Result<(), Ended> {
        match work {
            DiskWork::Stop => return Err(Ended::Asked),
            DiskWork::Trim(upto) => {
                self.health.patiently(RECEIVING, || self.journal.trim(upto))?;
            }
            DiskWork::RollBack => {
                // What is whole is kept: it was handed over before and counts as taken.
                self.health.patiently(RECEIVING, || self.journal.commit())?;
                self.health.patiently(RECEIVING, || self.journal.roll_back())?;
                self.appended = Some(Lsn(0));
            }
            DiskWork::Restart(base) => {
                self.appended = Some(self.health.patiently(RECEIVING, || self.journal.restart_at(&base))?.lsn)
            }
            DiskWork::Append(frames) => {
                self.health.patiently(RECEIVING, || self.journal.append(&frames))?;
                self.appended = frames.last().map(|frame| frame.lsn).or(self.appended);
            }
            DiskWork::Body { name, octets, hash } => self.body(name, &octets, &hash)?,
            DiskWork::Missing { name, missing } => {
                self.health
                    .patiently(RECEIVING, || self.bodies.put_missing(&name, &missing))?;
                self.unflushed.push(name, 0);
            }
            DiskWork::Check { request, names } => self.checks.push((request, names)),
            DiskWork::ListPending { most } => {
                let pending = self.health.patiently(RECEIVING, || self.bodies.pending(most))?;
                self.feed(ReceiveInput::Pending(pending))?;
            }
        }
        Ok(())
    }

    /// A body that contradicts what its name says of it (its size) is not stored: it counts as damaged at the source.
    fn body(&mut self, name: BodyName, octets: &[u8], hash: &BodyHash) -> Result<(), Ended> {
        match self
            .health
            .patiently(RECEIVING, || self.bodies.put(&name, octets, hash))
        {
            Err(TargetError::Broken(why)) => {
                tracing::warn!(mailbox = %name.place.mailbox.guid, uid = %name.place.uid, why, "a body was refused");
                let missing = Missing {
                    gone: false,
                    file: String::new(),
                    offset: 0,
                    why,
                };
                self.health
                    .patiently(RECEIVING, || self.bodies.put_missing(&name, &missing))?;
            }
            other => other?,
        }
        self.unflushed.push(name, octets.len());
        Ok(())
    }

    /// Bodies first: the frames that name them are told durable once both are.
    fn flush_where_due(&mut self) -> Result<(), Ended> {
        let awaited = self.appended.is_some() || !self.checks.is_empty();
        if self.unflushed.is_due() || (awaited && !self.unflushed.names.is_empty()) {
            self.health.patiently(RECEIVING, || self.bodies.commit())?;
            let names = self.unflushed.take();
            self.feed(ReceiveInput::Stored(names))?;
        }
        if let Some(appended) = self.appended.take() {
            let head = self
                .health
                .patiently(RECEIVING, || self.journal.commit())?
                .unwrap_or(super::files::NOWHERE);
            self.feed(journaled(head, appended))?;
        }
        for (request, names) in std::mem::take(&mut self.checks) {
            let lacking = self.health.patiently(RECEIVING, || self.bodies.lacking(&names))?;
            self.feed(ReceiveInput::Checked { request, lacking })?;
        }
        Ok(())
    }

    fn feed(&self, input: ReceiveInput) -> Result<(), Ended> {
        self.fed.blocking_send(input).map_err(|_| Ended::Asked)
    }
}

impl Unflushed {
    fn push(&mut self, name: BodyName, bytes: usize) {
        if self.names.is_empty() {
            self.since = Instant::now();
        }
        self.names.push(name);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(BODIES_UNFLUSHED_MS_MAX).saturating_sub(self.since.elapsed())
    }

    fn is_due(&self) -> bool {
        !self.names.is_empty() && (self.bytes >= BODIES_UNFLUSHED_BYTES_MAX || self.patience().is_zero())
    }

    fn take(&mut self) -> Vec<BodyName> {
        self.bytes = 0;
        std::mem::take(&mut self.names)
    }
}

fn journaled(head: Head, appended: Lsn) -> ReceiveInput {
    ReceiveInput::Journaled {
        stream: head.stream,
        appended: appended.max(head.lsn),
        committed: head.lsn,
    }
}
