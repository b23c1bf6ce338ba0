//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 9051 sections 6.3.4 to 6.3.8, RFC 6154).

use super::mutf7;
use super::session::{Reply, Session, State, Stop};
use crate::limits::{NAME_BYTES_MAX, NAME_LEVELS_MAX};
use crate::op::MailboxName;
use crate::store::change::{Change, Changed, Reason};

impl Session {
    pub(super) async fn create(&mut self, mailbox: &[u8], special_use: Option<String>) -> Result<Reply, Stop> {
        let name = self.new_name(mailbox)?;
        if name == MailboxName::inbox() {
            return Reply::no("[ALREADYEXISTS] Mailbox already exists.");
        }
        if special_use.as_deref().is_some_and(|wanted| !is_special_use(wanted)) {
            return Reply::no("[USEATTR] No such special use is known.");
        }
        let change = Change::Create {
            user: self.user()?,
            name: name.clone(),
            special_use,
        };
        let code = match self.change_of(&name, change).await? {
            Changed::Done(Some(id)) => format!("[MAILBOXID ({})] ", id.guid.to_hex()),
            _ => String::new(),
        };
        Reply::ok(format!("{code}Create completed."))
    }

    /// The INBOX of somebody who has nothing yet.
    pub(super) async fn make_inbox(&mut self) -> Result<(), Stop> {
        let (user, name) = (self.user()?, MailboxName::inbox());
        let change = Change::Create {
            user,
            name: name.clone(),
            special_use: None,
        };
        match self.change(change).await {
            Err(refused) if refused.reason != Reason::AlreadyExists => Err(self.refusal(&refused, &name)),
            _ => Ok(()),
        }
    }

    /// A client that deletes the mailbox that it has selected has no mailbox selected afterwards.
    pub(super) async fn delete(&mut self, mailbox: &[u8]) -> Result<Reply, Stop> {
        let name = self.named(mailbox)?;
        check_name(&name)?;
        if name == MailboxName::inbox() {
            return Reply::no("[CANNOT] INBOX can't be deleted.");
        }
        let (user, wanted) = (self.user()?, name.clone());
        let found = self.read(move |view| view.mailbox(&user, &wanted)).await?;
        let change = Change::Delete {
            user: self.user()?,
            name: name.clone(),
        };
        self.change_of(&name, change).await?;
        let gone = found.map(|row| row.key);
        if gone.is_some() && self.selected().ok().map(|selected| selected.row.key) == gone {
            self.state = State::Authenticated(self.user()?);
            self.wire.put("* OK [CLOSED] Selected mailbox was deleted.\r\n");
        }
        Reply::ok("Delete completed.")
    }

    pub(super) async fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<Reply, Stop> {
        let (from, to) = (self.named(from)?, self.new_name(to)?);
        check_name(&from)?;
        if from == to {
            return Reply::no("[ALREADYEXISTS] Can't rename mailbox to itself.");
        }
        if to.is_below(&from) {
            return Reply::no("[CANNOT] Can't rename mailbox under its own child.");
        }
        let change = Change::Rename {
            user: self.user()?,
            from: from.clone(),
            to,
        };
        match self.change(change).await {
            Ok(_) => Reply::ok("Rename completed."),
            Err(refused) if refused.reason == Reason::AlreadyExists => {
                Reply::no("[ALREADYEXISTS] Target mailbox already exists.")
            }
            Err(refused) => Err(self.refusal(&refused, &from)),
        }
    }

    /// Only what is there can be subscribed; anything can be unsubscribed.
    pub(super) async fn subscribe(&mut self, mailbox: &[u8], subscribed: bool) -> Result<Reply, Stop> {
        let name = self.named(&without_end(mailbox, self.script().separator))?;
        let user = self.user()?;
        if subscribed {
            let tree = self.read(move |view| view.tree(&user)).await?;
            if !tree.rows.iter().any(|row| row.name == name || row.name.is_below(&name)) {
                let shown = mutf7::encode(&name.join(self.script().separator));
                return Reply::no(format!("[NONEXISTENT] Mailbox doesn't exist: {shown}"));
            }
        }
        let change = Change::Subscribe {
            user: self.user()?,
            name: name.clone(),
            subscribed,
        };
        self.change_of(&name, change).await?;
        let verb = if subscribed { "Subscribe" } else { "Unsubscribe" };
        Reply::ok(format!("{verb} completed."))
    }

    /// A name that is to be. A separator at its end only says that folders will come below it.
    fn new_name(&self, mailbox: &[u8]) -> Result<MailboxName, Stop> {
        let name = self.named(&without_end(mailbox, self.script().separator))?;
        check_name(&name)?;
        Ok(name)
    }
}

/// RFC 6154 and RFC 8457.
fn is_special_use(wanted: &str) -> bool {
    let name = wanted.strip_prefix('\\').unwrap_or_default();
    let known = [
        "All",
        "Archive",
        "Drafts",
        "Flagged",
        "Important",
        "Junk",
        "Sent",
        "Trash",
    ];
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn without_end(mailbox: &[u8], separator: char) -> Vec<u8> {
    let mut end = [0; 4];
    let end = separator.encode_utf8(&mut end).as_bytes();
    mailbox.strip_suffix(end).unwrap_or(mailbox).to_vec()
}

/// The reply where no mailbox may have this name.
pub(super) fn check_name(name: &MailboxName) -> Result<(), Stop> {
    let bytes: usize = name.0.iter().map(String::len).sum();
    let why = match name.0.as_slice() {
        [only] if only.is_empty() => "Name is empty",
        [first, ..] if first.is_empty() => "Begins with hierarchy separator",
        levels if levels.iter().any(String::is_empty) => "Has adjacent hierarchy separators",
        levels if levels.len() > NAME_LEVELS_MAX || bytes > NAME_BYTES_MAX => "Name is too long",
        levels if levels.iter().any(|level| level.contains(char::is_control)) => "Has control characters",
        _ => return Ok(()),
    };
    Err(Stop::Reply(Reply::No(format!("[CANNOT] Invalid mailbox name: {why}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_folder_can_have_are_refused_with_a_reason() {
        for (levels, good) in [
            (&["a", "b"][..], true),
            (&[""], false),
            (&["", "a"], false),
            (&["a", "", "b"], false),
            (&["a\tb"], false),
            (&["x"; NAME_LEVELS_MAX + 1], false),
        ] {
            let name = MailboxName::of(levels.iter().copied());
            assert_eq!(check_name(&name).is_ok(), good, "{name}");
        }
    }
}
