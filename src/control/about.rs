//! What a node tells a peer that asks who it is, instead of opening a session: `check` on the other machine compares it
//! with its own configuration, and the clocks with each other.

use super::status::Role;
use crate::op::NodeName;
use serde::{Deserialize, Serialize};

/// What is asked, as JSON text.
pub const QUESTION: &str = r#"{"ask":"about"}"#;

/// The answer. It names only groups in which the asking node is listed as a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Who answers.
    pub node: NodeName,
    /// Version of its daemon.
    pub version: String,
    /// Its clock, UNIX milliseconds.
    pub unix_ms: u64,
    /// Bytes that it may still write where its state lies.
    pub state_free_bytes: Option<u64>,
    /// Groups that both nodes share, as that node has them.
    pub groups: Vec<AboutGroup>,
}

/// A group as the answering node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutGroup {
    /// Its name there.
    pub name: String,
    /// What that node is in it.
    pub role: Role,
}
