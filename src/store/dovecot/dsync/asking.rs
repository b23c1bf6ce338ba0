//! The session in which a Dovecot says what it holds: a state machine without I/O. Nothing is changed there.

use super::attribute::{self, Named};
use super::reader::Reader;
use super::said::{Deed, Said, SaidAttribute, SaidChange, SaidFinish, SaidMailbox, SaidNode, Spelling};
use super::say::{self, Way};
use super::telling::closed;
use super::{Broken, MailboxDelta, MailboxReading, Message, Node, NodeMailbox, Reading, State, Wanted, broken};
use crate::limits::{DSYNC_MAILBOXES_MAX, DSYNC_REQUESTS_MAX, DSYNC_VALUE_BYTES_MAX};
use crate::op::{Guid, Modseq, Uid, UidValidity};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hello,
    Nodes,
    Deletes,
    Mailbox,
    Attributes,
    Value,
    Changes,
    Mails,
    State,
    Ending,
    Ended,
}

/// A session in which we ask.
#[derive(Debug)]
pub struct Asking {
    reader: Reader,
    out: Vec<u8>,
    phase: Phase,
    wanted: Wanted,
    nodes: Vec<SaidNode>,
    queue: VecDeque<(Guid, UidValidity, Uid)>,
    open: Option<(Guid, MailboxReading)>,
    value: Option<(SaidAttribute, Vec<u8>)>,
    reading: Reading,
    finish: SaidFinish,
}

