//! inotify as a wake-up, never as the truth: an event says where to look, and the capture looks for itself. Where events
//! may be missing (network file systems, the kernel's limit on watches) the scan finds what changed ([`super::rota`]).
//!
//! The queue is read by the capture thread itself, at the moment that it chooses; a thread of its own only rings when
//! there is something to read. So after [`Watch::drain`] nothing that was written before it is still unheard of: the
//! kernel puts an event into the queue before the write that caused it returns.
//!
//! A watch costs some 40 bytes here (the kernel's side is about 1 KiB): its number, its user and the mailbox's GUID. Paths
//! are not kept. Adding a watch for a directory that has one gives the same number again, so that covering a tree anew
//! finds out by itself which directories are others than before.

use super::look::{Look, Meaning, meaning};
use crate::op::{Guid, UserName};
use crate::store::source::Command;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// Room for some hundred events at a time.
const EVENTS_BYTES: usize = 16 << 10;
/// How soon the bell's thread notices that the capture has ended.
const BELL_PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Whose a watched directory is. There are some hundred thousand of these.
#[derive(Clone, Copy, Debug)]
struct Place {
    owner: Owner,
    /// The mailbox whose files lie there; none where the directory only belongs to the tree.
    mailbox: Option<Guid>,
}

/// A user, by a number of his own here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Owner(u32);

/// A user's number, and the numbers of his watches.
#[derive(Debug)]
struct Watched {
    owner: Owner,
    numbers: Vec<i32>,
}

/// What the events since the last time say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// What to look at, by user.
    pub users: BTreeMap<UserName, Look>,
    /// True where events were lost: everybody is to be looked at.
    pub lost: bool,
}

/// How many directories are watched, and who is not watched as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Watched directories.
    pub watched: usize,
    /// Users of whom some directory could not be watched.
    pub scanned_users: usize,
}

/// What covering a tree found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// True where some directory is watched from now on that was not before and may hold others: what appeared there
    /// meanwhile had no event, so the tree is to be listed once more.
    pub missed: bool,
    /// Whose directories those are: files that appeared there had no event either.
    pub begun: BTreeSet<Guid>,
}

/// The watched directories of all users.
pub struct Watch {
    queue: Option<Arc<OwnedFd>>,
    answered: Sender<()>,
    places: HashMap<i32, Place>,
    by_user: BTreeMap<UserName, Watched>,
    owners: HashMap<Owner, UserName>,
    next_owner: u32,
    /// Users of whom some directory is not watched.
    partly: BTreeSet<UserName>,
    /// Drained and not taken yet.
    woken: Woken,
    complained: bool,
}

