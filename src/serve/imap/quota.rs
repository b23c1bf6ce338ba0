//! GETQUOTA and GETQUOTAROOT (RFC 9208). Limits belong to the primary, which enforces them at delivery; here mail is not
//! limited, so no mailbox has a quota root.

use super::answer;
use super::session::{Reply, Session, Stop};

impl Session {
    pub(super) fn quota(&mut self) -> Result<Reply, Stop> {
        Reply::no("[NONEXISTENT] No such quota root.")
    }

    pub(super) async fn quota_root(&mut self, mailbox: &[u8]) -> Result<Reply, Stop> {
        let name = self.named(mailbox)?;
        self.find(&name).await?;
        self.wire.put("* QUOTAROOT ");
        self.wire.put(answer::name(&name, self.script()));
        self.wire.put("\r\n");
        Reply::ok("Getquotaroot completed.")
    }
}
