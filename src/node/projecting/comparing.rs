//! What the Dovecot holds, read back, against what the mirror says: for `verify`, whose digests the mirror has compared with
//! the source's before.

use super::target::{Dovecot, TellError};
use crate::op::{DigestVerdict, Guid, MailboxName, Uid, UserName};
use crate::store::dovecot::dsync::{Delta, MailboxDelta, MailboxReading, Message, Node, NodeMailbox, Reading, Wanted};
use crate::store::embedded::mirror::Mirror;
use crate::store::target::TargetError;
use std::collections::{BTreeMap, BTreeSet};

/// Adds to a user's verdicts what differs in the Dovecot; true where anything does.
pub(super) fn compare(
    mirror: &Mirror,
    dovecot: &mut dyn Dovecot,
    user: &UserName,
    verdicts: &mut [DigestVerdict],
) -> Result<bool, TellError> {
    let whole = mirror
        .whole(user)
        .map_err(|e: TargetError| TellError::User(e.to_string()))?;
    let there = dovecot.read(user, &Wanted::Everything)?;
    let named: BTreeMap<String, &Node> = whole.tree.iter().map(|node| (node.name.join('/'), node)).collect();
    let mut any = false;
    for verdict in verdicts {
        let differs = match (verdict.mailbox.as_str(), named.get(&verdict.mailbox)) {
            ("", _) => tree(&whole, &there),
            (_, Some(node)) => mailbox(&whole, &there, node),
            // the mirror's own verdict says what is wrong with it
            (_, None) => Vec::new(),
        };
        any |= !differs.is_empty();
        add(verdict, &differs);
    }
    Ok(any)
}

/// Where somebody else than this node has changed what this user has there, as far as Dovecot's own logs tell: what is seen of it.
pub(super) fn touched(
    mirror: &Mirror,
    dovecot: &mut dyn Dovecot,
    user: &UserName,
) -> Result<Option<String>, TellError> {
    let known = mirror
        .acknowledged(user)
        .map_err(|e: TargetError| TellError::User(e.to_string()))?;
    if known.is_empty() {
        return Ok(None);
    }
    let there = dovecot.read(user, &Wanted::Since(known.clone()))?;
    let named: BTreeMap<Guid, NodeMailbox> = there
        .tree
        .iter()
        .filter_map(|node| Some((node.mailbox?.guid, node.mailbox?)))
        .collect();
    for (guid, state) in &known {
        let Some(mailbox) = named.get(guid) else {
            return Ok(Some(format!("no mailbox {guid}")));
        };
        if mailbox.uid_validity != state.uid_validity || mailbox.uid_next.0 != state.uid.0.saturating_add(1) {
            return Ok(Some(format!("another UIDVALIDITY or UIDNEXT of {guid}")));
        }
    }
    let unused = |mailbox: &NodeMailbox| mailbox.uid_next <= Uid(1);
    let stranger = named
        .iter()
        .find(|(guid, mailbox)| !known.contains_key(guid) && !unused(mailbox));
    if let Some((guid, _)) = stranger {
        return Ok(Some(format!("a mailbox {guid}")));
    }
    let changed = |mailbox: &MailboxReading| !mailbox.listed.is_empty() || !mailbox.expunged.is_empty();
    let found = there.mailboxes.iter().find(|(_, mailbox)| changed(mailbox));
    Ok(found.map(|(guid, mailbox)| {
        let (listed, expunged) = (mailbox.listed.len(), mailbox.expunged.len());
        format!("{listed} messages of {guid} changed, {expunged} expunged")
    }))
}

/// Notes that the Dovecot could not be asked: nothing is known to be equal.
pub(super) fn unread(verdicts: &mut [DigestVerdict], why: &str) {
    for verdict in verdicts {
        add(verdict, &[&format!("can't be read: {why}")]);
    }
}

