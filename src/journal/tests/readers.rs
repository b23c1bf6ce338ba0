//! Reading while the writer goes on.

use super::*;

#[test]
fn a_reader_follows_the_writer_over_segments_trimming_and_checkpoints() {
    let disk = FakeDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let view = journal.view();
    let reading = std::thread::spawn(move || {
        let mut reader = view.reader(Lsn(1));
        let mut frames: Vec<EncodedFrame> = Vec::new();
        while frames.len() < 600 {
            frames.extend(reader.read_batch(500).unwrap());
        }
        frames
    });
    let (mut sealer, mut frames) = (sealer(), Vec::new());
    while frames.len() < 600 {
        let parts = 1 + frames.len() as u64 % 3;
        let transaction = transaction(&mut sealer, parts);
        journal.append(&transaction).unwrap();
        frames.extend(transaction);
        let head = journal.commit().unwrap().unwrap();
        journal.append_checkpoint(head.lsn, [Ok(vec![3; 50])]).unwrap();
    }
    assert_eq!(reading.join().unwrap()[..600], frames[..600]);
}

#[test]
fn every_chain_hash_can_be_asked_for() {
    let disk = FakeDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let mut sealer = sealer();
    let frames: Vec<_> = (0..30).flat_map(|_| transaction(&mut sealer, 2)).collect();
    for pair in frames.chunks(2) {
        journal.append(pair).unwrap();
        journal.commit().unwrap();
    }
    assert_eq!(journal.chain_at(Lsn(0)).unwrap(), Some(Default::default()));
    for frame in &frames {
        assert_eq!(journal.chain_at(frame.lsn).unwrap(), Some(frame.chain));
    }
    assert_eq!(journal.chain_at(Lsn(61)).unwrap(), None);
}

#[test]
fn a_batch_is_bounded_and_never_empty_where_there_is_more() {
    let disk = FakeDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let mut sealer = sealer();
    journal
        .append(&(0..50).flat_map(|_| transaction(&mut sealer, 1)).collect::<Vec<_>>())
        .unwrap();
    journal.commit().unwrap();
    let mut reader = journal.reader(Lsn(1));
    for bytes in [0, 1, 111, 500, 2000] {
        let batch = reader.read_batch(bytes).unwrap();
        let size: usize = batch.iter().map(|frame| frame.bytes.len()).sum();
        assert!(!batch.is_empty() && (size <= bytes || batch.len() == 1));
    }
    assert_eq!(reader.read_batch(usize::MAX).unwrap().last().unwrap().lsn, Lsn(50));
    assert!(reader.read_batch(1).unwrap().is_empty());
}

#[test]
fn who_follows_the_writer_reads_no_disk_and_who_is_behind_misses_nothing() {
    let disk = FakeDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let (mut sealer, mut follower, mut frames) = (sealer(), journal.reader(Lsn(1)), Vec::new());
    for _ in 0..40 {
        let transaction = transaction(&mut sealer, 2);
        journal.append(&transaction).unwrap();
        journal.commit().unwrap();
        let before = disk.reads();
        assert_eq!(follower.read_batch(1_000).unwrap(), transaction);
        assert_eq!(disk.reads(), before, "the newest frames are in memory");
        frames.extend(transaction);
    }
    assert_eq!(all(&journal), frames, "older ones are on disk");
    assert!(disk.reads() > 0);
}

#[test]
fn what_was_rolled_back_is_not_remembered() {
    let disk = FakeDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let mut sealer = sealer();
    let kept = transaction(&mut sealer, 1);
    let run = transaction(&mut sealer.clone(), 3);
    let other = transaction(&mut sealer, 1);
    journal.append(&kept).unwrap();
    journal.append(&run[..2]).unwrap();
    journal.commit().unwrap();
    journal.roll_back().unwrap();
    journal.append(&other).unwrap();
    journal.commit().unwrap();
    assert_eq!(all(&journal), [kept, other].concat());
}
