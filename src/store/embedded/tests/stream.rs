//! The stream's order, and flows over several transactions.

use super::*;

fn base(reason: &str) -> Payload {
    Payload::Base(BaseStart { reason: reason.into() })
}

#[test]
fn a_frame_that_does_not_follow_changes_nothing() {
    let mut copy = two_mailboxes();
    let applied = copy.store().target.applied();
    let good = copy.frames(&[txn(1, vec![append(1, "a")])]);
    let spoil: [fn(&mut Frame); 5] = [
        |frame| frame.header.lsn = Lsn(frame.header.lsn.0 + 1),
        |frame| frame.header.lsn = Lsn(frame.header.lsn.0 - 1),
        |frame| frame.header.previous = ChainHash([7; 32]),
        |frame| frame.header.stream = StreamId([9; 16]),
        |frame| frame.header.epoch = Epoch(0),
    ];
    for spoil in spoil {
        let mut bad = good.clone();
        spoil(&mut bad[0]);
        let refused = copy.store().target.apply(&[bad], &Vec::new());
        assert!(matches!(refused, Err(TargetError::Broken(_))), "{refused:?}");
        assert_eq!(copy.store().target.applied(), applied);
        assert_eq!(copy.uids(1), [0; 0]);
    }
    // The second of two transactions is refused: nothing of the first one stays either.
    let mut next = copy.frames(&[txn(1, vec![append(2, "b")])]);
    next[0].header.previous = ChainHash([7; 32]);
    assert!(copy.store().target.apply(&[good.clone(), next], &Vec::new()).is_err());
    assert_eq!(copy.uids(1), [0; 0]);
    copy.store().target.apply(&[good], &Vec::new()).unwrap();
    assert_eq!(copy.uids(1), [1]);
}

#[test]
fn the_place_in_the_stream_survives_a_restart() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a")])]);
    let applied = copy.store().target.applied();
    assert_eq!(
        (applied.lsn, applied.chain, applied.epoch),
        (Lsn(copy.lsn), copy.chain, Epoch(1))
    );
    copy.reopen();
    assert_eq!(copy.store().target.applied(), applied);
}

#[test]
fn frames_for_another_peer_move_the_place_and_nothing_else() {
    let mut copy = two_mailboxes();
    let mut frames = copy.frames(&[txn(1, vec![append(1, "a")])]);
    frames[0].header.peer = Some("mail-c".into());
    copy.store().target.apply(&[frames], &Vec::new()).unwrap();
    assert_eq!(copy.uids(1), [0; 0]);
    assert_eq!(copy.store().target.applied().lsn, Lsn(copy.lsn));
    let mut frames = copy.frames(&[txn(1, vec![append(1, "a")])]);
    frames[0].header.peer = Some("mail-b".into());
    copy.store().target.apply(&[frames], &Vec::new()).unwrap();
    assert_eq!(copy.uids(1), [1]);
}

#[test]
fn a_base_joins_in_the_middle_and_its_end_ends_the_building() {
    let mut copy = Copy::new();
    copy.lsn = 40;
    copy.chain = ChainHash([4; 32]);
    let frames = copy.frames(&[tree(vec![named(1, 1)])]);
    assert!(
        copy.store().target.apply(&[frames], &Vec::new()).is_err(),
        "only a base may be joined at"
    );
    let begin = copy.frames(&[base("new standby")]);
    copy.store().target.apply(&[begin], &Vec::new()).unwrap();
    assert!(copy.store().target.counts().unwrap().building);
    copy.reopen();
    assert!(copy.store().target.counts().unwrap().building);
    copy.apply(&[tree(vec![named(1, 1)])]);
    copy.apply(&[state(1, 1, Lineage::Initial, vec![message(3, "a")])]);
    copy.apply(&[Payload::BaseEnd(Lsn(42))]);
    assert!(!copy.store().target.counts().unwrap().building);
    assert_eq!(copy.uids(1), [3]);
}

#[test]
fn a_state_in_parts_is_one_list() {
    let mut copy = two_mailboxes();
    let part = |uids: std::ops::Range<u32>| {
        state(
            1,
            1,
            Lineage::Whole,
            uids.map(|uid| message(uid, &format!("g{uid}"))).collect(),
        )
    };
    copy.apply(&[part(1..4), part(4..7), part(7..9)]);
    assert_eq!(copy.uids(1), (1..9).collect::<Vec<_>>());
    assert_eq!(copy.store().target.counts().unwrap().quarantined, 0);
}

#[test]
fn a_held_mailbox_keeps_what_it_shows_over_a_restart_until_a_good_list_comes() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a")])]);
    copy.apply(&[txn(1, vec![append(1, "b")])]);
    copy.apply(&[txn(1, vec![append(2, "c"), expunge(1, true)])]);
    let held = copy.store().target.counts().unwrap();
    assert_eq!((held.held_mailboxes, held.quarantined), (1, 1));
    copy.reopen();
    assert_eq!(copy.uids(1), [1]);
    assert_eq!(copy.query("SELECT count(*) || '' FROM diverted"), ["2"]);
    copy.apply(&[txn(2, vec![append(1, "z")])]);
    assert_eq!(copy.uids(2), [1], "everything else goes on");
    copy.apply(&[state(1, 1, Lineage::Whole, vec![message(1, "a"), message(2, "c")])]);
    let counts = copy.store().target.counts().unwrap();
    assert_eq!(
        (copy.uids(1), counts.held_mailboxes, counts.quarantined),
        (vec![1, 2], 0, 0)
    );
    assert_eq!(copy.query("SELECT count(*) || '' FROM diverted"), ["0"]);
}

