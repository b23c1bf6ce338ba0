//! What this node says of itself to whoever steers a migration: it, or its peer.

use super::history;
use crate::config::{EmbeddedConfig, StartAs, StoreConfig};
use crate::control::migration::{
    CensusPage, Holding, Holdings, MigrationAnswer, MigrationQuestion, NameRules, NodeStanding, Room, StoreFacts,
};
use crate::control::verbs::VerbError;
use crate::limits::{CENSUS_PAGE_BYTES, USERS_NAMED_MAX};
use crate::node::group::{GroupHandle, Side};
use crate::node::steward::Means;
use crate::node::{fencing, files, state};
use crate::op::UserName;
use crate::redirect;
use crate::serve::auth;
use crate::serve::lacks::NOT_CARRIED;
use crate::store::embedded::view::View;
use crate::store::source::NotCarried;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was counted for one asker, until all pages were told.
#[derive(Default)]
pub(in crate::node) struct Census(Option<Vec<Holding>>);

/// Answers; may take as long as Dovecot takes to list all its mailboxes.
pub(in crate::node) async fn answer(
    means: &Means,
    question: MigrationQuestion,
    census: &mut Census,
) -> MigrationAnswer {
    let told = match question {
        MigrationQuestion::Standing => blocking(means, |means| Ok(standing(means)))
            .await
            .map(|standing| MigrationAnswer::Standing(Box::new(standing))),
        MigrationQuestion::Store => blocking(means, |means| Ok(store(means)))
            .await
            .map(|facts| MigrationAnswer::Store(Box::new(facts))),
        MigrationQuestion::Census { behind, rules } => {
            page(means, behind, rules, census).await.map(MigrationAnswer::Census)
        }
    };
    told.unwrap_or_else(MigrationAnswer::Refused)
}

async fn blocking<T: Send + 'static>(
    means: &Means,
    look: impl FnOnce(&Means) -> Result<T, VerbError> + Send + 'static,
) -> Result<T, VerbError> {
    let means = means.clone();
    let looked = tokio::task::spawn_blocking(move || look(&means)).await;
    looked.map_err(|e| VerbError::failed(e.to_string()))?
}

/// The embedded store or the mirror, where this node has one open.
fn view(group: &GroupHandle) -> Option<Arc<dyn View>> {
    match group.side() {
        Side::Standby(shared, _) => Some(Arc::clone(&shared.view)),
        Side::Primary(shared) => Some(Arc::clone(&shared.embedded.as_ref()?.view)),
        Side::Idle(_) => None,
    }
}

fn standing(means: &Means) -> NodeStanding {
    let group = &means.group;
    let counted = view(group).and_then(|view| view.users_and_bytes().ok());
    let waiting = match group.side() {
        Side::Standby(shared, _) => shared
            .projection
            .as_ref()
            .map(|projection| projection.standing().waiting),
        _ => None,
    };
    let mut redirects: Vec<String> = group
        .config
        .redirects
        .iter()
        .map(|config| redirect::kind(config).to_owned())
        .collect();
    let proxies = means
        .config
        .proxies
        .iter()
        .filter(|proxy| proxy.group == group.config.name);
    redirects.extend(proxies.map(|_| "proxy".to_owned()));
    NodeStanding {
        node: means.config.node.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        starts_as_primary: group.config.start_as == StartAs::Primary,
        status: state::of(group),
        users: counted.map(|(users, _)| users),
        bytes: counted.map(|(_, bytes)| bytes),
        users_waiting: waiting.map(|waiting| u64::try_from(waiting).unwrap_or(u64::MAX)),
        redirects,
        history: history::read(
            &files::group_dir(&means.config.node.state, &group.config.name),
            &means.config.node.name,
        ),
    }
}

