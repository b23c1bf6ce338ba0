//! EXPUNGE, UID EXPUNGE (RFC 4315) and CLOSE (RFC 9051 sections 6.4.1 and 6.4.3).

use super::change::ranges;
use super::grammar::SequenceSet;
use super::session::{Reply, Session, Stop};
use crate::op::{MailboxName, Uid};
use crate::store::change::{Change, Changed};

impl Session {
    pub(super) async fn expunge(&mut self, set: Option<&SequenceSet>) -> Result<Reply, Stop> {
        let mut expunged = Vec::new();
        if self.may_write() {
            let uids = set.map(|set| self.selected().map(|selected| selected.uids(set, true)));
            expunged = self.expunge_deleted(uids.transpose()?).await?;
        }
        self.refresh().await?;
        let code = if expunged.is_empty() {
            String::new()
        } else {
            self.highest_modseq_code()?
        };
        Reply::ok(format!("{code}Expunge completed."))
    }

    /// CLOSE expunges without a word; as Dovecot does, it doesn't tell the MODSEQ.
    pub(super) async fn close(&mut self) -> Result<Reply, Stop> {
        if self.may_write() {
            self.expunge_deleted(None).await?;
        }
        self.leave("Close completed.")
    }

    /// Expunges what has `\Deleted`, of these where they are named.
    async fn expunge_deleted(&mut self, uids: Option<Vec<Uid>>) -> Result<Vec<Uid>, Stop> {
        if uids.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let change = Change::Expunge {
            mailbox: self.selected_id()?,
            uids: uids.map(|uids| ranges(&uids)),
        };
        match self.change_of(&MailboxName::default(), change).await? {
            Changed::Expunged { uids, .. } => Ok(uids),
            _ => Ok(Vec::new()),
        }
    }

    /// `[HIGHESTMODSEQ 22] ` for a client that keeps it (RFC 7162 section 3.2.7).
    pub(super) fn highest_modseq_code(&self) -> Result<String, Stop> {
        if !self.enabled.qresync {
            return Ok(String::new());
        }
        Ok(format!("[HIGHESTMODSEQ {}] ", self.selected()?.row.highest_modseq))
    }
}