fn add(verdict: &mut DigestVerdict, differs: &[&str]) {
    if differs.is_empty() {
        return;
    }
    if !verdict.why.is_empty() {
        verdict.why.push_str(", ");
    }
    verdict.why.push_str("in the mail server: ");
    verdict.why.push_str(&differs.join(", "));
}

/// Names, GUIDs and subscriptions.
fn tree(whole: &Delta, there: &Reading) -> Vec<&'static str> {
    let inbox = MailboxName::inbox();
    let has_inbox = whole
        .tree
        .iter()
        .any(|node| node.name == inbox && node.mailbox.is_some());
    let names = |nodes: &[Node]| -> BTreeSet<(MailboxName, Guid)> {
        let named = nodes
            .iter()
            .filter_map(|node| Some((node.name.clone(), node.mailbox?.guid)));
        // a Dovecot makes one by itself
        named.filter(|(name, _)| has_inbox || *name != inbox).collect()
    };
    let subscribed = |nodes: &[Node]| -> BTreeSet<MailboxName> {
        let subscribed = nodes.iter().filter(|node| node.subscribed);
        subscribed.map(|node| node.name.clone()).collect()
    };
    let checks = [
        ("names", names(&whole.tree) == names(&there.tree)),
        ("subscriptions", subscribed(&whole.tree) == subscribed(&there.tree)),
    ];
    unequal(checks)
}

/// Numbers and messages of one mailbox. MODSEQs are floors there.
fn mailbox(whole: &Delta, there: &Reading, node: &Node) -> Vec<&'static str> {
    let Some(guid) = node.mailbox.map(|mailbox| mailbox.guid) else {
        return Vec::new();
    };
    let Some(ours) = whole.mailboxes.iter().find(|mailbox| mailbox.guid == guid) else {
        return Vec::new();
    };
    match there.mailboxes.get(&guid) {
        Some(there) => differences(ours, there),
        None => vec!["no such mailbox"],
    }
}

fn differences(ours: &MailboxDelta, there: &MailboxReading) -> Vec<&'static str> {
    let pairs = || ours.changed.iter().zip(&there.listed);
    let same = |what: &dyn Fn(&Message, &Message) -> bool| pairs().all(|(ours, theirs)| what(ours, theirs));
    if let Some((ours, theirs)) = pairs().find(|(a, b)| a.flags != b.flags || keywords(a) != keywords(b)) {
        let (uid, keywords, there) = (ours.uid, &ours.keywords, &theirs.keywords);
        tracing::info!(%uid, flags = ?ours.flags, ?keywords, flags_there = ?theirs.flags, keywords_there = ?there, "flags differ in the mail server");
    }
    let is_modseq_kept = there.highest_modseq >= ours.highest_modseq && same(&|a, b| b.modseq >= a.modseq);
    if !is_modseq_kept {
        let lower = pairs()
            .find(|(a, b)| b.modseq < a.modseq)
            .map(|(a, b)| (a.uid, a.modseq, b.modseq));
        tracing::info!(?lower, highest = ?ours.highest_modseq, highest_there = ?there.highest_modseq, "MODSEQs are lower in the mail server");
    }
    let checks = [
        ("uidvalidity", ours.uid_validity == there.uid_validity),
        ("uidnext", ours.uid_next == there.uid_next),
        ("count", ours.changed.len() == there.listed.len()),
        ("content", same(&|a, b| (a.uid, &a.guid) == (b.uid, &b.guid))),
        ("flags", same(&|a, b| a.flags == b.flags && keywords(a) == keywords(b))),
        ("modseq", is_modseq_kept),
    ];
    unequal(checks)
}

fn keywords(message: &Message) -> BTreeSet<String> {
    message
        .keywords
        .iter()
        .map(|keyword| keyword.0.to_ascii_lowercase())
        .collect()
}

fn unequal<const N: usize>(checks: [(&'static str, bool); N]) -> Vec<&'static str> {
    let unequal = checks.into_iter().filter(|(_, equal)| !equal);
    unequal.map(|(what, _)| what).collect()
}
