//! STARTTLS (RFC 9051 section 6.2.1).

use super::session::{Reply, Session, Stop};
use super::wire::Ended;

impl Session {
    /// Answers OK in the clear, then begins TLS.
    pub(super) async fn start_tls(&mut self, tag: &str) -> Result<Reply, Stop> {
        if self.client.encrypted {
            return Reply::bad("TLS is already active");
        }
        let Some(tls) = self.front.tls.clone() else {
            return Reply::bad("TLS is not available");
        };
        self.wire.put(format!("{tag} OK Begin TLS negotiation now.\r\n"));
        self.wire.flush().await?;
        let patience = self.front.limits.login;
        self.wire.encrypt(&tls(), patience).await.map_err(|_| Ended::Gone)?;
        self.client.encrypted = true;
        Err(Stop::Answered)
    }
}
