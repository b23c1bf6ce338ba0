//! What applying costs: messages a second into the embedded store, and how long listing a large mailbox takes.
//!
//! `cargo run --release --example bench_apply [FOLDER]` (default: a temporary folder; name an empty one on the disk that
//! is to be measured).

use mailshadow::op::{
    Append, BodyHash, BodyName, BodyPlace, ChainHash, Epoch, Flags, FrameHeader, Guid, Lineage, Lsn, MailboxId,
    MailboxName, MailboxTxn, Modseq, Op, Payload, SourcePosition, StateChunk, StreamId, TreeChange, TreeMailbox, Uid,
    UidValidity,
};
use mailshadow::store::embedded::Embedded;
use mailshadow::store::target::Frame;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const USER: &str = "u@example.net";
const BODY_BYTES: u64 = 4096;

/// A primary that never waits, and the store that it feeds.
struct Source {
    store: Embedded,
    lsn: u64,
    chain: ChainHash,
    uid: u32,
}

fn main() -> Outcome<()> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let store = Embedded::open(&dir, &"mail-b".into(), Duration::from_secs(1_209_600))?;
    let mut source = Source {
        store,
        lsn: 0,
        chain: ChainHash::default(),
        uid: 0,
    };
    source.begin()?;
    for (batch, messages) in [(1, 500), (64, 12_800)] {
        let took = source.append(messages, batch)?;
        say(&format!(
            "append, {batch} a batch, {BODY_BYTES} octets each: {}",
            rate(messages, took)
        ))?;
    }
    let took = source.list(100_000)?;
    say(&format!("state of 100000 new messages: {}", rate(100_000, took)))?;
    let view = &source.store.view;
    let mailbox = view.mailbox(&USER.into(), &name(2))?.ok_or("the mailbox is gone")?;
    for round in 1..=3 {
        let began = Instant::now();
        let messages = view.listing(mailbox.key)?.ok_or("the mailbox is gone")?;
        let took_ms = began.elapsed().as_secs_f64() * 1000.0;
        say(&format!(
            "listing {} messages, round {round}: {took_ms:.0} ms",
            messages.len()
        ))?;
    }
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

fn rate(messages: u32, took: Duration) -> String {
    let each = took.as_secs_f64() / f64::from(messages);
    format!("{:.0} messages/s, {:.1} µs each", 1.0 / each, each * 1e6)
}

fn name(number: u8) -> MailboxName {
    MailboxName::of([format!("box {number}")])
}

fn id(mailbox: u8) -> MailboxId {
    MailboxId {
        user: USER.into(),
        guid: Guid([mailbox; 16]),
    }
}

fn message(uid: u32) -> Append {
    let marked = uid.is_multiple_of(3);
    let guid = blake3::hash(&uid.to_le_bytes()).to_hex();
    Append {
        uid: Uid(uid),
        guid: guid.chars().take(32).collect::<String>().as_str().into(),
        size: Some(BODY_BYTES),
        internal_date: 1_700_000_000,
        save_date: None,
        flags: if marked { Flags::SEEN } else { Flags::NONE },
        keywords: if marked {
            vec!["$Forwarded".into(), "work".into()]
        } else {
            Vec::new()
        },
        modseq: Modseq(u64::from(uid)),
    }
}

impl Source {
    fn frame(&mut self, payload: Payload) -> Vec<Frame> {
        let previous = self.chain;
        self.lsn += 1;
        self.chain = ChainHash(*blake3::hash(&self.lsn.to_le_bytes()).as_bytes());
        let header = FrameHeader {
            stream: StreamId([1; 16]),
            epoch: Epoch(1),
            lsn: Lsn(self.lsn),
            previous,
            captured_ms: 0,
            run: None,
            peer: None,
        };
        let chain = self.chain;
        vec![Frame { header, chain, payload }]
    }

    fn begin(&mut self) -> Outcome<()> {
        let mailboxes = (1..=2).map(|number| TreeMailbox {
            guid: Guid([number; 16]),
            name: Ok(name(number)),
            special_use: None,
        });
        let tree = TreeChange {
            user: USER.into(),
            mailboxes: mailboxes.collect(),
            ..TreeChange::default()
        };
        let frames = [self.frame(Payload::Tree(tree)), self.frame(state(1, 0))];
        self.store.target.apply(&frames, &Vec::new())?;
        Ok(())
    }

    /// Bodies first, flushed, then the mail: as a standby does it.
    fn append(&mut self, messages: u32, batch: u32) -> Outcome<Duration> {
        let began = Instant::now();
        for _ in 0..messages / batch {
            let mut transactions = Vec::new();
            for _ in 0..batch {
                self.uid += 1;
                let message = message(self.uid);
                self.deliver(&message)?;
                transactions.push(self.frame(transaction(message)));
            }
            self.store.bodies.commit()?;
            self.store.target.apply(&transactions, &Vec::new())?;
        }
        Ok(began.elapsed())
    }

    fn deliver(&self, message: &Append) -> Outcome<()> {
        let mut body = vec![b'x'; usize::try_from(BODY_BYTES)?];
        body.splice(0..4, message.uid.0.to_le_bytes());
        let place = BodyPlace {
            mailbox: id(1),
            uidvalidity: UidValidity(1),
            uid: message.uid,
        };
        let name = BodyName {
            place,
            guid: message.guid.clone(),
            size: message.size,
        };
        self.store.bodies.lacking(std::slice::from_ref(&name))?;
        let hash = BodyHash(*blake3::hash(&body).as_bytes());
        self.store.bodies.put(&name, &body, &hash)?;
        Ok(())
    }

    fn list(&mut self, messages: u32) -> Outcome<Duration> {
        let frames = [self.frame(state(2, messages))];
        let began = Instant::now();
        self.store.target.apply(&frames, &Vec::new())?;
        Ok(began.elapsed())
    }
}

fn transaction(message: Append) -> Payload {
    Payload::Mailbox(MailboxTxn {
        mailbox: id(1),
        uidvalidity: UidValidity(1),
        uidnext: Uid(message.uid.0 + 1),
        highest_modseq: message.modseq,
        ops: vec![Op::Append(message)],
        position: SourcePosition::default(),
    })
}

/// UIDs far from those of the other mailbox, so that no body is shared.
fn state(mailbox: u8, messages: u32) -> Payload {
    let first = u32::from(mailbox) * 1_000_000;
    Payload::State(StateChunk {
        mailbox: id(mailbox),
        uidvalidity: UidValidity(1),
        lineage: Lineage::Initial,
        messages: (first + 1..=first + messages).map(message).collect(),
        uidnext: if messages == 0 {
            Uid(1)
        } else {
            Uid(first + messages + 1)
        },
        highest_modseq: Modseq(1),
        position: SourcePosition::default(),
    })
}
