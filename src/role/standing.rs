//! The machine: one node's standing in one group.

use super::{Fork, Record, Role, Stage, Taking};
use crate::op::{Epoch, EpochId, NodeName};

/// A deed that would not be safe; says why and what would make it so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What follows from what a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// A former primary may go on: nobody has taken its place.
    Confirmed,
    /// A higher epoch exists, and this node is primary no longer. The record has changed.
    Fenced,
    /// Two nodes took the same epoch: this one stops writing. The record has changed.
    Forked,
    /// A higher epoch is to be remembered. The record has changed.
    Raised,
}

/// See the module. The record is to be durable before anything is done that it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    node: NodeName,
    record: Record,
    confirmed: bool,
}

impl Standing {
    /// At the first start: nothing is durable yet. A primary captures at once, in epoch 1.
    #[must_use]
    pub fn first(node: NodeName, role: Role) -> Self {
        let epoch = match role {
            Role::Primary => EpochId {
                number: Epoch(1),
                node: node.clone(),
            },
            _ => EpochId::default(),
        };
        let record = Record {
            role,
            epoch,
            taking: None,
            fork: None,
        };
        Self {
            node,
            record,
            confirmed: true,
        }
    }

    /// At every later start: a former primary does nothing before somebody told it that it still is one.
    #[must_use]
    pub fn restarted(node: NodeName, record: Record) -> Self {
        let confirmed = record.role != Role::Primary;
        Self {
            node,
            record,
            confirmed,
        }
    }

