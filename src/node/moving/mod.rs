//! Moves users, one by one, from a group that this node is primary of to one that the other node is primary of, over the same
//! pair of mail servers. The order, and why it leaves one writer or none wherever it is cut off: `docs/adr/0018-moving-users.md`.

pub(super) mod desk;
mod route;

use super::asking::Asking;
use super::assigned::Assigned;
use super::group::GroupHandle;
use super::steward::{Deed, Means};
use super::verifying;
use super::waiting::await_applied;
use crate::control::moving::{MoveAnswer, MoveQuestion, MoveReport, MoveRequest, MoveStep, MovedReport};
use crate::control::verbs::{Progress, ProgressSink, VerbError, VerifyRequest};
use crate::io::clock::Stopwatch;
use crate::limits::{MOVE_AGAIN_MS, MOVE_ANSWER_SECONDS_MAX, MOVE_COMPARE_AGAIN_MS, MOVE_COMPARED_MAX};
use crate::op::{NodeName, UserName};
use crate::redirect::Redirected;
use crate::role::moved::{Assignment, Stage};
use crate::store::source::Command;
use route::Route;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What it is done with.
pub(super) struct Mover {
    pub(super) groups: Arc<[GroupHandle]>,
    pub(super) assigned: Arc<Assigned>,
    /// One user at a time.
    pub(super) alone: tokio::sync::Mutex<()>,
}

/// See the module. Goes on with the next user where one could not be moved.
pub(super) async fn move_users(
    mover: Arc<Mover>,
    means: Means,
    request: MoveRequest,
    progress: ProgressSink,
) -> Result<MoveReport, VerbError> {
    let _alone = mover.alone.lock().await;
    let time = Stopwatch::start();
    let mut report = MoveReport::default();
    for user in &request.users {
        let route = Route::find(&mover, user, request.to.as_deref())?;
        let going = Going {
            mover: &mover,
            means: Means {
                group: route.from.clone(),
                ..means.clone()
            },
            progress: &progress,
            limit: Duration::from_millis(request.max_wait_ms),
            user,
            route: &route,
        };
        report.users.push(going.report().await);
    }
    report.seconds = time.elapsed().as_secs_f64();
    Ok(report)
}

/// One user on the way.
struct Going<'g> {
    mover: &'g Mover,
    means: Means,
    progress: &'g ProgressSink,
    limit: Duration,
    user: &'g UserName,
    route: &'g Route,
}

