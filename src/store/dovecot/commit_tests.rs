use super::*;
use crate::store::dovecot::forge::{LogForge, append, expunge, ext_header, ext_record, flags, header, intro, keyword};
use crate::store::dovecot::log::LogHeader;
use crate::store::dovecot::reader::LogReader;

fn read(log: &LogForge) -> Result<Vec<LogTransaction>, LogError> {
    let mut reader = LogReader::at_start(LogHeader::parse(&log.0)?);
    let mut txns = Vec::new();
    while let Some(txn) = reader.next(&log.0, 0)? {
        txns.push(txn);
    }
    assert_eq!(reader.offset(), log.0.len() as u64);
    Ok(txns)
}

fn only(log: &LogForge) -> LogTransaction {
    let mut txns = read(log).unwrap();
    assert_eq!(txns.len(), 1);
    txns.remove(0)
}

fn ranges(pairs: &[(u32, u32)]) -> Vec<UidRange> {
    let range = |(first, last): &(u32, u32)| UidRange {
        first: Uid(*first),
        last: Uid(*last),
    };
    pairs.iter().map(range).collect()
}

#[test]
fn what_follows_an_append_in_its_commit_belongs_to_it() {
    let mut place = 9u32.to_le_bytes().to_vec();
    place.extend(1_700_000_000u32.to_le_bytes());
    let log = LogForge::first().commit(&[
        append(&[(1, 0x08), (2, 0)]),
        intro("vsize", 0, 4),
        ext_record(1, &601u32.to_le_bytes()),
        intro("guid", 0, 16),
        ext_record(2, &[0xab; 16]),
        intro("mdbox", 0, 8),
        ext_record(2, &place),
        keyword(0, "work", 1, 2),
        keyword(0, "WORK", 2, 2),
    ]);
    let txn = only(&log);
    let [RawOp::Append(first), RawOp::Append(second)] = &txn.ops[..] else {
        panic!("two appends: {:?}", txn.ops);
    };
    assert_eq!(
        (first.flags, first.size, first.modseq),
        (Flags::SEEN, Some(600), Modseq(3))
    );
    assert_eq!((second.guid, second.map_uid), (Some(Guid([0xab; 16])), Some(9)));
    assert_eq!((second.save_date, second.modseq), (Some(1_700_000_000), Modseq(4)));
    assert_eq!(second.keywords, [Keyword::from("work")]);
    assert_eq!((txn.uidnext, txn.modseq), (Uid(3), Modseq(4)));
}

#[test]
fn a_change_over_old_and_new_messages_is_split() {
    let log = LogForge::first()
        .commit(&[append(&[(1, 0), (2, 0), (3, 0)])])
        .commit(&[append(&[(4, 0)]), flags(2, 5, 0x02, 0)]);
    let txn = read(&log).unwrap().remove(1);
    let [RawOp::Append(mail), RawOp::Flags(low)] = &txn.ops[..] else {
        panic!("an append and a change: {:?}", txn.ops);
    };
    assert_eq!((mail.flags, mail.modseq), (Flags::FLAGGED, Modseq(4)));
    assert_eq!(low.uids, ranges(&[(2, 3), (5, 5)]));
}

#[test]
fn a_vanished_file_is_not_an_expunge_that_somebody_asked_for() {
    let log = LogForge::first()
        .commit(&[append(&[(1, 0), (2, 0), (3, 0), (4, 0)])])
        .commit(&[expunge(&[2, 4], false)])
        .commit(&[expunge(&[1, 2, 3, 4], true)])
        .commit(&[expunge(&[2], true)]);
    let txns = read(&log).unwrap();
    assert!(txns[1].is_bookkeeping());
    let [RawOp::Expunge(asked), RawOp::Expunge(unasked)] = &txns[2].ops[..] else {
        panic!("two expunges: {:?}", txns[2].ops);
    };
    assert!(asked.requested && asked.uids == ranges(&[(2, 2), (4, 4)]));
    assert!(!unasked.requested && unasked.uids == ranges(&[(1, 1), (3, 3)]));
    assert!(asked.modseq == unasked.modseq && txns[2].modseq == Modseq(3));
    assert!(matches!(&txns[3].ops[..], [RawOp::Expunge(again)] if !again.requested));
}

#[test]
fn when_dovecot_begins_to_keep_modseqs_every_message_gets_one() {
    let mut kept = vec![7, 0, 0, 0, 0, 0, 0, 0];
    kept.extend([0; 8]);
    let log = LogForge::first()
        .commit(&[append(&[(1, 0), (5, 0)])])
        .commit(&[intro("modseq", 16, 8), ext_header(&kept)])
        .commit(&[intro("modseq", 16, 8), ext_header(&kept)]);
    let txns = read(&log).unwrap();
    assert!(txns[1].modseqs_enabled && !txns[2].modseqs_enabled);
    let [RawOp::Flags(raise)] = &txns[1].ops[..] else {
        panic!("one raise: {:?}", txns[1].ops);
    };
    assert_eq!(
        (raise.add, raise.remove, raise.modseq),
        (Flags::NONE, Flags::NONE, Modseq(7))
    );
    assert_eq!(raise.uids, ranges(&[(1, 5)]));
    assert!(txns[2].is_bookkeeping());
}

#[test]
fn bookkeeping_is_no_change_and_a_raised_number_is_one() {
    let log = LogForge::first()
        .commit(&[header(24, 5)])
        .commit(&[append(&[(1, 0)])])
        .commit(&[header(64, 200)])
        .commit(&[flags(1, 1, 0x40, 0)])
        .commit(&[header(28, 9)])
        .commit(&[header(28, 3)])
        .commit(&[(
            0x8000,
            [0, 50, 0].iter().flat_map(|field: &u32| field.to_le_bytes()).collect(),
        )])
        .commit(&[header(24, 6)]);
    let txns = read(&log).unwrap();
    let quiet: Vec<bool> = txns.iter().map(LogTransaction::is_bookkeeping).collect();
    assert_eq!(quiet, [false, false, true, true, false, true, false, false]);
    assert_eq!((txns[4].uidnext, txns[5].uidnext), (Uid(9), Uid(9)));
    assert_eq!((txns[5].modseq, txns[6].modseq), (Modseq(2), Modseq(50)));
    assert!(txns[6].raised && txns[6].ops.is_empty());
    assert!(txns[0].uidvalidity_changed && !txns[1].uidvalidity_changed && txns[7].uidvalidity_changed);
}

#[test]
fn a_uid_that_was_given_out_before_is_damage_and_nothing_of_the_commit_is_applied() {
    let log = LogForge::first()
        .commit(&[append(&[(3, 0)])])
        .commit(&[flags(3, 3, 0x08, 0), append(&[(2, 0)])]);
    let mut reader = LogReader::at_start(LogHeader::parse(&log.0).unwrap());
    assert!(reader.next(&log.0, 0).unwrap().is_some());
    let before = reader.clone();
    assert!(matches!(reader.next(&log.0, 0), Err(LogError::Corrupt { .. })));
    assert_eq!(reader, before);
}

#[test]
fn more_requests_than_a_position_holds_are_said_to_be_forgotten() {
    let scattered: Vec<u32> = (1..=u32::try_from(OPEN_REQUESTS_MAX).unwrap() + 1)
        .map(|n| 2 * n)
        .collect();
    let txn = only(&LogForge::first().commit(&[expunge(&scattered, false)]));
    assert!(txn.requests_forgotten);
}
