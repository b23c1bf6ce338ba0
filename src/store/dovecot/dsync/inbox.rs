//! INBOX, which no Dovecot renames and a maildir's Dovecot doesn't even delete: how it gets other numbers all the same.
//!
//! One that never held anything takes GUID and UIDVALIDITY from `doveadm mailbox update`, in every format. Of one that was
//! used, UIDNEXT stays whatever is said, for it stands in the maildir's list of UIDs: emptied of what was judged before, it loses
//! that list and its index, which Dovecot makes anew as for a folder that it sees for the first time. No message's file is
//! ever touched by us; one that came meanwhile is new mail in the new INBOX.

use super::said::SaidNode;
use super::telling::Placed;
use super::{Broken, Delta, DsyncError, broken};
use crate::op::{Guid, MailboxName, Uid, UidValidity, UserName};
use crate::store::dovecot::doveadm::{Doveadm, DoveadmError};
use std::io::ErrorKind;
use std::path::PathBuf;

/// In a maildir's control directory.
const UIDLIST: &str = "dovecot-uidlist";
/// In an index directory: what knows the old UIDs.
const INDEX: [&str; 4] = [
    "dovecot.index.log.2",
    "dovecot.index.cache",
    "dovecot.index",
    "dovecot.index.log",
];

/// What INBOX is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) guid: Guid,
    pub(super) uid_validity: UidValidity,
}

/// INBOX as the target has it.
pub(super) fn there(said: &[SaidNode]) -> Option<(Guid, UidValidity, Uid)> {
    let inbox = MailboxName::inbox();
    said.iter().find(|node| node.name == inbox)?.mailbox
}

/// The numbers that INBOX shall have, where the target's has others and never held anything.
pub(super) fn unused(delta: &Delta, said: &[SaidNode]) -> Option<Numbers> {
    let inbox = MailboxName::inbox();
    let ours = delta.tree.iter().find(|node| node.name == inbox)?.mailbox?;
    let theirs = there(said)?;
    let differs = (theirs.0, theirs.1) != (ours.guid, ours.uid_validity);
    (differs && theirs.2 <= Uid(1) && !is_elsewhere(ours.guid, said)).then_some(Numbers {
        guid: ours.guid,
        uid_validity: ours.uid_validity,
    })
}

/// The numbers that INBOX shall have, where this tree would have the target's deleted.
pub(super) fn replaced(tree: &[Placed], said: &[SaidNode]) -> Option<Numbers> {
    let inbox = MailboxName::inbox();
    let (guid, uid_validity, uid_next) = tree.iter().find(|placed| placed.name == inbox)?.mailbox?;
    let theirs = there(said)?;
    let goes = (theirs.0, theirs.1) != (guid, uid_validity) || theirs.2 > uid_next;
    (goes && !is_elsewhere(guid, said)).then_some(Numbers { guid, uid_validity })
}

/// True where a folder of the target has this GUID.
fn is_elsewhere(guid: Guid, said: &[SaidNode]) -> bool {
    let inbox = MailboxName::inbox();
    let mut folders = said.iter().filter(|node| node.name != inbox);
    folders.any(|node| node.mailbox.is_some_and(|there| there.0 == guid))
}

/// Gives an INBOX that holds nothing these numbers.
pub(super) fn renumber(doveadm: &Doveadm, user: &UserName, to: Numbers) -> Result<(), DsyncError> {
    let (guid, uid_validity) = (to.guid.to_hex(), to.uid_validity.to_string());
    let user = user.as_str();
    let words = [
        "mailbox",
        "update",
        "-u",
        user,
        "-g",
        &guid,
        "-V",
        &uid_validity,
        "INBOX",
    ];
    run(doveadm, &words).map(drop)
}

/// Empties a maildir's INBOX, below this UID, and makes it begin again with these numbers. False: it is no maildir, or lies
/// where this process sees nothing; nothing was done.
pub(super) fn renew(doveadm: &Doveadm, user: &UserName, uid_next: Uid, to: Numbers) -> Result<bool, DsyncError> {
    let [control, index] = ["control", "index"].map(|kind| directory(doveadm, user, kind));
    let (control, index) = (control?, index?);
    if !control.join(UIDLIST).exists() {
        return Ok(false);
    }
    let name = user.as_str();
    // A session that has it open would write what it remembers.
    drop(doveadm.call(&["kick", name]).map_err(unreachable)?);
    let uids = format!("1:{}", uid_next.0.saturating_sub(1).max(1));
    run(doveadm, &["expunge", "-u", name, "mailbox", "INBOX", "uid", &uids])?;
    let status = run(doveadm, &["mailbox", "status", "-u", name, "messages", "INBOX"])?;
    if !status.trim().ends_with("messages=0") {
        return Err(DsyncError::Broken(broken(
            "somebody else writes to INBOX while it is emptied",
        )));
    }
    for path in INDEX
        .map(|file| index.join(file))
        .iter()
        .chain([&control.join(UIDLIST)])
    {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(DsyncError::Broken(kept(&e))),
            _ => {}
        }
    }
    renumber(doveadm, user, to)?;
    Ok(true)
}

fn kept(error: &std::io::Error) -> Broken {
    broken(format!(
        "INBOX is another one at the source. A maildir's can only be made anew by removing its index and {UIDLIST}: {error}"
    ))
}

fn directory(doveadm: &Doveadm, user: &UserName, kind: &str) -> Result<PathBuf, DsyncError> {
    let path = run(doveadm, &["mailbox", "path", "-u", user.as_str(), "-t", kind, "INBOX"])?;
    Ok(PathBuf::from(path.trim_end_matches('\n')))
}

fn run(doveadm: &Doveadm, words: &[&str]) -> Result<String, DsyncError> {
    let (answer, complaint, ok) = doveadm.call(words).map_err(unreachable)?;
    match ok {
        true => Ok(answer),
        false => Err(unreachable(doveadm.failed(words, &complaint))),
    }
}

fn unreachable(error: DoveadmError) -> DsyncError {
    DsyncError::Unreachable(error.to_string())
}
