//! The session in which a Dovecot is told a delta: a state machine without I/O.
//!
//! ```text
//! we: greeting, states ─► it: tree ─► [judge] we: tree ─┐
//!    ┌──────────────────────────────────────────────────┘
//!    └► we: mailbox ─► it: mailbox ─► [compare] we: attributes, changes ─► it: requests ─► we: bodies, state ─► it: state
//!         ▲                                                                                                       │
//!         └───────────────────────────────────────────────────────────────────────────────────────────────────────┘
//!    we: end ─► it: finish
//! ```
//!
//! Up to *judge* nothing is changed there, up to *compare* nothing in that mailbox; the other side's state is the word that
//! the mailbox is committed.

use super::attribute::{Named, order};
use super::check::Change;
use super::reader::Reader;
use super::said::{Said, SaidFinish, SaidMailbox, SaidNode, SaidState, Spelling};
use super::say::{self, Way};
use super::stuffing::Stuffer;
use super::{Broken, MailboxDelta, Message, State, broken};
use crate::limits::{DSYNC_MAILBOXES_MAX, DSYNC_REQUESTS_MAX};
use crate::op::{Guid, MailboxName, MessageGuid, Uid, UidValidity};
use std::collections::BTreeMap;

/// What has to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send what is to be sent, and bring more of what the other side says.
    More,
    /// Its tree, and its spelling of names. Answer with [`Telling::tree`], or close.
    Tree(Vec<SaidNode>, Spelling),
    /// The mailbox as it stands there. Answer with [`Telling::changes`], or close; where it is lost, go to the next one.
    Mailbox(SaidMailbox),
    /// Messages that it lacks. Answer with one [`Telling::mail`] for each, by ascending UID, then [`Telling::state`].
    Requests(Vec<(MessageGuid, Uid)>),
    /// The mailbox is committed. Go to the next one, or end.
    Told(SaidState),
    /// The session has ended.
    Finished(SaidFinish),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hello,
    Nodes,
    Deletes,
    Judging,
    Idle,
    Mailbox,
    Comparing,
    Requests,
    Mails,
    State,
    Ending,
    Ended,
}

/// A session in which we tell.
#[derive(Debug)]
pub struct Telling {
    reader: Reader,
    out: Vec<u8>,
    phase: Phase,
    nodes: Vec<SaidNode>,
    requests: Vec<(MessageGuid, Uid)>,
    finish: SaidFinish,
    body: Option<Stuffer>,
}

