//! What appending, committing, trimming and beginning anew promise.

use super::*;
use crate::journal::Class;

fn filled(disk: &Arc<FakeDisk>, transactions: u64) -> (Journal, Sealer) {
    let (mut journal, _) = open(disk).unwrap();
    let mut sealer = sealer();
    for _ in 0..transactions {
        journal.append(&transaction(&mut sealer, 1)).unwrap();
        journal.commit().unwrap();
    }
    (journal, sealer)
}

#[test]
fn nothing_is_visible_before_it_is_durable() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 1);
    let frames = transaction(&mut sealer, 1);
    journal.append(&frames).unwrap();
    assert_eq!(journal.head().unwrap().lsn, Lsn(1));
    assert_eq!(journal.appended(), Some(head_of(&frames[0])));
    assert!(journal.reader(Lsn(2)).read_batch(1000).unwrap().is_empty());
    assert_eq!(journal.commit().unwrap(), Some(head_of(&frames[0])));
    assert_eq!(open(&disk.powered_off()).unwrap().1.head, Some(head_of(&frames[0])));
}

#[test]
fn a_commit_is_one_flush_and_an_empty_one_is_none() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 1);
    let before = disk.syncs();
    (0..5).for_each(|_| journal.append(&transaction(&mut sealer, 1)).unwrap());
    journal.commit().unwrap();
    assert_eq!(disk.syncs(), before + 1);
    journal.commit().unwrap();
    assert_eq!(disk.syncs(), before + 1);
}

#[test]
fn what_does_not_follow_is_refused_and_nothing_of_it_taken() {
    let disk = FakeDisk::new();
    let (mut journal, sealer) = filled(&disk, 3);
    let ahead = |mut sealer: Sealer, parts| transaction(&mut sealer, parts);
    let mut skipped = sealer.clone();
    transaction(&mut skipped, 1);
    let mut foreign = Sealer::resume(Head {
        stream: StreamId([6; 16]),
        ..sealer.head()
    });
    let mut forked = Sealer::resume(Head {
        chain: Default::default(),
        ..sealer.head()
    });
    let mut older = Sealer::resume(Head {
        epoch: Epoch(0),
        ..sealer.head()
    });
    older.begin_epoch(Epoch(1), &"a".into(), None, 1).unwrap();
    let run = ahead(sealer.clone(), 3);
    let mixed = [ahead(sealer.clone(), 1), ahead(sealer.clone(), 1)].concat();
    let bad = [
        transaction(&mut skipped, 1),
        transaction(&mut foreign, 1),
        transaction(&mut forked, 1),
        mixed,
        run[1..].to_vec(),
        vec![run[0].clone(), run[2].clone()],
    ];
    for frames in bad {
        let error = journal.append(&frames).unwrap_err();
        assert!(matches!(error, JournalError::DoesNotFollow { .. }), "{error}");
        assert_eq!(journal.appended(), Some(sealer.head()));
    }
    journal.append(&run).unwrap();
}

#[test]
fn a_lower_epoch_is_refused() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 1);
    let old = sealer.clone();
    let epoch = sealer.begin_epoch(Epoch(4), &"a".into(), None, 1).unwrap();
    journal.append(std::slice::from_ref(&epoch)).unwrap();
    let mut fenced = Sealer::resume(Head {
        epoch: old.head().epoch,
        ..head_of(&epoch)
    });
    assert!(matches!(
        journal.append(&transaction(&mut fenced, 1)),
        Err(JournalError::DoesNotFollow { .. })
    ));
    assert!(sealer.begin_epoch(Epoch(4), &"a".into(), None, 1).is_err());
}

#[test]
fn an_empty_journal_begins_with_the_first_frame_only() {
    let disk = FakeDisk::new();
    let (mut journal, recovered) = open(&disk).unwrap();
    assert_eq!(
        (recovered.head, recovered.oldest, journal.commit().unwrap()),
        (None, None, None)
    );
    let mut sealer = sealer();
    transaction(&mut sealer, 1);
    assert!(journal.append(&transaction(&mut sealer, 1)).is_err());
    assert!(journal.append_checkpoint(Lsn(0), []).is_err());
    assert_eq!(disk.files(), []);
}

