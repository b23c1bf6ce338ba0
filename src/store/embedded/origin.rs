//! The store as a source of bodies.

use super::super::source::{Bodies, BodyAnswer};
use super::super::target::TargetError;
use super::bodies;
use super::mailbox::Mailbox;
use super::packs::Location;
use super::store::Store;
use crate::op::{BodyHash, BodyName, BodyPlace, MailboxId, MessageGuid, Missing, Uid, UidValidity, value_hash};
use rusqlite::{Connection, params};
use std::sync::Arc;

/// Answers needs from the packs.
pub(super) struct Origin(pub(super) Arc<Store>);

impl Bodies for Origin {
    fn read(&self, places: &[BodyPlace], guid: &MessageGuid, size: Option<u64>) -> BodyAnswer {
        let found = self.0.readers.read(|tx| find(tx, places, guid, size));
        let missing = |gone: bool, why: String| {
            BodyAnswer::Missing(Missing {
                gone,
                file: String::new(),
                offset: 0,
                why,
            })
        };
        match found {
            Ok(Some((hash, place))) => match self.0.packs.read(&place, &hash) {
                Ok(octets) => BodyAnswer::Body(octets),
                Err(why) => missing(false, why),
            },
            Ok(None) => missing(true, "it never came to this store either".to_owned()),
            Err(error) => missing(false, error.to_string()),
        }
    }

    fn gone(&self, mailbox: &MailboxId, uidvalidity: UidValidity, messages: &[(Uid, MessageGuid)]) -> Vec<Uid> {
        let gone = self.0.readers.read(|tx| lacking(tx, mailbox, uidvalidity, messages));
        gone.unwrap_or_else(|error| {
            tracing::error!(%error, "look for messages that a copy wonders about");
            Vec::new()
        })
    }
}

/// What a message of these places has, or what has the name. A body that once came stays, also where its messages have
/// left meanwhile.
fn find(
    tx: &Connection,
    places: &[BodyPlace],
    guid: &MessageGuid,
    size: Option<u64>,
) -> Result<Option<(BodyHash, Location)>, TargetError> {
    if let Some(hash) = value_hash(guid) {
        return Ok(bodies::by_hash(tx, &hash)?.map(|(_, place)| (hash, place)));
    }
    for place in places {
        let Some(mailbox) = Mailbox::load(tx, &place.mailbox)? else {
            continue;
        };
        let stored = mailbox.message(tx, place.uid)?;
        let body = stored.filter(|stored| {
            let message = &stored.message;
            mailbox.uidvalidity == place.uidvalidity && (guid.is_unknown() || message.guid == *guid)
        });
        if let Some(body) = body.and_then(|stored| stored.body) {
            let found = bodies::by_id(tx, body)?;
            if size.is_none_or(|size| size == found.1.length) {
                return Ok(Some(found));
            }
        }
    }
    for place in places {
        let name = BodyName {
            place: place.clone(),
            guid: guid.clone(),
            size,
        };
        if let Some(user) = bodies::known_user(tx, &place.mailbox.user)?
            && let Some(body) = bodies::resolve(tx, user, &name)?
        {
            return Ok(Some(bodies::by_id(tx, body.id)?));
        }
    }
    Ok(None)
}

/// Those that the mailbox doesn't have under their UID.
fn lacking(
    tx: &Connection,
    mailbox: &MailboxId,
    uidvalidity: UidValidity,
    messages: &[(Uid, MessageGuid)],
) -> Result<Vec<Uid>, TargetError> {
    let Some(mailbox) = Mailbox::load(tx, mailbox)?.filter(|mailbox| mailbox.uidvalidity == uidvalidity) else {
        return Ok(Vec::new());
    };
    let mut there = tx.prepare_cached("SELECT 1 FROM messages WHERE mailbox = ?1 AND uid = ?2")?;
    let mut gone = Vec::new();
    for (uid, _) in messages {
        if !there.exists(params![mailbox.id, uid.0])? {
            gone.push(*uid);
        }
    }
    Ok(gone)
}
