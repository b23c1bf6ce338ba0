//! Drives a standby's [`Receive`]: feeds the machine what the primary says and what disks answer, does what it asks.

use super::applier::{ApplyWork, counts_of};
use super::connection::Connection;
use super::counted::With;
use super::disk_desk::DiskWork;
use super::notices::NoticeFile;
use super::outbox::Outbox;
use super::relay::Question;
use super::standby::{Progress, StandbyShared};
use crate::codec::wire::Message;
use crate::io::clock::Clock;
use crate::limits::STALLED_SECONDS;
use crate::op::{Heartbeat, Lsn, NodeName};
use crate::session::announced::Announced;
use crate::session::receive::{Receive, ReceiveInput, ReceiveRequest};
use crate::session::{Class, SessionError};
use std::collections::BTreeMap;
use std::sync::mpsc::Sender as ThreadSender;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Answers of disks that wait to be fed.
pub(super) const INPUTS_MAX: usize = 256;

/// A primary that has connected, said who it is, and may.
pub(super) struct Incoming {
    pub(super) peer: NodeName,
    pub(super) connection: Connection,
    /// Its first message.
    pub(super) hello: Message,
}

/// What is known of the primary, for `status`.
#[derive(Clone, Debug, Default)]
pub(super) struct ReceiverState {
    /// Who is connected.
    pub(super) peer: Option<NodeName>,
    /// Last LSN that is durable with every body.
    pub(super) durable: Lsn,
    /// The newest heartbeat, and when it came (UNIX milliseconds).
    pub(super) heartbeat: Option<(Heartbeat, u64)>,
    /// Why the last session ended, where an operator should know.
    pub(super) problem: Option<String>,
    /// What a promotion would lose, as far as it is known.
    pub(super) would_lose: Option<crate::session::announced::WouldLose>,
}

/// What the task works with.
pub(super) struct Receiver {
    pub(super) shared: Arc<StandbyShared>,
    pub(super) disk: ThreadSender<DiskWork>,
    pub(super) applier: ThreadSender<ApplyWork>,
    pub(super) clock: Clock,
    pub(super) first: Progress,
    pub(super) fed: mpsc::Sender<ReceiveInput>,
    pub(super) notices: NoticeFile,
}

/// What the task listens to.
pub(super) struct Ears {
    /// Answers of disks and of the target.
    pub(super) inputs: mpsc::Receiver<ReceiveInput>,
    /// Primaries that have connected.
    pub(super) callers: mpsc::Receiver<Incoming>,
    /// An operator's questions for the primary.
    pub(super) asked: mpsc::Receiver<Question>,
    /// This node is about to be promoted: nobody is heard any more.
    pub(super) farewell: mpsc::Receiver<oneshot::Sender<Announced>>,
}

/// Runs until the task is aborted.
pub(super) async fn run(receiver: Receiver, machine: Receive, mut ears: Ears) {
    let counts = counts_of(&receiver.first.counts);
    let mut drive = Drive {
        machine,
        receiver,
        connection: None,
        questions: BTreeMap::new(),
        question: 0,
    };
    let applied = drive.receiver.first.applied;
    drive.feed(ReceiveInput::Applied {
        stream: applied.stream,
        lsn: drive.receiver.first.shown,
        counts,
    });
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        let blocked = drive.pump();
        let may_read = !drive.machine.is_full();
        let outgoing = drive.connection.as_ref().map(|c| Arc::clone(&c.connection.outgoing));
        let wake = drive.wake();
        tokio::select! {
            Some(incoming) = ears.callers.recv() => drive.take_over(incoming).await,
            message = hear(&mut drive.connection), if may_read => drive.heard(message).await,
            Some(input) = ears.inputs.recv() => drive.feed_or_end(input).await,
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => {
                drive.feed_or_end(ReceiveInput::Tick).await;
            }
            Some(question) = ears.asked.recv() => drive.ask(question).await,
            _ = ticks.tick() => drive.tick().await,
            () = room(outgoing), if blocked => {}
            Some(told) = ears.farewell.recv() => return drive.say_farewell(told).await,
        }
    }
}

/// The next message; never, while nobody is connected.
async fn hear(connection: &mut Option<Incoming>) -> Option<Result<Message, String>> {
    match connection {
        Some(incoming) => incoming.connection.incoming.recv().await,
        None => std::future::pending().await,
    }
}

