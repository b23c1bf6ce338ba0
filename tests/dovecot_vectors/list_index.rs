//! The list index names every mailbox, and with the GUID that STATUS answers.

use crate::vector::{FORMATS, Session, VERSIONS, index_files};
use mailshadow::op::Guid;
use mailshadow::store::dovecot::list_index::ListIndex;
use mailshadow::store::dovecot::mail_root::Spelling;
use std::collections::BTreeMap;

#[test]
fn the_list_index_knows_what_imap_lists() {
    for name in FORMATS
        .iter()
        .flat_map(|format| VERSIONS.map(|version| format!("{format}-{version}")))
    {
        let session = Session::load(&name);
        let suffix = "dovecot.list.index.log";
        let log = session.store.keys().find(|path| path.ends_with(suffix)).unwrap();
        let files = index_files(&session.store, log.strip_suffix(".log").unwrap()).unwrap();
        let list = ListIndex::snapshot(&files, Spelling::default()).unwrap();
        let nodes: BTreeMap<String, _> = list.walk().map(|(levels, node)| (levels.join("/"), *node)).collect();
        let mut listed = 0;
        for expected in &session.mailboxes {
            let mailbox = expected["mailbox"].as_str().unwrap();
            let node = nodes
                .get(mailbox)
                .unwrap_or_else(|| panic!("{name}: {mailbox} is not listed"));
            assert!(node.is_selectable(), "{name}: {mailbox}");
            // Of INBOX it may keep none.
            if mailbox != "INBOX" || node.guid != Guid::default() {
                assert_eq!(
                    node.guid.to_hex(),
                    expected["guid"].as_str().unwrap(),
                    "{name}: {mailbox}"
                );
                listed += 1;
            }
        }
        assert!(listed > 3, "{name}: only {listed} mailboxes");
        assert!(!nodes.contains_key("Projects/never"));
    }
}
