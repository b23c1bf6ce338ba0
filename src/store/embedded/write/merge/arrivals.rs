//! Messages that a tail brings.

use super::super::super::bodies;
use super::super::super::mailbox::Mailbox;
use super::super::append::{bound_keywords, each_once};
use super::super::built::{NewBody, Octets, Stop};
use super::super::create::NewMailbox;
use super::super::fresh::Fresh;
use super::super::lookup::{destination, named};
use super::super::txn::Txn;
use super::{InMailbox, Made};
use crate::op::{Append, BodyHash, BodyName, MailboxName, MessageGuid, Modseq, Payload};
use crate::role::merge::{Arrival, Known, arrival};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Appends what is new, in their order. `listed`: no append of them was seen.
pub(super) fn arrive(
    tx: &Connection,
    fresh: &mut Fresh,
    tail: &InMailbox<'_>,
    messages: &[&Append],
    listed: bool,
) -> Result<Made, Stop> {
    let mut target = Target::of(tx, fresh, tail)?;
    let mut made = Made {
        key: Some(tail.key()),
        ..Made::default()
    };
    let mut arrived = BTreeSet::new();
    for message in messages {
        let mut known = target.known(tx, tail, message, listed)?;
        known.in_mailbox |= arrived.contains(&message.guid);
        let octets = octets(tx, tail, message)?;
        match arrival(known, octets.judged) {
            Arrival::Ask => made.lacks.push(BodyName::of(tail.is, tail.uidvalidity, message)),
            Arrival::Nothing(settled) => {
                made.tally.settle(settled);
                made.note(known.settled || settled == crate::role::merge::Settled::Lost, message);
            }
            Arrival::Copied => {
                let body = owned(tx, tail, message)?;
                target.append(tx, fresh, message, body.map(Body::Stored), &mut made)?;
                made.tally.append(true);
            }
            Arrival::New => {
                target.append(tx, fresh, message, octets.here.map(Body::New), &mut made)?;
                made.tally.append(false);
            }
        }
        if !message.guid.is_unknown() {
            arrived.insert(message.guid.clone());
        }
    }
    made.payloads = target.payloads();
    Ok(made)
}

impl Made {
    fn note(&mut self, noted_before: bool, message: &Append) {
        if let Some(key) = self.key.as_mut().filter(|_| !noted_before) {
            key.appended.push((message.uid, message.guid.clone()));
        }
    }
}

/// Octets that came with the piece.
struct Came {
    here: Option<Arc<[u8]>>,
    judged: crate::role::merge::Octets,
}

fn octets(tx: &Connection, tail: &InMailbox<'_>, message: &Append) -> Result<Came, Stop> {
    use crate::role::merge::Octets::{Gone, Here, Unasked};
    let judged = match tail.piece.bodies.get(&BodyName::of(tail.is, tail.uidvalidity, message)) {
        None => Unasked,
        Some(None) => Gone,
        Some(Some(octets)) => {
            let arrived = has_arrived(tx, tail, octets)?;
            return Ok(Came {
                here: Some(Arc::clone(octets)),
                judged: Here { arrived },
            });
        }
    };
    Ok(Came { here: None, judged })
}

/// True where the user has the very same octets in a message that came or was changed since the fork, and that no tail brought.
fn has_arrived(tx: &Connection, tail: &InMailbox<'_>, octets: &[u8]) -> Result<bool, Stop> {
    let hash = BodyHash(*blake3::hash(octets).as_bytes());
    let (Some(user), Some((body, _))) = (tail.user, bodies::by_hash(tx, &hash)?) else {
        return Ok(false);
    };
    let before: Modseq = tail.piece.item.before;
    let found = tx
        .prepare_cached(
            "SELECT 1 FROM messages x WHERE x.user = ?1 AND x.body = ?2 AND x.modseq >= ?3
             AND NOT EXISTS (SELECT 1 FROM merged m WHERE m.user = x.user AND m.guid = x.guid)",
        )?
        .exists(params![user, body.id, before.0.cast_signed()])?;
    Ok(found)
}

/// A body that the user has under the message's GUID: its number, hash and length.
fn owned(tx: &Connection, tail: &InMailbox<'_>, message: &Append) -> Result<Option<(i64, BodyHash, u64)>, Stop> {
    let Some(user) = tail.user.filter(|_| !message.guid.is_unknown()) else {
        return Ok(None);
    };
    let body: Option<i64> = tx
        .prepare_cached(
            "SELECT x.body FROM messages x JOIN bodies b ON b.id = x.body WHERE x.user = ?1 AND x.guid = ?2
             AND (?3 IS NULL OR b.length = ?3) LIMIT 1",
        )?
        .query_row(
            params![user, message.guid.0, message.size.map(u64::cast_signed)],
            |row| row.get(0),
        )
        .optional()?;
    let Some(body) = body else { return Ok(None) };
    let (hash, location) = bodies::by_id(tx, body)?;
    Ok(Some((body, hash, location.length)))
}

