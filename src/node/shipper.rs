//! Drives one peer's [`Ship`]: dials, feeds the machine what happens, does what it asks for.

use super::body_reads::{BodyReads, Read};
use super::connection::Connection;
use super::counted::With;
use super::peer::{Offer, Peer};
use super::primary::{Announcement, PrimaryShared};
use super::squeeze::Manner;
use crate::codec::wire::{Message, Place};
use crate::config::{BytesPerSecond, Compress, HostPort};
use crate::io::tls::{PeerTls, Trust};
use crate::journal::Head;
use crate::op::{Lsn, NodeName, StreamId};
use crate::session::ship::{Ship, ShipInput, ShipRequest, ShipStart, Standing};
use crate::session::{Class, SessionError};
use crate::store::source::Command;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// First pause before dialling again; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause: a peer that comes back is found within it.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Pause after a divergence or a halt: only an operator changes that.
const PAUSE_STUCK: Duration = Duration::from_secs(30);
/// Answers of disks that wait to be fed; the machine bounds how many it asks for.
const COMPLETIONS_MAX: usize = 256;

/// What a shipper works with.
pub(super) struct Shipper {
    pub(super) shared: Arc<PrimaryShared>,
    pub(super) peer: Arc<Peer>,
    pub(super) address: HostPort,
    pub(super) tls: Arc<PeerTls>,
    pub(super) offers: mpsc::Receiver<Offer>,
    pub(super) compress: Compress,
    pub(super) bytes_per_second: Option<BytesPerSecond>,
}

/// Runs until the task is aborted.
pub(super) async fn run(mut shipper: Shipper, group: String, node: NodeName) {
    let machine = Ship::new(ShipStart {
        group,
        node,
        peer: shipper.peer.name.clone(),
        bulk_bytes_per_second: shipper.bytes_per_second.map(|rate| rate.0),
    });
    let (completed, completions) = mpsc::channel(COMPLETIONS_MAX);
    let mut drive = Drive {
        machine,
        stream: StreamId::default(),
        shared: Arc::clone(&shipper.shared),
        peer: Arc::clone(&shipper.peer),
        reads: BodyReads::new(Arc::clone(&shipper.shared.bodies), completed.clone()),
        completed,
        completions,
        tickets: BTreeMap::new(),
        ticket: 0,
    };
    let mut pause = PAUSE_MIN;
    loop {
        let ended = dial_and_ship(&mut shipper, &mut drive).await;
        shipper.peer.standing.send_modify(|s| s.connected = false);
        pause = match ended {
            Ended::Unreachable(why) => {
                note(&shipper.peer, &why);
                (pause * 2).min(PAUSE_MAX)
            }
            Ended::Closed(why) => {
                note(&shipper.peer, &why);
                PAUSE_MIN
            }
            Ended::Session(error) => after_session(&shipper.peer, &error),
        };
        refuse_offers(&mut shipper.offers);
        drive.rest(pause).await;
    }
}

enum Ended {
    Unreachable(String),
    Closed(String),
    Session(SessionError),
}

fn note(peer: &Peer, why: &str) {
    if peer.set_problem(Some(why.to_owned())) {
        tracing::warn!(peer = %peer.name, why, "standby not connected");
    }
}

fn after_session(peer: &Peer, error: &SessionError) -> Duration {
    let hint = error.hint().map_or(String::new(), |hint| format!("; {hint}"));
    note(peer, &format!("{error}{hint}"));
    match error.class() {
        Class::Retry => PAUSE_MIN,
        Class::Fence | Class::Diverged | Class::Halt => PAUSE_STUCK,
    }
}

fn refuse_offers(offers: &mut mpsc::Receiver<Offer>) {
    while let Ok(offer) = offers.try_recv() {
        settle(offer.done, false);
    }
}

fn settle(done: oneshot::Sender<bool>, outcome: bool) {
    if done.send(outcome).is_err() {
        tracing::trace!("nobody waits for this offer any more");
    }
}

