//! Answers those whose history leaves this node's: where, and what becomes of what they have beyond. A conversation over one
//! connection: a piece of a tail comes as frames of its own, bodies that are asked for come in parts, and the question
//! behind them says what to do with both.

use super::answers::Answers;
use super::connection::{Connection, LOST};
use super::group::{GroupHandle, Side};
use super::lending;
use super::role_desk::refuse;
use super::steward::Deed;
use crate::codec::frame;
use crate::codec::wire::{BodyPart, Message};
use crate::control::roles::EpochMark;
use crate::control::tail::{Forks, Merge, TailAnswer, TailQuestion};
use crate::control::verbs::VerbError;
use crate::limits::{
    FORKS_MAX, ROLE_SILENCE_SECONDS_MAX, TAIL_BODIES_BYTES_MAX, TAIL_ITEM_FRAME_BYTES_MAX, TAIL_ITEM_MESSAGES,
};
use crate::op::{BodyName, Lsn, NodeName, Payload, StreamId, whole};
use crate::role::Fork;
use crate::role::merge::Item;
use crate::session::receive::{Assembly, Whole};
use crate::store::change::{Changed, Reason, Refused, TailPiece, TailSink};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The question in `json`, where it is one for this desk.
pub(super) fn question(json: &str) -> Option<TailQuestion> {
    serde_json::from_str(json).ok()
}

/// Answers `first` and what `asker` asks behind it, until it leaves.
///
/// # Errors
/// It says something that nobody understands; it was told so.
pub(super) async fn converse(
    mut connection: Connection,
    asker: &NodeName,
    first: (u64, TailQuestion),
    answers: &Answers,
) -> Result<(), String> {
    let group = match answers.group_of(asker, first.1.group()) {
        Ok(group) => group,
        Err(why) => return refuse(connection, why).await,
    };
    if matches!(first.1, TailQuestion::Lend { .. }) {
        return lending::lend(connection, asker, first.0, &group).await;
    }
    let mut desk = TailDesk {
        group,
        asker: asker.clone(),
        piece: Piece::default(),
    };
    let mut next = Some(first);
    loop {
        if let Some((id, question)) = next.take() {
            let answer = desk.answer(question).await;
            let json = serde_json::to_string(&answer).map_err(|e| e.to_string())?;
            connection.outgoing.say(Message::Answer { id, json });
        }
        let silence = Duration::from_secs(ROLE_SILENCE_SECONDS_MAX);
        let heard = tokio::time::timeout(silence, connection.incoming.recv()).await;
        let taken = match heard {
            Ok(Some(Ok(Message::Ask { id, json }))) => match question(&json) {
                Some(question) if question.group() == desk.group.config.name => {
                    next = Some((id, question));
                    Ok(())
                }
                _ => Err("a question that does not belong among those for a tail".to_owned()),
            },
            Ok(Some(Ok(Message::Frames(frames)))) => desk.piece.frames(frames),
            Ok(Some(Ok(Message::BodyPart(part)))) => desk.piece.part(&part),
            Ok(Some(Ok(Message::Ping))) => Ok(()),
            Ok(Some(Ok(other))) => Err(format!("a {} message among questions for a tail", other.kind())),
            // it has left, or said nothing for long
            Ok(None) | Err(_) => return Ok(()),
            Ok(Some(Err(why))) if why == LOST => return Ok(()),
            Ok(Some(Err(why))) => return Err(format!("{asker}: {why}")),
        };
        if let Err(why) = taken {
            return refuse(connection, format!("{asker} sent {why}")).await;
        }
    }
}

/// What has come of the piece that is asked about next.
#[derive(Default)]
struct Piece {
    frames: Vec<Arc<[u8]>>,
    frame_bytes: usize,
    bodies: BTreeMap<BodyName, Option<Arc<[u8]>>>,
    body_bytes: u64,
    arriving: Assembly,
    /// True once it was answered for good: the next frames begin another one.
    settled: bool,
}

impl Piece {
    fn frames(&mut self, frames: Vec<Arc<[u8]>>) -> Result<(), String> {
        if self.settled {
            *self = Self::default();
        }
        let bytes = frames.iter().map(|frame| frame.len()).fold(0, usize::saturating_add);
        self.frame_bytes = self.frame_bytes.saturating_add(bytes);
        if self.frame_bytes > TAIL_ITEM_FRAME_BYTES_MAX {
            return Err(format!("a piece of more than {TAIL_ITEM_FRAME_BYTES_MAX} bytes"));
        }
        self.frames.extend(frames);
        Ok(())
    }

    fn part(&mut self, part: &BodyPart) -> Result<(), String> {
        if self.arriving.is_empty() {
            let name = part.name.clone().ok_or("a body without a name")?;
            // what is claimed is bounded by the body's own bound, and grows with what comes
            self.body_bytes = self.body_bytes.saturating_add(part.total);
            if self.body_bytes > TAIL_BODIES_BYTES_MAX || self.bodies.len() >= TAIL_ITEM_MESSAGES.saturating_mul(2) {
                return Err("more bodies than a piece may bring".to_owned());
            }
            self.arriving.begin(part, name)?;
        }
        if let Some(Whole { name, octets, .. }) = self.arriving.take(part)? {
            let (octets, _) = octets.ok_or("a body that is not what its hash says")?;
            self.bodies.insert(name, Some(octets.into()));
        }
        Ok(())
    }

