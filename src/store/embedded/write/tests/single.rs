//! What a random history meets too seldom.

use super::*;

const ANN: &str = "ann";

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

fn reason(outcome: Outcome) -> Reason {
    outcome.unwrap_err().reason
}

#[test]
fn changes_of_one_batch_see_each_other_and_a_refusal_undoes_only_itself() {
    let mut primary = Primary::new();
    let a = name(&["a"]);
    let changes = [
        create(ANN, &a),
        append(ANN, &a, &["one", "two"]),
        append(ANN, &name(&["b"]), &["lost"]),
        append(ANN, &a, &["three"]),
    ];
    let Batch::Made(outcomes) = primary.batch(&changes) else {
        panic!("not made")
    };
    let refused: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, false, true, false]);
    assert_eq!(primary.uids(ANN, &a), [1, 2, 3]);
}

#[test]
fn a_batch_that_meets_a_full_disk_leaves_nothing_and_its_uids_are_given_again() {
    let mut primary = Primary::new();
    primary.done(append(ANN, &inbox(), &["one"]));
    primary.tape.fate = Fate::Full;
    let full = primary.batch(&[append(ANN, &inbox(), &["two"]), create(ANN, &name(&["a"]))]);
    assert!(matches!(full, Batch::Undone(TargetError::Retry(_))), "{full:?}");
    assert_eq!(primary.uids(ANN, &inbox()), [1]);
    primary.done(append(ANN, &inbox(), &["another two"]));
    let octets: Vec<_> = primary
        .messages(ANN, &inbox())
        .into_iter()
        .map(|message| message.octets.unwrap())
        .collect();
    assert_eq!(octets, [b"one".to_vec(), b"another two".to_vec()]);
    primary.reopen();
    assert_eq!(
        primary.messages(ANN, &inbox())[1].octets.as_deref(),
        Some(&b"another two"[..])
    );
}

#[test]
fn a_copy_keeps_guid_and_dates_and_stores_no_body_twice() {
    let mut primary = Primary::new();
    let (a, packs) = (name(&["a"]), primary.dir.path().join("packs/0001.pack"));
    primary.done(create(ANN, &a));
    primary.done(append(ANN, &inbox(), &[&"x".repeat(10_000)]));
    let before = std::fs::metadata(&packs).unwrap().len();
    let mailbox = primary.id(ANN, &inbox());
    let copy = |moved| Change::Copy {
        mailbox: mailbox.clone(),
        uids: vec![UidRange::ALL],
        into: a.clone(),
        moved,
    };
    primary.tape.now_ms += 5_000;
    primary.done(copy(false));
    primary.done(copy(true));
    assert_eq!(
        std::fs::metadata(&packs).unwrap().len(),
        before,
        "a body was stored again"
    );
    let copies = primary.messages(ANN, &a);
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0].detail.guid, copies[1].detail.guid);
    assert_eq!(copies[0].detail.internal_date, 1_700_000_000);
    assert_eq!(
        copies[0].detail.save_date,
        Some(i64::try_from(BEGIN_MS / 1000 + 5).unwrap())
    );
    assert!(primary.uids(ANN, &inbox()).is_empty());
    let Some(Payload::Mailbox(last)) = primary
        .tape
        .durable
        .last()
        .and_then(|run| Some(run.last()?.payload.clone()))
    else {
        panic!("no transaction")
    };
    assert!(
        matches!(&last.ops[..], [Op::Expunge(expunge)] if expunge.requested),
        "the append goes first, and the expunge is genuine"
    );
}

