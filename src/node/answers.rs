//! What the admin socket, the status page and metrics are told.

use super::group::{GroupHandle, Side};
use super::moving::{self, Mover};
use super::role_desk::{RoleChanges, RoleDesk};
use super::steward::{Deed, Means};
use super::{custody, journal_text, migrating, state, switching, verifying, waiting};
use crate::config::Config;
use crate::control::about::{About, AboutGroup};
use crate::control::migration::{MigrateRequest, Migrated};
use crate::control::moving::{MoveAnswer, MoveQuestion, MoveReport, MoveRequest};
use crate::control::promotion::{
    DoneReport, MayServeReport, OfGroup, PromoteReport, PromoteRequest, RejoinReport, SwitchoverRequest,
};
use crate::control::report::{
    Decided, Decision, EntryDetail, JournalFrame, JournalList, QuarantineList, RepairReport, RetainedList,
    StreamReport, VerifyReport, WaitReport,
};
use crate::control::roles::Roles;
use crate::control::status::{MailboxStatus, Status, UserStatus};
use crate::control::verbs::{
    CustodyRequest, EntryRequest, JournalRequest, ProgressSink, RepairRequest, SwitchoverTerms, VerbError, Verbs,
    VerifyRequest, WaitRequest,
};
use crate::control::vitals::Vitals;
use crate::io::clock;
use crate::io::tls::PeerTls;
use crate::limits::CUSTODY_ROWS_MAX;
use crate::op::{NodeName, UserName};
use crate::redirect::proxy::{Door, ProxyStatus};
use crate::role::Role;
use crate::store::custody::{Custody, Entry};
use crate::store::embedded::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
pub(super) struct Answers {
    config: Arc<Config>,
    groups: Arc<[GroupHandle]>,
    proxies: Arc<[Arc<Door>]>,
    mover: Option<Arc<Mover>>,
    tls: Arc<PeerTls>,
    pub(super) role_desk: RoleDesk,
}

impl Answers {
    pub(super) fn new(
        config: Arc<Config>,
        groups: Arc<[GroupHandle]>,
        tls: Arc<PeerTls>,
        changes: RoleChanges,
    ) -> Self {
        Self {
            config,
            groups,
            proxies: Arc::default(),
            mover: None,
            tls,
            role_desk: RoleDesk::new(changes),
        }
    }

    /// The same, of a node that has these proxies.
    pub(super) fn with_proxies(self, proxies: Arc<[Arc<Door>]>) -> Self {
        Self { proxies, ..self }
    }

    /// The same, of a node that can move users.
    pub(super) fn with_mover(self, mover: Mover) -> Self {
        let mover = Some(Arc::new(mover));
        Self { mover, ..self }
    }

    /// What a peer is told that wants this node to take a user.
    pub(super) async fn take_user(&self, peer: &NodeName, question: MoveQuestion) -> MoveAnswer {
        match &self.mover {
            Some(mover) => moving::desk::answer(mover, peer, question).await,
            None => MoveAnswer::Refused("this node moves nobody".to_owned()),
        }
    }

    /// True where this node's configuration lists `name` as a peer of some group.
    pub(super) fn is_peer(&self, name: &NodeName) -> bool {
        self.groups.iter().any(|group| group.config.peers.contains_key(name))
    }

    /// True where `name` may ask for roles of every group, and for nothing else: an observer, or this node's own name.
    pub(super) fn is_observer(&self, name: &NodeName) -> bool {
        *name == self.config.node.name || self.config.node.observers.contains(name)
    }

    /// What `asker` is told when it asks who is primary.
    pub(super) fn roles(&self, asker: &NodeName) -> Roles {
        // read first: a change that comes meanwhile is told again rather than missed
        let version = self.role_desk.changes.count();
        let told = |group: &&GroupHandle| self.is_observer(asker) || group.config.peers.contains_key(asker);
        Roles {
            node: self.config.node.name.clone(),
            version,
            groups: self.groups.iter().filter(told).map(GroupHandle::group_role).collect(),
        }
    }

    /// A group in which `peer` is listed: observers ask for roles and nothing else.
    pub(super) fn group_of(&self, peer: &NodeName, name: &str) -> Result<GroupHandle, String> {
        let listed = |group: &&GroupHandle| group.config.name == name && group.config.peers.contains_key(peer);
        let found = self.groups.iter().find(listed).cloned();
        found.ok_or_else(|| format!("{peer} is no peer of a group \"{name}\" here"))
    }

    /// What `peer` is told when it asks who this is.
    pub(super) fn about(&self, peer: &NodeName) -> About {
        let shared = self.groups.iter().filter(|group| group.config.peers.contains_key(peer));
        let groups = shared.map(|group| AboutGroup {
            name: group.config.name.clone(),
            role: group.role(),
        });
        About {
            node: self.config.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            unix_ms: clock::unix_ms(),
            state_free_bytes: Vitals::read(&self.config).state_free_bytes,
            groups: groups.collect(),
        }
    }

    pub(super) fn means(&self, group: GroupHandle) -> Means {
        Means {
            group,
            config: Arc::clone(&self.config),
            tls: Arc::clone(&self.tls),
        }
    }

