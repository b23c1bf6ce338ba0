//! What keeps the engine going round: the scan, the sums over all users, open files, the status.

use super::Engine;
use crate::limits::{OPEN_LOGS_MAX, SCAN_MAILBOXES_A_SECOND, SCAN_SECONDS, WATCHED_SCAN_SECONDS};
use crate::op::{Lsn, Payload, UserName};
use crate::store::dovecot::job::Job;
use crate::store::dovecot::look::Look;
use crate::store::source::{Captured, Finding, OutletError, Takes};
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

impl Engine {
    /// What time brings.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        while let Some(user) = self.due.take(now) {
            self.look_at(&user, Look::default());
        }
        let watched = Duration::from_secs(WATCHED_SCAN_SECONDS);
        for _ in 0..self.rotas.0.due(now, self.users.len(), watched) {
            if let Some(user) = self.rotas.0.next_in(&self.users) {
                self.look_at(&user, Look::everything());
            }
        }
        for _ in 0..self.rotas.1.due(now, self.watch.partly().len(), self.scan_period()) {
            if let Some(user) = self.rotas.1.next_of(self.watch.partly()) {
                let look = self.users.get_mut(&user).map(|user| user.scan()).unwrap_or_default();
                if !look.is_nothing() {
                    self.look_at(&user, look);
                }
            }
        }
    }

    /// How long a round takes over those who are not watched as a whole: longer where they are many, so that it costs no
    /// more than [`SCAN_MAILBOXES_A_SECOND`] looks.
    fn scan_period(&self) -> Duration {
        let users = u64::try_from(self.users.len()).unwrap_or(u64::MAX).max(1);
        let scanned = u64::try_from(self.watch.partly().len()).unwrap_or(u64::MAX);
        let mailboxes = self.table.mailboxes().saturating_mul(scanned) / users;
        Duration::from_secs(SCAN_SECONDS.max(mailboxes / SCAN_MAILBOXES_A_SECOND))
    }

    /// Keeps the sums over all users.
    pub(super) fn after_work_on(&mut self, user: &UserName) {
        let Some(capture) = self.users.get(user) else { return };
        let (introducing, open) = (capture.is_introducing(), capture.awake());
        let listed = capture.was_read() && !introducing;
        let found: Vec<Finding> = capture.findings().collect();
        note(&mut self.introducing, user, introducing);
        note(&mut self.unlisted, user, !listed);
        if found.is_empty() {
            self.held.remove(user);
        } else {
            self.held.insert(user.clone(), found);
        }
        let before = self.open.insert(user.clone(), (Instant::now(), open));
        self.open_logs = self
            .open_logs
            .saturating_sub(before.map_or(0, |(_, logs)| logs))
            .saturating_add(open);
        if self.open_logs > OPEN_LOGS_MAX {
            self.rest_idle(user);
        }
        self.answer_sweeps(Some(user));
    }

    /// Keeps only the positions of those who were quiet for longest, and closes their logs.
    fn rest_idle(&mut self, busy: &UserName) {
        let mut by_age: Vec<(Instant, UserName)> = self
            .open
            .iter()
            .filter(|(user, (_, logs))| *logs > 0 && *user != busy)
            .map(|(user, (at, _))| (*at, user.clone()))
            .collect();
        by_age.sort_unstable();
        by_age.push((Instant::now(), busy.clone()));
        for (_, user) in by_age {
            if self.open_logs <= OPEN_LOGS_MAX / 2 {
                break;
            }
            if let (Some(capture), Some((_, logs))) = (self.users.get_mut(&user), self.open.get_mut(&user)) {
                capture.rest(&self.table);
                let left = capture.awake();
                self.open_logs = self
                    .open_logs
                    .saturating_sub(std::mem::replace(logs, left).saturating_sub(left));
            }
        }
    }

    /// Counts a user as read, where he was and nothing of his is left, or his mail is nowhere to be found.
    pub(super) fn answer_sweeps(&mut self, read: Option<&UserName>) {
        let done =
            |user: &&UserName| self.users.get(*user).is_none_or(|user| user.is_settled()) || self.is_nowhere(user);
        if let Some(user) = read.filter(done) {
            for sweep in &mut self.sweeps {
                sweep.remaining.remove(user);
            }
        }
        for sweep in self.sweeps.extract_if(.., |sweep| sweep.remaining.is_empty()) {
            (sweep.reply)(Ok(self.last));
        }
    }

    /// Goes on with what bases lack that were begun before a restart.
    pub(super) fn go_on_with_bases(&mut self) {
        for (peer, open) in self.table.bases() {
            let users = open.users().count();
            tracing::info!(%peer, begun = %open.begun, users, "going on with a base");
            self.jobs.push_back(Job::rest_of_base(peer.clone(), open));
        }
    }

    /// The first job that may go on now: a base waits for its peer, and for nobody else.
    pub(super) fn next_job(&mut self) -> Option<usize> {
        let outlet = &mut self.outlet;
        self.jobs.iter_mut().position(|job| {
            let takes = job.peer().map_or(Takes::Now, |peer| outlet.takes(peer));
            if takes == Takes::Never {
                job.abandon();
            }
            takes != Takes::Later
        })
    }

    /// Says in the stream when everything has been listed once: before that no copy may take over.
    pub(super) fn tell_whole(&mut self) -> Result<(), OutletError> {
        if self.table.is_whole() || !self.users_known || !self.unlisted.is_empty() {
            return Ok(());
        }
        let whole = Captured {
            payloads: vec![Payload::BaseEnd(Lsn(1))],
            peer: None,
        };
        self.last = self.outlet.emit(vec![whole], &mut self.table)?;
        Ok(())
    }

    pub(super) fn tell_status(&mut self) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let coverage = self.watch.coverage();
        if self.users_known && self.unlisted.is_empty() && self.said_scanned != Some(coverage.scanned_users) {
            self.said_scanned = Some(coverage.scanned_users);
            let (directories, scanned_users) = (coverage.watched, coverage.scanned_users);
            let within_seconds = self.scan_period().as_secs();
            match scanned_users {
                0 => tracing::info!(directories, "every directory is watched"),
                _ => tracing::info!(
                    directories,
                    scanned_users,
                    within_seconds,
                    "watched; changes of the scanned users are found within that time"
                ),
            }
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.users = count(self.users.len());
        status.mailboxes = self.table.mailboxes();
        status.watched_directories = count(coverage.watched);
        status.scanned_users = count(coverage.scanned_users);
        if !status.held.is_empty() || !self.held.is_empty() {
            status.held = self.held.values().flatten().cloned().collect();
        }
        status.initial_done |= self.users_known && self.unlisted.is_empty();
    }
}

fn note(set: &mut BTreeSet<UserName>, user: &UserName, is_in: bool) {
    if !is_in {
        set.remove(user);
    } else if !set.contains(user) {
        set.insert(user.clone());
    }
}
