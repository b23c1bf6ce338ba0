//! A session in which a Dovecot is told, with its link: one mailbox after the other.

use super::attribute::{self, Named};
use super::check::{Change, check_list, list};
use super::link::Link;
use super::said::{SaidMailbox, SaidNode, SaidState, Spelling};
use super::telling::{Placed, Step, Telling};
use super::{Bodies, Broken, MailboxDelta, Message, Outcome, State, broken};
use crate::limits::{DSYNC_READ_BYTES, DSYNC_WRITE_BYTES};
use crate::op::{Guid, MessageGuid, Modseq, Uid, UserName};
use std::collections::BTreeMap;

/// A session that runs.
#[derive(Debug)]
pub(super) struct Talk {
    link: Link,
    telling: Telling,
    user: UserName,
    /// What the session began from; never renewed.
    states: BTreeMap<Guid, State>,
    /// Messages told since then, above the states' UIDs: each later list must have them again.
    told: BTreeMap<Guid, BTreeMap<Uid, Message>>,
    /// The newest state that both sides agreed to.
    agreed: BTreeMap<Guid, State>,
    /// What could not be told at all.
    left_out: Vec<String>,
}

impl Talk {
    /// Begins a session, up to the target's tree.
    pub(super) fn begin(
        link: Link,
        user: &UserName,
        states: BTreeMap<Guid, State>,
    ) -> Result<(Self, Vec<SaidNode>, Spelling), Broken> {
        let mut talk = Self {
            link,
            telling: Telling::new(&states),
            user: user.clone(),
            agreed: states.clone(),
            states,
            told: BTreeMap::new(),
            left_out: Vec::new(),
        };
        match talk.step()? {
            Step::Tree(nodes, spelling) => Ok((talk, nodes, spelling)),
            step => Err(unexpected(&step)),
        }
    }

    fn step(&mut self) -> Result<Step, Broken> {
        loop {
            match self.telling.step()? {
                Step::More => {
                    let heard = self.link.exchange(self.telling.out(), true)?;
                    self.telling.push(&heard);
                }
                step => return Ok(step),
            }
        }
    }

    pub(super) fn tree(&mut self, tree: &[Placed], spelling: Spelling) -> Result<(), Broken> {
        self.telling.tree(tree, spelling)
    }

    /// True where this session can tell the mailbox: it goes on from where the session is, and nothing is gone of what
    /// was told here (an expunge of what lies above the session's state would make Dovecot give up the mailbox), and nothing
    /// of it looks different now (it would be a new message a second time, and where the target counts MODSEQs faster, as one
    /// that was primary before does, its own picture of it wins).
    pub(super) fn can_tell(&self, delta: &MailboxDelta) -> bool {
        let told = self.told.get(&delta.guid);
        let none_gone = told.is_none_or(|told| {
            let changes = delta.changed.iter().any(|message| told.contains_key(&message.uid));
            !changes && told.keys().all(|uid| !delta.has_vanished(*uid))
        });
        self.states.contains_key(&delta.guid)
            && delta.since.is_some_and(|since| self.is_where(delta.guid, since))
            && none_gone
    }

    /// True where `since` is where both sides are.
    fn is_where(&self, guid: Guid, since: State) -> bool {
        let agreed = self.agreed.get(&guid);
        agreed.is_some_and(|agreed| {
            since
                == State {
                    at_target: since.at_target,
                    ..*agreed
                }
        })
    }

    /// True where nothing more can be told: a mailbox was not as it should be.
    pub(super) fn is_over(&self) -> bool {
        self.telling.is_over()
    }

    /// True where the session can tell something later: it began from a state.
    pub(super) fn has_states(&self) -> bool {
        !self.states.is_empty()
    }

    /// Messages that every later list has to have again.
    pub(super) fn burden(&self) -> usize {
        self.told.values().map(BTreeMap::len).sum()
    }

