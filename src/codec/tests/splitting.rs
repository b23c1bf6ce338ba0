//! What doesn't fit one frame.

use crate::codec::{CodecError, payload, split::encode_all};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::op::*;

fn mailbox() -> MailboxId {
    MailboxId {
        user: "u".into(),
        guid: Guid([1; 16]),
    }
}

fn message(uid: u32) -> Append {
    Append {
        uid: Uid(uid),
        guid: MessageGuid(format!("{uid:0>100}")),
        size: Some(5),
        internal_date: 6,
        save_date: None,
        flags: Flags::SEEN,
        keywords: vec!["k".into()],
        modseq: Modseq(8),
    }
}

fn state(messages: Vec<Append>) -> StateChunk {
    StateChunk {
        mailbox: mailbox(),
        uidvalidity: UidValidity(1),
        lineage: Lineage::Whole,
        messages,
        uidnext: Uid(1_000_000),
        highest_modseq: Modseq(9),
        position: SourcePosition {
            offset: 40,
            ..SourcePosition::default()
        },
    }
}

fn txn(ops: Vec<Op>) -> MailboxTxn {
    MailboxTxn {
        mailbox: mailbox(),
        uidvalidity: UidValidity(1),
        ops,
        uidnext: Uid(1_000_000),
        highest_modseq: Modseq(9),
        position: SourcePosition {
            offset: 40,
            ..SourcePosition::default()
        },
    }
}

/// Encodes, checks that every part fits, and decodes.
fn through(payloads: &[Payload]) -> Vec<Payload> {
    let encoded = encode_all(payloads).unwrap();
    assert!(encoded.iter().all(|part| part.bytes.len() <= PAYLOAD_BYTES_MAX));
    encoded
        .iter()
        .map(|part| payload::decode(part.kind, &part.bytes).unwrap())
        .collect()
}

#[test]
fn what_fits_is_not_split() {
    let small = [Payload::State(state(vec![message(1)])), Payload::Mailbox(txn(vec![]))];
    assert_eq!(through(&small), small);
}

#[test]
fn a_long_list_comes_together_again() {
    let long = [Payload::State(state((1..30_000).map(message).collect()))];
    let parts = through(&long);
    assert!((4..8).contains(&parts.len()), "{} parts", parts.len());
    assert_eq!(whole(parts), long);
}

#[test]
fn a_long_transaction_keeps_its_order() {
    let ops = (1..30_000).map(|uid| Op::Append(message(uid))).collect();
    let long = [Payload::Mailbox(txn(ops))];
    let parts = through(&long);
    assert!(parts.len() > 3);
    assert_eq!(whole(parts), long);
}

#[test]
fn one_operation_on_very_many_ranges_is_divided() {
    let uids: Vec<UidRange> = (1..400_000).map(|n| UidRange::one(Uid(n * 10_000 + 70_000))).collect();
    let parts = through(&[Payload::Mailbox(txn(vec![Op::Expunge(Expunge {
        uids: uids.clone(),
        requested: true,
        modseq: Modseq(4),
    })]))]);
    let mut seen = Vec::new();
    for part in parts {
        let Payload::Mailbox(part) = part else {
            panic!("another payload")
        };
        for op in part.ops {
            let Op::Expunge(Expunge {
                uids,
                requested: true,
                modseq: Modseq(4),
            }) = op
            else {
                panic!("another op")
            };
            seen.extend(uids);
        }
    }
    assert_eq!(seen, uids);
}

#[test]
fn only_the_last_part_of_a_complete_tree_is_complete() {
    let name = |n: u32| MailboxName::of([format!("{n:0>200}")]);
    let tree = TreeChange {
        user: "u".into(),
        complete: true,
        mailboxes: (0..9000u32)
            .map(|n| TreeMailbox {
                guid: Guid([3; 16]),
                name: Ok(name(n)),
                special_use: None,
            })
            .collect(),
        namespaces: Some(Namespaces::default()),
        unselectable: vec![(name(1), Some(Unselectable::Noselect))],
        subscriptions: (0..6000).map(|n| (name(n), true)).collect(),
    };
    let parts = through(&[Payload::Tree(tree.clone())]);
    let complete: Vec<bool> = parts
        .iter()
        .map(|part| matches!(part, Payload::Tree(TreeChange { complete: true, .. })))
        .collect();
    assert!(complete.len() > 3 && complete.iter().filter(|complete| **complete).count() == 1);
    assert_eq!(complete.last(), Some(&true));
    assert_eq!(whole(parts), [Payload::Tree(tree)]);
}

fn attributes(complete: bool, entries: u32) -> Payload {
    let value = |n: u32| AttributeValue::Here(vec![u8::try_from(n % 7).unwrap(); 4000]);
    Payload::Attributes(AttributesChange {
        user: "u".into(),
        scope: AttributeScope {
            mailbox: None,
            kind: AttributeKind::Sieve,
        },
        complete,
        entries: (0..entries).map(|n| (format!("{n}"), Some(value(n)))).collect(),
        fingerprint: AttributeFingerprint([1; 8]),
        holders: None,
    })
}

#[test]
fn only_the_last_part_of_complete_attributes_is_complete() {
    let long = attributes(true, 900);
    let parts = through(std::slice::from_ref(&long));
    assert_eq!(parts.len(), 4);
    let (last, before) = parts.split_last().unwrap();
    assert!(matches!(last, Payload::Attributes(change) if change.complete));
    assert!(
        before
            .iter()
            .all(|part| matches!(part, Payload::Attributes(change) if !change.complete))
    );
    assert_eq!(whole(parts), [long]);
}

#[test]
fn neighbours_that_would_be_taken_for_parts_are_refused() {
    let tree = |complete| {
        Payload::Tree(TreeChange {
            user: "u".into(),
            complete,
            ..TreeChange::default()
        })
    };
    let list = |uids: &[u32]| Payload::State(state(uids.iter().copied().map(message).collect()));
    assert!(encode_all(&[tree(false), tree(true)]).is_err());
    assert!(encode_all(&[tree(true), tree(false)]).is_err());
    assert!(encode_all(&[tree(false), tree(false)]).is_ok());
    assert!(encode_all(&[attributes(false, 1), attributes(true, 1)]).is_err());
    assert!(encode_all(&[attributes(false, 1), attributes(false, 1)]).is_ok());
    assert!(encode_all(&[list(&[1, 5]), list(&[5, 6])]).is_err());
    assert!(encode_all(&[list(&[1, 5]), list(&[6])]).is_ok());
}

#[test]
fn what_can_not_be_split_is_an_error() {
    let keywords = (0..400).map(|n| Keyword(format!("{n:0>4000}"))).collect();
    let huge = Append { keywords, ..message(1) };
    let error = encode_all(&[Payload::Mailbox(txn(vec![Op::Append(huge.clone())]))]).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { .. }), "{error}");
    assert!(encode_all(&[Payload::State(state(vec![huge]))]).is_err());
}
