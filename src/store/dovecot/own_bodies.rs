//! Bodies that a standby's own Dovecot has already: of one that was primary before, or was filled by other means. What is
//! here need not cross the link again. Files are read, nothing is changed.

use super::bodies::DovecotBodies;
use super::catalogue;
use super::doveadm::{Doveadm, Users};
use super::identity::Identities;
use super::mail_root::MailRoot;
use super::places::Places;
use super::snapshot;
use crate::config::PublicOwners;
use crate::op::{BodyName, Guid, Uid, UidValidity, UserName};
use crate::store::source::{Bodies, BodyAnswer};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// UIDVALIDITY and UIDNEXT of a user's mailboxes when they were first asked for: what came later came from the primary.
type Known = BTreeMap<Guid, (UidValidity, Uid)>;

/// See the module.
#[derive(Debug)]
pub struct OwnBodies {
    doveadm: Doveadm,
    users: OnceLock<Users>,
    identities: Arc<Identities>,
    bodies: DovecotBodies,
    known: Mutex<BTreeMap<UserName, Known>>,
}

impl OwnBodies {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(doveadm: Doveadm) -> Self {
        let identities = Arc::new(Identities::default());
        Self {
            doveadm,
            users: OnceLock::new(),
            bodies: DovecotBodies::new(Arc::clone(&identities)),
            identities,
            known: Mutex::default(),
        }
    }

    /// The body that this Dovecot has in exactly that place, under that GUID and with that size; none where anything is in
    /// doubt.
    pub fn read(&self, name: &BodyName) -> Option<Vec<u8>> {
        let place = &name.place;
        if name.size.is_none() || name.guid.is_unknown() || !self.may_have(name) {
            return None;
        }
        match self.bodies.read(std::slice::from_ref(place), &name.guid, name.size) {
            BodyAnswer::Body(octets) if u64::try_from(octets.len()).ok() == name.size => Some(octets),
            _ => None,
        }
    }

    fn may_have(&self, name: &BodyName) -> bool {
        let place = &name.place;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let user = &place.mailbox.user;
        let known = known.entry(user.clone()).or_insert_with(|| self.look_at(user));
        let mailbox = known.get(&place.mailbox.guid);
        mailbox.is_some_and(|(uidvalidity, uidnext)| *uidvalidity == place.uidvalidity && place.uid < *uidnext)
    }

    /// What this user has here; nothing where that can't be found out.
    fn look_at(&self, user: &UserName) -> Known {
        let users = self.users.get_or_init(|| {
            self.doveadm.users(&PublicOwners::new()).unwrap_or_else(|error| {
                tracing::warn!(%error, "where this Dovecot's mail lies is not known: every body comes from the primary");
                Users::new()
            })
        });
        let Some(Ok(root)) = users.get(user) else {
            return Known::new();
        };
        self.list(user, root).unwrap_or_else(|error| {
            // who never had mail here has none
            if error.kind() == std::io::ErrorKind::NotFound {
                return Known::new();
            }
            tracing::warn!(user = %crate::telemetry::user(user), %error, "this user's mail here can't be listed: every body comes from the primary");
            Known::new()
        })
    }

    fn list(&self, user: &UserName, root: &MailRoot) -> std::io::Result<Known> {
        let listing = catalogue::list(root, &self.identities)?;
        let index_root = root
            .namespaces
            .first()
            .map_or(Path::new(""), |first| first.index_root());
        let places = Arc::new(Places::of(index_root, &listing));
        self.bodies.note(user, &Arc::new(root.clone()), places);
        let numbers = listing.mailboxes.iter().filter_map(|(guid, found)| {
            let state = snapshot::read(&found.directory).ok()?;
            let state = state.log_state();
            Some((*guid, (state.uidvalidity, state.uidnext)))
        });
        Ok(numbers.collect())
    }
}
