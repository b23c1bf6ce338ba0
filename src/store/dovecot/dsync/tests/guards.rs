//! What would make a server abort, delete or mix up something is refused before an octet of it is said.

use super::*;
use crate::op::{MailboxName, MessageGuid, UidRange};
use crate::store::dovecot::dsync::check::{Change, check, check_list, list};
use std::collections::BTreeMap;

fn refused(change: impl FnOnce(&mut Delta), why: &str) {
    let mut delta = delta(inbox());
    check(&delta).unwrap();
    change(&mut delta);
    let flaw = check(&delta).expect_err(why);
    assert!(flaw.to_string().contains(why), "{flaw} instead of {why}");
}

#[test]
fn a_list_that_aborts_the_server_is_refused() {
    refused(|delta| delta.mailboxes[0].changed.swap(1, 2), "ascend");
    refused(
        |delta| delta.mailboxes[0].changed.insert(1, message(3, "c", 11)),
        "ascend",
    );
    refused(
        |delta| delta.mailboxes[0].changed[1].guid = MessageGuid::default(),
        "GUID",
    );
    refused(|delta| delta.mailboxes[0].changed[1].guid = "a\0b".into(), "GUID");
    refused(|delta| delta.mailboxes[0].changed[2].uid = Uid(9), "UIDNEXT");
    refused(
        |delta| delta.mailboxes[0].vanished = vec![UidRange::one(Uid(3))],
        "there and gone",
    );
    refused(
        |delta| delta.mailboxes[0].vanished = vec![UidRange::one(Uid(5)), UidRange::one(Uid(4))],
        "out of order",
    );
    refused(
        |delta| delta.mailboxes[0].changed[0].keywords = vec![Keyword::from("a b")],
        "keyword",
    );
    refused(|delta| delta.mailboxes[0].changed[0].modseq = Modseq(21), "MODSEQ");
}

#[test]
fn a_state_that_makes_the_server_give_up_is_refused() {
    refused(|delta| delta.mailboxes[0].since = Some(state(9, 6)), "last state");
    refused(
        |delta| delta.mailboxes[0].since.as_mut().unwrap().uid_validity = UidValidity(8),
        "last state",
    );
    refused(|delta| delta.mailboxes[0].since = None, "not complete");
}

#[test]
fn a_tree_that_the_server_misunderstands_is_refused() {
    refused(|delta| delta.tree[1].mailbox = delta.tree[0].mailbox, "two names");
    refused(|delta| delta.tree[1].name = MailboxName::inbox(), "twice");
    refused(|delta| delta.tree[1].name = MailboxName::of(["a", ""]), "empty");
    refused(|delta| drop(delta.tree.remove(0)), "not in the tree");
    refused(
        |delta| delta.tree[0].mailbox.as_mut().unwrap().uid_next = Uid(8),
        "other numbers",
    );
    refused(|delta| delta.mailboxes.push(inbox()), "twice");
    refused(|delta| delta.user = "a\tb".into(), "name of a user");
}

#[test]
fn the_last_look_refuses_new_below_the_common_uid_and_changed_above_it() {
    let delta = inbox();
    let (old, new) = (message(3, "c", 11), message(7, "g", 12));
    let common = Some(state(6, 6));
    let look = |changes: &[Change<'_>]| check_list(&delta, changes, common);
    look(&[Change::Flagged(&old), Change::Expunged(Uid(4)), Change::Saved(&new)]).unwrap();
    for wrong in [
        &[Change::Saved(&old)][..],
        &[Change::Flagged(&new)],
        &[Change::Expunged(Uid(7))],
        &[Change::Saved(&new), Change::Flagged(&old)],
        &[Change::Flagged(&old), Change::Expunged(Uid(3))],
    ] {
        assert!(look(wrong).is_err(), "{wrong:?}");
    }
    // Without a state, everything is new.
    assert!(check_list(&delta, &[Change::Flagged(&old)], None).is_err());
}

#[test]
fn what_was_told_in_a_kept_session_is_listed_again() {
    // A message above the session's state that a later list lacks would be expunged, or the mailbox deleted.
    let told: BTreeMap<Uid, Message> = [(Uid(5), message(5, "e", 9))].into();
    let delta = MailboxDelta {
        since: Some(state(6, 6)),
        vanished: vec![UidRange {
            first: Uid(1),
            last: Uid(2),
        }],
        ..inbox()
    };
    let began = Some(state(4, 4));
    let changes = list(&delta, began, &told).unwrap();
    let shown: Vec<_> = changes
        .iter()
        .map(|change| {
            let letter = match change {
                Change::Saved(_) => 's',
                Change::Flagged(_) => 'f',
                Change::Expunged(_) => 'e',
            };
            (letter, change.uid().0)
        })
        .collect();
    assert_eq!(shown, [('e', 1), ('e', 2), ('f', 3), ('s', 5), ('s', 7), ('s', 8)]);
    check_list(&delta, &changes, began).unwrap();
}

#[test]
fn a_range_of_all_uids_is_not_written_out() {
    let delta = MailboxDelta {
        vanished: vec![UidRange {
            first: Uid(1),
            last: Uid(u32::MAX - 2),
        }],
        changed: Vec::new(),
        uid_next: Uid(u32::MAX),
        since: Some(state(u32::MAX - 2, 6)),
        ..inbox()
    };
    assert!(list(&delta, delta.since, &BTreeMap::new()).is_err());
}
