//! SELECT and EXAMINE (RFC 9051 sections 6.3.2 and 6.3.3; RFC 7162 section 3.1.2). Both open read-only.

use super::selected::Selected;
use super::session::{Reply, Session, State, Stop};
use super::status::named;
use crate::op::Flags;

impl Session {
    pub(super) async fn select(&mut self, mailbox: &[u8], examine: bool, condstore: bool) -> Result<Reply, Stop> {
        // whatever comes of it, the mailbox before is no longer selected
        if let State::Selected(user, _) = &self.state {
            self.state = State::Authenticated(user.clone());
            self.wire.put("* OK [CLOSED] Previous mailbox closed.\r\n");
        }
        let name = named(mailbox)?;
        self.changes.mark_unchanged();
        let row = self.find(&name).await?;
        let picture = self.read(move |view| view.messages(row.key)).await?;
        let Some((row, messages)) = picture else {
            return Reply::no("[NONEXISTENT] The mailbox has just been deleted");
        };
        let selected = Selected::new(row, messages);
        self.wire.put(greeting(&selected));
        self.condstore |= condstore;
        self.state = State::Selected(self.user()?, selected);
        let verb = if examine { "Examine" } else { "Select" };
        Reply::ok(format!("[READ-ONLY] {verb} completed."))
    }
}

/// What the client is told of a mailbox that it enters.
fn greeting(selected: &Selected) -> String {
    let row = &selected.row;
    let unseen = selected.messages.iter().position(|m| !m.flags.contains(Flags::SEEN));
    let unseen = unseen.map(|place| format!("* OK [UNSEEN {}] First unseen.\r\n", place.saturating_add(1)));
    [
        selected.flags_line(),
        "* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n".to_owned(),
        format!("* {} EXISTS\r\n* 0 RECENT\r\n", selected.count()),
        unseen.unwrap_or_default(),
        format!("* OK [UIDVALIDITY {}] UIDs valid\r\n", row.uidvalidity),
        format!("* OK [UIDNEXT {}] Predicted next UID\r\n", row.uidnext),
        format!("* OK [HIGHESTMODSEQ {}] Highest\r\n", row.highest_modseq),
    ]
    .concat()
}