#[test]
fn an_open_run_is_not_read_and_not_kept_by_a_crash() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 2);
    let run = transaction(&mut sealer, 3);
    journal.append(&run[..2]).unwrap();
    assert_eq!(journal.commit().unwrap().unwrap().lsn, Lsn(2));
    assert_eq!(all(&journal).len(), 2);
    let (after, recovered) = open(&disk.powered_off()).unwrap();
    assert_eq!((all(&after).len(), recovered.cut.is_some()), (2, true));
    journal.append(&run[2..]).unwrap();
    assert_eq!(journal.commit().unwrap().unwrap().lsn, Lsn(5));
    assert_eq!(all(&open(&disk.powered_off()).unwrap().0).len(), 5);
}

#[test]
fn a_run_whose_sender_is_gone_is_rolled_back() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 2);
    let mut other = sealer.clone();
    let run = transaction(&mut sealer, 3);
    journal.append(&run[..1]).unwrap();
    journal.commit().unwrap();
    journal.append(&run[1..2]).unwrap();
    journal.roll_back().unwrap();
    assert_eq!(journal.appended(), Some(other.head()));
    let shorter = transaction(&mut other, 1);
    journal.append(&shorter).unwrap();
    journal.commit().unwrap();
    assert_eq!(all(&open(&disk.powered_off()).unwrap().0)[2..], shorter[..]);
}

#[test]
fn a_full_disk_is_tried_again_and_shows_nothing_half_written() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 2);
    let size = journal.bytes();
    let frames = transaction(&mut sealer, 3);
    journal.append(&frames).unwrap();
    for room in 0..600 {
        disk.leave_room(Some(room));
        let Err(error) = journal.commit() else {
            assert!(room > 300);
            break;
        };
        assert_eq!(error.class(), Class::Retry);
        assert_eq!((journal.head().unwrap().lsn, journal.bytes()), (Lsn(2), size));
        assert_eq!(open(&disk.crashed(room as u64)).unwrap().1.head.unwrap().lsn, Lsn(2));
    }
    disk.leave_room(None);
    assert_eq!(all(&journal)[2..], frames);
}

#[test]
fn after_a_failed_flush_nothing_more_is_written() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 2);
    journal.append(&transaction(&mut sealer, 1)).unwrap();
    disk.fail_sync_in(Some(0));
    assert!(matches!(journal.commit(), Err(JournalError::Flush { .. })));
    let files = disk.files();
    for error in [
        journal.commit().unwrap_err(),
        journal.append(&transaction(&mut sealer, 1)).unwrap_err(),
        journal.append_checkpoint(Lsn(1), []).unwrap_err(),
        journal.trim(Lsn(1)).unwrap_err(),
        journal.roll_back().unwrap_err(),
        journal.restart_at(&base(&mut sealer)).unwrap_err(),
    ] {
        assert!(matches!(error, JournalError::Poisoned), "{error}");
    }
    assert_eq!(disk.files(), files);
    assert_eq!(all(&journal).len(), 2, "what was committed can still be read");
}

#[test]
fn what_a_failed_flush_left_in_memory_only_is_made_durable_by_a_restart() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 2);
    journal.append(&transaction(&mut sealer, 1)).unwrap();
    disk.fail_sync_in(Some(0));
    journal.commit().unwrap_err();
    drop(journal);
    // The daemon restarts, the machine doesn't: the kernel still shows what it will never write.
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.head.unwrap().lsn, Lsn(3));
    assert_eq!(open(&disk.powered_off()).unwrap().1.head, recovered.head);
}

#[test]
fn what_a_killed_daemon_wrote_and_did_not_flush_is_durable_once_reported() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 2);
    journal.append(&transaction(&mut sealer, 1)).unwrap();
    journal.write_pending().unwrap();
    drop(journal);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.head.unwrap().lsn, Lsn(3));
    assert_eq!(open(&disk.powered_off()).unwrap().1.head, recovered.head);
}

