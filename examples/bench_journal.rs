//! Measures the journal of this machine's disk: `cargo run --release --example bench_journal [directory]`.
//!
//! Commits per second are the disk's flushes; what a batch gains is what one flush for many frames gains. Every run
//! writes to a directory of its own below the one given (default: the system's temporary directory) and removes it.

use mailshadow::codec::EncodedFrame;
use mailshadow::journal::{Directory, Journal, JournalOptions, Sealer};
use mailshadow::op::{
    Append, Epoch, Flags, Guid, Keyword, Lsn, MailboxId, MailboxTxn, Modseq, Op, Payload, SourcePosition, StreamId,
    Uid, UidValidity,
};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(2);

/// A delivery: the usual transaction of a mail server.
fn delivery(uid: u32) -> Payload {
    Payload::Mailbox(MailboxTxn {
        mailbox: MailboxId {
            user: "anna@example.org".into(),
            guid: Guid([7; 16]),
        },
        uidvalidity: UidValidity(1_700_000_000),
        ops: vec![Op::Append(Append {
            uid: Uid(uid),
            guid: format!("{uid:032x}").as_str().into(),
            size: Some(12_345),
            internal_date: 1_700_000_000,
            save_date: None,
            flags: Flags::NONE,
            keywords: vec![Keyword::from("$HasAttachment")],
            modseq: Modseq(u64::from(uid)),
        })],
        uidnext: Uid(uid.saturating_add(1)),
        highest_modseq: Modseq(u64::from(uid)),
        position: SourcePosition::default(),
    })
}

fn append(journal: &mut Journal, sealer: &mut Sealer, batch: u32) -> anyhow::Result<u64> {
    let (began, mut frames, mut bytes) = (Instant::now(), 0u32, 0u64);
    while began.elapsed() < TIME {
        for _ in 0..batch {
            frames += 1;
            let sealed: Vec<EncodedFrame> = sealer.seal(&[delivery(frames)], None, 1_700_000_000_000)?;
            bytes += sealed.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
            journal.append(&sealed)?;
        }
        journal.commit()?;
    }
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "append, {batch:4} frames a commit: {:9.0} frames/s {:9.2} MB/s",
        f64::from(frames) / seconds,
        bytes as f64 / seconds / 1e6
    )?;
    Ok(u64::from(frames))
}

fn read(journal: &Journal, frames: u64, what: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut reader = journal.reader(Lsn(1));
    loop {
        let batch = reader.read_batch(1 << 20)?;
        if batch.is_empty() {
            break;
        }
    }
    anyhow::ensure!(reader.next_lsn() == Lsn(frames + 1), "read up to {}", reader.next_lsn());
    report(what, frames, journal.bytes(), began)
}

fn report(what: &str, frames: u64, bytes: u64, began: Instant) -> anyhow::Result<()> {
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{what}: {:9.0} frames/s {:9.2} MB/s",
        frames as f64 / seconds,
        bytes as f64 / seconds / 1e6
    )?;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let below = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let path = below.join(format!("bench_journal.{}", std::process::id()));
    let result = measure(&path);
    std::fs::remove_dir_all(&path)?;
    result
}

fn measure(path: &std::path::Path) -> anyhow::Result<()> {
    let (mut journal, _) = Journal::open(Arc::new(Directory::open(path)?), JournalOptions::default())?;
    let mut sealer = Sealer::begin(StreamId([1; 16]), Epoch(1));
    let mut frames = 0;
    for batch in [1, 64, 1024] {
        frames += append(&mut journal, &mut sealer, batch)?;
    }
    read(&journal, frames, "read all                  ")?;
    drop(journal);
    let began = Instant::now();
    let (journal, _) = Journal::open(Arc::new(Directory::open(path)?), JournalOptions::default())?;
    report("open and check everything ", frames, journal.bytes(), began)
}
