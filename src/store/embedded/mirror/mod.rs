//! The store as the mirror of a running Dovecot: what that Dovecot has been told, and what it must still be told.
//!
//! A mirror takes frames as every copy does. Beside the mail it keeps *marks*: for each mailbox UIDVALIDITY, UIDNEXT and
//! MODSEQ up to which the Dovecot has acknowledged everything, for each user the tree, for each attribute its hash. What has
//! to be told is what QRESYNC would tell a client that last saw the mark: messages with a higher MODSEQ, the UIDs that
//! vanished since, new messages. So a change costs what the change costs, and telling it again changes nothing.
//!
//! | file | what it does |
//! |---|---|
//! | `delta` | what must be told of one user, and of one mailbox |
//! | `properties` | attributes that must be told |
//! | `marks` | what was acknowledged |
//! | `stirred` | whose mail, tree or attributes changed since somebody asked |
//! | `remembered` | what it had, while its Dovecot is primary |
//! | `foreign` | keeping what somebody else left in the Dovecot |

mod delta;
mod foreign;
mod marks;
mod properties;
mod remembered;
mod stirred;

pub use delta::Telling;
pub use foreign::Foreign;
pub use remembered::Remembered;

use super::super::dovecot::dsync::{Delta, Report, State};
use super::super::source::Bodies;
use super::super::target::{Applied, TargetError};
use super::apply::Place;
use super::bodies;
use super::origin::Origin;
use super::store::Store;
use crate::op::{Guid, Lsn, StreamId, UserName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whose mail changed, as of a place in the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stirred {
    /// Users of whom something changed since the last question.
    pub users: Vec<UserName>,
    /// Everything that this store has decided is either told, or of these users or of users named before.
    pub applied: Applied,
    /// True from a base until its end is applied.
    pub building: bool,
}

/// The marks of one store. One caller asks what is stirred; what must be told may be asked by many.
pub struct Mirror {
    store: Arc<Store>,
}

impl Mirror {
    /// Begins to note whose mail changes.
    ///
    /// # Errors
    /// The store can't be written.
    pub(super) fn over(store: Arc<Store>) -> Result<Self, TargetError> {
        store.write(|tx| Ok(stirred::observe(tx)?))?;
        Ok(Self { store })
    }

    /// Every user that this store has heard of.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn users(&self) -> Result<Vec<UserName>, TargetError> {
        self.store.readers.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT name FROM users ORDER BY name")?;
            let names = statement.query_map([], |row| row.get(0).map(UserName))?;
            Ok(names.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The next user by name who was told anything; none behind the last one.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn user_behind(&self, user: &UserName) -> Result<Option<UserName>, TargetError> {
        self.store.readers.read(|tx| Ok(marks::user_behind(tx, user)?))
    }

    /// Whose mail changed since the last call, and how far this store has decided.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn stirred(&self) -> Result<Stirred, TargetError> {
        self.store.write(|tx| {
            let place = Place::load(tx)?;
            Ok(Stirred {
                users: stirred::take(tx)?,
                applied: place.applied,
                building: place.building != Lsn(0),
            })
        })
    }

    /// What this user's Dovecot must be told. Of many new messages a part: where [`Telling::more`] is set the rest comes
    /// with the next call, after this was acknowledged. None where nothing is to be told, or no tree of the user came yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn telling(&self, user: &UserName) -> Result<Option<Telling>, TargetError> {
        delta::of_user(&self.store, user)
    }

    /// Everything that this user's Dovecot is to hold, whatever it was told.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn whole(&self, user: &UserName) -> Result<Delta, TargetError> {
        delta::whole(&self.store, user)
    }

    /// Notes what was acknowledged.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn acknowledge(&self, telling: &Telling, report: &Report) -> Result<(), TargetError> {
        self.store.write(|tx| marks::acknowledge(tx, telling, report))
    }

    /// Forgets what was told of these mailboxes: they are not what they were. They are told anew, as a whole.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn forget(&self, user: &UserName, mailboxes: &[Guid]) -> Result<(), TargetError> {
        self.store.write(|tx| {
            let user = bodies::user(tx, user)?;
            for guid in mailboxes {
                marks::forget_mailbox(tx, user, *guid)?;
            }
            Ok(())
        })
    }

    /// Forgets what was told of a user: all of it is compared with the Dovecot again.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn doubt(&self, user: &UserName) -> Result<(), TargetError> {
        self.store.write(|tx| {
            let user = bodies::user(tx, user)?;
            Ok(marks::doubt(tx, user)?)
        })
    }

    /// What this user's Dovecot has acknowledged, by mailbox.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn acknowledged(&self, user: &UserName) -> Result<BTreeMap<Guid, State>, TargetError> {
        self.store.readers.read(|tx| match bodies::known_user(tx, user)? {
            Some(user) => {
                let marks = marks::of_user(tx, user)?;
                Ok(marks.into_iter().map(|(guid, mark)| (guid, mark.state)).collect())
            }
            None => Ok(BTreeMap::new()),
        })
    }

    /// Forgets all that was told: from here on the Dovecot is written by clients.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn forget_all(&self) -> Result<(), TargetError> {
        self.store.write(|tx| Ok(marks::forget_all(tx)?))
    }

    /// Up to which LSN everything was told; 0 where that was said of another stream.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn told(&self, stream: StreamId) -> Result<Lsn, TargetError> {
        self.store.readers.read(|tx| Ok(marks::told(tx, stream)?))
    }

    /// Notes up to where everything was told.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn note_told(&self, stream: StreamId, lsn: Lsn) -> Result<(), TargetError> {
        self.store.write(|tx| Ok(marks::note_told(tx, stream, lsn)?))
    }

    /// Keeps a message that somebody else left in the Dovecot, before it is undone there: it is among what is retained.
    ///
    /// # Errors
    /// Disk full or failed.
    pub fn keep_foreign(&self, foreign: &Foreign, octets: &[u8]) -> Result<(), TargetError> {
        foreign::keep(&self.store, foreign, octets)
    }

    /// The bodies of everything that a delta names.
    #[must_use]
    pub fn bodies(&self) -> Arc<dyn Bodies> {
        Arc::new(Origin(Arc::clone(&self.store)))
    }
}
