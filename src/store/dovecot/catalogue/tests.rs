use super::*;
use crate::op::Payload;
use crate::op::Stale;
use crate::store::dovecot::forge::{LogForge, append, ext_header, flags, intro, list_names, list_node};
use crate::store::dovecot::mail_root::Driver;
use crate::store::table::CaptureTable;
use proptest::prelude::*;

fn guid(n: u8) -> Guid {
    Guid([n; 16])
}

fn name(text: &str) -> MailboxName {
    MailboxName::of(text.split('/'))
}

fn names<'a>(found: impl IntoIterator<Item = &'a MailboxName>) -> Vec<String> {
    found.into_iter().map(ToString::to_string).collect()
}

/// `name=guid` of each mailbox.
fn mailboxes(listing: &Listing) -> Vec<String> {
    let mut all: Vec<String> = listing
        .mailboxes
        .iter()
        .map(|(guid, found)| format!("{}={}", found.name, guid.0[0]))
        .collect();
    all.sort();
    all
}

fn listed(driver: Driver, root: &Path) -> Listing {
    listed_in(Namespace::plain(driver, root))
}

fn listed_in(namespace: Namespace) -> Listing {
    list(&MailRoot::of(namespace), &Identities::default()).unwrap()
}

fn maildir(root: &Path, directory: &str, n: u8) {
    let directory = root.join(directory);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(
        directory.join("dovecot-uidlist"),
        format!("3 V9 N1 G{}\n", guid(n).to_hex()),
    )
    .unwrap();
}

fn sdbox(root: &Path, directory: &str, n: u8) {
    let directory = root.join("mailboxes").join(directory).join("dbox-Mails");
    std::fs::create_dir_all(&directory).unwrap();
    let identity = [&[0; 4][..], &guid(n).0, &[0; 4]].concat();
    let log = LogForge::first().commit(&[intro("dbox-hdr", 24, 0), ext_header(&identity)]);
    std::fs::write(directory.join("dovecot.index.log"), log.0).unwrap();
}

#[test]
fn maildir_shows_parents_without_a_directory_as_unselectable() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    maildir(path, ".", 1);
    maildir(path, ".A.B.C", 2);
    maildir(path, ".INBOX.low", 3);
    maildir(path, ".R&AOk-sum&AOk-", 4);
    maildir(path, "..DOVECOT-TRASHED", 5);
    maildir(path, "cur", 6);
    std::fs::create_dir(path.join(".P")).unwrap();
    maildir(path, ".P.Q", 7);
    std::fs::write(path.join("subscriptions"), "V\t2\n\nINBOX\nA\tB\n").unwrap();
    let listing = listed(Driver::Maildir, path);
    assert_eq!(
        mailboxes(&listing),
        ["A/B/C=2", "INBOX/low=3", "INBOX=1", "P/Q=7", "Résumé=4"]
    );
    // `P` has a directory: it is a mailbox that has no GUID yet.
    assert_eq!(names(listing.unselectable.keys()), ["A", "A/B"]);
    assert_eq!(names(&listing.subscriptions), ["A/B", "INBOX"]);
    assert!(listing.complaints.is_empty() && !listing.unsettled);
}

fn stale(n: u8) -> Unselectable {
    Unselectable::Stale(Stale {
        guid: guid(n),
        nonexistent_code: true,
    })
}

/// A list index that knows `A` (GUID 21), `A/B` (as a name for its children only) and `A/B/C` (GUID 23).
fn list_index() -> LogForge {
    let [intro, names] = list_names(&[(1, "A"), (2, "B"), (3, "C")]);
    LogForge::first().commit(&[
        append(&[(1, 0), (2, 4), (3, 0)]),
        intro,
        names,
        list_node(1, 1, 0, 21),
        list_node(2, 2, 1, 0),
        list_node(3, 3, 2, 23),
    ])
}