#[test]
fn trimming_removes_whole_segments_and_never_the_newest() {
    let disk = FakeDisk::new();
    let (mut journal, _) = filled(&disk, 40);
    let segments = disk.files().len();
    assert!(segments > 4);
    assert_eq!(
        journal.trim(Lsn(3)).unwrap(),
        Some(Lsn(1)),
        "the first segment holds more than three frames"
    );
    let before = journal.bytes();
    let oldest = journal.trim(Lsn(20)).unwrap().unwrap();
    assert!(oldest > Lsn(1) && oldest <= Lsn(21) && journal.bytes() < before);
    assert!(matches!(
        journal.reader(Lsn(1)).read_batch(1),
        Err(JournalError::Trimmed { wanted: Lsn(1), .. })
    ));
    assert_eq!(journal.chain_at(Lsn(1)).unwrap(), None);
    assert!(
        journal.chain_at(Lsn(oldest.0 - 1)).unwrap().is_some(),
        "what the oldest frame follows is known"
    );
    journal.trim(Lsn(40)).unwrap();
    let (after, recovered) = open(&disk.powered_off()).unwrap();
    assert_eq!(recovered.head, journal.head());
    assert_eq!(all(&after), all(&journal));
    assert!(disk.files().len() <= 2);
}

#[test]
fn a_primary_trims_only_what_a_durable_checkpoint_covers() {
    let disk = FakeDisk::new();
    let (journal, mut sealer) = filled(&disk, 30);
    drop(journal);
    let options = JournalOptions {
        checkpointed: true,
        ..SMALL
    };
    let (mut journal, _) = Journal::open(Arc::clone(&disk) as Arc<dyn Disk>, options).unwrap();
    assert!(matches!(journal.trim(Lsn(10)), Err(JournalError::Refused(_))));
    journal.append_checkpoint(Lsn(20), [vec![1], vec![2]].map(Ok)).unwrap();
    assert!(
        matches!(journal.trim(Lsn(10)), Err(JournalError::Refused(_))),
        "it is not durable yet"
    );
    journal.commit().unwrap();
    assert!(matches!(journal.trim(Lsn(21)), Err(JournalError::Refused(_))));
    journal.trim(Lsn(20)).unwrap();
    // However far it may trim: the checkpoint itself stays.
    for _ in 0..20 {
        journal.append(&transaction(&mut sealer, 1)).unwrap();
        journal.commit().unwrap();
    }
    journal.trim(Lsn(20)).unwrap();
    let checkpoint = open(&disk.powered_off()).unwrap().1.checkpoint.unwrap();
    assert_eq!((checkpoint.covers, checkpoint.parts), (Lsn(20), vec![vec![1], vec![2]]));
    assert!(checkpoint.bytes_after > 2000);
}

#[test]
fn a_checkpoint_at_the_end_of_a_sealed_segment_survives_trimming() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 3);
    journal.append_checkpoint(Lsn(3), [Ok(vec![7; 800])]).unwrap();
    journal.commit().unwrap();
    assert_eq!(disk.files().len(), 2, "the checkpoint filled its segment");
    journal.append(&transaction(&mut sealer, 1)).unwrap();
    journal.commit().unwrap();
    journal.trim(Lsn(3)).unwrap();
    assert_eq!(open(&disk).unwrap().1.checkpoint.unwrap().parts, [vec![7; 800]]);
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_nothing() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 2);
    journal.append_checkpoint(Lsn(1), [Ok(vec![1])]).unwrap();
    journal.commit().unwrap();
    assert!(matches!(
        journal.append_checkpoint(Lsn(3), []),
        Err(JournalError::Refused(_))
    ));
    assert!(matches!(
        journal.append_checkpoint(Lsn(0), []),
        Err(JournalError::Refused(_))
    ));
    let too_large = vec![0; crate::limits::CHECKPOINT_PART_BYTES_MAX + 1];
    assert!(matches!(
        journal.append_checkpoint(Lsn(2), [vec![5], too_large].map(Ok)),
        Err(JournalError::Refused(_))
    ));
    // Ten parts of a megabyte are more than is held in memory: some are written before the disk is full.
    disk.leave_room(Some(6 << 20));
    let parts = (0..10)
        .map(|_| vec![6; 1 << 20 >> 1])
        .chain((0..10).map(|_| vec![7; 1 << 20 >> 1]));
    let error = journal.append_checkpoint(Lsn(2), parts.map(Ok)).unwrap_err();
    assert_eq!(error.class(), Class::Retry);
    disk.leave_room(None);
    journal.append(&transaction(&mut sealer, 1)).unwrap();
    journal.commit().unwrap();
    let (journal, recovered) = open(&disk.powered_off()).unwrap();
    assert_eq!(
        (all(&journal).len(), recovered.checkpoint.unwrap().parts),
        (3, vec![vec![1]])
    );
}

