//! Keeping what somebody else left in the Dovecot that this store mirrors: it is undone there, and never lost.

use super::super::super::target::{BodyStore, TargetError};
use super::super::bodies;
use super::super::mailbox::stored_name;
use super::super::shelf::Shelf;
use super::super::store::Store;
use crate::op::{Append, BodyHash, BodyName, BodyPlace, Keyword, MailboxId, MailboxName, UidValidity};
use rusqlite::params;
use std::sync::Arc;

/// A message that nobody of the stream put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The mailbox, by the GUID that it has in the Dovecot.
    pub mailbox: MailboxId,
    /// Its name there.
    pub name: MailboxName,
    /// UIDVALIDITY there.
    pub uidvalidity: UidValidity,
    /// The message as it stood there.
    pub message: Append,
}

impl Foreign {
    fn place(&self) -> BodyPlace {
        BodyPlace {
            mailbox: self.mailbox.clone(),
            uidvalidity: self.uidvalidity,
            uid: self.message.uid,
        }
    }
}

/// Puts octets and facts where what left the copy is kept; the same message of the same place once. Durable when it returns.
pub(super) fn keep(store: &Arc<Store>, foreign: &Foreign, octets: &[u8]) -> Result<(), TargetError> {
    let hash = BodyHash(*blake3::hash(octets).as_bytes());
    let shelf = Shelf::new(Arc::clone(store));
    let name = BodyName {
        place: foreign.place(),
        guid: foreign.message.guid.clone(),
        size: u64::try_from(octets.len()).ok(),
    };
    shelf.put(&name, octets, &hash)?;
    shelf.commit()?;
    let message = &foreign.message;
    let keywords: Vec<&str> = message.keywords.iter().map(Keyword::as_str).collect();
    store.write(|tx| {
        let user = bodies::user(tx, &foreign.mailbox.user)?;
        let body = bodies::by_hash(tx, &hash)?.map(|(body, _)| body.id);
        tx.prepare_cached(
            "INSERT INTO retained (user, mailbox_guid, mailbox_name, uidvalidity, uid, guid, flags, keywords,
             internal_date, save_date, size, body, why)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'foreign'
             WHERE NOT EXISTS (SELECT 1 FROM retained WHERE user = ?1 AND mailbox_guid = ?2 AND uidvalidity = ?4
                               AND uid = ?5 AND guid = ?6 AND why = 'foreign')",
        )?
        .execute(params![
            user,
            foreign.mailbox.guid.0,
            stored_name(&foreign.name),
            foreign.uidvalidity.0,
            message.uid.0,
            message.guid.0,
            message.flags.bits(),
            serde_json::json!(keywords).to_string(),
            message.internal_date,
            message.save_date,
            message.size.map(u64::cast_signed),
            body
        ])?;
        Ok(())
    })?;
    store.settle()
}
