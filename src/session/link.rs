//! What both sides of a connection have in common: messages that wait, the relayed questions, and the keep-alive.

use crate::codec::wire::Message;
use crate::limits::{DEAD_AFTER_MS, PING_AFTER_MS, SAYINGS_MAX, WIRE_JSON_BYTES_MAX, WIRE_TEXT_BYTES_MAX};
use crate::op::Missing;
use crate::session::SessionError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Stands for an answer that no message can hold.
const TOO_LONG: &str = r#"{"error":"the answer is too long"}"#;

/// One connection's small messages and clock.
#[derive(Debug, Default)]
pub(super) struct Link {
    sayings: VecDeque<Message>,
    /// Questions of our operator that the peer has not answered.
    asked: BTreeSet<u64>,
    /// The peer's questions: our number → the peer's.
    asking: BTreeMap<u64, u64>,
    last_request: u64,
    now_ms: u64,
    heard_ms: u64,
    said_ms: u64,
}

impl Link {
    pub(super) fn begin(&mut self) {
        self.sayings.clear();
        self.heard_ms = self.now_ms;
        self.said_ms = self.now_ms;
    }

    /// Forgets what waits; the questions that stay unanswered.
    pub(super) fn end(&mut self) -> BTreeSet<u64> {
        self.sayings.clear();
        self.asking.clear();
        std::mem::take(&mut self.asked)
    }

    /// A clock that falls back is taken for one that stands.
    pub(super) fn set_clock(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(super) fn heard(&mut self) {
        self.heard_ms = self.now_ms;
    }

    pub(super) fn said(&mut self) {
        self.said_ms = self.now_ms;
    }

    pub(super) fn say(&mut self, message: Message) {
        self.sayings.push_back(message);
    }

    /// Says what may be left out (and what the other side notices to be left out). True: it was taken.
    pub(super) fn say_if_room(&mut self, message: Message) -> bool {
        let room = self.sayings.len() < SAYINGS_MAX && message.check().is_ok();
        if room {
            self.sayings.push_back(message);
        }
        room
    }

    /// Room for messages that are not to be left out; the rest waits where it is.
    pub(super) fn has_room(&self) -> bool {
        self.sayings.len() < SAYINGS_MAX
    }

    /// Passes an operator's question on. False: it can't be, now.
    pub(super) fn ask(&mut self, id: u64, json: String) -> bool {
        let asked = self.say_if_room(Message::Ask { id, json });
        if asked {
            self.asked.insert(id);
        }
        asked
    }

    /// The peer asks; our number for it. Numbers are never used again, so that a late answer can't meet the question of
    /// another connection.
    pub(super) fn asked(&mut self, id: u64) -> Result<u64, SessionError> {
        if self.asking.len() >= SAYINGS_MAX {
            return Err(SessionError::Protocol("too many questions are open".to_owned()));
        }
        self.last_request = self.last_request.saturating_add(1);
        self.asking.insert(self.last_request, id);
        Ok(self.last_request)
    }

    /// Answers a question of the peer's, if it was asked on this connection.
    pub(super) fn answer(&mut self, request: u64, json: String) {
        let Some(id) = self.asking.remove(&request) else {
            return;
        };
        let fits = json.len() <= WIRE_JSON_BYTES_MAX;
        let json = if fits { json } else { TOO_LONG.to_owned() };
        self.say(Message::Answer { id, json });
    }

    /// True where the answer belongs to an open question.
    pub(super) fn answered(&mut self, id: u64) -> bool {
        self.asked.remove(&id)
    }

    pub(super) fn next(&mut self) -> Option<Message> {
        self.sayings.pop_front()
    }

    /// Pings where we were quiet, and finds a peer that was too quiet.
    pub(super) fn keep_alive(&mut self) -> Result<(), SessionError> {
        if self.now_ms.saturating_sub(self.heard_ms) >= DEAD_AFTER_MS {
            return Err(SessionError::Silent);
        }
        if self.now_ms.saturating_sub(self.said_ms) >= PING_AFTER_MS && self.sayings.is_empty() {
            self.say(Message::Ping);
        }
        Ok(())
    }
}

/// Cuts a text for people to what a message may hold.
pub(super) fn clipped(mut text: String) -> String {
    let mut end = text.len().min(WIRE_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
    text
}

pub(super) fn clipped_missing(missing: Missing) -> Missing {
    Missing {
        file: clipped(missing.file),
        why: clipped(missing.why),
        ..missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let cut = clipped("é".repeat(WIRE_TEXT_BYTES_MAX));
        assert_eq!(cut.len(), WIRE_TEXT_BYTES_MAX);
        let cut = clipped(format!("x{}", "é".repeat(WIRE_TEXT_BYTES_MAX)));
        assert_eq!(cut.len(), WIRE_TEXT_BYTES_MAX - 1);
    }

    #[test]
    fn a_silent_peer_is_found_and_a_quiet_side_pings() {
        let mut link = Link::default();
        link.begin();
        link.set_clock(PING_AFTER_MS);
        assert_eq!(link.keep_alive(), Ok(()));
        assert_eq!(link.next(), Some(Message::Ping));
        link.said();
        link.set_clock(DEAD_AFTER_MS - 1);
        assert_eq!(link.keep_alive(), Ok(()));
        link.set_clock(DEAD_AFTER_MS);
        assert_eq!(link.keep_alive(), Err(SessionError::Silent));
    }
}
