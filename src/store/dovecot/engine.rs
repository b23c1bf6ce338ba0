//! The capture thread of one group: takes turns at its users, answers commands, walks through long jobs step by step.
//!
//! Nothing here waits for anything but the journal: a large mailbox, a verification or a base is one step at a time, and
//! between two steps everybody's live mail goes out.

pub(super) mod omissions;
mod pace;
mod upkeep;
mod users;

use super::bodies::DovecotBodies;
use super::directory::UserDirectory;
use super::doveadm::{Doveadm, Users};
use super::identity::Identities;
use super::job::{Focus, Job, Progress};
use super::look::Look;
use super::rota::{Rota, Timetable};
use super::shared::Shared;
use super::user::UserCapture;
use super::watch::Watch;
use crate::config::PublicOwners;
use crate::op::{Lsn, Payload, UserName};
use crate::store::source::{Captured, Command, Finding, Outlet, OutletError, Reply, SourceStatus};
use crate::store::table::CaptureTable;
use pace::Pace;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest sleep: how late a new user list is noticed.
const IDLE: Duration = Duration::from_millis(500);
/// Between two looks whether standbys have fetched what was offered.
const OFFER_PAUSE: Duration = Duration::from_millis(2);
/// Between two looks whether a peer takes more of its base.
const JOB_PAUSE: Duration = Duration::from_millis(20);

