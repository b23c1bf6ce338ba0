//! Answers needs: reads message bodies where Dovecot keeps them, and says which are really gone.

use super::attributes::AttributeCapture;
use super::body_cache::BodyCache;
use super::catalogue;
use super::folder::Folder;
use super::identity::Identities;
use super::mail_root::MailRoot;
use super::places::Places;
use super::snapshot;
use super::stored::{Look, Stored, Want};
use super::transaction::RawAppend;
use super::unsettled::Unsettled;
use crate::limits::{DESK_MESSAGES_MAX, FOLDERS_MAX};
use crate::op::{BodyHash, BodyPlace, Guid, MailboxId, MessageGuid, Missing, Uid, UidValidity, UserName};
use crate::store::source::{Bodies, BodyAnswer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after a start somebody whose mail was not looked at yet is waited for: a standby repeats its needs as soon as
/// it is connected, which is before the trees were listed.
const FIRST_LISTINGS: Duration = Duration::from_secs(60);
/// Looks while a mailbox or the tree is being changed.
const LOOKS_MAX: u32 = 8;
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// One user's places.
#[derive(Clone, Debug)]
struct Account {
    root: Arc<MailRoot>,
    directories: Arc<Places>,
}

/// A mailbox as it was looked at last: its list (for mdbox's places), and where its files are.
#[derive(Debug)]
struct Desk {
    folder: Folder,
    uidvalidity: UidValidity,
    messages: BTreeMap<Uid, RawAppend>,
}

/// Bodies of the users that are captured.
#[derive(Debug)]
pub struct DovecotBodies {
    identities: Arc<Identities>,
    cache: BodyCache,
    accounts: Mutex<BTreeMap<UserName, Account>>,
    /// Rung where one more is known.
    noted: Condvar,
    since: Instant,
    unsettled: Mutex<Unsettled>,
    desks: Mutex<BTreeMap<MailboxId, Arc<Mutex<Desk>>>>,
    /// Folders whose messages are found by UID alone (maildir, sdbox).
    folders: Mutex<BTreeMap<MailboxId, Arc<Mutex<Folder>>>>,
}

impl DovecotBodies {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(identities: Arc<Identities>) -> Self {
        Self {
            identities,
            cache: BodyCache::default(),
            accounts: Mutex::default(),
            noted: Condvar::new(),
            since: Instant::now(),
            unsettled: Mutex::default(),
            desks: Mutex::default(),
            folders: Mutex::default(),
        }
    }

    /// Bodies that were read while their append was captured.
    pub(crate) fn cache(&self) -> &BodyCache {
        &self.cache
    }

    /// Takes in where a user's mailboxes lie now.
    pub(crate) fn note(&self, user: &UserName, root: &Arc<MailRoot>, directories: Arc<Places>) {
        let account = Account {
            root: Arc::clone(root),
            directories,
        };
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Arc::clone(&account.directories);
        let before = accounts.insert(user.clone(), account);
        self.noted.notify_all();
        let Some(before) = before else { return };
        let moved: Vec<Guid> = before.directories.moved(&now).collect();
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        for guid in moved {
            let id = MailboxId {
                user: user.clone(),
                guid,
            };
            desks.remove(&id);
            folders.remove(&id);
        }
    }

    /// Where a user's mail lies; none where that was never looked at. Not for the thread that looks: it would wait for
    /// itself.
    fn account(&self, user: &UserName) -> Option<Account> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = FIRST_LISTINGS.saturating_sub(self.since.elapsed());
        let unknown = |accounts: &mut BTreeMap<UserName, Account>| !accounts.contains_key(user);
        let waited = self.noted.wait_timeout_while(accounts, patience, unknown);
        let (accounts, _) = waited.unwrap_or_else(PoisonError::into_inner);
        accounts.get(user).cloned()
    }

    /// Root and directory of a mailbox; none where the tree has no such mailbox any more. A rename that capture has not
    /// seen yet is found by listing.
    fn place(&self, id: &MailboxId) -> Result<Option<(Arc<MailRoot>, PathBuf)>, String> {
        let account = self.account(&id.user).ok_or("this user's mail was not looked at yet")?;
        let (root, known) = (account.root, account.directories.get(&id.guid));
        let right = |path: &PathBuf| matches!(self.identities.of(&root, path), Ok(Some(guid)) if guid == id.guid);
        if let Some(path) = known.filter(right) {
            return Ok(Some((root, path)));
        }
        let mut listing = catalogue::list(&root, &self.identities).map_err(|e| e.to_string())?;
        match listing.mailboxes.remove(&id.guid) {
            Some(found) => Ok(Some((root, found.directory))),
            None if listing.unsettled => Err("the tree is changing just now".to_owned()),
            None => Ok(None),
        }
    }

    fn open(&self, id: &MailboxId) -> Result<Option<Desk>, String> {
        let Some((root, directory)) = self.place(id)? else {
            return Ok(None);
        };
        let state = snapshot::read(&directory).map_err(|e| e.to_string())?;
        let mut folder = Folder::new(id.clone(), &root, &directory);
        let uidvalidity = match state.log_state().uidvalidity {
            UidValidity(0) => folder.uidvalidity().unwrap_or_default(),
            given => given,
        };
        Ok(Some(Desk {
            folder,
            uidvalidity,
            messages: state.messages,
        }))
    }

    /// The mailbox as it was looked at last, or now. None: there is no such mailbox any more.
    fn desk(&self, id: &MailboxId, afresh: bool) -> Result<Option<Arc<Mutex<Desk>>>, String> {
        if !afresh {
            let desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(desk) = desks.get(id) {
                return Ok(Some(Arc::clone(desk)));
            }
        }
        let Some(desk) = self.open(id)? else {
            return Ok(None);
        };
        let desk = Arc::new(Mutex::new(desk));
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = |desk: &Arc<Mutex<Desk>>| desk.try_lock().map_or(0, |desk| desk.messages.len());
        if desks.len() >= FOLDERS_MAX || desks.values().map(messages).sum::<usize>() > DESK_MESSAGES_MAX {
            desks.clear();
        }
        desks.insert(id.clone(), Arc::clone(&desk));
        Ok(Some(desk))
    }

    /// The body where the UID alone tells the file, as in maildir and sdbox: that takes no list of the mailbox. The GUID
    /// that is found there proves that it is the right message, so the directory need not be. None: look with a list.
    fn found_by_uid(&self, place: &BodyPlace, guid: &MessageGuid, size: Option<u64>) -> Option<Vec<u8>> {
        if guid.is_unknown() {
            return None;
        }
        let folder = self.folder(&place.mailbox)?;
        let raw = RawAppend {
            uid: place.uid,
            ..RawAppend::default()
        };
        let looked = folder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .look(&raw, Want::Body);
        if let Look::Found(Stored {
            guid: of,
            body: Some(octets),
            ..
        }) = looked
            && fits(&of, length(&octets), guid, size).is_ok()
        {
            return Some(octets);
        }
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.remove(&place.mailbox);
        None
    }

    fn folder(&self, id: &MailboxId) -> Option<Arc<Mutex<Folder>>> {
        let known = || self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = known().get(id) {
            return Some(Arc::clone(folder));
        }
        let account = self.account(&id.user)?;
        let folder = Folder::new(id.clone(), &account.root, &account.directories.get(&id.guid)?);
        if folder.is_mdbox() {
            return None;
        }
        let folder = Arc::new(Mutex::new(folder));
        let mut folders = known();
        if folders.len() >= FOLDERS_MAX {
            folders.clear();
        }
        folders.insert(id.clone(), Arc::clone(&folder));
        Some(folder)
    }

    /// While the tree or the mailbox's index is being replaced it says nothing of any message: that takes milliseconds.
    fn look_until_settled(&self, place: &BodyPlace) -> Result<Look, String> {
        let unsettled = || self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looked = self.look(place);
        if looked.is_ok() || !unsettled().may_wait_for(&place.mailbox, Instant::now()) {
            return looked;
        }
        for _ in 1..LOOKS_MAX {
            std::thread::sleep(LOOK_PAUSE);
            looked = self.look(place);
            if looked.is_ok() {
                return looked;
            }
        }
        unsettled().give_up(&place.mailbox, Instant::now());
        looked
    }

    /// A second look is taken where the first knew too little: the message is younger than it, or its file was renamed.
    /// An error is no word about the message.
    fn look(&self, place: &BodyPlace) -> Result<Look, String> {
        for afresh in [false, true] {
            let Some(desk) = self.desk(&place.mailbox, afresh)? else {
                break;
            };
            let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
            if desk.uidvalidity != place.uidvalidity {
                continue;
            }
            let Some(raw) = desk.messages.get(&place.uid).cloned() else {
                continue;
            };
            match desk.folder.look(&raw, Want::Body) {
                Look::Found(stored) => return Ok(Look::Found(stored)),
                other if afresh => return Ok(other),
                _ => {}
            }
        }
        Ok(Look::Gone(MessageGuid::default()))
    }
}

