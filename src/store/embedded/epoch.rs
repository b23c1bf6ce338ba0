//! What the first frame of an epoch does to every mailbox.

use crate::op::Leap;
use rusqlite::{Connection, params};

/// MODSEQs are those of the new primary from here on, so nothing is added to them; and what a lost tail may have used
/// is left out. One statement for all mailboxes: no message is touched, [`super::mailbox::Mailbox`] and the readers put
/// `modseq_floor` in.
pub(super) fn begin(tx: &Connection, leap: Option<Leap>) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE mailboxes SET modseq_lift = 0 WHERE modseq_lift <> 0")?
        .execute([])?;
    let Some(leap) = leap else { return Ok(()) };
    tx.prepare_cached(
        "UPDATE mailboxes SET uidnext = min(uidnext + ?1, 4294967295),
         highest_modseq = lifted, modseq_floor = lifted, expunged_since = lifted, rewritten = rewritten + 1
         FROM (SELECT id AS lifting, iif(highest_modseq > 9223372036854775807 - ?2, 9223372036854775807, highest_modseq + ?2) AS lifted
               FROM mailboxes WHERE uidvalidity <> 0)
         WHERE id = lifting",
    )?
    .execute(params![leap.uids, i64::try_from(leap.modseqs).unwrap_or(i64::MAX)])?;
    Ok(())
}