impl Telling {
    /// Begins one that goes on from these states; a mailbox without a state is told completely.
    #[must_use]
    pub fn new(states: &BTreeMap<Guid, State>) -> Self {
        Self {
            reader: Reader::default(),
            out: say::greeting(Way::Tell, Some(states)),
            phase: Phase::Hello,
            nodes: Vec::new(),
            requests: Vec::new(),
            finish: SaidFinish::default(),
            body: None,
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

    /// What has to be done next.
    ///
    /// # Errors
    /// The other side failed, or says what can't be.
    pub fn step(&mut self) -> Result<Step, Broken> {
        while let Some(said) = self.reader.hear()? {
            if let Some(step) = self.hear(said)? {
                return Ok(step);
            }
        }
        Ok(Step::More)
    }

    fn hear(&mut self, said: Said) -> Result<Option<Step>, Broken> {
        let (next, step) = match (self.phase, said) {
            (Phase::Hello, Said::Hello) => (Phase::Nodes, None),
            (Phase::Nodes, Said::Node(node)) => {
                self.nodes.push(node);
                (Phase::Nodes, None)
            }
            (Phase::Nodes, Said::End) => (Phase::Deletes, None),
            (Phase::Deletes, Said::Deletes(spelling)) => {
                let nodes = std::mem::take(&mut self.nodes);
                (Phase::Judging, Some(Step::Tree(nodes, spelling)))
            }
            (Phase::Mailbox, Said::Mailbox(mailbox)) => {
                let next = if mailbox.lost { Phase::Idle } else { Phase::Comparing };
                (next, Some(Step::Mailbox(mailbox)))
            }
            (Phase::Requests, Said::Request(guid, uid)) => {
                self.requests.push((guid, uid));
                (Phase::Requests, None)
            }
            (Phase::Requests, Said::End) => (Phase::Mails, Some(Step::Requests(std::mem::take(&mut self.requests)))),
            (Phase::State, Said::State(state)) => (Phase::Idle, Some(Step::Told(state))),
            (phase, Said::Finish(finish)) => {
                self.finish = finish;
                (phase, None)
            }
            (Phase::Ending, Said::Closing) => {
                let finish = std::mem::take(&mut self.finish);
                (Phase::Ended, Some(Step::Finished(finish)))
            }
            (_, Said::Closing) => return Err(closed(&self.finish)),
            (phase, said) => return Err(broken(format!("{} came in {phase:?}", said.name()))),
        };
        if self.nodes.len() > DSYNC_MAILBOXES_MAX || self.requests.len() > DSYNC_REQUESTS_MAX {
            return Err(broken("a list is longer than any user's"));
        }
        self.phase = next;
        Ok(step)
    }

    fn turn(&mut self, phase: Phase, next: Phase) -> Result<(), Broken> {
        if self.phase != phase {
            return Err(broken(format!("our turn is {:?} and not {phase:?}", self.phase)));
        }
        self.phase = next;
        Ok(())
    }

    /// Sends our tree: each name with its mailbox (GUID, UIDVALIDITY, UIDNEXT) and whether it is subscribed. What is not in
    /// it is deleted there.
    ///
    /// # Errors
    /// It is not the time for it.
    pub(super) fn tree(&mut self, nodes: &[Placed], spelling: Spelling) -> Result<(), Broken> {
        self.turn(Phase::Judging, Phase::Idle)?;
        for placed in nodes {
            say::node(&placed.name, placed.mailbox, placed.subscribed, spelling, &mut self.out);
        }
        say::end_of_list(&mut self.out);
        say::deletes(spelling, &mut self.out);
        Ok(())
    }

    /// Begins with a mailbox.
    ///
    /// # Errors
    /// It is not the time for it.
    pub(super) fn mailbox(&mut self, delta: &MailboxDelta) -> Result<(), Broken> {
        self.turn(Phase::Idle, Phase::Mailbox)?;
        say::mailbox(delta, &mut self.out);
        Ok(())
    }

    /// Sends its attributes and its change list, which the caller has checked.
    ///
    /// # Errors
    /// It is not the time for it.
    pub(super) fn changes(
        &mut self,
        mut attributes: Vec<Named>,
        now: i64,
        changes: &[Change<'_>],
    ) -> Result<(), Broken> {
        self.turn(Phase::Comparing, Phase::Requests)?;
        attributes.sort_by_key(order);
        for named in &attributes {
            say::attribute(named, now, &mut self.out);
        }
        say::end_of_list(&mut self.out);
        for change in changes {
            say::change(change, &mut self.out);
        }
        say::end_of_list(&mut self.out);
        Ok(())
    }

    /// Begins with a message's body; its octets follow by [`Self::body`], its end by [`Self::body_end`].
    ///
    /// # Errors
    /// It is not the time for it.
    pub(super) fn mail(&mut self, message: &Message) -> Result<(), Broken> {
        self.turn(Phase::Mails, Phase::Mails)?;
        say::mail(message, &mut self.out);
        self.body = Some(Stuffer::new());
        Ok(())
    }

    pub(super) fn body(&mut self, octets: &[u8]) {
        if let Some(stuffer) = &mut self.body {
            stuffer.put(octets, &mut self.out);
        }
    }

    pub(super) fn body_end(&mut self) {
        if let Some(stuffer) = self.body.take() {
            stuffer.end(&mut self.out);
        }
    }

    /// After the last body: what both sides will have agreed to.
    ///
    /// # Errors
    /// It is not the time for it.
    pub(super) fn state(&mut self, guid: Guid, state: &State) -> Result<(), Broken> {
        self.turn(Phase::Mails, Phase::State)?;
        say::end_of_list(&mut self.out);
        say::state(guid, state, &mut self.out);
        Ok(())
    }

    /// No more mailboxes.
    ///
    /// # Errors
    /// It is not the time for it.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        self.turn(Phase::Idle, Phase::Ending)?;
        say::end_of_list(&mut self.out);
        Ok(())
    }

    /// True where nothing more can be said.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Gives up; what was not committed is not.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Ended;
        say::closing(&mut self.out);
    }
}

/// A name of our tree as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) name: MailboxName,
    pub(super) mailbox: Option<(Guid, UidValidity, Uid)>,
    pub(super) subscribed: bool,
}

/// The other side went away before its time.
pub(super) fn closed(finish: &SaidFinish) -> Broken {
    match &finish.error {
        Some(error) => broken(format!("Dovecot ended the session: {error}")),
        None => broken("Dovecot ended the session; its log says why"),
    }
}
