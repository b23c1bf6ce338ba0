//! The proxies of `[[proxy]]` on this node: asks who is primary, and opens their doors.

use super::NodeError;
use super::asking::{AskError, Asking};
use crate::config::{Config, HostPort, ProxyConfig};
use crate::control::roles::{GroupRole, Roles};
use crate::control::status::Role;
use crate::io::sockets;
use crate::io::tls::PeerTls;
use crate::limits::{PROXY_ASK_AGAIN_MS, PROXY_BACKLOG};
use crate::op::NodeName;
use crate::redirect::proxy::{Claim, Door, Leader, Mark, Word};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Opens every proxy's door. Asking and serving are tasks in `tasks`.
pub(super) fn start(
    config: &Config,
    tls: &Arc<PeerTls>,
    tasks: &mut JoinSet<()>,
) -> Result<Arc<[Arc<Door>]>, NodeError> {
    if !config.proxies.is_empty() {
        raise_descriptors();
    }
    let mut leaders: BTreeMap<&str, Arc<Leader>> = BTreeMap::new();
    let mut doors = Vec::new();
    for proxy in &config.proxies {
        let leader = match leaders.get(proxy.group.as_str()) {
            Some(leader) => Arc::clone(leader),
            None => {
                let leader = lead(&config.node.state, proxy, tls, tasks)?;
                leaders.insert(&proxy.group, Arc::clone(&leader));
                leader
            }
        };
        let listener = sockets::listen(proxy.listen, PROXY_BACKLOG).map_err(|error| NodeError::Listen {
            what: "a proxy's clients",
            address: proxy.listen,
            error,
        })?;
        let door = Arc::new(Door::new(proxy.clone(), leader.course()));
        tasks.spawn(Arc::clone(&door).serve(listener));
        doors.push(door);
    }
    Ok(doors.into())
}

/// Lets this process open as many files as it may: each client takes two, and the usual limit is 1,024.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::debug!(most = limit.maximum, "file descriptors for proxies"),
        Err(error) => tracing::warn!(%error, "the limit of file descriptors stays as it is"),
    }
}

/// Who is followed for one group: all its proxies ask the same nodes.
fn lead(
    state: &Path,
    proxy: &ProxyConfig,
    tls: &Arc<PeerTls>,
    tasks: &mut JoinSet<()>,
) -> Result<Arc<Leader>, NodeError> {
    let recalled = Leader::recall(state, &proxy.group);
    let leader = Arc::new(recalled.map_err(|e| NodeError::folder(&e.path, &e.why))?);
    for (node, address) in &proxy.control {
        let asking = Asking::new(Arc::clone(tls), node.clone(), address.clone());
        let whom = Whom {
            group: proxy.group.clone(),
            node: node.clone(),
            address: address.clone(),
        };
        tasks.spawn(whom.follow(asking, Arc::clone(&leader)));
    }
    Ok(leader)
}

/// A node that is asked for one group.
struct Whom {
    group: String,
    node: NodeName,
    address: HostPort,
}

impl Whom {
    /// Asks until the task is aborted. Each answer is held over there until something changes.
    async fn follow(self, mut asking: Asking, leader: Arc<Leader>) {
        let mut known = None;
        let mut trouble = None;
        loop {
            let asked = asking.roles(known).await;
            known = asked.as_ref().ok().map(|roles| roles.version);
            let word = asked
                .map_err(|e: AskError| e.to_string())
                .and_then(|roles| self.word(&roles));
            let told = word.as_ref().err().cloned();
            if told != trouble {
                self.log(told.as_deref());
            }
            let missing = word.is_err();
            let (leader, node) = (Arc::clone(&leader), self.node.clone());
            // it may write to the disk
            let heard = tokio::task::spawn_blocking(move || leader.hear(&node, word.ok())).await;
            if let Err(error) = heard {
                tracing::error!(%error, "a proxy's memory");
            }
            if missing || trouble != told {
                tokio::time::sleep(Duration::from_millis(PROXY_ASK_AGAIN_MS)).await;
            }
            trouble = told;
        }
    }

    fn log(&self, trouble: Option<&str>) {
        let Self { group, node, address } = self;
        match trouble {
            Some(why) => tracing::warn!(group, %node, %address, why, "a proxy can't ask who is primary"),
            None => tracing::info!(group, %node, %address, "a proxy can ask who is primary again"),
        }
    }

    fn word(&self, roles: &Roles) -> Result<Word, String> {
        let group = roles.groups.iter().find(|group| group.name == self.group);
        let group = group.ok_or_else(|| format!("it tells nothing of a group \"{}\"", self.group))?;
        Ok(Word {
            claim: claim(group),
            epoch: Mark {
                number: group.epoch.number,
                node: group.epoch.node.clone(),
            },
        })
    }
}

fn claim(group: &GroupRole) -> Claim {
    match group.role {
        Role::Primary if group.confirmed && group.serves => Claim::Serves,
        Role::Primary => Claim::Waits,
        Role::Standby | Role::Fenced => Claim::Stands,
    }
}
