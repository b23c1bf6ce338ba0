//! What an operator may do with what was not applied, and with what left.

use super::*;
use crate::store::custody::{CustodyError, Decision, Entry, Reason};

const MANY: u32 = 100;

fn entries(copy: &mut Copy) -> Vec<Entry> {
    copy.store().custody.entries(None, MANY).unwrap()
}

/// The one entry, with its reason.
fn one(copy: &mut Copy, reason: Reason) -> Entry {
    let found = entries(copy);
    assert_eq!(found.iter().map(|entry| entry.reason).collect::<Vec<_>>(), [reason]);
    found[0].clone()
}

fn decide(copy: &mut Copy, entry: &Entry, decision: Decision) -> Result<String, CustodyError> {
    copy.store().custody.decide(entry.id, decision)
}

#[test]
fn messages_that_nobody_asked_to_expunge_stay_where_the_entry_is_dropped() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a"), append(2, "b")])]);
    copy.apply(&[txn(1, vec![expunge(1, false)])]);
    let entry = one(&mut copy, Reason::Inferred);
    assert_eq!((entry.mailbox.as_str(), entry.messages), ("box 1", 1));
    let told = decide(&mut copy, &entry, Decision::Drop).unwrap();
    assert_eq!(told, "the copy keeps the messages");
    assert_eq!((copy.uids(1), entries(&mut copy).len()), (vec![1, 2], 0));
    assert_eq!(copy.store().target.counts().unwrap().quarantined, 0);
    assert!(copy.store().custody.retained(None).unwrap().is_empty());
    let again = decide(&mut copy, &entry, Decision::Drop);
    assert!(matches!(again, Err(CustodyError::Unknown(id)) if id == entry.id));
}

#[test]
fn a_mailbox_that_vanished_stays_where_the_entry_is_dropped() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a")])]);
    copy.apply(&[tree(vec![gone(1, Disappearance::Inferred)])]);
    let entry = one(&mut copy, Reason::Vanished);
    assert_eq!(
        decide(&mut copy, &entry, Decision::Drop).unwrap(),
        "the copy keeps the mailbox"
    );
    assert_eq!((copy.uids(1), entries(&mut copy).len()), (vec![1], 0));
}

#[test]
fn a_held_mailbox_can_not_be_dropped_and_the_way_out_is_named() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a")])]);
    copy.apply(&[txn(1, vec![append(1, "b")])]);
    let entry = one(&mut copy, Reason::Held);
    let Err(CustodyError::Refused(why)) = decide(&mut copy, &entry, Decision::Drop) else {
        panic!("what was diverted would be lost");
    };
    assert!(why.contains("release it") && why.contains("shadowctl repair"), "{why}");
    // no list of the source was diverted: nothing says what the mailbox is now
    let Err(CustodyError::Refused(why)) = decide(&mut copy, &entry, Decision::Release) else {
        panic!("nothing to believe");
    };
    assert!(why.contains("shadowctl repair"), "{why}");
    assert_eq!(one(&mut copy, Reason::Held), entry, "a refusal changes nothing");
}

#[test]
fn what_was_released_is_retained_until_it_is_released_there_too() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a"), append(2, "b")])]);
    copy.apply(&[txn(1, vec![expunge(1, false), expunge(2, true)])]);
    let entry = one(&mut copy, Reason::Inferred);
    decide(&mut copy, &entry, Decision::Release).unwrap();
    assert_eq!((copy.uids(1), entries(&mut copy).len()), (vec![], 0));
    let kept = copy.store().custody.retained(None).unwrap();
    let told: Vec<(&str, &str)> = kept.iter().map(|r| (r.message.guid.as_str(), r.why.as_str())).collect();
    assert_eq!(told, [("a", "released"), ("b", "genuine")], "newest first");
    assert!(kept.iter().all(|r| r.mailbox == "box 1" && !r.body));
    let somebody = UserName::from("else@example.net");
    assert!(copy.store().custody.retained(Some(&somebody)).unwrap().is_empty());
    copy.store().custody.forget(kept[0].id).unwrap();
    let left = copy.store().custody.retained(None).unwrap();
    assert_eq!(left, kept[1..]);
    let again = copy.store().custody.forget(kept[0].id);
    assert!(matches!(again, Err(CustodyError::Unknown(_))), "{again:?}");
}

#[test]
fn a_glance_at_a_large_quarantine_reads_only_what_it_shows() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(1, "a")]), txn(2, vec![append(1, "b")])]);
    copy.apply(&[tree(vec![
        gone(1, Disappearance::Inferred),
        gone(2, Disappearance::Inferred),
    ])]);
    let first = copy.store().custody.entries(None, 1).unwrap();
    assert_eq!(first, entries(&mut copy)[..1]);
    assert_eq!(first[0].mailbox, "box 1");
}
