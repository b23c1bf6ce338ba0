//! The session over recorded ones, and the guards over what they guard against.

mod guards;
mod judging;
mod transcripts;

use super::*;
use crate::op::{Flags, Guid, Keyword, MailboxName, Modseq, Uid, UidValidity};

pub(super) fn guid(number: u8) -> Guid {
    Guid([number; 16])
}

pub(super) fn message(uid: u32, guid: &str, modseq: u64) -> Message {
    Message {
        uid: Uid(uid),
        guid: guid.into(),
        modseq: Modseq(modseq),
        ..Message::default()
    }
}

/// INBOX (GUID 1) and Work (GUID 2), both with UIDVALIDITY 9; INBOX has changed.
pub(super) fn delta(inbox: MailboxDelta) -> Delta {
    let node = |name: &str, number: u8, uid_next| Node {
        name: MailboxName::of([name]),
        mailbox: Some(NodeMailbox {
            guid: guid(number),
            uid_validity: UidValidity(9),
            uid_next,
        }),
        subscribed: false,
    };
    Delta {
        user: "u".into(),
        tree: vec![node("INBOX", 1, inbox.uid_next), node("Work", 2, Uid(5))],
        acknowledged: [(guid(2), state(4, 3))].into(),
        mailboxes: vec![inbox],
        ..Delta::default()
    }
}

pub(super) fn state(uid: u32, messages: u32) -> State {
    State {
        uid_validity: UidValidity(9),
        uid: Uid(uid),
        modseq: Modseq(10),
        messages,
        ..State::default()
    }
}

/// INBOX after UIDs 7 and 8 came to 6 that were there, and 3 was flagged.
pub(super) fn inbox() -> MailboxDelta {
    MailboxDelta {
        guid: guid(1),
        uid_validity: UidValidity(9),
        uid_next: Uid(9),
        highest_modseq: Modseq(20),
        messages: 8,
        since: Some(state(6, 6)),
        changed: vec![
            Message {
                flags: Flags::SEEN,
                keywords: vec![Keyword::from("k")],
                ..message(3, "c", 11)
            },
            message(7, "g", 12),
            message(8, "h", 13),
        ],
        ..MailboxDelta::default()
    }
}
