//! Follows what peers say of their roles: a question that is held open, so that a higher epoch is heard of at once, and a
//! peer's silence within a second or two.

use super::asking::Asking;
use super::group::GroupHandle;
use super::steward::Deed;
use crate::config::HostPort;
use crate::control::roles::{GroupRole, Roles};
use crate::io::tls::PeerTls;
use crate::limits::ROLES_AGAIN_MS;
use crate::op::NodeName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One task for each peer at each address, for all groups that share it.
pub(super) fn tasks(groups: &Arc<[GroupHandle]>, tls: &Arc<PeerTls>) -> Vec<impl Future<Output = ()> + Send + use<>> {
    let mut peers: BTreeMap<(NodeName, String), (HostPort, Vec<GroupHandle>)> = BTreeMap::new();
    for group in groups.iter() {
        for (name, address) in &group.config.peers {
            let at = (name.clone(), address.to_string());
            peers
                .entry(at)
                .or_insert_with(|| (address.clone(), Vec::new()))
                .1
                .push(group.clone());
        }
    }
    let follow = |((name, _), (address, groups))| {
        follow(
            Asking::new(Arc::clone(tls), NodeName::clone(&name), address),
            name,
            groups,
        )
    };
    peers.into_iter().map(follow).collect()
}

async fn follow(mut asking: Asking, peer: NodeName, groups: Vec<GroupHandle>) {
    let mut known = None;
    let mut said: BTreeMap<String, GroupRole> = BTreeMap::new();
    loop {
        match asking.roles(known).await {
            Ok(roles) => {
                known = Some(roles.version);
                for group in &groups {
                    hear(group, &peer, &roles, &mut said).await;
                }
            }
            Err(error) => {
                tracing::trace!(%peer, %error, "its role is not known");
                (known, said) = (None, BTreeMap::new());
                groups.iter().for_each(|group| group.saw(&peer, None));
                tokio::time::sleep(Duration::from_millis(ROLES_AGAIN_MS)).await;
            }
        }
    }
}

/// Tells the group's steward what is news.
async fn hear(group: &GroupHandle, peer: &NodeName, roles: &Roles, said: &mut BTreeMap<String, GroupRole>) {
    let Some(role) = roles.groups.iter().find(|role| role.name == group.config.name) else {
        return;
    };
    group.saw(peer, Some(role.clone()));
    let unconfirmed = !group.standing().confirmed();
    if said.get(&role.name) == Some(role) && !unconfirmed {
        return;
    }
    let deed = Deed::Hear {
        peer: peer.clone(),
        number: role.epoch.number,
        taken_by: role.epoch.node.clone(),
        role: role.role,
    };
    if group.deeds.send(deed).await.is_ok() {
        said.insert(role.name.clone(), role.clone());
    }
}
