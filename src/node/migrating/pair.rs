//! The two nodes of a migration: the same questions to this one and to the other.

use super::desk::{self, Census};
use crate::control::migration::{
    Holdings, MigrationAnswer, MigrationQuestion, NameRules, NodeStanding, Stage, StoreFacts,
};
use crate::control::roles::RoleQuestion;
use crate::control::status::Role;
use crate::control::verbs::VerbError;
use crate::limits::{CENSUS_SECONDS_MAX, MIGRATION_ASK_SECONDS_MAX};
use crate::node::asking::Asking;
use crate::node::steward::Means;
use crate::op::NodeName;
use std::sync::Arc;
use std::time::Duration;

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// This node.
    Own,
    /// Its only peer.
    Peer,
}

impl Who {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Own => Self::Peer,
            Self::Peer => Self::Own,
        }
    }
}

/// How both stand, as of one moment.
pub(super) struct Standings {
    pub(super) own: NodeStanding,
    /// Or why it did not answer.
    pub(super) peer: Result<NodeStanding, VerbError>,
}

impl Standings {
    pub(super) fn of(&self, who: Who) -> Option<&NodeStanding> {
        match who {
            Who::Own => Some(&self.own),
            Who::Peer => self.peer.as_ref().ok(),
        }
    }

    /// The one whom clients write to.
    pub(super) fn primary(&self) -> Option<Who> {
        let is_primary = |who: &Who| {
            let standing = self.of(*who).map(|standing| &standing.status);
            standing.is_some_and(|status| status.role == Role::Primary && status.confirmed)
        };
        [Who::Own, Who::Peer].into_iter().find(is_primary)
    }

    /// The one that the migration leads away from.
    pub(super) fn old(&self) -> Who {
        match self.own.starts_as_primary {
            true => Who::Own,
            false => Who::Peer,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        Stage::of(self.of(self.old()), self.of(self.old().other()))
    }
}

/// See the module.
pub(super) struct Pair {
    means: Means,
    pub(super) peer: NodeName,
    asking: Asking,
    census: Census,
}

impl Pair {
    /// Refused where the group has not exactly two nodes.
    pub(super) fn of(means: &Means) -> Result<Self, VerbError> {
        let mut peers = means.group.config.peers.iter();
        let (Some((name, address)), None) = (peers.next(), peers.next()) else {
            return Err(VerbError::usage(format!(
                "group {} has {} peers: migrate is for two nodes, the old server and the new one",
                means.group.config.name,
                means.group.config.peers.len()
            )));
        };
        Ok(Self {
            peer: name.clone(),
            asking: Asking::new(Arc::clone(&means.tls), name.clone(), address.clone()),
            means: means.clone(),
            census: Census::default(),
        })
    }

    /// The node's name.
    pub(super) fn name(&self, who: Who) -> NodeName {
        match who {
            Who::Own => self.means.config.node.name.clone(),
            Who::Peer => self.peer.clone(),
        }
    }

    async fn ask(&mut self, who: Who, question: MigrationQuestion) -> Result<MigrationAnswer, VerbError> {
        let answer = match who {
            Who::Own => desk::answer(&self.means, question, &mut self.census).await,
            Who::Peer => {
                let limit = match question {
                    MigrationQuestion::Census { .. } => CENSUS_SECONDS_MAX,
                    _ => MIGRATION_ASK_SECONDS_MAX,
                };
                let group = self.means.group.config.name.clone();
                let question = RoleQuestion::Migration { group, question };
                let asked = self.asking.migration(&question, Duration::from_secs(limit)).await;
                asked.map_err(|error| VerbError::failed(format!("{} does not answer: {error}", self.peer)))?
            }
        };
        match answer {
            MigrationAnswer::Refused(refused) => Err(refused),
            answer => Ok(answer),
        }
    }

    fn odd(&self, who: Who) -> VerbError {
        VerbError::failed(format!("{} answered something else", self.name(who)))
    }

    pub(super) async fn standing(&mut self, who: Who) -> Result<NodeStanding, VerbError> {
        match self.ask(who, MigrationQuestion::Standing).await? {
            MigrationAnswer::Standing(standing) => Ok(*standing),
            _ => Err(self.odd(who)),
        }
    }

    /// Refused where the configurations don't say which of both is the old server.
    pub(super) async fn standings(&mut self) -> Result<Standings, VerbError> {
        let standings = Standings {
            own: self.standing(Who::Own).await?,
            peer: self.standing(Who::Peer).await,
        };
        let peer = standings.peer.as_ref().ok();
        match peer.is_some_and(|peer| peer.starts_as_primary == standings.own.starts_as_primary) {
            true => Err(VerbError::usage(
                "start_as says the same on both nodes: the old server is the one with start_as = \"primary\"",
            )),
            false => Ok(standings),
        }
    }

    pub(super) async fn store(&mut self, who: Who) -> Result<StoreFacts, VerbError> {
        match self.ask(who, MigrationQuestion::Store).await? {
            MigrationAnswer::Store(facts) => Ok(*facts),
            _ => Err(self.odd(who)),
        }
    }

    /// What every user has there; names that `rules` don't allow are counted.
    pub(super) async fn census(&mut self, who: Who, rules: &NameRules) -> Result<Holdings, VerbError> {
        let mut found = Holdings::new();
        let mut behind = None;
        loop {
            let question = MigrationQuestion::Census {
                behind: behind.clone(),
                rules: rules.clone(),
            };
            let MigrationAnswer::Census(page) = self.ask(who, question).await? else {
                return Err(self.odd(who));
            };
            let last = page.users.last().map(|holding| holding.user.clone());
            let goes_on = page.more && last > behind;
            found.extend(page.users.into_iter().map(|holding| (holding.user.clone(), holding)));
            if !goes_on {
                return Ok(found);
            }
            behind = last;
        }
    }
}