#[test]
fn a_parent_that_the_list_index_takes_for_a_mailbox_is_stale() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    maildir(path, ".A.B.C", 2);
    maildir(path, ".X.Y", 3);
    let index = path.join("dovecot.list.index.log");
    let marks = || listed(Driver::Maildir, path).unselectable;
    let expected = |a| {
        BTreeMap::from([
            (name("A"), a),
            (name("A/B"), Unselectable::Noselect),
            (name("X"), Unselectable::Noselect),
        ])
    };
    assert_eq!(marks(), expected(Unselectable::Noselect));
    std::fs::write(&index, list_index().0).unwrap();
    assert_eq!(marks(), expected(stale(21)));
    std::fs::write(&index, list_index().commit(&[flags(1, 1, 0x10, 0)]).0).unwrap();
    assert_eq!(marks(), expected(Unselectable::Noselect));
    maildir(path, ".A", 4);
    std::fs::write(&index, list_index().0).unwrap();
    assert!(!marks().contains_key(&name("A")));
}

#[test]
fn a_list_index_that_can_not_be_read_is_reported_and_the_tree_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    maildir(path, ".A.B.C", 2);
    let mut damaged = list_index().0;
    damaged.truncate(40);
    damaged.extend([1; 40]);
    std::fs::write(path.join("dovecot.list.index.log"), damaged).unwrap();
    let listing = listed(Driver::Maildir, path);
    assert_eq!(listing.unselectable.get(&name("A")), Some(&Unselectable::Noselect));
    assert!(
        listing.complaints[0].contains("dovecot.list.index"),
        "{:?}",
        listing.complaints
    );
}

#[test]
fn a_dbox_directory_without_mail_is_never_stale() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    sdbox(path, "A/B/C", 2);
    std::fs::write(path.join("dovecot.list.index.log"), list_index().0).unwrap();
    assert!(
        listed(Driver::Sdbox, path)
            .unselectable
            .values()
            .all(|how| *how == Unselectable::Noselect)
    );
}

#[test]
fn a_stale_name_whose_guid_changes_is_emitted_again() {
    let with = |n| {
        let mut listing = tree(&[(2, "P/Q")], &[]);
        listing.unselectable.insert(name("P"), stale(n));
        listing
    };
    let memory = Remembered::after(&with(1));
    assert!(memory.difference(&with(1), &Evidence::default()).0.before.is_none());
    let (steps, _) = memory.difference(&with(3), &Evidence::default());
    assert_eq!(steps.before.unwrap().unselectable, [(name("P"), Some(stale(3)))]);
}

#[test]
fn dbox_shows_directories_without_mail_as_unselectable() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    sdbox(path, "INBOX", 1);
    sdbox(path, "A/B/C", 2);
    sdbox(path, "INBOX/low", 3);
    sdbox(path, "a.b", 4);
    std::fs::create_dir_all(path.join("mailboxes/D/E")).unwrap();
    std::fs::create_dir_all(path.join("mailboxes/..DOVECOT-TrasH/x")).unwrap();
    let listing = listed(Driver::Sdbox, path);
    assert_eq!(mailboxes(&listing), ["A/B/C=2", "INBOX/low=3", "INBOX=1", "a.b=4"]);
    assert_eq!(names(listing.unselectable.keys()), ["A", "A/B", "D", "D/E"]);
    std::fs::remove_dir_all(path.join("mailboxes/INBOX/dbox-Mails")).unwrap();
    // INBOX is never unselectable; without a log it is left out until it has one.
    assert_eq!(
        names(listed(Driver::Sdbox, path).unselectable.keys()),
        ["A", "A/B", "D", "D/E"]
    );
}

#[test]
fn a_deletion_that_dovecot_noted_is_found_in_both_files() {
    let root = tempfile::tempdir().unwrap();
    maildir(root.path(), ".", 1);
    let record = |n: u8| [&[1, 0, 0, 0][..], &guid(n).0, &[0; 4]].concat();
    std::fs::write(root.path().join("dovecot.mailbox.log.2"), record(8)).unwrap();
    std::fs::write(root.path().join("dovecot.mailbox.log"), record(9)).unwrap();
    assert_eq!(listed(Driver::Maildir, root.path()).deleted, [guid(8), guid(9)].into());
}