impl Going<'_> {
    async fn report(&self) -> MovedReport {
        let mut report = MovedReport {
            user: self.user.clone(),
            from: self.route.from.config.name.clone(),
            to: self.route.to.config.name.clone(),
            moved: false,
            why: None,
            redirects: Vec::new(),
            out_seconds: 0.0,
        };
        let out = Stopwatch::start();
        match self.go().await {
            Ok(redirects) => (report.moved, report.redirects) = (true, redirects),
            Err(why) => report.why = Some(why.message),
        }
        report.out_seconds = out.elapsed().as_secs_f64();
        self.note(&report).await;
        report
    }

    async fn go(&self) -> Result<Vec<Redirected>, VerbError> {
        if !self.route.is_given {
            if self.say(MoveStep::Look).await? != MoveAnswer::Ready {
                let why = format!("{} says that it is primary of his group, too", self.route.peer);
                return Err(VerbError::refused(why));
            }
            if let Err(why) = self.leave().await {
                self.assign(Stage::Taken, &self.route.from).await?;
                return Err(why);
            }
            // from here on he is the other node's, or nobody's until it is run again
            self.assign(Stage::Given, &self.route.to).await?;
        }
        self.tell("the other node takes him");
        let (stream, lsn) = match self.say(MoveStep::Take).await? {
            MoveAnswer::Taken { stream, lsn } => (stream, lsn),
            MoveAnswer::Mine => {
                self.assign(Stage::Taken, &self.route.from).await?;
                let from = &self.route.from.config.name;
                let why = format!("{} has become primary of {from}, and he is of it", self.route.peer);
                return Err(VerbError::refused(why));
            }
            MoveAnswer::Ready | MoveAnswer::Refused(_) => {
                let why = "the other node did not say that it took him: run it again";
                return Err(VerbError::failed(why));
            }
        };
        let redirects = self.point().await;
        self.assign(Stage::Followed { stream, lsn }, &self.route.to).await?;
        if let Ok(copy) = self.route.to.as_standby() {
            copy.stir();
        }
        Ok(redirects)
    }

    /// Everything that can be undone: he is kept out, everything of his is applied, and both sides are equal.
    async fn leave(&self) -> Result<(), VerbError> {
        self.assign(Stage::Leaving, &self.route.from).await?;
        let late =
            |what: &str| VerbError::timed_out(format!("{what} took longer than {:?}: nothing has changed", self.limit));
        self.tell("clients and deliveries are kept out");
        let out = tokio::time::timeout(self.limit, self.route.from.until_out(self.user, true)).await;
        out.map_err(|_| match self.route.from.doors().not_out() {
            Some(why) => VerbError::refused(format!("he can't be kept out: {why}; nothing has changed")),
            None => late("keeping him out"),
        })?;
        self.tell("what his mailboxes hold is applied");
        let drained = tokio::time::timeout(self.limit, self.drain()).await;
        drained.map_err(|_| late("applying the rest"))??;
        self.tell("both sides are compared");
        let compared = tokio::time::timeout(self.limit, self.compare()).await;
        compared.map_err(|_| late("comparing"))?
    }

    async fn drain(&self) -> Result<(), VerbError> {
        let shared = self.route.primary()?;
        let target = shared.ask(Command::Sweep).await.map_err(VerbError::failed)?;
        for peer in &shared.peers {
            await_applied(peer, target, self.progress).await?;
        }
        Ok(())
    }

    /// What differs is told anew as a whole by the other node, once it was found; so it is looked at again.
    async fn compare(&self) -> Result<(), VerbError> {
        for _ in 1..MOVE_COMPARED_MAX {
            if self.compare_once().await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(MOVE_COMPARE_AGAIN_MS)).await;
            self.drain().await?;
        }
        self.compare_once().await
    }

    async fn compare_once(&self) -> Result<(), VerbError> {
        let asked = VerifyRequest {
            group: None,
            user: Some(self.user.clone()),
            deep: false,
        };
        let found = verifying::verify(vec![self.route.from.clone()], &asked, self.progress).await?;
        let differs =
            |different: &crate::control::report::Difference| format!("{}: {}", different.mailbox, different.why);
        match found.different.is_empty() {
            true => Ok(()),
            false => {
                let named: Vec<String> = found.different.iter().take(3).map(differs).collect();
                let why = format!(
                    "{} mailboxes differ ({}): nothing has changed",
                    found.different.len(),
                    named.join("; ")
                );
                Err(VerbError::refused(why))
            }
        }
    }

    /// Durable when it returns, and the keeper has been told.
    async fn assign(&self, stage: Stage, group: &GroupHandle) -> Result<(), VerbError> {
        let (assigned, user, name) = (
            Arc::clone(&self.mover.assigned),
            self.user.clone(),
            group.config.name.clone(),
        );
        let to = Assignment { group: name, stage };
        let done = tokio::task::spawn_blocking(move || assigned.assign(&user, to)).await;
        done.map_err(|e| VerbError::failed(e.to_string()))?
            .map_err(|e| VerbError::failed(e.to_string()))?;
        self.mover.groups.iter().for_each(|group| group.doors().look());
        Ok(())
    }

    async fn say(&self, step: MoveStep) -> Result<MoveAnswer, VerbError> {
        let question = MoveQuestion {
            move_user: step,
            user: self.user.clone(),
            from: self.route.from.config.name.clone(),
            to: self.route.to.config.name.clone(),
        };
        let (name, address) = (self.route.peer.clone(), self.route.address.clone());
        let mut asking = Asking::new(Arc::clone(&self.means.tls), name, address);
        let answer = asking
            .within(Duration::from_secs(MOVE_ANSWER_SECONDS_MAX), &question)
            .await;
        match answer {
            Ok(MoveAnswer::Refused(why)) => Err(VerbError::refused(format!("{}: {why}", self.route.peer))),
            Ok(answer) => Ok(answer),
            Err(error) => Err(VerbError::failed(format!("{}: {error}", self.route.peer))),
        }
    }

    /// What can point a single user does.
    async fn point(&self) -> Vec<Redirected> {
        self.tell("his next login is led to the other node");
        let mut done = Vec::new();
        for config in &self.route.from.config.redirects {
            done.push(
                crate::redirect::point_user(config, self.user, &self.route.peer, &self.route.to.config.name).await,
            );
        }
        done
    }

    /// The log of role changes keeps it.
    async fn note(&self, report: &MovedReport) {
        let facts = json!({ "user": report.user, "to": report.to, "node": self.route.peer, "why": report.why });
        let what = if report.moved { "user moved" } else { "user not moved" }.to_owned();
        let noted = self.route.from.ask(|done| Deed::Note { what, facts, done }).await;
        if let Err(error) = noted {
            tracing::error!(%error, "note a move in the log of role changes");
        }
    }

    fn tell(&self, what: &str) {
        self.progress
            .tell(Progress::step(format!("{}: {what}", crate::telemetry::user(self.user))));
    }
}

/// Waits a moment before something is looked at again.
async fn again() {
    tokio::time::sleep(Duration::from_millis(MOVE_AGAIN_MS)).await;
}

/// Whom a peer's name stands for.
type Peer = (NodeName, crate::config::HostPort);