    /// The named group, or the only one.
    fn only(&self, name: Option<&str>) -> Result<GroupHandle, VerbError> {
        match self.chosen(name)?.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(VerbError::usage("this node has several groups: say --group")),
        }
    }

    /// The named group, or every group.
    fn chosen(&self, name: Option<&str>) -> Result<Vec<GroupHandle>, VerbError> {
        let Some(name) = name else {
            return Ok(self.groups.to_vec());
        };
        let found = self.groups.iter().find(|group| group.config.name == name);
        found
            .map(|group| vec![group.clone()])
            .ok_or_else(|| VerbError::usage(format!("this node has no group \"{name}\"")))
    }
}

impl Verbs for Answers {
    async fn status(&self) -> Status {
        let (groups, config) = (Arc::clone(&self.groups), Arc::clone(&self.config));
        let told = tokio::task::spawn_blocking(move || {
            let groups: Vec<_> = groups.iter().map(state::of).collect();
            (groups, Vitals::read(&config))
        });
        let (groups, vitals) = told.await.unwrap_or_else(|error| {
            tracing::error!(%error, "status");
            Default::default()
        });
        let proxies: Vec<_> = self.proxies.iter().map(|door| door.status()).collect();
        Status {
            node: self.config.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups,
            problems: proxies
                .iter()
                .filter_map(ProxyStatus::problem)
                .chain(vitals.problems())
                .collect(),
            proxies,
            vitals,
        }
    }

    async fn user_status(&self, user: UserName) -> Result<UserStatus, VerbError> {
        let group = self
            .groups
            .iter()
            .find(|group| group.config.users.matches(user.as_str()));
        let group = group.ok_or_else(|| VerbError::usage(format!("no group of this node has the user \"{user}\"")))?;
        let shown = match group.side() {
            Side::Standby(shared, _) => Some((Arc::clone(&shared.view), Arc::clone(&shared.custody))),
            Side::Primary(shared) => {
                let embedded = shared.embedded.as_ref();
                embedded.map(|embedded| (Arc::clone(&embedded.view), Arc::clone(&embedded.custody)))
            }
            Side::Idle(_) => None,
        };
        let Some((view, custody)) = shown else {
            return Err(VerbError::usage(
                "the mailboxes of a Dovecot are not listed here: ask doveadm, or the standby's node",
            ));
        };
        let (node, name) = (self.config.node.name.clone(), group.config.name.clone());
        let listed = tokio::task::spawn_blocking(move || {
            let mailboxes = mailboxes_of(view.as_ref(), custody.as_ref(), &user)?;
            Ok(UserStatus {
                node,
                group: name,
                user,
                mailboxes,
            })
        });
        listed.await.map_err(|e| VerbError::failed(e.to_string()))?
    }

    async fn wait(&self, request: WaitRequest, progress: ProgressSink) -> Result<WaitReport, VerbError> {
        waiting::wait(self.chosen(request.group.as_deref())?, request.timeout(), &progress).await
    }

    async fn verify(&self, request: VerifyRequest, progress: ProgressSink) -> Result<VerifyReport, VerbError> {
        verifying::verify(self.chosen(request.group.as_deref())?, &request, &progress).await
    }

    async fn repair(&self, request: RepairRequest, progress: ProgressSink) -> Result<RepairReport, VerbError> {
        verifying::repair(self.chosen(request.group.as_deref())?, &request, &progress).await
    }

    async fn repair_stream(&self, group: Option<String>) -> Result<StreamReport, VerbError> {
        verifying::new_streams(self.chosen(group.as_deref())?).await
    }

    async fn promote(&self, request: PromoteRequest, progress: ProgressSink) -> Result<PromoteReport, VerbError> {
        let group = self.only(request.group.as_deref())?;
        group
            .ask(|done| Deed::Promote {
                request,
                progress,
                done,
            })
            .await
    }

    async fn switchover(&self, request: SwitchoverRequest, progress: ProgressSink) -> Result<PromoteReport, VerbError> {
        let group = self.only(request.group.as_deref())?;
        let terms = SwitchoverTerms {
            max_wait_ms: request.max_wait_ms,
        };
        if group.role() == Role::Primary {
            return switching::ask_standby(&self.means(group), terms).await;
        }
        group.ask(|done| Deed::Switchover { terms, progress, done }).await
    }

    async fn migrate(&self, request: MigrateRequest, progress: ProgressSink) -> Result<Migrated, VerbError> {
        let group = self.only(migrating::group_of(&request))?;
        migrating::migrate(self.means(group), request, progress).await
    }

    async fn move_users(&self, request: MoveRequest, progress: ProgressSink) -> Result<MoveReport, VerbError> {
        let mover = self
            .mover
            .clone()
            .ok_or_else(|| VerbError::failed("this node moves nobody"))?;
        let group = self
            .groups
            .first()
            .ok_or_else(|| VerbError::usage("this node has no group"))?;
        let means = self.means(group.clone());
        // it goes on when the client leaves: a user must not be left half way
        let moved = tokio::spawn(moving::move_users(mover, means, request, progress));
        moved.await.map_err(|e| VerbError::failed(e.to_string()))?
    }

