//! Points clients at this node: every redirect, then a login through each public name to prove it.

use super::promoting::ask_all;
use super::steward::Means;
use crate::config::{GroupConfig, ProbeConfig, StoreConfig, UserPatterns};
use crate::control::promotion::{Probed, Redirected};
use crate::control::roles::GroupRole;
use crate::io::clock::Stopwatch;
use crate::io::probe::{Door, Login};
use crate::limits::{OLD_SIDE_SECONDS_MAX, PROBE_AGAIN_MS, PROBE_SECONDS_MAX};
use crate::op::{EpochId, NodeName};
use crate::redirect::{self, Facts};
use crate::role::Role;
use crate::serve::lacks::NOT_CARRIED;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Pointed {
    pub(super) redirects: Vec<Redirected>,
    pub(super) probes: Vec<Probed>,
    pub(super) old_side_fenced: bool,
    pub(super) not_carried: Vec<String>,
}

/// Runs them all at once; each is bounded in time, and none stops another. `before`: the primary before, where it is known.
pub(super) async fn point(means: &Means, epoch: &EpochId, before: Option<NodeName>) -> Pointed {
    let redirects = redirects(means, epoch, before).await;
    let probes = probes(&means.group.config, &means.config.tls.ca).await;
    Pointed {
        redirects,
        probes,
        old_side_fenced: is_old_side_shut(means).await,
        not_carried: match means.group.config.store {
            StoreConfig::Embedded(_) => NOT_CARRIED.iter().map(|what| (*what).to_owned()).collect(),
            StoreConfig::Dovecot(_) => Vec::new(),
        },
    }
}

/// Users of this node's other groups.
fn others(means: &Means) -> Vec<UserPatterns> {
    let others = means
        .config
        .groups
        .iter()
        .filter(|group| group.name != means.group.config.name);
    others.map(|group| group.users.clone()).collect()
}

async fn redirects(means: &Means, epoch: &EpochId, before: Option<NodeName>) -> Vec<Redirected> {
    let facts = Facts {
        group: means.group.config.name.clone(),
        role: Role::Primary.to_string(),
        node: means.config.node.name.clone(),
        peer: before,
        epoch: epoch.number,
        users: means.group.config.users.clone(),
        others: others(means),
    };
    let mut running = JoinSet::new();
    for (number, config) in means.group.config.redirects.iter().enumerate() {
        let (config, facts) = (config.clone(), facts.clone());
        running.spawn(async move { (number, redirect::run(&config, &facts).await) });
    }
    let mut done = running.join_all().await;
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, redirected)| redirected).collect()
}

async fn probes(group: &GroupConfig, ca: &Path) -> Vec<Probed> {
    let mut running = JoinSet::new();
    for (number, probe) in group.probes.iter().cloned().enumerate() {
        let ca = ca.to_owned();
        running.spawn(async move { (number, log_in(&probe, &ca).await) });
    }
    let mut done = running.join_all().await;
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, probed)| probed).collect()
}

/// Tries again for a while: names and balancers take their time.
async fn log_in(probe: &ProbeConfig, ca: &Path) -> Probed {
    let time = Stopwatch::start();
    let address = probe.address.to_string();
    let login = Login {
        door: Door::Tls(&probe.address),
        tls_name: &probe.tls_name,
        user: &probe.user,
        password_file: &probe.password_file,
        ca,
    };
    let limit = Duration::from_secs(PROBE_SECONDS_MAX);
    let mut why = None;
    let tries = async {
        while let Err(error) = login.open_inbox().await {
            why = Some(error.to_string());
            tokio::time::sleep(Duration::from_millis(PROBE_AGAIN_MS)).await;
        }
    };
    let ok = tokio::time::timeout(limit, tries).await.is_ok();
    let why = (!ok).then(|| why.unwrap_or_else(|| format!("no answer within {} s", limit.as_secs())));
    Probed {
        ok,
        why,
        seconds: time.elapsed().as_secs_f64(),
        address,
    }
}

/// True where every peer answers, and none of them lets anybody change anything. Who has just heard of the epoch gets a
/// moment to shut its mail server; who does not answer gets none.
async fn is_old_side_shut(means: &Means) -> bool {
    let time = Stopwatch::start();
    let is_out = |role: &GroupRole| match role.role {
        Role::Primary => false,
        Role::Fenced => role.shut == Some(true),
        Role::Standby => !role.serves && role.shut != Some(false),
    };
    loop {
        let answers = ask_all(means).await;
        if answers.len() != means.group.config.peers.len() {
            return false;
        }
        if answers.iter().all(|(_, role)| is_out(role)) {
            return true;
        }
        if time.elapsed() > Duration::from_secs(OLD_SIDE_SECONDS_MAX) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(PROBE_AGAIN_MS)).await;
    }
}
