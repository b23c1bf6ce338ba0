//! Bodies: found again after a crash, reused only where that is right, healed when they come late.

use super::*;
use crate::store::embedded::packs::{Content, Record};
use crate::store::embedded::store::Store;
use crate::store::embedded::view::{Depth, Detail, MailboxKey};
use std::sync::Arc;

pub(super) fn hash_of(octets: &[u8]) -> BodyHash {
    BodyHash(*blake3::hash(octets).as_bytes())
}

pub(super) fn body_name(mailbox: u8, uid: u32, guid: &str, size: Option<u64>) -> BodyName {
    let place = BodyPlace {
        mailbox: id(mailbox),
        uidvalidity: UidValidity(1),
        uid: Uid(uid),
    };
    BodyName {
        place,
        guid: guid.into(),
        size,
    }
}

fn sized(uid: u32, guid: &str, size: Option<u64>) -> Op {
    Op::Append(Append {
        size,
        ..message(uid, guid)
    })
}

impl Copy {
    fn put(&mut self, name: &BodyName, octets: &[u8]) {
        let bodies = &self.store().bodies;
        bodies.put(name, octets, &hash_of(octets)).unwrap();
        bodies.commit().unwrap();
    }

    fn key(&mut self, mailbox: u8) -> MailboxKey {
        self.store()
            .view
            .mailbox(&USER.into(), &name(mailbox))
            .unwrap()
            .unwrap()
            .key
    }

    fn body(&mut self, mailbox: u8, uid: u32) -> Option<Vec<u8>> {
        let (_, octets) = self.visit(mailbox, uid, Depth::Whole)?;
        octets.map(|octets| octets.to_vec())
    }

    fn visit(&mut self, mailbox: u8, uid: u32, depth: Depth) -> Option<(Detail, Option<Arc<[u8]>>)> {
        let key = self.key(mailbox);
        let mut seen = None;
        let keep = &mut |detail, octets| {
            seen = Some((detail, octets));
            true
        };
        self.store().view.visit(key, &[Uid(uid)], depth, keep).unwrap();
        seen
    }

    fn lacks(&mut self, name: &BodyName) -> bool {
        self.store()
            .bodies
            .lacking(std::slice::from_ref(name))
            .unwrap()
            .contains_key(name)
    }
}

#[test]
fn a_crash_between_the_bodies_and_the_mail_loses_no_body() {
    let mut copy = two_mailboxes();
    let first = body_name(1, 1, "a", Some(5));
    assert!(copy.lacks(&first));
    copy.store().bodies.put(&first, b"hello", &hash_of(b"hello")).unwrap();
    assert!(!copy.lacks(&first), "what was put is not asked for again");
    copy.store().bodies.commit().unwrap();
    // Nothing of it stands in SQLite yet; the process dies.
    assert_eq!(
        copy.query("SELECT name FROM users JOIN body_names ON user = id"),
        Vec::<String>::new()
    );
    copy.reopen();
    assert!(!copy.lacks(&first));
    copy.apply(&[txn(1, vec![append(1, "a")])]);
    assert_eq!(copy.body(1, 1).unwrap(), b"hello");
    copy.reopen();
    assert_eq!(copy.body(1, 1).unwrap(), b"hello");
}

#[test]
fn a_pending_body_is_looked_for_wherever_its_message_was_copied_to() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![sized(1, "a", None)])]);
    copy.apply(&[txn(2, vec![sized(9, "a", None)])]);
    let (first, second) = (body_name(1, 1, "a", None), body_name(2, 9, "a", None));
    let pending = copy.store().bodies.pending(10).unwrap();
    assert_eq!(pending.get(&first), Some(&vec![second.place.clone()]));
    assert_eq!(pending.get(&second), Some(&vec![first.place]));
}

#[test]
fn a_body_that_comes_late_heals_its_message() {
    let mut copy = two_mailboxes();
    let name = body_name(1, 1, "a", None);
    let gone = Missing {
        gone: true,
        file: String::new(),
        offset: 0,
        why: "no place has it".into(),
    };
    copy.store().bodies.put_missing(&name, &gone).unwrap();
    copy.store().bodies.commit().unwrap();
    assert!(!copy.lacks(&name), "durably missing counts as answered");
    copy.apply(&[txn(1, vec![sized(1, "a", None)])]);
    assert_eq!(copy.body(1, 1), None);
    assert_eq!(copy.store().target.counts().unwrap().bodies_pending, 1);
    let pending = copy.store().bodies.pending(10).unwrap();
    assert_eq!(pending.keys().collect::<Vec<_>>(), [&name]);
    let key = copy.key(1);
    let mut changes = copy.store().view.watch(key);
    changes.mark_unchanged();
    copy.put(&name, b"hello");
    assert!(changes.has_changed().unwrap(), "whoever waits for changes hears of it");
    assert_eq!(copy.body(1, 1).unwrap(), b"hello");
    assert_eq!(copy.store().target.counts().unwrap().bodies_pending, 0);
    let row = copy.store().view.mailbox_again(key).unwrap().unwrap();
    let detail = copy.visit(1, 1, Depth::Detail).unwrap().0;
    assert_eq!((row.size, detail.size, detail.body_pending), (5, Some(5), false));
    // The digest keeps to what the source declared: nothing.
    let digest = copy.query("SELECT coalesce(size, 'none') FROM messages");
    assert_eq!(digest, ["none"]);
}