/// What a capture needs to start.
pub struct Setup {
    /// How to ask the server.
    pub doveadm: Doveadm,
    /// Whose the public namespaces are.
    pub public: PublicOwners,
    /// Which users belong to the group.
    pub wanted: Box<dyn Fn(&UserName) -> bool + Send>,
    /// Another number once `wanted` may say something else than before.
    pub changes: Box<dyn Fn() -> u64 + Send>,
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
        let bell = commands.clone();
        // A capture that has ended hears of no users any more.
        let bell = move || drop(bell.send(Command::CatchUp(Box::new(drop))));
        let directory =
            UserDirectory::start(setup.doveadm.clone(), setup.public.clone(), bell).map_err(SourceError::Thread)?;
        let watch = Watch::start(commands.clone());
        let mut engine = Engine::new(setup, identities, Arc::clone(&bodies), directory, watch);
        let group = tracing::Span::current();
        let thread = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || group.in_scope(|| engine.run(&received)))
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
    changes: Box<dyn Fn() -> u64 + Send>,
    /// Users of the server who are not wanted, and after which change that was looked at.
    others: (Users, u64),
    table: CaptureTable,
    outlet: Box<dyn Outlet>,
    status: Arc<Mutex<SourceStatus>>,
    identities: Arc<Identities>,
    bodies: Arc<DovecotBodies>,
    directory: UserDirectory,
    watch: Watch,
    /// Boxed: a B-tree keeps room for twice as many as it holds.
    users: BTreeMap<UserName, Box<UserCapture>>,
    refused: BTreeMap<UserName, String>,
    /// What is to be looked at now.
    dirty: BTreeMap<UserName, Look>,
    pace: Pace,
    /// Who is to be read then, whatever wakes.
    due: Timetable,
    /// Goes round everybody, and round those who are not watched as a whole.
    rotas: (Rota, Rota),
    /// When each user was read last, and how many of his logs are open.
    open: BTreeMap<UserName, (Instant, usize)>,
    open_logs: usize,
    /// Users who have mailboxes to be introduced.
    introducing: BTreeSet<UserName>,
    /// Users who were not read yet, or whose mailboxes were not all listed.
    unlisted: BTreeSet<UserName>,
    /// Damage that lasts.
    held: BTreeMap<UserName, Vec<Finding>>,
    sweeps: Vec<Sweep>,
    /// Those that wait until it is known who the users are now, by the number of the question.
    asked: Vec<(u64, Reply<Lsn>)>,
    /// Whose mail is not where it was, and the number of the question where it is now.
    lost: BTreeMap<UserName, u64>,
    /// Number of the last question that was answered.
    answered: u64,
    jobs: VecDeque<Job>,
    notices: u64,
    last: Lsn,
    users_known: bool,
    /// How many users were last said to be scanned.
    said_scanned: Option<usize>,
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
        let now = Instant::now();
        Self {
            wanted: setup.wanted,
            others: (Users::new(), (setup.changes)()),
            changes: setup.changes,
            table: setup.table,
            outlet: setup.outlet,
            status: setup.status,
            identities,
            bodies,
            directory,
            watch,
            users: BTreeMap::new(),
            refused: BTreeMap::new(),
            dirty: BTreeMap::new(),
            pace: Pace::default(),
            due: Timetable::default(),
            rotas: (Rota::new(now), Rota::new(now)),
            open: BTreeMap::new(),
            open_logs: 0,
            introducing: BTreeSet::new(),
            unlisted: BTreeSet::new(),
            held: BTreeMap::new(),
            sweeps: Vec::new(),
            asked: Vec::new(),
            lost: BTreeMap::new(),
            answered: 0,
            jobs: VecDeque::new(),
            notices: 0,
            last: Lsn::default(),
            users_known: false,
            said_scanned: None,
            early: Vec::new(),
        }
    }

    fn run(&mut self, received: &Receiver<Command>) -> Result<(), SourceError> {
        self.last = self.outlet.emit(Vec::new(), &mut self.table)?;
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
            if self.pace.take(Instant::now()) {
                self.hear();
                self.watch.answer_bell();
            }
            self.tick();
            self.read_dirty()?;
            self.step()?;
            self.tell_whole()?;
            self.tell_status();
        }
    }

    /// How long nothing needs to be done.
    fn patience(&mut self) -> Duration {
        if !self.dirty.is_empty() {
            return Duration::ZERO;
        }
        if self.introducing.is_empty() && !self.jobs.is_empty() {
            return if self.next_job().is_some() {
                Duration::ZERO
            } else {
                JOB_PAUSE
            };
        }
        if !self.introducing.is_empty() {
            let user = self.introducing.first().and_then(|user| self.users.get(user));
            return if user.is_some_and(|user| user.is_listing()) || self.is_offering_enough() {
                OFFER_PAUSE
            } else {
                Duration::ZERO
            };
        }
        let now = Instant::now();
        let soonest = self.due.next().into_iter().chain(self.pace.due(now)).min();
        soonest.map_or(IDLE, |at| at.saturating_duration_since(now)).min(IDLE)
    }

    /// False: stop.
    fn command(&mut self, command: Command) -> Result<bool, OutletError> {
        match command {
            Command::Sweep(_) | Command::Verify { .. } | Command::Base { .. } if !self.users_known => {
                self.early.push(command);
            }
            Command::Stop => return Ok(false),
            Command::Wake => self.pace.ring(),
            Command::CatchUp(reply) => {
                self.hear();
                self.read_dirty()?;
                reply(Ok(self.last));
            }
            Command::Sweep(reply) => {
                let question = self.ask_for_users();
                self.asked.push((question, reply));
            }
            Command::Verify {
                user,
                deep,
                mailbox,
                repair,
                request,
                reply,
            } => {
                let users = self
                    .users
                    .keys()
                    .filter(|name| user.as_ref().is_none_or(|user| user == *name));
                let job = Job::verify(users.cloned().collect(), deep, request, reply);
                self.jobs.push_back(if repair { job.repairing(mailbox) } else { job });
            }
            Command::NewStream { reason, reply } => {
                let begun = self.outlet.begin_stream(&reason, &mut self.table);
                if begun.is_ok() {
                    self.jobs.retain(|job| job.peer().is_none());
                }
                reply(begun.map_err(|e| e.to_string()));
            }
            Command::Merged(merged, reply) => {
                let settled = Captured {
                    payloads: vec![Payload::Merged(*merged)],
                    peer: None,
                };
                self.last = self.outlet.emit(vec![settled], &mut self.table)?;
                reply(Ok(self.last));
            }
            Command::Base { peer, reason } => {
                // What was made of an earlier one is of no use to who asks again.
                self.jobs.retain(|job| job.peer() != Some(&peer));
                self.jobs.push_back(Job::base(peer, reason));
            }
        }
        Ok(true)
    }

    /// Takes in what the kernel has told so far.
    fn hear(&mut self) {
        self.watch.drain();
        let woken = self.watch.take();
        if woken.lost {
            self.all_dirty();
        }
        for (user, look) in woken.users {
            self.look_at(&user, look);
        }
    }

    fn look_at(&mut self, user: &UserName, look: Look) {
        match self.dirty.get_mut(user) {
            Some(known) => known.also(look),
            None => drop(self.dirty.insert(user.clone(), look)),
        }
    }

    fn all_dirty(&mut self) {
        let everybody = self.users.keys().map(|user| (user.clone(), Look::everything()));
        self.dirty = everybody.collect();
    }

    fn read_dirty(&mut self) -> Result<(), OutletError> {
        let before = self.last;
        // one flush for what a look found
        self.outlet.gather();
        for (user, look) in std::mem::take(&mut self.dirty) {
            self.turn(&user, look)?;
        }
        self.outlet.flush()?;
        if self.last != before {
            self.pace.found(Instant::now());
        }
        Ok(())
    }

    fn turn(&mut self, user: &UserName, look: Look) -> Result<(), OutletError> {
        self.outlet.beat();
        let Some(capture) = self.users.get_mut(user) else {
            return Ok(());
        };
        let mut shared = Shared {
            table: &mut self.table,
            outlet: &mut *self.outlet,
            watch: &mut self.watch,
            identities: &self.identities,
            bodies: &self.bodies,
            notices: &mut self.notices,
            last: &mut self.last,
        };
        let end = capture.turn(look, &mut shared)?;
        let is_lost = capture.is_lost();
        self.note_lost(user, is_lost);
        if let Some(again) = end.again {
            self.due.put(user, Instant::now() + again);
        }
        self.after_work_on(user);
        Ok(())
    }

    /// One step of what takes long: an introduction, else a job.
    fn step(&mut self) -> Result<(), OutletError> {
        if let Some(user) = self.introducing.first().cloned() {
            // Everybody's changes go on while standbys fetch what was offered.
            if self.is_offering_enough() {
                return Ok(());
            }
            return self.introduce(&user);
        }
        let Some(mut job) = self.next_job().and_then(|at| self.jobs.remove(at)) else {
            return Ok(());
        };
        // What was read is out before it is compared.
        match job.focus() {
            Some(Focus::Tree(user)) => self.turn(&user, Look::everything())?,
            Some(Focus::Mailbox(id)) => self.turn(&id.user, Look::log(id.guid))?,
            None => {}
        }
        let mut shared = Shared {
            table: &mut self.table,
            outlet: &mut *self.outlet,
            watch: &mut self.watch,
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

    /// True while standbys have enough to fetch, or must have fetched all before the next list.
    fn is_offering_enough(&mut self) -> bool {
        let introducing = self.introducing.first().and_then(|user| self.users.get(user));
        match introducing.is_some_and(|user| user.waits_for_offers()) {
            true => self.outlet.is_offer_open(),
            false => self.outlet.is_offer_full(),
        }
    }

    fn introduce(&mut self, user: &UserName) -> Result<(), OutletError> {
        let Some(capture) = self.users.get_mut(user) else {
            self.introducing.remove(user);
            return Ok(());
        };
        let mut shared = Shared {
            table: &mut self.table,
            outlet: &mut *self.outlet,
            watch: &mut self.watch,
            identities: &self.identities,
            bodies: &self.bodies,
            notices: &mut self.notices,
            last: &mut self.last,
        };
        capture.introduce(&mut shared)?;
        if !capture.is_introducing() {
            // What waited for the new mailboxes may go now.
            self.look_at(user, Look::everything());
        }
        self.after_work_on(user);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
