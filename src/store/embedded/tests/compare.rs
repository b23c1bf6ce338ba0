//! The store and the model side by side.

use super::*;
use crate::op::model::Mailbox;
use crate::store::embedded::view::Depth;

/// Everything that a client, `status` and `verify` can see.
pub(super) fn compare(copy: &mut Copy, model: &Model) {
    compare_tree(copy, model);
    let Some(account) = model.accounts.get(&UserName::from(USER)) else {
        return;
    };
    for (guid, mailbox) in &account.mailboxes {
        if let Some(name) = &mailbox.name {
            compare_mailbox(copy, name, mailbox);
        }
        // Hidden ones too.
        let digest = model
            .digest(&MailboxId {
                user: USER.into(),
                guid: *guid,
            })
            .unwrap();
        let verdict = copy.apply(&[Payload::Digest(digest)]);
        assert_eq!(verdict[0].why, "");
    }
    let verdict = copy.apply(&[Payload::TreeDigest(model.tree_digest(&USER.into()))]);
    assert_eq!(verdict[0].why, "");
    let counts = copy.store().target.counts().unwrap();
    let count = |what: &dyn Fn(&Mailbox) -> bool| account.mailboxes.values().filter(|m| what(m)).count() as u64;
    assert_eq!(counts.mailboxes, count(&|m| m.name.is_some()));
    assert_eq!(counts.held_mailboxes, count(&|m| m.quarantine.held.is_some()));
    assert_eq!(counts.quarantined, count(&|m| m.quarantine.is_open()));
    let mut retained: Vec<String> = account
        .retained
        .iter()
        .map(|(guid, uid, message)| format!("{guid} {uid} {message}"))
        .collect();
    retained.sort();
    let sql = "SELECT lower(hex(mailbox_guid)) || ' ' || uid || ' ' || guid AS r FROM retained ORDER BY r";
    assert_eq!(copy.query(sql), retained);
    compare_attributes(copy, model);
    let held: Vec<String> = account
        .mailboxes
        .values()
        .filter_map(|m| m.quarantine.held.clone())
        .collect();
    assert_eq!(
        copy.query("SELECT held FROM mailboxes WHERE held IS NOT NULL ORDER BY guid"),
        held
    );
}

fn compare_tree(copy: &mut Copy, model: &Model) {
    let tree = copy.store().view.tree(&USER.into()).unwrap();
    let empty = Default::default();
    let account = model.accounts.get(&UserName::from(USER)).unwrap_or(&empty);
    let named = account
        .mailboxes
        .iter()
        .filter_map(|(guid, m)| Some((m.name.clone()?, Some(*guid), None)));
    let named: BTreeSet<_> = named.collect();
    let taken = |name: &MailboxName| named.iter().any(|(known, ..)| known == name);
    let unselectable = account
        .unselectable
        .iter()
        .filter(|(name, _)| !taken(name))
        .map(|(name, how)| (name.clone(), None, how.stale()));
    let expected: BTreeSet<_> = named.iter().cloned().chain(unselectable).collect();
    assert_eq!(tree.rows.len(), expected.len());
    assert_eq!(
        tree.rows
            .iter()
            .map(|row| (row.name.clone(), row.guid, row.stale))
            .collect::<BTreeSet<_>>(),
        expected
    );
    for (name, how) in &account.unselectable {
        assert_eq!(copy.store().view.stale(&USER.into(), name).unwrap(), how.stale());
    }
    assert_eq!(tree.namespaces, account.namespaces);
    assert_eq!(tree.subscribed, account.subscribed);
}

fn compare_mailbox(copy: &mut Copy, name: &MailboxName, expected: &Mailbox) {
    let view = &copy.store().view;
    let row = view.mailbox(&USER.into(), name).unwrap().unwrap();
    let listing = view.listing(row.key).unwrap().unwrap();
    assert_eq!(row, listing.row);
    assert_eq!(
        (row.uidvalidity, row.uidnext, row.highest_modseq),
        (expected.uidvalidity, expected.uidnext, expected.highest_modseq)
    );
    let mut details = Vec::new();
    let keep = &mut |detail, _| {
        details.push(detail);
        true
    };
    view.visit(row.key, listing.uids(), Depth::Detail, keep).unwrap();
    assert_eq!(details.len(), listing.len());
    let listed: Vec<Append> = listing
        .iter()
        .zip(&details)
        .map(|(mark, detail)| Append {
            uid: mark.uid,
            guid: detail.guid.clone(),
            size: detail.size,
            internal_date: detail.internal_date,
            save_date: detail.save_date,
            flags: mark.flags,
            keywords: mark.keywords.to_vec(),
            modseq: mark.modseq,
        })
        .collect();
    assert!(
        listing
            .iter()
            .zip(&details)
            .all(|(mark, detail)| mark.uid == detail.uid)
    );
    assert_eq!(listed, expected.messages.values().cloned().collect::<Vec<_>>());
    assert_eq!(row.messages as usize, listing.len());
    assert_eq!(
        row.unseen as usize,
        listing.iter().filter(|m| !m.flags.contains(Flags::SEEN)).count()
    );
    assert_eq!(row.size, details.iter().filter_map(|m| m.size).sum::<u64>());
}

/// Hidden mailboxes' attributes and what is retained too.
fn compare_attributes(copy: &mut Copy, model: &Model) {
    let account = &model.accounts[&UserName::from(USER)];
    let said = |scope: &AttributeScope, name: &str, hash: BodyHash| {
        let mailbox = scope.mailbox.map_or_else(String::new, |guid| guid.to_hex());
        format!("{mailbox} {} {name} {hash}", u8::from(scope.kind))
    };
    let entries = account.attributes.iter();
    let entries = entries.flat_map(|(scope, entries)| entries.iter().map(move |entry| (scope, entry)));
    let mut entries: Vec<String> = entries
        .map(|(scope, (name, value))| said(scope, name, value.hash()))
        .collect();
    entries.sort();
    let retained = account.retained_attributes.iter();
    let mut retained: Vec<String> = retained.map(|(scope, name, hash)| said(scope, name, *hash)).collect();
    retained.sort();
    for (table, expected) in [("attributes", entries), ("retained_attributes", retained)] {
        let row = "lower(hex(mailbox)) || ' ' || kind || ' ' || name || ' ' || lower(hex(hash))";
        assert_eq!(
            copy.query(&format!("SELECT {row} AS r FROM {table} ORDER BY r")),
            expected
        );
    }
}
