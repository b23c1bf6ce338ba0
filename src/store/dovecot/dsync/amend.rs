//! Small changes to a user's Dovecot that clients use meanwhile: names, and messages in a mailbox that nobody else has.

use super::asking::seen;
use super::speaker::DsyncError;
use super::talk::Talk;
use super::telling::Placed;
use super::{Bodies, MailboxDelta, Node, NodeMailbox, Outcome, Speaker};
use crate::op::{MailboxName, UserName};
use std::collections::BTreeMap;

impl Speaker {
    /// Gives the user's Dovecot the tree that `edit` makes of its own: a mailbox that is taken out of it is deleted, one that
    /// is new is made, one that has another name there gets it, with all below it where they are renamed, too. What clients
    /// make meanwhile stays: Dovecot compares with the tree that it has said.
    ///
    /// # Errors
    /// It can't be reached, or did not take the tree.
    pub fn amend(&self, user: &UserName, edit: impl FnOnce(&mut Vec<Node>)) -> Result<(), DsyncError> {
        let (mut talk, said, spelling) = Talk::begin(self.ways.literal(user)?, user, BTreeMap::new())?;
        let before: Vec<Node> = told(said);
        let mut tree = before.clone();
        edit(&mut tree);
        if tree == before {
            talk.close();
            return Ok(());
        }
        talk.tree(&placed(tree), spelling)?;
        talk.finish(&mut Vec::new())?;
        Ok(())
    }

    /// Makes a mailbox with these messages beside all that the user has, or makes it again where it is left of an earlier
    /// attempt. `now`: UNIX seconds.
    ///
    /// # Errors
    /// It can't be reached, or the session ended: what there is of the mailbox is made again next time.
    pub fn put_aside(
        &self,
        user: &UserName,
        name: &MailboxName,
        mailbox: &MailboxDelta,
        bodies: &mut dyn Bodies,
        now: i64,
    ) -> Result<Outcome, DsyncError> {
        let is_other = |node: &Node| node.mailbox.is_none_or(|there| there.guid != mailbox.guid);
        self.amend(user, |tree| tree.retain(is_other))?;
        let link = self.ways.literal(user)?;
        let (mut talk, said, spelling) = Talk::begin(link, user, BTreeMap::new())?;
        let mut tree = told(said);
        tree.push(Node {
            name: name.clone(),
            mailbox: Some(NodeMailbox {
                guid: mailbox.guid,
                uid_validity: mailbox.uid_validity,
                uid_next: mailbox.uid_next,
            }),
            subscribed: false,
        });
        talk.tree(&placed(tree), spelling)?;
        let outcome = talk.mailbox(mailbox, bodies, now)?;
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
