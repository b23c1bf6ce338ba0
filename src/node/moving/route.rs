//! From which group to which a user can be moved.

use super::{Mover, Peer};
use crate::config::{HostPort, StoreConfig};
use crate::control::verbs::VerbError;
use crate::node::group::{GroupHandle, Side};
use crate::node::primary::PrimaryShared;
use crate::op::{NodeName, UserName};
use crate::role::Role;
use crate::role::moved::Stage;
use std::sync::Arc;

/// See the module.
pub(super) struct Route {
    pub(super) from: GroupHandle,
    pub(super) to: GroupHandle,
    pub(super) peer: NodeName,
    pub(super) address: HostPort,
    /// True where he was given away before, and nobody said that he was taken.
    pub(super) is_given: bool,
}

impl Route {
    /// The group that has the user, and the only other one, or that of this name, that he can be moved to.
    pub(super) fn find(mover: &Mover, user: &UserName, to: Option<&str>) -> Result<Self, VerbError> {
        let given = mover.assigned.of(user).filter(|at| at.stage == Stage::Given);
        let has = |group: &&GroupHandle| group.config.users.matches(user.as_str());
        let now = mover.groups.iter().find(has);
        let now = now.ok_or_else(|| VerbError::usage(format!("no group of this node has the user \"{user}\"")))?;
        if let Some(given) = given
            && now.role() != Role::Primary
        {
            let fits = |from: &&GroupHandle| from.config.name != given.group && from.config.peers == now.config.peers;
            let from = mover.groups.iter().find(fits).cloned();
            let from = from.ok_or_else(|| VerbError::refused("this node has no group that he could have left"))?;
            return Self::between(from, now.clone(), true);
        }
        if now.role() != Role::Primary {
            let peers: Vec<&str> = now.config.peers.keys().map(NodeName::as_str).collect();
            return Err(VerbError::refused(format!(
                "\"{user}\" is of group {}, of which this node is {}: run it on {}",
                now.config.name,
                now.role(),
                peers.join(" or ")
            )));
        }
        let fits = |group: &&GroupHandle| {
            to.map_or(
                group.role() == Role::Standby && group.config.peers == now.config.peers,
                |to| group.config.name == to,
            )
        };
        let others = mover.groups.iter().filter(|group| group.config.name != now.config.name);
        match others.filter(fits).collect::<Vec<_>>().as_slice() {
            [only] => Self::between(now.clone(), (*only).clone(), false),
            [] => Err(VerbError::refused(
                "this node is standby of no group with the same peer, to which he could be moved: docs/moving-users.md",
            )),
            _ => Err(VerbError::usage("he could be moved to several groups: say --to")),
        }
    }

    fn between(from: GroupHandle, to: GroupHandle, is_given: bool) -> Result<Self, VerbError> {
        let (peer, address) = only_peer(&from)?;
        if only_peer(&to)?.0 != peer {
            return Err(VerbError::refused("the two groups have different peers"));
        }
        if to.role() != Role::Standby {
            let why = format!(
                "this node is {} of group {}: the other node must be its primary",
                to.role(),
                to.config.name
            );
            return Err(VerbError::refused(why));
        }
        for group in [&from, &to] {
            let StoreConfig::Dovecot(dovecot) = &group.config.store else {
                return Err(VerbError::refused(format!(
                    "group {} has no Dovecot here",
                    group.config.name
                )));
            };
            if dovecot.hold.is_none() || dovecot.fence.is_some() {
                return Err(VerbError::refused(format!(
                    "nobody can be kept out of the Dovecot of group {} by name: group.dovecot.hold, see docs/fencing.md",
                    group.config.name
                )));
            }
        }
        let route = Self {
            from,
            to,
            peer,
            address,
            is_given,
        };
        if !route.is_given {
            route.primary()?;
        }
        Ok(route)
    }

    /// The running primary of the group that he leaves.
    pub(super) fn primary(&self) -> Result<Arc<PrimaryShared>, VerbError> {
        match self.from.side() {
            Side::Primary(shared) => Ok(shared),
            Side::Standby(..) | Side::Idle(_) => Err(VerbError::refused(format!(
                "this node is not at work as primary of group {}",
                self.from.config.name
            ))),
        }
    }
}

fn only_peer(group: &GroupHandle) -> Result<Peer, VerbError> {
    let mut peers = group.config.peers.iter();
    match (peers.next(), peers.next()) {
        (Some((name, address)), None) => Ok((name.clone(), address.clone())),
        _ => Err(VerbError::refused(format!(
            "group {} has not exactly one peer: users can be moved within a pair only",
            group.config.name
        ))),
    }
}
