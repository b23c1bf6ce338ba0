//! Random histories that part, and come together again: nothing of a tail is lost or doubled.

use super::merging::{ANN, Parted};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Deed {
    Append(usize, u8),
    Flags(usize, (u8, u8), u8),
    Expunge(usize, (u8, u8)),
    Move(usize, (u8, u8), usize, bool),
    Create(usize),
    Rename(usize, usize),
}

const NAMES: [&[&str]; 5] = [&["INBOX"], &["a"], &["a", "b"], &["c"], &["d"]];

fn deeds(most: usize) -> impl Strategy<Value = Vec<Deed>> {
    let mailbox = || 0..NAMES.len();
    let range = || (1..6u8, 1..6u8);
    let deed = prop_oneof![
        5 => (mailbox(), 1..4u8).prop_map(|(m, n)| Deed::Append(m, n)),
        3 => (mailbox(), range(), 0..32u8).prop_map(|(m, r, f)| Deed::Flags(m, r, f)),
        2 => (mailbox(), range()).prop_map(|(m, r)| Deed::Expunge(m, r)),
        3 => (mailbox(), range(), mailbox(), any::<bool>()).prop_map(|(m, r, to, moved)| Deed::Move(m, r, to, moved)),
        2 => mailbox().prop_map(Deed::Create),
        1 => (mailbox(), mailbox()).prop_map(|(from, to)| Deed::Rename(from, to)),
    ];
    prop::collection::vec(deed, 0..most)
}

/// Does what can be done.
fn perform(primary: &mut Primary, deeds: &[Deed], side: &str, count: &mut u32) {
    for deed in deeds {
        let called = |number: usize| name(NAMES[number]);
        let id = |primary: &Primary, number: usize| {
            let row = primary.store().view.mailbox(&ANN.into(), &called(number)).unwrap();
            row.map(|_| primary.id(ANN, &called(number)))
        };
        let range = |(a, b): (u8, u8)| UidRange {
            first: Uid(u32::from(a.min(b))),
            last: Uid(u32::from(a.max(b))),
        };
        let outcome = match *deed {
            Deed::Append(mailbox, messages) => {
                let texts: Vec<String> = (0..messages)
                    .map(|_| {
                        *count += 1;
                        format!("Subject: {side} {count}\r\n\r\n")
                    })
                    .collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                Some(append(ANN, &called(mailbox), &texts))
            }
            Deed::Flags(mailbox, uids, flags) => id(primary, mailbox)
                .map(|id| store(&id, &[range(uids)], FlagVerb::Replace, Flags::from_bits(flags), &[])),
            Deed::Expunge(mailbox, uids) => id(primary, mailbox).map(|mailbox| {
                primary.done(store(&mailbox, &[range(uids)], FlagVerb::Add, Flags::DELETED, &[]));
                Change::Expunge {
                    mailbox,
                    uids: Some(vec![range(uids)]),
                }
            }),
            Deed::Move(mailbox, uids, into, moved) => id(primary, mailbox).map(|mailbox| Change::Copy {
                mailbox,
                uids: vec![range(uids)],
                into: called(into),
                moved,
            }),
            Deed::Create(mailbox) => Some(create(ANN, &called(mailbox))),
            Deed::Rename(from, to) => Some(Change::Rename {
                user: ANN.into(),
                from: called(from),
                to: called(to),
            }),
        };
        if let Some(change) = outcome {
            drop(primary.change(change));
        }
    }
}

/// GUIDs of all messages, each with the mailboxes' GUIDs that have it.
fn holdings(primary: &Primary) -> BTreeMap<String, Vec<Guid>> {
    let mut found: BTreeMap<String, Vec<Guid>> = BTreeMap::new();
    let tree = primary.store().view.tree(&ANN.into()).unwrap();
    for row in tree.rows {
        if let Some(guid) = row.guid {
            for message in primary.messages(ANN, &row.name) {
                found.entry(message.detail.guid.0.clone()).or_default().push(guid);
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_a_tail_is_lost_or_doubled_wherever_its_merge_is_cut(
        common in deeds(12), tail in deeds(12), meanwhile in deeds(10), cut in 0..12usize,
    ) {
        let (mut old, mut count) = (Primary::new(), 0);
        perform(&mut old, &common, "common", &mut count);
        let common: BTreeSet<String> = holdings(&old).into_keys().collect();
        let mut parted = Parted::here(old);
        perform(&mut parted.old, &tail, "tail", &mut count);
        perform(&mut parted.new, &meanwhile, "new", &mut count);
        let before = holdings(&parted.new);
        if let Some(item) = parted.net().items().get(cut) {
            for item in parted.net().items().iter().take(cut) {
                parted.bring(item).unwrap();
            }
            parted.new.tape.fate = Fate::PowerCut;
            drop(parted.bring(item));
            parted.new.tape.fate = Fate::Done;
            parted.new.reopen();
        }
        parted.merge();
        let (theirs, after) = (holdings(&parted.old), holdings(&parted.new));
        for (guid, places) in theirs.iter().filter(|(guid, _)| !common.contains(*guid)) {
            let merged = after.get(guid).map_or(0, Vec::len);
            let distinct: BTreeSet<&Guid> = places.iter().collect();
            prop_assert!(merged >= 1 && merged <= places.len(), "{guid}: {merged} of {}", distinct.len());
        }
        for (guid, places) in &before {
            let now = after.get(guid).map_or(0, Vec::len);
            prop_assert!(now >= 1, "{guid} was in {} mailboxes of the new primary", places.len());
        }
        let end = parted.new.tape.last();
        parted.merge();
        prop_assert_eq!(parted.new.tape.last(), end, "merged again");
    }
}
