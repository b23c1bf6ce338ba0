//! Random histories, valid and contradictory, give in SQLite what they give in the model.

pub(super) mod steps;

use super::compare::compare;
use super::*;
use proptest::prelude::*;
use steps::{Deed, Step, step};

const MAILBOXES: u8 = 3;

/// Of the user where `of` is no mailbox; a value of 0 unsets, 3 is one that travels as a body.
fn attributes_change(of: u8, kind: u8, complete: bool, entries: &[(u8, u8)]) -> Payload {
    let value = |number: u8| match number {
        0 => None,
        3 => Some(AttributeValue::of(&[3; 5000])),
        other => Some(AttributeValue::of(&[other])),
    };
    Payload::Attributes(AttributesChange {
        user: USER.into(),
        scope: AttributeScope {
            mailbox: (of < MAILBOXES).then(|| id(of).guid),
            kind: AttributeKind::ALL[usize::from(kind)],
        },
        complete,
        entries: entries
            .iter()
            .map(|(name, n)| (format!("e{name}"), value(*n)))
            .collect(),
        fingerprint: AttributeFingerprint::default(),
        // Now and then a user's scope says which mailboxes hold any.
        holders: (of == MAILBOXES && complete).then(|| vec![id(kind % MAILBOXES).guid]),
    })
}

fn keyword(number: u8) -> Vec<Keyword> {
    let spelled = ["", "work", "WORK", "$Forwarded", "$forwarded", "later"];
    let keyword = spelled[usize::from(number)];
    if keyword.is_empty() {
        Vec::new()
    } else {
        vec![keyword.into(), "x".into()]
    }
}

fn ranges((first, last): (u8, u8)) -> Vec<UidRange> {
    vec![UidRange {
        first: Uid(u32::from(first) + 1),
        last: Uid(u32::from(last) + 1),
    }]
}

fn transaction(model: &Model, clock: u64, mailbox: u8, foreign: bool, deeds: &[Deed]) -> Payload {
    let (uidvalidity, mut uidnext) = model
        .mailbox(&id(mailbox))
        .map_or((UidValidity(1), 1), |m| (m.uidvalidity, m.uidnext.0.max(1)));
    let modseq = Modseq(clock);
    let ops = deeds.iter().map(|deed| match *deed {
        Deed::Append { guid, skip, keyword: k } => {
            // Now and then a UID that was given out before.
            let uid = if skip < 0 {
                uidnext.saturating_sub(1).max(1)
            } else {
                uidnext + u32::from(skip == 5)
            };
            uidnext = uidnext.max(uid + 1);
            let keywords = keyword(k);
            Op::Append(Append {
                keywords,
                modseq,
                ..message(uid, &format!("g{guid}"))
            })
        }
        Deed::Flags { range, add, remove } => {
            let (add, remove) = (Flags::from_bits(add), Flags::from_bits(remove));
            Op::Flags(FlagChange {
                uids: ranges(range),
                add,
                remove,
                modseq,
            })
        }
        Deed::Keywords {
            range,
            verb,
            keyword: k,
        } => {
            let (verb, keyword) = keyword_change(verb, k);
            Op::Keywords(KeywordChange {
                uids: ranges(range),
                verb,
                keyword,
                modseq,
            })
        }
        Deed::Expunge { range, requested } => Op::Expunge(Expunge {
            uids: ranges(range),
            requested,
            modseq,
        }),
    });
    let ops = ops.collect();
    let uidvalidity = if foreign {
        UidValidity(uidvalidity.0 + 1)
    } else {
        uidvalidity
    };
    let position = SourcePosition::default();
    let (mailbox, uidnext, highest_modseq) = (id(mailbox), Uid(uidnext), modseq);
    Payload::Mailbox(MailboxTxn {
        mailbox,
        uidvalidity,
        ops,
        uidnext,
        highest_modseq,
        position,
    })
}

/// A reset names no keyword, the other verbs do.
fn keyword_change(verb: u8, number: u8) -> (KeywordVerb, Keyword) {
    let verb = KeywordVerb::try_from(verb % 4 + 1).unwrap();
    let named = (verb != KeywordVerb::Reset).then(|| keyword(number.max(1)).remove(0));
    (verb, named.unwrap_or_default())
}

/// A message is appended to one mailbox and expunged from the other.
fn move_message(model: &Model, clock: u64, from: u8, to: u8, which: u8) -> Vec<Payload> {
    let Some(source) = model.mailbox(&id(from)) else {
        return Vec::new();
    };
    let Some(message) = source
        .messages
        .values()
        .nth(usize::from(which) % source.messages.len().max(1))
    else {
        return Vec::new();
    };
    // Odd lists leave messages with other GUIDs.
    let Ok(guid) = message.guid.0.trim_start_matches('g').parse() else {
        return Vec::new();
    };
    let uid = u8::try_from(message.uid.0 - 1).unwrap_or(u8::MAX);
    let arrives = transaction(
        model,
        clock,
        to,
        false,
        &[Deed::Append {
            guid,
            skip: 0,
            keyword: 0,
        }],
    );
    let leaves = Deed::Expunge {
        range: (uid, uid),
        requested: true,
    };
    vec![arrives, transaction(model, clock, from, false, &[leaves])]
}

