//! LOGIN (RFC 9051 section 6.2.3), and what every way to log in has in common.

use super::session::{Reply, Session, State, Stop};
use super::wire::Ended;
use crate::serve::auth::Verdict;
use std::time::Duration;

/// Longest wait before a wrong password is answered.
const PENALTY_MAX: Duration = Duration::from_secs(2);

impl Session {
    pub(super) async fn login(&mut self, name: &[u8], password: &[u8]) -> Result<Reply, Stop> {
        if !self.client.may_send_password() {
            return Reply::no("[PRIVACYREQUIRED] Plain-text passwords are not taken without TLS");
        }
        match self.front.auth.check(name, password, self.client.peer.ip()).await {
            Verdict::Accepted(user) => {
                if !self.seat.take_for(&user, &self.front.limits) {
                    self.front.counts.logins_failed.inc();
                    return Reply::no("[LIMIT] Maximum number of connections of this user exceeded");
                }
                self.front.counts.logins.inc();
                tracing::debug!(peer = %self.client.peer, "IMAP login");
                self.state = State::Authenticated(user);
                self.wire.trust();
                Reply::ok(format!("[CAPABILITY {}] Logged in", self.offered()))
            }
            Verdict::Refused => self.wrong_password().await,
            Verdict::Unavailable => Reply::no("[UNAVAILABLE] Logins can't be checked just now"),
        }
    }

    /// Answers late, and later each time: guessing is made slow, a typing error is not.
    async fn wrong_password(&mut self) -> Result<Reply, Stop> {
        self.failed_logins = self.failed_logins.saturating_add(1);
        self.front.counts.logins_failed.inc();
        tracing::info!(peer = %self.client.peer, attempts = self.failed_logins, "IMAP login failed");
        let penalty = Duration::from_millis(500).saturating_mul(self.failed_logins.saturating_add(1));
        tokio::time::sleep(penalty.min(PENALTY_MAX)).await;
        if self.failed_logins >= self.front.limits.failed_logins {
            self.front.counts.cut_off.inc();
            return Err(Ended::Bye("Too many failed logins.".to_owned()).into());
        }
        Reply::no("[AUTHENTICATIONFAILED] Authentication failed.")
    }
}