    async fn rejoin(&self, of: OfGroup, progress: ProgressSink) -> Result<RejoinReport, VerbError> {
        let group = self.only(of.group.as_deref())?;
        group.ask(|done| Deed::Rejoin { progress, done }).await
    }

    async fn resume_alone(&self, of: OfGroup) -> Result<DoneReport, VerbError> {
        let mut groups = Vec::new();
        for group in self.chosen(of.group.as_deref())? {
            if of.group.is_some() || !group.standing().confirmed() {
                group.ask(|done| Deed::ResumeAlone { done }).await?;
                groups.push(group.config.name.clone());
            }
        }
        match groups.is_empty() {
            true => Err(VerbError::refused("no group of this node waits for anybody's word")),
            false => Ok(DoneReport { groups }),
        }
    }

    async fn pause(&self, of: OfGroup, paused: bool) -> Result<DoneReport, VerbError> {
        let groups = self.chosen(of.group.as_deref())?;
        for group in &groups {
            group.ask(|done| Deed::Pause { paused, done }).await?;
        }
        Ok(DoneReport {
            groups: groups.iter().map(|group| group.config.name.clone()).collect(),
        })
    }

    async fn may_serve(&self, group: String) -> Result<MayServeReport, VerbError> {
        let handle = self.only(Some(&group))?;
        let standing = handle.standing();
        let (role, epoch) = (standing.role(), standing.epoch());
        let why = match standing.confirmed() {
            true => format!("this node is {role} in epoch {epoch}"),
            false => format!("this node was primary in epoch {epoch}, and nobody has told it yet that it still is"),
        };
        Ok(MayServeReport {
            group,
            may: standing.may_serve(),
            why,
        })
    }

    async fn quarantine(&self, request: CustodyRequest) -> Result<QuarantineList, VerbError> {
        custody::quarantine(self.chosen(request.group.as_deref())?, request.user).await
    }

    async fn quarantine_entry(&self, request: EntryRequest) -> Result<EntryDetail, VerbError> {
        custody::entry(self.chosen(request.group.as_deref())?, request.id).await
    }

    async fn quarantine_decide(&self, request: EntryRequest, decision: Decision) -> Result<Decided, VerbError> {
        custody::decide(self.chosen(request.group.as_deref())?, request.id, decision).await
    }

    async fn retained(&self, request: CustodyRequest) -> Result<RetainedList, VerbError> {
        custody::retained(self.chosen(request.group.as_deref())?, request.user).await
    }

    async fn retained_release(&self, request: EntryRequest) -> Result<Decided, VerbError> {
        custody::forget(self.chosen(request.group.as_deref())?, request.id).await
    }

    async fn retained_restore(&self, request: EntryRequest) -> Result<Decided, VerbError> {
        custody::restore(&self.chosen(request.group.as_deref())?, request.id).await
    }

    async fn journal_list(&self, group: Option<String>) -> Result<JournalList, VerbError> {
        let groups = self.chosen(group.as_deref())?;
        Ok(JournalList {
            groups: groups.iter().map(journal_text::list).collect(),
        })
    }

    async fn journal_frames(&self, request: JournalRequest) -> Result<Vec<JournalFrame>, VerbError> {
        let groups = self.chosen(request.group.as_deref())?;
        let [group] = groups.as_slice() else {
            return Err(VerbError::usage("this node has several groups: say --group"));
        };
        let group = group.clone();
        let read = tokio::task::spawn_blocking(move || journal_text::frames(&group, &request));
        read.await.map_err(|e| VerbError::failed(e.to_string()))?
    }
}

fn mailboxes_of(view: &dyn View, custody: &dyn Custody, user: &UserName) -> Result<Vec<MailboxStatus>, VerbError> {
    let failed = |e: crate::store::embedded::view::ViewError| VerbError::failed(e.to_string());
    let tree = view.tree(user).map_err(failed)?;
    let entries = custody.entries(Some(user), CUSTODY_ROWS_MAX)?;
    let held: BTreeMap<&str, &Entry> = entries.iter().map(|entry| (entry.guid.as_str(), entry)).collect();
    let mut mailboxes = Vec::new();
    for row in tree.rows.iter().filter(|row| row.guid.is_some()) {
        let mailbox = view.mailbox(user, &row.name).map_err(failed)?;
        let guid = row.guid.map(|guid| guid.to_hex()).unwrap_or_default();
        let entry = held.get(guid.as_str());
        mailboxes.push(MailboxStatus {
            name: row.name.join('/'),
            uidvalidity: mailbox.as_ref().map(|m| m.uidvalidity),
            uidnext: mailbox.as_ref().map(|m| m.uidnext),
            highest_modseq: mailbox.as_ref().map(|m| m.highest_modseq),
            messages: mailbox.as_ref().map(|m| u64::from(m.messages)),
            held: entry.map(|entry| format!("{} ({})", entry.why, entry.id)),
            guid,
        });
    }
    mailboxes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mailboxes)
}
