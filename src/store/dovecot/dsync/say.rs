//! What we say, item by item.

use super::attribute::Named;
use super::check::Change;
use super::columns::{Kind, put_headers};
use super::said::Spelling;
use super::stuffing::Stuffer;
use super::value::list;
use super::{MailboxDelta, Message, State};
use crate::op::{Guid, MailboxName, Modseq, Uid, UidValidity};

/// The version that we speak, to whomever: from minor 6 on, backup mode deletes every attribute that was not sent.
const VERSION: &[u8] = b"VERSION\tdsync\t3\t5\n";
/// Of two sides, the one whose name sorts higher would lock the user: this one never asks for that.
const HOST: &str = "mailshadow";
/// Values longer than this follow as a stream.
const VALUE_IN_LINE_BYTES: usize = 1000;

/// Which way a session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// We tell; the target becomes equal.
    Tell,
    /// It tells, and changes nothing.
    Ask,
}

/// Version, headers, and who speaks. `states` where the session goes on from states; it ends with their list.
pub(super) fn greeting<'a>(way: Way, states: Option<impl IntoIterator<Item = (&'a Guid, &'a State)>>) -> Vec<u8> {
    let mut out = VERSION.to_vec();
    put_headers(&mut out);
    let mut line = Kind::Hello.line();
    line.text(HOST);
    line.text(if states.is_some() { "s" } else { "f" });
    line.switch(way == Way::Tell).switch(way == Way::Ask);
    line.switch(true);
    line.value(Some(&list([b"Date".as_slice(), b"Message-ID", b""])));
    line.text("_").end(&mut out);
    if let Some(states) = states {
        for (guid, at) in states {
            state(*guid, at, &mut out);
        }
        end_of_list(&mut out);
    }
    out
}

pub(super) fn end_of_list(out: &mut Vec<u8>) {
    out.extend(b".\n");
}

/// Closes the session before its end: nothing more is done.
pub(super) fn closing(out: &mut Vec<u8>) {
    out.extend(b"X\n");
}

pub(super) fn state(guid: Guid, at: &State, out: &mut Vec<u8>) {
    let mut line = Kind::State.line();
    line.text(&guid.to_hex()).number(at.uid_validity).number(at.uid);
    let modseq = at.modseq.max(at.at_target);
    line.number(modseq).number(0).number(at.messages).absent(1).end(out);
}

/// A name of the tree.
pub(super) fn node(
    name: &MailboxName,
    mailbox: Option<(Guid, UidValidity, Uid)>,
    subscribed: bool,
    spelling: Spelling,
    out: &mut Vec<u8>,
) {
    let mut line = Kind::Node.line();
    let levels: Vec<String> = name.0.iter().map(|level| spelling.level(level)).collect();
    line.value(Some(&list(levels.iter().map(String::as_bytes))));
    match mailbox {
        Some((guid, uid_validity, uid_next)) => {
            line.text("y")
                .text(&guid.to_hex())
                .number(uid_validity)
                .number(uid_next);
        }
        None => {
            line.text("n").absent(3);
        }
    }
    line.absent(1).switch(subscribed).absent(1).end(out);
}

/// Deletions: none, for what is not in the tree is deleted.
pub(super) fn deletes(spelling: Spelling, out: &mut Vec<u8>) {
    let mut line = Kind::Deletes.line();
    line.text(&spelling.separator.to_string()).text("%").absent(3).end(out);
}

/// A mailbox as it shall be, or (to ask for it) as it is.
pub(super) fn mailbox(delta: &MailboxDelta, out: &mut Vec<u8>) {
    let mut line = Kind::Mailbox.line();
    line.text(&delta.guid.to_hex())
        .number(delta.uid_validity)
        .number(delta.uid_next);
    line.number(delta.messages).number(delta.uid_next);
    line.number(delta.highest_modseq.max(Modseq(1))).number(0);
    line.absent(2).text("").switch(true).switch(true).absent(1).end(out);
}

/// An attribute; `now` (UNIX seconds) and a MODSEQ above all others make it win: Dovecot compares both with its own, which it
/// counts further for what we told it too. It keeps neither.
pub(super) fn attribute(named: &Named, now: i64, out: &mut Vec<u8>) {
    let streamed = named
        .value
        .as_ref()
        .filter(|value| value.len() > VALUE_IN_LINE_BYTES || named.key.contains("/sieve/files/") || value.contains(&0));
    let mut line = Kind::Attribute.line();
    line.text(if named.private { "p" } else { "s" }).text(&named.key);
    match streamed {
        Some(_) => line.absent(1),
        None => line.value(named.value.as_deref()),
    };
    line.switch(streamed.is_some()).switch(named.value.is_none());
    line.number(now.max(1)).number(i64::MAX).end(out);
    if let Some(value) = streamed {
        let mut stuffer = Stuffer::new();
        stuffer.put(value, out);
        stuffer.end(out);
    }
}

/// A message of the change list.
pub(super) fn change(change: &Change<'_>, out: &mut Vec<u8>) {
    let mut line = Kind::Change.line();
    let (letter, message) = match change {
        Change::Expunged(uid) => {
            line.text("e").number(uid).absent(11).end(out);
            return;
        }
        Change::Saved(message) => ("s", message),
        Change::Flagged(message) => ("f", message),
    };
    let keywords: Vec<String> = message.keywords.iter().map(|keyword| format!("={keyword}")).collect();
    line.text(letter)
        .number(message.uid)
        .text(message.guid.as_str())
        .absent(1);
    line.number(message.modseq.max(Modseq(1))).absent(3);
    line.text(&format!("{:x}", message.flags.bits())).absent(1);
    match keywords.is_empty() {
        true => line.absent(1),
        false => line.value(Some(&list(keywords.iter().map(String::as_bytes)))),
    };
    line.absent(2).end(out);
}

/// The line before a message's body.
pub(super) fn mail(message: &Message, out: &mut Vec<u8>) {
    let mut line = Kind::Mail.line();
    line.text(message.guid.as_str()).absent(1);
    line.value(message.pop3_uidl.as_deref().map(str::as_bytes)).absent(1);
    line.number(message.internal_date.max(0));
    match message.save_date {
        Some(date) => line.number(date.max(0)),
        None => line.absent(1),
    };
    line.switch(true).end(out);
}
