//! A cut at every byte, a flip of every bit.

use super::*;

/// A journal of two sealed segments and a newest one, with runs, a checkpoint and several commits; its files, and
/// after each commit the number of frames and the bytes of the newest segment.
struct Sample {
    files: Vec<(String, Vec<u8>)>,
    frames: Vec<EncodedFrame>,
    /// (end offset in the newest segment, frames) after each transaction or checkpoint in it.
    ends: Vec<(usize, usize)>,
    /// Frames that were committed before the last commit, and the segment's size then.
    before_last: (usize, usize),
}

fn newest(files: &[(String, Vec<u8>)]) -> &(String, Vec<u8>) {
    files.iter().rfind(|(name, _)| name.starts_with("journal-")).unwrap()
}

fn sample() -> Sample {
    let disk = FakeDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let (mut sealer, mut frames) = (sealer(), Vec::new());
    let mut commit = |journal: &mut Journal, parts: &[u64]| {
        for parts in parts {
            let transaction = transaction(&mut sealer, *parts);
            journal.append(&transaction).unwrap();
            frames.extend(transaction);
        }
        journal.commit().unwrap();
        frames.len()
    };
    while disk.files().len() < 3 {
        commit(&mut journal, &[1, 2]);
    }
    let mut ends = vec![(newest(&disk.files()).1.len(), commit(&mut journal, &[]))];
    for parts in [1, 3] {
        let count = commit(&mut journal, &[parts]);
        ends.push((newest(&disk.files()).1.len(), count));
    }
    let covers = journal.head().unwrap().lsn;
    journal
        .append_checkpoint(covers, [vec![1; 40], vec![2; 9]].map(Ok))
        .unwrap();
    let count = commit(&mut journal, &[]);
    ends.push((newest(&disk.files()).1.len(), count));
    let before_last = *ends.last().unwrap();
    let count = commit(&mut journal, &[1]);
    ends.push((newest(&disk.files()).1.len(), count));
    assert_eq!(disk.files().len(), 3, "the last transactions lie in one segment");
    Sample {
        files: disk.files(),
        frames,
        ends,
        before_last: (before_last.1, before_last.0),
    }
}

#[test]
fn a_cut_at_every_byte_of_the_newest_segment_leaves_whole_transactions() {
    let sample = sample();
    let last = sample.files.len() - 1;
    for size in super::super::segment::HEADER_BYTES..sample.files[last].1.len() {
        let mut files = sample.files.clone();
        files[last].1.truncate(size);
        let disk = FakeDisk::of(&files);
        let (mut journal, recovered) = open(&disk).unwrap();
        let (end, count) = *sample.ends.iter().rfind(|(end, _)| *end <= size).unwrap();
        assert_eq!(all(&journal), sample.frames[..count], "cut at {size}");
        assert_eq!(recovered.head, Some(head_of(&sample.frames[count - 1])));
        assert_eq!(recovered.cut.map_or(0, |cut| cut.bytes), (size - end) as u64);
        assert_eq!(recovered.checkpoint.is_some(), size >= sample.before_last.1);
        // What follows is appended as if nothing had been.
        journal.append(&sample.frames[count..]).unwrap();
        journal.commit().unwrap();
        drop(journal);
        assert_eq!(all(&open(&disk.powered_off()).unwrap().0), sample.frames);
    }
}

#[test]
fn a_cut_anywhere_else_is_damage() {
    let sample = sample();
    for file in 0..sample.files.len() - 1 {
        for size in 0..sample.files[file].1.len() {
            let mut files = sample.files.clone();
            files[file].1.truncate(size);
            assert!(
                matches!(open(&FakeDisk::of(&files)), Err(JournalError::Corrupt { .. })),
                "{file} at {size}"
            );
        }
    }
}

#[test]
fn a_missing_segment_is_damage() {
    let sample = sample();
    let mut files = sample.files;
    files.remove(1);
    assert!(matches!(open(&FakeDisk::of(&files)), Err(JournalError::Corrupt { .. })));
}

#[test]
fn every_flipped_bit_is_found() {
    let sample = sample();
    let last = sample.files.len() - 1;
    let (kept, proven) = sample.before_last;
    for file in 0..sample.files.len() {
        for bit in 0..sample.files[file].1.len() * 8 {
            let mut files = sample.files.clone();
            files[file].1[bit / 8] ^= 1 << (bit % 8);
            match open(&FakeDisk::of(&files)) {
                Err(JournalError::Corrupt { file: named, .. } | JournalError::Unreadable { file: named, .. }) => {
                    assert_eq!(named, files[file].0);
                }
                // Nothing was written behind the last commit: nothing proves that it had been durable.
                Ok((journal, recovered)) => {
                    assert!(file == last && bit / 8 >= proven, "file {file} bit {bit}");
                    assert_eq!(all(&journal), sample.frames[..kept]);
                    assert!(recovered.cut.is_some());
                }
                Err(other) => panic!("file {file} bit {bit}: {other}"),
            }
        }
    }
}

#[test]
fn damage_that_comes_later_is_found_by_the_reader() {
    let sample = sample();
    let disk = FakeDisk::of(&sample.files);
    let (journal, _) = open(&disk).unwrap();
    let (name, bytes) = &sample.files[0];
    disk.write_at(name, bytes.len() as u64 - 1, &[bytes[bytes.len() - 1] ^ 1])
        .unwrap();
    let error = journal.reader(Lsn(1)).read_batch(1 << 20).unwrap_err();
    assert!(
        matches!(&error, JournalError::Corrupt { file, .. } if file == name),
        "{error}"
    );
}

#[test]
fn an_unknown_record_of_a_newer_program_halts_and_is_not_cut() {
    let mut files = sample().files;
    let last = files.len() - 1;
    let mut record = Vec::new();
    super::super::record::put(super::super::record::Kind::Frame, 0, &[b"x"], &mut record).unwrap();
    record[8] = 9;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&record[..20]), b"x");
    record[20..24].copy_from_slice(&crc.to_le_bytes());
    files[last].1.extend(record);
    let error = open(&FakeDisk::of(&files)).err().unwrap();
    assert!(matches!(error, JournalError::Unreadable { .. }), "{error}");
}