fn store(means: &Means) -> StoreFacts {
    let (config, state) = (&means.group.config, &means.config.node.state);
    let dovecot = match &config.store {
        StoreConfig::Dovecot(dovecot) => dovecot,
        StoreConfig::Embedded(embedded) => return embedded_store(embedded, state),
    };
    let facts = fencing::doveadm(dovecot).server_facts(&|user| config.users.matches(user.as_str()), &dovecot.public);
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => {
            return StoreFacts {
                server: "Dovecot".to_owned(),
                problem: Some(error.to_string()),
                ..StoreFacts::default()
            };
        }
    };
    let mail = facts.mail.as_deref().and_then(|path| room("mail", path));
    StoreFacts {
        server: format!("Dovecot {}", facts.version),
        formats: facts.formats,
        separators: facts.separators,
        features: facts.features,
        name_rules: facts.name_rules,
        room: mail.into_iter().chain(room("mirror", state)).collect(),
        refused_users: u64::try_from(facts.refused.len()).unwrap_or(u64::MAX),
        refused: facts.refused.into_iter().take(USERS_NAMED_MAX).collect(),
        not_carried: facts.not_carried,
        ..StoreFacts::default()
    }
}

fn embedded_store(embedded: &EmbeddedConfig, state: &Path) -> StoreFacts {
    let lacks = NOT_CARRIED.iter().map(|what| NotCarried {
        what: (*what).to_owned(),
        users: None,
    });
    StoreFacts {
        server: "the embedded store".to_owned(),
        formats: vec!["embedded".to_owned()],
        room: room("mail", state).into_iter().collect(),
        users_open: embedded.auth_exec.is_some(),
        not_carried: lacks.collect(),
        ..StoreFacts::default()
    }
}

/// Room on the filesystem of a folder, or of the nearest one above it that is there.
fn room(what: &str, path: &Path) -> Option<Room> {
    let there = path.ancestors().find(|folder| folder.exists()).map(PathBuf::from)?;
    let (free, stat) = (rustix::fs::statvfs(&there).ok()?, rustix::fs::stat(&there).ok()?);
    Some(Room {
        what: what.to_owned(),
        path: there.display().to_string(),
        free_bytes: free.f_bavail.saturating_mul(free.f_frsize),
        filesystem: stat.st_dev,
    })
}

/// Counts anew for the first page; the others are of the same moment.
async fn page(
    means: &Means,
    behind: Option<UserName>,
    rules: NameRules,
    census: &mut Census,
) -> Result<CensusPage, VerbError> {
    if behind.is_none() {
        let counted = blocking(means, move |means| holdings(means, &rules)).await?;
        census.0 = Some(counted.into_values().collect());
    }
    let counted = census.0.as_ref();
    let counted =
        counted.ok_or_else(|| VerbError::failed("the connection was lost while users were counted: try again"))?;
    let rest = counted
        .iter()
        .filter(|holding| behind.as_ref().is_none_or(|last| holding.user > *last));
    let mut page = CensusPage::default();
    let mut bytes: usize = 0;
    for holding in rest {
        let length = serde_json::to_string(holding).map_or(0, |json| json.len());
        bytes = bytes.saturating_add(length);
        if bytes > CENSUS_PAGE_BYTES && !page.users.is_empty() {
            page.more = true;
            break;
        }
        page.users.push(holding.clone());
    }
    Ok(page)
}

fn holdings(means: &Means, rules: &NameRules) -> Result<Holdings, VerbError> {
    let config = &means.group.config;
    match &config.store {
        StoreConfig::Dovecot(dovecot) => {
            let wanted = |user: &UserName| config.users.matches(user.as_str());
            let counted = fencing::doveadm(dovecot).holdings(&wanted, &dovecot.public, rules);
            counted.map_err(|error| VerbError::failed(format!("{}: {error}", means.config.node.name)))
        }
        StoreConfig::Embedded(embedded) => {
            let failed = |why: String| VerbError::failed(format!("{}: {why}", means.config.node.name));
            let view = view(&means.group).ok_or_else(|| failed("its store is closed".to_owned()))?;
            let mut found = view.holdings(rules).map_err(|e| failed(e.to_string()))?;
            let file = std::fs::read(&embedded.users);
            let file = file.map_err(|e| failed(format!("{}: {e}", embedded.users.display())))?;
            for name in auth::parse(&file).into_keys().filter(|name| config.users.matches(name)) {
                let user = UserName(name);
                let holding = found.entry(user.clone()).or_default();
                (holding.user, holding.known) = (user, true);
            }
            Ok(found)
        }
    }
}
