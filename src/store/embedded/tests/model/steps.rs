//! What may happen to a copy, by lot.

use super::MAILBOXES;
use crate::op::Lineage;
use proptest::prelude::*;

/// A step is made into payloads by what the model has at that moment, so that most steps are sensible.
#[derive(Clone, Debug)]
pub(in crate::store::embedded::tests) enum Step {
    Transaction {
        mailbox: u8,
        foreign: bool,
        ops: Vec<Deed>,
    },
    Move {
        from: u8,
        to: u8,
        which: u8,
    },
    State {
        mailbox: u8,
        lineage: Lineage,
        drop: u16,
        touch: u16,
        add: Vec<u8>,
        renumber: bool,
        answers: u16,
        odd: u8,
    },
    Tree {
        complete: bool,
        entries: Vec<(u8, u8)>,
        names: Vec<(u8, bool)>,
    },
    Attributes {
        of: u8,
        kind: u8,
        complete: bool,
        entries: Vec<(u8, u8)>,
    },
    /// A promotion, with a leap or without.
    Epoch {
        leap: bool,
    },
    Reopen,
}

#[derive(Clone, Debug)]
pub(in crate::store::embedded::tests) enum Deed {
    Append { guid: u8, skip: i8, keyword: u8 },
    Flags { range: (u8, u8), add: u8, remove: u8 },
    Keywords { range: (u8, u8), verb: u8, keyword: u8 },
    Expunge { range: (u8, u8), requested: bool },
}

fn deed() -> impl Strategy<Value = Deed> {
    let range = (0u8..12, 0u8..4).prop_map(|(first, more)| (first, first + more));
    prop_oneof![
        4 => (0u8..8, -1i8..6, 0u8..6).prop_map(|(guid, skip, keyword)| Deed::Append { guid, skip, keyword }),
        2 => (range.clone(), 0u8..32, 0u8..32).prop_map(|(range, add, remove)| Deed::Flags { range, add, remove }),
        2 => (range.clone(), 0u8..4, 0u8..6).prop_map(|(range, verb, keyword)| Deed::Keywords { range, verb, keyword }),
        2 => (range, any::<bool>()).prop_map(|(range, requested)| Deed::Expunge { range, requested }),
    ]
}

fn state_step() -> impl Strategy<Value = Step> {
    let lineage = prop_oneof![1 => Just(Lineage::Initial), 3 => Just(Lineage::Whole), 1 => Just(Lineage::Broken)];
    let few = prop_oneof![3 => Just(0u16), 1 => any::<u16>()];
    let add = proptest::collection::vec(0u8..8, 0..3);
    let odd = prop_oneof![8 => Just(0u8), 1 => 1u8..6];
    (
        0..MAILBOXES,
        lineage,
        few.clone(),
        few,
        add,
        any::<bool>(),
        any::<u16>(),
        odd,
    )
        .prop_map(|(mailbox, lineage, drop, touch, add, renumber, answers, odd)| {
            let renumber = renumber && odd == 0 && drop < 0x4000;
            Step::State {
                mailbox,
                lineage,
                drop,
                touch,
                add,
                renumber,
                answers,
                odd,
            }
        })
}

pub(in crate::store::embedded::tests) fn step() -> impl Strategy<Value = Step> {
    let deeds = proptest::collection::vec(deed(), 0..5);
    let foreign = prop_oneof![15 => Just(false), 1 => Just(true)];
    let entries = proptest::collection::vec((0..MAILBOXES, 0u8..7), 0..4);
    let names = proptest::collection::vec((0u8..4, any::<bool>()), 0..3);
    let complete = prop_oneof![4 => Just(false), 1 => Just(true)];
    let transaction = (0..MAILBOXES, foreign, deeds);
    prop_oneof![
        8 => transaction.prop_map(|(mailbox, foreign, ops)| Step::Transaction { mailbox, foreign, ops }),
        2 => (0..MAILBOXES, 0..MAILBOXES, any::<u8>()).prop_map(|(from, to, which)| Step::Move { from, to, which }),
        5 => state_step(),
        3 => (complete, entries, names).prop_map(|(complete, entries, names)| Step::Tree { complete, entries, names }),
        2 => attributes_step(),
        1 => any::<bool>().prop_map(|leap| Step::Epoch { leap }),
        1 => Just(Step::Reopen),
    ]
}

fn attributes_step() -> impl Strategy<Value = Step> {
    let entries = proptest::collection::vec((0u8..4, 0u8..4), 0..4);
    (0..=MAILBOXES, 0u8..3, any::<bool>(), entries).prop_map(|(of, kind, complete, entries)| Step::Attributes {
        of,
        kind,
        complete,
        entries,
    })
}
