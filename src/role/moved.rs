//! Which group a user belongs to who was moved, one by one, and how far that is. `schema/moved.md` has its bytes; the order of
//! the steps, which leaves one writer or none wherever it is cut off, stands in `docs/adr/0018-moving-users.md`.

use super::checked;
use crate::config::{KeptOut, MovedUser, Told};
use crate::op::{Lsn, StreamId, UserName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the file.
const VERSION: u32 = 1;

/// Every user of a node who was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments(pub BTreeMap<UserName, Assignment>);

/// Where a user is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The group that he belongs to on this node.
    pub group: String,
    /// How far it is.
    pub stage: Stage,
}

/// How far a move is, as one of the two nodes knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stage {
    /// Clients are kept out, everything is captured still. Nothing has changed: a restart undoes it.
    Leaving,
    /// He is of the new group here, of which this node is standby; whether the other node has taken him is not known.
    Given,
    /// The other node has taken him. His mail here follows from this place of the new group's stream on.
    Followed {
        /// Which stream, as 32 hexadecimal digits.
        stream: String,
        /// From which LSN on.
        lsn: Lsn,
    },
    /// This node has taken him, and writes.
    Taken,
}

/// The file is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the list of users who were moved is damaged: {0}; who writes for whom must be found out by hand before it is moved away"
)]
pub struct MovedError(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned {
    version: u32,
    users: BTreeMap<String, Assignment>,
}

impl Assignments {
    /// Its bytes: one line of JSON, and the line's CRC-32C as eight hexadecimal digits.
    ///
    /// # Errors
    /// It can't be said in JSON.
    pub fn encode(&self) -> Result<Vec<u8>, MovedError> {
        let users = self.0.iter().map(|(user, at)| (user.as_str().to_owned(), at.clone()));
        let versioned = Versioned {
            version: VERSION,
            users: users.collect(),
        };
        checked::encode(&versioned).map_err(MovedError)
    }

    /// What [`Self::encode`] wrote.
    ///
    /// # Errors
    /// Any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, MovedError> {
        let read: Versioned = checked::decode(bytes).map_err(MovedError)?;
        if read.version != VERSION {
            return Err(MovedError(format!("version {} is not known here", read.version)));
        }
        let mut users = BTreeMap::new();
        for (user, at) in read.users {
            if let Stage::Followed { stream, .. } = &at.stage
                && StreamId::from_hex(stream).is_none()
            {
                return Err(MovedError("a stream is no 32 hexadecimal digits".to_owned()));
            }
            users.insert(UserName::from(user.as_str()), at);
        }
        Ok(Self(users))
    }

    /// The same after a restart: whoever was about to leave stays.
    #[must_use]
    pub fn restarted(mut self) -> Self {
        for at in self.0.values_mut().filter(|at| at.stage == Stage::Leaving) {
            at.stage = Stage::Taken;
        }
        self
    }

    /// What they mean to a group of this name.
    #[must_use]
    pub fn seen_by(&self, group: &str) -> BTreeMap<UserName, MovedUser> {
        let seen = self.0.iter().map(|(user, at)| (user.clone(), at.seen_by(group)));
        seen.collect()
    }
}

impl Assignment {
    fn seen_by(&self, group: &str) -> MovedUser {
        if self.group != group {
            return MovedUser {
                is_here: false,
                kept_out: KeptOut::No,
                told: Told::Never,
            };
        }
        let (kept_out, told) = match &self.stage {
            Stage::Leaving => (KeptOut::Always, Told::Now),
            Stage::Given => (KeptOut::WhileStandby, Told::Later),
            Stage::Followed { stream, lsn } => {
                let stream = StreamId::from_hex(stream).unwrap_or_default();
                (KeptOut::WhileStandby, Told::From(stream, *lsn))
            }
            Stage::Taken => (KeptOut::WhileStandby, Told::Now),
        };
        MovedUser {
            is_here: true,
            kept_out,
            told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignments() -> Assignments {
        let at = |group: &str, stage| Assignment {
            group: group.to_owned(),
            stage,
        };
        let stream = StreamId([7; 16]).to_string();
        let users = [
            ("ann@x", at("moved", Stage::Followed { stream, lsn: Lsn(9) })),
            ("bob@x", at("main", Stage::Leaving)),
            ("cat@x", at("moved", Stage::Given)),
            ("dan@x", at("main", Stage::Taken)),
        ];
        Assignments(users.map(|(user, at)| (UserName::from(user), at)).into())
    }

    #[test]
    fn a_list_that_is_torn_or_flipped_anywhere_is_refused() {
        let bytes = assignments().encode().unwrap();
        assert_eq!(Assignments::decode(&bytes), Ok(assignments()));
        for end in 0..bytes.len() {
            assert!(Assignments::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Assignments::decode(&flipped).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn a_list_has_the_bytes_that_it_always_had() {
        let golden = include_bytes!("../../schema/golden/moved.txt");
        assert_eq!(
            String::from_utf8(assignments().encode().unwrap()).unwrap(),
            String::from_utf8_lossy(golden)
        );
    }

    #[test]
    fn at_no_stage_does_a_user_belong_to_two_groups_of_a_node() {
        let seen = ["main", "moved"].map(|group| assignments().seen_by(group));
        for user in assignments().0.keys() {
            let here = seen.iter().filter(|seen| seen[user].is_here).count();
            assert_eq!(here, 1, "{user}");
        }
        let [main, moved] = seen;
        let ann = UserName::from("ann@x");
        assert_eq!(main[&ann].told, Told::Never);
        assert_eq!(moved[&ann].told, Told::From(StreamId([7; 16]), Lsn(9)));
        assert_eq!(moved[&UserName::from("cat@x")].told, Told::Later);
        assert_eq!(main[&UserName::from("bob@x")].kept_out, KeptOut::Always);
        let restarted = assignments().restarted().seen_by("main");
        assert_eq!(restarted[&UserName::from("bob@x")].kept_out, KeptOut::WhileStandby);
    }
}
