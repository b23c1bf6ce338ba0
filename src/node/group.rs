//! One group on this node: the half of the path that its role asks for, and what others may see of it.

use super::NodeError;
use super::counted::Counted;
use super::doors::Doors;
use super::primary::{Primary, PrimaryShared};
use super::projecting;
use super::rejoining;
use super::role_desk::RoleChanges;
use super::standby::{Standby, StandbyShared, Terms};
use super::steward::Deed;
use super::written::OpenedEmbedded;
use crate::config::{EmbeddedConfig, GroupConfig, NodeConfig, StoreConfig};
use crate::control::metrics::Metrics;
use crate::control::roles::GroupRole;
use crate::io::tls::PeerTls;
use crate::journal::{Journal, JournalView};
use crate::op::{MailboxId, NodeName};
use crate::role::merge::Net;
use crate::role::{Role, Standing};
use crate::store::embedded::view::View;
use crate::store::table::CaptureTable;
use crate::telemetry;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What others may see and use of a group.
#[derive(Clone)]
pub(super) struct GroupHandle {
    pub(super) config: Arc<GroupConfig>,
    now: Arc<Now>,
    pub(super) deeds: mpsc::Sender<Deed>,
}

/// Whether clients are kept out of a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Draining {
    pub(super) is_draining: bool,
    /// How often it began.
    times: u64,
}

/// What changes while the node runs.
struct Now {
    side: RwLock<Side>,
    standing: watch::Sender<Standing>,
    peers: Mutex<BTreeMap<NodeName, GroupRole>>,
    changes: RoleChanges,
    draining: watch::Sender<Draining>,
    doors: Doors,
}

/// By role.
#[derive(Clone)]
pub(super) enum Side {
    Primary(Arc<PrimaryShared>),
    Standby(Arc<StandbyShared>, mpsc::Sender<super::receiver::Incoming>),
    /// Fenced, or primary and not confirmed: it shows its journal, and does nothing.
    Idle(JournalView),
}

impl GroupHandle {
    /// Of a group that runs this half.
    pub(super) fn new(
        config: &Arc<GroupConfig>,
        (standing, side): (Standing, Side),
        changes: RoleChanges,
        deeds: mpsc::Sender<Deed>,
    ) -> Self {
        let now = Now {
            side: RwLock::new(side),
            standing: watch::Sender::new(standing),
            peers: Mutex::default(),
            doors: Doors::new(changes.clone()),
            changes,
            draining: watch::Sender::default(),
        };
        Self {
            config: Arc::clone(config),
            now: Arc::new(now),
            deeds,
        }
    }

