//! One record of a pack: see `schema/embedded/packs.md`.

use crate::codec::packed;
use crate::limits::{BODY_BYTES_MAX, PACK_NAME_BYTES_MAX};
use crate::op::{BodyHash, BodyName, Missing};

/// Length of what stands before the name.
pub(super) const HEADER_BYTES: usize = 56;
const MAGIC: [u8; 4] = *b"MSB1";

/// What a record says of the body that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Its octets follow in this record.
    Octets { hash: BodyHash, length: u64 },
    /// Its octets stand in an earlier record.
    Known { hash: BodyHash, length: u64 },
    /// It can't be had.
    Missing(Missing),
}

/// A record without its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: BodyName,
    pub(crate) content: Content,
}

/// The fixed part of a record.
pub(super) struct Header {
    kind: u8,
    pub(super) name_bytes: usize,
    length: u64,
    hash: BodyHash,
    crc: u32,
    covered: [u8; 52],
}

impl Record {
    /// Octets that follow the name.
    pub(super) fn octets(&self) -> u64 {
        match self.content {
            Content::Octets { length, .. } => length,
            Content::Known { .. } | Content::Missing(_) => 0,
        }
    }

    /// Header and name; none where the name is longer than the bounds allow.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let (kind, hash, length, missing) = match &self.content {
            Content::Octets { hash, length } => (1u8, *hash, *length, None),
            Content::Known { hash, length } => (2, *hash, *length, None),
            Content::Missing(missing) => (3, BodyHash::default(), 0, Some(missing)),
        };
        let name = packed::encode(&(&self.name, missing))
            .ok()
            .filter(|name| name.len() <= PACK_NAME_BYTES_MAX)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len());
        bytes.extend(MAGIC);
        bytes.extend([kind, 0, 0, 0]);
        bytes.extend(u32::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(hash.0);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), &name);
        bytes.extend(crc.to_le_bytes());
        bytes.extend(name);
        Some(bytes)
    }
}

impl Header {
    /// The fixed part; none where it can't be one. Its checksum is checked with the name, by [`Self::with_name`].
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (covered, crc) = bytes.split_first_chunk::<52>()?;
        let (magic, rest) = covered.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (name_bytes, rest) = rest.split_first_chunk::<4>()?;
        let (length, hash) = rest.split_first_chunk::<8>()?;
        let name_bytes = usize::try_from(u32::from_le_bytes(*name_bytes)).ok()?;
        let length = u64::from_le_bytes(*length);
        let [kind, 0, 0, 0] = *kind else { return None };
        let sane = *magic == MAGIC && name_bytes <= PACK_NAME_BYTES_MAX && length <= BODY_BYTES_MAX;
        sane.then_some(Self {
            kind,
            name_bytes,
            length,
            hash: BodyHash(hash.try_into().ok()?),
            crc: u32::from_le_bytes(crc.try_into().ok()?),
            covered: *covered,
        })
    }

    /// The whole record; none where the checksum doesn't fit.
    pub(super) fn with_name(&self, name: &[u8]) -> Option<Record> {
        if crc32c::crc32c_append(crc32c::crc32c(&self.covered), name) != self.crc {
            return None;
        }
        let (name, missing): (BodyName, Option<Missing>) = packed::decode(name).ok()?;
        let (hash, length) = (self.hash, self.length);
        let content = match (self.kind, missing) {
            (1, None) => Content::Octets { hash, length },
            (2, None) => Content::Known { hash, length },
            (3, Some(missing)) => Content::Missing(missing),
            _ => return None,
        };
        Some(Record { name, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{BodyPlace, Guid, MailboxId, Uid, UidValidity};
    use proptest::prelude::*;

    pub(super) fn name(uid: u32) -> BodyName {
        let mailbox = MailboxId {
            user: "u@example.net".into(),
            guid: Guid([3; 16]),
        };
        let place = BodyPlace {
            mailbox,
            uidvalidity: UidValidity(7),
            uid: Uid(uid),
        };
        BodyName {
            place,
            guid: "abc".into(),
            size: Some(12),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        let (header, name) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        Header::decode(header)?.with_name(name)
    }

    #[test]
    fn each_kind_reads_back_and_no_flipped_bit_does() {
        let missing = Missing {
            gone: false,
            file: "m.1".into(),
            offset: 40,
            why: "header".into(),
        };
        let (hash, length) = (BodyHash([9; 32]), 12);
        for content in [
            Content::Octets { hash, length },
            Content::Known { hash, length },
            Content::Missing(missing),
        ] {
            let record = Record { name: name(5), content };
            let mut bytes = record.encode().unwrap();
            assert_eq!(decode(&bytes), Some(record));
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&bytes), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }
}
