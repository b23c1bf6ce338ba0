//! Composition: runs the boxes of every group on this node, and answers for them.
//!
//! | file | what it is |
//! |---|---|
//! | `primary` `outlet` `offered` `ahead` `replaced` `shipper` `body_reads` `peer` | the left half: capture → journal → ship |
//! | `scribe` `written` | the left half of an embedded store: changes → journal and store |
//! | `projecting` | beside the right half of a Dovecot standby: brings the Dovecot to what the mirror says |
//! | `standby` `receiver` `notices` `disk_desk` `applier` | the right half: receive → journal → apply |
//! | `connection` `outbox` `squeeze` `listener` `desk` `files` | what both halves stand on |
//! | `fencing` `service` `doors` | keeps a Dovecot shut, watches the mail service, and what is known of both |
//! | `front` | the embedded store's front end |
//! | `steward` `role_file` `group` | a group's role: durable first, then the half that it asks for |
//! | `promoting` `switching` `handover` `losing` `pointing` | what the verbs that change roles do |
//! | `rejoining` `tail_desk` | what a node has beyond a fork: found, shipped and merged; the other side of that |
//! | `migrating` | a whole server to another version, format or store: what both nodes say, put beside each other |
//! | `lending` | frames that a more advanced standby lends a node that is promoted |
//! | `moving` `assigned` | users who are moved to another group, one by one |
//! | `role_desk` `asking` `following` `proxies` | who is primary: answered to others, asked of them, and followed |
//! | `answers` `custody` `state` `waiting` `verifying` `relay` `journal_text` | what the admin socket, HTTP and metrics are told |
//! | `pulse` `observer` | proof of progress; events for the log, the operator's command and the service manager |

mod ahead;
mod answers;
mod applier;
mod asking;
mod assigned;
mod body_reads;
mod connection;
mod counted;
mod custody;
mod desk;
mod disk_desk;
mod doors;
mod fencing;
mod files;
mod following;
mod front;
mod group;
mod handover;
mod health;
mod journal_text;
mod lending;
mod listener;
mod losing;
mod migrating;
mod moving;
mod notices;
mod observer;
mod offered;
mod outbox;
mod outlet;
mod past;
mod peer;
mod pointing;
mod primary;
mod projecting;
mod promoting;
mod proxies;
mod pulse;
mod receiver;
mod rejoining;
mod relay;
mod replaced;
mod role_desk;
mod role_file;
mod scribe;
mod service;
mod shipper;
mod small_file;
mod squeeze;
mod standby;
mod state;
mod steward;
mod switching;
mod tail_desk;
mod verifying;
mod waiting;
mod written;

use crate::config::Config;
use crate::control::http::HttpServer;
use crate::control::metrics::Metrics;
use crate::control::server::{ControlError, ControlServer};
use crate::io::lifecycle::Lifecycle;
use crate::io::lock::{LockError, StateLock};
use crate::io::tls::{PeerListener, PeerTls, TlsError};
use crate::journal::JournalError;
use crate::telemetry;
use answers::Answers;
use assigned::Assigned;
use group::GroupHandle;
use moving::Mover;
use role_desk::RoleChanges;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use steward::{Deed, Steward};
use tokio::task::JoinSet;
use tracing::Instrument;