    /// What the frames say.
    fn payload(&self) -> Result<Payload, String> {
        let mut payloads = Vec::new();
        for bytes in &self.frames {
            let (_, _, payload) = frame::open(bytes).map_err(|e| e.to_string())?;
            payloads.push(payload);
        }
        let mut payloads = whole(payloads);
        match (payloads.pop(), payloads.is_empty()) {
            (Some(payload), true) => Ok(payload),
            _ => Err("a piece that is not one thing".to_owned()),
        }
    }
}

struct TailDesk {
    group: GroupHandle,
    asker: NodeName,
    piece: Piece,
}

impl TailDesk {
    async fn answer(&mut self, question: TailQuestion) -> TailAnswer {
        let answered = match question {
            TailQuestion::Forks { stream, head, .. } => forks(&self.group, &stream, head).await.map(TailAnswer::Forks),
            TailQuestion::Merge(merge) => self.merge(merge).await,
            TailQuestion::Recovered(recovered) => {
                let facts = json!({ "from": self.asker, "recovered": recovered });
                tracing::warn!(from = %self.asker, tally = %recovered.tally, "a lost tail was merged");
                let what = "tail merged".to_owned();
                let noted = self.group.ask(|done| Deed::Note { what, facts, done }).await;
                if let Side::Primary(shared) = self.group.side() {
                    let asker = shared.peers.iter().find(|peer| peer.name == self.asker);
                    asker.iter().for_each(|peer| peer.recalled.notify_one());
                }
                noted.map(|()| TailAnswer::Done)
            }
            TailQuestion::Lend { .. } => Err(VerbError::usage("frames are lent over a connection of their own")),
        };
        answered.unwrap_or_else(TailAnswer::Refused)
    }

    async fn merge(&mut self, merge: Merge) -> Result<TailAnswer, VerbError> {
        let sink = sink(&self.group)?;
        let stream = StreamId::from_hex(&merge.stream).ok_or_else(|| VerbError::usage("no stream is called so"))?;
        let payload = self.piece.payload().map_err(VerbError::usage)?;
        self.piece
            .bodies
            .extend(merge.missing.into_iter().map(|name| (name, None)));
        let piece = TailPiece {
            stream,
            epoch: merge.epoch,
            item: Item {
                payload,
                name: merge.name,
                created: merge.created,
                before: merge.before,
            },
            bodies: self.piece.bodies.clone(),
        };
        let merged = tokio::task::spawn_blocking(move || sink.merge(piece)).await;
        match merged.map_err(|e| VerbError::failed(e.to_string()))? {
            Ok(Changed::Merged(tally)) => {
                self.piece.settled = true;
                Ok(TailAnswer::Merged(tally))
            }
            Ok(Changed::Lacks(mut names)) => {
                names.truncate(TAIL_ITEM_MESSAGES);
                Ok(TailAnswer::Lacks(names))
            }
            Ok(_) => Err(VerbError::failed("something else became of it")),
            Err(refused) => Err(why_not(refused)),
        }
    }
}

fn why_not(refused: Refused) -> VerbError {
    match refused.reason {
        Reason::Unavailable | Reason::NotPrimary => VerbError::failed(refused.why),
        _ => VerbError::refused(refused.why),
    }
}

/// What takes a tail here.
fn sink(group: &GroupHandle) -> Result<Arc<dyn TailSink>, VerbError> {
    let Side::Primary(shared) = group.side() else {
        return Err(VerbError::refused(format!(
            "this node is {}, not primary",
            group.role()
        )));
    };
    Ok(Arc::clone(&shared.tails))
}

/// Where this primary's history may have left another one.
async fn forks(group: &GroupHandle, stream: &str, head: Fork) -> Result<Forks, VerbError> {
    let standing = group.standing();
    if !standing.may_write() {
        return Err(VerbError::refused(format!(
            "this node is {}, not primary",
            standing.role()
        )));
    }
    let view = group.journal();
    let epoch = EpochMark {
        number: standing.epoch().number,
        node: Some(standing.epoch().node.clone()),
    };
    let ours = view.head().unwrap_or(super::files::NOWHERE);
    if ours.stream.to_hex() != stream {
        return Err(VerbError::refused(format!(
            "the stream is {} here, and {stream} there: these histories have nothing in common",
            ours.stream
        )));
    }
    let known = standing.record().fork;
    let walked = tokio::task::spawn_blocking(move || {
        let same = view.chain_at(head.lsn).map_err(super::NodeError::journal)? == Some(head.chain);
        let mut forks: Vec<Fork> = known.into_iter().collect();
        let from = super::files::oldest(&view);
        super::files::each_frame(&view, from, ours.lsn, |frame| {
            if let Payload::Epoch(start) = &frame.payload
                && start.fork_lsn > Lsn(0)
                && forks.len() < FORKS_MAX
            {
                forks.push(Fork {
                    lsn: start.fork_lsn,
                    chain: start.fork_hash,
                });
            }
        })?;
        Ok::<_, super::NodeError>((same, forks))
    });
    let walked = walked.await.map_err(|e| VerbError::failed(e.to_string()))?;
    let (same, forks) = walked.map_err(|e| VerbError::failed(e.to_string()))?;
    Ok(Forks { epoch, same, forks })
}
