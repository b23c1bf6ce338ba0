//! Composition: runs the boxes of every group on this node, and answers for them.

mod idle;

use crate::config::Config;
use crate::control::http::HttpServer;
use crate::control::metrics::Metrics;
use crate::control::server::{ControlError, ControlServer};
use crate::io::lifecycle::Lifecycle;
use crate::io::lock::{LockError, StateLock};
use crate::io::tls::{PeerListener, PeerTls, TlsError};
use idle::Idle;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why a node can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The state directory can't be had.
    #[error(transparent)]
    State(#[from] LockError),
    /// Certificates can't be used, or the peers' port is taken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin socket can't be had.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The HTTP port can't be had.
    #[error("listen for HTTP on {address}: {error}")]
    Http {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
}

/// Runs a node until its lifecycle says stop.
///
/// # Errors
/// It can't start: the state directory, a certificate or a port can't be had.
pub async fn run(config: Config, mut lifecycle: Lifecycle) -> Result<(), NodeError> {
    let _lock = StateLock::take(&config.node.state)?;
    let config = Arc::new(config);
    let tls = Arc::new(PeerTls::load(&config.tls)?);
    let _peers = PeerListener::bind(config.node.listen, Arc::clone(&tls)).await?;
    let control = ControlServer::bind(&config.node.control)?;
    let verbs = Arc::new(Idle(Arc::clone(&config)));
    let metrics = Arc::new(Metrics::default());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(control.serve(Arc::clone(&verbs), lifecycle.stop.clone()));
    if let Some(address) = config.node.http {
        let http = HttpServer::bind(address)
            .await
            .map_err(|error| NodeError::Http { address, error })?;
        let stop = lifecycle.stop.clone();
        tasks.spawn(async move {
            if let Err(error) = http.serve(verbs, metrics, stop).await {
                tracing::error!(%error, "HTTP ended");
            }
        });
    }
    tasks.spawn(reload(Arc::clone(&config), tls, lifecycle.clone()));
    lifecycle.ready();
    tracing::info!(node = %config.node.name, groups = config.groups.len(), "running");
    lifecycle.stopped().await;
    tasks.shutdown().await;
    Ok(())
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
