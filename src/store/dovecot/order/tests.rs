use super::*;
use crate::op::{
    Append, Disappearance, Expunge, Flags, MailboxId, MailboxName, MailboxTxn, MessageGuid, Modseq, SourcePosition,
    TreeMailbox, Uid, UidRange, UidValidity, UserName,
};
use proptest::prelude::*;

fn guid(mailbox: usize) -> Guid {
    Guid([u8::try_from(mailbox).unwrap(); 16])
}

fn txn(mailbox: usize, op: Op) -> Item {
    Item::of(vec![Payload::Mailbox(MailboxTxn {
        mailbox: MailboxId {
            user: UserName::from("u"),
            guid: guid(mailbox),
        },
        uidvalidity: UidValidity(1),
        ops: vec![op],
        uidnext: Uid(1),
        highest_modseq: Modseq(1),
        position: SourcePosition::default(),
    })])
}

fn append(mailbox: usize, message: u32) -> Item {
    txn(
        mailbox,
        Op::Append(Append {
            uid: Uid(message),
            guid: MessageGuid(message.to_string()),
            size: None,
            internal_date: 0,
            save_date: None,
            flags: Flags::NONE,
            keywords: Vec::new(),
            modseq: Modseq(1),
        }),
    )
}

fn expunge(mailbox: usize, message: u32) -> Item {
    let uids = vec![UidRange::one(Uid(message))];
    txn(
        mailbox,
        Op::Expunge(Expunge {
            uids,
            requested: true,
            modseq: Modseq(1),
        }),
    )
}

fn covered(mut item: Item) -> Item {
    item.covered = true;
    item
}

fn queues(lists: impl IntoIterator<Item = (usize, Vec<Item>)>) -> Queues {
    lists
        .into_iter()
        .map(|(mailbox, items)| (guid(mailbox), items.into()))
        .collect()
}