#[test]
fn a_new_beginning_replaces_everything_even_under_the_same_name() {
    for seed in 0..40 {
        let disk = FakeDisk::new();
        let (mut journal, _) = filled(&disk, 20);
        let before = all(&journal);
        let mut other = Sealer::begin(StreamId([9; 16]), Epoch(3));
        let base = base(&mut other);
        let mut reader = journal.reader(Lsn(1));
        reader.read_batch(1).unwrap();
        disk.fail_sync_in(Some(seed % 8));
        let restarted = journal.restart_at(&base);
        disk.fail_sync_in(None);
        if restarted.is_ok() {
            assert_eq!(all(&journal), std::slice::from_ref(&base));
            assert!(matches!(reader.read_batch(1), Err(JournalError::Restarted)));
        }
        // Whenever the power fails: the old journal or the new one, nothing between.
        let (mut after, _) = open(&disk.crashed(u64::from(seed))).unwrap();
        let found = all(&after);
        assert!(
            found == std::slice::from_ref(&base) || (restarted.is_err() && found == before),
            "{}",
            found.len()
        );
        if found.len() == 1 {
            after.append(&transaction(&mut other, 2)).unwrap();
            assert_eq!(after.commit().unwrap().unwrap().lsn, Lsn(3));
        }
    }
}

#[test]
fn a_standby_joins_in_the_middle() {
    let disk = FakeDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let mut sealer = sealer();
    transaction(&mut sealer, 7);
    assert!(journal.restart_at(&transaction(&mut sealer, 1)[0]).is_err());
    let base = base(&mut sealer);
    assert_eq!(journal.restart_at(&base).unwrap(), head_of(&base));
    let next = transaction(&mut sealer, 1);
    journal.append(&next).unwrap();
    journal.commit().unwrap();
    assert_eq!(journal.oldest(), Some(Lsn(9)));
    assert_eq!(all(&open(&disk.powered_off()).unwrap().0), [base, next[0].clone()]);
}

#[test]
fn a_segment_that_can_not_be_made_lets_the_old_one_grow() {
    let disk = FakeDisk::new();
    let (mut journal, mut sealer) = filled(&disk, 1);
    while disk.files().len() == 1 {
        journal.append(&transaction(&mut sealer, 1)).unwrap();
        // Room for the frame, none for another header.
        disk.leave_room(Some(200));
        journal.commit().unwrap();
        if journal.bytes() > 3 * SMALL.segment_bytes {
            disk.leave_room(None);
            journal.append(&transaction(&mut sealer, 1)).unwrap();
            journal.commit().unwrap();
        }
    }
    let frames = all(&journal);
    assert_eq!(all(&open(&disk.crashed(1)).unwrap().0), frames);
}

#[test]
fn what_can_not_be_sealed_takes_no_lsn() {
    let mut sealer = sealer();
    transaction(&mut sealer, 2);
    let before = sealer.head();
    assert!(sealer.seal(&[], None, 1).is_err());
    assert!(
        sealer
            .seal(&[Payload::BaseEnd(Lsn(1)), Payload::BaseEnd(Lsn(0))], None, 1)
            .is_err()
    );
    assert_eq!(sealer.head(), before);
    let run = transaction(&mut sealer, 2);
    assert_eq!((run[0].previous, run[1].previous), (before.chain, run[0].chain));
    assert!(run[1].run.unwrap().is_last() && run[1].run.unwrap().first == Lsn(3));
}
