use super::*;
use crate::store::dovecot::tail::LOG;
use std::time::Duration;

const INBOX: Guid = Guid([1; 16]);

/// A watch over one directory, which is a mailbox of user `u`.
struct Watched {
    directory: tempfile::TempDir,
    commands: Receiver<Command>,
    watch: Watch,
    user: UserName,
}

impl Watched {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (sender, commands) = channel();
        let mut watched = Self {
            directory,
            commands,
            watch: Watch::start(sender),
            user: UserName::from("u"),
        };
        watched.cover();
        watched
    }

    fn cover(&mut self) -> Covered {
        let path = self.directory.path().to_owned();
        let mailboxes = HashMap::from([(path.as_path(), INBOX)]);
        self.watch.cover(&self.user, std::slice::from_ref(&path), &mailboxes)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.directory.path().join(name), bytes).unwrap();
    }

    fn heard(&mut self) -> Look {
        self.watch.drain();
        self.watch.take().users.remove(&self.user).unwrap_or_default()
    }

    /// How often the bell rings until it is quiet.
    fn rings(&self) -> usize {
        let mut rings = 0;
        while self.commands.recv_timeout(Duration::from_millis(300)).is_ok() {
            rings += 1;
        }
        rings
    }
}

#[test]
fn a_burst_of_writes_wakes_once_and_reading_does_not_wake() {
    let mut watched = Watched::new();
    for round in 0..20 {
        watched.write(LOG, &vec![0; round]);
    }
    assert_eq!(watched.rings(), 1);
    assert_eq!(watched.heard(), Look::log(INBOX));
    watched.watch.answer_bell();
    drop(std::fs::read(watched.directory.path().join(LOG)).unwrap());
    assert_eq!(watched.rings(), 0);
    watched.write(LOG, b"x");
    assert_eq!(watched.rings(), 1);
}

#[test]
fn what_was_written_before_the_queue_was_read_is_heard() {
    let mut watched = Watched::new();
    for round in 0..100_u32 {
        watched.write(LOG, &round.to_le_bytes());
        assert_eq!(watched.heard(), Look::log(INBOX), "round {round}");
    }
}

#[test]
fn a_directory_made_anew_at_the_same_path_is_watched_again() {
    let root = tempfile::tempdir().unwrap();
    let mut watched = Watched::new();
    let path = root.path().join("box");
    let mailboxes = HashMap::from([(path.as_path(), INBOX)]);
    let cover = |watch: &mut Watch| watch.cover(&"u".into(), std::slice::from_ref(&path), &mailboxes);
    std::fs::create_dir(&path).unwrap();
    let begun = Covered {
        missed: true,
        begun: BTreeSet::from([INBOX]),
    };
    assert_eq!(cover(&mut watched.watch), begun);
    assert_eq!(cover(&mut watched.watch), Covered::default());
    std::fs::rename(&path, root.path().join("old")).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(cover(&mut watched.watch), begun, "another directory counts as the same");
    watched.heard();
    std::fs::write(path.join(LOG), "x").unwrap();
    assert_eq!(watched.heard(), Look::log(INBOX));
    assert_eq!(watched.watch.coverage().watched, 1);
}

#[test]
fn a_new_folder_a_subscription_and_a_new_uidlist_are_no_change_of_a_log() {
    let mut watched = Watched::new();
    for noise in [
        "dovecot.index.cache",
        "dovecot-uidlist.lock",
        "dovecot.index.log.newlock",
        "u.7",
    ] {
        watched.write(noise, b"x");
    }
    assert!(watched.heard().is_nothing());
    std::fs::create_dir(watched.directory.path().join(".new")).unwrap();
    assert_eq!(watched.heard(), Look::tree());
    watched.write("subscriptions", b"INBOX\n");
    assert_eq!(watched.heard(), Look::tree());
    let path = |name: &str| watched.directory.path().join(name);
    std::fs::rename(path("u.7"), path("dovecot-uidlist")).unwrap();
    let renamed = Look {
        names: BTreeSet::from([INBOX]),
        ..Look::default()
    };
    assert_eq!(watched.heard(), renamed);
    watched.write("dovecot.list.index.log", b"x");
    assert!(watched.heard().list_index);
}

#[test]
fn events_that_the_kernel_dropped_make_everything_be_looked_at() {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let mut watched = Watched::new();
    // Equal neighbours are merged in the queue, so two files take turns.
    for round in 0..=limit {
        watched.write(if round % 2 == 0 { LOG } else { "subscriptions" }, b"x");
    }
    watched.watch.drain();
    assert!(watched.watch.take().lost);
    watched.write(LOG, b"y");
    watched.watch.drain();
    assert!(!watched.watch.take().lost, "a loss is told once");
}

#[test]
fn a_directory_of_two_users_leaves_nobody_unheard() {
    let mut watched = Watched::new();
    let path = watched.directory.path().to_owned();
    let mailboxes = HashMap::from([(path.as_path(), INBOX)]);
    let other = UserName::from("other");
    watched.watch.cover(&other, std::slice::from_ref(&path), &mailboxes);
    assert!(watched.watch.is_whole(&other));
    assert!(!watched.watch.is_whole(&watched.user), "his events go to the other one");
    assert!(watched.watch.partly().contains(&watched.user));
    watched.watch.forget_user(&other);
    assert_eq!(watched.watch.coverage().watched, 0);
}
