//! The bytes in `schema/golden/` are what this format version is: nobody changes them by chance. Each `.bin` is a
//! frame, the `.txt` beside it says what is in it. A new format version adds files; `MAILSHADOW_WRITE_GOLDEN=1`
//! writes those that are missing.

use crate::codec::{open, seal};
use crate::op::*;
use std::path::PathBuf;

fn mailbox() -> MailboxId {
    MailboxId {
        user: "anna@example.org".into(),
        guid: Guid(std::array::from_fn(|at| u8::try_from(at).unwrap())),
    }
}

fn position() -> SourcePosition {
    SourcePosition {
        index_id: 1_700_000_000,
        file_seq: 3,
        create_stamp: 1_700_000_100,
        offset: 4_520,
        modseq: Modseq(77),
        uidvalidity: UidValidity(1_700_000_001),
        uidnext: Uid(12),
        fingerprint: [1, 2, 3, 4, 5, 6, 7, 8],
        rebuild_count: 2,
        repaired: false,
        unattested: true,
        open_requests: vec![UidRange::one(Uid(9))],
    }
}

fn message() -> Append {
    Append {
        uid: Uid(11),
        guid: "1700000002.M1P2.host".into(),
        size: Some(1234),
        internal_date: 1_700_000_002,
        save_date: Some(-1),
        flags: Flags::SEEN.changed(Flags::DRAFT, Flags::NONE),
        keywords: vec!["$Forwarded".into(), "größe".into()],
        modseq: Modseq(76),
    }
}

fn of_dbox(mut txn: MailboxTxn) -> MailboxTxn {
    let guid = "3a1f2c00d4e5b6a7c8d9e0f1a2b3c4d5".into();
    txn.ops = vec![Op::Append(Append { guid, ..message() })];
    txn
}

fn operations() -> Vec<Op> {
    let uids = vec![
        UidRange {
            first: Uid(2),
            last: Uid(5),
        },
        UidRange::one(Uid(300)),
    ];
    let keywords = |verb, keyword: &str| {
        Op::Keywords(KeywordChange {
            uids: uids.clone(),
            verb,
            keyword: keyword.into(),
            modseq: Modseq(75),
        })
    };
    vec![
        Op::Append(message()),
        Op::Append(Append {
            guid: "".into(),
            size: None,
            internal_date: 0,
            save_date: None,
            ..message()
        }),
        Op::Flags(FlagChange {
            uids: uids.clone(),
            add: Flags::FLAGGED,
            remove: Flags::DELETED,
            modseq: Modseq(70),
        }),
        keywords(KeywordVerb::Add, "work"),
        keywords(KeywordVerb::Remove, "work"),
        keywords(KeywordVerb::Replace, "work"),
        keywords(KeywordVerb::Reset, ""),
        Op::Expunge(Expunge {
            uids,
            requested: true,
            modseq: Modseq(77),
        }),
    ]
}

fn tree() -> TreeChange {
    let mailbox = |guid: u8, name, special_use: Option<&str>| TreeMailbox {
        guid: Guid([guid; 16]),
        name,
        special_use: special_use.map(str::to_owned),
    };
    TreeChange {
        user: "anna@example.org".into(),
        complete: true,
        namespaces: Some(Namespaces {
            separator: '.',
            prefixes: vec!["INBOX.".to_owned(), "Archive.".to_owned()],
        }),
        mailboxes: vec![
            mailbox(1, Ok(MailboxName::inbox()), None),
            mailbox(2, Ok(MailboxName::of(["Gesendet", "ältere"])), Some("Sent")),
            mailbox(3, Err(Disappearance::Genuine), None),
            mailbox(4, Err(Disappearance::Attested), None),
            mailbox(5, Err(Disappearance::Inferred), None),
        ],
        unselectable: vec![
            (MailboxName::of(["Gesendet"]), Some(Unselectable::Noselect)),
            (MailboxName::of(["old"]), None),
            (MailboxName::of(["stale"]), Some(stale(6, false))),
            (MailboxName::of(["stale", "too"]), Some(stale(7, true))),
        ],
        subscriptions: vec![(MailboxName::inbox(), true), (MailboxName::of(["gone", "long"]), false)],
    }
}

fn stale(guid: u8, nonexistent_code: bool) -> Unselectable {
    Unselectable::Stale(Stale {
        guid: Guid([guid; 16]),
        nonexistent_code,
    })
}

fn state(lineage: Lineage) -> Payload {
    Payload::State(StateChunk {
        mailbox: mailbox(),
        uidvalidity: UidValidity(1_700_000_001),
        lineage,
        messages: vec![
            Append {
                uid: Uid(4),
                ..message()
            },
            message(),
        ],
        uidnext: Uid(12),
        highest_modseq: Modseq(77),
        position: position(),
    })
}

fn digests() -> (MailboxDigest, TreeDigest) {
    let mut digest = MailboxDigest::empty(mailbox(), UidValidity(1_700_000_001), Uid(12), Modseq(77));
    digest.add(&message());
    digest.request = 5;
    digest.bodies = Some(digest::Sum(u128::MAX - 1));
    let mut tree = TreeDigest::empty("anna@example.org".into());
    tree.add(b'm', &[1; 16], &MailboxName::inbox());
    tree.attributes = vec![(AttributeKind::Acl, digest::Sum(7))];
    (digest, tree)
}

