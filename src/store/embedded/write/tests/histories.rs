//! Random changes of several users, with full disks and power cuts between: what the oracle says is what clients see, and
//! the journal alone gives the same store again.

use super::oracle::{Account, Foreseen, foresee};
use super::*;
use crate::op::model::Model;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const USERS: [&str; 2] = ["ann", "bob"];
const NAMES: [&[&str]; 6] = [
    &["INBOX"],
    &["a"],
    &["a", "b"],
    &["a", "b", "c"],
    &["INBOX", "x"],
    &["d"],
];

#[derive(Clone, Debug)]
enum Deed {
    Append(usize, Vec<u8>),
    Deliver(usize, u8),
    Replace(usize, u8, usize),
    Store(usize, (u8, u8), u8, u8, u8, bool),
    Expunge(usize, Option<(u8, u8)>),
    Copy(usize, (u8, u8), usize, bool),
    Create(usize),
    Delete(usize),
    Rename(usize, usize),
    Subscribe(usize, bool),
    Attributes(usize, u8, u8),
}

#[derive(Clone, Debug)]
struct Step {
    user: usize,
    deed: Deed,
    fate: Fate,
    reopen: bool,
}

fn deed() -> impl Strategy<Value = Deed> {
    let mailbox = 0..NAMES.len();
    let range = || (1..9u8, 1..9u8);
    prop_oneof![
        4 => (mailbox.clone(), prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(m, texts)| Deed::Append(m, texts)),
        2 => (mailbox.clone(), any::<u8>()).prop_map(|(m, text)| Deed::Deliver(m, text)),
        1 => (mailbox.clone(), 1..9u8, mailbox.clone()).prop_map(|(m, uid, into)| Deed::Replace(m, uid, into)),
        4 => (mailbox.clone(), range(), 0..3u8, 0..32u8, 0..4u8, any::<bool>())
            .prop_map(|(m, uids, verb, flags, keyword, since)| Deed::Store(m, uids, verb, flags, keyword, since)),
        2 => (mailbox.clone(), prop::option::of(range())).prop_map(|(m, uids)| Deed::Expunge(m, uids)),
        3 => (mailbox.clone(), range(), mailbox.clone(), any::<bool>())
            .prop_map(|(m, uids, into, moved)| Deed::Copy(m, uids, into, moved)),
        3 => mailbox.clone().prop_map(Deed::Create),
        2 => mailbox.clone().prop_map(Deed::Delete),
        2 => (mailbox.clone(), mailbox.clone()).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => (mailbox.clone(), any::<bool>()).prop_map(|(m, on)| Deed::Subscribe(m, on)),
        1 => (mailbox, 0..3u8, 0..3u8).prop_map(|(m, entry, value)| Deed::Attributes(m, entry, value)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![10 => Just(Fate::Done), 1 => Just(Fate::Full), 1 => Just(Fate::PowerCut)];
    let parts = (0..USERS.len(), deed(), fate, prop::bool::weighted(0.05));
    parts.prop_map(|(user, deed, fate, reopen)| Step {
        user,
        deed,
        fate,
        reopen,
    })
}

fn text(number: u8) -> String {
    format!("Subject: {0}\r\n\r\ntext {0}\r\n", number % 16)
}

fn range((a, b): (u8, u8)) -> Vec<UidRange> {
    let (first, last) = (Uid(u32::from(a.min(b))), Uid(u32::from(a.max(b))));
    // Overlapping ranges in any order are legal.
    vec![UidRange::one(last), UidRange { first, last }]
}

fn keywords(number: u8) -> Vec<Keyword> {
    let all: [&[&str]; 4] = [&[], &["Work"], &["work", "later"], &["LATER", "$Forwarded"]];
    all[usize::from(number)]
        .iter()
        .map(|keyword| Keyword::from(*keyword))
        .collect()
}

/// A mailbox that nobody has.
const NOBODYS: Guid = Guid([9; 16]);

/// The change, and the name of the mailbox that it is selected by.
fn change(primary: &Primary, account: &Account, step: &Step) -> (Change, Option<MailboxName>) {
    let user = USERS[step.user];
    let number = match step.deed {
        Deed::Replace(mailbox, ..) | Deed::Store(mailbox, ..) | Deed::Expunge(mailbox, _) | Deed::Copy(mailbox, ..) => {
            mailbox
        }
        _ => return (of_account(account, user, &step.deed), None),
    };
    let selected = Some(called(number)).filter(|name| account.boxes.contains_key(name));
    let guid = selected.as_ref().map_or(NOBODYS, |name| primary.id(user, name).guid);
    let mailbox = MailboxId {
        user: user.into(),
        guid,
    };
    let highest = selected.as_ref().map_or(0, |name| account.boxes[name].highest);
    (in_mailbox(mailbox, highest, &step.deed), selected)
}

fn called(number: usize) -> MailboxName {
    name(NAMES[number])
}

fn in_mailbox(mailbox: MailboxId, highest: u64, deed: &Deed) -> Change {
    match *deed {
        Deed::Replace(_, uid, into) => Change::Replace {
            mailbox,
            uid: Uid(u32::from(uid)),
            into: called(into),
            message: message(&text(uid)),
        },
        Deed::Store(_, uids, verb, flags, keyword, since) => Change::Store {
            mailbox,
            uids: range(uids),
            verb: [FlagVerb::Add, FlagVerb::Remove, FlagVerb::Replace][usize::from(verb)],
            flags: Flags::from_bits(flags),
            keywords: keywords(keyword),
            unchanged_since: since.then(|| Modseq(highest.saturating_sub(2))),
        },
        Deed::Expunge(_, uids) => {
            let uids = uids.map(range);
            Change::Expunge { mailbox, uids }
        }
        Deed::Copy(_, uids, into, moved) => Change::Copy {
            mailbox,
            uids: range(uids),
            into: called(into),
            moved,
        },
        ref other => panic!("{other:?} is of no mailbox"),
    }
}

fn of_account(account: &Account, user: &str, deed: &Deed) -> Change {
    let user: UserName = user.into();
    match deed {
        Deed::Append(mailbox, texts) => {
            let messages = texts.iter().map(|number| NewMessage {
                flags: Flags::from_bits(number & 0x1f),
                keywords: keywords(number % 4),
                ..message(&text(*number))
            });
            Change::Append {
                user,
                mailbox: called(*mailbox),
                messages: messages.collect(),
            }
        }
        Deed::Deliver(mailbox, number) => Change::Deliver {
            user,
            mailbox: called(*mailbox),
            message: message(&text(*number)),
        },
        Deed::Create(name) => create(user.as_str(), &called(*name)),
        Deed::Delete(name) => {
            let name = called(*name);
            Change::Delete { user, name }
        }
        Deed::Rename(from, to) => {
            let (from, to) = (called(*from), called(*to));
            Change::Rename { user, from, to }
        }
        Deed::Subscribe(name, subscribed) => Change::Subscribe {
            user,
            name: called(*name),
            subscribed: *subscribed,
        },
        Deed::Attributes(mailbox, entry, value) => {
            let value = [None, Some(b"short".to_vec()), Some(vec![*value; 5000])][usize::from(*value)].clone();
            Change::Attributes {
                user,
                mailbox: Some(called(*mailbox)).filter(|name| account.boxes.contains_key(name)),
                scope: AttributeScope {
                    mailbox: None,
                    kind: AttributeKind::Metadata,
                },
                entries: vec![(format!("/private/e{entry}"), value)],
            }
        }
        other => panic!("{other:?} is of a mailbox"),
    }
}

/// What a client sees is what the oracle has.
fn compare(primary: &Primary, accounts: &BTreeMap<&str, Account>) {
    for (user, account) in accounts {
        let tree = primary.store().view.tree(&UserName::from(*user)).unwrap();
        let (selectable, other): (Vec<_>, Vec<_>) = tree.rows.iter().partition(|row| row.guid.is_some());
        let names = |rows: Vec<&crate::store::embedded::view::TreeRow>| -> BTreeSet<MailboxName> {
            rows.into_iter().map(|row| row.name.clone()).collect()
        };
        assert_eq!(names(selectable), account.boxes.keys().cloned().collect());
        assert_eq!(names(other), account.noselect);
        assert_eq!(
            tree.subscribed.iter().cloned().collect::<BTreeSet<_>>(),
            account.subscribed
        );
        for (name, mailbox) in &account.boxes {
            let row = primary
                .store()
                .view
                .mailbox(&UserName::from(*user), name)
                .unwrap()
                .unwrap();
            assert_eq!(
                (row.uidnext.0, row.highest_modseq.0),
                (mailbox.uidnext, mailbox.highest)
            );
            let found: BTreeMap<u32, oracle::Mail> = primary
                .messages(user, name)
                .into_iter()
                .map(|seen| {
                    let mail = oracle::Mail {
                        octets: String::from_utf8(seen.octets.expect("the body is here")).unwrap(),
                        flags: seen.flags,
                        keywords: seen
                            .keywords
                            .iter()
                            .map(|keyword| keyword.0.to_ascii_lowercase())
                            .collect(),
                        modseq: seen.modseq.0,
                    };
                    (seen.detail.uid.0, mail)
                })
                .collect();
            assert_eq!(found, mailbox.mail, "{user} {name}");
        }
    }
    let counts = primary.store().target.counts().unwrap();
    assert_eq!(
        (counts.held_mailboxes, counts.bodies_pending, counts.quarantined),
        (0, 0, 0)
    );
}

/// The journal gives the same to a copy, and to the model.
fn replay(primary: &Primary) {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = Embedded::open(dir.path(), &"mail-b".into(), Duration::from_secs(60)).unwrap();
    copy.target.apply(&primary.tape.durable, &GoneAnswers::new()).unwrap();
    let mut model = Model::default();
    for frames in &primary.tape.durable {
        let payloads: Vec<Payload> = frames.iter().map(|frame| frame.payload.clone()).collect();
        model.apply(&payloads, &[]);
    }
    let (ours, theirs) = (primary.store().export(), copy.export());
    for user in ours.users().unwrap() {
        let tree = ours.tree_digest(&user, 0).unwrap();
        assert_eq!(tree, theirs.tree_digest(&user, 0).unwrap());
        assert_eq!(tree.difference(&model.tree_digest(&user)), "");
        for (mailbox, _) in ours.mailboxes(&user).unwrap() {
            let digest = ours.digest(&mailbox, false, 0).unwrap().unwrap();
            assert_eq!(Some(&digest), theirs.digest(&mailbox, false, 0).unwrap().as_ref());
            assert_eq!(digest.difference(&model.digest(&mailbox).unwrap()), "");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_what_imap_says_and_what_the_journal_says(steps in prop::collection::vec(step(), 1..40)) {
        let mut primary = Primary::new();
        let mut accounts: BTreeMap<&str, Account> = USERS.map(|user| (user, Account::default())).into();
        for step in &steps {
            let account = accounts.get_mut(USERS[step.user]).unwrap();
            let (change, selected) = change(&primary, account, step);
            let before = account.clone();
            let foreseen = foresee(account, &change, selected.as_ref());
            primary.tape.fate = step.fate;
            let frames = primary.tape.durable.len();
            match primary.batch(std::slice::from_ref(&change)) {
                Batch::Made(outcomes) => {
                    prop_assert_eq!(Foreseen::of(&outcomes[0]), foreseen, "{:?}", change);
                    if *account == before && !matches!(change, Change::Attributes { .. }) {
                        prop_assert_eq!(primary.tape.durable.len(), frames, "nothing changed, and that is no frame");
                    }
                }
                Batch::Undone(_) if primary.tape.durable.len() == frames => *account = before,
                // The journal has it: the store has it after a start.
                Batch::Undone(_) => primary.reopen(),
                Batch::Unapplied(..) => prop_assert!(false, "the store took it"),
            }
            primary.tape.fate = Fate::Done;
            if step.reopen {
                primary.reopen();
            }
            primary.tape.now_ms += 100;
            compare(&primary, &accounts);
        }
        replay(&primary);
    }
}
