//! Capture of attributes: METADATA, ACLs and Sieve scripts, read from their files and compared with what was emitted.
//!
//! Dovecot writes the file first and then says so in the mailbox's log, so whoever has read the log finds the file as it
//! is after the change. What the table remembers is a fingerprint of each scope; what differs goes out whole.
//!
//! A file that is missing, can't be read or makes no sense says nothing: what was emitted stays, and the finding is told.
//! So does a dict file that has lost all of its entries although no log speaks of a change, as after a crash.

use super::acl;
use super::attribute_dict::{self, Dict};
use super::attribute_settings::AttributeSettings;
use super::mail_root::MailRoot;
use super::order::TreeSteps;
use super::places::Places;
use super::sieve;
use crate::limits::{ATTRIBUTE_FILE_BYTES_MAX, ATTRIBUTE_HOLDERS_MAX, ATTRIBUTES_SCAN_SECONDS, SMALL_FILE_BYTES_MAX};
use crate::op::digest::Sum;
use crate::op::{
    AttributeFingerprint, AttributeKind, AttributeScope, Attributes, AttributesChange, BodyHash, Guid, MailboxId,
    MailboxName, TreeDigest, UserName,
};
use crate::store::source::Finding;
use crate::store::table::UserRow;
use crate::telemetry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Trouble that lasts longer is no reading in the middle of a change.
const GRACE: Duration = Duration::from_secs(2);

/// What a file's entry said: equal ones of one path mean that nothing was written to it in between.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

fn stamp(meta: &Metadata) -> Stamp {
    let modified = (meta.mtime(), meta.mtime_nsec());
    (
        meta.dev(),
        meta.ino(),
        meta.len(),
        modified,
        (meta.ctime(), meta.ctime_nsec()),
    )
}

/// Why a file says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which file.
    file: PathBuf,
    /// At which byte.
    offset: u64,
    /// What is wrong, and what to do.
    why: String,
}

impl Damage {
    fn new(file: &Path, offset: u64, why: impl ToString) -> Self {
        Self {
            file: file.to_owned(),
            offset,
            why: why.to_string(),
        }
    }
}

#[derive(Clone, Debug)]
struct Trouble {
    damage: Damage,
    since: Instant,
    said: bool,
}

/// Attributes of one user.
#[derive(Debug)]
pub struct AttributeCapture {
    user: UserName,
    root: Arc<MailRoot>,
    /// The dict file as it was when all of it had gone out; none: it is to be read.
    dict: Option<Option<Stamp>>,
    /// The scripts' directory and the link, likewise.
    sieve: Option<[Option<Stamp>; 2]>,
    /// Mailboxes to be looked at.
    open: BTreeSet<Guid>,
    /// True where a log told of a change since the dict file was read.
    logged: bool,
    next_scan: Instant,
    troubles: BTreeMap<AttributeScope, Trouble>,
}

impl AttributeCapture {
    /// Nothing was looked at yet.
    #[must_use]
    pub fn new(user: UserName, root: Arc<MailRoot>) -> Self {
        Self {
            user,
            root,
            dict: None,
            sieve: None,
            open: BTreeSet::new(),
            logged: false,
            next_scan: Instant::now(),
            troubles: BTreeMap::new(),
        }
    }

    /// Mailboxes are new, or have another name or place.
    pub fn renamed(&mut self, steps: &TreeSteps) {
        let named = steps.before.iter().flat_map(|change| &change.mailboxes);
        self.open.extend(named.map(|mailbox| mailbox.guid));
    }

    /// Events say that files of these mailboxes changed.
    pub fn look_at(&mut self, mailboxes: &BTreeSet<Guid>) {
        self.open.extend(mailboxes);
    }

    /// The mailbox's log tells of a change.
    pub fn logged(&mut self, mailbox: Guid) {
        self.open.insert(mailbox);
        self.logged = true;
    }

