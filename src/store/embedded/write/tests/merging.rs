//! A lost tail comes back: two stores with one history that parted, and what the old one has beyond is merged into the new one.

use super::*;
use crate::op::Lsn;
use crate::role::merge::{Item, Net, Tally};
use crate::store::change::TailPiece;
use crate::store::custody::Decision;
use crate::store::source::BodyAnswer;
use crate::store::target::GoneAnswers;
use std::collections::BTreeMap;

pub(super) const ANN: &str = "ann";

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

/// An old primary, and the new one that was its copy up to the fork.
pub(super) struct Parted {
    pub(super) old: Primary,
    pub(super) new: Primary,
    fork: Lsn,
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

impl Parted {
    /// Parts after these changes: the copy takes epoch 2, and leaves numbers out.
    fn after(changes: &[Change]) -> Self {
        let mut old = Primary::new();
        for change in changes {
            old.done(change.clone());
        }
        Self::here(old)
    }

    pub(super) fn here(mut old: Primary) -> Self {
        let fork = old.tape.last().0;
        old.open = None;
        let mut new = Primary {
            dir: tempfile::tempdir().unwrap(),
            open: None,
            tape: Tape {
                durable: old.tape.durable.clone(),
                now_ms: BEGIN_MS + 60_000,
                epoch: 2,
                ..Tape::default()
            },
            draws: 1_000,
        };
        copy_folder(old.dir.path(), new.dir.path());
        old.reopen();
        let (lsn, chain) = new.tape.last();
        let start = EpochStart {
            epoch: Epoch(2),
            node: "mail-b".into(),
            previous: Epoch(1),
            fork_lsn: lsn,
            fork_hash: chain,
            leap: Some(Leap::over(0)),
        };
        new.tape.seal(&[Payload::Epoch(start)]).unwrap();
        new.tape.commit().unwrap();
        new.reopen();
        Self { old, new, fork }
    }

    pub(super) fn net(&self) -> Net {
        let mut net = Net::default();
        let behind = self
            .old
            .tape
            .durable
            .iter()
            .filter(|frames| frames[0].header.lsn > self.fork);
        for frames in behind {
            whole(frames.iter().map(|frame| frame.payload.clone()))
                .iter()
                .for_each(|payload| net.fold(payload));
        }
        net
    }

    /// Brings a piece, with what it lacks.
    pub(super) fn bring(&mut self, item: &Item) -> Result<Tally, Batch> {
        let mut bodies = BTreeMap::new();
        loop {
            let piece = TailPiece {
                stream: StreamId([1; 16]),
                epoch: Epoch(1),
                item: item.clone(),
                bodies: bodies.clone(),
            };
            let lacks = match self.new.batch(&[Change::Merge(Box::new(piece))]) {
                Batch::Made(mut outcomes) => match outcomes.remove(0).unwrap() {
                    Changed::Merged(tally) => return Ok(tally),
                    Changed::Lacks(names) => names,
                    other => panic!("{other:?}"),
                },
                cut => return Err(cut),
            };
            let origin = self.old.store().origin();
            for name in lacks {
                let answer = origin.read(std::slice::from_ref(&name.place), &name.guid, name.size);
                let octets = match answer {
                    BodyAnswer::Body(octets) => Some(octets.into()),
                    BodyAnswer::Missing(_) => None,
                };
                assert!(bodies.insert(name, octets).is_none(), "asked for twice");
            }
        }
    }

    pub(super) fn merge(&mut self) -> Tally {
        let mut tally = Tally::default();
        for item in self.net().items() {
            tally.add(&self.bring(&item).unwrap());
        }
        tally
    }