impl Bodies for DovecotBodies {
    fn read(&self, places: &[BodyPlace], guid: &MessageGuid, size: Option<u64>) -> BodyAnswer {
        if let Some(hash) = crate::op::attributes::value_hash(guid) {
            return self.attribute(places, &hash);
        }
        let mut damage = None;
        for place in places {
            if let Some((of, octets)) = self.cache.get(place)
                && fits(&of, length(&octets), guid, size).is_ok()
            {
                return BodyAnswer::Body(octets.to_vec());
            }
            if let Some(octets) = self.found_by_uid(place, guid, size) {
                return BodyAnswer::Body(octets);
            }
            match self.look_until_settled(place) {
                Err(why) => damage = damage.or(Some(contradiction(place, why))),
                Ok(Look::Found(Stored {
                    guid: of,
                    body: Some(octets),
                    ..
                })) => match fits(&of, length(&octets), guid, size) {
                    Ok(()) => return BodyAnswer::Body(octets),
                    Err(why) => damage = damage.or(Some(contradiction(place, why))),
                },
                Ok(Look::Damaged(missing)) => damage = Some(missing),
                Ok(Look::Found(_) | Look::Gone(_)) => {}
            }
        }
        damage.map_or_else(gone, BodyAnswer::Missing)
    }

    fn gone(&self, mailbox: &MailboxId, uidvalidity: UidValidity, messages: &[(Uid, MessageGuid)]) -> Vec<Uid> {
        // Where the mailbox is renamed meanwhile, its files are gone from where they were, and from nowhere else.
        let found = self.in_place(mailbox, || self.gone_now(mailbox, uidvalidity, messages));
        found.unwrap_or_default()
    }
}

