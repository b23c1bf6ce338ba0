//! Frames that one standby lends another: before a promotion the node that is promoted takes what a more advanced one has. Over
//! one connection the lender ships, with the machine that ships to standbys, up to what is durable on it.

use super::body_reads::{BodyReads, Read};
use super::connection::Connection;
use super::group::{GroupHandle, Side};
use super::losing;
use super::role_desk::refuse;
use super::standby::StandbyShared;
use super::steward::Means;
use crate::codec::wire::{Message, Place};
use crate::control::tail::{TailAnswer, TailQuestion};
use crate::control::verbs::VerbError;
use crate::io::clock::Clock;
use crate::io::tls::Trust;
use crate::limits::{BORROW_SECONDS_MAX, ROLES_MS_MAX};
use crate::op::{Lsn, NodeName};
use crate::session::ship::{Ship, ShipInput, ShipRequest, ShipStart, Standing};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Answers of disks that wait to be fed.
const COMPLETIONS_MAX: usize = 256;

/// Ships what this standby has to a peer that is about to be promoted.
pub(super) async fn lend(connection: Connection, peer: &NodeName, id: u64, group: &GroupHandle) -> Result<(), String> {
    let Side::Standby(shared, _) = group.side() else {
        return refuse(connection, format!("this node is {}, no standby", group.role())).await;
    };
    let standing = match standing(group, &shared).await {
        Ok(standing) => standing,
        Err(why) => return refuse(connection, why).await,
    };
    let answer = TailAnswer::Lent(standing.head.lsn);
    let json = serde_json::to_string(&answer).map_err(|e| e.to_string())?;
    connection.outgoing.say(Message::Answer { id, json });
    tracing::info!(%peer, lsn = %standing.head.lsn, "lends its frames to a node that is promoted");
    let mut lender = Lender::new(group, peer, &shared);
    let limit = Duration::from_secs(BORROW_SECONDS_MAX);
    match tokio::time::timeout(limit, lender.run(connection, standing)).await {
        Ok(ended) => ended,
        Err(_) => Err(format!("{peer} did not take the frames in time")),
    }
}

/// What is durable here with every body.
async fn standing(group: &GroupHandle, shared: &Arc<StandbyShared>) -> Result<Standing, String> {
    let (view, lsn) = (shared.journal.clone(), losing::durable(shared));
    let head = view.head().ok_or("nothing was ever received here")?;
    let oldest = super::files::oldest(&view);
    let looked_up = tokio::task::spawn_blocking(move || view.chain_at(lsn));
    let chain = looked_up.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    Ok(Standing {
        stream: head.stream,
        epoch: group.standing().epoch().number,
        head: Place {
            lsn,
            chain: chain.ok_or("the last durable frame is not in the journal")?,
        },
        oldest,
        rebuilt: false,
    })
}

struct Lender {
    machine: Ship,
    shared: Arc<StandbyShared>,
    reads: BodyReads,
    clock: Clock,
    completed: mpsc::Sender<ShipInput>,
    completions: mpsc::Receiver<ShipInput>,
    /// Set where it can't go on.
    over: Option<String>,
    /// The last LSN that is lent.
    upto: Lsn,
    /// True once the other side has applied that.
    done: bool,
}

impl Lender {
    fn new(group: &GroupHandle, peer: &NodeName, shared: &Arc<StandbyShared>) -> Self {
        let (completed, completions) = mpsc::channel(COMPLETIONS_MAX);
        let start = ShipStart {
            group: group.config.name.clone(),
            node: group.standing().node().clone(),
            peer: peer.clone(),
            bulk_bytes_per_second: None,
        };
        Self {
            machine: Ship::new(start),
            shared: Arc::clone(shared),
            reads: BodyReads::new(Arc::clone(&shared.lent_bodies), completed.clone()),
            clock: Clock::start(),
            completed,
            completions,
            over: None,
            upto: Lsn(0),
            done: false,
        }
    }