    fn texts(&self, name: &MailboxName) -> Vec<String> {
        texts(&self.new, name)
    }
}

fn texts(primary: &Primary, name: &MailboxName) -> Vec<String> {
    let messages = primary.messages(ANN, name).into_iter();
    messages
        .map(|seen| String::from_utf8(seen.octets.unwrap()).unwrap())
        .collect()
}

fn all() -> Vec<UidRange> {
    vec![UidRange::ALL]
}

fn moved(primary: &Primary, from: &MailboxName, uids: &[UidRange], into: &MailboxName) -> Change {
    Change::Copy {
        mailbox: primary.id(ANN, from),
        uids: uids.to_vec(),
        into: into.clone(),
        moved: true,
    }
}

fn expunge(primary: &mut Primary, mailbox: &MailboxName, uids: &[UidRange]) {
    let id = primary.id(ANN, mailbox);
    primary.done(store(&id, uids, FlagVerb::Add, Flags::DELETED, &[]));
    let uids = Some(uids.to_vec());
    primary.done(Change::Expunge { mailbox: id, uids });
}

#[test]
fn a_tail_that_is_brought_again_is_merged_once_also_over_a_power_cut_and_on_the_next_primary() {
    let mut parted = Parted::after(&[append(ANN, &inbox(), &["one"])]);
    parted.old.done(append(ANN, &inbox(), &["two", "three"]));
    parted.new.done(append(ANN, &inbox(), &["after"]));
    let items = parted.net().items();
    parted.new.tape.fate = Fate::PowerCut;
    assert!(parted.bring(&items[0]).is_err(), "the power did not go");
    parted.new.reopen();
    let tally = parted.merge();
    assert_eq!(
        (tally.messages, tally.known, tally.new),
        (2, 2, 0),
        "the journal had it"
    );
    assert_eq!(parted.texts(&inbox()), ["one", "after", "two", "three"]);
    let before = parted.new.tape.last();
    parted.merge();
    assert_eq!(parted.new.tape.last(), before, "it was merged again");
    // whoever followed the new primary knows it too
    let mut next = Parted::here(std::mem::replace(&mut parted.new, Primary::new()));
    next.old = parted.old;
    next.fork = parted.fork;
    next.new.done(Change::Expunge {
        mailbox: next.new.id(ANN, &inbox()),
        uids: None,
    });
    let before = next.new.tape.last();
    next.merge();
    assert_eq!(next.new.tape.last(), before, "the next primary merged it again");
}

#[test]
fn a_message_that_was_merged_and_deleted_since_does_not_come_back() {
    let mut parted = Parted::after(&[append(ANN, &inbox(), &["one"])]);
    parted.old.done(append(ANN, &inbox(), &["two"]));
    parted.merge();
    let merged = UidRange::one(Uid(parted.new.uids(ANN, &inbox())[1]));
    expunge(&mut parted.new, &inbox(), &[merged]);
    assert_eq!(parted.merge().known, 1);
    assert_eq!(parted.texts(&inbox()), ["one"]);
}

#[test]
fn mail_that_was_delivered_again_meanwhile_is_not_doubled_and_equal_mail_from_before_is_no_reason() {
    let mut parted = Parted::after(&[append(ANN, &inbox(), &["old"])]);
    parted
        .old
        .done(append(ANN, &inbox(), &["again", "old", "twice", "twice"]));
    parted.new.done(append(ANN, &inbox(), &["again"]));
    let tally = parted.merge();
    assert_eq!((tally.messages, tally.known, tally.new), (4, 1, 3));
    assert_eq!(parted.texts(&inbox()), ["old", "again", "old", "twice", "twice"]);
}

#[test]
fn a_message_that_the_tail_moved_is_in_one_mailbox_and_flags_that_it_got_on_the_way_are_kept() {
    let a = name(&["a"]);
    let mut parted = Parted::after(&[create(ANN, &a), append(ANN, &inbox(), &["one", "two"])]);
    parted.old.done(append(ANN, &inbox(), &["three"]));
    let id = parted.old.id(ANN, &inbox());
    parted
        .old
        .done(store(&id, &all(), FlagVerb::Add, Flags::FLAGGED, &["Work"]));
    let change = moved(
        &parted.old,
        &inbox(),
        &[UidRange {
            first: Uid(2),
            last: Uid(3),
        }],
        &a,
    );
    parted.old.done(change);
    let tally = parted.merge();
    assert_eq!((tally.new, tally.copied, tally.moved, tally.quarantined), (1, 1, 1, 0));
    assert_eq!((parted.texts(&inbox()), tally.flags), (vec!["one".to_owned()], 1));
    assert_eq!(parted.texts(&a), ["two", "three"]);
    let flagged = parted
        .new
        .messages(ANN, &a)
        .iter()
        .all(|m| m.flags == Flags::FLAGGED && !m.keywords.is_empty());
    assert!(flagged, "flags of messages that were moved");
    assert_eq!(parted.new.messages(ANN, &inbox())[0].flags, Flags::FLAGGED);
}

#[test]
fn a_move_of_a_message_that_nobody_touched_since_leaves_one() {
    let a = name(&["a"]);
    let mut parted = Parted::after(&[create(ANN, &a), append(ANN, &inbox(), &["one", "two"])]);
    let change = moved(&parted.old, &inbox(), &all(), &a);
    parted.old.done(change);
    let changed = UidRange::one(Uid(2));
    let id = parted.new.id(ANN, &inbox());
    parted.new.done(store(&id, &[changed], FlagVerb::Add, Flags::SEEN, &[]));
    let tally = parted.merge();
    assert_eq!((tally.copied, tally.moved, tally.quarantined), (2, 1, 1));
    assert_eq!(parted.texts(&inbox()), ["two"], "changed meanwhile, so it waits");
    assert_eq!(parted.texts(&a), ["one", "two"]);
}

#[test]
fn an_expunge_of_the_tail_waits_and_the_operators_word_reaches_every_copy() {
    for (decision, left) in [(Decision::Release, 1), (Decision::Drop, 2)] {
        let mut parted = Parted::after(&[append(ANN, &inbox(), &["one", "two"])]);
        expunge(&mut parted.old, &inbox(), &[UidRange::one(Uid(1))]);
        assert_eq!(parted.merge().quarantined, 1);
        assert_eq!(parted.texts(&inbox()), ["one", "two"]);
        let entry = parted.new.store().custody.entries(None, 9).unwrap().remove(0);
        parted.new.done(Change::Decide {
            entry: entry.id,
            decision,
        });
        assert_eq!(parted.texts(&inbox()).len(), left);
        assert!(parted.new.store().custody.entries(None, 9).unwrap().is_empty());
        // a copy that follows by frames alone
        let fork = parted.fork;
        let rest: Vec<Vec<Frame>> = parted
            .new
            .tape
            .durable
            .iter()
            .filter(|f| f[0].header.lsn > fork)
            .cloned()
            .collect();
        let copy = Parted::after(&[append(ANN, &inbox(), &["one", "two"])]);
        assert_eq!(copy.fork, fork);
        let mut copy = copy.old;
        copy.open.as_mut().unwrap().1.replay(&rest).unwrap();
        assert_eq!(copy.uids(ANN, &inbox()), parted.new.uids(ANN, &inbox()));
        assert!(copy.store().custody.entries(None, 9).unwrap().is_empty());
        parted.merge();
        assert_eq!(parted.texts(&inbox()).len(), left, "decided, it is not asked again");
        assert!(parted.new.store().custody.entries(None, 9).unwrap().is_empty());
    }
}

#[test]
fn what_changed_on_both_sides_stays_as_the_new_primary_has_it() {
    let mut parted = Parted::after(&[append(ANN, &inbox(), &["one", "two"])]);
    let id = parted.old.id(ANN, &inbox());
    parted
        .old
        .done(store(&id, &all(), FlagVerb::Add, Flags::SEEN, &["tail"]));
    parted
        .new
        .done(store(&id, &[UidRange::one(Uid(2))], FlagVerb::Add, Flags::FLAGGED, &[]));
    let tally = parted.merge();
    assert_eq!((tally.flags, tally.flags_kept), (1, 1));
    let flags: Vec<Flags> = parted.new.messages(ANN, &inbox()).iter().map(|m| m.flags).collect();
    assert_eq!(flags, [Flags::SEEN, Flags::FLAGGED]);
    assert_eq!(parted.merge().flags, 0, "made again");
}

#[test]
fn mailboxes_of_the_tail_find_their_places() {
    let [a, b, c, taken] = [&["a"][..], &["b"], &["c"], &["taken"]].map(name);
    let mut parted = Parted::after(&[
        create(ANN, &a),
        create(ANN, &b),
        create(ANN, &name(&["gone"])),
        append(ANN, &b, &["kept"]),
    ]);
    for change in [
        create(ANN, &c),
        append(ANN, &c, &["in a new mailbox"]),
        create(ANN, &taken),
        append(ANN, &taken, &["in a name that is taken"]),
        append(ANN, &name(&["gone"]), &["in a mailbox that is gone"]),
        Change::Rename {
            user: ANN.into(),
            from: a.clone(),
            to: name(&["renamed"]),
        },
        Change::Delete {
            user: ANN.into(),
            name: b.clone(),
        },
        Change::Subscribe {
            user: ANN.into(),
            name: c.clone(),
            subscribed: true,
        },
    ] {
        parted.old.done(change);
    }
    parted.new.done(create(ANN, &taken));
    parted.new.done(Change::Delete {
        user: ANN.into(),
        name: name(&["gone"]),
    });
    let tally = parted.merge();
    assert_eq!((tally.mailboxes, tally.renamed, tally.mailboxes_quarantined), (1, 1, 1));
    assert_eq!(parted.texts(&c), ["in a new mailbox"]);
    assert_eq!(parted.texts(&taken), ["in a name that is taken"]);
    assert_eq!(parted.texts(&inbox()), ["in a mailbox that is gone"]);
    assert_eq!(parted.texts(&b), ["kept"], "a deleted mailbox waits for the operator");
    assert!(parted.texts(&name(&["renamed"])).is_empty());
    assert_eq!(parted.new.id(ANN, &c), parted.old.id(ANN, &c));
    let entry = parted.new.store().custody.entries(None, 9).unwrap().remove(0);
    let decision = Decision::Release;
    parted.new.done(Change::Decide {
        entry: entry.id,
        decision,
    });
    assert!(parted.new.store().view.mailbox(&ANN.into(), &b).unwrap().is_none());
    let kept = parted.new.store().custody.retained(None).unwrap();
    let kept = kept.iter().find(|kept| kept.mailbox == "b").unwrap();
    parted.new.done(Change::Restore { entry: kept.id });
    assert_eq!(parted.texts(&inbox()), ["in a mailbox that is gone", "kept"]);
    let again = parted.new.change(Change::Restore { entry: kept.id });
    assert!(again.is_err(), "restored twice");
}

#[test]
fn an_old_store_takes_the_new_ones_lists_and_fetches_nothing_that_it_has() {
    let [a, b] = [&["a"][..], &["b"]].map(name);
    let mut parted = Parted::after(&[create(ANN, &a), append(ANN, &inbox(), &["one", "two", "three"])]);
    parted.old.done(append(ANN, &inbox(), &["four"]));
    expunge(&mut parted.old, &inbox(), &[UidRange::one(Uid(1))]);
    parted.old.done(create(ANN, &b));
    parted.old.done(append(ANN, &b, &["five"]));
    parted.new.done(append(ANN, &a, &["after"]));
    parted.new.done(create(ANN, &name(&["d"])));
    parted.merge();
    let touched: Vec<(MailboxId, bool)> = parted
        .net()
        .touched()
        .map(|(user, guid, created)| {
            let user = user.clone();
            (MailboxId { user, guid }, created)
        })
        .collect();
    for _ in 0..2 {
        parted.old.store().unwind(&touched).unwrap();
    }
    let export = parted.new.store().export();
    let mut lists = vec![Payload::Tree(export.tree(&ANN.into()).unwrap())];
    for (mailbox, _) in export.mailboxes(&ANN.into()).unwrap() {
        lists.push(Payload::State(export.mailbox(&mailbox).unwrap().unwrap().0));
    }
    let mut base = Tape {
        durable: parted.new.tape.durable.clone(),
        epoch: 2,
        ..Tape::default()
    };
    let reason = "its history was left".to_owned();
    base.seal(&[Payload::Base(BaseStart { reason })]).unwrap();
    for list in lists {
        base.seal(&[list]).unwrap();
    }
    let mut old = parted.old.store().again().unwrap();
    let lacking = old.target.apply(&base.sealed, &GoneAnswers::new());
    lacking.unwrap();
    for mailbox in [&inbox(), &a, &b, &name(&["d"])] {
        assert_eq!(
            parted.old.uids(ANN, mailbox),
            parted.new.uids(ANN, mailbox),
            "{mailbox}"
        );
    }
    let after = parted.old.messages(ANN, &inbox());
    assert!(
        after.iter().all(|message| message.octets.is_some()),
        "a body that was here is gone"
    );
    assert!(parted.old.store().custody.entries(None, 9).unwrap().is_empty());
}
