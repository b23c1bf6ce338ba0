//! What may be done to a target that holds something.

use super::*;
use crate::op::{MailboxName, MessageGuid, UidRange};
use crate::store::dovecot::dsync::compare::{Remedy, compare};
use crate::store::dovecot::dsync::inbox;
use crate::store::dovecot::dsync::judge::{Judgement, judge, without};
use crate::store::dovecot::dsync::said::SaidNode;

fn there(name: &str, number: u8, uid_validity: u32, uid_next: u32) -> SaidNode {
    SaidNode {
        name: MailboxName::of([name]),
        mailbox: Some((guid(number), UidValidity(uid_validity), Uid(uid_next))),
        subscribed: false,
    }
}

fn sent(judgement: &Judgement, number: u8) -> Option<(&str, u32, u32)> {
    judgement.tree.iter().find_map(|placed| {
        let (found, uid_validity, uid_next) = placed.mailbox?;
        (found == guid(number)).then(|| (placed.name.0[0].as_str(), uid_validity.0, uid_next.0))
    })
}

fn is_stale(judgement: &Judgement, number: u8) -> bool {
    matches!(judgement.outcomes.get(&guid(number)), Some(Outcome::Stale(_))) && !judgement.told.contains(&guid(number))
}

fn is_foreign(judgement: &Judgement, number: u8) -> bool {
    matches!(judgement.outcomes.get(&guid(number)), Some(Outcome::Foreign { .. })) && !judgement.whole
}

fn fresh() -> MailboxDelta {
    MailboxDelta {
        since: None,
        messages: 3,
        ..inbox()
    }
}

#[test]
fn an_equal_target_is_told() {
    let judged = judge(&delta(inbox()), &[there("INBOX", 1, 9, 7), there("Work", 2, 9, 5)]);
    assert_eq!(judged.told, [guid(1)].into());
    assert!(judged.whole && judged.outcomes.is_empty() && judged.doubtful.is_empty());
}

#[test]
fn a_mailbox_that_nobody_told_stays() {
    let target = [
        there("INBOX", 1, 9, 7),
        there("Work", 2, 9, 5),
        there("Theirs", 7, 4, 3),
    ];
    let judged = judge(&delta(inbox()), &target);
    assert!(is_foreign(&judged, 7));
    assert_eq!(sent(&judged, 7), Some(("Theirs", 4, 3)));
    assert_eq!(judged.told, [guid(1)].into());
    // One that never held anything goes; so does one that the caller gives up, or that is as it was acknowledged.
    let empty = [
        there("INBOX", 1, 9, 7),
        there("Work", 2, 9, 5),
        there("Drafts", 7, 4, 1),
    ];
    let judged = judge(&delta(inbox()), &empty);
    assert!(judged.whole && sent(&judged, 7).is_none());
    let mut given_up = delta(inbox());
    given_up.replaceable.insert(guid(7));
    assert!(judge(&given_up, &target).whole);
    let mut deleted = delta(inbox());
    deleted.acknowledged.insert(
        guid(7),
        State {
            uid_validity: UidValidity(4),
            ..state(2, 1)
        },
    );
    assert!(judge(&deleted, &target).whole);
    deleted.acknowledged.insert(
        guid(7),
        State {
            uid_validity: UidValidity(4),
            ..state(1, 1)
        },
    );
    assert!(
        is_foreign(&judge(&deleted, &target), 7),
        "something was delivered there since"
    );
}

#[test]
fn a_name_that_a_stranger_holds_blocks_everything() {
    let target = [there("INBOX", 7, 4, 3), there("Work", 2, 9, 5)];
    let judged = judge(&delta(fresh()), &target);
    assert_eq!(judged.blocked, Some((MailboxName::inbox(), guid(7))));
    // The INBOX that a server makes for a user at the first login holds nothing.
    let judged = judge(&delta(fresh()), &[there("INBOX", 7, 4, 1), there("Work", 2, 9, 5)]);
    assert!(judged.blocked.is_none() && judged.told.contains(&guid(1)));
}

