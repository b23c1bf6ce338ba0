//! Messages ↔ bytes. Frames and body octets are raw; everything else is packed (`codec::packed`).

use super::{BodyPart, Message, WireError, bounds};
use crate::codec::packed;
use crate::limits::{FRAME_BYTES_MAX, WIRE_BYTES_MAX, WIRE_FRAMES_MAX};
use crate::op::BodyHash;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

const HELLO: u8 = 1;
const FRAMES: u8 = 2;
const BODY_PART: u8 = 3;
const BODY_MISSING: u8 = 4;
const NOTICE: u8 = 5;
const HEARTBEAT: u8 = 6;
const GONE_ANSWER: u8 = 7;
const OFFER: u8 = 8;
const REFUSED: u8 = 32;
const DIVERGED: u8 = 33;
const ASK: u8 = 34;
const ANSWER: u8 = 35;
const PING: u8 = 36;
/// A compressed message: [`super::press`].
pub(super) const PRESSED: u8 = 37;
const WELCOME: u8 = 64;
const AGAIN: u8 = 65;
const POSITION: u8 = 66;
const NEEDS: u8 = 67;
const GONE_ASK: u8 = 68;
const OFFER_DONE: u8 = 69;
const VERDICT: u8 = 70;

/// What a small message, or one line of a list, counts as.
const MESSAGE_WEIGHT: usize = 128;

/// Bits of a body part's marks.
const AHEAD: u8 = 1;
const NAMED: u8 = 2;
const LAST: u8 = 4;

/// Length of the body (tag and payload) that follows these four bytes.
///
/// # Errors
/// Empty, or longer than [`WIRE_BYTES_MAX`]: end the connection, nothing was allocated yet.
pub fn body_length(prefix: [u8; 4]) -> Result<usize, WireError> {
    let length = u32::from_le_bytes(prefix);
    match usize::try_from(length) {
        Ok(fits @ 1..=WIRE_BYTES_MAX) => Ok(fits),
        _ => Err(WireError::Length(u64::from(length))),
    }
}

/// The first whole message of `bytes` and how many bytes it took; none where more bytes must come first.
///
/// # Errors
/// What stands there is no message.
pub fn take(bytes: &[u8]) -> Result<Option<(Message, usize)>, WireError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = body_length(*prefix)?;
    match rest.get(..length) {
        Some(body) => Ok(Some((Message::decode(body)?, length.saturating_add(4)))),
        None => Ok(None),
    }
}

impl Message {
    /// Whether it keeps the bounds of [`crate::limits`]; both sides check.
    ///
    /// # Errors
    /// The bound that it breaks.
    pub fn check(&self) -> Result<(), WireError> {
        bounds::check(self)
    }

