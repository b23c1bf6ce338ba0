//! Small changes to a user's Dovecot that clients use meanwhile: names, and messages in a mailbox that nobody else has.

use super::asking::seen;
use super::speaker::DsyncError;
use super::talk::Talk;
use super::telling::Placed;
use super::{Bodies, MailboxDelta, Node, Outcome, Speaker, broken};
use crate::op::UserName;
use std::collections::BTreeMap;

impl Speaker {
    /// Gives the user's Dovecot the tree that `edit` makes of its own: a mailbox that is taken out of it is deleted, one that
    /// has another name there gets it, with all below it where they are renamed, too. (A new one would have another GUID for a
    /// moment, which capture may see: `doveadm` makes them.) What clients make meanwhile stays: Dovecot compares with the tree
    /// that it has said. Returns what stands between the levels of a name there.
    ///
    /// # Errors
    /// It can't be reached, or did not take the tree.
    pub fn amend(&self, user: &UserName, edit: impl FnOnce(&mut Vec<Node>)) -> Result<char, DsyncError> {
        let (mut talk, said, spelling) = Talk::begin(self.ways.literal(user)?, user, BTreeMap::new())?;
        let before: Vec<Node> = told(said);
        let mut tree = before.clone();
        edit(&mut tree);
        if tree == before {
            talk.close();
            return Ok(spelling.separator);
        }
        talk.tree(&placed(tree), spelling)?;
        talk.finish(&mut Vec::new())?;
        Ok(spelling.separator)
    }

    /// Fills an empty mailbox that nobody else uses; its UIDVALIDITY stays. `now`: UNIX seconds.
    ///
    /// # Errors
    /// It can't be reached, the mailbox is not there, or the session ended.
    pub fn fill(
        &self,
        user: &UserName,
        mailbox: &MailboxDelta,
        bodies: &mut dyn Bodies,
        now: i64,
    ) -> Result<Outcome, DsyncError> {
        let (mut talk, said, spelling) = Talk::begin(self.ways.literal(user)?, user, BTreeMap::new())?;
        let mut tree = told(said);
        let mut places = tree.iter_mut().filter_map(|node| node.mailbox.as_mut());
        let Some(place) = places.find(|place| place.guid == mailbox.guid) else {
            talk.close();
            return Err(broken(format!("there is no mailbox {}", mailbox.guid)).into());
        };
        place.uid_next = mailbox.uid_next;
        let mailbox = MailboxDelta {
            uid_validity: place.uid_validity,
            ..mailbox.clone()
        };
        talk.tree(&placed(tree), spelling)?;
        let outcome = talk.mailbox(&mailbox, bodies, now)?;
        talk.finish(&mut Vec::new())?;
        Ok(outcome)
    }
}

fn told(said: Vec<super::said::SaidNode>) -> Vec<Node> {
    let wanted = said.into_iter().map(seen);
    wanted
        .filter(|node| node.mailbox.is_some() || node.subscribed)
        .collect()
}

fn placed(tree: Vec<Node>) -> Vec<Placed> {
    let place = |node: Node| Placed {
        name: node.name,
        mailbox: node
            .mailbox
            .map(|there| (there.guid, there.uid_validity, there.uid_next)),
        subscribed: node.subscribed,
    };
    tree.into_iter().map(place).collect()
}
