//! Questions whether messages are really gone: cut to the size of a message, asked again after a reconnect.

use crate::limits::WIRE_MESSAGES_MAX;
use crate::op::{GoneQuestion, Uid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A question with the answers so far.
#[derive(Debug)]
struct Question {
    open: BTreeSet<u64>,
    gone: Vec<Uid>,
}

/// All open questions.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Number on the wire → the driver's number and the part.
    parts: BTreeMap<u64, (u64, GoneQuestion)>,
    to_say: VecDeque<u64>,
    questions: BTreeMap<u64, Question>,
    last_id: u64,
}

impl Gone {
    /// Takes a question. False: it asks for nothing.
    pub(super) fn ask(&mut self, id: u64, question: &GoneQuestion) -> bool {
        let mut open = BTreeSet::new();
        for messages in question.messages.chunks(WIRE_MESSAGES_MAX) {
            self.last_id = self.last_id.saturating_add(1);
            let part = GoneQuestion {
                messages: messages.to_vec(),
                ..question.clone()
            };
            self.parts.insert(self.last_id, (id, part));
            self.to_say.push_back(self.last_id);
            open.insert(self.last_id);
        }
        let asks = !open.is_empty();
        if asks {
            self.questions.insert(id, Question { open, gone: Vec::new() });
        }
        asks
    }

    /// A new connection: everything open is asked again.
    pub(super) fn ask_again(&mut self) {
        self.to_say = self.parts.keys().copied().collect();
    }

    /// The next part to say.
    pub(super) fn next(&mut self) -> Option<(u64, GoneQuestion)> {
        let id = self.to_say.pop_front()?;
        self.parts.get(&id).map(|(_, part)| (id, part.clone()))
    }

    /// An answer; the driver's number and all that is gone, once every part is answered. What was not asked for is
    /// left out: it would be attested wrongly.
    pub(super) fn answered(&mut self, id: u64, gone: &[Uid]) -> Option<(u64, Vec<Uid>)> {
        let (number, part) = self.parts.remove(&id)?;
        let question = self.questions.get_mut(&number)?;
        let asked: BTreeSet<Uid> = part.messages.iter().map(|(uid, _)| *uid).collect();
        question.gone.extend(gone.iter().filter(|uid| asked.contains(uid)));
        question.open.remove(&id);
        if !question.open.is_empty() {
            return None;
        }
        self.questions.remove(&number).map(|done| (number, done.gone))
    }
}
