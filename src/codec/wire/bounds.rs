//! What a well-formed message must satisfy; the same on the way out and on the way in.

use super::{BodyPart, Message, NumberedNeed, Offer, WireError};
use crate::limits::{
    BODY_BYTES_MAX, BODY_PART_BYTES, FRAME_BYTES_MAX, MESSAGE_GUID_BYTES_MAX, NEED_PLACES_MAX, NODE_BYTES_MAX,
    NOTICE_MESSAGES_MAX, NOTICE_RANGES_MAX, OPEN_REQUESTS_MAX, USER_BYTES_MAX, WIRE_FRAMES_MAX, WIRE_JSON_BYTES_MAX,
    WIRE_MESSAGES_MAX, WIRE_NEED_PLACES_MAX, WIRE_NEEDS_MAX, WIRE_TEXT_BYTES_MAX,
};
use crate::op::attributes::value_hash;
use crate::op::{BodyName, BodyPlace, MailboxId, MessageGuid, Missing, Need, Notice, SourcePosition, Uid, UidRange};

/// The rule that a message breaks.
type Broken = Result<(), &'static str>;

pub(super) fn check(message: &Message) -> Result<(), WireError> {
    let kept = match message {
        Message::Hello(hello) => node(&hello.group).and_then(|()| node(hello.node.as_str())),
        Message::Frames(frames) => frames_kept(frames.iter().map(|f| f.len())),
        Message::BodyPart(part) => body_part(part),
        Message::BodyMissing { missing, .. } => missing_kept(missing),
        Message::Notice(notice) => notice_kept(notice),
        Message::Offer(offer) => offer_kept(offer),
        Message::GoneAnswer { gone, .. } => most(gone.len(), WIRE_MESSAGES_MAX, "too many messages"),
        Message::GoneAsk { question, .. } => mailbox(&question.mailbox)
            .and_then(|()| most(question.messages.len(), WIRE_MESSAGES_MAX, "too many messages"))
            .and_then(|()| question.messages.iter().try_for_each(|(u, g)| message_kept(*u, g))),
        Message::Refused { why } | Message::Diverged { why } => text(why),
        Message::Ask { json, .. } | Message::Answer { json, .. } => most(json.len(), WIRE_JSON_BYTES_MAX, "too long"),
        Message::Welcome(welcome) => {
            node(welcome.node.as_str()).and_then(|()| welcome.need_base.as_deref().map_or(Ok(()), text))
        }
        Message::Needs(needs) => most(needs.len(), WIRE_NEEDS_MAX, "too many needs")
            .and_then(|()| needs.iter().try_for_each(|n| need_kept(&n.need)))
            .and_then(|()| most(places_of(needs), WIRE_NEED_PLACES_MAX, "too many places together")),
        Message::Verdict(verdict) => most(verdict.user.0.len(), USER_BYTES_MAX, "user name too long")
            .and_then(|()| text(&verdict.mailbox))
            .and_then(|()| text(&verdict.why)),
        Message::Heartbeat(_)
        | Message::Ping
        | Message::Again(_)
        | Message::Position(_)
        | Message::OfferDone { .. } => Ok(()),
    };
    kept.map_err(|why| WireError::Payload {
        message: message.kind(),
        why: why.to_owned(),
    })
}

fn most(count: usize, bound: usize, why: &'static str) -> Broken {
    if count <= bound { Ok(()) } else { Err(why) }
}

fn text(text: &str) -> Broken {
    most(text.len(), WIRE_TEXT_BYTES_MAX, "text too long")
}

fn node(name: &str) -> Broken {
    most(name.len(), NODE_BYTES_MAX, "name too long")
}

fn mailbox(mailbox: &MailboxId) -> Broken {
    most(mailbox.user.0.len(), USER_BYTES_MAX, "user name too long")
}

fn message_kept(uid: Uid, guid: &MessageGuid) -> Broken {
    if uid.0 == 0 {
        return Err("UID 0");
    }
    most(guid.0.len(), MESSAGE_GUID_BYTES_MAX, "GUID too long")
}

/// A long value of an attribute is a body too, and no message: it has no UID.
fn place(place: &BodyPlace, of: &MessageGuid) -> Broken {
    if place.uid.0 == 0 && value_hash(of).is_none() {
        return Err("UID 0");
    }
    mailbox(&place.mailbox)
}

fn name(name: &BodyName) -> Broken {
    place(&name.place, &name.guid)?;
    most(name.guid.0.len(), MESSAGE_GUID_BYTES_MAX, "GUID too long")
}

fn frames_kept(lengths: impl ExactSizeIterator<Item = usize>) -> Broken {
    if lengths.len() == 0 {
        return Err("no frame");
    }
    most(lengths.len(), WIRE_FRAMES_MAX, "too many frames")?;
    for length in lengths {
        if length == 0 {
            return Err("empty frame");
        }
        most(length, FRAME_BYTES_MAX, "frame too long")?;
    }
    Ok(())
}

fn body_part(part: &BodyPart) -> Broken {
    most(part.octets.len(), BODY_PART_BYTES, "part too long")?;
    part.name.as_ref().map_or(Ok(()), name)?;
    if part.total > BODY_BYTES_MAX {
        return Err("body too long");
    }
    let octets = u64::try_from(part.octets.len()).map_err(|_| "part too long")?;
    let end = part.offset.checked_add(octets).filter(|end| *end <= part.total);
    let Some(end) = end else {
        return Err("part beyond the body's end");
    };
    if part.hash.is_some() != (end == part.total) {
        return Err("hash without end, or end without hash");
    }
    if octets == 0 && part.total > 0 {
        return Err("empty part");
    }
    if part.name.is_some() != (part.ahead && part.offset == 0) {
        return Err("name on the wrong part");
    }
    Ok(())
}

fn missing_kept(missing: &Missing) -> Broken {
    text(&missing.file)?;
    text(&missing.why)
}

fn places_of(needs: &[NumberedNeed]) -> usize {
    let of = |need: &NumberedNeed| need.need.other_places.len().saturating_add(1);
    needs.iter().map(of).sum()
}

fn need_kept(need: &Need) -> Broken {
    name(&need.name)?;
    most(need.other_places.len(), NEED_PLACES_MAX, "too many places")?;
    need.other_places
        .iter()
        .try_for_each(|other| place(other, &need.name.guid))
}

fn offer_kept(offer: &Offer) -> Broken {
    mailbox(&offer.mailbox)?;
    most(offer.messages.len(), WIRE_MESSAGES_MAX, "too many messages")?;
    offer.messages.iter().try_for_each(|(u, g, _)| message_kept(*u, g))
}

fn notice_kept(notice: &Notice) -> Broken {
    mailbox(&notice.mailbox)?;
    most(notice.messages.len(), NOTICE_MESSAGES_MAX, "too many messages")?;
    notice.messages.iter().try_for_each(|(u, g, _)| message_kept(*u, g))?;
    for kind in [&notice.appended, &notice.changed, &notice.expunged] {
        ranges(kind, NOTICE_RANGES_MAX)?;
    }
    position(&notice.position)
}

fn position(position: &SourcePosition) -> Broken {
    ranges(&position.open_requests, OPEN_REQUESTS_MAX)
}

fn ranges(ranges: &[UidRange], bound: usize) -> Broken {
    most(ranges.len(), bound, "too many UID ranges")?;
    match ranges.iter().all(|r| r.first.0 != 0 && r.first <= r.last) {
        true => Ok(()),
        false => Err("a UID range that is none"),
    }
}