#[test]
fn uidnext_that_went_on_alone_is_not_told_over() {
    for (uid_next, what) in [(8, "delivered"), (6, "restored")] {
        let judged = judge(
            &delta(inbox()),
            &[there("INBOX", 1, 9, uid_next), there("Work", 2, 9, 5)],
        );
        assert!(is_stale(&judged, 1), "{what}");
    }
    // The tree's numbers must not make Dovecot delete a mailbox that is ahead of us.
    let judged = judge(&delta(inbox()), &[there("INBOX", 1, 9, 12), there("Work", 2, 9, 50)]);
    assert_eq!(sent(&judged, 1), Some(("INBOX", 9, 12)));
    assert_eq!(sent(&judged, 2), Some(("Work", 9, 50)));
    assert!(is_stale(&judged, 1) && is_stale(&judged, 2));
}

#[test]
fn another_uidvalidity_with_messages_stays() {
    let judged = judge(&delta(inbox()), &[there("INBOX", 1, 9, 7), there("Work", 2, 8, 5)]);
    assert!(is_foreign(&judged, 2));
    assert_eq!(sent(&judged, 2), Some(("Work", 8, 5)));
    let mut changed = delta(inbox());
    changed.acknowledged.insert(
        guid(2),
        State {
            uid_validity: UidValidity(8),
            ..state(4, 3)
        },
    );
    let judged = judge(&changed, &[there("INBOX", 1, 9, 7), there("Work", 2, 8, 5)]);
    assert_eq!(
        sent(&judged, 2),
        Some(("Work", 9, 5)),
        "the source changed it, and the target is as we left it"
    );
    assert!(is_stale(&judged, 2), "it has to be told completely");
}

#[test]
fn a_mailbox_that_the_target_lost_is_told_completely() {
    let judged = judge(&delta(inbox()), &[there("INBOX", 1, 9, 7)]);
    assert!(is_stale(&judged, 2));
    let judged = judge(&delta(inbox()), &[there("Work", 2, 9, 5)]);
    assert!(is_stale(&judged, 1));
    let judged = judge(&delta(fresh()), &[there("Work", 2, 9, 5)]);
    assert!(judged.told.contains(&guid(1)));
}

#[test]
fn a_complete_list_for_a_mailbox_with_messages_is_compared_first() {
    let judged = judge(&delta(fresh()), &[there("INBOX", 1, 9, 5), there("Work", 2, 9, 5)]);
    assert_eq!(judged.doubtful, [guid(1)].into());
    assert!(judged.told.is_empty());
}

#[test]
fn unmaking_a_mailbox_leaves_all_others_as_they_are() {
    let mut target = vec![there("INBOX", 1, 9, 7), there("Work", 2, 9, 5)];
    target[1].subscribed = true;
    let tree = without(&target, &[guid(2)].into());
    let shown: Vec<_> = tree
        .iter()
        .map(|placed| (placed.name.to_string(), placed.mailbox.is_some()))
        .collect();
    assert_eq!(shown, [("INBOX".to_owned(), true), ("Work".to_owned(), false)]);
}

fn reading(uid_next: u32, messages: &[(u32, &str)]) -> MailboxReading {
    MailboxReading {
        uid_validity: UidValidity(9),
        uid_next: Uid(uid_next),
        highest_modseq: Modseq(30),
        messages: u32::try_from(messages.len()).unwrap(),
        listed: messages.iter().map(|(uid, guid)| message(*uid, guid, 15)).collect(),
        ..MailboxReading::default()
    }
}

