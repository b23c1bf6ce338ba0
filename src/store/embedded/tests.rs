//! The store against the model, and against crashes.

mod bodies;
mod compare;
mod custody;
mod mirror;
mod model;
mod sharing;
mod stream;

use super::Embedded;
use crate::op::model::Model;
use crate::op::*;
use crate::store::target::{Frame, GoneAnswers, TargetError};
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;

const USER: &str = "u@example.net";

/// A store in a folder of its own, and the primary that feeds it.
struct Copy {
    dir: TempDir,
    store: Option<Embedded>,
    lsn: u64,
    chain: ChainHash,
    epoch: Epoch,
}

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = Self {
            dir,
            store: None,
            lsn: 0,
            chain: ChainHash::default(),
            epoch: Epoch(1),
        };
        copy.reopen();
        copy
    }

    fn reopen(&mut self) {
        self.store = None;
        let retain = Duration::from_secs(3600);
        self.store = Some(Embedded::open(self.dir.path(), &"mail-b".into(), retain).unwrap());
    }

    fn store(&mut self) -> &mut Embedded {
        self.store.as_mut().unwrap()
    }

    /// One transaction of one or several frames.
    fn frames(&mut self, payloads: &[Payload]) -> Vec<Frame> {
        let parts = payloads.len() as u32;
        let first = Lsn(self.lsn + 1);
        let mut frames = Vec::new();
        for (part, payload) in (0..).zip(payloads) {
            self.lsn += 1;
            if let Payload::Epoch(start) = payload {
                self.epoch = start.epoch;
            }
            let header = FrameHeader {
                stream: StreamId([1; 16]),
                epoch: self.epoch,
                lsn: Lsn(self.lsn),
                previous: self.chain,
                captured_ms: 0,
                run: (parts > 1).then_some(Run { first, part, parts }),
                peer: None,
            };
            self.chain = ChainHash(*blake3::hash(&self.lsn.to_le_bytes()).as_bytes());
            frames.push(Frame {
                header,
                chain: self.chain,
                payload: payload.clone(),
            });
        }
        frames
    }

    fn apply(&mut self, payloads: &[Payload]) -> Vec<DigestVerdict> {
        self.apply_answered(payloads, &Vec::new())
    }

    fn apply_answered(&mut self, payloads: &[Payload], answers: &GoneAnswers) -> Vec<DigestVerdict> {
        let frames = self.frames(payloads);
        self.store().target.apply(&[frames], answers).unwrap()
    }

    /// What a query of the database gives, first column as text.
    fn query(&self, sql: &str) -> Vec<String> {
        let connection = super::open::reader(&self.dir.path().join("mail.sqlite")).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn uids(&mut self, mailbox: u8) -> Vec<u32> {
        let view = &self.store().view;
        let row = view.mailbox(&USER.into(), &name(mailbox)).unwrap();
        let listing = view.listing(row.unwrap().key).unwrap().unwrap();
        listing.uids().iter().map(|uid| uid.0).collect()
    }
}

fn id(mailbox: u8) -> MailboxId {
    MailboxId {
        user: USER.into(),
        guid: Guid([mailbox; 16]),
    }
}

fn name(number: u8) -> MailboxName {
    MailboxName::of([format!("box {number}")])
}

fn message(uid: u32, guid: &str) -> Append {
    Append {
        uid: Uid(uid),
        guid: guid.into(),
        size: Some(5),
        internal_date: 1_700_000_000,
        save_date: None,
        flags: Flags::NONE,
        keywords: Vec::new(),
        modseq: Modseq(u64::from(uid)),
    }
}

fn txn(mailbox: u8, ops: Vec<Op>) -> Payload {
    let last = ops.iter().filter_map(|op| match op {
        Op::Append(append) => Some(append.uid.0 + 1),
        _ => None,
    });
    Payload::Mailbox(MailboxTxn {
        mailbox: id(mailbox),
        uidvalidity: UidValidity(1),
        uidnext: Uid(last.max().unwrap_or(0)),
        ops,
        highest_modseq: Modseq(1),
        position: SourcePosition::default(),
    })
}

fn append(uid: u32, guid: &str) -> Op {
    Op::Append(message(uid, guid))
}

fn expunge(uid: u32, requested: bool) -> Op {
    Op::Expunge(Expunge {
        uids: vec![UidRange::one(Uid(uid))],
        requested,
        modseq: Modseq(9),
    })
}

fn state(mailbox: u8, uidvalidity: u32, lineage: Lineage, messages: Vec<Append>) -> Payload {
    let uidnext = messages.last().map_or(Uid(1), |message| Uid(message.uid.0 + 1));
    Payload::State(StateChunk {
        mailbox: id(mailbox),
        uidvalidity: UidValidity(uidvalidity),
        lineage,
        messages,
        uidnext,
        highest_modseq: Modseq(1),
        position: SourcePosition::default(),
    })
}

fn named(mailbox: u8, number: u8) -> TreeMailbox {
    TreeMailbox {
        guid: Guid([mailbox; 16]),
        name: Ok(name(number)),
        special_use: None,
    }
}

fn gone(mailbox: u8, why: Disappearance) -> TreeMailbox {
    TreeMailbox {
        guid: Guid([mailbox; 16]),
        name: Err(why),
        special_use: None,
    }
}

fn tree(mailboxes: Vec<TreeMailbox>) -> Payload {
    Payload::Tree(TreeChange {
        user: USER.into(),
        mailboxes,
        ..TreeChange::default()
    })
}

/// A copy with `box 1` and `box 2`, both empty and listed.
fn two_mailboxes() -> Copy {
    let mut copy = Copy::new();
    copy.apply(&[tree(vec![named(1, 1), named(2, 2)])]);
    copy.apply(&[state(1, 1, Lineage::Initial, Vec::new())]);
    copy.apply(&[state(2, 1, Lineage::Initial, Vec::new())]);
    copy
}

fn separated_by(number: u8) -> Namespaces {
    Namespaces {
        separator: char::from(b'!' + number % 90),
        prefixes: vec![number.to_string()],
    }
}