async fn dial_and_ship(shipper: &mut Shipper, drive: &mut Drive) -> Ended {
    let (stream, round_trip) = match shipper.tls.connect(&shipper.address, &shipper.peer.name).await {
        Ok(connected) => connected,
        Err(error) => return Ended::Unreachable(error.to_string()),
    };
    let trust = Trust::of(&shipper.tls, stream.get_ref().1);
    let manner = Manner {
        compress: shipper.compress,
        round_trip: Some(round_trip),
    };
    let mut connection = Connection::over(stream, manner, trust);
    let ended = drive.session(&mut connection, &mut shipper.offers).await;
    drive.lost();
    drive.flush(&connection).await;
    connection.close().await;
    ended
}

/// What happens on this node that a session must hear of.
struct Feeds {
    committed: watch::Receiver<Head>,
    announcements: broadcast::Receiver<Announcement>,
    ticks: tokio::time::Interval,
}

struct Drive {
    machine: Ship,
    /// That this connection ships.
    stream: StreamId,
    shared: Arc<PrimaryShared>,
    peer: Arc<Peer>,
    reads: BodyReads,
    completed: mpsc::Sender<ShipInput>,
    completions: mpsc::Receiver<ShipInput>,
    tickets: BTreeMap<u64, oneshot::Sender<bool>>,
    ticket: u64,
}

impl Drive {
    async fn session(&mut self, connection: &mut Connection, offers: &mut mpsc::Receiver<Offer>) -> Ended {
        let mut feeds = Feeds {
            committed: self.shared.committed.subscribe(),
            announcements: self.shared.announcements.subscribe(),
            ticks: tokio::time::interval(Duration::from_secs(1)),
        };
        let standing = self.standing(&mut feeds.committed);
        self.stream = standing.stream;
        let mut input = ShipInput::Connected(standing);
        loop {
            if let Err(error) = self.feed(input) {
                return Ended::Session(error);
            }
            input = loop {
                let blocked = self.pump(connection);
                match self.next_input(connection, offers, &mut feeds, blocked).await {
                    Some(Ok(next)) => break next,
                    Some(Err(closed)) => return Ended::Closed(closed),
                    None => {}
                }
            };
        }
    }

    fn standing(&self, committed: &mut watch::Receiver<Head>) -> Standing {
        let head = *committed.borrow_and_update();
        Standing {
            stream: head.stream,
            epoch: head.epoch,
            head: place(&head),
            oldest: super::files::oldest(&self.shared.view),
            rebuilt: self.shared.replaced.by(head.stream, &self.peer.name),
        }
    }

    /// Feeds the machine and does everything that it asks for.
    fn feed(&mut self, input: ShipInput) -> Result<(), SessionError> {
        let fed = self.machine.handle(self.shared.clock.now_ms(), input);
        self.do_what_is_asked();
        fed
    }

    fn do_what_is_asked(&mut self) {
        while let Some(request) = self.machine.request() {
            self.request(request);
        }
        self.reads.start();
    }

    /// Hands messages to the writer while it has room; true where some may be left.
    fn pump(&mut self, connection: &Connection) -> bool {
        while connection.outgoing.has_room() {
            let Some(message) = self.machine.message() else {
                return false;
            };
            self.note_shipped(&message);
            connection.outgoing.say(message);
            // What went makes room for more to be read.
            self.do_what_is_asked();
        }
        true
    }

    fn note_shipped(&self, message: &Message) {
        match message {
            Message::Frames(frames) => {
                self.shared
                    .counted
                    .with(&self.peer.name, With::FramesSent, frames.len());
                if let Some((header, _)) = frames.last().and_then(|f| crate::codec::frame::peek(f).ok()) {
                    self.peer.standing.send_modify(|s| s.shipped = Some(header.lsn));
                }
            }
            Message::BodyPart(part) if part.hash.is_some() => {
                self.shared.counted.with(&self.peer.name, With::BodiesSent, 1);
            }
            _ => {}
        }
    }

