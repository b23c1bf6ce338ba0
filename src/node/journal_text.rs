//! `journal ls` and `journal cat`: the stream, readable, never message content.

use super::files::{NOWHERE, decode, oldest};
use super::group::GroupHandle;
use crate::control::report::{JournalFrame, JournalOfGroup, JournalSegment};
use crate::control::verbs::{JournalRequest, VerbError};
use crate::limits::JOURNAL_CAT_FRAMES_MAX;
use crate::op::{
    Append, AttributesChange, Flags, KeywordVerb, MailboxId, MailboxTxn, Op, Payload, StateChunk, TreeChange, UidRange,
    Unselectable, UserName,
};
use crate::store::target::Frame;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// A group's journal as a whole.
pub(super) fn list(group: &GroupHandle) -> JournalOfGroup {
    let journal = group.journal();
    let head = journal.head().unwrap_or(NOWHERE);
    JournalOfGroup {
        group: group.config.name.clone(),
        stream: head.stream.to_hex(),
        epoch: head.epoch,
        first: journal.oldest(),
        last: journal.head().map(|head| head.lsn),
        bytes: journal.bytes(),
        segments: journal
            .segments()
            .into_iter()
            .map(|segment| JournalSegment {
                file: segment.name,
                first: segment.first,
                last: segment.last,
                bytes: segment.bytes,
            })
            .collect(),
    }
}

/// At most so many frames from the LSN on.
pub(super) fn frames(group: &GroupHandle, request: &JournalRequest) -> Result<Vec<JournalFrame>, VerbError> {
    let journal = group.journal();
    let most = request.most.unwrap_or(u64::MAX).min(JOURNAL_CAT_FRAMES_MAX);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut reader = journal.reader(request.from.unwrap_or_else(|| oldest(&journal)));
    let mut told = Vec::new();
    while told.len() < most {
        let read = reader
            .read_batch(READ_BYTES)
            .map_err(|e| VerbError::failed(e.to_string()))?;
        if read.is_empty() {
            break;
        }
        for encoded in read.iter().take(most - told.len()) {
            let frame = decode(encoded).map_err(|e| VerbError::failed(e.to_string()))?;
            told.push(tell(&group.config.name, &frame, encoded.bytes.len()));
        }
    }
    Ok(told)
}

fn tell(group: &str, frame: &Frame, bytes: usize) -> JournalFrame {
    let (user, mailbox) = whose(&frame.payload);
    let header = &frame.header;
    JournalFrame {
        group: group.to_owned(),
        lsn: header.lsn,
        epoch: header.epoch,
        chain: frame.chain.to_hex(),
        captured_ms: header.captured_ms,
        kind: frame.payload.kind().to_owned(),
        run: header.run.map(|run| format!("{} of {}", run.part + 1, run.parts)),
        peer: header.peer.clone(),
        user,
        mailbox: mailbox.map(|id| id.guid.to_hex()),
        summary: summary(&frame.payload),
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    }
}

fn whose(payload: &Payload) -> (Option<UserName>, Option<&MailboxId>) {
    let of = |id: &MailboxId| Some(id.user.clone());
    match payload {
        Payload::Mailbox(txn) => (of(&txn.mailbox), Some(&txn.mailbox)),
        Payload::State(chunk) => (of(&chunk.mailbox), Some(&chunk.mailbox)),
        Payload::Digest(digest) => (of(&digest.mailbox), Some(&digest.mailbox)),
        Payload::Tree(change) => (Some(change.user.clone()), None),
        Payload::TreeDigest(digest) => (Some(digest.user.clone()), None),
        Payload::Attributes(change) => (Some(change.user.clone()), None),
        Payload::Merged(merged) => (of(&merged.mailbox), Some(&merged.mailbox)),
        Payload::Epoch(_) | Payload::Base(_) | Payload::BaseEnd(_) => (None, None),
    }
}

fn summary(payload: &Payload) -> String {
    match payload {
        Payload::Epoch(start) => format!("epoch {} taken by {} after {}", start.epoch, start.node, start.fork_lsn),
        Payload::Base(base) => base.reason.clone(),
        Payload::BaseEnd(begin) => format!("of the base at {begin}"),
        Payload::Mailbox(txn) => transaction(txn),
        Payload::State(chunk) => list_of(chunk),
        Payload::Tree(change) => tree(change),
        Payload::Digest(digest) => format!(
            "{} messages, uidnext {}, modseq {}",
            digest.messages, digest.uidnext, digest.highest_modseq
        ),
        Payload::TreeDigest(digest) => format!("{} mailboxes", digest.mailboxes),
        Payload::Attributes(change) => attributes(change),
        Payload::Merged(merged) => format!(
            "of a lost tail of epoch {}: {} messages, {} ranges of expunges",
            merged.epoch,
            merged.appended.len(),
            merged.expunged.len()
        ),
    }
}

