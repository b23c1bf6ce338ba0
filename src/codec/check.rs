//! What every payload and header must satisfy, whoever made it. Checked before bytes are made of it and after bytes
//! were read, so that nobody writes what the other side refuses, and nobody acts on what can't be meant.
//!
//! Only shapes and bounds are judged here. Whether an operation fits the mailbox that it meets (a UID that comes again,
//! another UIDVALIDITY) is for the store to decide, and holds that mailbox only.

use super::CodecError;
use crate::limits::{
    ATTRIBUTE_BYTES_MAX, ATTRIBUTE_HOLDERS_MAX, ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX, KEYWORD_BYTES_MAX,
    MERGED_MESSAGES_MAX, MESSAGE_GUID_BYTES_MAX, NAME_BYTES_MAX, NAME_LEVELS_MAX, NAMESPACES_MAX, NODE_BYTES_MAX,
    OPEN_REQUESTS_MAX, REASON_BYTES_MAX, RUN_PARTS_MAX, SPECIAL_USE_BYTES_MAX, USER_BYTES_MAX, VALUE_HERE_BYTES_MAX,
};
use crate::op::{
    Append, AttributeKind, AttributeValue, AttributesChange, ChainHash, Epoch, EpochStart, FrameHeader, Keyword,
    KeywordChange, KeywordVerb, Lsn, MailboxId, MailboxName, MailboxTxn, Merged, Namespaces, NodeName, Op, Payload,
    Run, SourcePosition, StateChunk, TreeChange, TreeMailbox, Uid, UidRange, UserName,
};

type Checked = Result<(), CodecError>;

/// A frame's header.
///
/// # Errors
/// The first rule that it breaks.
pub fn header(header: &FrameHeader) -> Checked {
    rule(header.lsn != Lsn(0), "lsn", "is 0")?;
    rule(header.epoch != Epoch(0), "epoch", "is 0")?;
    rule(
        header.lsn != Lsn(1) || header.previous == ChainHash::default(),
        "previous chain hash",
        "is set on the first frame",
    )?;
    header.peer.as_ref().map_or(Ok(()), node)?;
    header.run.as_ref().map_or(Ok(()), |run| self::run(run, header.lsn))
}

fn run(run: &Run, lsn: Lsn) -> Checked {
    at_most("parts of a run", run.parts as usize, RUN_PARTS_MAX as usize)?;
    rule(run.parts >= 2, "run", "has fewer than two parts")?;
    rule(run.part < run.parts, "run", "has a part beyond its number of parts")?;
    let here = run.first.0.checked_add(u64::from(run.part));
    rule(
        run.first != Lsn(0) && here == Some(lsn.0),
        "run",
        "does not begin where it says",
    )
}

/// A header together with what it stands before.
///
/// # Errors
/// An epoch frame of another epoch than its own.
pub fn header_fits(header: &FrameHeader, payload: &Payload) -> Checked {
    match payload {
        Payload::Epoch(start) => rule(
            start.epoch == header.epoch,
            "epoch frame",
            "starts another epoch than its own",
        ),
        _ => Ok(()),
    }
}

/// A payload.
///
/// # Errors
/// The first rule that it breaks.
pub fn payload(payload: &Payload) -> Checked {
    match payload {
        Payload::Epoch(start) => epoch_start(start),
        Payload::Base(base) => at_most("reason", base.reason.len(), REASON_BYTES_MAX),
        Payload::BaseEnd(lsn) => rule(*lsn != Lsn(0), "base end", "names LSN 0"),
        Payload::Mailbox(txn) => mailbox_txn(txn),
        Payload::State(chunk) => state_chunk(chunk),
        Payload::Tree(change) => tree_change(change),
        Payload::Digest(digest) => mailbox_id(&digest.mailbox),
        Payload::TreeDigest(digest) => {
            at_most("kinds of attributes", digest.attributes.len(), AttributeKind::ALL.len())?;
            user(&digest.user)
        }
        Payload::Attributes(change) => attributes(change),
        Payload::Merged(merged) => self::merged(merged),
    }
}

fn merged(merged: &Merged) -> Checked {
    mailbox_id(&merged.mailbox)?;
    at_most("merged messages", merged.appended.len(), MERGED_MESSAGES_MAX)?;
    at_most("merged expunges", merged.expunged.len(), MERGED_MESSAGES_MAX)?;
    for (uid, guid) in &merged.appended {
        rule(*uid != Uid(0), "uid", "is 0")?;
        at_most("message GUID", guid.0.len(), MESSAGE_GUID_BYTES_MAX)?;
    }
    merged.expunged.iter().try_for_each(uid_range)
}

fn epoch_start(start: &EpochStart) -> Checked {
    node(&start.node)?;
    rule(
        start.previous < start.epoch,
        "epoch",
        "is not higher than the one before",
    )
}

fn mailbox_txn(txn: &MailboxTxn) -> Checked {
    mailbox_id(&txn.mailbox)?;
    position(&txn.position)?;
    txn.ops.iter().try_for_each(op)
}

/// One operation of a mailbox.
///
/// # Errors
/// The first rule that it breaks.
pub fn op(op: &Op) -> Checked {
    match op {
        Op::Append(message) => append(message),
        Op::Flags(change) => {
            flags(change.add.bits())?;
            flags(change.remove.bits())?;
            change.uids.iter().try_for_each(uid_range)
        }
        Op::Keywords(change) => keyword_change(change),
        Op::Expunge(expunge) => expunge.uids.iter().try_for_each(uid_range),
    }
}

