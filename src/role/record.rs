//! What a node durably knows of its role in a group. `schema/role.md` has its bytes.

use super::Role;
use super::checked;
use crate::op::{ChainHash, EpochId, Lsn};
use serde::{Deserialize, Serialize};

/// Version of the file.
const VERSION: u32 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The role.
    pub role: Role,
    /// Highest epoch seen (number 0: none yet).
    pub epoch: EpochId,
    /// Set while this node takes `epoch`: a promotion or switchover that has not reached its end.
    #[serde(default)]
    pub taking: Option<Taking>,
    /// Where the history of `epoch` leaves what this node has, where that is known.
    #[serde(default)]
    pub fork: Option<Fork>,
}

/// A promotion on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taking {
    /// How far it is.
    pub stage: Stage,
    /// True for a switchover that has proven that nothing is lost: no numbers are left out.
    pub planned: bool,
}

/// How far a promotion is. Done again from the last one that is durable, it comes to the same end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The epoch is taken: nothing of an older one is accepted. This node is not primary yet.
    Raised,
    /// This node is primary and its store is open; where clients are pointed may not be known to all yet.
    Opened,
}

/// A place where two histories part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// Last LSN that both have.
    pub lsn: Lsn,
    /// Its chain hash.
    #[serde(with = "hex")]
    pub chain: ChainHash,
}

mod hex {
    use crate::op::ChainHash;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &ChainHash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hash.to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ChainHash, D::Error> {
        let text = String::deserialize(from)?;
        ChainHash::from_hex(&text).ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
    }
}

/// The file is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the role's file is damaged: {0}; whoever is primary now must be found out by hand before it is moved away")]
pub struct RecordError(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned {
    version: u32,
    record: Record,
}

impl Record {
    /// Its bytes: one line of JSON, and the line's CRC-32C as eight hexadecimal digits.
    ///
    /// # Errors
    /// It can't be said in JSON.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let versioned = Versioned {
            version: VERSION,
            record: self.clone(),
        };
        checked::encode(&versioned).map_err(RecordError)
    }

    /// What [`Self::encode`] wrote.
    ///
    /// # Errors
    /// Any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let read: Versioned = checked::decode(bytes).map_err(RecordError)?;
        match read.version {
            VERSION => Ok(read.record),
            other => Err(RecordError(format!("version {other} is not known here"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Epoch;

    fn record() -> Record {
        Record {
            role: Role::Primary,
            epoch: EpochId {
                number: Epoch(2),
                node: "mail-b".into(),
            },
            taking: Some(Taking {
                stage: Stage::Opened,
                planned: false,
            }),
            fork: Some(Fork {
                lsn: Lsn(812),
                chain: ChainHash([7; 32]),
            }),
        }
    }

    #[test]
    fn a_record_that_is_torn_or_flipped_anywhere_is_refused() {
        let bytes = record().encode().unwrap();
        assert_eq!(Record::decode(&bytes), Ok(record()));
        for end in 0..bytes.len() {
            assert!(Record::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Record::decode(&flipped).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn a_record_has_the_bytes_that_it_always_had() {
        let golden = include_bytes!("../../schema/golden/role.txt");
        assert_eq!(
            String::from_utf8(record().encode().unwrap()).unwrap(),
            String::from_utf8_lossy(golden)
        );
    }
}
