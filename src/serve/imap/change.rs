//! What all commands that change something have in common: who makes the change, and how a refusal is told.

use super::mutf7;
use super::session::{Reply, STANDBY, Session, Stop};
use super::wire::Ended;
use crate::op::{MailboxId, MailboxName, Uid, UidRange};
use crate::serve::change::make;
use crate::serve::server::Access;
use crate::store::change::{Change, Changed, Reason, Refused};

/// What a session has been allowed to do so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trust {
    /// It has only read.
    #[default]
    Reader,
    /// It was told that it may write: where that ends, so does the session.
    Writer,
}

impl Session {
    /// Ends the session where clients may do nothing (any more), or where what it was promised no longer holds. A
    /// session in a mailbox that may be written from now on is told so.
    pub(super) fn check_access(&mut self) -> Result<(), Ended> {
        match ((self.front.access)(), self.trust) {
            (Access::Closed(text), _) => Err(Ended::Bye(format!("[UNAVAILABLE] {text}"))),
            (Access::ReadOnly, Trust::Writer) => {
                let text = "[UNAVAILABLE] This node is no longer the primary";
                Err(Ended::Bye(text.to_owned()))
            }
            (Access::ReadOnly, Trust::Reader) | (Access::ReadWrite(_), Trust::Writer) => Ok(()),
            (Access::ReadWrite(_), Trust::Reader) => {
                self.trust = Trust::Writer;
                self.tell_writable();
                Ok(())
            }
        }
    }

    /// True where this node takes changes. What `check_access` saw counts for the whole command.
    pub(super) fn is_primary(&self) -> bool {
        self.trust == Trust::Writer
    }

    /// True where the selected mailbox may be changed.
    pub(super) fn may_write(&self) -> bool {
        self.is_primary() && self.selected().is_ok_and(|selected| !selected.examined)
    }

    fn tell_writable(&mut self) {
        if let Ok(selected) = self.selected()
            && !selected.examined
        {
            let permanent = super::selected::permanent_flags(selected.listing.keywords());
            self.wire.put(permanent);
            self.wire.put("* OK [READ-WRITE] This node is the primary now.\r\n");
        }
    }

    /// Has a change made. It is durable when this returns.
    pub(super) async fn change(&mut self, change: Change) -> Result<Changed, Refused> {
        let Access::ReadWrite(changer) = (self.front.access)() else {
            let (reason, why) = (Reason::NotPrimary, STANDBY.to_owned());
            return Err(Refused { reason, why });
        };
        let changed = make(changer, change).await;
        if let Ok(selected) = self.selected_mut() {
            selected.changes.mark_changed();
        }
        changed
    }

    /// As [`Self::change`]; a refusal ends the command. `name` is the mailbox that the change is about.
    pub(super) async fn change_of(&mut self, name: &MailboxName, change: Change) -> Result<Changed, Stop> {
        let changed = self.change(change).await;
        changed.map_err(|refused| self.refusal(&refused, name))
    }

    /// How a refused change is told, as Dovecot does.
    pub(super) fn refusal(&self, refused: &Refused, name: &MailboxName) -> Stop {
        let shown = mutf7::encode(&name.join(self.script().separator));
        let why: String = refused.why.chars().filter(|c| !c.is_control()).collect();
        let why = mutf7::encode(&why);
        let text = match refused.reason {
            Reason::Nonexistent => format!("[NONEXISTENT] Mailbox doesn't exist: {shown}"),
            Reason::TryCreate => format!("[TRYCREATE] Mailbox doesn't exist: {shown}"),
            Reason::AlreadyExists => "[ALREADYEXISTS] Mailbox already exists".to_owned(),
            Reason::Cannot => format!("[CANNOT] {why}"),
            Reason::Limit => format!("[LIMIT] {why}"),
            Reason::NoPermission => format!("[NOPERM] {why}"),
            Reason::NotPrimary => STANDBY.to_owned(),
            Reason::Unavailable => format!("[UNAVAILABLE] {why}"),
        };
        Stop::Reply(Reply::No(text))
    }

    /// The selected mailbox, as changes name it.
    pub(super) fn selected_id(&self) -> Result<MailboxId, Stop> {
        let (user, selected) = (self.user()?, self.selected()?);
        let guid = selected.row.guid;
        Ok(MailboxId { user, guid })
    }
}

/// UIDs as ranges of those that follow each other. `uids` ascend.
pub(super) fn ranges(uids: &[Uid]) -> Vec<UidRange> {
    let mut ranges: Vec<UidRange> = Vec::new();
    for uid in uids {
        match ranges.last_mut() {
            Some(range) if range.last.0.checked_add(1) == Some(uid.0) => range.last = *uid,
            _ => ranges.push(UidRange::one(*uid)),
        }
    }
    ranges
}
