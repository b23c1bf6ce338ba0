//! Back to where a list can take its place: what a store holds beyond a fork gives way to what the new primary says.

use super::super::target::TargetError;
use super::mailbox::Mailbox;
use super::store::Store;
use super::{quarantine, tree};
use crate::op::{Lsn, MailboxId};
use rusqlite::params;

/// Forgets the place in the stream, so that the next base is joined at; the mailboxes that the tail touched take the next list as
/// it is (what it lacks of them is retained), those that the tail made go (what is in them is retained). Bodies stay, so none
/// of what both sides have is fetched again. May be done again.
pub(super) fn unwind(store: &Store, touched: &[(MailboxId, bool)]) -> Result<(), TargetError> {
    store.write(|tx| {
        for (is, created) in touched {
            let Some(mailbox) = Mailbox::load(tx, is)? else {
                continue;
            };
            quarantine::void_diverted(tx, mailbox.id)?;
            if *created {
                tree::delete(tx, is)?;
                continue;
            }
            tx.prepare_cached(
                "UPDATE mailboxes SET uidvalidity = 0, held = NULL, rewritten = rewritten + 1 WHERE id = ?1",
            )?
            .execute([mailbox.id])?;
        }
        tx.execute(
            "UPDATE stream SET stream = zeroblob(16), epoch = 0, lsn = 0, chain = zeroblob(32), building = ?1",
            params![Lsn(0).0.cast_signed()],
        )?;
        Ok(())
    })?;
    store.settle()
}