    /// Tells one mailbox. An error ends the session: whatever was not acknowledged may or may not be there.
    pub(super) fn mailbox(
        &mut self,
        delta: &MailboxDelta,
        bodies: &mut dyn Bodies,
        now: i64,
    ) -> Result<Outcome, Broken> {
        let state = self.states.get(&delta.guid).copied();
        let told = self.told.remove(&delta.guid).unwrap_or_default();
        let changes = list(delta, state, &told).map_err(|flaw| broken(flaw.to_string()))?;
        check_list(delta, &changes, state).map_err(|flaw| broken(flaw.to_string()))?;
        self.telling.mailbox(delta)?;
        let there = match self.step()? {
            Step::Mailbox(there) => there,
            step => return Err(unexpected(&step)),
        };
        if let Some(why) = unlike(&there, delta) {
            if !there.lost {
                self.telling.close();
            }
            return Ok(Outcome::Stale(why.to_owned()));
        }
        let attributes = self.named(delta);
        self.telling.changes(attributes, now, &changes)?;
        let requests = match self.step()? {
            Step::Requests(requests) => requests,
            step => return Err(unexpected(&step)),
        };
        self.bodies(delta.guid, requests, &changes, bodies)?;
        let wanted = delta.state();
        self.telling.state(delta.guid, &wanted)?;
        let said = match self.step()? {
            Step::Told(said) => said,
            step => return Err(unexpected(&step)),
        };
        self.remember(delta.guid, &changes, wanted);
        Ok(outcome(&said, delta.guid, wanted, there.highest_modseq))
    }

    /// The attributes by Dovecot's names; what it has none for is a complaint.
    fn named(&mut self, delta: &MailboxDelta) -> Vec<Named> {
        let mut found = Vec::new();
        for attribute in &delta.attributes {
            match attribute::named(attribute) {
                Some(named) => found.push(named),
                None => self.left_out.push(format!(
                    "the {} entry {} of mailbox {} has no counterpart in Dovecot",
                    attribute.kind.name(),
                    attribute.entry,
                    delta.guid
                )),
            }
        }
        found
    }

    /// Sends what was asked for, by ascending UID: in another order the MODSEQs of the messages would be mixed up.
    fn bodies(
        &mut self,
        guid: Guid,
        requests: Vec<(MessageGuid, Uid)>,
        changes: &[Change<'_>],
        bodies: &mut dyn Bodies,
    ) -> Result<(), Broken> {
        for message in wanted(requests, changes)? {
            self.telling.mail(message)?;
            let user = &self.user;
            let unreadable = |e: std::io::Error| broken(format!("the body of UID {} can't be read: {e}", message.uid));
            let mut body = bodies.open(user, guid, message).map_err(unreadable)?;
            let mut buffer = vec![0; DSYNC_READ_BYTES];
            loop {
                let length = body.read(&mut buffer).map_err(unreadable)?;
                if length == 0 {
                    break;
                }
                self.telling.body(buffer.get(..length).unwrap_or_default());
                if self.telling.out().len() >= DSYNC_WRITE_BYTES {
                    let heard = self.link.exchange(self.telling.out(), false)?;
                    self.telling.push(&heard);
                }
            }
            self.telling.body_end();
        }
        Ok(())
    }

    fn remember(&mut self, guid: Guid, changes: &[Change<'_>], state: State) {
        let saved = changes.iter().filter_map(|change| match change {
            Change::Saved(message) => Some((message.uid, (*message).clone())),
            _ => None,
        });
        // Without a state there is no later list in this session.
        if self.states.contains_key(&guid) {
            self.told.insert(guid, saved.collect());
        }
        self.agreed.insert(guid, state);
    }

    /// Ends the session in good order, so that the tree is known to be taken; complaints are added to these.
    pub(super) fn finish(mut self, complaints: &mut Vec<String>) -> Result<(), Broken> {
        self.telling.end()?;
        let step = self.step();
        complaints.extend(self.complaints());
        match step.map_err(|broken| explained(broken, complaints))? {
            Step::Finished(finish) => match finish.error {
                Some(error) => Err(broken(format!("Dovecot did not take the tree: {error}"))),
                None => Ok(()),
            },
            step => Err(unexpected(&step)),
        }
    }

    /// Gives it up.
    pub(super) fn close(mut self) {
        self.telling.close();
        // It ends either way.
        drop(self.link.exchange(self.telling.out(), false));
    }

    pub(super) fn complaints(&mut self) -> Vec<String> {
        let mut complaints = self.link.complaints();
        complaints.append(&mut self.left_out);
        complaints
    }
}

/// Why the mailbox is not as it must be for this to be told.
fn unlike(there: &SaidMailbox, delta: &MailboxDelta) -> Option<&'static str> {
    let since = delta.since.unwrap_or(State {
        uid_validity: delta.uid_validity,
        ..State::default()
    });
    if there.lost {
        return Some("the target can't go on from the last state");
    }
    if there.guid != delta.guid || there.uid_validity != delta.uid_validity {
        return Some("the target has another mailbox there");
    }
    if there.uid_next.0 != since.uid.0.saturating_add(1) || there.messages != since.messages {
        return Some("the target's UIDNEXT or number of messages is not that of the last state");
    }
    None
}

fn outcome(said: &SaidState, guid: Guid, wanted: State, at_target: Modseq) -> Outcome {
    let theirs = State {
        uid_validity: said.uid_validity,
        uid: said.uid,
        modseq: said.modseq,
        messages: said.messages,
        at_target: Modseq(0),
    };
    match said.guid == guid && theirs == wanted && !said.meanwhile {
        true => Outcome::Acknowledged(State { at_target, ..wanted }),
        false => Outcome::Differs {
            said: theirs,
            meanwhile: said.meanwhile,
        },
    }
}

/// The messages that were asked for, each GUID once, by ascending UID.
fn wanted<'a>(requests: Vec<(MessageGuid, Uid)>, changes: &[Change<'a>]) -> Result<Vec<&'a Message>, Broken> {
    let mut by_guid: BTreeMap<&str, &'a Message> = BTreeMap::new();
    for change in changes.iter().rev() {
        if let Change::Saved(message) = change {
            by_guid.insert(message.guid.as_str(), message);
        }
    }
    let find = |(guid, _): (MessageGuid, Uid)| {
        let message = by_guid.remove(guid.as_str());
        message.ok_or_else(|| broken("a message was asked for that was not told"))
    };
    let mut found = requests.into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable_by_key(|message| message.uid);
    Ok(found)
}

