//! One group on this node: the half of the path that its role asks for.

use super::NodeError;
use super::counted::Counted;
use super::primary::{Primary, PrimaryShared};
use super::standby::{Standby, StandbyShared};
use super::written::OpenedEmbedded;
use crate::config::{EmbeddedConfig, GroupConfig, NodeConfig, StartAs, StoreConfig};
use crate::control::metrics::Metrics;
use crate::io::tls::PeerTls;
use crate::store::change::Changer;
use crate::store::embedded::view::View;
use crate::telemetry;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What others may see and use of a running group.
#[derive(Clone)]
pub(super) struct GroupHandle {
    pub(super) config: Arc<GroupConfig>,
    pub(super) side: Side,
}

/// By role.
#[derive(Clone)]
pub(super) enum Side {
    Primary(Arc<PrimaryShared>),
    Standby(Arc<StandbyShared>, mpsc::Sender<super::receiver::Incoming>),
}

/// A running group.
pub(super) struct Group {
    config: Arc<GroupConfig>,
    running: Running,
}

enum Running {
    Primary(Box<Primary>),
    Standby(Box<Standby>),
}

impl Group {
    /// Opens what it has on disk and starts it.
    pub(super) fn start(
        config: &GroupConfig,
        node: &NodeConfig,
        tls: &Arc<PeerTls>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, NodeError> {
        let _in_its_name = telemetry::group(&config.name).entered();
        let dir = super::files::group_dir(&node.state, &config.name);
        std::fs::create_dir_all(&dir).map_err(|e| NodeError::folder(&dir, e))?;
        let refused = |why: &str| NodeError::Group {
            group: config.name.clone(),
            why: why.to_owned(),
        };
        let running = match (config.start_as, &config.store) {
            (StartAs::Primary, StoreConfig::Dovecot(store)) => {
                let counted = Counted {
                    metrics: Arc::clone(metrics),
                    group: config.name.clone(),
                };
                Running::Primary(Box::new(Primary::start(config, store, &node.name, &dir, tls, counted)?))
            }
            (StartAs::Standby, StoreConfig::Embedded(_)) => {
                Running::Standby(Box::new(Standby::start(config, &node.name, &dir, Arc::clone(metrics))?))
            }
            (StartAs::Primary, StoreConfig::Embedded(_)) => {
                let counted = Counted {
                    metrics: Arc::clone(metrics),
                    group: config.name.clone(),
                };
                let opened = OpenedEmbedded::open(&dir, &node.name, config.retain.0)?;
                let primary = Primary::start_embedded(config, &node.name, &dir, tls, counted, opened)?;
                Running::Primary(Box::new(primary))
            }
            (StartAs::Standby, StoreConfig::Dovecot(_)) => {
                return Err(refused(
                    "this version applies to the embedded store only: set store = \"embedded\" on the standby",
                ));
            }
        };
        Ok(Self {
            config: Arc::new(config.clone()),
            running,
        })
    }

    /// For those who ask.
    pub(super) fn handle(&self) -> GroupHandle {
        GroupHandle {
            config: Arc::clone(&self.config),
            side: match &self.running {
                Running::Primary(primary) => Side::Primary(Arc::clone(&primary.shared)),
                Running::Standby(standby) => Side::Standby(Arc::clone(&standby.shared), standby.incoming.clone()),
            },
        }
    }

    /// The front end's configuration and what it shows, where this node has one.
    pub(super) fn front(&self) -> Option<(&EmbeddedConfig, Arc<dyn View>)> {
        let StoreConfig::Embedded(front) = &self.config.store else {
            return None;
        };
        let view = match &self.running {
            Running::Standby(standby) => &standby.shared.view,
            Running::Primary(primary) => &primary.shared.embedded.as_ref()?.view,
        };
        Some((front, Arc::clone(view)))
    }

    /// Who makes clients' changes, where this node is the primary and the mail is here.
    pub(super) fn changer(&self) -> Option<Arc<dyn Changer>> {
        let Running::Primary(primary) = &self.running else {
            return None;
        };
        let embedded = primary.shared.embedded.as_ref()?;
        Some(Arc::new(embedded.changes.clone()))
    }

    /// Why it can't go on, once it can't.
    pub(super) fn failure(&mut self) -> Option<NodeError> {
        let Running::Primary(primary) = &mut self.running else {
            return None;
        };
        let why = primary.failure()?;
        Some(NodeError::Group {
            group: self.config.name.clone(),
            why,
        })
    }

    /// Stops it cleanly; blocks.
    pub(super) fn stop(self) {
        match self.running {
            Running::Primary(mut primary) => drop(primary.stop()),
            Running::Standby(standby) => standby.stop(),
        }
    }
}
