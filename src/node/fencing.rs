//! Keeps a Dovecot shut while this node is fenced, or gives its place to another: looked at every second, because a reload
//! opens it. Opens it again only where this node is a confirmed primary, and only if it was shut from here. And starts it
//! when it may serve again.

use super::files;
use super::group::GroupHandle;
use crate::config::{Argv, Config, DovecotConfig, StoreConfig};
use crate::control::status::FenceStatus;
use crate::io::clock::Stopwatch;
use crate::io::hook;
use crate::limits::{FENCE_AGAIN_SECONDS, FENCE_COMMAND_AGAIN_SECONDS, FENCE_COMMAND_SECONDS_MAX, MOVE_LOOK_EVERY};
use crate::op::NodeName;
use crate::role::{Role, Standing};
use crate::store::dovecot::doveadm::Doveadm;
use crate::store::dovecot::fence::{Fence, FenceError, Fenced};
use crate::telemetry;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tracing::Instrument;

/// The mark that this node has shut a Dovecot: `schema/role.md`.
const MARK: &str = "shut";

/// One task for each group whose store is a Dovecot.
pub(super) fn tasks(
    groups: &[GroupHandle],
    config: &Config,
) -> impl Iterator<Item = impl Future<Output = ()> + Send + use<>> {
    let keepers = groups.iter().filter_map(|group| Keeper::of(group, config));
    let keepers: Vec<_> = keepers.collect();
    keepers.into_iter().map(|keeper| {
        let name = telemetry::group(&keeper.group.config.name);
        keeper.run().instrument(name)
    })
}

struct Keeper {
    group: GroupHandle,
    node: NodeName,
    way: Way,
    start_store: Option<Argv>,
    mark: PathBuf,
    marked: bool,
    /// The operator wants nobody in while this node is a standby.
    shut_while_standby: bool,
    /// Sessions ended since it was shut.
    ended: u64,
    /// After how many moves of users it was last seen who is kept out one by one, and how many turns ago.
    seen: Option<(u64, bool, u32)>,
}

/// How it is shut.
enum Way {
    /// Through `doveadm`; lent to a blocking thread while it works.
    BuiltIn(Option<Box<Fence>>),
    /// The operator's command, with the time of its last success.
    Command(Argv, Option<Stopwatch>),
}

impl Keeper {
    fn of(group: &GroupHandle, config: &Config) -> Option<Self> {
        let StoreConfig::Dovecot(dovecot) = &group.config.store else {
            return None;
        };
        let mark = files::group_dir(&config.node.state, &group.config.name).join(MARK);
        Some(Self {
            node: config.node.name.clone(),
            way: Way::of(dovecot, group),
            start_store: dovecot.start_store.clone(),
            shut_while_standby: dovecot.shut_while_standby,
            marked: mark.exists(),
            mark,
            ended: 0,
            seen: None,
            group: group.clone(),
        })
    }

    async fn run(mut self) {
        let mut standings = self.group.follow_standing();
        let mut draining = self.group.follow_draining();
        let mut could_serve = self.group.standing().may_serve();
        loop {
            let standing = standings.borrow_and_update().clone();
            let drains = draining.borrow_and_update().is_draining;
            if standing.may_serve() && !could_serve {
                self.start(&standing);
            }
            could_serve = standing.may_serve();
            self.turn(&standing, drains).await;
            let again = tokio::time::sleep(Duration::from_secs(FENCE_AGAIN_SECONDS));
            tokio::select! {
                changed = standings.changed() => if changed.is_err() { return },
                changed = draining.changed() => if changed.is_err() { return },
                () = again => {}
                () = self.group.doors().looked_for() => {}
            }
        }
    }

    /// Shuts it, opens it, or leaves it alone.
    async fn turn(&mut self, standing: &Standing, drains: bool) {
        if must_be_shut(standing, drains, self.marked || self.shut_while_standby) {
            // the mark first: who finds it shut after a crash knows by whom
            if !self.marked {
                self.set_mark(true);
            }
            let status = self.shut(standing).await;
            self.log(&status);
            self.group.doors().fenced(Some(status));
            self.seen = None;
            return;
        }
        if self.marked && standing.may_write() {
            match self.lift(standing).await {
                Ok(()) => {
                    tracing::info!("the mail server is open again");
                    self.set_mark(false);
                    self.ended = 0;
                    self.group.doors().fenced(None);
                }
                Err(why) => tracing::error!(why, "the mail server can't be opened again: tried once a second"),
            }
        }
        self.keep_out(standing.may_write()).await;
    }