fn attributes() -> AttributesChange {
    let long = AttributeValue::of(&[b'x'; crate::limits::VALUE_HERE_BYTES_MAX + 1]);
    AttributesChange {
        user: mailbox().user,
        scope: AttributeScope {
            mailbox: Some(mailbox().guid),
            kind: AttributeKind::Metadata,
        },
        complete: true,
        entries: vec![
            (
                "/private/comment".to_owned(),
                Some(AttributeValue::of("grün\n".as_bytes())),
            ),
            ("/shared/comment".to_owned(), None),
            ("/shared/vendor/x".to_owned(), Some(long)),
        ],
        fingerprint: AttributeFingerprint([8, 7, 6, 5, 4, 3, 2, 1]),
        holders: None,
    }
}

fn attributes_of_user() -> AttributesChange {
    let scope = AttributeScope {
        mailbox: None,
        kind: AttributeKind::Sieve,
    };
    let active = ("active".to_owned(), AttributeValue::of(b"main"));
    AttributesChange {
        holders: Some(vec![mailbox().guid]),
        ..AttributesChange::complete(mailbox().user, scope, [active].into())
    }
}

fn merged() -> Merged {
    Merged {
        stream: StreamId([0xcd; 16]),
        epoch: Epoch(1),
        mailbox: mailbox(),
        uidvalidity: UidValidity(1_700_000_001),
        appended: vec![(Uid(11), message().guid), (Uid(12), "".into())],
        expunged: vec![UidRange::one(Uid(4))],
    }
}

fn payloads() -> Vec<(&'static str, Payload)> {
    let epoch = EpochStart {
        epoch: Epoch(2),
        node: "mail-b".into(),
        previous: Epoch(1),
        fork_lsn: Lsn(41),
        fork_hash: ChainHash([7; 32]),
        leap: Some(Leap::over(70_000)),
    };
    let txn = MailboxTxn {
        mailbox: mailbox(),
        uidvalidity: UidValidity(1_700_000_001),
        ops: operations(),
        uidnext: Uid(12),
        highest_modseq: Modseq(77),
        position: position(),
    };
    let (digest, tree_digest) = digests();
    let untracked = MailboxDigest {
        modseqs: None,
        bodies: None,
        ..digest.clone()
    };
    vec![
        ("epoch", Payload::Epoch(epoch)),
        (
            "base",
            Payload::Base(BaseStart {
                reason: "new peer".to_owned(),
            }),
        ),
        ("base-end", Payload::BaseEnd(Lsn(40))),
        ("mailbox", Payload::Mailbox(txn.clone())),
        ("mailbox-of-dbox", Payload::Mailbox(of_dbox(txn.clone()))),
        ("floor", Payload::Mailbox(MailboxTxn { ops: Vec::new(), ..txn })),
        ("state-initial", state(Lineage::Initial)),
        ("state-whole", state(Lineage::Whole)),
        ("state-broken", state(Lineage::Broken)),
        ("state-believed", state(Lineage::Believed)),
        ("tree", Payload::Tree(tree())),
        ("digest", Payload::Digest(digest)),
        ("digest-without-modseqs", Payload::Digest(untracked)),
        ("tree-digest", Payload::TreeDigest(tree_digest)),
        ("attributes", Payload::Attributes(attributes())),
        ("attributes-of-user", Payload::Attributes(attributes_of_user())),
        ("merged", Payload::Merged(merged())),
    ]
}

fn frames() -> Vec<(String, FrameHeader, Payload)> {
    let header = FrameHeader {
        stream: StreamId([0xab; 16]),
        epoch: Epoch(2),
        lsn: Lsn(42),
        previous: ChainHash([7; 32]),
        captured_ms: 1_700_000_003_456,
        run: None,
        peer: None,
    };
    let alone = |(name, payload)| (format!("frame-{name}"), header.clone(), payload);
    let mut frames: Vec<_> = payloads().into_iter().map(alone).collect();
    let in_run = FrameHeader {
        run: Some(Run {
            first: Lsn(41),
            part: 1,
            parts: 3,
        }),
        peer: Some("mail-c".into()),
        ..header
    };
    frames.push(("frame-in-run".to_owned(), in_run, Payload::Tree(tree())));
    frames
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("schema/golden")
        .join(file)
}

#[test]
fn frames_have_the_bytes_that_they_always_had() {
    for (name, header, payload) in frames() {
        let sealed = seal(&header, &payload).unwrap();
        let (bin, txt) = (path(&format!("{name}.bin")), path(&format!("{name}.txt")));
        let shown = format!("chain {}\n{header:#?}\n{payload:#?}\n", sealed.chain);
        if std::env::var_os("MAILSHADOW_WRITE_GOLDEN").is_some() && !bin.exists() {
            std::fs::write(&bin, &sealed.bytes).unwrap();
            std::fs::write(&txt, &shown).unwrap();
        }
        let bytes = std::fs::read(&bin).unwrap();
        assert_eq!(&*sealed.bytes, &*bytes, "{name}: written differently");
        assert_eq!(
            open(&bytes).unwrap(),
            (header, sealed.chain, payload),
            "{name}: read differently"
        );
        assert_eq!(
            std::fs::read_to_string(&txt).unwrap(),
            shown,
            "{name}: its description is another one"
        );
    }
}
