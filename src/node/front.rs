//! The embedded store's front end: listeners for mail clients.

use super::NodeError;
use super::group::{Group, GroupHandle, Side};
use super::steward::Steward;
use crate::config::{Argv, Config, EmbeddedConfig, WhileStandby};
use crate::io::front::FrontTls;
use crate::io::hook::{self, HookError};
use crate::io::lifecycle::Lifecycle;
use crate::limits::PASSWORD_PROGRAM_SECONDS_MAX;
use crate::serve::accounts::{Accounts, AskProgram};
use crate::serve::auth::PasswdFile;
use crate::serve::counts::Counts;
use crate::serve::lmtp::serve_lmtp;
use crate::serve::room::Room;
use crate::serve::server::{Access, AccessCheck, FrontEnd, ServeLimits, serve_imap};
use crate::store::embedded::view::View;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// What of a group its clients are shown.
pub(super) struct Door {
    config: EmbeddedConfig,
    view: Arc<dyn View>,
    group: GroupHandle,
}

impl Door {
    /// None where the group's store is no embedded one.
    pub(super) fn of(steward: &Steward) -> Option<Self> {
        let (config, view) = steward.group().and_then(Group::front)?;
        Some(Self {
            config: config.clone(),
            view,
            group: steward.means.group.clone(),
        })
    }
}

/// Binds what the configuration asks for; the tasks serve until the node stops.
pub(super) async fn serve(
    door: Door,
    config: &Config,
    lifecycle: &Lifecycle,
    counts: &Counts,
) -> Result<Vec<Task>, NodeError> {
    let embedded = &door.config;
    let mut tasks: Vec<Task> = Vec::new();
    let front = FrontEnd {
        counts: counts.clone(),
        ..front_end(embedded, door.view, config, lifecycle, access(embedded, &door.group))?
    };
    if let Some(address) = embedded.lmtp {
        let (listener, stop) = (bind("LMTP", address).await?, lifecycle.stop.clone());
        let host = config.node.name.0.clone();
        tasks.push(Box::pin(serve_lmtp(listener, front.clone(), host, stop)));
    }
    let listeners = [(embedded.imap, false), (embedded.imaps, true)];
    for (address, implicit_tls) in listeners {
        let Some(address) = address else { continue };
        let listener = bind("IMAP", address).await?;
        let stop = lifecycle.stop.clone();
        tasks.push(Box::pin(serve_imap(listener, front.clone(), implicit_tls, stop)));
    }
    Ok(tasks)
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| NodeError::Listen { what, address, error })
}

/// What clients may do at this moment: everything where this node is primary and somebody makes their changes.
fn access(embedded: &EmbeddedConfig, group: &GroupHandle) -> AccessCheck {
    let (group, while_standby) = (group.clone(), embedded.while_standby);
    let closed = |why: &str| Access::Closed(why.to_owned());
    Arc::new(move || match (group.side(), while_standby) {
        (Side::Primary(shared), _) => match &shared.embedded {
            Some(embedded) if !group.is_draining() => Access::ReadWrite(Arc::new(embedded.changes.clone())),
            _ => closed("this server is handing over to another one"),
        },
        (Side::Standby(..), WhileStandby::ReadOnly) => Access::ReadOnly,
        (Side::Standby(..), WhileStandby::Off) => closed("this is a standby; it serves nobody before it is promoted"),
        (Side::Idle(_), _) => closed("another server is primary, or may be"),
    })
}

fn front_end(
    embedded: &EmbeddedConfig,
    view: Arc<dyn View>,
    config: &Config,
    lifecycle: &Lifecycle,
    access: AccessCheck,
) -> Result<FrontEnd, NodeError> {
    let users = PasswdFile::open(&embedded.users).map_err(|e| NodeError::folder(&embedded.users, e))?;
    let auth = Accounts::new(users, embedded.auth_exec.clone().map(asked));
    let (cert, key) = match &embedded.certificate {
        Some((cert, key)) => (cert, key),
        None => (&config.tls.cert, &config.tls.key),
    };
    let tls = Arc::new(FrontTls::load(cert, key)?);
    tokio::spawn(reload(Arc::clone(&tls), (cert.clone(), key.clone()), lifecycle.clone()));
    Ok(FrontEnd {
        view,
        auth: Arc::new(auth),
        access,
        limits: ServeLimits::default(),
        tls: Some(Arc::new(move || tls.acceptor())),
        census: Arc::default(),
        counts: Counts::default(),
        room: Room::default(),
    })
}

/// How the program that checks passwords is asked: 0 is yes, 1 is no, all else no answer.
fn asked(command: Argv) -> AskProgram {
    let command = Arc::new(command);
    Arc::new(move |input| {
        let command = Arc::clone(&command);
        Box::pin(async move {
            let limit = Duration::from_secs(PASSWORD_PROGRAM_SECONDS_MAX);
            match hook::run_for(command.words(), &input, limit).await {
                Ok(()) => Ok(true),
                Err(HookError::Failed { status, .. }) if status.code() == Some(1) => Ok(false),
                Err(error) => Err(error.to_string()),
            }
        })
    })
}

/// Reads the certificate again when asked; a mistake leaves the old one in use.
async fn reload(tls: Arc<FrontTls>, files: (PathBuf, PathBuf), mut lifecycle: Lifecycle) {
    while lifecycle.reload.changed().await.is_ok() {
        if let Err(error) = tls.reload(&files.0, &files.1) {
            tracing::error!(%error, "the front end's certificate was not reloaded; the old one stays in use");
        }
    }
}
