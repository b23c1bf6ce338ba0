//! What lies outside of index and log: GUIDs, dates and bodies, read from a tree in memory.

use crate::vector::{Tree, index_files};
use mailshadow::op::{Guid, MessageGuid, Uid};
use mailshadow::store::dovecot::crlf::to_crlf;
use mailshadow::store::dovecot::dbox::{DboxMessage, FileHeader, message, sdbox_message};
use mailshadow::store::dovecot::maildir_name::MaildirName;
use mailshadow::store::dovecot::map::BodyMap;
use mailshadow::store::dovecot::replay::MailboxState;
use mailshadow::store::dovecot::transaction::RawAppend;
use mailshadow::store::dovecot::uidlist::Uidlist;

/// A message as the files have it.
pub(crate) struct Stored {
    pub(crate) guid: MessageGuid,
    /// RFC822.SIZE as the format tells it without the body.
    pub(crate) size: Option<u64>,
    /// INTERNALDATE; a maildir's is the file's time, which is not in a tree.
    pub(crate) received: Option<i64>,
    pub(crate) body: Vec<u8>,
}

/// The mailbox's GUID: out of the index, or a maildir's out of its uidlist.
pub(crate) fn mailbox_guid(tree: &Tree, folder: &str, state: &MailboxState) -> Option<Guid> {
    let uidlist = || {
        Uidlist::parse(tree.get(&format!("{folder}/dovecot-uidlist"))?)
            .unwrap()
            .mailbox_guid
    };
    state.guid().or_else(uidlist)
}

/// Reads one message of the mailbox in `folder`.
pub(crate) fn stored(tree: &Tree, folder: &str, mail: &RawAppend) -> Stored {
    if let Some(map_uid) = mail.map_uid {
        return mdbox(tree, folder, map_uid, mail);
    }
    match tree.get(&format!("{folder}/u.{}", mail.uid)) {
        Some(bytes) => from_dbox(&sdbox_message(bytes).unwrap()),
        None => maildir(tree, folder, mail.uid),
    }
}

fn from_dbox(message: &DboxMessage<'_>) -> Stored {
    Stored {
        guid: message.metadata.guid.clone().unwrap(),
        size: message.metadata.virtual_size,
        received: message.metadata.received,
        body: to_crlf(message.stored),
    }
}

fn mdbox(tree: &Tree, folder: &str, map_uid: u32, mail: &RawAppend) -> Stored {
    let root = folder.split("/mailboxes/").next().unwrap();
    let map = BodyMap::snapshot(&index_files(tree, &format!("{root}/storage/dovecot.map.index")).unwrap()).unwrap();
    let place = map.get(map_uid).unwrap();
    let file = &tree[&format!("{root}/storage/m.{}", place.file_id)];
    let header = FileHeader::parse(file).unwrap();
    let start = place.offset as usize;
    let stored = from_dbox(&message(&header, &file[start..start + place.bytes as usize]).unwrap());
    assert_eq!(stored.guid.0, mail.guid.unwrap().to_hex());
    stored
}

fn maildir(tree: &Tree, folder: &str, uid: Uid) -> Stored {
    let uidlist = Uidlist::parse(&tree[&format!("{folder}/dovecot-uidlist")]).unwrap();
    assert_eq!(uidlist.problems, []);
    let entry = uidlist.get(uid).unwrap();
    let is_it = |path: &&String| {
        let name = path.strip_prefix(&format!("{folder}/new/"));
        let name = name.or_else(|| path.strip_prefix(&format!("{folder}/cur/")));
        name.is_some_and(|name| MaildirName::parse(name).base == entry.base)
    };
    let path = tree.keys().find(is_it).unwrap();
    Stored {
        guid: entry.message_guid(),
        size: entry.body_bytes(),
        received: None,
        body: to_crlf(&tree[path]),
    }
}
