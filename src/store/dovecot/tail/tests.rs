use super::super::mail_root::{Driver, Namespace};
use super::*;
use crate::op::Uid;
use crate::store::dovecot::forge::{LogForge, append, expunge, header, index_deleted};
use crate::store::dovecot::transaction::RawOp;

const GUID: Guid = Guid([7; 16]);

/// A mailbox of a maildir: its log, and the uidlist that names it.
struct Mailbox {
    directory: tempfile::TempDir,
    identities: Identities,
}

impl Mailbox {
    fn new(log: &LogForge) -> Self {
        let mailbox = Self {
            directory: tempfile::tempdir().unwrap(),
            identities: Identities::default(),
        };
        mailbox.named(GUID);
        mailbox.write(LOG, &log.0);
        mailbox
    }

    fn named(&self, guid: Guid) {
        self.write("dovecot-uidlist", format!("3 V9 N1 G{}\n", guid.to_hex()).as_bytes());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        // As a writer does that replaces the file; appending to a file keeps its inode.
        let path = self.directory.path().join(name);
        match std::fs::read(&path) {
            Ok(before) if bytes.starts_with(&before) => append_to(&path, bytes.get(before.len()..).unwrap()),
            _ => {
                std::fs::write(self.directory.path().join("new"), bytes).unwrap();
                std::fs::rename(self.directory.path().join("new"), path).unwrap();
            }
        }
    }

    fn rotate(&self, next: &LogForge) {
        let path = |name: &str| self.directory.path().join(name);
        std::fs::rename(path(LOG), path(LOG_BEFORE)).unwrap();
        self.write(LOG, &next.0);
    }

    fn root(&self) -> Arc<MailRoot> {
        Arc::new(MailRoot::of(Namespace::plain(Driver::Maildir, self.directory.path())))
    }

    fn tail(&self, position: SourcePosition) -> Tail {
        Tail::resume(GUID, self.root(), self.directory.path().to_owned(), position)
    }

    fn start(&self) -> Tail {
        let reader = LogReader::at_start(open_log(&self.directory.path().join(LOG)).unwrap().unwrap().1);
        Tail::after(GUID, self.root(), self.directory.path().to_owned(), reader)
    }

    /// UIDs of appended messages and how it ended.
    fn read(&self, tail: &mut Tail) -> (Vec<u32>, Verdict) {
        let mut uids = Vec::new();
        let mut note = |txn: LogTransaction, _: &LogReader| {
            uids.extend(txn.ops.iter().filter_map(|op| match op {
                RawOp::Append(raw) => Some(raw.uid.0),
                _ => None,
            }));
        };
        let verdict = tail.read(&self.identities, &mut note).unwrap();
        (uids, verdict)
    }
}

