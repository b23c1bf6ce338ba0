//! The table is a fold: what a restart reads back must be what a running source has.

use super::*;
use crate::op::{MailboxTxn, Modseq, StateChunk, TreeMailbox, Uid, UidValidity};

fn tree(user: u8, guid: u8, name: &str) -> Payload {
    let mailbox = TreeMailbox {
        guid: Guid([guid; 16]),
        name: Ok(MailboxName::of([name])),
        special_use: guid.is_multiple_of(3).then(|| "Sent".to_owned()),
    };
    Payload::Tree(TreeChange {
        user: UserName(format!("user{user}")),
        namespaces: user.is_multiple_of(2).then(|| Namespaces {
            separator: char::from(b'!' + guid),
            prefixes: vec![String::new(), format!("{name}!")],
        }),
        mailboxes: vec![mailbox],
        unselectable: vec![
            (MailboxName::of([name, "n"]), Some(Unselectable::Noselect)),
            (MailboxName::of([name, "o"]), Some(stale(guid, false))),
            (MailboxName::of([name, "p"]), Some(stale(guid, true))),
            (
                MailboxName::of([name, "q"]),
                guid.is_multiple_of(2).then(|| stale(guid, true)),
            ),
        ],
        subscriptions: vec![(MailboxName::of(["s", name]), true)],
        ..TreeChange::default()
    })
}

fn stale(guid: u8, nonexistent_code: bool) -> Unselectable {
    Unselectable::Stale(Stale {
        guid: Guid([guid; 16]),
        nonexistent_code,
    })
}

fn floor(user: u8, guid: u8, offset: u64) -> Payload {
    Payload::Mailbox(MailboxTxn {
        mailbox: MailboxId {
            user: UserName(format!("user{user}")),
            guid: Guid([guid; 16]),
        },
        uidvalidity: UidValidity(1),
        ops: Vec::new(),
        uidnext: Uid(1),
        highest_modseq: Modseq(1),
        position: SourcePosition {
            offset,
            ..SourcePosition::default()
        },
    })
}

fn attributes(user: u8, guid: u8, name: &str) -> Payload {
    let scope = AttributeScope {
        mailbox: (!guid.is_multiple_of(5)).then_some(Guid([guid; 16])),
        kind: AttributeKind::Acl,
    };
    let value = crate::op::AttributeValue::of(name.as_bytes());
    let entries = if name == "b" && guid.is_multiple_of(2) {
        crate::op::Attributes::new()
    } else {
        [(name.to_owned(), value)].into()
    };
    Payload::Attributes(crate::op::AttributesChange::complete(
        UserName(format!("user{user}")),
        scope,
        entries,
    ))
}

fn read_back(table: &CaptureTable) -> CaptureTable {
    let parts: Vec<Vec<u8>> = table.parts().collect::<Result<_, _>>().unwrap();
    assert!(parts.iter().all(|part| part.len() <= TABLE_PART_BYTES_MAX));
    CaptureTable::from_parts(parts.iter().map(Vec::as_slice)).unwrap()
}

#[test]
fn a_checkpoint_and_the_frames_after_it_give_the_same_table() {
    let payloads: Vec<Payload> = (0..40u8)
        .flat_map(|n| {
            let (user, offset) = (n % 7, u64::from(n));
            [
                tree(user, n, "a"),
                attributes(user, n, "a"),
                floor(user, n, offset),
                tree(user, n, "b"),
                attributes(user, n, "b"),
            ]
        })
        .collect();
    let mut table = CaptureTable::default();
    for cut in 0..payloads.len() {
        let mut restarted = read_back(&table);
        payloads.iter().skip(cut).for_each(|payload| restarted.apply(payload));
        let mut straight = table.clone();
        payloads.iter().skip(cut).for_each(|payload| straight.apply(payload));
        assert_eq!(restarted, straight);
        table.apply(&payloads[cut]);
    }
    assert_eq!(table.mailboxes(), 40);
}

#[test]
fn a_repair_is_remembered_until_a_whole_list() {
    let id = MailboxId {
        user: UserName("user1".to_owned()),
        guid: Guid([1; 16]),
    };
    let list = |lineage| {
        Payload::State(StateChunk {
            mailbox: id.clone(),
            lineage,
            ..StateChunk::default()
        })
    };
    let mut table = CaptureTable::default();
    table.apply(&tree(1, 1, "a"));
    for (lineage, expected) in [
        (Lineage::Initial, false),
        (Lineage::Broken, true),
        (Lineage::Broken, true),
        (Lineage::Whole, false),
    ] {
        table.apply(&list(lineage));
        let after = read_back(&table).mailbox(&id).map(|row| row.after_repair);
        assert_eq!(after, Some(expected), "{lineage:?}");
    }
}

#[test]
fn many_mailboxes_make_bounded_parts() {
    let mut table = CaptureTable::default();
    for n in 0..20_000u32 {
        let mut guid = [0; 16];
        guid[..4].copy_from_slice(&n.to_le_bytes());
        let row = MailboxRow {
            name: MailboxName::of(["a".repeat(60)]),
            special_use: None,
            position: Some(SourcePosition {
                index_id: u32::MAX,
                offset: 1 << 40,
                ..SourcePosition::default()
            }),
            after_repair: false,
        };
        let user = table
            .users
            .entry(UserName(format!("user{}@example.test", n % 100)))
            .or_default();
        user.mailboxes.insert(Guid(guid), row);
        table.mailboxes += 1;
    }
    assert!(table.parts().count() > 1);
    assert_eq!(read_back(&table), table);
}

#[test]
fn a_part_of_another_version_is_refused() {
    assert!(matches!(
        CaptureTable::from_parts([&[9, 1][..]]),
        Err(TableError::Version(9))
    ));
    assert!(matches!(
        CaptureTable::from_parts([&[1, 1][..]]),
        Err(TableError::Bytes(_))
    ));
}
