//! EXPUNGE, CLOSE and UID EXPUNGE: what has `\Deleted` leaves.

use super::super::super::change::Changed;
use super::super::mailbox::Mailbox;
use super::built::{Built, Stop};
use super::lookup::{messages, selected};
use super::txn::Txn;
use crate::op::{Expunge, Flags, MailboxId, Op, Uid, UidRange};
use rusqlite::{Connection, params};

/// `among`: of these only (UID EXPUNGE).
pub(super) fn expunge(tx: &Connection, mailbox: &MailboxId, among: Option<&[UidRange]>) -> Result<Built, Stop> {
    let mailbox = selected(tx, mailbox)?;
    let uids = match among {
        None => deleted(tx, &mailbox)?,
        Some(among) => messages(tx, &mailbox, among)?
            .into_iter()
            .filter(|stored| stored.message.flags.contains(Flags::DELETED))
            .map(|stored| stored.message.uid)
            .collect(),
    };
    let mut txn = Txn::on(&mailbox);
    if uids.is_empty() {
        let modseq = txn.highest();
        return Ok(Built::nothing(Changed::Expunged { uids, modseq }));
    }
    leave(&mut txn, &uids);
    let modseq = txn.modseq();
    Ok(Built::of(
        txn.payload().into_iter().collect(),
        Changed::Expunged { uids, modseq },
    ))
}

/// These leave because somebody asked for it.
pub(super) fn leave(txn: &mut Txn, uids: &[Uid]) {
    txn.push(Op::Expunge(Expunge {
        uids: UidRange::covering(uids),
        requested: true,
        modseq: txn.modseq(),
    }));
}

fn deleted(tx: &Connection, mailbox: &Mailbox) -> Result<Vec<Uid>, Stop> {
    let mut statement =
        tx.prepare_cached("SELECT uid FROM messages WHERE mailbox = ?1 AND flags & ?2 <> 0 ORDER BY uid")?;
    let uids = statement.query_map(params![mailbox.id, Flags::DELETED.bits()], |row| row.get(0).map(Uid))?;
    Ok(uids.collect::<rusqlite::Result<_>>()?)
}