    async fn next_input(
        &mut self,
        connection: &mut Connection,
        offers: &mut mpsc::Receiver<Offer>,
        feeds: &mut Feeds,
        blocked: bool,
    ) -> Option<Result<ShipInput, String>> {
        let wake = self.wake();
        tokio::select! {
            message = connection.incoming.recv() => Some(heard(message)),
            Some(input) = self.completions.recv() => Some(Ok(input)),
            Ok(()) = feeds.committed.changed() => {
                Some(self.grown(&feeds.committed.borrow_and_update()))
            }
            announcement = feeds.announcements.recv() => announcement.ok().map(|a| Ok(announce(a))),
            Some(offer) = offers.recv() => Some(Ok(self.offer(offer))),
            _ = feeds.ticks.tick() => Some(Ok(ShipInput::Tick)),
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => Some(Ok(ShipInput::Tick)),
            () = connection.outgoing.room(), if blocked => None,
        }
    }

    /// Waits before it dials again; a new stream is a reason not to.
    async fn rest(&self, pause: Duration) {
        let mut committed = self.shared.committed.subscribe();
        let begun = committed.wait_for(|head| head.stream != self.stream && self.stream != StreamId::default());
        tokio::select! {
            begun = tokio::time::timeout(pause, begun) => if let Ok(Ok(_)) = begun {
                tracing::debug!(peer = %self.peer.name, "a new stream begins: dialling at once");
            },
            // its history differed, and does no longer
            () = self.peer.recalled.notified() => {}
        }
    }

    /// The journal has more, or another stream: that begins with another hello.
    fn grown(&self, head: &Head) -> Result<ShipInput, String> {
        if head.stream != self.stream {
            return Err("a new stream begins".to_owned());
        }
        Ok(ShipInput::Committed(place(head)))
    }

    /// How long nothing more may be said by itself.
    fn wake(&self) -> Option<Duration> {
        let at_ms = self.machine.wake_ms()?;
        let now_ms = self.shared.clock.now_ms();
        Some(Duration::from_millis(at_ms.saturating_sub(now_ms).max(1)))
    }

    fn offer(&mut self, offer: Offer) -> ShipInput {
        self.ticket += 1;
        self.tickets.insert(self.ticket, offer.done);
        ShipInput::Offer {
            ticket: self.ticket,
            mailbox: offer.mailbox,
            uidvalidity: offer.uidvalidity,
            messages: offer.messages,
        }
    }

    fn lost(&mut self) {
        self.reads.clear();
        if let Err(error) = self.feed(ShipInput::Lost) {
            tracing::debug!(%error, "a lost session ended");
        }
        for (_, done) in std::mem::take(&mut self.tickets) {
            settle(done, false);
        }
    }

    /// Last words of a machine whose session is over.
    async fn flush(&mut self, connection: &Connection) {
        while let Some(message) = self.machine.message() {
            if tokio::time::timeout(PAUSE_MIN, connection.outgoing.room())
                .await
                .is_err()
            {
                return;
            }
            connection.outgoing.say(message);
        }
    }

