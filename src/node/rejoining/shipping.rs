//! Brings a tail to the new primary, piece by piece, over one connection: the piece, the bodies that it lacks, and the question
//! what became of it.

use super::super::connection::Connection;
use super::super::squeeze::Manner;
use super::super::steward::Means;
use super::finding::Tail;
use crate::codec::wire::{BodyPart, Message};
use crate::control::tail::{Forks, Merge, TailAnswer, TailQuestion};
use crate::control::verbs::VerbError;
use crate::io::clock::Stopwatch;
use crate::io::tls::Trust;
use crate::journal::Sealer;
use crate::limits::{BODY_IN_MEMORY_MAX, BODY_PART_BYTES, TAIL_ANSWER_SECONDS_MAX};
use crate::op::{BodyHash, BodyName, NodeName, StreamId};
use crate::role::Fork;
use crate::role::merge::{Item, Tally};
use crate::store::source::{Bodies, BodyAnswer};
use std::sync::Arc;
use std::time::Duration;

/// Attempts for one piece: each brings bodies that the one before lacked.
const ATTEMPTS_MAX: usize = 10_000;

/// Between two looks whether a connection that takes nothing is gone.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// A conversation with the new primary.
pub(super) struct Shipping {
    means: Means,
    primary: NodeName,
    connection: Connection,
    asked: u64,
    bodies_sent: u64,
}

impl Shipping {
    pub(super) async fn dial(means: &Means, primary: &NodeName) -> Result<Self, VerbError> {
        let address = means.group.config.peers.get(primary);
        let address = address.ok_or_else(|| VerbError::failed(format!("{primary} is no peer")))?;
        let connected = means.tls.connect(address, primary).await;
        let (stream, _) = connected.map_err(|e| VerbError::failed(format!("{primary}: {e}")))?;
        let trust = Trust::of(&means.tls, stream.get_ref().1);
        Ok(Self {
            means: means.clone(),
            primary: primary.clone(),
            connection: Connection::over(stream, Manner::PLAIN, trust),
            asked: 0,
            bodies_sent: 0,
        })
    }

    /// Where the primary's history may have left ours.
    pub(super) async fn forks(&mut self, stream: StreamId, head: Fork) -> Result<Forks, VerbError> {
        let question = TailQuestion::Forks {
            group: self.means.group.config.name.clone(),
            stream: stream.to_hex(),
            head,
        };
        match self.ask(&question).await? {
            TailAnswer::Forks(forks) => Ok(forks),
            other => Err(self.odd(&other)),
        }
    }

    /// Has all of it merged; done again after a cut it comes to the same end.
    pub(super) async fn ship(&mut self, tail: &Tail, tell: &impl Fn(String)) -> Result<Tally, VerbError> {
        let mut tally = Tally::default();
        let items = tail.net.items();
        for (number, item) in items.iter().enumerate() {
            let piece = self.piece(tail, item).await?;
            tally.add(&piece);
            if number % 100 == 99 {
                tell(format!("{} of {} pieces: {tally}", number + 1, items.len()));
            }
        }
        let recovered = super::recovered(&self.means, tail, &tally);
        match self.ask(&TailQuestion::Recovered(Box::new(recovered))).await? {
            TailAnswer::Done => {}
            other => return Err(self.odd(&other)),
        }
        tell(format!("merged: {tally}"));
        Ok(tally)
    }

    async fn piece(&mut self, tail: &Tail, item: &Item) -> Result<Tally, VerbError> {
        let group = self.means.group.config.name.clone();
        let mut merge = Merge::of(&group, &tail.stream.to_hex(), tail.epoch, item);
        // numbered for themselves: frames of no stream
        let mut sealer = Sealer::begin(StreamId::default(), tail.epoch);
        let sealed = sealer.seal(std::slice::from_ref(&item.payload), None, 0);
        for frame in sealed.map_err(|e| VerbError::failed(e.to_string()))? {
            self.say(Message::Frames(vec![frame.bytes])).await?;
        }
        for _ in 0..ATTEMPTS_MAX {
            match self.ask(&TailQuestion::Merge(merge.clone())).await? {
                TailAnswer::Merged(tally) => return Ok(tally),
                TailAnswer::Lacks(names) if !names.is_empty() => {
                    merge.missing = self.bring(&tail.bodies, names).await?;
                }
                other => return Err(self.odd(&other)),
            }
        }
        Err(VerbError::failed(format!("{} lacks bodies without end", self.primary)))
    }

