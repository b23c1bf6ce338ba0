//! Users who were moved to a group or away from it, one by one, while the node ran. All copies of a group's patterns share
//! it; the node sets it from what it durably knows (`schema/moved.md`).

use crate::op::{Lsn, StreamId, UserName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Moved(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    users: BTreeMap<UserName, MovedUser>,
    changes: u64,
}

/// What the group is to a user who was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedUser {
    /// True where he belongs to it.
    pub is_here: bool,
    /// Whether clients of his are kept out of this node's mail server.
    pub kept_out: KeptOut,
    /// Whether a standby's mail server is told what its mirror says of him.
    pub told: Told,
}

/// Whether somebody is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptOut {
    /// By nothing that concerns him alone.
    No,
    /// As long as this node may not write to the group.
    WhileStandby,
    /// In any role.
    Always,
}

/// Whether a mail server is told what its mirror says of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// As of anybody.
    Now,
    /// From this place of the group's stream on: before it the mail server is ahead of the mirror.
    From(StreamId, Lsn),
    /// Not before it is known from which place on.
    Later,
    /// He is of another group.
    Never,
}

impl Moved {
    /// This is how it is from now on.
    pub fn replace(&self, users: BTreeMap<UserName, MovedUser>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.users = users;
        known.changes = known.changes.wrapping_add(1);
    }

    /// The same at this moment, apart from what it will be.
    #[must_use]
    pub fn as_now(&self) -> Self {
        let known = self.known();
        let (users, changes) = (known.users.clone(), known.changes);
        Self(Arc::new(RwLock::new(Known { users, changes })))
    }

    /// Changes with each [`Self::replace`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.known().changes
    }

    /// Whether a user who was moved is here; none: he never was.
    #[must_use]
    pub fn is_here(&self, user: &str) -> Option<bool> {
        let known = self.known();
        if known.users.is_empty() {
            return None;
        }
        known.users.get(&UserName::from(user)).map(|moved| moved.is_here)
    }

    /// True where somebody was moved away.
    #[must_use]
    pub fn is_anybody_away(&self) -> bool {
        self.known().users.values().any(|moved| !moved.is_here)
    }

    /// Whether a mail server is told of this user, where its mirror is at this place: [`Told::From`] is decided.
    #[must_use]
    pub fn told(&self, user: &UserName, stream: StreamId, lsn: Lsn) -> Told {
        match self.known().users.get(user) {
            None => Told::Now,
            Some(moved) if !moved.is_here => Told::Never,
            Some(moved) => match moved.told {
                // a stream that came after begins with a list of everything
                Told::From(of, from) if of == stream && lsn < from => Told::Later,
                Told::From(..) => Told::Now,
                other => other,
            },
        }
    }

    /// Who is kept out, one by one.
    #[must_use]
    pub fn kept_out(&self, may_write: bool) -> BTreeSet<UserName> {
        let is_out = |moved: &MovedUser| match moved.kept_out {
            KeptOut::No => false,
            KeptOut::WhileStandby => !may_write,
            KeptOut::Always => true,
        };
        let known = self.known();
        let out = known.users.iter().filter(|(_, moved)| moved.is_here && is_out(moved));
        out.map(|(user, _)| user.clone()).collect()
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