    /// The half that runs.
    pub(super) fn side(&self) -> Side {
        self.now.side.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Role and epoch, as they are durable.
    pub(super) fn standing(&self) -> Standing {
        self.now.standing.borrow().clone()
    }

    /// Hears of every change of the standing.
    pub(super) fn follow_standing(&self) -> watch::Receiver<Standing> {
        self.now.standing.subscribe()
    }

    /// True while clients are kept out so that another node can take over.
    pub(super) fn is_draining(&self) -> bool {
        self.now.draining.borrow().is_draining
    }

    /// Hears when clients are kept out, and when they are let in again.
    pub(super) fn follow_draining(&self) -> watch::Receiver<Draining> {
        self.now.draining.subscribe()
    }

    /// Keeps clients out, or lets them in again. The number is this time's.
    pub(super) fn drain(&self, is_draining: bool) -> u64 {
        let mut time = 0;
        if is_draining && !self.is_draining() {
            // that it was shut at an earlier time proves nothing
            self.doors().fenced(None);
        }
        self.now.draining.send_modify(|draining| {
            draining.is_draining = is_draining;
            draining.times = draining.times.wrapping_add(u64::from(is_draining));
            time = draining.times;
        });
        self.now.changes.note();
        time
    }

    /// What is known of its doors on this node.
    pub(super) fn doors(&self) -> &Doors {
        &self.now.doors
    }

    /// True while clients are kept out since that time.
    pub(super) fn drained_by(&self, time: u64) -> bool {
        let draining = *self.now.draining.borrow();
        draining.is_draining && draining.times == time
    }

    /// Something else that others may ask for has changed.
    pub(super) fn touch(&self) {
        self.now.changes.note();
    }

    /// The half that runs now.
    pub(super) fn show(&self, side: Side) {
        *self.now.side.write().unwrap_or_else(PoisonError::into_inner) = side;
        self.now.changes.note();
    }

    /// The standing, once it is durable.
    pub(super) fn stands(&self, standing: Standing) {
        self.now.standing.send_replace(standing);
        self.now.changes.note();
    }

    /// What a peer said of itself just now; none: it can't be reached.
    pub(super) fn saw(&self, peer: &NodeName, role: Option<GroupRole>) {
        let mut peers = self.now.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match role {
            Some(role) => drop(peers.insert(peer.clone(), role)),
            None => drop(peers.remove(peer)),
        }
    }

    /// Peers that answer, and what they said last.
    pub(super) fn seen(&self) -> BTreeMap<NodeName, GroupRole> {
        self.now.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True where the half runs that the standing asks for.
    pub(super) fn runs_its_role(&self) -> bool {
        let standing = self.standing();
        match self.side() {
            Side::Primary(_) => standing.may_write(),
            Side::Standby(..) => standing.role() == Role::Standby,
            Side::Idle(_) => standing.role() == Role::Fenced || !standing.confirmed(),
        }
    }

    /// What this node is in it.
    pub(super) fn role(&self) -> Role {
        self.now.standing.borrow().role()
    }

    /// Age of the last proof that its threads make progress.
    pub(super) fn progress_age(&self) -> Duration {
        match self.side() {
            Side::Primary(shared) => shared.pulse.age(),
            Side::Standby(shared, _) => shared.pulses.receiving.age().max(shared.pulses.applying.age()),
            Side::Idle(_) => Duration::ZERO,
        }
    }

    /// Its journal, on either side.
    pub(super) fn journal(&self) -> JournalView {
        match self.side() {
            Side::Primary(shared) => shared.view.clone(),
            Side::Standby(shared, _) => shared.journal.clone(),
            Side::Idle(journal) => journal,
        }
    }
}

/// What a standby has behind the fork that its record names gives way to the history that goes on: the store is made ready for
/// complete lists. Says why a base is needed; none: the journal goes on. May be done again.
fn give_way(opened: &OpenedEmbedded, standing: &Standing) -> Result<Option<String>, NodeError> {
    let view = opened.journal.view();
    let (Some(fork), Some(head)) = (standing.record().fork, view.head()) else {
        return Ok(None);
    };
    if head.lsn <= fork.lsn || head.epoch >= standing.epoch().number {
        return Ok(None);
    }
    let mut net = Net::default();
    rejoining::finding::behind(&view, fork.lsn, &mut net)?;
    let touched: Vec<(MailboxId, bool)> = net
        .touched()
        .map(|(user, guid, created)| {
            let user = user.clone();
            (MailboxId { user, guid }, created)
        })
        .collect();
    let unwound = opened.embedded.unwind(&touched);
    unwound.map_err(|e| NodeError::Journal(e.to_string()))?;
    Ok(Some(format!(
        "its frames behind LSN {} are no part of the history any more",
        fork.lsn
    )))
}

/// The half that runs, and what it needs to become another.
pub(super) struct Group {
    pub(super) config: Arc<GroupConfig>,
    pub(super) node: Arc<NodeConfig>,
    pub(super) dir: PathBuf,
    tls: Arc<PeerTls>,
    metrics: Arc<Metrics>,
    running: Running,
    view: Option<Arc<dyn View>>,
}

enum Running {
    Primary(Box<Primary>),
    Standby(Box<Standby>),
    Idle(Rest),
    /// Between two halves.
    Nothing,
}

/// What is open while nothing runs.
pub(super) enum Rest {
    Dovecot(Box<Journal>),
    Embedded(Box<OpenedEmbedded>),
}

impl Rest {
    fn view(&self) -> JournalView {
        match self {
            Self::Dovecot(journal) => journal.view(),
            Self::Embedded(opened) => opened.journal.view(),
        }
    }

    /// The journal.
    pub(super) fn journal(&mut self) -> &mut Journal {
        match self {
            Self::Dovecot(journal) => journal,
            Self::Embedded(opened) => &mut opened.journal,
        }
    }
}

impl Group {
    /// Opens what it has on disk; nothing runs yet.
    pub(super) fn open(
        config: Arc<GroupConfig>,
        node: Arc<NodeConfig>,
        tls: &Arc<PeerTls>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, NodeError> {
        let dir = super::files::group_dir(&node.state, &config.name);
        std::fs::create_dir_all(&dir).map_err(|e| NodeError::folder(&dir, e))?;
        let mut group = Self {
            config,
            node,
            dir,
            tls: Arc::clone(tls),
            metrics: Arc::clone(metrics),
            running: Running::Nothing,
            view: None,
        };
        let rest = group.open_rest()?;
        if let Rest::Embedded(opened) = &rest {
            group.view = Some(Arc::clone(&opened.embedded.view));
        }
        group.running = Running::Idle(rest);
        Ok(group)
    }

    fn open_rest(&self) -> Result<Rest, NodeError> {
        Ok(match &self.config.store {
            StoreConfig::Dovecot(_) => Rest::Dovecot(Box::new(super::primary::open_journal_at_rest(&self.dir)?)),
            StoreConfig::Embedded(_) => Rest::Embedded(Box::new(self.open_copy()?)),
        })
    }

    /// The half that runs; none where one could not be started.
    pub(super) fn side(&self) -> Option<Side> {
        match &self.running {
            Running::Primary(primary) => Some(Side::Primary(Arc::clone(&primary.shared))),
            Running::Standby(standby) => Some(Side::Standby(Arc::clone(&standby.shared), standby.incoming.clone())),
            Running::Idle(rest) => Some(Side::Idle(rest.view())),
            Running::Nothing => None,
        }
    }

    /// The front end's configuration and what it shows, where this node has one.
    pub(super) fn front(&self) -> Option<(&EmbeddedConfig, Arc<dyn View>)> {
        match &self.config.store {
            StoreConfig::Embedded(front) => Some((front, Arc::clone(self.view.as_ref()?))),
            StoreConfig::Dovecot(_) => None,
        }
    }

    /// The running standby, where one runs.
    pub(super) fn standby(&self) -> Option<&Standby> {
        match &self.running {
            Running::Standby(standby) => Some(standby),
            _ => None,
        }
    }

    /// Why it can't go on, once it can't.
    pub(super) fn failure(&mut self) -> Option<NodeError> {
        let Running::Primary(primary) = &mut self.running else {
            return None;
        };
        let why = primary.failure()?;
        Some(self.wrong(why))
    }

    fn wrong(&self, why: impl Into<String>) -> NodeError {
        NodeError::Group {
            group: self.config.name.clone(),
            why: why.into(),
        }
    }

    /// Stops what runs, cleanly, and leaves what is open; blocks.
    pub(super) fn rest(&mut self) -> Result<&mut Rest, NodeError> {
        let _in_its_name = telemetry::group(&self.config.name).entered();
        let rest = match std::mem::replace(&mut self.running, Running::Nothing) {
            Running::Primary(mut primary) => match primary.stop() {
                Some(opened) => Rest::Embedded(Box::new(opened)),
                None => {
                    drop(primary);
                    self.open_rest()?
                }
            },
            Running::Standby(standby) => Rest::Embedded(Box::new(standby.stop())),
            Running::Idle(rest) => rest,
            Running::Nothing => self.open_rest()?,
        };
        self.running = Running::Idle(rest);
        match &mut self.running {
            Running::Idle(rest) => Ok(rest),
            _ => Err(NodeError::Group {
                group: self.config.name.clone(),
                why: "nothing is at rest".to_owned(),
            }),
        }
    }

    /// Where a Dovecot followed as a standby: it is told all that the journal holds. Returns what it could not be told. Blocks.
    pub(super) fn bring_to_end(&mut self) -> Result<Option<String>, NodeError> {
        let _in_its_name = telemetry::group(&self.config.name).entered();
        match (&self.config.store, &self.running) {
            (_, Running::Idle(Rest::Embedded(opened))) if opened.held => {
                tracing::warn!("the mail server keeps what it had as primary: its mirror had not caught up");
                Ok(None)
            }
            (StoreConfig::Dovecot(dovecot), Running::Idle(Rest::Embedded(opened))) => {
                projecting::bring_to_end(opened, projecting::ways(dovecot), &self.config.users)
            }
            _ => Ok(None),
        }
    }

    /// Starts the half that the standing asks for, where another one runs; blocks.
    pub(super) fn settle(&mut self, standing: &Standing) -> Result<(), NodeError> {
        let right = match (&self.running, standing.role()) {
            (Running::Primary(_), Role::Primary) => standing.may_write(),
            (Running::Standby(_), Role::Standby) => true,
            (Running::Idle(_), Role::Primary) => !standing.may_write(),
            (Running::Idle(_), Role::Fenced) => true,
            _ => false,
        };
        if right {
            return Ok(());
        }
        self.rest()?;
        let _in_its_name = telemetry::group(&self.config.name).entered();
        match standing.role() {
            Role::Primary if standing.may_write() => self.start_primary(),
            Role::Standby => self.start_standby(standing),
            Role::Primary | Role::Fenced => Ok(()),
        }
    }

    fn start_primary(&mut self) -> Result<(), NodeError> {
        let counted = Counted {
            metrics: Arc::clone(&self.metrics),
            group: self.config.name.clone(),
        };
        let (config, name, dir) = (&self.config, &self.node.name, &self.dir);
        let primary = match (
            &self.config.store,
            std::mem::replace(&mut self.running, Running::Nothing),
        ) {
            (StoreConfig::Dovecot(store), rest) => {
                // capture opens the journal by itself, with its checkpoints
                drop(rest);
                Primary::start(config, store, name, dir, &self.tls, counted)?
            }
            (StoreConfig::Embedded(_), Running::Idle(Rest::Embedded(opened))) => {
                Primary::start_embedded(config, name, dir, &self.tls, counted, *opened)?
            }
            (StoreConfig::Embedded(_), _) => return Err(self.wrong("its store is not open")),
        };
        self.running = Running::Primary(Box::new(primary));
        Ok(())
    }

    /// Of a Dovecot: how far its logs were captured, out of the journal, which is opened anew.
    pub(super) fn captured(&mut self) -> Result<CaptureTable, NodeError> {
        self.rest()?;
        self.running = Running::Nothing;
        let (journal, table) = super::primary::open_journal_with_table(&self.dir)?;
        self.running = Running::Idle(Rest::Dovecot(Box::new(journal)));
        Ok(table)
    }

    fn start_standby(&mut self, standing: &Standing) -> Result<(), NodeError> {
        let rest = std::mem::replace(&mut self.running, Running::Nothing);
        let opened = match rest {
            Running::Idle(Rest::Embedded(opened)) => *opened,
            rest => {
                // a primary's journal is opened otherwise than a copy's
                drop(rest);
                self.open_copy()?
            }
        };
        let (config, name, metrics) = (&self.config, &self.node.name, Arc::clone(&self.metrics));
        let dovecot = match &config.store {
            StoreConfig::Dovecot(dovecot) => Some((dovecot, standing.record().fork.is_some())),
            StoreConfig::Embedded(_) => None,
        };
        let terms = Terms {
            floor: standing.epoch().number,
            left: give_way(&opened, standing)?,
            dovecot,
        };
        let standby = Standby::start(config, name, &self.dir, metrics, opened, terms)?;
        self.running = Running::Standby(Box::new(standby));
        Ok(())
    }

    /// Opens the embedded store and the journal of a copy: what a standby has, its mirror where its mail is for a Dovecot.
    fn open_copy(&self) -> Result<OpenedEmbedded, NodeError> {
        OpenedEmbedded::open(&self.dir, &self.node.name, self.config.retain.0)
    }

    /// Stops it cleanly; blocks.
    pub(super) fn stop(mut self) {
        let _in_its_name = telemetry::group(&self.config.name).entered();
        match std::mem::replace(&mut self.running, Running::Nothing) {
            Running::Primary(mut primary) => drop(primary.stop()),
            Running::Standby(standby) => drop(standby.stop()),
            Running::Idle(_) | Running::Nothing => {}
        }
    }
}