    /// Until the other side leaves.
    async fn run(&mut self, mut connection: Connection, standing: Standing) -> Result<(), String> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        self.upto = standing.head.lsn;
        let mut input = Some(ShipInput::Connected(standing));
        while !self.done {
            if let Some(input) = input.take() {
                self.feed(input)?;
            }
            let blocked = self.pump(&connection);
            if let Some(why) = self.over.take() {
                return refuse(connection, why).await;
            }
            input = tokio::select! {
                heard = connection.incoming.recv() => match heard {
                    Some(Ok(message)) => Some(ShipInput::Received(message)),
                    // it has what it wanted
                    Some(Err(_)) | None => return Ok(()),
                },
                Some(read) = self.completions.recv() => Some(read),
                _ = ticks.tick() => Some(ShipInput::Tick),
                () = connection.outgoing.room(), if blocked => None,
            };
        }
        connection.close().await;
        Ok(())
    }

    fn feed(&mut self, input: ShipInput) -> Result<(), String> {
        let fed = self.machine.handle(self.clock.now_ms(), input);
        self.obey();
        fed.map_err(|error| error.to_string())
    }

    fn obey(&mut self) {
        while let Some(request) = self.machine.request() {
            self.request(request);
        }
        self.reads.start();
    }

    /// True where some may be left to be said.
    fn pump(&mut self, connection: &Connection) -> bool {
        while connection.outgoing.has_room() {
            let Some(message) = self.machine.message() else {
                return false;
            };
            connection.outgoing.say(message);
            self.obey();
        }
        true
    }

    fn request(&mut self, request: ShipRequest) {
        match request {
            ShipRequest::ChainAt { lsn } => {
                let view = self.shared.journal.clone();
                self.on_disk(move || ShipInput::ChainAt {
                    lsn,
                    chain: view.chain_at(lsn).ok().flatten(),
                });
            }
            ShipRequest::ReadFrames {
                request,
                from,
                bytes_max,
            } => {
                let view = self.shared.journal.clone();
                self.on_disk(move || match view.reader(from).read_batch(bytes_max) {
                    Ok(frames) if !frames.is_empty() => ShipInput::Frames { request, frames },
                    _ => ShipInput::FramesGone { request },
                });
            }
            ShipRequest::ReadBody {
                request,
                name,
                other_places,
            } => self.reads.push(Read {
                request,
                name,
                other_places,
            }),
            // a copy attests nothing
            ShipRequest::Gone { request, .. } => {
                let gone = Vec::new();
                self.on_disk(move || ShipInput::Gone { request, gone });
            }
            ShipRequest::Position(position) => self.done |= position.applied >= self.upto,
            ShipRequest::Base { reason } => {
                self.over = Some(format!("{reason}: only a primary can make a base"));
            }
            _ => {}
        }
    }

    fn on_disk(&self, read: impl FnOnce() -> ShipInput + Send + 'static) {
        let completed = self.completed.clone();
        tokio::task::spawn_blocking(move || {
            if completed.blocking_send(read()).is_err() {
                tracing::trace!("whoever borrowed has left");
            }
        });
    }
}

/// Takes from a more advanced standby what it has beyond this one, and waits until it is applied. Returns the last LSN.
pub(super) async fn borrow(means: &Means, peer: &NodeName) -> Result<Lsn, VerbError> {
    let failed = |why: String| {
        VerbError::refused(format!(
            "{peer} has more of the stream, and could not lend it: {why}; promote it instead"
        ))
    };
    let Side::Standby(shared, incoming) = means.group.side() else {
        return Err(failed("this node is no standby".to_owned()));
    };
    let limit = Duration::from_secs(BORROW_SECONDS_MAX);
    let taking = async {
        let (lsn, caller) = call(means, peer).await?;
        let mut progress = shared.progress.subscribe();
        incoming
            .send(caller)
            .await
            .map_err(|_| "this copy has ended".to_owned())?;
        let there = progress.wait_for(|progress| progress.applied.lsn >= lsn);
        there.await.map_err(|_| "this copy has ended".to_owned())?;
        // the lender leaves by itself; until then it would be taken for a primary
        while losing::is_connected(&shared) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok::<_, String>(lsn)
    };
    match tokio::time::timeout(limit, taking).await {
        Ok(taken) => taken.map_err(failed),
        Err(_) => Err(failed(format!("it took more than {BORROW_SECONDS_MAX} s"))),
    }
}

/// Dials, asks, and hands over the connection at the lender's hello.
async fn call(means: &Means, peer: &NodeName) -> Result<(Lsn, super::receiver::Incoming), String> {
    let address = means.group.config.peers.get(peer).ok_or("it is no peer")?;
    let (stream, _) = means.tls.connect(address, peer).await.map_err(|e| e.to_string())?;
    let trust = Trust::of(&means.tls, stream.get_ref().1);
    let mut connection = Connection::over(stream, super::squeeze::Manner::PLAIN, trust);
    let question = TailQuestion::Lend {
        group: means.group.config.name.clone(),
    };
    let json = serde_json::to_string(&question).map_err(|e| e.to_string())?;
    connection.outgoing.say(Message::Ask { id: 1, json });
    let limit = Duration::from_millis(ROLES_MS_MAX.saturating_mul(10));
    let lsn = match hear(&mut connection, limit).await? {
        Message::Answer { json, .. } => match serde_json::from_str(&json).map_err(|e| e.to_string())? {
            TailAnswer::Lent(lsn) => lsn,
            other => return Err(format!("it answers {other:?}")),
        },
        Message::Refused { why } => return Err(why),
        other => return Err(format!("it answers with a {} message", other.kind())),
    };
    let hello = hear(&mut connection, limit).await?;
    let (peer, hello) = (peer.clone(), hello);
    Ok((
        lsn,
        super::receiver::Incoming {
            peer,
            connection,
            hello,
        },
    ))
}

async fn hear(connection: &mut Connection, limit: Duration) -> Result<Message, String> {
    match tokio::time::timeout(limit, connection.incoming.recv()).await {
        Ok(Some(heard)) => heard,
        Ok(None) => Err("the connection ended".to_owned()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