    /// Directories whose changes may be changes of attributes that no log tells of.
    pub fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let sieve = self.root.attributes.sieve.iter();
        let beside = |path: &PathBuf| path.parent().map(Path::to_owned);
        let all = sieve.flat_map(move |places| [places.scripts.clone(), beside(&places.active)].into_iter().flatten());
        all.filter(|path| path.is_dir())
    }

    /// Damage that lasts.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        let lasting = self.troubles.iter().filter(|(_, trouble)| trouble.said);
        lasting.map(|(scope, trouble)| Finding {
            mailbox: MailboxId {
                user: self.user.clone(),
                guid: scope.mailbox.unwrap_or_default(),
            },
            file: trouble.damage.file.clone(),
            offset: trouble.damage.offset,
            why: trouble.damage.why.clone(),
        })
    }

    /// True where some trouble may be over soon, or a mailbox's name has not gone out: look again.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.troubles.values().any(|trouble| !trouble.said)
    }

    /// What changed since it was emitted last: to be emitted as it is, behind the tree that names the mailboxes.
    pub fn changes(&mut self, row: &UserRow, places: &Places) -> Vec<AttributesChange> {
        if self.next_scan <= Instant::now() {
            self.next_scan = Instant::now() + Duration::from_secs(ATTRIBUTES_SCAN_SECONDS);
            self.open.extend(row.mailboxes.keys());
            self.sieve = None;
        }
        let mut changes = Vec::new();
        self.metadata_changes(row, &mut changes);
        self.sieve_changes(row, &mut changes);
        self.acl_changes(row, places, &mut changes);
        let gone = |scope: &AttributeScope| scope.mailbox.is_some_and(|guid| !row.mailboxes.contains_key(&guid));
        self.troubles.retain(|scope, _| !gone(scope));
        changes
    }

    fn metadata_changes(&mut self, row: &UserRow, changes: &mut Vec<AttributesChange>) {
        let Some(path) = self.root.attributes.dict.clone() else {
            return;
        };
        let now = std::fs::metadata(&path).ok().map(|meta| stamp(&meta));
        if self.open.is_empty() && self.dict == Some(now) {
            return;
        }
        let scope = of_user(AttributeKind::Metadata);
        match read_dict(&path).and_then(|dict| self.believed(dict, &path, row)) {
            Ok((read, dict)) => {
                self.well(scope);
                let known = holders(row, AttributeKind::Metadata).copied();
                let scopes: BTreeSet<AttributeScope> = dict.keys().copied().chain(known).collect();
                for scope in scopes {
                    self.compare(row, scope, dict.get(&scope).cloned().unwrap_or_default(), changes);
                }
                self.logged = false;
                // Of a mailbox that is not in the tree yet the entries must be read once more.
                let all_known = self.open.iter().all(|guid| row.mailboxes.contains_key(guid));
                self.dict = all_known.then_some(read);
            }
            Err(damage) => self.ill(scope, damage),
        }
    }

    /// The dict's scopes of the tree that was emitted, unless it can't be right.
    fn believed(
        &self,
        dict: Option<(Stamp, Dict)>,
        path: &Path,
        row: &UserRow,
    ) -> Result<(Option<Stamp>, BTreeMap<AttributeScope, Attributes>), Damage> {
        let held_some = holders(row, AttributeKind::Metadata).next().is_some();
        match dict {
            None if held_some => Err(Damage::new(
                path,
                0,
                "the file with METADATA is missing: the copy keeps what it has; bring the file back, or set an entry",
            )),
            None => Ok((None, BTreeMap::new())),
            Some((_, dict)) if held_some && !self.logged && dict.mailboxes.is_empty() && dict.server.is_empty() => {
                let why = "all METADATA is gone and no log says so: the copy keeps what it has; if it was meant, set an \
                           entry and unset it";
                Err(Damage::new(path, 0, why))
            }
            Some((stamp, dict)) => {
                for key in &dict.left_out {
                    tracing::warn!(user = %telemetry::user(&self.user), key, "an entry of METADATA is too large to be carried");
                }
                Ok((Some(stamp), scopes(dict, row)))
            }
        }
    }

    fn acl_changes(&mut self, row: &UserRow, places: &Places, changes: &mut Vec<AttributesChange>) {
        for guid in std::mem::take(&mut self.open) {
            let is_emitted = row.mailboxes.contains_key(&guid);
            let Some(place) = places.get(&guid).filter(|_| is_emitted) else {
                // Its tree has not gone out yet, or it is being renamed.
                if is_emitted || places.contains(&guid) {
                    self.open.insert(guid);
                }
                continue;
            };
            let scope = of_mailbox(guid, AttributeKind::Acl);
            if !self.root.attributes.acl {
                continue;
            }
            match read_acl(&self.root, &place, row.attributes.contains_key(&scope)) {
                Ok(entries) => {
                    self.well(scope);
                    self.compare(row, scope, entries, changes);
                }
                Err(damage) => {
                    self.ill(scope, damage);
                    self.open.insert(guid);
                }
            }
        }
    }

    fn sieve_changes(&mut self, row: &UserRow, changes: &mut Vec<AttributesChange>) {
        let Some(places) = self.root.attributes.sieve.clone() else {
            return;
        };
        let of = |meta: io::Result<Metadata>| meta.ok().map(|meta| stamp(&meta));
        let directory = places.scripts.as_ref().and_then(|path| of(std::fs::metadata(path)));
        let now = [directory, of(std::fs::symlink_metadata(&places.active))];
        if self.sieve == Some(now) {
            return;
        }
        let scope = of_user(AttributeKind::Sieve);
        let missing = directory.is_none() && row.attributes.contains_key(&scope);
        match (&places.scripts, sieve::read(&places)) {
            (Some(path), _) if missing => {
                let why = "the directory with Sieve scripts is missing: the copy keeps what it has";
                self.ill(scope, Damage::new(path, 0, why));
            }
            (_, Ok(entries)) => {
                self.well(scope);
                self.compare(row, scope, entries, changes);
                self.sieve = Some(now);
            }
            (_, Err(e)) => self.ill(scope, Damage::new(&places.active, 0, e)),
        }
    }

    fn compare(&self, row: &UserRow, scope: AttributeScope, entries: Attributes, changes: &mut Vec<AttributesChange>) {
        if AttributeFingerprint::of(&entries) != emitted(row, scope) {
            changes.push(AttributesChange::complete(self.user.clone(), scope, entries));
        }
    }

    fn well(&mut self, scope: AttributeScope) {
        if self.troubles.remove(&scope).is_some_and(|trouble| trouble.said) {
            let kind = scope.kind.name();
            tracing::info!(user = %telemetry::user(&self.user), kind, "attributes can be read again");
        }
    }

    fn ill(&mut self, scope: AttributeScope, damage: Damage) {
        let (since, said) = match self.troubles.get(&scope) {
            Some(known) => (known.since, known.said),
            None => (Instant::now(), false),
        };
        let lasts = since.elapsed() > GRACE;
        if lasts && !said {
            let (kind, why) = (scope.kind.name(), &damage.why);
            let (user, file) = (&self.user, &damage.file);
            tracing::warn!(user = %telemetry::user(user), kind, file = %telemetry::file(file), offset = damage.offset, why, "attributes can't be read");
        }
        let said = said || lasts;
        self.troubles.insert(scope, Trouble { damage, since, said });
    }

    /// Everything, read afresh: for each kind that is carried all scopes that hold something, or why they can't be told.
    fn afresh(&self, row: &UserRow, places: &Places) -> Vec<(AttributeKind, Result<Scopes, Damage>)> {
        let mut found = Vec::new();
        if let Some(path) = &self.root.attributes.dict {
            let read = read_dict(path).and_then(|dict| self.believed(dict, path, row));
            found.push((AttributeKind::Metadata, read.map(|(_, scopes)| scopes)));
        }
        if self.root.attributes.acl {
            found.push((AttributeKind::Acl, all_acls(&self.root, row, places)));
        }
        if let Some(places) = &self.root.attributes.sieve {
            let read = sieve::read(places).map_err(|e| Damage::new(&places.active, 0, e));
            let of = |entries| BTreeMap::from([(of_user(AttributeKind::Sieve), entries)]);
            found.push((AttributeKind::Sieve, read.map(of)));
        }
        for (_, read) in &mut found {
            if let Ok(scopes) = read {
                scopes.retain(|_, entries: &mut Attributes| !entries.is_empty());
            }
        }
        found
    }

    /// Counts in everything as the files have it. None: they differ from what was emitted; look again. What can't be
    /// read is not compared, and named.
    #[must_use]
    pub fn add_to(&self, row: &UserRow, places: &Places, digest: &mut TreeDigest) -> Option<Vec<String>> {
        let mut unread = Vec::new();
        for (kind, read) in self.afresh(row, places) {
            match read {
                Ok(scopes) if is_emitted(row, kind, &scopes) => {
                    digest.attributes.push((kind, Sum::default()));
                    for (scope, entries) in &scopes {
                        entries
                            .iter()
                            .for_each(|(name, value)| digest.add_attribute(*scope, name, value));
                    }
                }
                Ok(_) => return None,
                Err(damage) => unread.push(format!("{} {}: {}", kind.name(), damage.file.display(), damage.why)),
            }
        }
        Some(unread)
    }

    /// Everything as the files have it, for a peer that has nothing or something old. None: they differ from what was
    /// emitted; look again. A kind that can't be read is left as the peer has it.
    #[must_use]
    pub fn complete(&self, row: &UserRow, places: &Places) -> Option<Vec<AttributesChange>> {
        let mut changes = Vec::new();
        for (kind, read) in self.afresh(row, places) {
            let Ok(mut scopes) = read else { continue };
            if !is_emitted(row, kind, &scopes) {
                return None;
            }
            let of_all = of_user(kind);
            let own = scopes.remove(&of_all).unwrap_or_default();
            let holders: Vec<Guid> = scopes.keys().filter_map(|scope| scope.mailbox).collect();
            let complete = |scope, entries| AttributesChange::complete(self.user.clone(), scope, entries);
            changes.push(AttributesChange {
                holders: Some(holders).filter(|holders| holders.len() <= ATTRIBUTE_HOLDERS_MAX),
                ..complete(of_all, own)
            });
            changes.extend(scopes.into_iter().map(|(scope, entries)| complete(scope, entries)));
        }
        Some(changes)
    }

    /// A value by its hash, where it still is one of these.
    #[must_use]
    pub fn value(settings: &AttributeSettings, hash: &BodyHash) -> Option<Vec<u8>> {
        let is_it = |octets: &[u8]| *blake3::hash(octets).as_bytes() == hash.0;
        let mut found = None;
        if let Some(places) = &settings.sieve {
            let read = sieve::each(places, &mut |_, octets| {
                if found.is_none() && is_it(octets) {
                    found = Some(octets.to_vec());
                }
            });
            read.ok();
        }
        let path = settings.dict.as_ref().filter(|_| found.is_none());
        let bytes = path.and_then(|path| read_bounded(path, ATTRIBUTE_FILE_BYTES_MAX).ok().flatten());
        found.or_else(|| attribute_dict::value(&bytes?.1, is_it))
    }
}