#[test]
fn two_directories_with_one_guid_are_not_settled() {
    let root = tempfile::tempdir().unwrap();
    maildir(root.path(), ".A", 2);
    maildir(root.path(), ".B", 2);
    let listing = listed(Driver::Maildir, root.path());
    assert!(listing.unsettled && listing.complaints.len() == 1);
}

#[test]
fn a_name_that_is_no_modified_utf_7_is_reported_and_the_others_go_on() {
    let root = tempfile::tempdir().unwrap();
    maildir(root.path(), ".Bad&", 2);
    maildir(root.path(), ".Good", 3);
    let listing = listed(Driver::Maildir, root.path());
    assert_eq!(
        (mailboxes(&listing), listing.complaints.len()),
        (vec!["Good=3".to_owned()], 1)
    );
}

/// A listing without files.
fn tree(mailboxes: &[(u8, &str)], noselect: &[&str]) -> Listing {
    let found = |text: &str| Found {
        name: name(text),
        special_use: None,
        directory: PathBuf::new(),
    };
    Listing {
        mailboxes: mailboxes.iter().map(|(n, text)| (guid(*n), found(text))).collect(),
        unselectable: noselect
            .iter()
            .map(|text| (name(text), Unselectable::Noselect))
            .collect(),
        ..Listing::default()
    }
}

struct Remembered(CaptureTable);

impl Remembered {
    fn after(listing: &Listing) -> Self {
        let mut memory = Self(CaptureTable::default());
        memory.take(listing, &Evidence::default());
        memory
    }

    fn difference(&self, listing: &Listing, evidence: &Evidence) -> (TreeSteps, BTreeSet<Guid>) {
        difference(&"u".into(), self.0.user(&"u".into()), listing, evidence)
    }

    fn take(&mut self, listing: &Listing, evidence: &Evidence) {
        let (steps, _) = self.difference(listing, evidence);
        for change in steps.before.into_iter().chain(steps.after) {
            self.0.apply(&Payload::Tree(change));
        }
    }
}

fn deleted(guids: &[u8]) -> Evidence {
    Evidence {
        deleted: guids.iter().map(|n| guid(*n)).collect(),
        ..Evidence::default()
    }
}

#[test]
fn names_that_are_swapped_are_one_change() {
    let memory = Remembered::after(&tree(&[(1, "A"), (2, "B")], &[]));
    let (steps, missing) = memory.difference(&tree(&[(1, "B"), (2, "A")], &[]), &Evidence::default());
    assert_eq!(steps.before.unwrap().mailboxes.len(), 2);
    assert!(steps.after.is_none() && !steps.together && missing.is_empty());
}

#[test]
fn only_evidence_makes_a_disappearance_genuine() {
    let memory = Remembered::after(&tree(&[(1, "A"), (2, "B")], &[]));
    let now = tree(&[(2, "B")], &[]);
    let (steps, missing) = memory.difference(&now, &Evidence::default());
    assert!(steps.after.is_none() && missing == [guid(1)].into());
    let gone = |evidence: &Evidence| {
        memory.difference(&now, evidence).0.after.unwrap().mailboxes[0]
            .name
            .clone()
    };
    assert_eq!(gone(&deleted(&[1])), Err(Disappearance::Genuine));
    let overdue = Evidence {
        overdue: [guid(1)].into(),
        ..Evidence::default()
    };
    assert_eq!(gone(&overdue), Err(Disappearance::Inferred));
}

#[test]
fn a_deleted_parent_stays_as_a_name_only_after_it_has_gone() {
    let memory = Remembered::after(&tree(&[(1, "P"), (2, "P/Q")], &[]));
    let (steps, _) = memory.difference(&tree(&[(2, "P/Q")], &["P"]), &deleted(&[1]));
    let after = steps.after.unwrap();
    assert!(
        steps.before.is_none()
            && after.unselectable == [(name("P"), Some(Unselectable::Noselect))]
            && after.mailboxes.len() == 1
    );
}

