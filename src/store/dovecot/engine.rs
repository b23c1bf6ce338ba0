//! The capture thread of one group: takes turns at its users, answers commands, walks through long jobs step by step.
//!
//! Nothing here waits for anything but the journal: a large mailbox, a verification or a base is one step at a time, and
//! between two steps everybody's live mail goes out.

use super::bodies::DovecotBodies;
use super::directory::UserDirectory;
use super::doveadm::{Doveadm, Users};
use super::identity::Identities;
use super::job::{Job, Progress};
use super::shared::Shared;
use super::user::UserCapture;
use super::watch::Watch;
use crate::limits::{OPEN_LOGS_MAX, SCAN_SECONDS};
use crate::op::{Lsn, UserName};
use crate::store::source::{Command, Outlet, OutletError, Reply, SourceStatus, Wake};
use crate::store::table::CaptureTable;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest sleep: how late a new user list is noticed.
const IDLE: Duration = Duration::from_millis(500);
/// Between two looks whether standbys have fetched what was offered.
const OFFER_PAUSE: Duration = Duration::from_millis(2);

/// What a capture needs to start.
pub struct Setup {
    /// How to ask the server.
    pub doveadm: Doveadm,
    /// Which users belong to the group.
    pub wanted: Box<dyn Fn(&UserName) -> bool + Send>,
    /// Where it goes on: the latest checkpoint with the frames after it applied, or empty.
    pub table: CaptureTable,
    /// Where what it finds goes.
    pub outlet: Box<dyn Outlet>,
    /// Kept up to date for `status`.
    pub status: Arc<Mutex<SourceStatus>>,
}

/// Capture ends.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No more frames can be made durable.
    #[error(transparent)]
    Outlet(#[from] OutletError),
    /// The thread could not be started.
    #[error("start the capture thread: {0}")]
    Thread(std::io::Error),
}

/// A running capture.
pub struct DovecotSource {
    commands: Sender<Command>,
    bodies: Arc<DovecotBodies>,
    thread: JoinHandle<Result<(), SourceError>>,
}

impl DovecotSource {
    /// Starts the capture thread.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(setup: Setup) -> Result<Self, SourceError> {
        let (commands, received) = channel();
        let identities = Arc::new(Identities::default());
        let bodies = Arc::new(DovecotBodies::new(Arc::clone(&identities)));
        let directory = UserDirectory::start(setup.doveadm.clone()).map_err(SourceError::Thread)?;
        let watch = Watch::start(commands.clone());
        let mut engine = Engine::new(setup, identities, Arc::clone(&bodies), directory, watch);
        let thread = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || engine.run(&received))
            .map_err(SourceError::Thread)?;
        Ok(Self {
            commands,
            bodies,
            thread,
        })
    }

    /// Where commands go. Sending fails once the capture has ended.
    #[must_use]
    pub fn commands(&self) -> Sender<Command> {
        self.commands.clone()
    }

    /// Reads bodies where they lie.
    #[must_use]
    pub fn bodies(&self) -> Arc<DovecotBodies> {
        Arc::clone(&self.bodies)
    }

    /// True once the thread has ended; [`Self::join`] then tells why.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end ([`Command::Stop`] asks for it).
    ///
    /// # Errors
    /// Why it ended, other than by [`Command::Stop`].
    pub fn join(self) -> Result<(), SourceError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// A question that is answered once these users were read after it came.
struct Sweep {
    remaining: BTreeSet<UserName>,
    reply: Reply<Lsn>,
}

struct Engine {
    wanted: Box<dyn Fn(&UserName) -> bool + Send>,
    table: CaptureTable,
    outlet: Box<dyn Outlet>,
    status: Arc<Mutex<SourceStatus>>,
    identities: Arc<Identities>,
    bodies: Arc<DovecotBodies>,
    directory: UserDirectory,
    watch: Watch,
    users: BTreeMap<UserName, UserCapture>,
    refused: BTreeMap<UserName, String>,
    /// To be read now.
    dirty: BTreeSet<UserName>,
    /// To be read then, whatever wakes.
    due: BTreeMap<UserName, Instant>,
    /// When each user was read last, for closing files.
    read_at: BTreeMap<UserName, Instant>,
    sweeps: Vec<Sweep>,
    jobs: VecDeque<Job>,
    next_scan: Instant,
    notices: u64,
    last: Lsn,
    users_known: bool,
    /// What was asked about all users before it was known who they are.
    early: Vec<Command>,
}

