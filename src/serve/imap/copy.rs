//! COPY, MOVE (RFC 6851) and their UID forms, with COPYUID (RFC 4315).

use super::change::ranges;
use super::grammar::{Copy, compact};
use super::session::{Reply, Session, Stop};
use crate::op::Uid;
use crate::store::change::{Change, Changed};

impl Session {
    pub(super) async fn copy(&mut self, copy: Copy) -> Result<Reply, Stop> {
        let verb = if copy.moved { "MOVE" } else { "COPY" };
        let selected = self.selected()?;
        if !copy.uid && !copy.set.fits(selected.count()) {
            return Reply::bad(format!("Error in IMAP command {verb}: Invalid messageset"));
        }
        if copy.moved && selected.examined {
            return Reply::no("[READ-ONLY] Mailbox is read-only");
        }
        let name = self.named(&copy.mailbox)?;
        let uids = self.selected()?.uids(&copy.set, copy.uid);
        if uids.is_empty() {
            return Reply::ok("No messages found.");
        }
        let change = Change::Copy {
            mailbox: self.selected_id()?,
            uids: ranges(&uids),
            into: name.clone(),
            moved: copy.moved,
        };
        let code = copied_code(&self.change_of(&name, change).await?);
        if !copy.moved {
            self.refresh().await?;
            return Reply::ok(match code {
                Some(code) => format!("{code} Copy completed."),
                None => "No messages found.".to_owned(),
            });
        }
        if let Some(code) = &code {
            self.wire.put(format!("* OK {code} Moved UIDs.\r\n"));
        }
        self.refresh().await?;
        if code.is_none() {
            return Reply::ok("No messages found.");
        }
        let code = self.highest_modseq_code()?;
        Reply::ok(format!("{code}Move completed."))
    }
}

/// `[COPYUID 38505 304,319:320 3956:3958]`; none where nothing was copied.
fn copied_code(changed: &Changed) -> Option<String> {
    let Changed::Copied { uidvalidity, from, to } = changed else {
        return None;
    };
    let numbers = |uids: &[Uid]| uids.iter().map(|uid| uid.0).collect::<Vec<_>>();
    let (from, to) = (compact(&numbers(from)), compact(&numbers(to)));
    (!from.is_empty()).then(|| format!("[COPYUID {uidvalidity} {from} {to}]"))
}
