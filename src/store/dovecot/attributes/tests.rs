//! Files that change, go and break under the capture.

use super::*;
use crate::op::{Payload, TreeChange, TreeMailbox};
use crate::store::dovecot::attribute_settings::SievePlaces;
use crate::store::dovecot::mail_root::{Driver, Namespace};
use crate::store::table::CaptureTable;
use tempfile::TempDir;

const INBOX: Guid = Guid([1; 16]);
const SUB: Guid = Guid([2; 16]);

/// A user's home, and what was emitted of it.
struct House {
    home: TempDir,
    table: CaptureTable,
    capture: AttributeCapture,
    places: Places,
}

fn user() -> UserName {
    "u".into()
}

impl House {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let places = [(INBOX, home.path().join("inbox")), (SUB, home.path().join("sub"))];
        let places: Places = places.into_iter().collect();
        for name in ["inbox", "sub"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        let settings = AttributeSettings {
            dict: Some(home.path().join("dict")),
            acl: true,
            sieve: Some(SievePlaces {
                scripts: Some(home.path().join("sieve")),
                active: home.path().join("active"),
            }),
            ..AttributeSettings::default()
        };
        let mut table = CaptureTable::default();
        let named = |guid, name: &str| TreeMailbox {
            guid,
            name: Ok(MailboxName::of([name])),
            special_use: None,
        };
        table.apply(&Payload::Tree(TreeChange {
            user: user(),
            mailboxes: vec![named(INBOX, "INBOX"), named(SUB, "sub")],
            ..TreeChange::default()
        }));
        let root = MailRoot {
            attributes: settings,
            ..MailRoot::of(Namespace::plain(Driver::Sdbox, home.path()))
        };
        let capture = AttributeCapture::new(user(), Arc::new(root));
        Self {
            home,
            table,
            capture,
            places,
        }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.home.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_extension("tmp");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    fn dict(&self, entries: &[(&str, Guid, &str, &str)]) {
        let lines = entries
            .iter()
            .map(|(class, guid, key, value)| format!("{class}/{guid}/{key}\n{value}\n"));
        self.write("dict", &lines.collect::<String>());
    }

    /// One turn: what went out, as words.
    fn turn(&mut self) -> Vec<String> {
        let row = self.table.user(&user()).unwrap().clone();
        let changes = self.capture.changes(&row, &self.places);
        let mut said = Vec::new();
        for change in changes {
            let of = change
                .scope
                .mailbox
                .map_or("user", |guid| if guid == INBOX { "inbox" } else { "sub" });
            let names: Vec<&str> = change.entries.iter().map(|(name, _)| name.as_str()).collect();
            said.push(format!("{of} {}: {}", change.scope.kind.name(), names.join(" ")));
            self.table.apply(&Payload::Attributes(change));
        }
        said
    }

    /// As after a crash: only the table is left.
    fn restart(&mut self) {
        self.capture = AttributeCapture::new(user(), Arc::clone(&self.capture.root));
    }

    fn troubles(&mut self) -> usize {
        self.capture
            .troubles
            .values_mut()
            .for_each(|trouble| trouble.since -= GRACE * 2);
        self.turn();
        self.capture.findings().count()
    }
}

#[test]
fn what_changed_goes_out_once_and_is_known_after_a_crash() {
    let mut house = House::new();
    assert!(house.turn().is_empty());
    house.dict(&[
        ("priv", SUB, "comment", "x"),
        ("shared", INBOX, "vendor/vendor.dovecot/pvt/server/comment", "srv"),
        ("priv", Guid([9; 16]), "comment", "of a mailbox that is no more"),
    ]);
    house.write("sub/dovecot-acl", "user=bob lr\n");
    house.write("sieve/main.sieve", "keep;");
    house.capture.logged(SUB);
    let all = [
        "user metadata: /shared/comment",
        "sub metadata: /private/comment",
        "user sieve: script/main",
        "sub acl: user=bob",
    ];
    assert_eq!(house.turn(), all);
    assert!(house.turn().is_empty());
    house.restart();
    assert!(house.turn().is_empty(), "known from before the crash");
    house.dict(&[("priv", SUB, "comment", "y")]);
    house.write("sub/dovecot-acl", "");
    house.restart();
    assert_eq!(
        house.turn(),
        ["user metadata: ", "sub metadata: /private/comment", "sub acl: "]
    );
}

#[test]
fn a_dict_file_that_is_missing_cut_or_emptied_unsets_nothing() {
    let mut house = House::new();
    house.dict(&[("priv", SUB, "comment", "x")]);
    assert_eq!(house.turn().len(), 1);
    let path = house.home.path().join("dict");
    std::fs::remove_file(&path).unwrap();
    assert!(house.turn().is_empty() && house.capture.is_waiting());
    assert_eq!(house.troubles(), 1);
    for broken in ["", "priv/x", &format!("priv/{SUB}/comment\n")] {
        house.write("dict", broken);
        assert!(house.turn().is_empty(), "{broken}");
        assert_eq!(house.troubles(), 1, "{broken}");
    }
    // The log says that the last entry was unset.
    house.write("dict", "");
    house.capture.logged(SUB);
    assert_eq!(house.turn(), ["sub metadata: "]);
    assert_eq!(house.troubles(), 0);
}

#[test]
fn lists_and_scripts_that_vanish_stay_on_the_copy() {
    let mut house = House::new();
    house.write("sub/dovecot-acl", "user=bob lr\n");
    house.write("sieve/main.sieve", "keep;");
    assert_eq!(house.turn().len(), 2);
    std::fs::remove_file(house.home.path().join("sub/dovecot-acl")).unwrap();
    std::fs::remove_dir_all(house.home.path().join("sieve")).unwrap();
    house.capture.logged(SUB);
    assert!(house.turn().is_empty());
    assert_eq!(house.troubles(), 2);
    house.write("sub/dovecot-acl", "user=bob lr\nuser=eve l\n");
    house.write("sieve/other.sieve", "keep;");
    house.capture.logged(SUB);
    assert_eq!(house.turn(), ["user sieve: script/other", "sub acl: user=bob user=eve"]);
    assert_eq!(house.troubles(), 0);
}

#[test]
fn attributes_wait_for_the_tree_that_names_their_mailbox() {
    let mut house = House::new();
    let third = Guid([3; 16]);
    house.turn();
    let all = [(INBOX, "inbox"), (SUB, "sub"), (third, "third")];
    house.places = all
        .map(|(guid, name)| (guid, house.home.path().join(name)))
        .into_iter()
        .collect();
    house.write("third/dovecot-acl", "owner lr\n");
    house.dict(&[("priv", third, "comment", "x")]);
    house.capture.look_at(&[third].into());
    assert!(house.turn().is_empty());
    house.table.apply(&Payload::Tree(TreeChange {
        user: user(),
        mailboxes: vec![TreeMailbox {
            guid: third,
            name: Ok(MailboxName::of(["third"])),
            special_use: None,
        }],
        ..TreeChange::default()
    }));
    assert_eq!(house.turn(), ["sub metadata: /private/comment", "sub acl: owner"]);
}

#[test]
fn a_digest_waits_until_all_has_gone_out_and_names_what_it_can_not_compare() {
    let mut house = House::new();
    house.dict(&[("priv", SUB, "comment", "x")]);
    let row = house.table.user(&user()).unwrap().clone();
    let mut digest = TreeDigest::empty(user());
    assert_eq!(house.capture.add_to(&row, &house.places, &mut digest), None);
    assert!(house.capture.complete(&row, &house.places).is_none());
    house.turn();
    let row = house.table.user(&user()).unwrap().clone();
    let mut digest = TreeDigest::empty(user());
    assert_eq!(house.capture.add_to(&row, &house.places, &mut digest), Some(Vec::new()));
    assert_eq!(digest.attributes.len(), 3);
    let base = house.capture.complete(&row, &house.places).unwrap();
    assert_eq!(base.len(), 4);
    assert_eq!(base[0].holders, Some(vec![SUB]));
    house.write("dict", "cut");
    let mut digest = TreeDigest::empty(user());
    assert_eq!(house.capture.add_to(&row, &house.places, &mut digest).unwrap().len(), 1);
    assert_eq!(digest.attributes.len(), 2);
    assert_eq!(house.capture.complete(&row, &house.places).unwrap().len(), 2);
}

#[test]
fn a_long_value_is_found_by_its_hash_while_it_is_there() {
    let house = House::new();
    let long = "x".repeat(5000);
    house.dict(&[("priv", SUB, "comment", &long)]);
    house.write("sieve/main.sieve", "# long\n");
    let settings = &house.capture.root.attributes;
    let hash = |text: &str| BodyHash(*blake3::hash(text.as_bytes()).as_bytes());
    assert_eq!(
        AttributeCapture::value(settings, &hash(&long)).unwrap(),
        long.as_bytes()
    );
    assert_eq!(
        AttributeCapture::value(settings, &hash("# long\n")).unwrap(),
        b"# long\n"
    );
    assert_eq!(AttributeCapture::value(settings, &hash("gone")), None);
}