/// As a Dovecot's maildir has it: the size was never told, and the GUID is a file's name.
fn replicated(primary: &mut Primary, guid: &str, octets: &[u8]) -> MailboxId {
    let mailbox = MailboxId {
        user: ANN.into(),
        guid: Guid([5; 16]),
    };
    let payloads = [
        Payload::Tree(TreeChange {
            user: ANN.into(),
            namespaces: Some(Namespaces {
                separator: '.',
                prefixes: vec!["INBOX.".to_owned()],
            }),
            mailboxes: vec![TreeMailbox {
                guid: mailbox.guid,
                name: Ok(inbox()),
                special_use: None,
            }],
            ..TreeChange::default()
        }),
        Payload::State(StateChunk {
            mailbox: mailbox.clone(),
            uidvalidity: UidValidity(7),
            messages: vec![Append {
                uid: Uid(3),
                guid: guid.into(),
                size: None,
                internal_date: 1_600_000_000,
                save_date: None,
                flags: Flags::SEEN,
                keywords: Vec::new(),
                modseq: Modseq(4),
            }],
            uidnext: Uid(4),
            highest_modseq: Modseq(4),
            ..StateChunk::default()
        }),
    ];
    let body = BodyName {
        place: BodyPlace {
            mailbox: mailbox.clone(),
            uidvalidity: UidValidity(7),
            uid: Uid(3),
        },
        guid: guid.into(),
        size: None,
    };
    let bodies = &primary.store().bodies;
    bodies
        .put(&body, octets, &BodyHash(*blake3::hash(octets).as_bytes()))
        .unwrap();
    bodies.commit().unwrap();
    let frames = primary.tape.seal(&payloads).unwrap();
    primary.tape.commit().unwrap();
    primary.open.as_mut().unwrap().1.replay(&[frames]).unwrap();
    mailbox
}

#[test]
fn a_message_whose_size_the_source_never_told_is_copied_with_its_body() {
    for guid in ["1600000000.M1P2.host", ""] {
        let mut primary = Primary::new();
        let mailbox = replicated(&mut primary, guid, b"octets");
        let a = name(&["INBOX", "a"]);
        primary.done(create(ANN, &a));
        primary.done(Change::Copy {
            mailbox,
            uids: vec![UidRange::ALL],
            into: a.clone(),
            moved: true,
        });
        // Also where the database lost its last commit.
        for _ in 0..2 {
            let copied = primary.messages(ANN, &a);
            assert_eq!(copied[0].octets.as_deref(), Some(&b"octets"[..]), "GUID {guid:?}");
            assert_eq!(copied[0].detail.size, Some(6));
            assert!(!copied[0].detail.guid.is_unknown());
            primary.reopen();
        }
    }
}

#[test]
fn a_maildirs_namespace_stays_as_the_source_had_it() {
    let mut primary = Primary::new();
    replicated(&mut primary, "g", b"octets");
    assert_eq!(reason(primary.change(create(ANN, &name(&["a"])))), Reason::Cannot);
    assert_eq!(
        reason(primary.change(create(ANN, &name(&["INBOX", "a.b"])))),
        Reason::Cannot
    );
    primary.done(create(ANN, &name(&["INBOX", "a", "b"])));
    let tree = primary.store().view.tree(&ANN.into()).unwrap();
    assert_eq!(tree.namespaces.prefixes, ["INBOX."]);
    // Whoever is new here has names like everybody.
    primary.done(append("bob", &inbox(), &["hello"]));
    assert_eq!(
        primary
            .store()
            .view
            .namespaces(&"bob".into())
            .unwrap()
            .unwrap()
            .separator,
        '.'
    );
}

#[test]
fn inbox_is_no_free_name_for_somebody_who_never_got_mail() {
    let mut primary = Primary::new();
    let (a, b) = (name(&["a"]), name(&["a", "b"]));
    primary.done(create(ANN, &b));
    for from in [a, b] {
        let rename = Change::Rename {
            user: ANN.into(),
            from,
            to: inbox(),
        };
        assert_eq!(reason(primary.change(rename)), Reason::AlreadyExists);
    }
    primary.done(append(ANN, &inbox(), &["x"]));
    assert_eq!(primary.uids(ANN, &inbox()), [1]);
}

#[test]
fn a_mailbox_of_a_name_that_was_used_before_has_another_uidvalidity() {
    let mut primary = Primary::new();
    let a = name(&["a"]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        primary.done(create(ANN, &a));
        primary.done(append(ANN, &a, &["x"]));
        let row = primary.store().view.mailbox(&ANN.into(), &a).unwrap().unwrap();
        seen.push(row.uidvalidity);
        primary.reopen();
        primary.done(Change::Delete {
            user: ANN.into(),
            name: a.clone(),
        });
    }
    assert!(seen.is_sorted_by(|earlier, later| earlier < later), "{seen:?}");
}