/// Returns once the writer has room (or is gone).
async fn room(outgoing: Option<Arc<Outbox>>) {
    match outgoing {
        Some(outgoing) => outgoing.room().await,
        None => std::future::pending().await,
    }
}

struct Drive {
    machine: Receive,
    receiver: Receiver,
    connection: Option<Incoming>,
    questions: BTreeMap<u64, oneshot::Sender<Option<String>>>,
    question: u64,
}

impl Drive {
    async fn ask(&mut self, question: Question) {
        self.question += 1;
        self.questions.insert(self.question, question.answer);
        let (id, json) = (self.question, question.json);
        self.feed_or_end(ReceiveInput::Ask { id, json }).await;
    }

    /// How long nothing more needs to be said by itself.
    fn wake(&self) -> Option<Duration> {
        let at_ms = self.machine.wake_ms()?;
        let now_ms = self.receiver.clock.now_ms();
        Some(Duration::from_millis(at_ms.saturating_sub(now_ms).max(1)))
    }

    fn answered(&mut self, id: u64, json: Option<String>) {
        let waiting = self.questions.remove(&id);
        if waiting.is_some_and(|waiting| waiting.send(json).is_err()) {
            tracing::trace!("whoever asked the primary is gone");
        }
    }

    fn count(&self, what: With, count: usize) {
        if let Some(incoming) = &self.connection {
            self.receiver.shared.counted.with(&incoming.peer, what, count);
        }
    }

    /// A new connection replaces the one before: a primary that dials again has lost it.
    async fn take_over(&mut self, incoming: Incoming) {
        self.end(None).await;
        let hello = incoming.hello.clone();
        self.note(|state| {
            state.peer = Some(incoming.peer.clone());
            state.problem = None;
        });
        self.connection = Some(incoming);
        self.feed_or_end(ReceiveInput::Connected).await;
        self.feed_or_end(ReceiveInput::Received(hello)).await;
    }

    async fn heard(&mut self, message: Option<Result<Message, String>>) {
        match message {
            Some(Ok(message)) => {
                self.note_heartbeat(&message);
                self.feed_or_end(ReceiveInput::Received(message)).await;
            }
            Some(Err(why)) => self.closed(&why).await,
            None => self.closed("the connection was closed").await,
        }
    }

    async fn closed(&mut self, why: &str) {
        if let Some(incoming) = &self.connection {
            tracing::info!(peer = %incoming.peer, why, "the primary's connection ended");
        }
        self.note(|state| state.problem = Some(why.to_owned()));
        self.end(None).await;
    }

    fn note_heartbeat(&self, message: &Message) {
        if let Message::Heartbeat(heartbeat) = message {
            let now = self.receiver.clock.unix_ms();
            self.note(|state| state.heartbeat = Some((*heartbeat, now)));
        }
    }

    async fn tick(&mut self) {
        self.beat();
        let would_lose = self.machine.announced().would_lose(self.receiver.clock.now_ms());
        self.note(|state| state.would_lose = Some(would_lose));
        let stream = self.receiver.shared.journal.head().map(|head| head.stream);
        let durable = self.machine.position().durable;
        self.receiver
            .notices
            .write_where_due(self.machine.announced(), stream.unwrap_or_default(), durable);
        self.feed_or_end(ReceiveInput::Tick).await;
    }

    /// Proves that this task is alive, and asks the applying thread for the same; a thread that does not answer is asked
    /// no further. One that has halted said so, and keeps what it has: no restart is wanted of it.
    fn beat(&self) {
        let pulses = &self.receiver.shared.pulses;
        pulses.receiving.beat();
        if self.receiver.shared.health.stopped().is_some() {
            pulses.applying.beat();
        } else if pulses.applying.age() < Duration::from_secs(STALLED_SECONDS) {
            self.apply(ApplyWork::Beat);
        }
    }

    async fn feed_or_end(&mut self, input: ReceiveInput) {
        if let Some(error) = self.feed(input) {
            self.end(Some(error)).await;
        }
    }

    /// Feeds the machine and does everything that it asks for.
    fn feed(&mut self, input: ReceiveInput) -> Option<SessionError> {
        let fed = self.machine.handle(self.receiver.clock.now_ms(), input);
        while let Some(request) = self.machine.request() {
            self.request(request);
        }
        fed.err()
    }

    async fn say_farewell(mut self, told: oneshot::Sender<Announced>) {
        self.end(None).await;
        if told.send(self.machine.announced().clone()).is_err() {
            tracing::debug!("whoever hung up is gone");
        }
    }