#[test]
fn a_body_serves_a_copy_of_the_message_only_where_both_sizes_are_known_and_equal() {
    let mut copy = two_mailboxes();
    copy.put(&body_name(1, 1, "a", Some(5)), b"hello");
    assert!(!copy.lacks(&body_name(2, 1, "a", Some(5))));
    assert!(copy.lacks(&body_name(2, 1, "a", None)));
    assert!(copy.lacks(&body_name(2, 1, "a", Some(6))));
    assert!(copy.lacks(&body_name(2, 1, "b", Some(5))));
    let mut other = body_name(2, 1, "a", Some(5));
    other.place.mailbox.user = "other@example.net".into();
    assert!(copy.lacks(&other), "another user's message is another message");
    let ops = vec![sized(1, "a", Some(5)), sized(2, "a", None), sized(3, "a", Some(6))];
    copy.apply(&[txn(2, ops)]);
    assert_eq!(copy.body(2, 1).unwrap(), b"hello");
    assert_eq!((copy.body(2, 2), copy.body(2, 3)), (None, None));
}

#[test]
fn two_contents_under_one_guid_are_kept_apart_by_place() {
    let mut copy = two_mailboxes();
    copy.put(&body_name(1, 1, "a", Some(5)), b"hello");
    copy.put(&body_name(1, 2, "a", Some(5)), b"world");
    assert!(copy.lacks(&body_name(2, 1, "a", Some(5))), "neither may be guessed");
    copy.apply(&[txn(1, vec![append(1, "a"), append(2, "a")])]);
    copy.apply(&[txn(2, vec![append(1, "a")])]);
    assert_eq!(copy.body(1, 1).unwrap(), b"hello");
    assert_eq!(copy.body(1, 2).unwrap(), b"world");
    assert_eq!(copy.body(2, 1), None);
    assert!(copy.lacks(&body_name(2, 1, "a", Some(5))));
}

#[test]
fn equal_octets_are_stored_once() {
    let mut copy = two_mailboxes();
    let octets = vec![b'x'; 100_000];
    for (uid, guid) in [(1, "a"), (2, "b"), (3, "c")] {
        copy.put(&body_name(1, uid, guid, Some(100_000)), &octets);
        copy.apply(&[txn(1, vec![sized(uid, guid, Some(100_000))])]);
    }
    assert_eq!(copy.body(1, 3).unwrap(), octets);
    let pack = std::fs::metadata(copy.dir.path().join("packs/0001.pack")).unwrap();
    assert!(pack.len() < 102_000, "{} bytes", pack.len());
}

#[test]
fn a_body_whose_length_contradicts_its_name_is_refused() {
    let mut copy = two_mailboxes();
    let name = body_name(1, 1, "a", Some(4));
    assert!(copy.store().bodies.put(&name, b"hello", &hash_of(b"hello")).is_err());
    assert!(copy.lacks(&name));
}

#[test]
fn other_places_of_a_lacking_body_are_named() {
    let mut copy = two_mailboxes();
    copy.apply(&[txn(1, vec![append(4, "a")])]);
    let wanted = body_name(2, 1, "a", Some(5));
    let lacking = copy.store().bodies.lacking(std::slice::from_ref(&wanted)).unwrap();
    assert_eq!(lacking[&wanted], [body_name(1, 4, "a", None).place]);
}

#[test]
fn a_deep_digest_finds_a_body_that_rotted() {
    let mut copy = two_mailboxes();
    copy.put(&body_name(1, 1, "a", Some(5)), b"hello");
    copy.apply(&[txn(1, vec![append(1, "a")])]);
    let mut digest = MailboxDigest::empty(id(1), UidValidity(1), Uid(2), Modseq(1));
    digest.add(&message(1, "a"));
    digest.add_body(Uid(1), &BodyHash(*blake3::hash(b"hello").as_bytes()));
    assert_eq!(copy.apply(&[Payload::Digest(digest.clone())])[0].why, "");
    let pack = copy.dir.path().join("packs/0001.pack");
    let mut bytes = std::fs::read(&pack).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    assert_eq!(copy.apply(&[Payload::Digest(digest.clone())])[0].why, "bodies");
    digest.bodies = None;
    assert_eq!(copy.apply(&[Payload::Digest(digest)])[0].why, "");
}

#[test]
fn records_that_are_indexed_leave_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &"mail-b".into(), Duration::from_secs(1)).unwrap();
    let record = |uid| {
        let (hash, length) = (BodyHash(*blake3::hash(b"hello").as_bytes()), 5);
        let name = body_name(1, uid, "a", Some(5));
        Record {
            name,
            content: Content::Octets { hash, length },
        }
    };
    store.packs.append(record(1), b"hello").unwrap();
    store.packs.commit().unwrap();
    // Not flushed: it must not be indexed yet.
    store.packs.append(record(2), b"hello").unwrap();
    store.write(|_| Ok(())).unwrap();
    assert_eq!(store.packs.unindexed(), []);
    store.packs.commit().unwrap();
    assert_eq!(store.packs.unindexed().len(), 1);
    store.write(|_| Ok(())).unwrap();
    assert_eq!(store.packs.unindexed(), []);
}
