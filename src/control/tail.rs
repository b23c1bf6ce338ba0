//! What nodes ask each other about histories that part: where, what one has beyond, and frames that one standby lends another.
//! A connection whose first message is such a question stays open for the next one. `schema/wire.md` has the texts.

use super::roles::EpochMark;
use super::verbs::VerbError;
use crate::op::{BodyName, Epoch, Lsn, MailboxName, Modseq};
use crate::role::Fork;
use crate::role::merge::{Item, Tally};
use serde::{Deserialize, Serialize};

/// What may be asked, as JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TailQuestion {
    /// Of a primary: where does your history leave mine, which ends here?
    Forks {
        /// Which group.
        group: String,
        /// My stream, 32 hexadecimal digits.
        stream: String,
        /// My journal's end.
        head: Fork,
    },
    /// Of a primary: merge the piece of a tail whose frames went before this.
    Merge(Merge),
    /// Of a primary: all of the tail was merged; keep this with what you lost.
    Recovered(Box<Recovered>),
    /// Of a standby: ship me, over this connection, the frames that you have and I lack.
    Lend {
        /// Which group.
        group: String,
    },
}

impl TailQuestion {
    /// The group that it is about.
    #[must_use]
    pub fn group(&self) -> &str {
        match self {
            Self::Forks { group, .. } | Self::Lend { group } => group,
            Self::Merge(merge) => &merge.group,
            Self::Recovered(recovered) => &recovered.group,
        }
    }
}

/// What the frames of a piece don't say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// Which group.
    pub group: String,
    /// The tail's stream, 32 hexadecimal digits.
    pub stream: String,
    /// The epoch that it was written in.
    pub epoch: Epoch,
    /// See [`Item::name`].
    #[serde(default)]
    pub name: Option<MailboxName>,
    /// See [`Item::created`].
    #[serde(default)]
    pub created: bool,
    /// See [`Item::before`].
    #[serde(default)]
    pub before: Modseq,
    /// Bodies that were asked for and that nobody has any more.
    #[serde(default)]
    pub missing: Vec<BodyName>,
}

impl Merge {
    /// Of a piece, whose payload travels in frames.
    #[must_use]
    pub fn of(group: &str, stream: &str, epoch: Epoch, item: &Item) -> Self {
        Self {
            group: group.to_owned(),
            stream: stream.to_owned(),
            epoch,
            name: item.name.clone(),
            created: item.created,
            before: item.before,
            missing: Vec::new(),
        }
    }
}

/// A tail that was merged, for the log of role changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovered {
    /// Which group.
    pub group: String,
    /// Its stream, 32 hexadecimal digits.
    pub stream: String,
    /// The epoch that it was written in.
    pub epoch: Epoch,
    /// Behind which place it begins.
    pub fork: Fork,
    /// Its last LSN; what a Dovecot's logs held beyond has none.
    pub last: Lsn,
    /// What was found, and what became of it.
    pub tally: Tally,
}

/// The answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TailAnswer {
    /// To [`TailQuestion::Forks`].
    Forks(Forks),
    /// The piece was merged.
    Merged(Tally),
    /// Nothing of the piece was merged: the octets of these bodies must come first.
    Lacks(Vec<BodyName>),
    /// Noted.
    Done,
    /// What follows are the frames, up to this one.
    Lent(Lsn),
    /// Not done, and why.
    Refused(VerbError),
}

/// Where histories may part from a primary's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forks {
    /// The primary's epoch.
    pub epoch: EpochMark,
    /// True where all that the asker has stands in the primary's history.
    pub same: bool,
    /// Where epochs of its history began: the last place of the one before. At most [`crate::limits::FORKS_MAX`].
    pub forks: Vec<Fork>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::ChainHash;

    #[test]
    fn a_question_reads_back_and_one_that_nobody_defined_is_refused() {
        let head = Fork {
            lsn: Lsn(7),
            chain: ChainHash([1; 32]),
        };
        let questions = [
            TailQuestion::Forks {
                group: "main".to_owned(),
                stream: "ab".to_owned(),
                head,
            },
            TailQuestion::Lend {
                group: "main".to_owned(),
            },
        ];
        for question in questions {
            let text = serde_json::to_string(&question).unwrap();
            assert_eq!(serde_json::from_str::<TailQuestion>(&text).unwrap(), question);
        }
        for wrong in [
            r#"{"ask":"roles"}"#,
            r#"{"ask":"lend"}"#,
            r#"{"ask":"lend","group":"g","x":1}"#,
            "{}",
        ] {
            assert!(serde_json::from_str::<TailQuestion>(wrong).is_err(), "{wrong}");
        }
    }
}