/// `a1` append of message 1, `x1` its expunge, `T` a tree change; runs in brackets.
fn spelled(out: &[Captured]) -> String {
    let word = |payload: &Payload| match payload {
        Payload::Mailbox(txn) => match &txn.ops[0] {
            Op::Append(append) => format!("a{}", append.uid),
            Op::Expunge(expunge) => format!("x{}", expunge.uids[0].first),
            _ => "?".to_owned(),
        },
        _ => "T".to_owned(),
    };
    let words = out.iter().map(|c| {
        let run = c.payloads.iter().map(word).collect::<Vec<_>>().join(" ");
        if c.payloads.len() > 1 { format!("[{run}]") } else { run }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn go(lists: impl IntoIterator<Item = (usize, Vec<Item>)>) -> (String, Queues) {
    let mut queues = queues(lists);
    let out = release(&mut queues, &mut TreeSteps::default(), Patience::Covered);
    (spelled(&out), queues)
}

#[test]
fn a_moves_append_goes_before_its_expunge() {
    let moved = [(1, vec![covered(expunge(1, 7))]), (2, vec![append(2, 7)])];
    assert_eq!(go(moved), ("a7 x7".to_owned(), Queues::new()));
}

#[test]
fn two_logs_that_wait_for_each_other_go_as_one_run() {
    let crossed = [
        (1, vec![covered(expunge(1, 7)), append(1, 8)]),
        (2, vec![covered(expunge(2, 8)), append(2, 7)]),
        (3, vec![covered(expunge(3, 9))]),
    ];
    assert_eq!(go(crossed), ("[x7 a8 x8 a7] x9".to_owned(), Queues::new()));
}

#[test]
fn an_expunge_that_is_not_covered_waits_with_all_behind_it() {
    let (out, kept) = go([
        (1, vec![append(1, 5), expunge(1, 5)]),
        (2, vec![covered(expunge(2, 4))]),
    ]);
    assert_eq!((out.as_str(), kept.len()), ("a5 x4", 1));
    // An append behind it may belong to the other queue's expunge: nothing but the prefixes goes.
    let (out, kept) = go([
        (1, vec![expunge(1, 5), append(1, 4)]),
        (2, vec![covered(expunge(2, 4))]),
    ]);
    assert_eq!((out.as_str(), kept.len()), ("", 2));
}

fn renamed(mailbox: usize, name: Result<&str, Disappearance>) -> TreeChange {
    let name = name.map(|name| MailboxName::of([name]));
    TreeChange {
        mailboxes: vec![TreeMailbox {
            guid: guid(mailbox),
            name,
            special_use: None,
        }],
        ..TreeChange::default()
    }
}

#[test]
fn a_deletion_goes_after_the_last_words_and_the_other_logs_appends() {
    let mut steps = TreeSteps {
        before: Some(renamed(3, Ok("new"))),
        after: Some(renamed(1, Err(Disappearance::Genuine))),
        gone: [guid(1)].into(),
        introduced: [guid(3)].into(),
        together: false,
    };
    let mut waiting = queues([
        (1, vec![covered(expunge(1, 7))]),
        (2, vec![append(2, 7)]),
        (3, vec![append(3, 6)]),
    ]);
    let out = release(&mut waiting, &mut steps, Patience::Covered);
    assert_eq!(spelled(&out), "T a7 a6 x7 T");
}

#[test]
fn a_name_that_is_taken_again_changes_hands_at_once() {
    let steps = || TreeSteps {
        before: Some(renamed(3, Ok("a"))),
        after: Some(renamed(1, Err(Disappearance::Genuine))),
        gone: [guid(1)].into(),
        introduced: [guid(3)].into(),
        together: true,
    };
    let lists = |item: Item| queues([(1, vec![item]), (2, vec![append(2, 7)]), (3, vec![append(3, 6)])]);
    let out = release(&mut lists(covered(expunge(1, 7))), &mut steps(), Patience::Covered);
    assert_eq!(spelled(&out), "a7 [x7 T a6]");
    let mut waiting = lists(expunge(1, 7));
    let out = release(&mut waiting, &mut steps(), Patience::Covered);
    assert_eq!((spelled(&out).as_str(), waiting.len()), ("a7", 2));
}

/// A server with four mailboxes and a reader that reads whole logs at random moments, as the capture does.
#[derive(Clone, Debug)]
enum Step {
    Deliver(usize),
    Move(usize, usize),
    Remove(usize),
    Read(usize),
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mailbox = 0..4usize;
    let step = prop_oneof![
        2 => mailbox.clone().prop_map(Step::Deliver),
        5 => (mailbox.clone(), mailbox.clone()).prop_map(|(from, to)| Step::Move(from, to)),
        1 => mailbox.clone().prop_map(Step::Remove),
        4 => mailbox.prop_map(Step::Read),
        3 => Just(Step::Release),
    ];
    proptest::collection::vec(step, 1..120)
}

#[derive(Default)]
struct World {
    holds: [Vec<u32>; 4],
    logs: [Vec<Item>; 4],
    read: [usize; 4],
    queues: Queues,
    out: Vec<Captured>,
    messages: u32,
}

impl World {
    fn put(&mut self, mailbox: usize, message: u32) {
        self.holds[mailbox].push(message);
        self.logs[mailbox].push(append(mailbox, message));
    }

    fn read(&mut self, mailbox: usize) {
        let fresh = self.logs[mailbox][self.read[mailbox]..].iter().cloned();
        self.queues.entry(guid(mailbox)).or_default().extend(fresh);
        self.read[mailbox] = self.logs[mailbox].len();
    }

    /// Reads all logs, with what the server did in between, and covers what was there before.
    fn cover(&mut self) {
        let counts: Vec<(Guid, usize)> = self.queues.iter().map(|(g, q)| (*g, q.len())).collect();
        (0..4).for_each(|mailbox| self.read(mailbox));
        for (guid, count) in counts {
            let queue = self.queues.get_mut(&guid).unwrap();
            queue.iter_mut().take(count).for_each(|item| item.covered = true);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Deliver(mailbox) => {
                self.messages += 1;
                self.put(mailbox, self.messages);
            }
            Step::Move(from, to) => {
                if let Some(message) = self.holds[from].pop() {
                    // The same message has another name in each place, as UIDs have.
                    self.put(to, message);
                    self.logs[from].push(expunge(from, message));
                }
            }
            Step::Remove(mailbox) => {
                if let Some(message) = self.holds[mailbox].pop() {
                    self.logs[mailbox].push(expunge(mailbox, message));
                }
            }
            Step::Read(mailbox) => self.read(mailbox),
            Step::Release => {
                self.cover();
                self.out
                    .extend(release(&mut self.queues, &mut TreeSteps::default(), Patience::Covered));
            }
        }
    }
}

proptest! {
    #[test]
    fn however_it_is_read_every_move_arrives_before_it_leaves(steps in steps()) {
        let mut world = World::default();
        steps.iter().for_each(|step| world.step(step));
        // Three quiet readings bring out everything.
        for _ in 0..3 { world.step(&Step::Release); }
        prop_assert!(world.queues.is_empty());
        let mut copies: BTreeMap<u32, i32> = BTreeMap::new();
        let mut order: BTreeMap<Guid, Vec<Payload>> = BTreeMap::new();
        for captured in &world.out {
            for payload in &captured.payloads {
                let Payload::Mailbox(txn) = payload else { continue };
                match &txn.ops[0] {
                    Op::Append(append) => *copies.entry(append.uid.0).or_default() += 1,
                    Op::Expunge(expunge) => *copies.entry(expunge.uids[0].first.0).or_default() -= 1,
                    _ => {}
                }
                order.entry(txn.mailbox.guid).or_default().push(payload.clone());
            }
            for (message, copies) in &copies {
                let alive = world.holds.iter().flatten().any(|held| held == message);
                prop_assert!(!alive || *copies >= 1, "message {message} was nowhere");
            }
        }
        for (mailbox, log) in world.logs.iter().enumerate() {
            let written: Vec<Payload> = log.iter().flat_map(|item| item.payloads.clone()).collect();
            prop_assert_eq!(order.remove(&guid(mailbox)).unwrap_or_default(), written);
        }
    }
}

#[test]
fn of_two_lists_in_a_row_the_second_goes_out_and_what_was_broken_stays_so() {
    let list = |lineage: Lineage| {
        let mailbox = MailboxId {
            user: UserName::from("u"),
            guid: guid(1),
        };
        Item::of(vec![Payload::State(crate::op::StateChunk {
            mailbox,
            uidvalidity: UidValidity(1),
            lineage,
            messages: Vec::new(),
            uidnext: Uid(1),
            highest_modseq: Modseq(1),
            position: SourcePosition::default(),
        })])
    };
    let after = |first: Lineage, second: Lineage| {
        let mut item = list(second);
        item.follow(&list(first));
        let Payload::State(chunk) = &item.payloads[0] else {
            panic!()
        };
        (chunk.lineage, item.expunges)
    };
    assert_eq!(after(Lineage::Broken, Lineage::Whole), (Lineage::Broken, true));
    assert_eq!(after(Lineage::Whole, Lineage::Broken), (Lineage::Broken, true));
    assert_eq!(after(Lineage::Whole, Lineage::Whole), (Lineage::Whole, true));
    assert_eq!(after(Lineage::Initial, Lineage::Broken), (Lineage::Initial, false));
}
