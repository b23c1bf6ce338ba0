//! A snapshot of the files says what IMAP says.

use crate::bodies::{mailbox_guid, stored};
use crate::vector::{FORMATS, Session, Tree, VERSIONS, index_files, mailbox_folders};
use mailshadow::op::{Flags, Guid, MailboxName};
use mailshadow::store::dovecot::mail_root::Spelling;
use mailshadow::store::dovecot::mailbox_log::{self, MailboxEvent, MailboxLogRecord};
use mailshadow::store::dovecot::replay::{MailboxState, snapshot};
use mailshadow::store::dovecot::subscriptions;
use mailshadow::store::dovecot::transaction::RawAppend;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn number<N: std::str::FromStr>(value: &Value) -> N {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().ok().unwrap_or_else(|| panic!("{text} is no number"))
}

/// Flags and keywords as IMAP writes them, without `\Recent`.
pub(crate) fn flag_names(flags: Flags, mail: &RawAppend) -> BTreeSet<String> {
    let system = Flags::NAMED
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, name)| (*name).to_owned());
    system
        .chain(mail.keywords.iter().map(|keyword| keyword.0.clone()))
        .collect()
}

/// Compares a mailbox with what IMAP answered.
pub(crate) fn check_mailbox(expected: &Value, state: &MailboxState, tree: &Tree, folder: &str) {
    let what = format!("{folder}: {}", expected["mailbox"]);
    let log = state.log_state();
    assert_eq!(log.uidvalidity.0, number::<u32>(&expected["uidvalidity"]), "{what}");
    assert_eq!(log.uidnext.0, number::<u32>(&expected["uidnext"]), "{what}");
    assert_eq!(log.modseq.0, number::<u64>(&expected["highestmodseq"]), "{what}");
    // Asking for the MODSEQs made Dovecot keep them; where there was no message nobody asked.
    assert!(state.modseqs_exact() || state.messages.is_empty(), "{what}");
    let list = expected["messages_list"].as_array().unwrap();
    assert_eq!(state.messages.len(), list.len(), "{what}");
    for (mail, expected) in state.messages.values().zip(list) {
        check_message(expected, mail, &format!("{what}, UID {}", mail.uid));
        check_stored(expected, mail, tree, folder);
    }
}

fn check_message(expected: &Value, mail: &RawAppend, what: &str) {
    assert_eq!(mail.uid.0, number::<u32>(&expected["uid"]), "{what}");
    assert_eq!(mail.modseq.0, number::<u64>(&expected["modseq"]), "{what}");
    let words = expected["flags"].as_str().unwrap().split(' ');
    let flags: BTreeSet<String> = words
        .filter(|word| !word.is_empty() && *word != "\\Recent")
        .map(str::to_owned)
        .collect();
    assert_eq!(flag_names(mail.flags, mail), flags, "{what}");
    if let Some(size) = mail.size {
        assert_eq!(size, number::<u64>(&expected["rfc822_size"]), "{what}");
    }
    if let Some(save_date) = mail.save_date {
        assert_eq!(date(save_date), expected["date.saved"].as_str().unwrap(), "{what}");
    }
}

fn check_stored(expected: &Value, mail: &RawAppend, tree: &Tree, folder: &str) {
    let found = stored(tree, folder, mail);
    let what = format!("{folder}, UID {}", mail.uid);
    assert_eq!(found.guid.as_str(), expected["guid"].as_str().unwrap(), "{what}");
    assert_eq!(sha256(&found.body), expected["sha256_crlf"].as_str().unwrap(), "{what}");
    if let Some(size) = found.size {
        assert_eq!(size, found.body.len() as u64, "{what}");
    }
    if let Some(received) = found.received {
        assert_eq!(date(received), expected["date.received"].as_str().unwrap(), "{what}");
    }
}

/// The vectors name bodies by it; the product knows only BLAKE3.
fn sha256(octets: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, octets);
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn date(unix: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time::OffsetDateTime::from_unix_timestamp(unix)
        .unwrap()
        .format(&format)
        .unwrap()
}

/// Every mailbox of a tree by its GUID.
pub(crate) fn mailboxes(tree: &Tree) -> BTreeMap<Guid, (String, MailboxState)> {
    let mut found = BTreeMap::new();
    for folder in mailbox_folders(tree) {
        let files = index_files(tree, &format!("{folder}/dovecot.index")).unwrap();
        let state = snapshot(&files).unwrap_or_else(|error| panic!("{folder}: {error}"));
        if let Some(guid) = mailbox_guid(tree, &folder, &state) {
            found.insert(guid, (folder, state));
        }
    }
    found
}

#[test]
fn a_fresh_reading_says_what_imap_says() {
    for (format, version) in FORMATS
        .iter()
        .flat_map(|format| VERSIONS.map(|version| (format, version)))
    {
        let session = Session::load(&format!("{format}-{version}"));
        let found = mailboxes(&session.store);
        assert_eq!(found.len(), session.mailboxes.len(), "{format}-{version}");
        for expected in &session.mailboxes {
            let guid = Guid::from_hex(expected["guid"].as_str().unwrap()).unwrap();
            let (folder, state) = &found[&guid];
            check_mailbox(expected, state, &session.store, folder);
        }
    }
}

#[test]
fn subscriptions_and_deletions_are_in_their_files() {
    for (format, version) in FORMATS
        .iter()
        .flat_map(|format| VERSIONS.map(|version| (format, version)))
    {
        let store = Session::load(&format!("{format}-{version}")).store;
        let file = |name: &str| {
            let path = store.keys().find(|path| path.split('/').nth(1) == Some(name)).unwrap();
            store[path].as_slice()
        };
        let subscribed = subscriptions::parse(file("subscriptions"), '/', Spelling::default()).unwrap();
        assert_eq!(subscribed.names, [MailboxName::of(["Projects"])], "{format}-{version}");
        let deleted = |record: &MailboxLogRecord| matches!(record.event, MailboxEvent::Deleted(_));
        let log = mailbox_log::parse(file("dovecot.mailbox.log"));
        assert_eq!(
            log.iter().filter(|record| deleted(record)).count(),
            1,
            "{format}-{version}: {log:?}"
        );
    }
}