#[test]
fn a_name_of_a_mailbox_that_is_only_missing_is_not_given_away() {
    let memory = Remembered::after(&tree(&[(1, "A")], &[]));
    let now = tree(&[(2, "A"), (3, "C")], &[]);
    let (steps, missing) = memory.difference(&now, &Evidence::default());
    assert!(steps == TreeSteps::default() && missing == [guid(1)].into());
    let (steps, _) = memory.difference(&now, &deleted(&[1]));
    assert!(steps.together && steps.introduced == [guid(2), guid(3)].into());
}

fn trees() -> impl Strategy<Value = Vec<BTreeMap<u8, &'static str>>> {
    let names = prop::sample::select(vec!["A", "B", "A/B", "C", "A/B/C", "D"]);
    let tree = proptest::collection::btree_map(1..8u8, names, 0..6).prop_map(|tree| {
        let mut taken = BTreeSet::new();
        tree.into_iter().filter(|(_, name)| taken.insert(*name)).collect()
    });
    proptest::collection::vec(tree, 1..8)
}

proptest! {
    #[test]
    fn the_steps_lead_from_any_tree_to_any_other(trees in trees()) {
        let mut memory = Remembered(CaptureTable::default());
        for tree_now in trees {
            let pairs: Vec<(u8, &str)> = tree_now.into_iter().collect();
            let mut now = tree(&pairs, &[]);
            let selectable: BTreeSet<MailboxName> = now.mailboxes.values().map(|found| found.name.clone()).collect();
            let parents = selectable.iter().flat_map(|n| (1..n.0.len()).map(|depth| MailboxName::of(n.0[..depth].to_vec())));
            let parents = parents.filter(|parent| !selectable.contains(parent));
            // One that had children before its GUID changed may be stale with another GUID now.
            let how = |parent: &MailboxName| if parent.0.len() == 1 { stale(u8::try_from(pairs.len()).unwrap()) } else { Unselectable::Noselect };
            now.unselectable = parents.map(|parent| { let how = how(&parent); (parent, how) }).collect();
            memory.take(&now, &deleted(&[1, 2, 3, 4, 5, 6, 7]));
            let row = memory.0.user(&"u".into()).unwrap();
            let kept: BTreeMap<Guid, MailboxName> = row.mailboxes.iter().map(|(g, m)| (*g, m.name.clone())).collect();
            let wanted: BTreeMap<Guid, MailboxName> = now.mailboxes.iter().map(|(g, m)| (*g, m.name.clone())).collect();
            prop_assert_eq!(kept, wanted);
            prop_assert_eq!(&row.unselectable, &now.unselectable);
        }
    }
}

/// dbox makes a mailbox's directory in the tree of the mail for its first message, or for its list of rights.
#[test]
fn an_access_control_list_apart_from_the_index_is_watched_from_its_beginning() {
    let root = tempfile::tempdir().unwrap();
    let (mail, index) = (root.path().join("mail"), root.path().join("index"));
    let mut namespace = Namespace::plain(Driver::Sdbox, &mail);
    namespace.index = Some(index.clone());
    namespace.list_index.0 = index.clone();
    let mut all = MailRoot::of(namespace);
    all.attributes.acl = true;
    sdbox(&index, "A", 1);
    std::fs::rename(index.join("mailboxes/A/dbox-Mails"), index.join("moved")).unwrap();
    std::fs::rename(
        index.join("moved/dovecot.index.log"),
        index.join("mailboxes/A/dovecot.index.log"),
    )
    .unwrap();
    let tree = mail.join("mailboxes/A");
    std::fs::create_dir_all(tree.join("dbox-Mails")).unwrap();
    let listing = list(&all, &Identities::default()).unwrap();
    assert_eq!(mailboxes(&listing), ["A=1"]);
    assert!(listing.directories.contains(&tree.join("dbox-Mails")));
    assert_eq!(listing.beside.get(&tree.join("dbox-Mails")), Some(&guid(1)));

    all.namespaces[0].iterate_index = true;
    std::fs::remove_dir(tree.join("dbox-Mails")).unwrap();
    let listing = list(&all, &Identities::default()).unwrap();
    assert_eq!(mailboxes(&listing), ["A=1"]);
    assert!(listing.directories.contains(&tree), "where it will appear");
}