impl DovecotBodies {
    /// What `look` finds, unless the mailbox lies elsewhere afterwards.
    pub(crate) fn in_place<T>(&self, mailbox: &MailboxId, look: impl FnOnce() -> T) -> Option<T> {
        let (_, before) = self.place(mailbox).ok()??;
        let found = look();
        let (_, after) = self.place(mailbox).ok()??;
        (before == after).then_some(found)
    }

    fn gone_now(&self, mailbox: &MailboxId, uidvalidity: UidValidity, messages: &[(Uid, MessageGuid)]) -> Vec<Uid> {
        let Ok(Some(desk)) = self.desk(mailbox, true) else {
            return Vec::new();
        };
        let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
        if desk.uidvalidity != uidvalidity {
            return Vec::new();
        }
        // A message that the list has is not gone, whatever its file says.
        let unlisted: Vec<(Uid, MessageGuid)> = messages
            .iter()
            .filter(|(uid, _)| !desk.messages.contains_key(uid))
            .cloned()
            .collect();
        if !desk.folder.is_mdbox() {
            let Desk { folder, messages, .. } = &mut *desk;
            return folder.gone(&unlisted, messages);
        }
        drop(desk);
        self.gone_from_map(mailbox, &unlisted).unwrap_or_default()
    }

    /// A long value of an attribute: it is not one of the user's messages.
    fn attribute(&self, places: &[BodyPlace], hash: &BodyHash) -> BodyAnswer {
        let user = places.first().map(|place| &place.mailbox.user);
        let account = user.and_then(|user| self.account(user));
        let octets = account.and_then(|account| AttributeCapture::value(&account.root.attributes, hash));
        octets.map_or_else(gone, BodyAnswer::Body)
    }

