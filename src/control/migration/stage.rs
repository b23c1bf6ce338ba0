//! Where a migration stands, out of what both nodes say.

use super::NodeStanding;
use crate::control::status::Role;
use serde::{Deserialize, Serialize};

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Nothing was copied yet.
    New,
    /// Nothing was copied yet, and somebody looked at a plan.
    Planned,
    /// The first copy is being made; users work on the old server.
    Copying,
    /// The new server has everything and follows; users work on the old one.
    Following,
    /// Users work on the new server; the old one follows.
    CutOver,
    /// Users work on the old server again; the new one follows.
    Back,
    /// Nobody is primary, or one of the nodes is fenced: `status` and `rejoin` come first.
    Unclear,
}

impl Stage {
    /// For people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::New => "nothing was copied yet",
            Self::Planned => "planned; nothing was copied yet",
            Self::Copying => "copying: users work on the old server",
            Self::Following => "following: the new server has everything, users work on the old one",
            Self::CutOver => "cut over: users work on the new server, the old one follows",
            Self::Back => "back: users work on the old server again, the new one follows",
            Self::Unclear => "unclear: no confirmed primary answers, or a node is fenced",
        }
    }

    /// What both nodes' words come to; `old` is the one that started as primary.
    #[must_use]
    pub fn of(old: Option<&NodeStanding>, new: Option<&NodeStanding>) -> Self {
        let is_primary = |node: &NodeStanding| node.status.role == Role::Primary && node.status.confirmed;
        if new.is_some_and(is_primary) {
            return Self::CutOver;
        }
        let Some(old) = old.filter(|old| is_primary(old)) else {
            return Self::Unclear;
        };
        if new.is_some_and(|new| new.status.role == Role::Fenced) {
            return Self::Unclear;
        }
        let peer = old.status.peers.first();
        let applied = peer.and_then(|peer| peer.lsn).and_then(|lsn| lsn.applied);
        let has_some = applied.is_some_and(|applied| applied.0 > 0);
        let happened = |what: &str| {
            let events = [Some(old), new].into_iter().flatten().flat_map(|node| &node.history);
            events.into_iter().any(|event| event.what == what)
        };
        let whole = if happened(CUT_OVER) {
            Self::Back
        } else {
            Self::Following
        };
        match new {
            _ if old.status.building && has_some => Self::Copying,
            Some(new) if new.status.building && (has_some || new.users.unwrap_or(0) > 0) => Self::Copying,
            Some(new) if !new.status.building => whole,
            None if has_some => whole,
            _ if happened(PLANNED) => Self::Planned,
            _ => Self::New,
        }
    }
}

/// How the log of role changes calls it that somebody looked at a plan; the first time only.
pub const PLANNED: &str = "migration planned";
/// How it calls the end of the first copy, where `run` saw it.
pub const COPIED: &str = "migration copied";
/// How it calls a cutover.
pub const CUT_OVER: &str = "migration cut over";
/// How it calls the way back.
pub const BACK: &str = "migration back";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::migration::{Event, standing_for_tests};
    use crate::op::Lsn;

    fn pair() -> (NodeStanding, NodeStanding) {
        let mut old = standing_for_tests("mail-a", Role::Primary);
        old.status.peers[0].lsn = None;
        let mut new = standing_for_tests("mail-b", Role::Standby);
        (new.status.building, new.users) = (true, Some(0));
        (old, new)
    }

    fn note(node: &mut NodeStanding, what: &str) {
        node.history.push(Event {
            at_ms: 1,
            what: what.to_owned(),
            node: node.node.clone(),
            more: String::new(),
        });
    }

    #[test]
    fn each_stage_is_told_from_the_next() {
        let (mut old, mut new) = pair();
        let stage = |old: &NodeStanding, new: &NodeStanding| Stage::of(Some(old), Some(new));
        assert_eq!(stage(&old, &new), Stage::New);
        note(&mut old, PLANNED);
        assert_eq!(
            (stage(&old, &new), Stage::of(Some(&old), None)),
            (Stage::Planned, Stage::Planned)
        );
        new.users = Some(3);
        assert_eq!(stage(&old, &new), Stage::Copying);
        new.status.building = false;
        assert_eq!(stage(&old, &new), Stage::Following);
        (old.status.role, new.status.role) = (Role::Standby, Role::Primary);
        note(&mut new, CUT_OVER);
        assert_eq!(stage(&old, &new), Stage::CutOver);
        (old.status.role, new.status.role) = (Role::Primary, Role::Standby);
        assert_eq!(stage(&old, &new), Stage::Back);
    }

    #[test]
    fn a_group_without_a_confirmed_primary_is_at_no_stage() {
        let (mut old, mut new) = pair();
        old.status.peers[0].lsn = Some(crate::control::status::Positions {
            applied: Some(Lsn(7)),
            ..Default::default()
        });
        assert_eq!(Stage::of(Some(&old), None), Stage::Following);
        new.status.role = Role::Fenced;
        assert_eq!(Stage::of(Some(&old), Some(&new)), Stage::Unclear);
        old.status.confirmed = false;
        assert_eq!(Stage::of(Some(&old), None), Stage::Unclear);
        assert_eq!(Stage::of(None, None), Stage::Unclear);
    }
}
