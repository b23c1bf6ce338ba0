use super::*;
use crate::op::{Disappearance, Lineage, Lsn, MessageGuid, Notice, Op, StateChunk, TreeMailbox, Uid, UidValidity};
use crate::store::dovecot::bodies::DovecotBodies;
use crate::store::dovecot::forge::{Forged, LogForge, append, expunge, header, index_deleted, list_names, list_node};
use crate::store::dovecot::identity::Identities;
use crate::store::dovecot::mail_root::{Driver, Layout, Namespace};
use crate::store::dovecot::watch::Watch;
use crate::store::source::{Bodies, Command, Outlet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

const A: Guid = Guid([0xa; 16]);
const B: Guid = Guid([0xb; 16]);
const C: Guid = Guid([0xc; 16]);

/// What was emitted, as words: `+A2` an append of UID 2 to A, `-A2` an expunge, `=A` a list, `*` a change of the tree, `*?` one
/// with a mailbox that went without a word.
#[derive(Default)]
struct Words(Vec<String>);

impl Outlet for Words {
    fn notice(&mut self, _notice: Notice) {}

    fn emit(&mut self, captured: Vec<Captured>, table: &mut CaptureTable) -> Result<Lsn, OutletError> {
        let letter = |guid: Guid| format!("{:X}", guid.0[0]);
        for payload in captured.iter().flat_map(|captured| &captured.payloads) {
            table.apply(payload);
            match payload {
                Payload::Mailbox(txn) => self.0.extend(txn.ops.iter().map(|op| match op {
                    Op::Append(append) => format!("+{}{}", letter(txn.mailbox.guid), append.uid),
                    Op::Expunge(expunge) => format!("-{}{}", letter(txn.mailbox.guid), expunge.uids[0].first),
                    other => format!("{other:?}"),
                })),
                Payload::Tree(change) if change.mailboxes.iter().any(is_inferred) => self.0.push("*?".to_owned()),
                Payload::State(chunk) => self.0.push(format!("={}", letter(chunk.mailbox.guid))),
                Payload::Attributes(_) => self.0.push("attributes".to_owned()),
                _ => self.0.push("*".to_owned()),
            }
        }
        Ok(Lsn(1))
    }

    fn offer(&mut self, _mailbox: &MailboxId, _of: UidValidity, _messages: &[(Uid, MessageGuid, Option<u64>)]) {}

    fn is_offer_open(&mut self) -> bool {
        false
    }
}

fn is_inferred(mailbox: &TreeMailbox) -> bool {
    mailbox.name == Err(Disappearance::Inferred)
}

/// A user with the mailboxes A and B, one message each, listed once.
struct Account {
    home: tempfile::TempDir,
    user: UserCapture,
    table: CaptureTable,
    words: Words,
    watch: Watch,
    identities: Arc<Identities>,
    bodies: DovecotBodies,
    _commands: Receiver<Command>,
}

impl Account {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let namespace = Namespace::plain(Driver::Maildir, home.path());
        let mut account = Self::empty(home, namespace);
        account.make(".A", A);
        account.make(".B", B);
        account.settle();
        assert_eq!(account.said(), ["*", "=A", "=B"]);
        account
    }

    /// The same with the layout index.
    fn in_list_index() -> Self {
        let home = tempfile::tempdir().unwrap();
        let namespace = Namespace {
            layout: Layout::Index,
            inbox_path: None,
            ..Namespace::plain(Driver::Maildir, home.path())
        };
        let mut account = Self::empty(home, namespace);
        account.make(&A.to_hex(), A);
        account.make(&B.to_hex(), B);
        account.name_in_list_index(&[("A", A), ("B", B)]);
        account.settle();
        assert_eq!(account.said(), ["*", "=A", "=B"]);
        account
    }

    fn name_in_list_index(&self, mailboxes: &[(&str, Guid)]) {
        let named: Vec<(u32, &str)> = (1..).zip(mailboxes.iter().map(|(name, _)| *name)).collect();
        let [intro, names] = list_names(&named);
        let appended: Vec<(u32, u8)> = named.iter().map(|(uid, _)| (*uid, 0)).collect();
        let mut records = vec![append(&appended), intro, names];
        let guids = mailboxes.iter().map(|(_, guid)| guid.0[0]);
        records.extend((1..).zip(guids).map(|(uid, guid)| list_node(uid, uid, 0, guid)));
        let log = LogForge::first().commit(&records);
        std::fs::write(self.path("dovecot.list.index.log"), log.0).unwrap();
    }

    fn empty(home: tempfile::TempDir, namespace: Namespace) -> Self {
        let (sender, _commands) = channel();
        let identities = Arc::new(Identities::default());
        let root = Arc::new(MailRoot::of(namespace));
        Self {
            home,
            user: UserCapture::new("u".into(), root),
            table: CaptureTable::default(),
            words: Words::default(),
            watch: Watch::start(sender),
            bodies: DovecotBodies::new(Arc::clone(&identities)),
            identities,
            _commands,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn make(&self, name: &str, guid: Guid) {
        for sub in ["cur", "new"] {
            std::fs::create_dir_all(self.path(name).join(sub)).unwrap();
        }
        let uidlist = format!("3 V9 N1 G{}\n", guid.to_hex());
        std::fs::write(self.path(name).join("dovecot-uidlist"), uidlist).unwrap();
        let log = LogForge::first().commit(&[header(24, 9)]);
        std::fs::write(self.path(name).join(LOG), log.0).unwrap();
        self.deliver(name, 1);
    }

    fn log(&self, name: &str, records: &[Forged]) {
        let path = self.path(name).join(LOG);
        let log = LogForge(std::fs::read(&path).unwrap());
        let before = log.0.len();
        self.write_on(&path, &log.commit(records).0[before..]);
    }

    fn write_on(&self, path: &std::path::Path, bytes: &[u8]) {
        use std::io::Write;
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn deliver(&self, name: &str, uid: u32) {
        let base = format!("170000.M{uid}P1,W=9");
        std::fs::write(self.path(name).join("new").join(&base), "a: b\n\nc").unwrap();
        let line = format!("{uid} :{base}\n");
        self.write_on(&self.path(name).join("dovecot-uidlist"), line.as_bytes());
        self.log(name, &[append(&[(uid, 0)])]);
    }

    fn expunge(&self, name: &str, uid: u32) {
        self.log(name, &[expunge(&[uid], false)]);
        self.log(name, &[expunge(&[uid], true)]);
    }

    fn with<T>(&mut self, deed: impl FnOnce(&mut UserCapture, &mut Shared<'_>) -> T) -> T {
        let (mut notices, mut last) = (0, Lsn(0));
        let mut shared = Shared {
            table: &mut self.table,
            outlet: &mut self.words,
            watch: &mut self.watch,
            identities: &self.identities,
            bodies: &self.bodies,
            notices: &mut notices,
            last: &mut last,
        };
        deed(&mut self.user, &mut shared)
    }

    fn turn(&mut self, look: Look) -> Vec<String> {
        self.with(|user, shared| user.turn(look, shared)).unwrap();
        self.said()
    }

    /// Everything is looked at and introduced.
    fn settle(&mut self) {
        self.with(|user, shared| user.turn(Look::everything(), shared)).unwrap();
        while self.user.is_introducing() {
            self.with(UserCapture::introduce).unwrap();
        }
        self.with(|user, shared| user.turn(Look::everything(), shared)).unwrap();
        assert!(self.user.is_settled());
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words.0)
    }

    fn rest(&mut self) {
        self.user.rest(&self.table);
        assert_eq!(self.user.awake(), 0);
    }
}

#[test]
fn a_move_is_not_seen_as_only_its_expunge_where_only_the_expunge_woke() {
    for resting in [false, true] {
        let mut account = Account::new();
        if resting {
            account.rest();
        }
        account.deliver(".B", 2);
        account.expunge(".A", 1);
        assert_eq!(account.turn(Look::log(A)), ["+B2", "-A1"], "resting: {resting}");
        assert!(account.user.is_settled());
    }
}

#[test]
fn a_move_into_a_mailbox_that_nobody_has_listed_yet_waits_for_its_list() {
    let mut account = Account::new();
    account.make(".C", C);
    account.expunge(".A", 1);
    assert_eq!(
        account.turn(Look::log(A)),
        ["*"],
        "the new name goes out, the expunge waits"
    );
    account.settle();
    assert_eq!(account.said(), ["=C", "-A1"]);
}

/// However often it is looked for: nothing waits for a mailbox that will never be listed.
#[test]
fn a_mailbox_that_came_and_went_before_it_was_read_holds_up_nobody() {
    let mut account = Account::new();
    account.make(".C", C);
    account.expunge(".A", 1);
    assert_eq!(account.turn(Look::log(A)), ["*"]);
    std::fs::remove_dir_all(account.path(".C")).unwrap();
    let deleted = [&[1, 0, 0, 0][..], &C.0, &[0; 4]].concat();
    std::fs::write(account.path("dovecot.mailbox.log"), deleted).unwrap();
    while account.user.is_introducing() {
        account.with(UserCapture::introduce).unwrap();
    }
    std::thread::sleep(SOON);
    assert_eq!(account.turn(Look::everything()), ["-A1", "*"]);
    assert!(account.user.is_settled());
}

#[test]
fn a_log_renamed_with_its_mailbox_since_the_listing_is_found_again() {
    for resting in [false, true] {
        let mut account = Account::new();
        if resting {
            account.rest();
        }
        std::fs::rename(account.path(".A"), account.path(".Z")).unwrap();
        account.deliver(".Z", 2);
        let mut said = account.turn(Look::log(A));
        account.watch.drain();
        let look = account.watch.take_of(&"u".into());
        assert!(look.tree || resting, "the rename has no event");
        said.extend(account.turn(look));
        said.sort_unstable();
        assert_eq!(said, ["*", "+A2"], "resting: {resting}");
    }
}

#[test]
fn mailboxes_that_swapped_names_keep_their_own_mail() {
    let mut account = Account::new();
    account.rest();
    for (from, to) in [(".A", ".X"), (".B", ".A"), (".X", ".B")] {
        std::fs::rename(account.path(from), account.path(to)).unwrap();
    }
    account.deliver(".A", 2);
    account.turn(Look::log(B));
    account.settle();
    let mut both = account.said();
    both.extend(account.turn(Look::everything()));
    assert!(!both.iter().any(|word| word.starts_with("+A")), "{both:?}");
    let name = |guid: &Guid| {
        account
            .table
            .user(&"u".into())
            .unwrap()
            .mailboxes
            .get(guid)
            .unwrap()
            .name
            .join('/')
    };
    assert_eq!((name(&A).as_str(), name(&B).as_str()), ("B", "A"));
}

#[test]
fn what_came_while_a_mailbox_rested_is_read_once() {
    let mut account = Account::new();
    account.rest();
    account.deliver(".A", 2);
    assert_eq!(account.turn(Look::log(A)), ["+A2"]);
    assert_eq!(account.user.awake(), 1, "B was woken without a reason");
    account.rest();
    account.deliver(".A", 3);
    assert_eq!(account.turn(Look::everything()), ["+A3"], "a look at everything");
    account.rest();
    assert!(account.turn(Look::everything()).is_empty());
    assert_eq!(account.user.awake(), 0);
}

#[test]
fn a_scan_without_events_names_what_changed_and_nothing_else() {
    let mut account = Account::new();
    account.rest();
    account.deliver(".B", 2);
    let look = account.user.scan();
    assert_eq!(look.logs, BTreeSet::from([B]));
    assert_eq!(account.turn(look), ["+B2"]);
}

/// The list before the restart may have been one between two steps of the repair: nobody knows, and its log is at rest.
#[test]
fn a_mailbox_whose_repair_a_restart_came_into_is_listed_once_more() {
    let mut account = Account::new();
    let mailbox = account.user.id(A);
    let position = account.table.mailbox(&mailbox).unwrap().position.clone().unwrap();
    account.table.apply(&Payload::State(StateChunk {
        mailbox,
        lineage: Lineage::Broken,
        position,
        ..StateChunk::default()
    }));
    account.user = UserCapture::new("u".into(), Arc::clone(&account.user.root));
    let mut said = account.turn(Look::everything());
    let began = Instant::now();
    while !account.user.is_settled() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(SOON);
        said.extend(account.turn(Look::default()));
    }
    assert_eq!(said, ["=A"]);
    assert!(!account.table.mailbox(&account.user.id(A)).unwrap().after_repair);
    account.user = UserCapture::new("u".into(), Arc::clone(&account.user.root));
    account.settle();
    assert_eq!(account.said(), [""; 0], "the next restart lists nothing");
}

/// CREATE writes the uidlist and an empty index; the first SELECT tells the index what the uidlist says.
#[test]
fn a_uidvalidity_that_the_index_learns_from_the_uidlist_is_no_damage() {
    let mut account = Account::new();
    account.make(".C", C);
    std::fs::write(account.path(".C").join(LOG), LogForge::first().0).unwrap();
    account.settle();
    assert_eq!(account.said(), ["*", "=C"]);
    account.log(".C", &[header(24, 9)]);
    account.deliver(".C", 2);
    assert_eq!(account.turn(Look::log(C)), ["+C2"]);
    account.log(".C", &[header(24, 10)]);
    assert_eq!(account.turn(Look::log(C)), ["=C"], "another one");
}

/// Dovecot leaves the index of a mailbox in a tree apart, and `dovecot.mailbox.log` without a word, where the mailbox's
/// directory in the tree of the mail was not there.
#[test]
fn a_mailbox_that_left_the_list_index_is_deleted_where_its_own_log_says_so() {
    for read_before in [false, true] {
        let mut account = Account::in_list_index();
        account.log(&A.to_hex(), &[index_deleted()]);
        if read_before {
            assert!(account.turn(Look::log(A)).is_empty(), "its name is still there");
            // Reading goes on behind the deletion, and what it said is forgotten.
            let read = account.user.mailbox(A).unwrap().position();
            account.table.apply(&Payload::State(StateChunk {
                mailbox: account.user.id(A),
                uidvalidity: read.uidvalidity,
                uidnext: read.uidnext,
                position: read,
                ..StateChunk::default()
            }));
            account.user = UserCapture::new("u".into(), Arc::clone(&account.user.root));
            account.settle();
            assert_eq!(account.said(), [""; 0]);
        }
        account.name_in_list_index(&[("B", B)]);
        let mut said = account.turn(Look::tree());
        said.extend(account.turn(Look::default()));
        assert_eq!(said, ["*"], "read before: {read_before}");
        assert!(account.user.is_settled());
    }
}

/// SETACL while an expunge is being covered: the event is taken with those that tell what the expunge belongs to.
#[test]
fn an_access_control_list_that_changes_beside_an_expunge_is_read() {
    let mut account = Account::new();
    let mut root = MailRoot::clone(&account.user.root);
    root.attributes.acl = true;
    account.user = UserCapture::new("u".into(), Arc::new(root));
    account.settle();
    account.said();
    account.expunge(".A", 1);
    std::fs::write(account.path(".B/dovecot-acl"), "user=ann lr\n").unwrap();
    let said = account.turn(Look::log(A));
    assert_eq!(said, ["-A1", "attributes"]);
}

#[test]
fn a_mailbox_renamed_while_its_messages_are_looked_at_has_lost_none() {
    let account = Account::new();
    let mailbox = account.user.id(A);
    let asked = [(Uid(1), MessageGuid::from("170000.M1P1,W=9"))];
    assert_eq!(account.bodies.in_place(&mailbox, || 7), Some(7));
    let renamed = || std::fs::rename(account.path(".A"), account.path(".Z")).unwrap();
    assert_eq!(
        account.bodies.in_place(&mailbox, renamed),
        None,
        "attested from where it was"
    );
    // capture has not heard of it yet
    assert!(account.bodies.gone(&mailbox, UidValidity(9), &asked).is_empty());
    // another mailbox has its name before the second look
    account.make(".A", C);
    assert!(account.bodies.gone(&mailbox, UidValidity(9), &asked).is_empty());
}

#[test]
fn a_mailbox_renamed_between_its_first_look_and_its_list_is_listed_where_it_is() {
    let mut account = Account::new();
    account.make(".C", C);
    account.turn(Look::everything());
    account.with(UserCapture::introduce).unwrap();
    std::fs::rename(account.path(".C"), account.path(".Y")).unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    while !said.contains(&"=C".to_owned()) && began.elapsed() < Duration::from_secs(20) {
        account.with(UserCapture::introduce).unwrap();
        said.extend(account.turn(Look::everything()));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(said.iter().filter(|word| *word == "=C").count(), 1, "{said:?}");
    let name = account
        .table
        .user(&"u".into())
        .unwrap()
        .mailboxes
        .get(&C)
        .unwrap()
        .name
        .join('/');
    assert_eq!(name, "Y");
    account.deliver(".Y", 2);
    assert_eq!(account.turn(Look::log(C)), ["+C2"]);
}