fn told(remedy: Remedy) -> MailboxDelta {
    match remedy {
        Remedy::Tell(delta) => *delta,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cut_session_is_gone_on_with_from_what_the_target_has() {
    // 3 and 7 arrived, 8 did not; 3 looks otherwise.
    let remedied = told(compare(&fresh(), &reading(8, &[(3, "c"), (7, "g")]), false));
    assert_eq!(remedied.since.unwrap().uid, Uid(7));
    assert_eq!(remedied.since.unwrap().messages, 2);
    let uids: Vec<u32> = remedied.changed.iter().map(|message| message.uid.0).collect();
    assert_eq!(uids, [3, 8]);
    assert!(remedied.vanished.is_empty());
    // Told again when all is there: only what differs.
    let ours = MailboxDelta {
        changed: vec![message(7, "g", 12)],
        messages: 1,
        ..fresh()
    };
    assert!(told(compare(&ours, &reading(9, &[(7, "g")]), false)).changed.is_empty());
}

#[test]
fn what_was_expunged_meanwhile_goes_and_what_nobody_told_stays() {
    let theirs = reading(8, &[(3, "c"), (5, "e"), (7, "g")]);
    let foreign = vec![(Uid(5), MessageGuid::from("e"))];
    assert_eq!(compare(&fresh(), &theirs, false), Remedy::Foreign(foreign));
    let expunged = MailboxDelta {
        vanished: vec![UidRange {
            first: Uid(4),
            last: Uid(6),
        }],
        ..fresh()
    };
    assert_eq!(
        told(compare(&expunged, &theirs, false)).vanished,
        [UidRange::one(Uid(5))]
    );
    assert_eq!(told(compare(&fresh(), &theirs, true)).vanished, [UidRange::one(Uid(5))]);
}

#[test]
fn a_uid_with_another_message_is_never_overwritten_unasked() {
    let theirs = reading(8, &[(3, "c"), (7, "x")]);
    assert_eq!(
        compare(&fresh(), &theirs, false),
        Remedy::Foreign(vec![(Uid(7), "x".into())])
    );
    assert_eq!(compare(&fresh(), &theirs, true), Remedy::Rebuild);
    // UIDs given out beyond ours, even if nothing is there any more.
    assert_eq!(
        compare(&fresh(), &reading(20, &[(3, "c")]), false),
        Remedy::Foreign(Vec::new())
    );
}

#[test]
fn a_message_missing_below_uidnext_means_making_the_mailbox_anew() {
    assert_eq!(
        compare(&fresh(), &reading(9, &[(3, "c"), (8, "h")]), false),
        Remedy::Rebuild
    );
}

#[test]
fn an_inbox_with_another_name_here_is_kept_before_it_goes() {
    let named = |name: &str, number| Node {
        name: MailboxName::of([name]),
        mailbox: Some(NodeMailbox {
            guid: guid(number),
            uid_validity: UidValidity(9),
            uid_next: Uid(7),
        }),
        subscribed: false,
    };
    let mut delta = delta(inbox());
    delta.tree = vec![named("INBOX", 3), named("old", 1)];
    let target = [there("INBOX", 1, 9, 9)];
    let blocked = judge(&delta, &target).blocked;
    assert_eq!(blocked, Some((MailboxName::inbox(), guid(1))), "more than was told");
    delta.replaceable.insert(guid(1));
    let judged = judge(&delta, &target);
    assert_eq!(judged.blocked, None);
    let wanted = inbox::replaced(&judged.tree, &target).map(|numbers| numbers.guid);
    assert_eq!(wanted, Some(guid(3)));
    // Dovecot itself has to take a GUID away from a folder first.
    let target = [there("INBOX", 1, 9, 9), there("Work", 3, 9, 7)];
    assert_eq!(inbox::replaced(&judged.tree, &target), None);
    // The same INBOX, as it is, stays; one that gave out more UIDs goes where the caller said so.
    delta.tree = vec![named("INBOX", 1)];
    for (uid_next, is_replaced) in [(7, false), (9, true)] {
        let target = [there("INBOX", 1, 9, uid_next)];
        let judged = judge(&delta, &target);
        assert_eq!(inbox::replaced(&judged.tree, &target).is_some(), is_replaced);
    }
}

#[test]
fn the_inbox_of_a_target_stays_where_ours_was_not_made_yet() {
    let mut without = delta(inbox());
    without.tree.retain(|node| node.name != MailboxName::inbox());
    without.mailboxes.clear();
    for uid_next in [1, 9] {
        let judged = judge(&without, &[there("INBOX", 7, 4, uid_next), there("Work", 2, 9, 5)]);
        assert!(judged.whole && judged.outcomes.is_empty(), "{judged:?}");
        let kept = judged.tree.iter().find(|placed| placed.name == MailboxName::inbox());
        assert_eq!(kept.unwrap().mailbox, Some((guid(7), UidValidity(4), Uid(uid_next))));
    }
}
