//! Moving users, one by one, to another group of the same two nodes: what is asked and answered.

use crate::op::{Lsn, UserName};
use crate::redirect::Redirected;
use serde::{Deserialize, Serialize};

/// What `move` is asked, on the node that has the users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// Who; one after another, in this order.
    pub users: Vec<UserName>,
    /// The group to move to; may be left out where only one is possible.
    #[serde(default)]
    pub to: Option<String>,
    /// How long each of them may be kept out before all is put back, milliseconds.
    pub max_wait_ms: u64,
}

/// What became of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MoveReport {
    /// In the order that was asked for.
    pub users: Vec<MovedReport>,
    /// Seconds from the first to the last.
    pub seconds: f64,
}

/// What became of one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovedReport {
    /// Who.
    pub user: UserName,
    /// The group that he was of.
    pub from: String,
    /// The group that he is of now, where it was done.
    pub to: String,
    /// True where the other node writes for him now.
    pub moved: bool,
    /// What went wrong: nothing has changed, or running it again goes on.
    pub why: Option<String>,
    /// Where he is pointed now.
    pub redirects: Vec<Redirected>,
    /// Seconds in which nobody let him in.
    pub out_seconds: f64,
}

/// What one node asks the other of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveQuestion {
    /// Says that it is this question.
    pub move_user: MoveStep,
    /// Who.
    pub user: UserName,
    /// The group that the asker is primary of.
    pub from: String,
    /// The group that the asked one is primary of.
    pub to: String,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveStep {
    /// Say whether it could be done.
    Look,
    /// Take him: write for him from now on. May be said again.
    Take,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MoveAnswer {
    /// It can be done.
    Ready,
    /// It is done: his mail is in this stream up to this LSN.
    Taken {
        /// As 32 hexadecimal digits.
        stream: String,
        /// The first LSN behind which the asker's mirror has all of it.
        lsn: Lsn,
    },
    /// The asked one has become primary of the group that he would leave: he is of it there, as he was.
    Mine,
    /// It can't be, for this reason.
    Refused(String),
}
