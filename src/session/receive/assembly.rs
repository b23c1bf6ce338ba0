//! Puts a body together from its parts. One at a time: parts of two bodies are never mixed.

use crate::codec::wire::BodyPart;
use crate::limits::BODY_IN_MEMORY_MAX;
use crate::op::{BodyHash, BodyName};

/// The body that is arriving.
#[derive(Debug)]
struct Arriving {
    id: u64,
    ahead: bool,
    name: BodyName,
    total: u64,
    octets: Vec<u8>,
    hasher: blake3::Hasher,
}

/// A body of which every part is here.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) id: u64,
    pub(crate) ahead: bool,
    pub(crate) name: BodyName,
    /// With their hash; none where that is not what was said.
    pub(crate) octets: Option<(Vec<u8>, BodyHash)>,
}

/// At most one body, at most [`BODY_IN_MEMORY_MAX`] bytes; memory grows with what arrives, not with what is claimed.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    arriving: Option<Arriving>,
}

impl Assembly {
    /// True where the next part begins a body.
    pub(crate) fn is_empty(&self) -> bool {
        self.arriving.is_none()
    }

    /// Begins with a first part.
    pub(crate) fn begin(&mut self, part: &BodyPart, name: BodyName) -> Result<(), String> {
        if part.total > BODY_IN_MEMORY_MAX {
            return Err(format!("a body of {} bytes", part.total));
        }
        self.arriving = Some(Arriving {
            id: part.id,
            ahead: part.ahead,
            name,
            total: part.total,
            octets: Vec::new(),
            hasher: blake3::Hasher::new(),
        });
        Ok(())
    }

    /// Takes a part of the body that has begun.
    pub(crate) fn take(&mut self, part: &BodyPart) -> Result<Option<Whole>, String> {
        let Some(mut arriving) = self.arriving.take() else {
            return Err("a part of no body".to_owned());
        };
        let same = part.id == arriving.id && part.ahead == arriving.ahead && part.total == arriving.total;
        if !same || u64::try_from(arriving.octets.len()) != Ok(part.offset) {
            return Err("a part that does not follow".to_owned());
        }
        arriving.octets.extend_from_slice(&part.octets);
        arriving.hasher.update(&part.octets);
        let Some(hash) = part.hash else {
            self.arriving = Some(arriving);
            return Ok(None);
        };
        let right = hash.0 == *arriving.hasher.finalize().as_bytes();
        Ok(Some(Whole {
            id: arriving.id,
            ahead: arriving.ahead,
            name: arriving.name,
            octets: right.then_some((arriving.octets, hash)),
        }))
    }
}