    /// The message as it goes on the wire, length first.
    ///
    /// # Errors
    /// It breaks a bound, and the other side would end the connection.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        bounds::check(self)?;
        let (tag, payload) = self.payload()?;
        framed(tag, &[&payload])
    }

    /// About how many bytes it has on the wire, uncompressed.
    #[must_use]
    pub fn weight(&self) -> usize {
        let content = match self {
            Self::Frames(frames) => frames.iter().map(|frame| frame.len()).sum(),
            Self::BodyPart(part) => part.octets.len(),
            Self::Offer(offer) => offer.messages.len().saturating_mul(MESSAGE_WEIGHT),
            Self::Needs(needs) => needs.len().saturating_mul(MESSAGE_WEIGHT),
            Self::Ask { json, .. } | Self::Answer { json, .. } => json.len(),
            _ => 0,
        };
        content.saturating_add(MESSAGE_WEIGHT)
    }

    /// Reads the body of a message: tag and payload, without the length before them.
    ///
    /// # Errors
    /// An unknown tag, or a payload that is not what the tag says or breaks a bound.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let Some((&tag, payload)) = body.split_first() else {
            return Err(WireError::Length(0));
        };
        let message = match tag {
            HELLO => Self::Hello(unpack("hello", payload)?),
            FRAMES => Self::Frames(take_frames(payload)?),
            BODY_PART => Self::BodyPart(take_body_part(payload)?),
            BODY_MISSING => unpack("body-missing", payload).map(|(id, missing)| Self::BodyMissing { id, missing })?,
            NOTICE => Self::Notice(unpack("notice", payload)?),
            HEARTBEAT => Self::Heartbeat(unpack("heartbeat", payload)?),
            GONE_ANSWER => unpack("gone-answer", payload).map(|(id, gone)| Self::GoneAnswer { id, gone })?,
            OFFER => Self::Offer(unpack("offer", payload)?),
            REFUSED => unpack("refused", payload).map(|why| Self::Refused { why })?,
            DIVERGED => unpack("diverged", payload).map(|why| Self::Diverged { why })?,
            ASK => unpack("ask", payload).map(|(id, json)| Self::Ask { id, json })?,
            ANSWER => unpack("answer", payload).map(|(id, json)| Self::Answer { id, json })?,
            PING if payload.is_empty() => Self::Ping,
            PING => return Err(wrong("ping", "it has a payload")),
            WELCOME => Self::Welcome(unpack("welcome", payload)?),
            AGAIN => Self::Again(unpack("again", payload)?),
            POSITION => Self::Position(unpack("position", payload)?),
            NEEDS => Self::Needs(unpack("needs", payload)?),
            GONE_ASK => unpack("gone-ask", payload).map(|(id, question)| Self::GoneAsk { id, question })?,
            OFFER_DONE => unpack("offer-done", payload).map(|id| Self::OfferDone { id })?,
            VERDICT => Self::Verdict(unpack("verdict", payload)?),
            unknown => return Err(WireError::Tag(unknown)),
        };
        bounds::check(&message)?;
        Ok(message)
    }

    fn payload(&self) -> Result<(u8, Vec<u8>), WireError> {
        let kind = self.kind();
        Ok(match self {
            Self::Hello(hello) => (HELLO, pack(kind, hello)?),
            Self::Frames(frames) => (FRAMES, put_frames(frames)?),
            Self::BodyPart(part) => (BODY_PART, put_body_part(part)?),
            Self::BodyMissing { id, missing } => (BODY_MISSING, pack(kind, &(id, missing))?),
            Self::Notice(notice) => (NOTICE, pack(kind, notice)?),
            Self::Heartbeat(heartbeat) => (HEARTBEAT, pack(kind, heartbeat)?),
            Self::GoneAnswer { id, gone } => (GONE_ANSWER, pack(kind, &(id, gone))?),
            Self::Offer(offer) => (OFFER, pack(kind, offer)?),
            Self::Refused { why } => (REFUSED, pack(kind, why)?),
            Self::Diverged { why } => (DIVERGED, pack(kind, why)?),
            Self::Ask { id, json } => (ASK, pack(kind, &(id, json))?),
            Self::Answer { id, json } => (ANSWER, pack(kind, &(id, json))?),
            Self::Ping => (PING, Vec::new()),
            Self::Welcome(welcome) => (WELCOME, pack(kind, welcome)?),
            Self::Again(place) => (AGAIN, pack(kind, place)?),
            Self::Position(position) => (POSITION, pack(kind, position)?),
            Self::Needs(needs) => (NEEDS, pack(kind, needs)?),
            Self::GoneAsk { id, question } => (GONE_ASK, pack(kind, &(id, question))?),
            Self::OfferDone { id } => (OFFER_DONE, pack(kind, id)?),
            Self::Verdict(verdict) => (VERDICT, pack(kind, verdict)?),
        })
    }
}

/// Length, tag and payload.
pub(super) fn framed(tag: u8, payload: &[&[u8]]) -> Result<Vec<u8>, WireError> {
    let length = payload.iter().map(|piece| piece.len()).sum::<usize>().saturating_add(1);
    let prefix = match u32::try_from(length) {
        Ok(fits) if length <= WIRE_BYTES_MAX => fits,
        _ => return Err(WireError::Length(u64::try_from(length).unwrap_or(u64::MAX))),
    };
    let mut bytes = Vec::with_capacity(length.saturating_add(4));
    bytes.extend(prefix.to_le_bytes());
    bytes.push(tag);
    payload.iter().for_each(|piece| bytes.extend_from_slice(piece));
    Ok(bytes)
}

