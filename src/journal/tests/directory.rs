//! The real disk.

use super::*;
use crate::journal::Directory;

#[test]
fn a_second_daemon_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("group/journal");
    let first = Directory::open(&path).unwrap();
    assert!(matches!(Directory::open(&path), Err(JournalError::Locked(_))));
    drop(first);
    Directory::open(&path).unwrap();
}

#[test]
fn a_journal_on_a_real_directory_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut sealer = sealer();
    let mut frames = Vec::new();
    for _ in 0..4 {
        let disk = Arc::new(Directory::open(dir.path()).unwrap());
        let (mut journal, recovered) = Journal::open(disk, SMALL).unwrap();
        assert_eq!(recovered.head, frames.last().map(head_of));
        for _ in 0..10 {
            let transaction = transaction(&mut sealer, 2);
            journal.append(&transaction).unwrap();
            frames.extend(transaction);
            journal.commit().unwrap();
        }
        assert_eq!(all(&journal), frames);
    }
    let disk = Arc::new(Directory::open(dir.path()).unwrap());
    let (mut journal, _) = Journal::open(disk, SMALL).unwrap();
    let mut reader = journal.reader(Lsn(1));
    reader.read_batch(1).unwrap();
    journal.trim(Lsn(70)).unwrap();
    assert!(matches!(reader.read_batch(1), Err(JournalError::Trimmed { .. })));
    let base = base(&mut sealer);
    journal.restart_at(&base).unwrap();
    assert_eq!(all(&journal), [base]);
}