/// Why a node can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The state directory can't be had.
    #[error(transparent)]
    State(#[from] LockError),
    /// A folder or file below it can't be used.
    #[error("{}: {why}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Certificates can't be used, or a port for them is taken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin socket can't be had.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A port can't be had.
    #[error("listen for {what} on {address}: {error}")]
    Listen {
        /// For what.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// A journal can't be opened or read.
    #[error("{0}")]
    Journal(String),
    /// A group can't run.
    #[error("group {group}: {why}")]
    Group {
        /// Which one.
        group: String,
        /// Why, and what would help.
        why: String,
    },
    /// The system gives no thread.
    #[error("start a thread: {0}")]
    Thread(String),
}

impl NodeError {
    /// What is wrong with a folder or a file.
    fn folder(path: &Path, why: impl ToString) -> Self {
        Self::Folder {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }

    /// What a journal says, with its hint.
    fn journal(error: JournalError) -> Self {
        match error.hint() {
            "" => Self::Journal(error.to_string()),
            hint => Self::Journal(format!("{error}; {hint}")),
        }
    }
}

/// Runs a node until its lifecycle says stop.
///
/// # Errors
/// It can't start: the state directory, a certificate, a port, a journal or a store can't be had. Or it can't go on.
pub async fn run(config: Config, mut lifecycle: Lifecycle) -> Result<(), NodeError> {
    let _lock = StateLock::take(&config.node.state)?;
    let config = Arc::new(config);
    let tls = Arc::new(PeerTls::load(&config.tls)?);
    let peers = PeerListener::bind(config.node.listen, Arc::clone(&tls)).await?;
    let control = ControlServer::bind(&config.node.control)?;
    let metrics = Arc::new(Metrics::default());
    let changes = RoleChanges::default();
    let assigned = Arc::new(Assigned::open(&config)?);
    let stewards = start_stewards(&config, &tls, &metrics, &changes)?;
    let handles: Arc<[_]> = stewards.iter().map(|steward| steward.means.group.clone()).collect();
    let mut tasks = JoinSet::new();
    let proxies = proxies::start(&config, &tls, &mut tasks)?;
    let answers = Answers::new(Arc::clone(&config), Arc::clone(&handles), Arc::clone(&tls), changes);
    let answers = answers.with_proxies(proxies);
    let answers = Arc::new(answers.with_mover(Mover {
        groups: Arc::clone(&handles),
        assigned,
        alone: tokio::sync::Mutex::new(()),
    }));
    let doors: Vec<_> = stewards.iter().filter_map(front::Door::of).collect();
    for door in doors {
        for task in front::serve(door, &config, &lifecycle, &metrics.imap).await? {
            tasks.spawn(task);
        }
    }
    fencing::tasks(&handles, &config).for_each(|task| drop(tasks.spawn(task)));
    service::tasks(&handles, &config).for_each(|task| drop(tasks.spawn(task)));
    following::tasks(&handles, &tls)
        .into_iter()
        .for_each(|task| drop(tasks.spawn(task)));
    let running = run_stewards(stewards);
    tasks.spawn(listener::run(
        peers,
        Arc::clone(&answers),
        Arc::clone(&handles),
        Arc::clone(&metrics),
    ));
    tasks.spawn(control.serve(Arc::clone(&answers), lifecycle.stop.clone()));
    if let Some(address) = config.node.http {
        let (answers, metrics) = (Arc::clone(&answers), Arc::clone(&metrics));
        tasks.spawn(http(address, answers, metrics, lifecycle.clone()).await?);
    }
    tasks.spawn(reload(Arc::clone(&config), tls, lifecycle.clone()));
    lifecycle.ready();
    observe(
        &mut tasks,
        &config,
        (answers, Arc::clone(&handles), metrics),
        &lifecycle,
    );
    let failed = watch_over(running, &handles, &mut lifecycle).await;
    tracing::info!("stopping");
    tasks.shutdown().await;
    tracing::info!("stopped: everything that was acknowledged is on disk");
    failed.map_or(Ok(()), Err)
}

fn start_stewards(
    config: &Arc<Config>,
    tls: &Arc<PeerTls>,
    metrics: &Arc<Metrics>,
    changes: &RoleChanges,
) -> Result<Vec<Steward>, NodeError> {
    let start = |group| Steward::start(group, config, tls, metrics, changes);
    config.groups.iter().map(start).collect()
}

fn run_stewards(stewards: Vec<Steward>) -> JoinSet<Result<(), NodeError>> {
    let mut running = JoinSet::new();
    for steward in stewards {
        let name = telemetry::group(&steward.means.group.config.name);
        running.spawn(steward.run().instrument(name));
    }
    running
}

/// Starts the observer, and the task that runs the command of `node.on_event` where there is one.
fn observe(
    tasks: &mut JoinSet<()>,
    config: &Config,
    (answers, groups, metrics): (Arc<Answers>, Arc<[GroupHandle]>, Arc<Metrics>),
    lifecycle: &Lifecycle,
) {
    let hook = config.node.on_event.clone().map(|command| {
        let (queue, run) = observer::hook(command, Arc::clone(&metrics));
        tasks.spawn(run);
        queue
    });
    let observer = observer::Observer {
        answers,
        groups,
        metrics,
        lifecycle: lifecycle.clone(),
        hook,
    };
    tasks.spawn(observer.run());
}

async fn http(
    address: SocketAddr,
    answers: Arc<Answers>,
    metrics: Arc<Metrics>,
    lifecycle: Lifecycle,
) -> Result<impl Future<Output = ()>, NodeError> {
    let http = HttpServer::bind(address).await.map_err(|error| NodeError::Listen {
        what: "HTTP",
        address,
        error,
    })?;
    Ok(async move {
        if let Err(error) = http.serve(answers, metrics, lifecycle.stop.clone()).await {
            tracing::error!(%error, "HTTP ended");
        }
    })
}

/// Returns when the node is to stop and all groups have, with the reason why one can't go on.
async fn watch_over(
    mut running: JoinSet<Result<(), NodeError>>,
    groups: &[GroupHandle],
    lifecycle: &mut Lifecycle,
) -> Option<NodeError> {
    let mut failed = None;
    let without_groups = running.is_empty();
    tokio::select! {
        () = lifecycle.stopped() => {}
        Some(ended) = running.join_next(), if !without_groups => failed = why(ended),
    }
    for group in groups {
        if group.deeds.send(Deed::Stop).await.is_err() {
            tracing::debug!(group = group.config.name, "had ended before");
        }
    }
    while let Some(ended) = running.join_next().await {
        failed = failed.or(why(ended));
    }
    failed
}

fn why(ended: Result<Result<(), NodeError>, tokio::task::JoinError>) -> Option<NodeError> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(error) => Some(NodeError::Thread(error.to_string())),
    }
}

/// Reads certificates again when asked; a mistake leaves the old ones in use.
async fn reload(config: Arc<Config>, tls: Arc<PeerTls>, mut lifecycle: Lifecycle) {
    while lifecycle.reload.changed().await.is_ok() {
        match tls.reload(&config.tls) {
            Ok(()) => tracing::info!("certificates reloaded"),
            Err(error) => tracing::error!(%error, "certificates not reloaded; the old ones stay in use"),
        }
    }
}

/// Waits on a thread of its own, never on the runtime's.
fn pause(time: Duration) {
    std::thread::sleep(time);
}
