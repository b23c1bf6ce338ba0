//! The selected mailbox as its client knows it, and how the client hears of what changed since. Pure.

use super::answer;
use crate::op::{Keyword, Uid};
use crate::store::embedded::view::{MailboxRow, MessageRow};
use std::sync::Arc;

/// What was told to the client. Message numbers are places in `messages`, from 1.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    pub(super) row: MailboxRow,
    pub(super) messages: Arc<Vec<MessageRow>>,
    /// Keywords that FLAGS has named.
    pub(super) keywords: Vec<Keyword>,
}

impl Selected {
    pub(super) fn new(row: MailboxRow, messages: Vec<MessageRow>) -> Self {
        let mut selected = Self {
            row,
            messages: Arc::new(messages),
            keywords: Vec::new(),
        };
        selected.learn_keywords();
        selected
    }

    /// Number of messages.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX)
    }

    /// The highest UID, 0 in an empty mailbox.
    pub(super) fn last_uid(&self) -> Uid {
        self.messages.last().map(|m| m.uid).unwrap_or_default()
    }

    /// `* FLAGS (…)`
    pub(super) fn flags_line(&self) -> String {
        let all = crate::op::Flags::from_bits(u8::MAX);
        // the order of Dovecot's FLAGS line is that of the bits, as in every FETCH
        format!("* FLAGS ({})\r\n", answer::flags(all, &self.keywords))
    }

    /// True where a keyword turned up that FLAGS had not named.
    fn learn_keywords(&mut self) -> bool {
        let before = self.keywords.len();
        let mut known: std::collections::HashSet<String> =
            self.keywords.iter().map(|k| k.0.to_ascii_lowercase()).collect();
        for keyword in self.messages.iter().flat_map(|m| m.keywords.iter()) {
            if !known.contains(&keyword.0) && known.insert(keyword.0.to_ascii_lowercase()) {
                self.keywords.push(keyword.clone());
            }
        }
        self.keywords.len() > before
    }

    /// Takes a newer picture and returns the untagged answers that say what changed: EXPUNGE, EXISTS, FLAGS, FETCH.
    pub(super) fn advance(&mut self, row: MailboxRow, messages: Vec<MessageRow>, condstore: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let kept = self.expunge(&messages, &mut out);
        let before = Arc::clone(&self.messages);
        self.row = row;
        self.messages = Arc::new(messages);
        if self.messages.len() > kept.len() {
            out.extend_from_slice(format!("* {} EXISTS\r\n* 0 RECENT\r\n", self.messages.len()).as_bytes());
        }
        if self.learn_keywords() {
            out.extend_from_slice(self.flags_line().as_bytes());
        }
        for (number, (old, new)) in kept
            .iter()
            .filter_map(|i| before.get(*i))
            .zip(self.messages.iter())
            .enumerate()
        {
            let flags = old.flags != new.flags || old.keywords != new.keywords;
            if flags || (condstore && old.modseq != new.modseq) {
                changed(&mut out, number.saturating_add(1), new, condstore);
            }
        }
        out
    }

    /// Announces what is gone, from the last so that numbers stay true, and returns the places that are still there.
    /// IMAP has no word for a message that turns up before others: from there on all are announced as gone and come
    /// again as new.
    fn expunge(&self, messages: &[MessageRow], out: &mut Vec<u8>) -> Vec<usize> {
        let mut kept = Vec::with_capacity(self.messages.len());
        let mut new = messages.iter().peekable();
        let mut inserted = false;
        for (place, old) in self.messages.iter().enumerate() {
            inserted |= new.peek().is_some_and(|m| m.uid < old.uid);
            if !inserted && new.next_if(|m| m.uid == old.uid && m.guid == old.guid).is_some() {
                kept.push(place);
            } else if new.peek().is_some_and(|m| m.uid == old.uid) {
                inserted = true;
            }
        }
        let mut left = kept.iter().rev().peekable();
        for place in (0..self.messages.len()).rev() {
            if left.next_if(|k| **k == place).is_none() {
                out.extend_from_slice(format!("* {} EXPUNGE\r\n", place.saturating_add(1)).as_bytes());
            }
        }
        kept
    }
}

fn changed(out: &mut Vec<u8>, number: usize, message: &MessageRow, condstore: bool) {
    let flags = answer::flags(message.flags, &message.keywords);
    let modseq = if condstore {
        format!("MODSEQ ({}) ", message.modseq)
    } else {
        String::new()
    };
    out.extend_from_slice(format!("* {number} FETCH ({modseq}FLAGS ({flags}))\r\n").as_bytes());
}
