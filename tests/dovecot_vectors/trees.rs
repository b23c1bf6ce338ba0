//! The capture finds each layout's mailboxes on disk: their names and GUIDs are what IMAP lists.

use crate::vector::{FORMATS, Session, Tree, VERSIONS};
use mailshadow::store::dovecot::catalogue;
use mailshadow::store::dovecot::identity::Identities;
use mailshadow::store::dovecot::mail_root::{Driver, Layout, MailRoot, Namespace};
use std::collections::BTreeMap;
use std::path::Path;

fn write(tree: &Tree, root: &Path) {
    for (path, bytes) in tree {
        let path = root.join(path);
        let directory = path.parent().unwrap();
        std::fs::create_dir_all(directory).unwrap();
        if path.ends_with("dovecot-uidlist") {
            // The archive has no empty directories.
            std::fs::create_dir_all(directory.join("cur")).unwrap();
        }
        std::fs::write(path, bytes).unwrap();
    }
}

fn namespace(format: &str, home: &Path) -> Namespace {
    let (driver, layout) = match format {
        "sdbox" => (Driver::Sdbox, Layout::Fs),
        "sdbox-lindex" => (Driver::Sdbox, Layout::Index),
        "mdbox" => (Driver::Mdbox, Layout::Fs),
        "maildir" => (Driver::Maildir, Layout::MaildirPlusPlus),
        "maildir-fs" => (Driver::Maildir, Layout::Fs),
        other => panic!("{other}"),
    };
    let folder = if driver == Driver::Maildir {
        "Maildir"
    } else {
        driver.name()
    };
    Namespace {
        layout,
        ..Namespace::plain(driver, &home.join(folder))
    }
}

#[test]
fn every_layout_is_listed_as_imap_lists_it() {
    for (format, version) in FORMATS
        .iter()
        .flat_map(|format| VERSIONS.map(|version| (format, version)))
    {
        let session = Session::load(&format!("{format}-{version}"));
        let home = tempfile::tempdir().unwrap();
        write(&session.store, home.path());
        let root = MailRoot::of(namespace(format, home.path()));
        let listing = catalogue::list(&root, &Identities::default()).unwrap();
        let found: BTreeMap<String, String> = listing
            .mailboxes
            .iter()
            .map(|(guid, found)| (found.name.0.join("/"), guid.to_hex()))
            .collect();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let expected: BTreeMap<String, String> = session
            .mailboxes
            .iter()
            .map(|mailbox| (text(&mailbox["mailbox"]), text(&mailbox["guid"])))
            .collect();
        assert_eq!(found, expected, "{format} {version}: {:?}", listing.complaints);
        assert!(!listing.subscriptions.is_empty(), "{format} {version}");
    }
}