    /// Whose standing it is.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// What must be durable.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.record.role
    }

    /// Highest epoch seen.
    #[must_use]
    pub fn epoch(&self) -> &EpochId {
        &self.record.epoch
    }

    /// False on a restarted primary that has not heard from anybody.
    #[must_use]
    pub fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// True where this node captures, accepts mail and serves writers.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.record.role == Role::Primary && self.confirmed
    }

    /// True where the mail server beside this node may open its doors: a confirmed primary's, and a standby's, which
    /// must run to be applied to.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        match self.record.role {
            Role::Primary => self.confirmed,
            Role::Standby => true,
            Role::Fenced => false,
        }
    }

    /// What a peer says of its epoch; none for the node where the peer does not know who took it.
    pub fn hear(&mut self, number: Epoch, taken_by: Option<&NodeName>, role: Role) -> Heard {
        if number > self.record.epoch.number {
            return self.hear_higher(number, taken_by);
        }
        let other = taken_by.is_some_and(|node| *node != self.record.epoch.node);
        if number == self.record.epoch.number && other && number != Epoch(0) {
            return self.hear_equal(role);
        }
        if self.record.role == Role::Primary && !self.confirmed {
            self.confirmed = true;
            return Heard::Confirmed;
        }
        Heard::Nothing
    }

    fn hear_higher(&mut self, number: Epoch, taken_by: Option<&NodeName>) -> Heard {
        self.record.epoch = EpochId {
            number,
            node: taken_by.cloned().unwrap_or_default(),
        };
        (self.record.taking, self.record.fork) = (None, None);
        if self.record.role != Role::Primary {
            return Heard::Raised;
        }
        self.record.role = Role::Fenced;
        self.confirmed = true;
        Heard::Fenced
    }

    /// Both primaries of one number stop. Whoever only repeats what he heard fences nobody.
    fn hear_equal(&mut self, role: Role) -> Heard {
        if self.record.role != Role::Primary || role == Role::Standby {
            return Heard::Nothing;
        }
        self.record.role = Role::Fenced;
        self.record.taking = None;
        self.confirmed = true;
        Heard::Forked
    }

    /// Whoever took it is known now: the sender of a stream took the epoch that it writes in. True where the record has
    /// changed.
    pub fn follow(&mut self, epoch: &EpochId) -> bool {
        let news = epoch.number > self.record.epoch.number
            || (epoch.number == self.record.epoch.number && self.record.epoch.node.as_str().is_empty());
        if news && self.record.role != Role::Primary {
            self.record.epoch = epoch.clone();
        }
        news
    }

    /// The operator's word that nobody else is primary.
    ///
    /// # Errors
    /// It is no unconfirmed primary.
    pub fn resume_alone(&mut self) -> Result<(), Refusal> {
        match (self.record.role, self.confirmed) {
            (Role::Primary, false) => {
                self.confirmed = true;
                Ok(())
            }
            (Role::Primary, true) => Err(Refusal(
                "this primary is confirmed: there is nothing to resume".to_owned(),
            )),
            (role, _) => Err(Refusal(format!(
                "this node is {role}; only a restarted primary that hears from nobody can resume alone"
            ))),
        }
    }

    /// Takes the epoch above `highest` (and above what is known here), or goes on with one that was taken and not
    /// finished. Returns it; the record is durable before anything else is done.
    ///
    /// # Errors
    /// This node is primary, or fenced and not told to go ahead all the same.
    pub fn raise(&mut self, highest: Epoch, planned: bool, force: bool) -> Result<EpochId, Refusal> {
        let may = match (self.record.role, self.record.taking) {
            (Role::Standby, _) => Ok(()),
            (Role::Fenced, _) if force => Ok(()),
            (Role::Fenced, _) => Err(
                "this node is fenced: a newer primary exists or existed. `rejoin` makes it a standby; --force promotes it \
                 as it is, where no higher epoch answers"
                    .to_owned(),
            ),
            (Role::Primary, _) => Err("this node is primary already".to_owned()),
        };
        may.map_err(Refusal)?;
        let own = self.record.taking.is_some() && self.record.epoch.node == self.node;
        if !own || highest > self.record.epoch.number {
            let highest = highest.max(self.record.epoch.number);
            self.record.epoch = EpochId {
                number: Epoch(highest.0.saturating_add(1)),
                node: self.node.clone(),
            };
        }
        self.record.role = Role::Standby;
        self.record.taking = Some(Taking {
            stage: Stage::Raised,
            planned,
        });
        Ok(self.record.epoch.clone())
    }

    /// The epoch's first frame is durable: this node is primary.
    pub fn open(&mut self, fork: Fork) {
        self.record.role = Role::Primary;
        self.record.fork = Some(fork);
        if let Some(taking) = &mut self.record.taking {
            taking.stage = Stage::Opened;
        }
        self.confirmed = true;
    }

    /// The promotion has reached its end.
    pub fn finish(&mut self) {
        self.record.taking = None;
    }

    /// A primary that gives up its place to another one, which takes `epoch`.
    pub fn yield_to(&mut self, epoch: EpochId, fork: Fork) {
        self.record = Record {
            role: Role::Fenced,
            epoch,
            taking: None,
            fork: Some(fork),
        };
        self.confirmed = true;
    }

    /// A fenced node, or a standby that followed a history which ended, follows the one that goes on. `fork`: where that leaves
    /// what this node has; none: it has nothing beyond.
    pub fn rejoin(&mut self, fork: Option<Fork>) {
        self.record.role = Role::Standby;
        self.record.taking = None;
        self.record.fork = fork.or(self.record.fork);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{ChainHash, Lsn};

    const A: &str = "mail-a";
    const B: &str = "mail-b";

    fn fork() -> Fork {
        Fork {
            lsn: Lsn(812),
            chain: ChainHash([7; 32]),
        }
    }

    fn primary() -> Standing {
        Standing::first(A.into(), Role::Primary)
    }

    fn standby() -> Standing {
        let mut standby = Standing::first(B.into(), Role::Standby);
        assert!(standby.follow(primary().epoch()));
        standby
    }

    fn restarted(standing: &Standing) -> Standing {
        Standing::restarted(standing.node.clone(), standing.record.clone())
    }

    #[test]
    fn a_primary_that_starts_again_does_nothing_before_it_heard_from_somebody() {
        assert!(primary().may_write());
        let mut again = restarted(&primary());
        assert!(!again.may_write() && !again.may_serve());
        let epoch = primary().epoch().clone();
        assert_eq!(
            again.hear(epoch.number, Some(&epoch.node), Role::Standby),
            Heard::Confirmed
        );
        assert!(again.may_write() && again.may_serve());
        let mut alone = restarted(&primary());
        alone.resume_alone().unwrap();
        assert!(alone.may_write());
        assert!(alone.resume_alone().is_err(), "there is nothing to resume");
    }

    #[test]
    fn a_higher_epoch_fences_a_primary_for_good() {
        for mut standing in [primary(), restarted(&primary())] {
            assert_eq!(standing.hear(Epoch(2), Some(&B.into()), Role::Primary), Heard::Fenced);
            let mut again = restarted(&standing);
            assert!(!again.may_write() && !again.may_serve());
            assert_eq!(again.hear(Epoch(1), Some(&A.into()), Role::Standby), Heard::Nothing);
            assert!(again.resume_alone().is_err());
            assert!(again.raise(Epoch(2), false, false).is_err());
            assert_eq!(again.role(), Role::Fenced);
            again.rejoin(None);
            assert_eq!((again.role(), again.epoch().number), (Role::Standby, Epoch(2)));
        }
    }

    #[test]
    fn two_primaries_of_one_number_both_stop_and_one_goes_on_in_the_next() {
        let (mut a, mut b) = (standby(), standby());
        (a.node, b.node) = (A.into(), B.into());
        for node in [&mut a, &mut b] {
            node.raise(Epoch(1), false, false).unwrap();
            node.open(fork());
        }
        assert_eq!(a.epoch().number, b.epoch().number);
        let (of_a, of_b) = (a.epoch().clone(), b.epoch().clone());
        assert_eq!(a.hear(of_b.number, Some(&of_b.node), Role::Primary), Heard::Forked);
        assert_eq!(b.hear(of_a.number, Some(&of_a.node), Role::Fenced), Heard::Forked);
        assert!(!a.may_write() && !b.may_write());
        let kept = b.raise(Epoch(2), false, true).unwrap();
        assert_eq!(kept.number, Epoch(3));
    }

    #[test]
    fn a_standby_that_repeats_another_epoch_of_equal_number_fences_nobody() {
        let mut b = standby();
        b.raise(Epoch(1), false, false).unwrap();
        b.open(fork());
        assert_eq!(b.hear(Epoch(2), Some(&"mail-c".into()), Role::Standby), Heard::Nothing);
        assert!(b.may_write());
    }

    #[test]
    fn a_promotion_cut_off_at_any_step_goes_on_in_the_same_epoch() {
        let mut b = standby();
        let epoch = b.raise(Epoch(1), false, false).unwrap();
        let mut again = restarted(&b);
        assert_eq!((again.role(), again.may_write()), (Role::Standby, false));
        assert_eq!(again.raise(Epoch(1), false, false).unwrap(), epoch);
        again.open(fork());
        let unconfirmed = restarted(&again);
        assert!(!unconfirmed.may_write(), "another may have been promoted meanwhile");
        again.finish();
        assert!(again.may_write() && again.raise(Epoch(2), false, true).is_err());
    }

    #[test]
    fn a_promotion_takes_a_number_above_all_that_were_heard() {
        let mut b = standby();
        assert_eq!(b.raise(Epoch(6), false, false).unwrap().number, Epoch(7));
        // another one took a higher epoch meanwhile
        assert_eq!(b.raise(Epoch(9), false, false).unwrap().number, Epoch(10));
        let mut overtaken = standby();
        overtaken.raise(Epoch(1), false, false).unwrap();
        assert_eq!(
            overtaken.hear(Epoch(5), Some(&"mail-c".into()), Role::Primary),
            Heard::Raised
        );
        assert_eq!(overtaken.raise(Epoch(5), false, false).unwrap().number, Epoch(6));
    }

    #[test]
    fn a_primary_that_yields_writes_no_more_and_its_mail_server_stays_shut() {
        let mut a = primary();
        let next = EpochId {
            number: Epoch(2),
            node: B.into(),
        };
        a.yield_to(next.clone(), fork());
        let again = restarted(&a);
        assert!(!again.may_write() && !again.may_serve());
        assert_eq!(again.epoch(), &next);
    }
}