    /// Sends these bodies; gives back the names of those that can't be had.
    async fn bring(&mut self, bodies: &Arc<dyn Bodies>, names: Vec<BodyName>) -> Result<Vec<BodyName>, VerbError> {
        let mut missing = Vec::new();
        for name in names {
            let (bodies, wanted) = (Arc::clone(bodies), name.clone());
            let read = tokio::task::spawn_blocking(move || {
                bodies.read(std::slice::from_ref(&wanted.place), &wanted.guid, wanted.size)
            });
            match read.await.map_err(|e| VerbError::failed(e.to_string()))? {
                BodyAnswer::Body(octets) if u64::try_from(octets.len()).is_ok_and(|n| n <= BODY_IN_MEMORY_MAX) => {
                    self.body(&name, &octets).await?;
                }
                BodyAnswer::Body(_) => missing.push(name),
                BodyAnswer::Missing(why) => {
                    tracing::error!(mailbox = %name.place.mailbox.guid, uid = %name.place.uid, why = why.why, file = why.file, "a message of the tail has no octets any more");
                    missing.push(name);
                }
            }
        }
        Ok(missing)
    }

    async fn body(&mut self, name: &BodyName, octets: &[u8]) -> Result<(), VerbError> {
        self.bodies_sent = self.bodies_sent.saturating_add(1);
        let (id, hash) = (self.bodies_sent, BodyHash(*blake3::hash(octets).as_bytes()));
        let total = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        let mut pieces: Vec<&[u8]> = octets.chunks(BODY_PART_BYTES).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let (count, mut offset) = (pieces.len(), 0u64);
        for (number, piece) in pieces.into_iter().enumerate() {
            let part = BodyPart {
                id,
                ahead: true,
                name: (number == 0).then(|| name.clone()),
                offset,
                total,
                octets: piece.to_vec(),
                hash: (number + 1 == count).then_some(hash),
            };
            offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            self.say(Message::BodyPart(part)).await?;
        }
        Ok(())
    }

    async fn say(&self, message: Message) -> Result<(), VerbError> {
        let outgoing = &self.connection.outgoing;
        let begun = Stopwatch::start();
        while !outgoing.has_room() {
            let late = begun.elapsed() >= Duration::from_secs(TAIL_ANSWER_SECONDS_MAX);
            if late || outgoing.is_closed() {
                return Err(self.gone());
            }
            drop(tokio::time::timeout(ROOM_PAUSE, outgoing.room()).await);
        }
        outgoing.say(message);
        Ok(())
    }

    fn gone(&self) -> VerbError {
        VerbError::failed(format!("{}: the connection ended; run it again", self.primary))
    }

    async fn ask(&mut self, question: &TailQuestion) -> Result<TailAnswer, VerbError> {
        let failed = |why: String| VerbError::failed(why);
        self.asked = self.asked.wrapping_add(1);
        let (id, json) = (
            self.asked,
            serde_json::to_string(question).map_err(|e| failed(e.to_string()))?,
        );
        self.say(Message::Ask { id, json }).await?;
        let limit = Duration::from_secs(TAIL_ANSWER_SECONDS_MAX);
        let primary = &self.primary;
        let heard = tokio::time::timeout(limit, self.connection.incoming.recv()).await;
        let heard = heard
            .map_err(|_| VerbError::timed_out(format!("{primary} did not answer within {limit:?}; run it again")))?;
        match heard {
            Some(Ok(Message::Answer { id: of, json })) if of == id => {
                let answer = serde_json::from_str(&json).map_err(|e| failed(format!("{primary}: {e}")))?;
                match answer {
                    TailAnswer::Refused(refused) => Err(VerbError {
                        message: format!("{primary}: {}", refused.message),
                        ..refused
                    }),
                    answer => Ok(answer),
                }
            }
            Some(Ok(Message::Refused { why })) => Err(VerbError::refused(format!("{primary} refuses: {why}"))),
            Some(Ok(other)) => Err(failed(format!("{primary} answers with a {} message", other.kind()))),
            Some(Err(why)) => Err(failed(format!("{primary}: {why}; run it again"))),
            None => Err(self.gone()),
        }
    }

    fn odd(&self, answer: &TailAnswer) -> VerbError {
        VerbError::failed(format!("{} answers something else: {answer:?}", self.primary))
    }
}