fn list(model: &Model, clock: u64, step: &Step) -> Payload {
    let Step::State {
        mailbox,
        lineage,
        drop,
        touch,
        add,
        renumber,
        odd,
        ..
    } = step
    else {
        panic!("a list was asked for")
    };
    let empty = Default::default();
    let ours = model.mailbox(&id(*mailbox)).unwrap_or(&empty);
    let bit = |bits: u16, n: usize| bits >> (n % 16) & 1 == 1;
    let mut messages: Vec<Append> = Vec::new();
    for (n, message) in ours.messages.values().enumerate().filter(|(n, _)| !bit(*drop, *n)) {
        let mut message = message.clone();
        if bit(*touch, n) {
            message.flags = message.flags.changed(Flags::SEEN, Flags::FLAGGED);
            message.keywords = keyword(5);
            message.modseq = Modseq(clock);
        }
        messages.push(message);
    }
    let mut uidnext = ours.uidnext.0.max(1);
    for guid in add {
        messages.push(Append {
            modseq: Modseq(clock),
            ..message(uidnext, &format!("g{guid}"))
        });
        uidnext += 1;
    }
    match (odd, messages.first_mut()) {
        (1, Some(first)) => first.guid = "another".into(),
        (2, Some(first)) => uidnext = first.uid.0,
        (3, Some(first)) => first.guid = MessageGuid::default(),
        // An older counter: a message's MODSEQ must not fall.
        (4, Some(first)) => first.modseq = Modseq(1),
        _ => {}
    }
    // The source's log was taken back.
    let highest_modseq = if *odd == 5 { Modseq(3) } else { Modseq(clock) };
    let mut uidvalidity = UidValidity(ours.uidvalidity.0.max(1));
    if *renumber {
        uidvalidity.0 += 1;
        (1..)
            .zip(&mut messages)
            .for_each(|(uid, message)| message.uid = Uid(uid));
        uidnext = messages.len() as u32 + 1;
    }
    Payload::State(StateChunk {
        mailbox: id(*mailbox),
        uidvalidity,
        lineage: *lineage,
        messages,
        uidnext: Uid(uidnext),
        highest_modseq,
        position: SourcePosition::default(),
    })
}

fn tree_change(complete: bool, entries: &[(u8, u8)], names: &[(u8, bool)]) -> Payload {
    let mut mailboxes: Vec<TreeMailbox> = Vec::new();
    for (mailbox, what) in entries {
        let entry = match what {
            4 => gone(*mailbox, Disappearance::Genuine),
            5 => gone(*mailbox, Disappearance::Attested),
            6 => gone(*mailbox, Disappearance::Inferred),
            number => named(*mailbox, *number),
        };
        mailboxes.retain(|known| known.guid != entry.guid);
        mailboxes.push(entry);
    }
    let namespaces = names.first().map(|(number, _)| separated_by(*number));
    let names: Vec<(MailboxName, bool)> = names.iter().map(|(n, on)| (name(*n), *on)).collect();
    let how = |(at, on): (usize, bool)| {
        on.then_some(match at % 3 {
            0 => Unselectable::Noselect,
            odd => Unselectable::Stale(Stale {
                guid: Guid([9; 16]),
                nonexistent_code: odd == 1,
            }),
        })
    };
    let unselectable = names
        .iter()
        .enumerate()
        .map(|(at, (n, on))| (n.clone(), how((at, *on))))
        .collect();
    Payload::Tree(TreeChange {
        user: USER.into(),
        complete,
        namespaces,
        mailboxes,
        unselectable,
        subscriptions: names,
    })
}

/// The source answers by lot.
fn answers(questions: Vec<GoneQuestion>, bits: u16) -> GoneAnswers {
    let lot = |uid: &Uid| bits >> (uid.0 % 16) & 1 == 1;
    let gone = |q: &GoneQuestion| q.messages.iter().map(|(uid, _)| *uid).filter(lot).collect();
    questions.into_iter().map(|q| (q.clone(), gone(&q))).collect()
}

fn asked(questions: &[GoneQuestion]) -> Vec<(Uid, MessageGuid)> {
    questions.iter().flat_map(|q| q.messages.clone()).collect()
}

/// Both ask the source the same, and hear the same.
fn apply_to_both(
    copy: &mut Copy,
    model: &mut Model,
    payloads: &[Payload],
    answer: impl FnOnce(Vec<GoneQuestion>) -> GoneAnswers,
) {
    let frames = copy.frames(payloads);
    let questions = copy.store().target.questions(&frames).unwrap();
    assert_eq!(asked(&questions), asked(&model.questions(payloads)));
    let answers = answer(questions);
    copy.store().target.apply(&[frames], &answers).unwrap();
    model.apply(payloads, &answers);
}

/// The next epoch begins.
fn epoch(copy: &Copy, leap: Option<Leap>) -> Payload {
    Payload::Epoch(EpochStart {
        epoch: Epoch(copy.epoch.0 + 1),
        node: "b".into(),
        previous: copy.epoch,
        fork_lsn: Lsn(copy.lsn),
        fork_hash: copy.chain,
        leap,
    })
}

