//! `schema/golden/journal-*.seg` is what a segment of this format version is; `MAILSHADOW_WRITE_GOLDEN=1` writes it
//! where it is missing.

use super::*;
use std::path::PathBuf;

#[test]
fn a_segment_has_the_bytes_that_it_always_had() {
    let disk = FakeDisk::new();
    let (mut journal, _) = Journal::open(Arc::clone(&disk) as Arc<dyn Disk>, JournalOptions::default()).unwrap();
    let mut sealer = sealer();
    let mut frames = vec![
        sealer
            .begin_epoch(Epoch(1), &"mail-a".into(), None, 1_700_000_000_000)
            .unwrap(),
    ];
    frames.extend(transaction(&mut sealer, 2));
    journal.append(&frames).unwrap();
    journal.commit().unwrap();
    journal
        .append_checkpoint(Lsn(3), [b"positions".to_vec(), b"more".to_vec()].map(Ok))
        .unwrap();
    journal.commit().unwrap();
    let (name, bytes) = disk.files().remove(0);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("schema/golden")
        .join(&name);
    if std::env::var_os("MAILSHADOW_WRITE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, &bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(bytes, golden, "written differently");
    let (journal, recovered) = open(&FakeDisk::of(&[(name, golden)])).unwrap();
    assert_eq!(all(&journal), frames);
    let checkpoint = recovered.checkpoint.unwrap();
    assert_eq!(
        (checkpoint.covers, checkpoint.parts),
        (Lsn(3), vec![b"positions".to_vec(), b"more".to_vec()])
    );
}