impl Engine {
    fn new(
        setup: Setup,
        identities: Arc<Identities>,
        bodies: Arc<DovecotBodies>,
        directory: UserDirectory,
        watch: Watch,
    ) -> Self {
        Self {
            wanted: setup.wanted,
            table: setup.table,
            outlet: setup.outlet,
            status: setup.status,
            identities,
            bodies,
            directory,
            watch,
            users: BTreeMap::new(),
            refused: BTreeMap::new(),
            dirty: BTreeSet::new(),
            due: BTreeMap::new(),
            read_at: BTreeMap::new(),
            sweeps: Vec::new(),
            jobs: VecDeque::new(),
            next_scan: Instant::now(),
            notices: 0,
            last: Lsn::default(),
            users_known: false,
            early: Vec::new(),
        }
    }

    fn run(&mut self, received: &Receiver<Command>) -> Result<(), SourceError> {
        self.last = self.outlet.emit(Vec::new())?;
        loop {
            let command = match received.recv_timeout(self.patience()) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            for command in command.into_iter().chain(received.try_iter()) {
                if !self.command(command)? {
                    return Ok(());
                }
            }
            self.take_users()?;
            self.tick();
            self.read_dirty()?;
            self.step()?;
            self.answer_sweeps();
            self.tell_status();
        }
    }

    /// How long nothing needs to be done.
    fn patience(&mut self) -> Duration {
        if !self.dirty.is_empty() {
            return Duration::ZERO;
        }
        if !self.jobs.is_empty() || self.users.values().any(UserCapture::is_introducing) {
            return if self.outlet.is_offer_open() {
                OFFER_PAUSE
            } else {
                Duration::ZERO
            };
        }
        let soonest = self
            .due
            .values()
            .min()
            .copied()
            .unwrap_or(self.next_scan)
            .min(self.next_scan);
        soonest.saturating_duration_since(Instant::now()).min(IDLE)
    }

    /// False: stop.
    fn command(&mut self, command: Command) -> Result<bool, OutletError> {
        match command {
            Command::Sweep(_) | Command::Verify { .. } | Command::Base { .. } if !self.users_known => {
                self.early.push(command);
            }
            Command::Stop => return Ok(false),
            Command::Wake(Wake::Dirty(directory)) => {
                if let Some(user) = self.watch.owner(&directory) {
                    self.watch.taken(&user);
                    self.dirty.insert(user);
                }
            }
            Command::Wake(Wake::All) => {
                self.watch.all_taken();
                self.all_dirty();
            }
            Command::CatchUp(reply) => {
                self.read_dirty()?;
                reply(Ok(self.last));
            }
            Command::Sweep(reply) => {
                self.all_dirty();
                self.sweeps.push(Sweep {
                    remaining: self.users.keys().cloned().collect(),
                    reply,
                });
            }
            Command::Verify {
                user,
                deep,
                request,
                reply,
            } => {
                let users = self
                    .users
                    .keys()
                    .filter(|name| user.as_ref().is_none_or(|user| user == *name));
                self.jobs
                    .push_back(Job::verify(users.cloned().collect(), deep, request, reply));
            }
            Command::Base { peer, reason } => {
                let users = self.users.keys().cloned().collect();
                self.jobs.push_back(Job::base(users, peer, reason));
            }
        }
        Ok(true)
    }

    fn all_dirty(&mut self) {
        self.dirty.extend(self.users.keys().cloned());
    }

