//! Answers of a node whose groups don't run: what the configuration says, and that nothing more is known.

use crate::config::{Config, GroupConfig, StartAs, StoreConfig};
use crate::control::report::{JournalFrame, JournalList, VerifyReport, WaitReport};
use crate::control::status::{
    GroupStatus, Lag, PeerStatus, Positions, Promotable, Role, Status, StoreKind, UserStatus,
};
use crate::control::verbs::{JournalRequest, ProgressSink, VerbError, Verbs, VerifyRequest, WaitRequest};
use crate::op::UserName;
use std::sync::Arc;

/// See the module.
pub(super) struct Idle(pub(super) Arc<Config>);

fn idle<T>() -> Result<T, VerbError> {
    Err(VerbError::failed("this node's groups do not run"))
}

impl Verbs for Idle {
    async fn status(&self) -> Status {
        Status {
            node: self.0.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: self.0.groups.iter().map(group).collect(),
        }
    }

    async fn user_status(&self, _user: UserName) -> Result<UserStatus, VerbError> {
        idle()
    }

    async fn wait(&self, _request: WaitRequest, _progress: ProgressSink) -> Result<WaitReport, VerbError> {
        idle()
    }

    async fn verify(&self, _request: VerifyRequest, _progress: ProgressSink) -> Result<VerifyReport, VerbError> {
        idle()
    }

    async fn journal_list(&self, _group: Option<String>) -> Result<JournalList, VerbError> {
        idle()
    }

    async fn journal_frames(&self, _request: JournalRequest) -> Result<Vec<JournalFrame>, VerbError> {
        idle()
    }
}

fn group(group: &GroupConfig) -> GroupStatus {
    let peer = |name: &crate::op::NodeName| PeerStatus {
        name: name.clone(),
        connected: false,
        lsn: None,
        lag: None,
        problem: None,
    };
    GroupStatus {
        name: group.name.clone(),
        role: match group.start_as {
            StartAs::Primary => Role::Primary,
            StartAs::Standby => Role::Standby,
        },
        confirmed: false,
        epoch: None,
        store: match group.store {
            StoreConfig::Dovecot(_) => StoreKind::Dovecot,
            StoreConfig::Embedded(_) => StoreKind::Embedded,
        },
        building: true,
        peers: group.peers.keys().map(peer).collect(),
        lsn: Positions::default(),
        lag: Lag::default(),
        mailboxes: None,
        messages: None,
        held_mailboxes: None,
        bodies_pending: None,
        quarantined: None,
        promotable: Promotable::default(),
        problems: vec!["the group does not run".to_owned()],
    }
}
