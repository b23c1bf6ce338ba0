//! Comparing the copy with what a fresh reading of the source gave.

use super::super::target::TargetError;
use super::attributes;
use super::bodies;
use super::mailbox::{Mailbox, read_name};
use super::packs::Packs;
use super::tree;
use crate::op::digest::Sum;
use crate::op::{AttributeKind, DigestVerdict, Guid, Lsn, MailboxDigest, TreeDigest, UserName};
use rusqlite::{Connection, OptionalExtension, params};

/// What differs in a mailbox. Bodies are read from the packs and hashed where the source's were read.
pub(super) fn mailbox(
    tx: &Connection,
    packs: &Packs,
    lsn: Lsn,
    source: &MailboxDigest,
) -> Result<DigestVerdict, TargetError> {
    let user = &source.mailbox.user;
    let mut note = String::new();
    let why = match Mailbox::load(tx, &source.mailbox)? {
        Some(mailbox) => {
            let mut copy = of_mailbox(tx, &mailbox)?;
            if source.bodies.is_some() {
                copy.bodies = Some(Sum::default());
                add_bodies(tx, packs, &mailbox, &mut copy)?;
            }
            if mailbox.modseq_lift > 0 {
                note = format!(
                    "MODSEQs are {} higher here: the source's log was taken back, and here they never fall",
                    mailbox.modseq_lift
                );
            }
            source.difference(&copy)
        }
        None => "the copy has no such mailbox".to_owned(),
    };
    let name = name_of(tx, user, source.mailbox.guid)?;
    let verdict = DigestVerdict {
        lsn,
        request: source.request,
        user: user.clone(),
        mailbox: name,
        why,
        note,
    };
    keep(tx, &verdict, &source.mailbox.guid.0)?;
    Ok(verdict)
}

/// What differs in a user's tree.
pub(super) fn tree(tx: &Connection, lsn: Lsn, source: &TreeDigest) -> Result<DigestVerdict, TargetError> {
    let copy = of_tree(tx, &source.user)?;
    let verdict = DigestVerdict {
        lsn,
        request: source.request,
        user: source.user.clone(),
        mailbox: String::new(),
        why: source.difference(&copy),
        note: String::new(),
    };
    keep(tx, &verdict, &[])?;
    Ok(verdict)
}

/// What a mailbox holds.
pub(super) fn of_mailbox(tx: &Connection, mailbox: &Mailbox) -> Result<MailboxDigest, TargetError> {
    let mut digest = MailboxDigest::empty(
        mailbox.is.clone(),
        mailbox.uidvalidity,
        mailbox.uidnext,
        mailbox.highest_modseq,
    );
    mailbox.all(tx)?.iter().for_each(|stored| digest.add(&stored.message));
    digest.lower(mailbox.modseq_lift);
    Ok(digest)
}

/// Counts in the bodies that can be read.
pub(super) fn add_bodies(
    tx: &Connection,
    packs: &Packs,
    mailbox: &Mailbox,
    digest: &mut MailboxDigest,
) -> Result<(), TargetError> {
    for stored in mailbox.all(tx)? {
        let Some(body) = stored.body else { continue };
        let (hash, location) = bodies::by_id(tx, body)?;
        match packs.read(&location, &hash) {
            Ok(_) => digest.add_body(stored.message.uid, &hash),
            Err(why) => tracing::error!(why, "a stored body can't be read"),
        }
    }
    Ok(())
}

/// What a user's tree is.
pub(super) fn of_tree(tx: &Connection, user: &UserName) -> Result<TreeDigest, TargetError> {
    let mut digest = TreeDigest::empty(user.clone());
    digest.attributes = AttributeKind::ALL.map(|kind| (kind, Sum::default())).to_vec();
    let Some(id) = bodies::known_user(tx, user)? else {
        return Ok(digest);
    };
    attributes::add_to(tx, id, &mut digest)?;
    digest.add(b'h', &[], &tree::namespaces(tx, id)?.unwrap_or_default().to_levels());
    for (kind, select) in [
        (
            b'm',
            "SELECT guid, name FROM mailboxes WHERE user = ?1 AND name IS NOT NULL",
        ),
        (
            b'u',
            "SELECT guid, json_array(special_use) FROM mailboxes
             WHERE user = ?1 AND name IS NOT NULL AND special_use IS NOT NULL",
        ),
        (b'n', "SELECT mark, name FROM unselectable WHERE user = ?1"),
        (b's', "SELECT x'', name FROM subscriptions WHERE user = ?1"),
    ] {
        let mut statement = tx.prepare_cached(select)?;
        let mut rows = statement.query([id])?;
        while let Some(row) = rows.next()? {
            let name = read_name(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
            let name = name.map_err(|e| TargetError::Halt(format!("a stored mailbox name: {e}")))?;
            digest.add(kind, row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?, &name);
        }
    }
    Ok(digest)
}

/// The mailbox's name on the copy, for people.
fn name_of(tx: &Connection, user: &UserName, guid: Guid) -> Result<String, TargetError> {
    let name: Option<String> = tx
        .prepare_cached(
            "SELECT m.last_name FROM mailboxes m JOIN users u ON u.id = m.user WHERE u.name = ?1 AND m.guid = ?2",
        )?
        .query_row(params![user.0, guid.0], |row| row.get(0))
        .optional()?
        .flatten();
    let name = name.and_then(|name| read_name(&name).ok());
    Ok(name.map_or_else(|| guid.to_hex(), |name| name.to_string()))
}

fn keep(tx: &Connection, verdict: &DigestVerdict, mailbox: &[u8]) -> Result<(), TargetError> {
    let user = bodies::user(tx, &verdict.user)?;
    tx.prepare_cached(
        "INSERT OR REPLACE INTO verdicts (user, mailbox, lsn, request, why) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        user,
        mailbox,
        verdict.lsn.0.cast_signed(),
        verdict.request.cast_signed(),
        verdict.why
    ])?;
    Ok(())
}