fn keyword_change(change: &KeywordChange) -> Checked {
    if change.verb == KeywordVerb::Reset {
        rule(change.keyword.0.is_empty(), "keyword", "is named by a reset")?;
    } else {
        keyword(&change.keyword)?;
    }
    change.uids.iter().try_for_each(uid_range)
}

fn state_chunk(chunk: &StateChunk) -> Checked {
    mailbox_id(&chunk.mailbox)?;
    position(&chunk.position)?;
    chunk.messages.iter().try_for_each(append)?;
    let ascending = chunk.messages.is_sorted_by(|before, after| before.uid < after.uid);
    rule(ascending, "state", "does not list its messages by ascending UID")
}

fn append(message: &Append) -> Checked {
    rule(message.uid != Uid(0), "uid", "is 0")?;
    at_most("message GUID", message.guid.0.len(), MESSAGE_GUID_BYTES_MAX)?;
    flags(message.flags.bits())?;
    message.keywords.iter().try_for_each(keyword)
}

fn tree_change(change: &TreeChange) -> Checked {
    user(&change.user)?;
    change.namespaces.as_ref().map_or(Ok(()), namespaces)?;
    change.mailboxes.iter().try_for_each(tree_mailbox)?;
    change
        .unselectable
        .iter()
        .try_for_each(|(name, _)| mailbox_name(name))?;
    change.subscriptions.iter().try_for_each(|(name, _)| mailbox_name(name))
}

fn namespaces(namespaces: &Namespaces) -> Checked {
    let separator = namespaces.separator;
    rule(
        separator.is_ascii_graphic(),
        "separator",
        "is no graphic character of ASCII",
    )?;
    at_most("namespaces", namespaces.prefixes.len(), NAMESPACES_MAX)?;
    let prefixes = namespaces.prefixes.iter();
    prefixes
        .map(String::len)
        .try_for_each(|bytes| at_most("prefix", bytes, NAME_BYTES_MAX))
}

fn tree_mailbox(mailbox: &TreeMailbox) -> Checked {
    if let Ok(name) = &mailbox.name {
        mailbox_name(name)?;
    }
    let special_use = mailbox.special_use.as_deref().map_or(0, str::len);
    at_most("special use", special_use, SPECIAL_USE_BYTES_MAX)
}

fn attributes(change: &AttributesChange) -> Checked {
    user(&change.user)?;
    at_most("attributes", change.entries.len(), ATTRIBUTES_MAX)?;
    let holders = change.holders.as_ref().map_or(0, Vec::len);
    at_most("mailboxes with attributes", holders, ATTRIBUTE_HOLDERS_MAX)?;
    rule(
        change.holders.is_none() || change.scope.mailbox.is_none(),
        "attributes of a mailbox",
        "speak of other mailboxes",
    )?;
    for (name, value) in &change.entries {
        rule(!name.is_empty(), "attribute", "has no name")?;
        at_most("name of an attribute", name.len(), ATTRIBUTE_NAME_BYTES_MAX)?;
        value.as_ref().map_or(Ok(()), attribute_value)?;
    }
    Ok(())
}

fn attribute_value(value: &AttributeValue) -> Checked {
    match value {
        AttributeValue::Here(octets) => at_most("value of an attribute", octets.len(), VALUE_HERE_BYTES_MAX),
        AttributeValue::Body { size, .. } => rule(
            *size <= ATTRIBUTE_BYTES_MAX,
            "value of an attribute",
            "is larger than what is carried",
        ),
    }
}

fn mailbox_name(name: &MailboxName) -> Checked {
    rule(!name.0.is_empty(), "mailbox name", "has no level")?;
    at_most("levels of a mailbox name", name.0.len(), NAME_LEVELS_MAX)?;
    let bytes = name.0.iter().map(String::len).sum();
    at_most("mailbox name", bytes, NAME_BYTES_MAX)
}

fn position(position: &SourcePosition) -> Checked {
    at_most("open requests", position.open_requests.len(), OPEN_REQUESTS_MAX)?;
    position.open_requests.iter().try_for_each(uid_range)
}

fn uid_range(range: &UidRange) -> Checked {
    rule(range.first != Uid(0), "uid range", "begins at 0")?;
    rule(range.first <= range.last, "uid range", "ends before it begins")
}

fn flags(bits: u8) -> Checked {
    rule(bits & !0x1f == 0, "flags", "has unknown bits")
}

fn keyword(keyword: &Keyword) -> Checked {
    rule(!keyword.0.is_empty(), "keyword", "is empty")?;
    at_most("keyword", keyword.0.len(), KEYWORD_BYTES_MAX)
}

fn mailbox_id(mailbox: &MailboxId) -> Checked {
    user(&mailbox.user)
}

fn user(user: &UserName) -> Checked {
    rule(!user.0.is_empty(), "user name", "is empty")?;
    at_most("user name", user.0.len(), USER_BYTES_MAX)
}

fn node(node: &NodeName) -> Checked {
    rule(!node.0.is_empty(), "node name", "is empty")?;
    at_most("node name", node.0.len(), NODE_BYTES_MAX)
}

fn at_most(what: &'static str, size: usize, most: usize) -> Checked {
    if size > most {
        return Err(CodecError::TooLarge { what, size, most });
    }
    Ok(())
}

fn rule(holds: bool, what: &'static str, why: &str) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(CodecError::invalid(what, why))
    }
}