#[test]
fn what_was_retained_goes_after_its_time_and_not_before() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a"), expunge(1, true)])]);
    let retained = |copy: &Copy| copy.query("SELECT guid FROM retained");
    let hour_ms = 3_600_000;
    copy.store().upkeep.run(1_000).unwrap();
    copy.store().upkeep.run(1_000 + hour_ms).unwrap();
    assert_eq!(retained(&copy), ["a"]);
    copy.store().upkeep.run(1_001 + hour_ms).unwrap();
    assert_eq!(retained(&copy), [""; 0]);
}

/// Guarantee 11: nothing that a lost tail may have used is given out again, and no cache stays wrong.
#[test]
fn what_a_lost_tail_may_have_used_is_left_out_when_an_epoch_begins() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a"), append(2, "b")])]);
    let row = |copy: &mut Copy| copy.store().view.mailbox(&USER.into(), &name(1)).unwrap().unwrap();
    let before = row(&mut copy);
    let start = EpochStart {
        epoch: Epoch(2),
        node: "mail-b".into(),
        previous: Epoch(1),
        fork_lsn: Lsn(copy.lsn),
        fork_hash: copy.chain,
        leap: Some(Leap::over(60_000)),
    };
    copy.apply(&[Payload::Epoch(start)]);
    let after = row(&mut copy);
    assert_eq!(after.uidnext.0, before.uidnext.0 + 120_000);
    assert_eq!(after.highest_modseq.0, before.highest_modseq.0 + (1 << 32));
    assert_eq!(after.expunged_since, after.highest_modseq);
    let listing = copy.store().view.listing(after.key).unwrap().unwrap();
    assert!(listing.iter().all(|mark| mark.modseq == after.highest_modseq));
    let later = Modseq(after.highest_modseq.0 + 1);
    let flags = Op::Flags(FlagChange {
        uids: vec![UidRange::one(Uid(1))],
        add: Flags::SEEN,
        remove: Flags::NONE,
        modseq: later,
    });
    copy.apply(&[txn(1, vec![flags])]);
    let listing = copy.store().view.listing(after.key).unwrap().unwrap();
    let modseqs: Vec<Modseq> = listing.iter().map(|mark| mark.modseq).collect();
    assert_eq!(modseqs, [later, after.highest_modseq]);
}

/// The database as a power cut leaves it that loses every commit since the last flush; the packs were flushed.
#[test]
fn commits_that_a_power_cut_takes_back_are_applied_again_with_their_bodies() {
    let mut copy = two_mailboxes();
    let kept = copy.frames(&[txn(1, vec![append(1, "a")])]);
    copy.store().target.apply(&[kept], &Vec::new()).unwrap();
    copy.store().target.settle().unwrap();
    let files = ["mail.sqlite", "mail.sqlite-wal"].map(|file| copy.dir.path().join(file));
    let flushed = files.clone().map(|file| std::fs::read(file).unwrap());
    let settled = copy.store().target.applied();

    let hash = BodyHash(*blake3::hash(b"hello").as_bytes());
    let place = BodyPlace {
        mailbox: id(1),
        uidvalidity: UidValidity(1),
        uid: Uid(2),
    };
    let body = BodyName {
        place,
        guid: "b".into(),
        size: Some(5),
    };
    copy.store().bodies.put(&body, b"hello", &hash).unwrap();
    copy.store().bodies.commit().unwrap();
    let sized = Append {
        size: Some(5),
        ..message(2, "b")
    };
    let lost = copy.frames(&[txn(1, vec![Op::Append(sized)])]);
    copy.store()
        .target
        .apply(std::slice::from_ref(&lost), &Vec::new())
        .unwrap();
    let counts = copy.store().target.counts().unwrap();
    copy.store = None;
    for (file, bytes) in files.iter().zip(flushed) {
        std::fs::write(file, bytes).unwrap();
    }
    copy.reopen();
    assert_eq!(copy.store().target.applied(), settled);
    assert_eq!(copy.uids(1), [1]);
    copy.store().target.apply(&[lost], &Vec::new()).unwrap();
    assert_eq!(copy.uids(1), [1, 2]);
    assert_eq!(copy.store().target.counts().unwrap(), counts);
}

#[test]
fn counts_are_those_of_the_rows_whatever_happens_to_mailboxes() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a"), append(2, "b")])]);
    copy.apply(&[txn(2, vec![append(1, "c")])]);
    copy.apply(&[tree(vec![gone(2, Disappearance::Genuine)])]);
    copy.apply(&[txn(2, vec![append(2, "d")])]);
    let truth = copy.query(
        "SELECT (SELECT count(*) FROM mailboxes WHERE name IS NOT NULL) || ' '
         || (SELECT coalesce(sum(messages), 0) FROM mailboxes WHERE name IS NOT NULL)",
    );
    let counts = copy.store().target.counts().unwrap();
    assert_eq!([format!("{} {}", counts.mailboxes, counts.messages)], truth[..]);
}
