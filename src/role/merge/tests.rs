//! What a tail leaves behind, and what becomes of it.

use super::*;
use crate::op::{
    Append, Disappearance, Expunge, FlagChange, Flags, Guid, Lineage, MailboxId, MailboxName, MailboxTxn, Modseq, Op,
    Payload, SourcePosition, StateChunk, TreeChange, TreeMailbox, Uid, UidRange, UidValidity,
};
use proptest::prelude::*;

fn mailbox(guid: u8) -> MailboxId {
    MailboxId {
        user: "ann".into(),
        guid: Guid([guid; 16]),
    }
}

fn message(uid: u32, guid: &str) -> Append {
    Append {
        uid: Uid(uid),
        guid: guid.into(),
        size: Some(10),
        internal_date: 1,
        save_date: None,
        flags: Flags::NONE,
        keywords: Vec::new(),
        modseq: Modseq(u64::from(uid) + 100),
    }
}

fn range(first: u32, last: u32) -> UidRange {
    UidRange {
        first: Uid(first),
        last: Uid(last),
    }
}

fn txn(guid: u8, ops: Vec<Op>) -> Payload {
    Payload::Mailbox(MailboxTxn {
        mailbox: mailbox(guid),
        uidvalidity: UidValidity(7),
        ops,
        uidnext: Uid(0),
        highest_modseq: Modseq(0),
        position: SourcePosition::default(),
    })
}

fn flags(uids: UidRange) -> Op {
    Op::Flags(FlagChange {
        uids: vec![uids],
        add: Flags::SEEN,
        remove: Flags::NONE,
        modseq: Modseq(200),
    })
}

fn expunged(uids: UidRange) -> Op {
    Op::Expunge(Expunge {
        uids: vec![uids],
        requested: true,
        modseq: Modseq(201),
    })
}

fn made(guid: u8, name: &str) -> [Payload; 2] {
    let tree = TreeChange {
        user: "ann".into(),
        mailboxes: vec![TreeMailbox {
            guid: Guid([guid; 16]),
            name: Ok(MailboxName::of([name])),
            special_use: None,
        }],
        ..TreeChange::default()
    };
    let list = StateChunk {
        mailbox: mailbox(guid),
        uidvalidity: UidValidity(7),
        ..StateChunk::default()
    };
    [Payload::Tree(tree), Payload::State(list)]
}

fn gone(guid: u8) -> Payload {
    Payload::Tree(TreeChange {
        user: "ann".into(),
        mailboxes: vec![TreeMailbox {
            guid: Guid([guid; 16]),
            name: Err(Disappearance::Genuine),
            special_use: None,
        }],
        ..TreeChange::default()
    })
}

fn items(payloads: &[Payload]) -> Vec<Item> {
    let mut net = Net::default();
    payloads.iter().for_each(|payload| net.fold(payload));
    net.items()
}