type Scopes = BTreeMap<AttributeScope, Attributes>;

fn of_user(kind: AttributeKind) -> AttributeScope {
    AttributeScope { mailbox: None, kind }
}

fn of_mailbox(guid: Guid, kind: AttributeKind) -> AttributeScope {
    let mailbox = Some(guid);
    AttributeScope { mailbox, kind }
}

/// Scopes of one kind that held something when they were emitted last.
fn holders(row: &UserRow, kind: AttributeKind) -> impl Iterator<Item = &AttributeScope> {
    row.attributes.keys().filter(move |scope| scope.kind == kind)
}

fn emitted(row: &UserRow, scope: AttributeScope) -> AttributeFingerprint {
    row.attributes.get(&scope).copied().unwrap_or_default()
}

/// True where these, without empty ones, are what was emitted of this kind.
fn is_emitted(row: &UserRow, kind: AttributeKind, scopes: &Scopes) -> bool {
    let equal =
        |(scope, entries): (&AttributeScope, &Attributes)| emitted(row, *scope) == AttributeFingerprint::of(entries);
    scopes.len() == holders(row, kind).count() && scopes.iter().all(equal)
}

/// The dict's scopes that belong to the emitted tree. What INBOX has of the server's annotations is the user's.
fn scopes(mut dict: Dict, row: &UserRow) -> Scopes {
    let inbox = MailboxName::inbox();
    let inbox = row.mailboxes.iter().find(|(_, mailbox)| mailbox.name == inbox);
    let server = inbox.and_then(|(guid, _)| dict.server.remove(guid));
    let known = dict
        .mailboxes
        .into_iter()
        .filter(|(guid, _)| row.mailboxes.contains_key(guid));
    let mut scopes: Scopes = known
        .map(|(guid, entries)| (of_mailbox(guid, AttributeKind::Metadata), entries))
        .collect();
    scopes.extend(server.map(|entries| (of_user(AttributeKind::Metadata), entries)));
    scopes
}