#[test]
fn a_mailbox_without_uids_left_refuses_and_is_not_held() {
    let mut primary = Primary::new();
    primary.done(append(ANN, &inbox(), &["x"]));
    let mailbox = primary.id(ANN, &inbox());
    let uidvalidity = primary
        .store()
        .view
        .mailbox(&ANN.into(), &inbox())
        .unwrap()
        .unwrap()
        .uidvalidity;
    let floor = Payload::Mailbox(MailboxTxn {
        mailbox,
        uidvalidity,
        ops: Vec::new(),
        uidnext: Uid(u32::MAX - 1),
        highest_modseq: Modseq(9),
        position: SourcePosition::default(),
    });
    let frames = primary.tape.seal(&[floor]).unwrap();
    primary.tape.commit().unwrap();
    primary.open.as_mut().unwrap().1.replay(&[frames]).unwrap();
    assert_eq!(
        reason(primary.change(append(ANN, &inbox(), &["y", "z"]))),
        Reason::Limit
    );
    primary.done(append(ANN, &inbox(), &["y"]));
    assert_eq!(primary.uids(ANN, &inbox()), [1, u32::MAX - 1]);
    assert_eq!(reason(primary.change(append(ANN, &inbox(), &["z"]))), Reason::Limit);
}

#[test]
fn a_keyword_is_known_in_any_case_and_keywords_are_bounded() {
    let mut primary = Primary::new();
    primary.done(append(ANN, &inbox(), &["x"]));
    let mailbox = primary.id(ANN, &inbox());
    primary.done(store(&mailbox, &[UidRange::ALL], FlagVerb::Add, Flags::NONE, &["Work"]));
    let frames = primary.tape.durable.len();
    primary.done(store(
        &mailbox,
        &[UidRange::ALL],
        FlagVerb::Replace,
        Flags::NONE,
        &["WORK", "work"],
    ));
    assert_eq!(primary.tape.durable.len(), frames);
    let many: Vec<String> = (0..crate::limits::MAILBOX_KEYWORDS_MAX)
        .map(|n| format!("k{n}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = primary.change(store(&mailbox, &[UidRange::ALL], FlagVerb::Add, Flags::NONE, &many));
    assert_eq!(reason(refused), Reason::Limit);
}

#[test]
fn what_a_peer_asks_for_is_found_also_after_its_message_has_left() {
    let mut primary = Primary::new();
    primary.done(append(ANN, &inbox(), &["wanted"]));
    let mailbox = primary.id(ANN, &inbox());
    let row = primary.store().view.mailbox(&ANN.into(), &inbox()).unwrap().unwrap();
    let guid = primary.messages(ANN, &inbox())[0].detail.guid.clone();
    let place = BodyPlace {
        mailbox: mailbox.clone(),
        uidvalidity: row.uidvalidity,
        uid: Uid(1),
    };
    let asked = [(Uid(1), guid.clone()), (Uid(9), "other".into())];
    let origin = primary.store().origin();
    let read = |size| match origin.read(std::slice::from_ref(&place), &guid, size) {
        crate::store::source::BodyAnswer::Body(octets) => Some(octets),
        crate::store::source::BodyAnswer::Missing(missing) => {
            assert!(missing.gone);
            None
        }
    };
    assert_eq!(read(Some(6)).as_deref(), Some(&b"wanted"[..]));
    assert_eq!(read(Some(7)), None);
    assert_eq!(origin.gone(&mailbox, row.uidvalidity, &asked), [Uid(9)]);
    primary.done(store(&mailbox, &[UidRange::ALL], FlagVerb::Add, Flags::DELETED, &[]));
    primary.done(Change::Expunge {
        mailbox: mailbox.clone(),
        uids: None,
    });
    assert_eq!(read(Some(6)).as_deref(), Some(&b"wanted"[..]));
    assert_eq!(origin.gone(&mailbox, row.uidvalidity, &asked), [Uid(1), Uid(9)]);
}