    /// Keeps users out who were moved away, or are about to be. Looks now and then where nothing changed.
    async fn keep_out(&mut self, may_write: bool) {
        let moved = self.group.config.users.moved();
        let changes = moved.changes();
        let nobody = moved.kept_out(may_write).is_empty();
        self.seen = match self.seen {
            Some((of, role, turns)) if (of, role) == (changes, may_write) && turns < MOVE_LOOK_EVERY => {
                Some((of, role, turns.saturating_add(1)))
            }
            Some((of, role, _)) if nobody && (of, role) == (changes, may_write) => Some((of, role, 0)),
            None if nobody && changes <= 1 => Some((changes, may_write, 0)),
            _ => {
                let out = match &mut self.way {
                    Way::BuiltIn(fence) => lend(fence, move |fence| fence.keep_out(may_write)).await,
                    Way::Command(..) if nobody => Ok(BTreeSet::new()),
                    Way::Command(..) => Err("by a command users can't be kept out one by one".to_owned()),
                };
                let done = out.is_ok();
                if let Err(why) = &out {
                    tracing::warn!(why, "users who were moved may still be let in here");
                }
                self.group.doors().kept_out(out, changes);
                done.then_some((changes, may_write, 0))
            }
        };
    }

    async fn shut(&mut self, standing: &Standing) -> FenceStatus {
        let environment = self.environment(standing, "fenced");
        let result = match &mut self.way {
            Way::BuiltIn(fence) => lend(fence, Fence::shut).await,
            Way::Command(_, Some(done)) if done.elapsed() < Duration::from_secs(FENCE_COMMAND_AGAIN_SECONDS) => {
                Ok(by_command())
            }
            Way::Command(command, done) => {
                let ran = run(command, &environment).await;
                *done = ran.is_ok().then(Stopwatch::start);
                ran.map(|()| by_command())
            }
        };
        match result {
            Ok(fenced) => self.status(&fenced),
            Err(why) => FenceStatus {
                shut: false,
                ended: self.ended,
                why: Some(why),
            },
        }
    }

    fn status(&mut self, fenced: &Fenced) -> FenceStatus {
        if !fenced.stopped.is_empty() {
            tracing::warn!(
                services = fenced.stopped.join(" "),
                "shut: no more clients, no more deliveries"
            );
        }
        self.ended = self
            .ended
            .saturating_add(u64::try_from(fenced.ended).unwrap_or(u64::MAX));
        let why = match (fenced.refused, fenced.left) {
            (false, _) => Some(
                "this Dovecot has users of other groups too: those of this group are sent away every second, but new \
                 logins and deliveries can't be refused without `group.dovecot.hold` or `group.dovecot.fence`"
                    .to_owned(),
            ),
            (true, 0) => None,
            (true, left) => Some(format!("{left} sessions are still there")),
        };
        FenceStatus {
            shut: fenced.is_shut(),
            ended: self.ended,
            why,
        }
    }

    async fn lift(&mut self, standing: &Standing) -> Result<(), String> {
        let environment = self.environment(standing, "primary");
        match &mut self.way {
            Way::BuiltIn(fence) => lend(fence, Fence::lift).await,
            Way::Command(command, done) => {
                *done = None;
                run(command, &environment).await
            }
        }
    }

    /// Runs the command that starts the mail server, beside what else is done: it must not come up unwatched.
    fn start(&self, standing: &Standing) {
        let Some(command) = self.start_store.clone() else {
            return;
        };
        let environment = self.environment(standing, &standing.role().to_string());
        let group = self.group.clone();
        let started = async move {
            let why_not = run(&command, &environment).await.err();
            match &why_not {
                None => tracing::info!("the mail server was started: it may serve"),
                Some(why) => tracing::error!(why, "the command of start_store failed"),
            }
            let told = why_not.map(|why| format!("the mail server may serve, and could not be started: {why}"));
            group.doors().started(told);
        };
        tokio::spawn(started.in_current_span());
    }