/// Where a new message's octets come from.
enum Body {
    Stored((i64, BodyHash, u64)),
    New(Arc<[u8]>),
}

impl Body {
    fn length(&self) -> u64 {
        match self {
            Self::Stored((_, _, length)) => *length,
            Self::New(octets) => u64::try_from(octets.len()).unwrap_or(u64::MAX),
        }
    }
}

/// The mailbox that takes the messages, and the transaction on it.
struct Target {
    /// The tail's own mailbox, where it is still there.
    own: Option<Mailbox>,
    /// What takes them; none: it is made by `first`.
    into: Option<Mailbox>,
    first: Vec<Payload>,
    txn: Txn,
}

impl Target {
    /// The tail's own mailbox; else the one that has its name; else INBOX, which is there for everybody.
    fn of(tx: &Connection, fresh: &mut Fresh, tail: &InMailbox<'_>) -> Result<Self, Stop> {
        let own = Mailbox::load(tx, tail.is)?.filter(|mailbox| mailbox.named);
        let user = &tail.is.user;
        let inbox = MailboxName::inbox();
        let name = match (&own, &tail.piece.item.name) {
            (Some(_), _) => None,
            (None, Some(name)) if named(tx, user, name)?.is_some() => Some(name),
            _ => Some(&inbox),
        };
        let into = match name {
            None => Some(super::super::lookup::selected(tx, tail.is)?),
            Some(name) if *name == inbox && named(tx, user, name)?.is_none() => None,
            Some(name) => Some(destination(tx, user, name)?),
        };
        let (first, txn) = match &into {
            Some(mailbox) => (Vec::new(), Txn::on(mailbox)),
            None => {
                let new = NewMailbox::make(tx, fresh, (user, &inbox), None)?;
                (new.payloads, Txn::on_new(new.is, new.uidvalidity))
            }
        };
        Ok(Self { own, into, first, txn })
    }

    fn known(&self, tx: &Connection, tail: &InMailbox<'_>, message: &Append, listed: bool) -> Result<Known, Stop> {
        let uid = message.uid;
        let settled = tail.settled().map_or(Ok(false), |of| of.is_settled(tx, uid))?;
        let own = self.own.as_ref().filter(|own| own.uidvalidity == tail.uidvalidity);
        let (mut in_place, mut expunged) = (false, false);
        if let Some(own) = own {
            let same = |guid: &MessageGuid| *guid == message.guid;
            in_place = own.message(tx, uid)?.is_some_and(|stored| same(&stored.message.guid));
            expunged = tx
                .prepare_cached("SELECT 1 FROM expunged WHERE mailbox = ?1 AND uid = ?2")?
                .exists(params![own.id, uid.0])?;
        }
        let in_mailbox = match &self.into {
            Some(into) if !message.guid.is_unknown() => tx
                .prepare_cached("SELECT 1 FROM messages WHERE user = ?1 AND guid = ?2 AND mailbox = ?3")?
                .exists(params![into.user, message.guid.0, into.id])?,
            _ => false,
        };
        Ok(Known {
            settled,
            listed,
            in_place,
            expunged,
            in_mailbox,
            owned: owned(tx, tail, message)?.is_some(),
        })
    }

    /// The message as it was at the tail's end, under a new UID.
    fn append(
        &mut self,
        tx: &Connection,
        fresh: &mut Fresh,
        message: &Append,
        body: Option<Body>,
        made: &mut Made,
    ) -> Result<(), Stop> {
        if let Some(into) = &self.into {
            bound_keywords(into, message.keywords.iter())?;
        }
        let mut new = message.clone();
        new.keywords = each_once(&message.keywords);
        if new.guid.is_unknown() {
            new.guid = fresh.message_guid()?;
        }
        new.size = body.as_ref().map(Body::length).or(new.size);
        let name = self.txn.append(new)?;
        match body {
            Some(Body::New(octets)) => made.bodies.push(NewBody {
                name,
                octets: Octets::New(octets),
            }),
            Some(Body::Stored((id, hash, length))) => {
                let user = self.into.as_ref().map(|into| into.user);
                let resolved = user.map_or(Ok(None), |user| bodies::resolve(tx, user, &name))?;
                if resolved.is_none_or(|found| found.id != id) {
                    made.bodies.push(NewBody {
                        name,
                        octets: Octets::Stored { hash, length },
                    });
                }
            }
            None => {}
        }
        made.note(false, message);
        Ok(())
    }

    fn payloads(self) -> Vec<Payload> {
        match self.txn.payload() {
            // what nothing goes into is not made either
            None => Vec::new(),
            Some(txn) => self.first.into_iter().chain([txn]).collect(),
        }
    }
}
