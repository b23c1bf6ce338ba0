//! Who may write: roles and epochs of a group on one node, as a state machine without I/O.
//!
//! A node is primary, standby or fenced in a group. It acts only on what its [`Record`] says, and whoever drives it makes
//! the record durable before acting (`schema/role.md`). An epoch is told apart by its number *and* the node that took it:
//! a higher number fences whoever wrote in a lower one; equal numbers of two nodes are a fork, and both stop.
//!
//! | file | what it is |
//! |---|---|
//! | `record` | what is durable, and its bytes |
//! | `standing` | the machine: what is heard, asked and done, and what follows |
//! | `loss` | what a promotion would lose, against what the operator accepts |
//! | `audit` | the chain of role changes that is kept |
//! | `merge` | what becomes of a lost tail |
//! | `moved` | users who were moved to another group, one by one |

pub mod audit;
mod checked;
pub mod loss;
pub mod merge;
pub mod moved;
mod record;
mod standing;

pub use record::{Fork, Record, RecordError, Stage, Taking};
pub use standing::{Heard, Refusal, Standing};

use serde::{Deserialize, Serialize};

/// What a node is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its store is the source.
    Primary,
    /// Its store is a copy.
    Standby,
    /// A higher epoch exists: it neither serves nor captures.
    Fenced,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::Fenced => "fenced",
        })
    }
}