fn all_acls(root: &MailRoot, row: &UserRow, places: &Places) -> Result<Scopes, Damage> {
    let mut scopes = Scopes::new();
    for guid in row.mailboxes.keys() {
        let scope = of_mailbox(*guid, AttributeKind::Acl);
        if let Some(place) = places.get(guid) {
            scopes.insert(scope, read_acl(root, &place, row.attributes.contains_key(&scope))?);
        }
    }
    Ok(scopes)
}

/// Lists lie beside the mail, wherever the index is.
fn read_acl(root: &MailRoot, place: &Path, held_some: bool) -> Result<Attributes, Damage> {
    let namespace = root.namespace_of(place);
    let mail = namespace.map_or_else(|| place.to_owned(), |namespace| namespace.mail_directory(place));
    let path = mail.join(acl::FILE);
    match read_bounded(&path, SMALL_FILE_BYTES_MAX) {
        Ok(Some((_, bytes))) => acl::parse(&bytes).map_err(|e| Damage::new(&path, e.offset, e)),
        Ok(None) if held_some => {
            let why = "the access control list is missing: the copy keeps what it has; bring the file back, if need be \
                       an empty one";
            Err(Damage::new(&path, 0, why))
        }
        Ok(None) => Ok(Attributes::new()),
        Err(e) => Err(Damage::new(&path, 0, e)),
    }
}

fn read_dict(path: &Path) -> Result<Option<(Stamp, Dict)>, Damage> {
    match read_bounded(path, ATTRIBUTE_FILE_BYTES_MAX) {
        Ok(Some((stamp, bytes))) => match attribute_dict::parse(&bytes) {
            Ok(dict) => Ok(Some((stamp, dict))),
            Err(e) => Err(Damage::new(path, e.offset, e)),
        },
        Ok(None) => Ok(None),
        Err(e) => Err(Damage::new(path, 0, e)),
    }
}

/// A file's bytes, and what its entry said while they were read; none where there is no such file.
fn read_bounded(path: &Path, most: u64) -> io::Result<Option<(Stamp, Vec<u8>)>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let before = stamp(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        return Err(io::Error::other(format!("more than {most} bytes")));
    }
    Ok(Some((before, bytes)))
}

#[cfg(test)]
mod tests;
