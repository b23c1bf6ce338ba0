//! The running Dovecot, as one turn needs it.

use crate::op::{Guid, MailboxName, Uid, UserName};
use crate::store::dovecot::dsync::{Bodies, Delta, Reading, Report, Wanted};
use crate::store::dovecot::fetch::Fetched;

/// Why nothing could be said to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::node) enum TellError {
    /// It does not answer at all: nobody can be told.
    #[error("{0}")]
    Down(String),
    /// This user can't be told: unknown there, say.
    #[error("{0}")]
    User(String),
    /// A mailbox there that nobody told has a name that another one is to have: nothing was changed.
    #[error("{name} is another mailbox there ({guid})")]
    Blocked {
        /// The name.
        name: MailboxName,
        /// The GUID that it has there.
        guid: Guid,
    },
}

/// One way to it; each worker has its own. Every call blocks.
pub(in crate::node) trait Dovecot: Send {
    /// Tells a user's delta.
    fn tell(&mut self, delta: &Delta, bodies: &mut dyn Bodies) -> Result<Report, TellError>;

    /// Reads what a user has there.
    fn read(&mut self, user: &UserName, wanted: &Wanted) -> Result<Reading, TellError>;

    /// Reads one message; none where it is gone.
    fn fetch(&mut self, user: &UserName, mailbox: Guid, uid: Uid) -> Result<Option<Fetched>, TellError>;

    /// Lets go what was kept open: nothing is told any more.
    fn rest(&mut self);
}