fn ops(item: &Item) -> &[Op] {
    match &item.payload {
        Payload::Mailbox(txn) => &txn.ops,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_that_came_and_went_within_the_tail_is_nobodys_loss() {
    let came = txn(
        1,
        vec![Op::Append(message(5, "g")), flags(range(1, 9)), expunged(range(5, 5))],
    );
    let items = items(&[came]);
    let [changes] = items.as_slice() else {
        panic!("{items:?}")
    };
    let [Op::Flags(change)] = ops(changes) else {
        panic!("{changes:?}")
    };
    // UIDs from the tail's first one on may be other messages at the new primary
    assert_eq!(change.uids, [range(1, 4)]);
    assert_eq!(changes.before, Modseq(105));
}

#[test]
fn flags_that_a_message_of_the_tail_got_come_with_it_and_all_arrives_before_anything_leaves() {
    let items = items(&[
        txn(1, vec![Op::Append(message(5, "g"))]),
        txn(1, vec![flags(range(1, 9)), expunged(range(2, 3))]),
        txn(2, vec![Op::Append(message(8, "h"))]),
    ]);
    let kinds: Vec<_> = items.iter().map(|item| (&ops(item)[0], ops(item).len())).collect();
    assert!(matches!(kinds[0].0, Op::Append(append) if append.flags == Flags::SEEN));
    assert!(matches!(kinds[1].0, Op::Flags(change) if change.uids == [range(1, 1), range(4, 4)]));
    assert!(matches!(kinds[2].0, Op::Append(append) if append.guid == "h".into()));
    assert!(matches!(kinds[3].0, Op::Expunge(expunge) if expunge.uids == [range(2, 3)]));
    assert_eq!(kinds.len(), 4);
}

#[test]
fn a_mailbox_that_came_and_went_within_the_tail_is_not_made() {
    let [tree, list] = made(3, "new");
    let filled = txn(3, vec![Op::Append(message(1, "g"))]);
    let stays = items(&[tree.clone(), list.clone(), filled.clone()]);
    assert!(stays[0].created && stays.len() == 2, "{stays:?}");
    assert_eq!(stays[1].name, Some(MailboxName::of(["new"])));
    assert_eq!(items(&[tree, list, filled, gone(3)]), []);
    let [older] = <[Item; 1]>::try_from(items(&[gone(4)])).unwrap();
    assert!(matches!(older.payload, Payload::Tree(_)) && !older.created);
}

#[test]
fn a_complete_tree_renames_nothing_that_was_there_before() {
    let [Payload::Tree(mut tree), list] = made(3, "new") else {
        panic!()
    };
    tree.complete = true;
    assert_eq!(items(&[Payload::Tree(tree.clone())]), []);
    let items = items(&[Payload::Tree(tree), list]);
    assert!(items[0].created && items.len() == 1, "{items:?}");
}

#[test]
fn messages_that_a_list_alone_names_are_not_taken_for_new_ones() {
    let list = Payload::State(StateChunk {
        mailbox: mailbox(1),
        uidvalidity: UidValidity(7),
        lineage: Lineage::Whole,
        messages: vec![message(1, "a"), message(5, "g")],
        ..StateChunk::default()
    });
    let items = items(&[txn(1, vec![Op::Append(message(5, "g"))]), list]);
    let Payload::State(listed) = &items[0].payload else {
        panic!("{items:?}")
    };
    assert_eq!(listed.messages, [message(1, "a")]);
    assert_eq!(ops(&items[1]), [Op::Append(message(5, "g"))]);
    let (known, listed) = (Known::default(), true);
    let expunged = Known {
        listed,
        expunged: true,
        ..known
    };
    assert_eq!(arrival(expunged, Octets::Unasked), Arrival::Nothing(Settled::Deleted));
    let in_place = Known {
        listed,
        in_place: true,
        ..known
    };
    assert_eq!(arrival(in_place, Octets::Unasked), Arrival::Nothing(Settled::Known));
    // an append under a UID that the new primary gave to another message, and expunged
    let reused = Known {
        expunged: true,
        ..known
    };
    assert_eq!(arrival(reused, Octets::Here { arrived: false }), Arrival::New);
}

#[test]
fn what_an_operator_should_see_is_not_done_by_itself() {
    let before = Modseq(10);
    assert_eq!(expunge(Some(Modseq(9)), before, false, false), ExpungeFate::Quarantined);
    assert_eq!(expunge(Some(Modseq(9)), before, true, false), ExpungeFate::Moved);
    assert_eq!(expunge(Some(Modseq(10)), before, true, false), ExpungeFate::Quarantined);
    assert_eq!(expunge(Some(Modseq(9)), before, true, true), ExpungeFate::Gone);
    assert_eq!(expunge(None, before, true, false), ExpungeFate::Gone);
    assert_eq!(change(Some(Modseq(10)), before), ChangeFate::Kept);
}

proptest! {
    /// What is not lost is here: no message ends without octets, an owner, or a word that it is lost.
    #[test]
    fn every_message_is_asked_for_appended_or_settled_and_settled_ones_stay_so(
        facts in prop::array::uniform6(any::<bool>()), octets in 0..4u8,
    ) {
        let [settled, listed, in_place, expunged, in_mailbox, owned] = facts;
        let known = Known { settled, listed, in_place, expunged, in_mailbox, owned };
        let octets = [Octets::Unasked, Octets::Gone, Octets::Here { arrived: false }, Octets::Here { arrived: true }]
            [usize::from(octets)];
        let fate = arrival(known, octets);
        if settled {
            prop_assert_eq!(fate, Arrival::Nothing(Settled::Known));
        }
        match fate {
            Arrival::Nothing(Settled::Lost) => prop_assert!(octets == Octets::Gone && !owned),
            Arrival::Ask => prop_assert!(octets == Octets::Unasked && !owned),
            Arrival::New => prop_assert!(octets == Octets::Here { arrived: false }, "{:?}", octets),
            Arrival::Copied => prop_assert!(owned),
            Arrival::Nothing(_) => {}
        }
    }

    #[test]
    fn a_change_touches_exactly_what_was_not_expunged(
        changed in (1..30u32, 0..30u32), cuts in prop::collection::vec((1..40u32, 0..9u32), 0..4), first in 1..60u32,
    ) {
        let changed = range(changed.0, changed.0 + changed.1);
        let cuts: Vec<UidRange> = cuts.into_iter().map(|(at, long)| range(at, at + long)).collect();
        let mut all = vec![Op::Append(message(first, "g")), flags(changed)];
        all.extend(cuts.iter().map(|cut| expunged(*cut)));
        let mut touched = Vec::new();
        for item in items(&[txn(1, all)]) {
            for op in ops(&item) {
                if let Op::Flags(change) = op {
                    touched.extend(change.uids.iter().flat_map(|range| range.first.0..=range.last.0));
                }
            }
        }
        let expected: Vec<u32> = (changed.first.0..=changed.last.0)
            .filter(|uid| *uid < first && !cuts.iter().any(|cut| cut.contains(Uid(*uid))))
            .collect();
        prop_assert_eq!(touched, expected);
    }
}
