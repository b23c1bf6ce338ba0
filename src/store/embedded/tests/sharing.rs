//! One GUID in many accounts, as after a migration from one template or a delivery that links one file to all: what it
//! costs one of them must not grow with the others.

use super::bodies::{body_name, hash_of};
use super::*;
use crate::store::embedded::mailbox::{Leaves, Mailbox};
use crate::store::embedded::{apply, bodies, open, quarantine, renumbering, state};
use rusqlite::{Connection, params};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// SQLite's steps, counted.
struct Steps {
    connection: Connection,
    taken: Arc<AtomicU64>,
    _dir: TempDir,
}

impl Steps {
    /// A store in which so many users have the messages `a`, with its body, and `p`, body pending.
    fn with_users(users: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let connection = open::writer(&dir.path().join("mail.sqlite")).unwrap();
        let tx = connection.unchecked_transaction().unwrap();
        tx.execute(
            "INSERT INTO bodies (hash, pack, pack_offset, length) VALUES (?1, 1, 0, 5)",
            [hash_of(b"hello").0],
        )
        .unwrap();
        for user in 0..users {
            let is = MailboxId {
                user: name_of(user),
                guid: Guid([1; 16]),
            };
            let mut mailbox = Mailbox::load_or_create(&tx, &is).unwrap();
            tx.execute(
                "INSERT INTO body_names (user, guid, mailbox, uidvalidity, uid, size, body)
                 VALUES (?1, 'a', ?2, 1, 1, 5, 1)",
                params![mailbox.user, is.guid.0],
            )
            .unwrap();
            mailbox.put(&tx, None, message(1, "a")).unwrap();
            mailbox.put(&tx, None, message(2, "p")).unwrap();
            mailbox.save(&tx).unwrap();
        }
        tx.commit().unwrap();
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&taken);
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.progress_handler(1, Some(count)).unwrap();
        Self {
            connection,
            taken,
            _dir: dir,
        }
    }

    /// What a deed takes the second time: the first one has its statements prepared.
    fn of(&self, deed: &dyn Fn(&Connection)) -> u64 {
        deed(&self.connection);
        self.taken.store(0, Ordering::Relaxed);
        deed(&self.connection);
        self.taken.load(Ordering::Relaxed)
    }
}

fn name_of(user: u32) -> UserName {
    UserName(format!("u{user}@example.net"))
}

/// The mailbox that the first user has as all others have it.
fn first() -> MailboxId {
    MailboxId {
        user: name_of(0),
        guid: Guid([1; 16]),
    }
}

/// A body as the first user's mailbox may ask for it, and his number.
fn asked(tx: &Connection, uid: u32, guid: &str, size: Option<u64>) -> (i64, BodyName) {
    let mut name = body_name(1, uid, guid, size);
    name.place.mailbox = first();
    (bodies::known_user(tx, &name_of(0)).unwrap().unwrap(), name)
}

/// A deed, by the name that a failure is to have.
type Deed = (&'static str, fn(&Connection));

const DEEDS: [Deed; 7] = [
    ("other places", |tx| {
        let (user, name) = asked(tx, 9, "a", Some(6));
        assert_eq!(bodies::places(tx, user, &name, 32).unwrap().len(), 1);
    }),
    ("a body by user and GUID", |tx| {
        let (user, name) = asked(tx, 9, "a", Some(5));
        assert!(bodies::is_named(tx, user, &name).unwrap());
        assert!(!bodies::answered(tx, user, &name).unwrap());
        assert!(bodies::resolve(tx, user, &name).unwrap().is_some());
    }),
    ("a body by hash", |tx| {
        assert!(bodies::by_hash(tx, &hash_of(b"hello")).unwrap().is_some());
    }),
    ("whether a body is awaited", |tx| {
        let (_, name) = asked(tx, 9, "a", None);
        assert!(!bodies::any_awaited(tx, &[name]).unwrap());
    }),
    ("messages that wait for a body", |tx| {
        let (user, name) = asked(tx, 2, "p", None);
        bodies::heal(tx, user, &name).unwrap();
    }),
    ("an expunge", |tx| {
        let tx = tx.unchecked_transaction().unwrap();
        let mut mailbox = Mailbox::load(&tx, &first()).unwrap().unwrap();
        let message = (Uid(1), &MessageGuid::from("a"));
        quarantine::expunge_or_defer(&tx, &mut mailbox, message, Modseq(3), Leaves::Genuine).unwrap();
        assert_eq!(mailbox.messages, 1);
        tx.rollback().unwrap();
    }),
    ("a list", |tx| {
        let tx = tx.unchecked_transaction().unwrap();
        let Payload::State(mut list) = state(1, 1, Lineage::Whole, vec![message(1, "a"), message(2, "p")]) else {
            panic!("a list is a state");
        };
        list.mailbox = first();
        assert!(state::questions(&tx, &list).unwrap().is_empty());
        state::apply(&tx, &list, &[], &GoneAnswers::new()).unwrap();
        renumbering::into(&tx, &first()).unwrap();
        quarantine::settle(&tx).unwrap();
        tx.rollback().unwrap();
    }),
];

#[test]
fn a_guid_that_a_thousand_users_have_costs_each_no_more_than_his_own() {
    let (few, many) = (Steps::with_users(2), Steps::with_users(1000));
    for (what, deed) in DEEDS {
        let (few, many) = (few.of(&deed), many.of(&deed));
        assert!(
            few > 0 && many <= few + few / 10,
            "{what}: {few} steps with 2 users, {many} with 1000"
        );
    }
}

#[test]
fn mailboxes_that_are_well_are_not_looked_through_after_each_batch() {
    let counts = |tx: &Connection| assert_eq!(apply::counts(tx).unwrap().quarantined, 0);
    let steps = |users| {
        let store = Steps::with_users(users);
        store.connection.execute("UPDATE messages SET body = 1", []).unwrap();
        store.of(&counts)
    };
    let (few, many) = (steps(2), steps(1000));
    assert!(
        few > 0 && many <= few + few / 10,
        "{few} steps with 2 mailboxes, {many} with 1000"
    );
}