    /// mdbox keeps no name of an expunged message's body. But each reference in the map must be some mailbox's: a body
    /// with a reference that no list accounts for may be one of the missing messages. None: not all could be read.
    fn gone_from_map(&self, mailbox: &MailboxId, messages: &[(Uid, MessageGuid)]) -> Option<Vec<Uid>> {
        let (root, directory) = self.place(mailbox).ok()??;
        let namespace = root.namespace_of(&directory)?;
        let listing = catalogue::list(&root, &self.identities).ok()?;
        let mut counted: BTreeMap<u32, u16> = BTreeMap::new();
        let with_it = |path: &PathBuf| {
            root.namespace_of(path)
                .is_some_and(|other| other.mail == namespace.mail)
        };
        for found in listing.mailboxes.values().filter(|found| with_it(&found.directory)) {
            for raw in snapshot::read(&found.directory).ok()?.messages.values() {
                let count = counted.entry(raw.map_uid?).or_default();
                *count = count.saturating_add(1);
            }
        }
        let map = snapshot::map(&namespace.storage_index()).ok()?;
        let mut folder = Folder::new(mailbox.clone(), &root, &directory);
        let mut lost: BTreeSet<MessageGuid> = BTreeSet::new();
        for (map_uid, entry) in map.entries() {
            if entry.references > counted.get(&map_uid).copied().unwrap_or_default() {
                let raw = RawAppend {
                    map_uid: Some(map_uid),
                    ..RawAppend::default()
                };
                match folder.look(&raw, Want::Facts) {
                    Look::Found(stored) => drop(lost.insert(stored.guid)),
                    Look::Gone(_) => {}
                    Look::Damaged(_) => return None,
                }
            }
        }
        let gone = messages
            .iter()
            .filter(|(_, guid)| !guid.is_unknown() && !lost.contains(guid));
        Some(gone.map(|(uid, _)| *uid).collect())
    }
}

fn gone() -> BodyAnswer {
    BodyAnswer::Missing(Missing {
        gone: true,
        file: String::new(),
        offset: 0,
        why: "no place has it any more".to_owned(),
    })
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

/// Whether a body is the one that was asked for, as far as that is known.
fn fits(of: &MessageGuid, length: u64, guid: &MessageGuid, size: Option<u64>) -> Result<(), String> {
    if !guid.is_unknown() && of != guid {
        return Err(format!("the message there is {of}"));
    }
    match size {
        Some(size) if size != length => Err(format!("{length} bytes where {size} were announced")),
        _ => Ok(()),
    }
}

fn contradiction(place: &BodyPlace, why: String) -> Missing {
    Missing {
        gone: false,
        file: format!("{}/{}", place.mailbox, place.uid),
        offset: 0,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::mail_root::{Driver, Namespace};

    /// A standby repeats its needs as soon as it is connected again.
    #[test]
    fn a_need_that_comes_before_the_first_listing_waits_for_it() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("new")).unwrap();
        let log = crate::store::dovecot::forge::LogForge::first();
        let log = log.commit(&[crate::store::dovecot::forge::header(24, 9)]);
        let log = log.commit(&[crate::store::dovecot::forge::append(&[(1, 0)])]);
        std::fs::write(home.path().join("dovecot.index.log"), log.0).unwrap();
        std::fs::write(home.path().join("new/17.M1P1.x"), "a: b\n\nc\n").unwrap();
        let inbox = Guid([7; 16]);
        let uidlist = format!("3 V9 N2 G{}\n1 :17.M1P1.x\n", inbox.to_hex());
        std::fs::write(home.path().join("dovecot-uidlist"), uidlist).unwrap();

        let bodies = DovecotBodies::new(Arc::new(Identities::default()));
        let user = UserName::from("u");
        let place = BodyPlace {
            mailbox: MailboxId {
                user: user.clone(),
                guid: inbox,
            },
            uidvalidity: UidValidity(9),
            uid: Uid(1),
        };
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| bodies.read(&[place], &MessageGuid::from("17.M1P1.x"), None));
            std::thread::sleep(Duration::from_millis(100));
            assert!(!asked.is_finished(), "answered without having looked");
            let root = Arc::new(MailRoot::of(Namespace::plain(Driver::Maildir, home.path())));
            let listing = catalogue::list(&root, &Identities::default()).unwrap();
            let places = Places::of(home.path(), &listing);
            bodies.note(&user, &root, Arc::new(places));
            asked.join().unwrap()
        });
        assert!(matches!(answer, BodyAnswer::Body(octets) if octets == b"a: b\r\n\r\nc\r\n"));
    }
}
