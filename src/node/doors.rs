//! What is known of a group's doors on this node: whether clients who must be kept out are, and whether the mail service
//! answers. Written by the keeper and the watch, read by `status` and by those who ask for roles.

use super::group::GroupHandle;
use super::role_desk::RoleChanges;
use crate::config::StoreConfig;
use crate::control::status::{FenceStatus, GroupStatus, ServiceStatus};
use crate::control::verbs::VerbError;
use crate::limits::OPEN_SECONDS_MAX;
use crate::op::UserName;
use crate::role::Role;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// See the module.
pub(super) struct Doors {
    fence: watch::Sender<Option<FenceStatus>>,
    service: watch::Sender<Option<ServiceStatus>>,
    /// Who is kept out, one by one; or why that can't be said. And after how many moves of users that was.
    out: watch::Sender<(Result<BTreeSet<UserName>, String>, u64)>,
    /// Somebody wants the keeper to look at once.
    looks: Notify,
    /// Why the mail server could not be started.
    not_started: Mutex<Option<String>>,
    changes: RoleChanges,
}

impl Doors {
    pub(super) fn new(changes: RoleChanges) -> Self {
        Self {
            fence: watch::Sender::new(None),
            service: watch::Sender::new(None),
            out: watch::Sender::new((Ok(BTreeSet::new()), 0)),
            looks: Notify::new(),
            not_started: Mutex::default(),
            changes,
        }
    }

    /// Whether a Dovecot that is to let nobody in does; none where it may let clients in, or is not one.
    pub(super) fn fence(&self) -> Option<FenceStatus> {
        self.fence.borrow().clone()
    }

    /// Where the mail server beside this node was shut: waits until it was opened, for a bounded time; else none.
    pub(super) async fn until_open(&self) -> Option<Result<(), String>> {
        self.fence()?;
        let mut fence = self.fence.subscribe();
        let limit = Duration::from_secs(OPEN_SECONDS_MAX);
        let opened = match tokio::time::timeout(limit, fence.wait_for(Option::is_none)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err("it is still shut; to open it is tried once a second".to_owned()),
        };
        Some(opened)
    }

    /// What the keeper found.
    pub(super) fn fenced(&self, now: Option<FenceStatus>) {
        let news = self.fence.send_if_modified(|was| {
            let news = was.as_ref().map(|was| was.shut) != now.as_ref().map(|now| now.shut);
            *was = now;
            news
        });
        if news {
            self.changes.note();
        }
    }

    /// Whether the mail service answers; none where it is not watched.
    pub(super) fn service(&self) -> Option<ServiceStatus> {
        self.service.borrow().clone()
    }

    /// What the watch found.
    pub(super) fn serves(&self, now: Option<ServiceStatus>) {
        let up = |of: &Option<ServiceStatus>| of.as_ref().and_then(ServiceStatus::up);
        let news = up(&self.service.borrow()) != up(&now);
        self.service.send_replace(now);
        if news {
            self.changes.note();
        }
    }

    /// What the keeper found of those who are kept out one by one, after so many moves.
    pub(super) fn kept_out(&self, now: Result<BTreeSet<UserName>, String>, moves: u64) {
        drop(self.out.send_replace((now, moves)));
    }

    /// Why somebody who is to be kept out is not.
    pub(super) fn not_out(&self) -> Option<String> {
        self.out.borrow().0.as_ref().err().cloned()
    }

    /// Has the keeper look at once.
    pub(super) fn look(&self) {
        self.looks.notify_one();
    }

    /// Returns when it is to.
    pub(super) async fn looked_for(&self) {
        self.looks.notified().await;
    }

    /// How the command that starts the mail server ended.
    pub(super) fn started(&self, why_not: Option<String>) {
        *self.not_started.lock().unwrap_or_else(PoisonError::into_inner) = why_not;
    }

    /// Puts it into `status`, with what a human should look at.
    pub(super) fn tell(&self, status: &mut GroupStatus) {
        status.fence = self.fence();
        status.service = self.service();
        let fence = status.fence.as_ref().map(FenceStatus::to_string);
        let down = status.service.as_ref().and_then(ServiceStatus::problem);
        let let_nobody_in = status.service.as_ref().and_then(ServiceStatus::login_problem);
        let not_started = self.not_started.lock().unwrap_or_else(PoisonError::into_inner);
        status.problems.extend(
            fence
                .into_iter()
                .chain(down)
                .chain(let_nobody_in)
                .chain(not_started.clone()),
        );
    }
}

impl GroupHandle {
    /// Returns once this user is kept out, alone and without a session left, or is not any more. What was found before the last
    /// move says nothing.
    pub(super) async fn until_out(&self, user: &UserName, is_out: bool) {
        let since = self.config.users.moved().changes();
        let mut out = self.doors().out.subscribe();
        let there = |(out, moves): &(Result<BTreeSet<UserName>, String>, u64)| {
            *moves >= since && out.as_ref().is_ok_and(|out| out.contains(user) == is_out)
        };
        if out.wait_for(there).await.is_err() {
            tracing::debug!("the keeper has ended");
        }
    }

    /// Whether nobody can read or write mail here; none where that is not to be so, or not known.
    pub(super) fn is_shut(&self) -> Option<bool> {
        match self.config.store {
            StoreConfig::Dovecot(_) => self.doors().fence().map(|fence| fence.shut),
            // its front end asks the role before every command
            StoreConfig::Embedded(_) => (self.role() == Role::Fenced || self.is_draining()).then_some(true),
        }
    }

    /// Returns once nobody is in and nobody can come in, after [`Self::drain`] asked for that.
    ///
    /// # Errors
    /// Not within `limit`; says why. The keeper goes on trying until clients are let in again.
    pub(super) async fn until_shut(&self, limit: Duration) -> Result<(), VerbError> {
        if matches!(self.config.store, StoreConfig::Embedded(_)) {
            // the front end asks before each command
            return Ok(());
        }
        let mut fence = self.doors().fence.subscribe();
        let shut = fence.wait_for(|fence| fence.as_ref().is_some_and(|fence| fence.shut));
        if tokio::time::timeout(limit, shut).await.is_ok_and(|shut| shut.is_ok()) {
            return Ok(());
        }
        let why = self.doors().fence().map_or_else(
            || "the mail server has not been looked at yet".to_owned(),
            |fence| fence.to_string(),
        );
        Err(VerbError::refused(format!("not within {} s: {why}", limit.as_secs())))
    }
}