/// With what Dovecot complained of last, which says best why.
pub(super) fn explained(error: Broken, complaints: &[String]) -> Broken {
    match complaints.last() {
        Some(complaint) if !error.why.contains(complaint.as_str()) => broken(format!("{error}: {complaint}")),
        _ => error,
    }
}

fn unexpected(step: &Step) -> Broken {
    let name = match step {
        Step::More => "nothing",
        Step::Tree(..) => "a tree",
        Step::Mailbox(_) => "a mailbox",
        Step::Requests(_) => "a list of requests",
        Step::Told(_) => "a state",
        Step::Finished(_) => "the end",
    };
    broken(format!("{name} came out of turn"))
}

impl MailboxDelta {
    /// What both sides will have agreed to, but for what only the target knows.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            uid_validity: self.uid_validity,
            uid: Uid(self.uid_next.0.saturating_sub(1)),
            modseq: self.highest_modseq.max(Modseq(1)),
            messages: self.messages,
            at_target: Modseq(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_go_out_by_ascending_uid_whatever_the_order_of_requests() {
        let message = |uid: u32, guid: &str| Message {
            uid: Uid(uid),
            guid: guid.into(),
            ..Message::default()
        };
        let told = [message(3, "c"), message(5, "a"), message(6, "c"), message(9, "b")];
        let changes: Vec<_> = told.iter().map(Change::Saved).collect();
        let asked = |guids: &[&str]| {
            let requests = guids.iter().map(|guid| (MessageGuid::from(*guid), Uid(0)));
            wanted(requests.collect(), &changes).map(|found| found.iter().map(|message| message.uid.0).collect())
        };
        assert_eq!(asked(&["b", "a", "c"]), Ok(vec![3, 5, 9]));
        // One body for two messages with one GUID; none for what was not told.
        assert!(asked(&["c", "c"]).is_err() && asked(&["x"]).is_err());
    }
}