/// Both after the same steps.
fn run(steps: &[Step]) -> (Copy, Model) {
    run_and_look(steps, |_, _| {})
}

/// The same, with a look at the copy after each step that changed something.
pub(super) fn run_and_look(steps: &[Step], mut look: impl FnMut(&mut Copy, usize)) -> (Copy, Model) {
    let (mut copy, mut model) = (Copy::new(), Model::default());
    let mut behind = 0;
    for (number, (clock, step)) in (10u64..).zip(steps).enumerate() {
        let clock = clock + behind;
        let payloads = match step {
            Step::Epoch { leap } => {
                // the new primary counts on from what it has
                let highest = model
                    .accounts
                    .values()
                    .flat_map(|a| a.mailboxes.values())
                    .map(|m| m.highest_modseq.0);
                behind += 7 + highest.max().unwrap_or(0).saturating_sub(clock);
                vec![epoch(&copy, leap.then_some(Leap { uids: 3, modseqs: 7 }))]
            }
            Step::Transaction { mailbox, foreign, ops } => vec![transaction(&model, clock, *mailbox, *foreign, ops)],
            Step::Move { from, to, which } => move_message(&model, clock, *from, *to, *which),
            Step::State { .. } => vec![list(&model, clock, step)],
            Step::Tree {
                complete,
                entries,
                names,
            } => vec![tree_change(*complete, entries, names)],
            Step::Attributes {
                of,
                kind,
                complete,
                entries,
            } => vec![attributes_change(*of, *kind, *complete, entries)],
            Step::Reopen => Vec::new(),
        };
        if matches!(step, Step::Reopen) {
            copy.reopen();
        }
        if payloads.is_empty() {
            continue;
        }
        let bits = if let Step::State { answers, .. } = step {
            *answers
        } else {
            0
        };
        apply_to_both(&mut copy, &mut model, &payloads, |questions| answers(questions, bits));
        compare(&mut copy, &model);
        let reasons = copy.query("SELECT coalesce(held, vanished, '') FROM mailboxes");
        assert!(reasons.len() <= usize::from(MAILBOXES), "{reasons:?}");
        look(&mut copy, number);
    }
    copy.reopen();
    compare(&mut copy, &model);
    (copy, model)
}

/// Lists every mailbox as it is, for what only seemed to be gone is back; then anew, with messages that nobody has
/// seen: the source says that all others are gone. The model goes along: a list can let go what another mailbox's
/// expunge waited for, and no source lists that again.
fn list_all(copy: &mut Copy, model: &mut Model) -> Vec<MailboxDigest> {
    let name_all = tree((0..MAILBOXES).map(|mailbox| named(mailbox, mailbox)).collect());
    apply_to_both(copy, model, &[name_all], |_| Vec::new());
    let mut digests = Vec::new();
    for mailbox in 0..MAILBOXES {
        let ours = model.mailbox(&id(mailbox)).cloned().unwrap_or_default();
        if ours.uidvalidity != UidValidity(0) {
            let messages = ours.messages.values().cloned().collect();
            let mut payload = state(mailbox, ours.uidvalidity.0, Lineage::Whole, messages);
            if let Payload::State(list) = &mut payload {
                (list.uidnext, list.highest_modseq) = (ours.uidnext, Modseq(999));
            }
            apply_to_both(copy, model, &[payload], |_| Vec::new());
        }
        let (uidvalidity, first) = (ours.uidvalidity.0.max(1), ours.uidnext.0.max(1));
        let modseq = Modseq(1000);
        let messages = [first, first + 3].map(|uid| Append {
            modseq,
            ..message(uid, &format!("new {mailbox} {uid}"))
        });
        let mut payload = state(mailbox, uidvalidity, Lineage::Whole, messages.to_vec());
        let Payload::State(list) = &mut payload else {
            panic!("a list was asked for")
        };
        list.highest_modseq = modseq;
        let mut digest = MailboxDigest::empty(id(mailbox), list.uidvalidity, list.uidnext, modseq);
        messages.iter().for_each(|message| digest.add(message));
        digests.push(digest);
        let all = |q: GoneQuestion| (q.clone(), q.messages.iter().map(|(uid, _)| *uid).collect());
        apply_to_both(copy, model, &[payload], |questions| {
            questions.into_iter().map(all).collect()
        });
    }
    digests
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_what_the_model_gives(steps in proptest::collection::vec(step(), 1..30)) {
        run(&steps);
    }

    #[test]
    fn a_list_of_each_mailbox_ends_any_history_with_nothing_but_these_lists(
        steps in proptest::collection::vec(step(), 1..20),
    ) {
        let (mut copy, mut model) = run(&steps);
        for digest in list_all(&mut copy, &mut model) {
            assert_eq!(copy.apply(&[Payload::Digest(digest)])[0].why, "");
        }
        let counts = copy.store().target.counts().unwrap();
        assert_eq!((counts.held_mailboxes, counts.quarantined), (0, 0));
    }
}
