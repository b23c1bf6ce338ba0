//! The ways to a configured Dovecot: dsync sessions, and `doveadm` for what they don't do.

use super::own_first::OwnFirst;
use super::target::{Dovecot, TellError};
use crate::config::DovecotConfig;
use crate::io::clock;
use crate::limits::TELLERS;
use crate::op::{Guid, Uid, UserName};
use crate::store::dovecot::doveadm::Doveadm;
use crate::store::dovecot::dsync::{Bodies, Delta, DsyncError, Reading, Report, Speaker, Wanted};
use crate::store::dovecot::fetch::{self, Fetched};
use crate::store::dovecot::own_bodies::OwnBodies;
use crate::store::target::BodyStore;
use std::sync::Arc;

/// As many ways as there are workers; kept sessions are shared. Asks for the server's configuration once.
pub(in crate::node) fn ways(config: &DovecotConfig) -> Vec<Box<dyn Dovecot>> {
    let doveadm = crate::node::fencing::doveadm(config);
    let speaker = Arc::new(Speaker::new(doveadm.clone(), doveadm.socket()));
    let way = |_| -> Box<dyn Dovecot> {
        Box::new(Way {
            speaker: Arc::clone(&speaker),
            doveadm: doveadm.clone(),
        })
    };
    (0..TELLERS).map(way).collect()
}

/// The mirror's bodies, with those that the Dovecot has already.
pub(in crate::node) fn own_first(config: &DovecotConfig, mirror: Arc<dyn BodyStore>) -> Arc<dyn BodyStore> {
    let own = OwnBodies::new(crate::node::fencing::doveadm(config));
    Arc::new(OwnFirst { mirror, own })
}

struct Way {
    speaker: Arc<Speaker>,
    doveadm: Doveadm,
}

impl Way {
    /// Whether it is the user or the whole server: a lookup of the user tells.
    fn blame(&self, user: &UserName, why: String) -> TellError {
        match self.doveadm.call(&["user", "-u", user.as_str()]) {
            Ok((_, _, true)) => TellError::User(why),
            // both versions say so on standard output
            Ok((said, complaint, false)) if is_unknown(&said) || is_unknown(&complaint) => {
                TellError::User("the mail server does not know this user".to_owned())
            }
            Ok((_, complaint, false)) => TellError::Down(complaint.lines().last().unwrap_or(&why).to_owned()),
            Err(error) => TellError::Down(error.to_string()),
        }
    }
}

/// What `doveadm user` says of somebody whom the user database does not have; anything else is no answer of it.
fn is_unknown(complaint: &str) -> bool {
    complaint.contains("doesn't exist") || complaint.contains("not found")
}

impl Dovecot for Way {
    fn tell(&mut self, delta: &Delta, bodies: &mut dyn Bodies) -> Result<Report, TellError> {
        let told = self.speaker.tell(delta, bodies, clock::unix_seconds());
        told.map_err(|error| match error {
            DsyncError::Blocked { name, guid } => TellError::Blocked { name, guid },
            DsyncError::Flaw(flaw) => TellError::User(flaw.to_string()),
            other => self.blame(&delta.user, other.to_string()),
        })
    }

    fn read(&mut self, user: &UserName, wanted: &Wanted) -> Result<Reading, TellError> {
        let read = self.speaker.read(user, wanted.clone());
        read.map_err(|error| self.blame(user, error.to_string()))
    }

    fn fetch(&mut self, user: &UserName, mailbox: Guid, uid: Uid) -> Result<Option<Fetched>, TellError> {
        let fetched = fetch::message(&self.doveadm, user, mailbox, uid);
        fetched.map_err(|error| self.blame(user, error.to_string()))
    }

    fn rest(&mut self) {
        self.speaker.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_whom_the_mail_server_lacks_is_not_taken_for_a_server_that_is_down() {
        let says = |script: &str| {
            let doveadm = Doveadm {
                command: ["sh", "-c", script, "doveadm"].map(str::to_owned).to_vec(),
                config: None,
            };
            let way = Way {
                speaker: Arc::new(Speaker::new(doveadm.clone(), None)),
                doveadm,
            };
            way.blame(&UserName::from("ann"), "NOUSER".to_owned())
        };
        // as 2.3 and 2.4 say it
        let lacks = says("echo \"userdb lookup: user $3 doesn't exist\"; exit 67");
        assert!(matches!(lacks, TellError::User(_)), "{lacks:?}");
        let down = says("echo 'userdb lookup: connect failed' >&2; exit 75");
        assert!(matches!(down, TellError::Down(_)), "{down:?}");
        let other = says("exit 0");
        assert_eq!(other, TellError::User("NOUSER".to_owned()));
    }
}
