//! The store as a mirror: a Dovecot that takes what it is told, and nothing that does not follow, ends with what the
//! store shows.

use super::bodies::{body_name, hash_of};
use super::model::run_and_look;
use super::model::steps::step;
use super::*;
use crate::store::dovecot::dsync::{Delta, MailboxDelta, Message, NodeMailbox, Outcome, Owner, Report, State};
use crate::store::embedded::mirror::{Mirror, Telling};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A running Dovecot, as far as what it is told goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Dovecot {
    mailboxes: BTreeMap<Guid, Told>,
    names: BTreeMap<MailboxName, Guid>,
    subscribed: BTreeSet<MailboxName>,
    own: BTreeMap<(u8, String), Vec<u8>>,
    /// Messages and mailboxes that it was told, counted.
    costs: (usize, usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    state: State,
    messages: BTreeMap<Uid, Message>,
    attributes: BTreeMap<(u8, String), Vec<u8>>,
}

impl Dovecot {
    fn hear(&mut self, delta: &Delta) -> Report {
        self.tree(delta);
        let outcome = |mailbox: &MailboxDelta| (mailbox.guid, self.mailbox(mailbox));
        Report {
            tree: true,
            mailboxes: delta.mailboxes.iter().map(outcome).collect(),
            complaints: Vec::new(),
        }
    }

    fn tree(&mut self, delta: &Delta) {
        let named = delta
            .tree
            .iter()
            .filter_map(|node| Some((node.name.clone(), node.mailbox?)));
        let named: BTreeMap<MailboxName, NodeMailbox> = named.collect();
        let known: BTreeMap<Guid, NodeMailbox> = named.values().map(|node| (node.guid, *node)).collect();
        assert_eq!(known.len(), named.len(), "one mailbox has two names");
        for (guid, told) in &self.mailboxes {
            let stays = known
                .get(guid)
                .is_some_and(|node| node.uid_validity == told.state.uid_validity);
            let acknowledged = delta.acknowledged.get(guid).map(|state| state.uid_validity);
            assert!(
                stays || acknowledged == Some(told.state.uid_validity),
                "deleted although it was never told"
            );
        }
        self.mailboxes.retain(|guid, told| {
            known
                .get(guid)
                .is_some_and(|n| n.uid_validity == told.state.uid_validity)
        });
        for node in known.values() {
            assert_ne!(node.uid_validity, UidValidity(0));
            let made = self.mailboxes.entry(node.guid).or_default();
            made.state.uid_validity = node.uid_validity;
        }
        self.names = named.into_iter().map(|(name, node)| (name, node.guid)).collect();
        let subscribed = delta
            .tree
            .iter()
            .filter(|node| node.subscribed)
            .map(|node| node.name.clone());
        self.subscribed = subscribed.collect();
    }

    fn mailbox(&mut self, delta: &MailboxDelta) -> Outcome {
        self.costs.0 += delta.changed.len();
        self.costs.1 += 1;
        let told = self
            .mailboxes
            .get_mut(&delta.guid)
            .expect("told of a mailbox that is not in the tree");
        let vanished = |uid: &Uid| delta.vanished.iter().any(|range| range.contains(*uid));
        assert!(
            delta.changed.is_sorted_by(|a, b| a.uid < b.uid) && delta.changed.iter().all(|m| m.uid < delta.uid_next)
        );
        assert!(
            delta.vanished.is_sorted_by(|a, b| a.last < b.first),
            "{:?}",
            delta.vanished
        );
        assert!(delta.changed.iter().all(|m| !vanished(&m.uid)));
        match delta.since {
            Some(since) if since != told.state => return Outcome::Stale("another state".to_owned()),
            Some(since) => {
                told.messages.retain(|uid, _| !vanished(uid));
                for message in &delta.changed {
                    let before = told.messages.insert(message.uid, message.clone());
                    let same = before.as_ref().map(|before| &before.guid) == Some(&message.guid);
                    assert!(
                        same || message.uid > since.uid,
                        "a change of a message that is not there"
                    );
                }
            }
            None => {
                let listed: BTreeSet<Uid> = delta.changed.iter().map(|message| message.uid).collect();
                let foreign = told.messages.keys().find(|uid| !listed.contains(uid) && !vanished(uid));
                assert_eq!(foreign, None, "a message would be foreign: {delta:?}");
                told.messages = delta
                    .changed
                    .iter()
                    .map(|message| (message.uid, message.clone()))
                    .collect();
            }
        }
        assert_eq!(told.messages.len(), delta.messages as usize, "{delta:?}");
        for attribute in &delta.attributes {
            let scope = match attribute.owner {
                Owner::Mailbox => &mut told.attributes,
                Owner::User => &mut self.own,
            };
            let key = (u8::from(attribute.kind), attribute.entry.clone());
            match &attribute.value {
                Some(value) => drop(scope.insert(key, value.clone())),
                None => drop(scope.remove(&key)),
            }
        }
        told.state = State {
            uid_validity: delta.uid_validity,
            uid: Uid(delta.uid_next.0 - 1),
            modseq: delta.highest_modseq.max(Modseq(1)),
            messages: delta.messages,
            ..State::default()
        };
        Outcome::Acknowledged(told.state)
    }
}

impl Copy {
    fn mirror(&mut self) -> Mirror {
        self.store().mirror().unwrap()
    }

    /// Tells all there is, and says of how many mailboxes and messages something had to be told.
    fn tell(&mut self, dovecot: &mut Dovecot) -> (usize, usize) {
        let mirror = self.mirror();
        dovecot.costs = (0, 0);
        for round in 0.. {
            let Some(telling) = mirror.telling(&USER.into()).unwrap() else {
                break;
            };
            assert!(round < 4, "it has never told enough: {telling:?}");
            let report = dovecot.hear(&telling.delta);
            mirror.acknowledge(&telling, &report).unwrap();
            let stale = report
                .mailboxes
                .iter()
                .filter(|(_, outcome)| matches!(outcome, Outcome::Stale(_)));
            let stale: Vec<Guid> = stale.map(|(guid, _)| *guid).collect();
            mirror.forget(&USER.into(), &stale).unwrap();
        }
        (dovecot.costs.1, dovecot.costs.0)
    }

    /// What a client of this store and one of the Dovecot see is the same.
    fn equals(&mut self, dovecot: &Dovecot) {
        let view = std::sync::Arc::clone(&self.store().view);
        let user = UserName::from(USER);
        let tree = view.tree(&user).unwrap();
        let rows = tree.rows.iter().filter_map(|row| Some((row.name.clone(), row.guid?)));
        let listed = |(name, _): &(MailboxName, Guid)| {
            let row = view.mailbox(&user, name).unwrap();
            row.is_some_and(|row| row.uidvalidity != UidValidity(0))
        };
        let rows: BTreeMap<MailboxName, Guid> = rows.filter(listed).collect();
        assert_eq!(rows, dovecot.names);
        if !rows.is_empty() {
            assert_eq!(
                tree.subscribed.iter().cloned().collect::<BTreeSet<_>>(),
                dovecot.subscribed
            );
        }
        for (name, guid) in rows {
            let row = view.mailbox(&user, &name).unwrap().unwrap();
            let (listing, told) = (view.listing(row.key).unwrap().unwrap(), &dovecot.mailboxes[&guid]);
            let mut shown = Vec::new();
            let uids: Vec<Uid> = listing.uids().to_vec();
            view.visit(
                row.key,
                &uids,
                crate::store::embedded::view::Depth::Detail,
                &mut |detail, _| {
                    shown.push((detail.uid, detail.guid.clone(), detail.body_pending));
                    true
                },
            )
            .unwrap();
            shown.retain(|(_, guid, pending)| !pending && !guid.is_unknown());
            let there: Vec<_> = told.messages.values().map(|m| (m.uid, m.guid.clone(), false)).collect();
            assert_eq!(shown, there, "in {name}");
            assert_eq!(row.uidnext.0.max(1) - 1, told.state.uid.0);
            for mark in listing.iter() {
                let Some(message) = told.messages.get(&mark.uid) else {
                    continue;
                };
                assert_eq!(
                    (mark.flags, mark.keywords),
                    (message.flags, message.keywords.as_slice())
                );
            }
        }
    }

    /// Bodies of the messages that the steps append, but for two GUIDs.
    fn store_bodies(&mut self, numbers: impl IntoIterator<Item = u8>) {
        for number in numbers {
            let octets = [b'a' + number; 5];
            let name = body_name(9, u32::from(number) + 1, &format!("g{number}"), Some(5));
            self.store().bodies.put(&name, &octets, &hash_of(&octets)).unwrap();
        }
        self.store().bodies.commit().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_told_at_any_times_gives_what_the_store_shows(
        steps in proptest::collection::vec(step(), 1..25),
        times in any::<u32>(),
        lost in any::<u32>(),
        late in 1_usize..20,
    ) {
        let mut dovecot = Dovecot::default();
        let bit = |bits: u32, number: usize| bits >> (number % 32) & 1 == 1;
        let (mut copy, _) = run_and_look(&steps, |copy, number| {
            match number {
                0 => copy.store_bodies(0..6),
                number if number == late => copy.store_bodies(6..8),
                _ => {}
            }
            if bit(times, number) {
                if bit(lost, number) {
                    // it was told, and its word was lost: the same is told again
                    if let Some(telling) = copy.mirror().telling(&USER.into()).unwrap() {
                        let before = dovecot.clone();
                        dovecot.hear(&telling.delta);
                        if telling.more {
                            dovecot = before;
                        }
                    }
                }
                copy.tell(&mut dovecot);
                copy.equals(&dovecot);
            }
        });
        copy.tell(&mut dovecot);
        copy.equals(&dovecot);
        prop_assert_eq!(copy.tell(&mut dovecot), (0, 0), "told twice");
    }
}

/// Two mailboxes with a hundred messages each, all told.
fn told() -> (Copy, Dovecot) {
    let mut copy = Copy::new();
    copy.apply(&[tree(vec![named(1, 1), named(2, 2)])]);
    for number in 0..101_u32 {
        let name = body_name(1, number + 1, &format!("m{number}"), Some(5));
        copy.store().bodies.put(&name, b"12345", &hash_of(b"12345")).unwrap();
    }
    copy.store().bodies.commit().unwrap();
    let messages = || {
        (0..100)
            .map(|number| message(number + 1, &format!("m{number}")))
            .collect()
    };
    for mailbox in [1, 2] {
        let mut list = state(mailbox, 1, Lineage::Initial, messages());
        if let Payload::State(list) = &mut list {
            list.highest_modseq = Modseq(100);
        }
        copy.apply(&[list]);
    }
    let mut dovecot = Dovecot::default();
    assert_eq!(copy.tell(&mut dovecot), (2, 200));
    copy.equals(&dovecot);
    (copy, dovecot)
}

fn at(modseq: u64, mut payload: Payload) -> Payload {
    if let Payload::Mailbox(txn) = &mut payload {
        txn.highest_modseq = Modseq(modseq);
    }
    payload
}

#[test]
fn a_change_costs_what_the_change_costs() {
    let (mut copy, mut dovecot) = told();
    let flags = Op::Flags(FlagChange {
        uids: ranges(&[3, 4]),
        add: Flags::SEEN,
        remove: Flags::NONE,
        modseq: Modseq(101),
    });
    copy.apply(&[at(101, txn(1, vec![flags]))]);
    assert_eq!(copy.tell(&mut dovecot), (1, 2));
    let gone = Op::Expunge(Expunge {
        uids: ranges(&[1, 2, 50]),
        requested: true,
        modseq: Modseq(102),
    });
    copy.apply(&[at(102, txn(2, vec![gone]))]);
    assert_eq!(copy.tell(&mut dovecot), (1, 0));
    let arrives = Op::Append(Append {
        modseq: Modseq(103),
        ..message(101, "m100")
    });
    copy.apply(&[at(103, txn(2, vec![arrives]))]);
    assert_eq!(copy.tell(&mut dovecot), (1, 1));
    copy.apply(&[tree(vec![named(1, 3)])]);
    assert_eq!(copy.tell(&mut dovecot), (0, 0), "a new name costs no messages");
    copy.equals(&dovecot);
    copy.reopen();
    assert_eq!(copy.tell(&mut dovecot), (0, 0), "a restart tells nothing again");
}

fn ranges(uids: &[u32]) -> Vec<UidRange> {
    uids.iter().map(|uid| UidRange::one(Uid(*uid))).collect()
}

#[test]
fn a_leap_is_told_before_its_messages_are_lifted() {
    let (mut copy, mut dovecot) = told();
    let start = EpochStart {
        epoch: Epoch(2),
        node: "b".into(),
        previous: Epoch(1),
        fork_lsn: Lsn(copy.lsn),
        fork_hash: copy.chain,
        leap: Some(Leap::over(0)),
    };
    copy.apply(&[Payload::Epoch(start)]);
    let telling = copy.mirror().telling(&USER.into()).unwrap().unwrap();
    let told: usize = telling
        .delta
        .mailboxes
        .iter()
        .map(|mailbox| mailbox.changed.len())
        .sum();
    assert!(telling.lifts && told == 0, "the numbers first");
    let report = dovecot.hear(&telling.delta);
    copy.mirror().acknowledge(&telling, &report).unwrap();
    let telling = copy.mirror().telling(&USER.into()).unwrap().unwrap();
    let lifted = telling.delta.mailboxes.iter().flat_map(|mailbox| &mailbox.changed);
    let lifted: Vec<Modseq> = lifted.map(|message| message.modseq).collect();
    assert!(!telling.lifts && lifted.len() > 1);
    assert!(lifted.iter().all(|modseq| modseq.0 >= Leap::MODSEQS), "{lifted:?}");
    copy.tell(&mut dovecot);
    copy.equals(&dovecot);
    assert!(copy.mirror().telling(&USER.into()).unwrap().is_none(), "lifted once");
    let state = dovecot.mailboxes[&id(1).guid].state;
    assert_eq!(
        (state.uid, state.modseq),
        (Uid(100 + Leap::UIDS_MIN), Modseq(100 + Leap::MODSEQS))
    );
}

#[test]
fn a_message_whose_body_comes_late_is_told_late() {
    let (mut copy, mut dovecot) = told();
    let arrives = |uid: u32, guid: &str| {
        Op::Append(Append {
            modseq: Modseq(u64::from(uid)),
            ..message(uid, guid)
        })
    };
    copy.apply(&[at(102, txn(1, vec![arrives(101, "late"), arrives(102, "m5")]))]);
    assert_eq!(copy.tell(&mut dovecot), (1, 1));
    assert!(!dovecot.mailboxes[&id(1).guid].messages.contains_key(&Uid(101)));
    assert!(copy.mirror().telling(&USER.into()).unwrap().is_none());
    let name = body_name(1, 101, "late", Some(5));
    copy.store().bodies.put(&name, b"54321", &hash_of(b"54321")).unwrap();
    copy.store().bodies.commit().unwrap();
    copy.tell(&mut dovecot);
    assert!(dovecot.mailboxes[&id(1).guid].messages.contains_key(&Uid(101)));
    copy.equals(&dovecot);
}

#[test]
fn whose_mail_changed_is_known_and_nobody_elses() {
    let (mut copy, _) = told();
    let mirror = copy.mirror();
    let whose = |mirror: &Mirror| mirror.stirred().unwrap().users.len();
    whose(&mirror);
    assert_eq!(whose(&mirror), 0);
    copy.apply(&[txn(1, vec![append(101, "m100")])]);
    assert_eq!(mirror.stirred().unwrap().users, [UserName::from(USER)]);
    assert_eq!(
        (whose(&mirror), mirror.stirred().unwrap().applied.lsn),
        (0, Lsn(copy.lsn))
    );
    let mut subscribes = TreeChange {
        user: "other".into(),
        ..TreeChange::default()
    };
    subscribes.subscriptions.push((MailboxName::inbox(), true));
    copy.apply(&[Payload::Tree(subscribes)]);
    assert_eq!(mirror.stirred().unwrap().users, [UserName::from("other")]);
    let attributes = AttributesChange::complete(
        USER.into(),
        AttributeScope {
            mailbox: None,
            kind: AttributeKind::Sieve,
        },
        [("active".to_owned(), AttributeValue::of(b"x"))].into(),
    );
    copy.apply(&[Payload::Attributes(attributes)]);
    assert_eq!(mirror.stirred().unwrap().users, [UserName::from(USER)]);
    copy.apply(&[Payload::TreeDigest(TreeDigest::empty(USER.into()))]);
    assert_eq!(whose(&mirror), 0, "a comparison changes nothing");
}

#[test]
fn what_was_told_of_another_stream_says_nothing() {
    let (mut copy, _) = told();
    let mirror = copy.mirror();
    mirror.note_told(StreamId([1; 16]), Lsn(3)).unwrap();
    assert_eq!(mirror.told(StreamId([1; 16])).unwrap(), Lsn(3));
    assert_eq!(mirror.told(StreamId([2; 16])).unwrap(), Lsn(0));
    mirror.forget_all().unwrap();
    assert_eq!(mirror.told(StreamId([1; 16])).unwrap(), Lsn(0));
    let telling: Telling = mirror.telling(&USER.into()).unwrap().unwrap();
    assert!(telling.delta.mailboxes.iter().all(|mailbox| mailbox.since.is_none()));
}