    fn request(&mut self, request: ShipRequest) {
        match request {
            ShipRequest::ChainAt { lsn } => self.look_up_chain(lsn),
            ShipRequest::ReadFrames {
                request,
                from,
                bytes_max,
            } => self.read_frames(request, from, bytes_max),
            ShipRequest::ReadBody {
                request,
                name,
                other_places,
            } => self.reads.push(Read {
                request,
                name,
                other_places,
            }),
            ShipRequest::Gone { request, question } => {
                let bodies = Arc::clone(&self.shared.bodies);
                self.on_disk(move || {
                    let gone = bodies.gone(&question.mailbox, question.uidvalidity, &question.messages);
                    ShipInput::Gone { request, gone }
                });
            }
            ShipRequest::Base { reason } => self.ask_for_base(reason),
            ShipRequest::Up(welcome) => {
                self.peer.set_problem(None);
                self.peer.standing.send_modify(|s| s.connected = true);
                self.shared.counted.with(&self.peer.name, With::SessionOpened, 1);
                tracing::info!(peer = %self.peer.name, durable = %welcome.durable, applied = %welcome.applied, "standby connected");
            }
            ShipRequest::Position(position) => {
                self.shared.replaced.joined(self.stream, &self.peer.name);
                self.peer.standing.send_modify(|s| s.position = Some(position));
            }
            ShipRequest::OfferDone { ticket, done } => {
                if let Some(waiting) = self.tickets.remove(&ticket) {
                    settle(waiting, done);
                }
            }
            ShipRequest::Verdict(verdict) => self.peer.judged(verdict),
            ShipRequest::Asked { request, json } => {
                let (shared, peer) = (Arc::clone(&self.shared), self.peer.name.clone());
                let completed = self.completed.clone();
                tokio::spawn(async move {
                    let json = super::relay::answer(shared, peer, json).await;
                    if completed.send(ShipInput::Answer { request, json }).await.is_err() {
                        tracing::trace!("the session that asked is over");
                    }
                });
            }
            ShipRequest::Answered { .. } | ShipRequest::Unanswered { .. } => {
                tracing::debug!("an answer that nobody waits for")
            }
        }
    }

    fn ask_for_base(&self, reason: String) {
        tracing::warn!(peer = %self.peer.name, %reason, "the standby is built anew");
        let base = Command::Base {
            peer: self.peer.name.clone(),
            reason,
        };
        if self.shared.source.send(base).is_err() {
            tracing::warn!("capture has ended: no base can be made");
        }
    }

    fn look_up_chain(&self, lsn: Lsn) {
        let view = self.shared.view.clone();
        self.on_disk(move || {
            let chain = view.chain_at(lsn).unwrap_or_else(|error| {
                tracing::error!(%error, %lsn, "look up a frame's chain hash");
                None
            });
            ShipInput::ChainAt { lsn, chain }
        });
    }

    fn read_frames(&self, request: u64, from: Lsn, bytes_max: usize) {
        let view = self.shared.view.clone();
        let remembered = view.remembered(from, bytes_max);
        if !remembered.is_empty() {
            let frames = ShipInput::Frames {
                request,
                frames: remembered,
            };
            match self.completed.try_send(frames) {
                Ok(()) => return,
                Err(_) => tracing::trace!("answers wait: this one comes from a thread"),
            }
        }
        self.on_disk(move || match view.reader(from).read_batch(bytes_max) {
            Ok(frames) if frames.is_empty() => ShipInput::FramesGone { request },
            Ok(frames) => ShipInput::Frames { request, frames },
            Err(error) => {
                tracing::error!(%error, %from, "read the journal");
                ShipInput::FramesGone { request }
            }
        });
    }

    /// Runs `read` on a blocking thread and feeds what it gives.
    fn on_disk(&self, read: impl FnOnce() -> ShipInput + Send + 'static) {
        let completed = self.completed.clone();
        tokio::task::spawn_blocking(move || {
            let input = read();
            if completed.blocking_send(input).is_err() {
                tracing::trace!("the session that asked is over");
            }
        });
    }
}

fn place(head: &Head) -> Place {
    Place {
        lsn: head.lsn,
        chain: head.chain,
    }
}

fn heard(message: Option<Result<Message, String>>) -> Result<ShipInput, String> {
    match message {
        Some(Ok(message)) => Ok(ShipInput::Received(message)),
        Some(Err(why)) => Err(why),
        None => Err("the connection was closed".to_owned()),
    }
}

fn announce(announcement: Announcement) -> ShipInput {
    match announcement {
        Announcement::Notice(notice) => ShipInput::Notice(*notice),
        Announcement::Heartbeat(heartbeat) => ShipInput::Heartbeat(heartbeat),
    }
}
