//! What the parts cost, each for itself: `cargo bench`.
//!
//! Every line is the middle of eleven samples with the least and the most, after a warm-up; inputs are made by the code below
//! or written by real Dovecots (`tests/vectors`).

use anyhow::{Context, Result};
use mailshadow::codec;
use mailshadow::op::{
    Append, ChainHash, Epoch, Flags, FrameHeader, Guid, Keyword, Lsn, MailboxId, MailboxTxn, Modseq, Op, Payload,
    SourcePosition, StreamId, Uid, UidValidity,
};
use mailshadow::store::dovecot::{log::LogHeader, payload, record, uidlist::Uidlist};
use std::hint::black_box;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const SAMPLES: usize = 11;
const SAMPLE: Duration = Duration::from_millis(60);
const MESSAGES: u32 = 1_000;

fn main() -> Result<()> {
    parse_a_log()?;
    parse_a_uidlist()?;
    seal_and_open()?;
    hash()
}

/// A real log of sdbox, over and over: what a tailer does with each record.
fn parse_a_log() -> Result<()> {
    let log = from_vector(
        "sdbox-2.4.1.tar",
        "store/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log",
    )?;
    let header = LogHeader::parse(&log)?;
    let first = usize::from(header.header_bytes);
    let records = walk(&log, first)?;
    measure("read one record of a transaction log", records, || {
        black_box(walk(&log, first)).map(drop)
    })
}

fn walk(log: &[u8], mut at: usize) -> Result<u64> {
    let mut records = 0;
    while let Some((commit, next)) = record::commit_at(log, 0, at)? {
        for record in &commit.records {
            black_box(payload::parse(record).map_err(anyhow::Error::msg)?);
            records += 1;
        }
        at = next;
    }
    Ok(records)
}

fn parse_a_uidlist() -> Result<()> {
    let mut text = "3 V1700000000 N1001 G0123456789abcdef0123456789abcdef\n".to_owned();
    for uid in 1..=MESSAGES {
        text.push_str(&format!("{uid} :1700000{uid:03}.M1P1.host,S=3901,W=4001\n"));
    }
    measure("read one line of a dovecot-uidlist", u64::from(MESSAGES), || {
        black_box(Uidlist::parse(text.as_bytes())?);
        Ok(())
    })
}

fn seal_and_open() -> Result<()> {
    let (header, one) = (header(), deliveries(1));
    measure("seal the frame of one delivery", 1, || {
        black_box(codec::seal(&header, &one)?);
        Ok(())
    })?;
    let sealed = codec::seal(&header, &one)?;
    measure("open the frame of one delivery", 1, || {
        black_box(codec::open(&sealed.bytes)?);
        Ok(())
    })?;
    let many = deliveries(MESSAGES);
    let sealed = codec::seal(&header, &many)?;
    let each = sealed.bytes.len() as f64 / f64::from(MESSAGES);
    say(&format!("a message in a frame of {MESSAGES}: {each:.1} bytes"))?;
    measure("open a message in a frame of many", u64::from(MESSAGES), || {
        black_box(codec::open(&sealed.bytes)?);
        Ok(())
    })
}

fn hash() -> Result<()> {
    let body = vec![b'x'; 4096];
    measure("hash a body of 4 KiB (BLAKE3)", 1, || {
        black_box(blake3::hash(&body));
        Ok(())
    })?;
    measure("checksum 4 KiB (CRC-32C)", 1, || {
        black_box(crc32c::crc32c(&body));
        Ok(())
    })
}

fn header() -> FrameHeader {
    FrameHeader {
        stream: StreamId([1; 16]),
        epoch: Epoch(1),
        lsn: Lsn(1),
        previous: ChainHash::default(),
        captured_ms: 1_700_000_000_000,
        run: None,
        peer: None,
    }
}

fn deliveries(messages: u32) -> Payload {
    let append = |uid: u32| {
        Op::Append(Append {
            uid: Uid(uid),
            guid: format!("{uid:032x}").as_str().into(),
            size: Some(12_345),
            internal_date: 1_700_000_000,
            save_date: None,
            flags: Flags::NONE,
            keywords: vec![Keyword::from("$HasAttachment")],
            modseq: Modseq(u64::from(uid)),
        })
    };
    Payload::Mailbox(MailboxTxn {
        mailbox: MailboxId {
            user: "anna@example.org".into(),
            guid: Guid([7; 16]),
        },
        uidvalidity: UidValidity(1_700_000_000),
        ops: (1..=messages).map(append).collect(),
        uidnext: Uid(messages + 1),
        highest_modseq: Modseq(u64::from(messages)),
        position: SourcePosition::default(),
    })
}

fn from_vector(archive: &str, file: &str) -> Result<Vec<u8>> {
    let path = format!("{}/tests/vectors/dovecot/{archive}", env!("CARGO_MANIFEST_DIR"));
    let mut archive = tar::Archive::new(std::fs::File::open(&path).context(path)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with(file) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    anyhow::bail!("no {file} in the vector")
}

fn measure(what: &str, items: u64, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let mut samples_ns = Vec::new();
    // the first one warms up
    for sample in 0..=SAMPLES {
        let (began, mut rounds) = (Instant::now(), 0_u64);
        while began.elapsed() < SAMPLE {
            work()?;
            rounds += 1;
        }
        if sample > 0 {
            samples_ns.push(began.elapsed().as_secs_f64() * 1e9 / (rounds * items) as f64);
        }
    }
    samples_ns.sort_by(f64::total_cmp);
    let at = |place: usize| samples_ns.get(place).copied().unwrap_or(f64::NAN);
    say(&format!(
        "{what:<44} {:8.0} ns ({:.0}-{:.0})",
        at(SAMPLES / 2),
        at(0),
        at(SAMPLES - 1)
    ))
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