fn transaction(txn: &MailboxTxn) -> String {
    if txn.ops.is_empty() {
        return format!("floor: uidnext {}, modseq {}", txn.uidnext, txn.highest_modseq);
    }
    let ops: Vec<String> = txn.ops.iter().map(operation).collect();
    ops.join("; ")
}

fn operation(op: &Op) -> String {
    match op {
        Op::Append(append) => appended(append),
        Op::Flags(change) => {
            let signed = |sign: char, flags: Flags| names(flags).into_iter().map(move |name| format!(" {sign}{name}"));
            let changes: String = signed('+', change.add).chain(signed('-', change.remove)).collect();
            format!("flags {}{changes}", ranges(&change.uids))
        }
        Op::Keywords(change) => {
            let sign = match change.verb {
                KeywordVerb::Add => "+",
                KeywordVerb::Remove => "-",
                KeywordVerb::Replace => "=",
                KeywordVerb::Reset => "none",
            };
            format!("keywords {} {sign}{}", ranges(&change.uids), change.keyword)
        }
        Op::Expunge(expunge) => {
            let asked = if expunge.requested {
                ""
            } else {
                " (nobody asked for it)"
            };
            format!("expunge {}{asked}", ranges(&expunge.uids))
        }
    }
}

fn appended(append: &Append) -> String {
    let size = append.size.map_or(String::new(), |size| format!(" ({size} bytes)"));
    let flags: String = names(append.flags).into_iter().map(|name| format!(" {name}")).collect();
    let keywords: String = append.keywords.iter().map(|keyword| format!(" {keyword}")).collect();
    format!("append {}{size}{flags}{keywords}", append.uid)
}

fn names(flags: Flags) -> Vec<&'static str> {
    Flags::NAMED
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, name)| *name)
        .collect()
}

fn ranges(uids: &[UidRange]) -> String {
    let one = |range: &UidRange| {
        if range.first == range.last {
            range.first.to_string()
        } else {
            format!("{}:{}", range.first, range.last)
        }
    };
    uids.iter().map(one).collect::<Vec<_>>().join(",")
}

fn list_of(chunk: &StateChunk) -> String {
    let span = match (chunk.messages.first(), chunk.messages.last()) {
        (Some(first), Some(last)) => format!("{} messages {}:{}", chunk.messages.len(), first.uid, last.uid),
        _ => "no messages".to_owned(),
    };
    format!("{span}, uidnext {}, lineage {:?}", chunk.uidnext, chunk.lineage)
}

fn tree(change: &TreeChange) -> String {
    let mailboxes = change.mailboxes.iter().map(|mailbox| match &mailbox.name {
        Ok(name) => format!("{} is \"{name}\"", mailbox.guid),
        Err(gone) => format!("{} is gone ({gone:?})", mailbox.guid),
    });
    let named = |what: &'static str, not: &'static str, names: &[(crate::op::MailboxName, bool)]| {
        let told = names
            .iter()
            .map(move |(name, is)| format!("{} \"{name}\"", if *is { what } else { not }));
        told.collect::<Vec<_>>()
    };
    let unselectable = change.unselectable.iter().map(|(name, how)| match how {
        Some(Unselectable::Noselect) => format!("not selectable \"{name}\""),
        Some(Unselectable::Stale(stale)) => format!("stale \"{name}\" (was {})", stale.guid),
        None => format!("no longer listed alone \"{name}\""),
    });
    let complete = change.complete.then(|| "complete".to_owned());
    let namespaces = change.namespaces.as_ref().map(|namespaces| {
        let (separator, prefixes) = (namespaces.separator, &namespaces.prefixes);
        format!("separator \"{separator}\", prefixes {prefixes:?}")
    });
    complete
        .into_iter()
        .chain(namespaces)
        .chain(mailboxes)
        .chain(unselectable)
        .chain(named("subscribed", "unsubscribed", &change.subscriptions))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Names only: what an annotation or a script says is content.
fn attributes(change: &AttributesChange) -> String {
    let of = change
        .scope
        .mailbox
        .map_or_else(|| "the user".to_owned(), |guid| guid.to_string());
    let all = if change.complete { "all " } else { "" };
    let entries = change
        .entries
        .iter()
        .map(|(name, value)| format!("{}{name}", if value.is_some() { '+' } else { '-' }));
    let entries: Vec<String> = entries.collect();
    format!("{all}{} of {of}: {}", change.scope.kind.name(), entries.join(" "))
}