impl Asking {
    /// Begins one.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        let out = match &wanted {
            Wanted::Since(states) => say::greeting(Way::Ask, Some(states)),
            _ => say::greeting(Way::Ask, None::<std::iter::Empty<(&Guid, &State)>>),
        };
        Self {
            reader: Reader::default(),
            out,
            phase: Phase::Hello,
            wanted,
            nodes: Vec::new(),
            queue: VecDeque::new(),
            open: None,
            value: None,
            reading: Reading::default(),
            finish: SaidFinish::default(),
        }
    }

    /// Takes what the other side has sent.
    pub fn push(&mut self, octets: &[u8]) {
        self.reader.push(octets);
    }

    /// What is to be sent; taken by the caller.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// What was read, once all has been; none: send and bring more.
    ///
    /// # Errors
    /// The other side failed, or says what can't be.
    pub fn step(&mut self) -> Result<Option<Reading>, Broken> {
        while let Some(said) = self.reader.hear()? {
            self.hear(said)?;
            if self.phase == Phase::Ended {
                return Ok(Some(std::mem::take(&mut self.reading)));
            }
        }
        Ok(None)
    }

    fn hear(&mut self, said: Said) -> Result<(), Broken> {
        match (self.phase, said) {
            (Phase::Hello, Said::Hello) => self.phase = Phase::Nodes,
            (Phase::Nodes, Said::Node(node)) => return self.node(node),
            (Phase::Nodes, Said::End) => self.phase = Phase::Deletes,
            (Phase::Deletes, Said::Deletes(spelling)) => self.answer_tree(spelling),
            (Phase::Mailbox, Said::Mailbox(mailbox)) => self.begin(&mailbox),
            (Phase::Attributes, Said::Attribute(attribute)) if attribute.streamed => {
                self.value = Some((attribute, Vec::new()));
                self.phase = Phase::Value;
            }
            (Phase::Attributes, Said::Attribute(attribute)) => self.attribute(attribute),
            (Phase::Attributes, Said::End) => self.phase = Phase::Changes,
            (Phase::Value, Said::Part(octets)) => return self.part(&octets),
            (Phase::Value, Said::PartsEnd) => {
                self.phase = Phase::Attributes;
                if let Some((mut attribute, octets)) = self.value.take() {
                    attribute.value = Some(octets);
                    self.attribute(attribute);
                }
            }
            (Phase::Changes, Said::Change(change)) => return self.change(change),
            (Phase::Changes, Said::End) => {
                // No requests: bodies are not wanted.
                say::end_of_list(&mut self.out);
                self.phase = Phase::Mails;
            }
            // None was asked for; if one comes all the same, it is not wanted.
            (Phase::Mails, Said::Mail(_) | Said::Part(_) | Said::PartsEnd) => {}
            (Phase::Mails, Said::End) => self.agree(),
            (Phase::State, Said::State(_)) => self.next(),
            (_, Said::Finish(finish)) => self.finish = finish,
            (Phase::Ending, Said::Closing) => self.phase = Phase::Ended,
            (_, Said::Closing) => return Err(closed(&self.finish)),
            (phase, said) => return Err(broken(format!("{} came in {phase:?}", said.name()))),
        }
        Ok(())
    }

    fn node(&mut self, node: SaidNode) -> Result<(), Broken> {
        if self.nodes.len() >= DSYNC_MAILBOXES_MAX {
            return Err(broken("more mailboxes than any user has"));
        }
        if let Some(mailbox) = node.mailbox
            && self.is_wanted(mailbox.0)
        {
            self.queue.push_back(mailbox);
        }
        self.nodes.push(node);
        Ok(())
    }

    fn is_wanted(&self, guid: Guid) -> bool {
        match &self.wanted {
            Wanted::Tree => false,
            Wanted::Everything => true,
            Wanted::Mailboxes(guids) => guids.contains(&guid),
            Wanted::Since(states) => states.contains_key(&guid),
        }
    }

    /// Says its own tree back to it: equal trees change nothing.
    fn answer_tree(&mut self, spelling: Spelling) {
        let nodes = std::mem::take(&mut self.nodes);
        for node in &nodes {
            if node.mailbox.is_some() || node.subscribed {
                say::node(&node.name, node.mailbox, node.subscribed, spelling, &mut self.out);
            }
        }
        say::end_of_list(&mut self.out);
        say::deletes(spelling, &mut self.out);
        let told = nodes
            .into_iter()
            .filter(|node| node.mailbox.is_some() || node.subscribed);
        self.reading.tree = told.map(seen).collect();
        self.next();
    }

    /// Asks for the next mailbox, or ends.
    fn next(&mut self) {
        if let Some((guid, reading)) = self.open.take() {
            self.reading.mailboxes.insert(guid, reading);
        }
        match self.queue.pop_front() {
            Some((guid, uid_validity, uid_next)) => {
                let as_it_is = MailboxDelta {
                    guid,
                    uid_validity,
                    uid_next: uid_next.max(Uid(1)),
                    ..MailboxDelta::default()
                };
                say::mailbox(&as_it_is, &mut self.out);
                self.phase = Phase::Mailbox;
            }
            None => {
                say::end_of_list(&mut self.out);
                self.phase = Phase::Ending;
            }
        }
    }

    fn begin(&mut self, mailbox: &SaidMailbox) {
        let reading = MailboxReading {
            uid_validity: mailbox.uid_validity,
            uid_next: mailbox.uid_next,
            highest_modseq: mailbox.highest_modseq,
            messages: mailbox.messages,
            stale: mailbox.lost,
            ..MailboxReading::default()
        };
        self.open = Some((mailbox.guid, reading));
        match mailbox.lost {
            true => self.next(),
            false => self.phase = Phase::Attributes,
        }
    }

    fn part(&mut self, octets: &[u8]) -> Result<(), Broken> {
        let Some((_, value)) = &mut self.value else {
            return Err(broken("a value without an attribute"));
        };
        value.extend(octets);
        match value.len() > DSYNC_VALUE_BYTES_MAX {
            true => Err(broken("an attribute's value is too long")),
            false => Ok(()),
        }
    }

    fn attribute(&mut self, said: SaidAttribute) {
        let named = Named {
            private: said.private,
            key: said.key,
            value: said.value,
        };
        if let (Some((_, reading)), Some(attribute)) = (&mut self.open, attribute::ours(named)) {
            reading.attributes.push(attribute);
        }
    }

    fn change(&mut self, change: SaidChange) -> Result<(), Broken> {
        let Some((_, reading)) = &mut self.open else {
            return Err(broken("a change without a mailbox"));
        };
        if reading.listed.len().saturating_add(reading.expunged.len()) >= DSYNC_REQUESTS_MAX {
            return Err(broken("more changes than messages"));
        }
        match change.deed {
            Deed::Expunged => reading.expunged.push(change.uid),
            Deed::Saved | Deed::Flagged => reading.listed.push(Message {
                uid: change.uid,
                guid: change.guid,
                flags: change.flags,
                keywords: change.keywords,
                modseq: change.modseq,
                ..Message::default()
            }),
        }
        Ok(())
    }

    /// Agrees with whatever is there.
    fn agree(&mut self) {
        if let Some((guid, reading)) = &self.open {
            let state = reading.state();
            say::state(*guid, &state, &mut self.out);
        }
        self.phase = Phase::State;
    }
}

pub(super) fn seen(node: SaidNode) -> Node {
    Node {
        name: node.name,
        subscribed: node.subscribed,
        mailbox: node.mailbox.map(|(guid, uid_validity, uid_next)| NodeMailbox {
            guid,
            uid_validity,
            uid_next,
        }),
    }
}

impl MailboxReading {
    /// Where the mailbox stands, as a state to go on from.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            uid_validity: self.uid_validity,
            uid: Uid(self.uid_next.0.saturating_sub(1)),
            modseq: self.highest_modseq.max(Modseq(1)),
            messages: self.messages,
            at_target: self.highest_modseq,
        }
    }
}