impl Watch {
    /// Watches nothing yet. Without inotify everything is left to the scan, which is said once.
    #[must_use]
    pub fn start(commands: Sender<Command>) -> Self {
        let (answered, answers) = channel();
        let mut watch = Self {
            queue: None,
            answered,
            places: HashMap::new(),
            by_user: BTreeMap::new(),
            owners: HashMap::new(),
            next_owner: 0,
            partly: BTreeSet::new(),
            woken: Woken::default(),
            complained: false,
        };
        match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(queue) => {
                let queue = Arc::new(queue);
                let seen = Arc::clone(&queue);
                let bell = std::thread::Builder::new().name("bell".to_owned());
                match bell.spawn(move || ring(&seen, &commands, &answers)) {
                    Ok(_) => watch.queue = Some(queue),
                    Err(e) => watch.complain(&e.to_string()),
                }
            }
            Err(e) => watch.complain(&e.to_string()),
        }
        watch
    }

    /// Watches exactly `directories` for `user`; `mailboxes` says which of them are whose.
    pub fn cover(&mut self, user: &UserName, directories: &[PathBuf], mailboxes: &HashMap<&Path, Guid>) -> Covered {
        let (owner, before) = match self.by_user.remove(user) {
            Some(watched) => (watched.owner, watched.numbers.into_iter().collect()),
            None => (self.number(user), BTreeSet::new()),
        };
        let mut now: BTreeSet<i32> = BTreeSet::new();
        let mut covered = Covered::default();
        let mut whole = directories.first().is_none_or(|path| hears_everything(path));
        for path in directories {
            let mailbox = mailboxes.get(path.as_path()).copied();
            match self.add(path) {
                Added::Watch(number) => {
                    if !before.contains(&number) && now.insert(number) {
                        covered.missed = true;
                        covered.begun.extend(mailbox);
                    }
                    now.insert(number);
                    self.own(number, owner, mailbox);
                }
                // A directory that has gone meanwhile: the listing's end finds that out.
                Added::Gone => covered.missed = true,
                Added::Refused => whole = false,
            }
        }
        for number in before.difference(&now) {
            self.forget(*number, owner);
        }
        if whole {
            self.partly.remove(user);
        } else {
            self.partly.insert(user.clone());
        }
        let numbers = now.into_iter().collect();
        self.by_user.insert(user.clone(), Watched { owner, numbers });
        covered
    }

    /// Watches nothing of this user any more.
    pub fn forget_user(&mut self, user: &UserName) {
        if let Some(watched) = self.by_user.remove(user) {
            for number in watched.numbers {
                self.forget(number, watched.owner);
            }
            self.owners.remove(&watched.owner);
        }
        self.partly.remove(user);
    }

    /// True where every directory of this user is watched.
    #[must_use]
    pub fn is_whole(&self, user: &UserName) -> bool {
        self.by_user.contains_key(user) && !self.partly.contains(user)
    }

    /// Users of whom some directory is not watched.
    #[must_use]
    pub fn partly(&self) -> &BTreeSet<UserName> {
        &self.partly
    }

    /// How many directories are watched.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        Coverage {
            watched: self.places.len(),
            scanned_users: self.partly.len(),
        }
    }

    /// Reads the kernel's queue to its end.
    pub fn drain(&mut self) {
        let Some(queue) = self.queue.clone() else { return };
        let mut room = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = inotify::Reader::new(&*queue, &mut room);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(std::ffi::CStr::to_bytes).unwrap_or_default();
                    self.hear(event.wd(), event.events(), name);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(e) => {
                    self.woken.lost = true;
                    self.complain(&e.to_string());
                    return;
                }
            }
        }
    }

    /// Everything that was drained.
    pub fn take(&mut self) -> Woken {
        std::mem::take(&mut self.woken)
    }

    /// What was drained of one user. Lost events stay, for all.
    pub fn take_of(&mut self, user: &UserName) -> Look {
        let look = self.woken.users.remove(user).unwrap_or_default();
        if self.woken.lost { Look::everything() } else { look }
    }

    /// The bell may ring again.
    pub fn answer_bell(&self) {
        if self.answered.send(()).is_err() {
            tracing::trace!("there is no bell");
        }
    }

    fn hear(&mut self, number: i32, events: ReadFlags, name: &[u8]) {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            tracing::info!("events of the file system were lost: everything is looked at");
            self.woken.lost = true;
            return;
        }
        let Some(place) = self.places.get(&number) else { return };
        let Some(user) = self.owners.get(&place.owner) else {
            return;
        };
        let Some(meaning) = meaning(events, name) else { return };
        let look = self.woken.users.entry(user.clone()).or_default();
        match (meaning, place.mailbox) {
            (Meaning::Log, Some(guid)) => drop(look.logs.insert(guid)),
            (Meaning::Name, Some(guid)) => drop(look.names.insert(guid)),
            (Meaning::Attributes, Some(guid)) => drop(look.attributes.insert(guid)),
            (Meaning::Attributes, None) => look.own_attributes = true,
            (Meaning::ListIndex, _) => look.list_index = true,
            // A mailbox that is none yet may have become one.
            (Meaning::Tree, _) | (Meaning::Log | Meaning::Name, None) => look.tree = true,
        }
        if events.contains(ReadFlags::IGNORED) {
            self.places.remove(&number);
        }
    }

    fn add(&mut self, path: &Path) -> Added {
        let Some(queue) = &self.queue else {
            return Added::Refused;
        };
        let wanted = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(queue, path, wanted) {
            Ok(number) => Added::Watch(number),
            Err(Errno::NOENT | Errno::NOTDIR) => Added::Gone,
            Err(e) => {
                self.complain(&e.to_string());
                Added::Refused
            }
        }
    }

    /// A number that nobody has.
    fn number(&mut self, user: &UserName) -> Owner {
        while self.owners.contains_key(&Owner(self.next_owner)) {
            self.next_owner = self.next_owner.wrapping_add(1);
        }
        let owner = Owner(self.next_owner);
        self.owners.insert(owner, user.clone());
        owner
    }

    /// A directory that two users share wakes the one who was covered last; the other one is scanned.
    fn own(&mut self, number: i32, owner: Owner, mailbox: Option<Guid>) {
        if let Some(before) = self.places.insert(number, Place { owner, mailbox })
            && before.owner != owner
        {
            self.partly.extend(self.owners.get(&before.owner).cloned());
        }
    }

    fn forget(&mut self, number: i32, owner: Owner) {
        if self.places.get(&number).is_none_or(|place| place.owner != owner) {
            return;
        }
        self.places.remove(&number);
        if let Some(queue) = &self.queue
            && let Err(error) = inotify::remove_watch(queue, number)
        {
            tracing::trace!(%error, "the kernel dropped the watch with its directory");
        }
    }

    fn complain(&mut self, why: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(
                why,
                hint = "raise fs.inotify.max_user_watches above the number of mailboxes",
                "some directories can't be watched: changes there are seen by the scan only"
            );
        }
    }
}

/// False on file systems where others may write without an event here.
fn hears_everything(path: &Path) -> bool {
    /// NFS, SMB (two versions), FUSE, Ceph, Lustre, GFS2, OCFS2, AFS, 9p: `f_type` of statfs(2).
    const SHARED: [u64; 10] = [
        0x6969,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x0116_1970,
        0x7461_636f,
        0x5346_414f,
        0x0102_1997,
    ];
    let kind = rustix::fs::statfs(path).map(|of| u64::try_from(of.f_type).unwrap_or_default());
    kind.is_ok_and(|kind| !SHARED.contains(&kind))
}

enum Added {
    Watch(i32),
    Gone,
    Refused,
}

/// Tells the capture that there is something to read, and waits until it was read.
fn ring(queue: &OwnedFd, commands: &Sender<Command>, answers: &Receiver<()>) {
    loop {
        let mut wanted = [PollFd::new(queue, PollFlags::IN)];
        match poll(&mut wanted, Some(&BELL_PATIENCE)) {
            Ok(0) => {
                if answers.try_recv() == Err(TryRecvError::Disconnected) {
                    return;
                }
            }
            Ok(_) => {
                if commands.send(Command::Wake).is_err() || answers.recv().is_err() {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            // The scan goes on.
            Err(error) => {
                tracing::error!(%error, "events of the file system can't be heard any more");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