fn append_to(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    File::options()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

fn mail(uid: u32) -> [super::super::forge::Forged; 1] {
    [append(&[(uid, 0)])]
}

fn first() -> LogForge {
    LogForge::first().commit(&[header(24, 9)]).commit(&mail(1))
}

/// The log after `before`, with mail `uid` in it.
fn next_after(before: &LogForge, uid: u32) -> LogForge {
    LogForge::following(3, 2, u32::try_from(before.0.len()).unwrap()).commit(&mail(uid))
}

#[test]
fn a_rotation_between_two_readings_loses_nothing() {
    let log = first();
    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    assert_eq!(mailbox.read(&mut tail), (vec![1], Verdict::End));
    let log = log.commit(&mail(2));
    mailbox.write(LOG, &log.0);
    mailbox.rotate(&next_after(&log, 3));
    assert_eq!(mailbox.read(&mut tail), (vec![2, 3], Verdict::End));
    assert_eq!(tail.position().file_seq, 3);
}

#[test]
fn a_restart_after_a_rotation_reads_the_old_log_first() {
    let log = first();
    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    mailbox.read(&mut tail);
    let kept = tail.position();
    let log = log.commit(&mail(2));
    mailbox.write(LOG, &log.0);
    mailbox.rotate(&next_after(&log, 3));
    // Nothing tells the extensions of a log that doesn't start from nothing but the file before it.
    let mut again = mailbox.tail(kept);
    assert_eq!(mailbox.read(&mut again), (vec![2, 3], Verdict::End));
}

#[test]
fn a_log_that_rotated_away_unread_asks_for_a_list() {
    let log = first();
    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    mailbox.read(&mut tail);
    let kept = tail.position();
    let third = LogForge::following(4, 3, 400).commit(&mail(5));
    mailbox.rotate(&next_after(&log, 3));
    mailbox.rotate(&third);
    let (uids, verdict) = mailbox.read(&mut tail);
    assert!(matches!(verdict, Verdict::State { broken: false, .. }), "{verdict:?}");
    assert!(uids.is_empty());
    let (_, verdict) = mailbox.read(&mut mailbox.tail(kept));
    assert!(
        matches!(verdict, Verdict::State { broken: false, .. } | Verdict::Unsettled),
        "{verdict:?}"
    );
}

#[test]
fn a_reset_and_a_roll_back_break_the_chain() {
    let log = first();
    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    mailbox.read(&mut tail);
    mailbox.write(LOG, &LogForge::first().commit(&mail(7)).commit(&mail(8)).0);
    assert!(matches!(mailbox.read(&mut tail).1, Verdict::State { broken: true, .. }));

    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    mailbox.read(&mut tail);
    mailbox.write(LOG, &LogForge::following(3, 2, 40).0);
    assert!(matches!(mailbox.read(&mut tail).1, Verdict::State { broken: true, .. }));
}

#[test]
fn a_write_in_progress_is_waited_for_at_every_byte() {
    let whole = first().commit(&[append(&[(2, 0)]), header(64, 400)]).0;
    let before = first().0;
    for cut in before.len()..whole.len() {
        let mailbox = Mailbox::new(&LogForge(before.clone()));
        let mut tail = mailbox.start();
        mailbox.read(&mut tail);
        mailbox.write(LOG, &whole[..cut]);
        assert_eq!(mailbox.read(&mut tail), (vec![], Verdict::End), "cut at {cut}");
        mailbox.write(LOG, &whole);
        assert_eq!(mailbox.read(&mut tail), (vec![2], Verdict::End), "cut at {cut}");
    }
}

#[test]
fn damage_is_named_and_what_was_read_before_it_counts() {
    let mut bytes = first().commit(&mail(2)).0;
    let sound = bytes.len();
    bytes.extend([1; 40]);
    let mailbox = Mailbox::new(&LogForge(bytes));
    let mut tail = mailbox.start();
    let (uids, verdict) = mailbox.read(&mut tail);
    assert_eq!(uids, [1, 2]);
    let Verdict::Damaged { file, offset, .. } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(
        (file, offset),
        (mailbox.directory.path().join(LOG), u64::try_from(sound).unwrap())
    );
    assert!(matches!(mailbox.read(&mut tail), (uids, Verdict::Damaged { .. }) if uids.is_empty()));
    // What Dovecot does next: a new log that goes on where the main index was.
    mailbox.write(LOG, &LogForge::following(3, 2, 40).0);
    assert!(matches!(mailbox.read(&mut tail).1, Verdict::State { broken: true, .. }));
}

#[test]
fn a_log_that_dovecot_gave_up_is_waited_with() {
    let log = first();
    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    mailbox.read(&mut tail);
    let path = mailbox.directory.path().join(LOG);
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0; 4], 4).unwrap();
    assert_eq!(mailbox.read(&mut tail).1, Verdict::GivenUp);
    mailbox.write(LOG, &LogForge::following(3, 2, 40).0);
    assert!(matches!(mailbox.read(&mut tail).1, Verdict::State { broken: true, .. }));
}

#[test]
fn the_last_words_of_a_deleted_mailbox_are_read() {
    let log = first();
    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    mailbox.read(&mut tail);
    let last = log
        .commit(&[expunge(&[1], false)])
        .commit(&[expunge(&[1], true)])
        .commit(&[index_deleted()]);
    mailbox.write(LOG, &last.0);
    std::fs::remove_dir_all(mailbox.directory.path()).unwrap();
    let mut expunged = Vec::new();
    let mut note = |txn: LogTransaction, _: &LogReader| {
        expunged.extend(txn.ops.into_iter().filter_map(|op| match op {
            RawOp::Expunge(expunge) => Some((expunge.requested, expunge.uids[0].first)),
            _ => None,
        }));
    };
    assert_eq!(tail.read(&mailbox.identities, &mut note).unwrap(), Verdict::End);
    assert_eq!(expunged, [(true, Uid(1))]);
    assert!(tail.is_deleted());
}

#[test]
fn another_mailbox_at_the_path_is_not_read() {
    let log = first();
    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    mailbox.read(&mut tail);
    mailbox.named(Guid([8; 16]));
    mailbox.write(LOG, &LogForge::first().commit(&mail(9)).0);
    assert_eq!(mailbox.read(&mut tail), (vec![], Verdict::End));
    tail.close();
    assert_eq!(mailbox.read(&mut tail), (vec![], Verdict::Absent));
}

#[test]
fn a_file_that_was_closed_is_opened_again_at_the_same_place() {
    let log = first();
    let mailbox = Mailbox::new(&log);
    let mut tail = mailbox.start();
    mailbox.read(&mut tail);
    tail.close();
    let log = log.commit(&mail(2));
    mailbox.write(LOG, &log.0);
    assert_eq!(mailbox.read(&mut tail), (vec![2], Verdict::End));
    tail.close();
    mailbox.rotate(&next_after(&log, 3));
    assert_eq!(mailbox.read(&mut tail), (vec![3], Verdict::End));
}