fn wrong(message: &'static str, why: impl ToString) -> WireError {
    WireError::Payload {
        message,
        why: why.to_string(),
    }
}

fn pack<T: Serialize + ?Sized>(message: &'static str, value: &T) -> Result<Vec<u8>, WireError> {
    packed::encode(value).map_err(|e| wrong(message, e))
}

fn unpack<T: DeserializeOwned>(message: &'static str, payload: &[u8]) -> Result<T, WireError> {
    packed::decode(payload).map_err(|e| wrong(message, e))
}

/// Each frame with its `u32` length before it, to the payload's end.
fn put_frames(frames: &[Arc<[u8]>]) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(frames.iter().map(|f| f.len().saturating_add(4)).sum());
    for frame in frames {
        let length = u32::try_from(frame.len()).map_err(|e| wrong("frames", e))?;
        bytes.extend(length.to_le_bytes());
        bytes.extend_from_slice(frame);
    }
    Ok(bytes)
}

fn take_frames(mut payload: &[u8]) -> Result<Vec<Arc<[u8]>>, WireError> {
    let mut frames = Vec::new();
    while let Some((prefix, rest)) = payload.split_first_chunk::<4>() {
        let length = match usize::try_from(u32::from_le_bytes(*prefix)) {
            Ok(fits @ 1..=FRAME_BYTES_MAX) if frames.len() < WIRE_FRAMES_MAX => fits,
            _ => return Err(wrong("frames", "a length out of bounds, or too many frames")),
        };
        let Some((frame, after)) = rest.split_at_checked(length) else {
            return Err(wrong("frames", "the last frame is cut"));
        };
        frames.push(Arc::from(frame));
        payload = after;
    }
    if !payload.is_empty() {
        return Err(wrong("frames", "the last length is cut"));
    }
    Ok(frames)
}

/// `u64` id, `u64` offset, `u64` total, `u8` marks, then 32 bytes of hash where LAST, a packed name where NAMED, and
/// the octets to the payload's end.
fn put_body_part(part: &BodyPart) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(part.octets.len().saturating_add(128));
    bytes.extend(part.id.to_le_bytes());
    bytes.extend(part.offset.to_le_bytes());
    bytes.extend(part.total.to_le_bytes());
    let mark = |set: bool, bit: u8| if set { bit } else { 0 };
    bytes.push(mark(part.ahead, AHEAD) | mark(part.name.is_some(), NAMED) | mark(part.hash.is_some(), LAST));
    if let Some(hash) = &part.hash {
        bytes.extend(hash.0);
    }
    if let Some(name) = &part.name {
        packed::encode_into(name, &mut bytes).map_err(|e| wrong("body-part", e))?;
    }
    bytes.extend_from_slice(&part.octets);
    Ok(bytes)
}

fn take_body_part(payload: &[u8]) -> Result<BodyPart, WireError> {
    let (id, rest) = chunk::<8>(payload)?;
    let (offset, rest) = chunk::<8>(rest)?;
    let (total, rest) = chunk::<8>(rest)?;
    let ([marks], mut rest) = chunk::<1>(rest)?;
    if marks & !(AHEAD | NAMED | LAST) != 0 {
        return Err(wrong("body-part", format!("unknown marks {marks:#04x}")));
    }
    let mut hash = None;
    if marks & LAST != 0 {
        let (digits, after) = chunk::<32>(rest)?;
        hash = Some(BodyHash(digits));
        rest = after;
    }
    let mut name = None;
    if marks & NAMED != 0 {
        let (value, used) = packed::decode_prefix(rest).map_err(|e| wrong("body-part", e))?;
        name = Some(value);
        rest = rest.get(used..).unwrap_or_default();
    }
    Ok(BodyPart {
        id: u64::from_le_bytes(id),
        ahead: marks & AHEAD != 0,
        name,
        offset: u64::from_le_bytes(offset),
        total: u64::from_le_bytes(total),
        octets: rest.to_vec(),
        hash,
    })
}

fn chunk<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), WireError> {
    match bytes.split_first_chunk::<N>() {
        Some((first, rest)) => Ok((*first, rest)),
        None => Err(wrong("body-part", "it is cut")),
    }
}