    /// Ends the session, if there is one.
    async fn end(&mut self, error: Option<SessionError>) {
        let Some(incoming) = self.connection.take() else {
            return;
        };
        if let Some(error) = error {
            self.say_why(&incoming.peer, &error);
        }
        while incoming.connection.outgoing.has_room()
            && let Some(message) = self.machine.message()
        {
            incoming.connection.outgoing.say(message);
        }
        if let Some(error) = self.feed(ReceiveInput::Lost) {
            tracing::debug!(%error, "a lost session ended");
        }
        self.note(|state| state.peer = None);
        incoming.connection.close().await;
    }

    fn say_why(&self, peer: &NodeName, error: &SessionError) {
        let hint = error.hint().map_or(String::new(), |hint| format!("; {hint}"));
        match error.class() {
            Class::Retry => tracing::info!(%peer, %error, "the primary's connection ended"),
            _ => tracing::error!(%peer, %error, hint, "the primary's connection was ended"),
        }
        self.note(|state| state.problem = Some(format!("{error}{hint}")));
    }

    /// Hands messages to the writer while it has room; true where some may be left.
    fn pump(&mut self) -> bool {
        let Some(incoming) = &self.connection else {
            return false;
        };
        while incoming.connection.outgoing.has_room() {
            let Some(message) = self.machine.message() else {
                return false;
            };
            incoming.connection.outgoing.say(message);
        }
        true
    }

    fn note(&self, change: impl FnOnce(&mut ReceiverState)) {
        change(
            &mut self
                .receiver
                .shared
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn request(&mut self, request: ReceiveRequest) {
        match request {
            ReceiveRequest::Journal(frames) => {
                self.count(With::FramesReceived, frames.len());
                self.disk(DiskWork::Append(frames));
            }
            ReceiveRequest::RollBack => self.disk(DiskWork::RollBack),
            ReceiveRequest::RestartJournal(base) => self.disk(DiskWork::Restart(Box::new(base))),
            ReceiveRequest::ReadOwn {
                request,
                from,
                bytes_max,
            } => self.read_own(request, from, bytes_max),
            ReceiveRequest::CheckBodies { request, names } => self.disk(DiskWork::Check { request, names }),
            ReceiveRequest::StoreBody { name, octets, hash } => {
                self.count(With::BodiesReceived, 1);
                self.disk(DiskWork::Body { name, octets, hash });
            }
            ReceiveRequest::StoreMissing { name, missing } => self.disk(DiskWork::Missing { name, missing }),
            ReceiveRequest::ListPending { most } => self.disk(DiskWork::ListPending { most }),
            ReceiveRequest::Durable(lsn) => {
                self.note(|state| state.durable = lsn);
                self.apply(ApplyWork::Durable(lsn));
            }
            ReceiveRequest::GoneAnswer { id, gone } => self.apply(ApplyWork::Gone { id, gone }),
            ReceiveRequest::Up(hello) => {
                self.count(With::SessionOpened, 1);
                let applied = self.receiver.shared.progress.borrow().applied.lsn;
                tracing::info!(peer = %hello.node, stream = %hello.stream, epoch = %hello.epoch, head = %hello.head.lsn, %applied, "primary connected");
            }
            ReceiveRequest::Asked { .. } => tracing::debug!("an operator's question of the primary is not known here"),
            ReceiveRequest::Answered { id, json } => self.answered(id, Some(json)),
            ReceiveRequest::Unanswered { id } => self.answered(id, None),
        }
    }

    fn read_own(&mut self, request: u64, from: Lsn, bytes_max: usize) {
        let (journal, fed) = (self.receiver.shared.journal.clone(), self.receiver.fed.clone());
        let health = Arc::clone(&self.receiver.shared.health);
        tokio::task::spawn_blocking(move || match journal.reader(from).read_batch(bytes_max) {
            Ok(frames) => {
                if fed.blocking_send(ReceiveInput::Own { request, frames }).is_err() {
                    tracing::trace!("the session that asked is over");
                }
            }
            Err(error) => health.stop(format!("reading the own journal: {error}; {}", error.hint())),
        });
    }

    fn disk(&self, work: DiskWork) {
        if self.receiver.disk.send(work).is_err() {
            tracing::debug!("the disk's thread has stopped");
        }
    }

    fn apply(&self, work: ApplyWork) {
        if self.receiver.applier.send(work).is_err() {
            tracing::debug!("applying has stopped");
        }
    }
}