    fn environment(&self, standing: &Standing, role: &str) -> [(&'static str, String); 4] {
        [
            ("MAILSHADOW_GROUP", self.group.config.name.clone()),
            ("MAILSHADOW_ROLE", role.to_owned()),
            ("MAILSHADOW_NODE", self.node.to_string()),
            ("MAILSHADOW_EPOCH", standing.epoch().number.to_string()),
        ]
    }

    fn log(&self, now: &FenceStatus) {
        let was = self.group.doors().fence();
        if was
            .as_ref()
            .is_some_and(|was| was.shut == now.shut && was.why == now.why)
        {
            return;
        }
        match now.shut {
            true => tracing::warn!("{now}"),
            false => tracing::error!("{now}"),
        }
    }

    fn set_mark(&mut self, marked: bool) {
        let written = match marked {
            true => write_mark(&self.mark),
            false => std::fs::remove_file(&self.mark),
        };
        if let Err(error) = written {
            tracing::error!(%error, "note that the mail server is shut: a restart will not know of it");
        }
        self.marked = marked;
    }
}

impl Way {
    fn of(dovecot: &DovecotConfig, group: &GroupHandle) -> Self {
        match &dovecot.fence {
            Some(command) => Self::Command(command.clone(), None),
            None => {
                let users = group.config.users.clone();
                let fence = Fence::new(doveadm(dovecot), users, dovecot.hold.clone());
                Self::BuiltIn(Some(Box::new(fence)))
            }
        }
    }
}

/// The `doveadm` that a configuration names.
pub(super) fn doveadm(dovecot: &DovecotConfig) -> Doveadm {
    Doveadm {
        command: dovecot.doveadm.words().to_vec(),
        config: dovecot.config.clone(),
    }
}

/// A standby's Dovecot must run to be applied to, and whoever was fenced before, or is to, lets nobody in before it is
/// primary.
fn must_be_shut(standing: &Standing, draining: bool, while_standby: bool) -> bool {
    match standing.role() {
        Role::Fenced => true,
        Role::Primary => draining,
        Role::Standby => draining || while_standby,
    }
}

/// What a command that succeeded has promised.
fn by_command() -> Fenced {
    Fenced {
        refused: true,
        running: true,
        ..Fenced::default()
    }
}

async fn run(command: &Argv, environment: &[(&'static str, String)]) -> Result<(), String> {
    let limit = Duration::from_secs(FENCE_COMMAND_SECONDS_MAX);
    hook::run_in(command.words(), environment, limit)
        .await
        .map_err(|e| e.to_string())
}

/// Lends the fence to a thread that may block.
async fn lend<T: Send + 'static>(
    fence: &mut Option<Box<Fence>>,
    deed: impl FnOnce(&mut Fence) -> Result<T, FenceError> + Send + 'static,
) -> Result<T, String> {
    let Some(mut lent) = fence.take() else {
        return Err("the thread that looked after it has failed".to_owned());
    };
    let done = tokio::task::spawn_blocking(move || {
        let done = deed(&mut lent);
        (lent, done)
    });
    let (back, done) = done.await.map_err(|e| e.to_string())?;
    *fence = Some(back);
    done.map_err(|e| e.to_string())
}

fn write_mark(path: &std::path::Path) -> io::Result<()> {
    File::create(path)?.sync_all()?;
    let dir = path.parent().ok_or(io::ErrorKind::NotFound)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Epoch;

    #[test]
    fn a_fenced_server_stays_shut_until_it_is_primary_again() {
        let mut standing = Standing::first("mail-a".into(), Role::Primary);
        assert!(!must_be_shut(&standing, false, false) && must_be_shut(&standing, true, false));
        standing.hear(Epoch(2), Some(&"mail-b".into()), Role::Primary);
        assert!(must_be_shut(&standing, false, false));
        standing.rejoin(None);
        assert!(
            must_be_shut(&standing, false, true),
            "a restart must not open it either"
        );
        assert!(
            !must_be_shut(&standing, false, false),
            "a standby that never was primary is the operator's to shut"
        );
    }
}