    /// What time brings.
    fn tick(&mut self) {
        let now = Instant::now();
        let due: Vec<UserName> = self
            .due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(user, _)| user.clone())
            .collect();
        for user in due {
            self.due.remove(&user);
            self.dirty.insert(user);
        }
        if self.next_scan <= now {
            self.next_scan = now + Duration::from_secs(SCAN_SECONDS);
            self.all_dirty();
        }
    }

    /// Takes a new list of users over, where there is one.
    fn take_users(&mut self) -> Result<(), OutletError> {
        let Some(users) = self.directory.take() else {
            return Ok(());
        };
        let mut found = Users::new();
        found.extend(users.into_iter().filter(|(user, _)| (self.wanted)(user)));
        self.users
            .retain(|user, capture| found.get(user).is_some_and(|root| root.as_ref() == Ok(capture.root())));
        for (user, root) in found {
            match root {
                Ok(root) if !self.users.contains_key(&user) => {
                    self.refused.remove(&user);
                    self.dirty.insert(user.clone());
                    self.users.insert(user.clone(), UserCapture::new(user, root));
                }
                Ok(_) => {}
                Err(why) => {
                    if self.refused.get(&user) != Some(&why) {
                        tracing::warn!(%user, why, "this user is not captured");
                    }
                    self.refused.insert(user, why);
                }
            }
        }
        self.users_known = true;
        for command in std::mem::take(&mut self.early) {
            self.command(command)?;
        }
        Ok(())
    }

    fn read_dirty(&mut self) -> Result<(), OutletError> {
        for user in std::mem::take(&mut self.dirty) {
            self.turn(&user)?;
        }
        Ok(())
    }

    fn turn(&mut self, user: &UserName) -> Result<(), OutletError> {
        let Some(capture) = self.users.get_mut(user) else {
            return Ok(());
        };
        let mut shared = Shared {
            table: &mut self.table,
            outlet: &mut *self.outlet,
            identities: &self.identities,
            bodies: &self.bodies,
            notices: &mut self.notices,
            last: &mut self.last,
        };
        let end = capture.turn(&mut shared)?;
        self.watch.cover(user, capture.directories());
        if let Some(again) = end.again {
            self.due.insert(user.clone(), Instant::now() + again);
        }
        self.read_at.insert(user.clone(), Instant::now());
        self.close_idle_files(user);
        Ok(())
    }

    /// Closes the logs of those who were quiet for longest, where too many are open.
    fn close_idle_files(&mut self, busy: &UserName) {
        let mut open: usize = self.users.values().map(UserCapture::open_files).sum();
        if open <= OPEN_LOGS_MAX {
            return;
        }
        let mut by_age: Vec<(Instant, UserName)> = self
            .read_at
            .iter()
            .map(|(user, at)| (*at, user.clone()))
            .filter(|(_, user)| user != busy)
            .collect();
        by_age.sort_unstable();
        for (_, user) in by_age {
            if open <= OPEN_LOGS_MAX / 2 {
                break;
            }
            if let Some(capture) = self.users.get_mut(&user) {
                open = open.saturating_sub(capture.open_files());
                capture.close_files();
            }
        }
    }

    /// One step of what takes long: an introduction, else a job.
    fn step(&mut self) -> Result<(), OutletError> {
        let introducing = self.users.iter().find(|(_, capture)| capture.is_introducing());
        if let Some(user) = introducing.map(|(user, _)| user.clone()) {
            // Everybody's changes go on while standbys fetch what was offered.
            if self.outlet.is_offer_open() {
                return Ok(());
            }
            return self.introduce(&user);
        }
        let Some(mut job) = self.jobs.pop_front() else {
            return Ok(());
        };
        if let Some(user) = job.user().cloned() {
            // What was read is out before it is compared.
            self.turn(&user)?;
        }
        let mut shared = Shared {
            table: &mut self.table,
            outlet: &mut *self.outlet,
            identities: &self.identities,
            bodies: &self.bodies,
            notices: &mut self.notices,
            last: &mut self.last,
        };
        match job.step(&mut self.users, &mut shared)? {
            Progress::More => self.jobs.push_front(job),
            Progress::Done => job.finish(self.last),
        }
        Ok(())
    }

    fn introduce(&mut self, user: &UserName) -> Result<(), OutletError> {
        let Some(capture) = self.users.get_mut(user) else {
            return Ok(());
        };
        let mut shared = Shared {
            table: &mut self.table,
            outlet: &mut *self.outlet,
            identities: &self.identities,
            bodies: &self.bodies,
            notices: &mut self.notices,
            last: &mut self.last,
        };
        capture.introduce(&mut shared)?;
        if !capture.is_introducing() {
            // What waited for the new mailboxes may go now.
            self.dirty.insert(user.clone());
        }
        Ok(())
    }

    fn answer_sweeps(&mut self) {
        for sweep in &mut self.sweeps {
            sweep
                .remaining
                .retain(|user| self.users.get(user).is_some_and(|capture| !capture.is_settled()));
        }
        for sweep in self.sweeps.extract_if(.., |sweep| sweep.remaining.is_empty()) {
            (sweep.reply)(Ok(self.last));
        }
    }

    fn tell_status(&self) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.users = count(self.users.len());
        status.mailboxes = self.table.mailboxes();
        status.held = self.users.values().flat_map(UserCapture::findings).collect();
        let listed = |capture: &UserCapture| !capture.is_introducing() && capture.was_read();
        status.initial_done |= self.users_known && self.users.values().all(listed);
    }
}
