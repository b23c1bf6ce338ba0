//! The mirror's body store, which looks into its own Dovecot before it needs a body of the primary.

use crate::op::{BodyHash, BodyName, BodyPlace, Missing};
use crate::store::dovecot::own_bodies::OwnBodies;
use crate::store::target::{BodyStore, TargetError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
pub(super) struct OwnFirst {
    pub(super) mirror: Arc<dyn BodyStore>,
    pub(super) own: OwnBodies,
}

impl BodyStore for OwnFirst {
    fn lacking(&self, names: &[BodyName]) -> Result<BTreeMap<BodyName, Vec<BodyPlace>>, TargetError> {
        let mut lacking = self.mirror.lacking(names)?;
        let before = lacking.len();
        let wanted: Vec<BodyName> = lacking.keys().cloned().collect();
        for name in wanted {
            let Some(octets) = self.own.read(&name) else { continue };
            let hash = BodyHash(*blake3::hash(&octets).as_bytes());
            self.mirror.put(&name, &octets, &hash)?;
            lacking.remove(&name);
        }
        if lacking.len() < before {
            self.mirror.commit()?;
        }
        Ok(lacking)
    }

    fn put(&self, name: &BodyName, octets: &[u8], hash: &BodyHash) -> Result<(), TargetError> {
        self.mirror.put(name, octets, hash)
    }

    fn put_missing(&self, name: &BodyName, missing: &Missing) -> Result<(), TargetError> {
        self.mirror.put_missing(name, missing)
    }

    fn commit(&self) -> Result<(), TargetError> {
        self.mirror.commit()
    }

    fn pending(&self, most: usize) -> Result<BTreeMap<BodyName, Vec<BodyPlace>>, TargetError> {
        self.mirror.pending(most)
    }
}
