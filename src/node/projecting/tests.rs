//! Turns against a Dovecot in memory: what somebody else left there is kept before it is undone, and what can't be said
//! now is said later.

use super::target::{Dovecot, TellError};
use super::turn::turn;
use super::turns::Ended;
use super::{Projecting, Projection};
use crate::op::*;
use crate::store::dovecot::dsync::{
    Bodies, Delta, MailboxDelta, MailboxReading, Message, Outcome, Reading, Report, State, Wanted,
};
use crate::store::dovecot::fetch::Fetched;
use crate::store::embedded::Embedded;
use crate::store::target::{Applied, Frame};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const INBOX: Guid = Guid([1; 16]);

fn ann() -> UserName {
    UserName::from("ann")
}

/// A mirror with one user, fed frame by frame.
struct Copy {
    _dir: TempDir,
    store: Embedded,
    lsn: u64,
    chain: ChainHash,
}

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path(), &"b".into(), Duration::from_secs(60)).unwrap();
        let mut copy = Self {
            _dir: dir,
            store,
            lsn: 0,
            chain: ChainHash::default(),
        };
        copy.apply(Payload::Tree(TreeChange {
            user: ann(),
            mailboxes: vec![TreeMailbox {
                guid: INBOX,
                name: Ok(MailboxName::inbox()),
                special_use: None,
            }],
            ..TreeChange::default()
        }));
        copy.list(&[1, 2, 3]);
        copy
    }

    fn list(&mut self, uids: &[u32]) {
        let messages = uids.iter().map(|uid| append(*uid)).collect();
        uids.iter().for_each(|uid| self.body(*uid));
        self.store.bodies.commit().unwrap();
        self.apply(Payload::State(StateChunk {
            mailbox: inbox(),
            uidvalidity: UidValidity(7),
            lineage: Lineage::Initial,
            messages,
            uidnext: Uid(uids.last().map_or(1, |uid| uid + 1)),
            highest_modseq: Modseq(10),
            position: SourcePosition::default(),
        }));
    }

    fn arrive(&mut self, uid: u32) {
        self.body(uid);
        self.store.bodies.commit().unwrap();
        self.apply(Payload::Mailbox(MailboxTxn {
            mailbox: inbox(),
            uidvalidity: UidValidity(7),
            ops: vec![Op::Append(append(uid))],
            uidnext: Uid(uid + 1),
            highest_modseq: Modseq(10 + u64::from(uid)),
            position: SourcePosition::default(),
        }));
    }

    fn body(&self, uid: u32) {
        let octets = octets(uid);
        let name = BodyName {
            place: BodyPlace {
                mailbox: inbox(),
                uidvalidity: UidValidity(7),
                uid: Uid(uid),
            },
            guid: append(uid).guid,
            size: None,
        };
        let hash = BodyHash(*blake3::hash(&octets).as_bytes());
        self.store.bodies.put(&name, &octets, &hash).unwrap();
    }

    fn apply(&mut self, payload: Payload) {
        self.lsn += 1;
        let header = FrameHeader {
            stream: StreamId([1; 16]),
            epoch: Epoch(1),
            lsn: Lsn(self.lsn),
            previous: self.chain,
            captured_ms: 0,
            run: None,
            peer: None,
        };
        self.chain = ChainHash(*blake3::hash(&self.lsn.to_le_bytes()).as_bytes());
        let frame = Frame {
            header,
            chain: self.chain,
            payload,
        };
        self.store.target.apply(&[vec![frame]], &Vec::new()).unwrap();
    }

    fn applied(&self) -> Applied {
        self.store.target.applied()
    }

    fn kept(&self) -> Vec<(String, u32, bool)> {
        let retained = self.store.custody.retained(None).unwrap();
        retained
            .into_iter()
            .map(|kept| (kept.why, kept.message.uid.0, kept.body))
            .collect()
    }
}

fn inbox() -> MailboxId {
    MailboxId {
        user: ann(),
        guid: INBOX,
    }
}

fn append(uid: u32) -> Append {
    Append {
        uid: Uid(uid),
        guid: MessageGuid(format!("g{uid}")),
        size: None,
        internal_date: 1_700_000_000,
        save_date: None,
        flags: Flags::NONE,
        keywords: Vec::new(),
        modseq: Modseq(u64::from(uid)),
    }
}

fn octets(uid: u32) -> Vec<u8> {
    format!("Subject: {uid}\r\n\r\ntext\r\n").into_bytes()
}

/// By UID: GUID and octets.
type Messages = BTreeMap<Uid, (MessageGuid, Vec<u8>)>;

/// Mailboxes in memory, guarded as the speaker guards a real one.
#[derive(Default)]
struct Fake {
    mailboxes: BTreeMap<Guid, (State, Messages)>,
    is_down: bool,
    /// Sessions that end before their word.
    cut: u32,
    told: u32,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Fake>>);

impl Shared {
    fn uids(&self) -> Vec<u32> {
        let fake = self.0.lock().unwrap();
        fake.mailboxes
            .values()
            .flat_map(|(_, m)| m.keys().map(|uid| uid.0))
            .collect()
    }

    /// Somebody delivers where nobody but us may write.
    fn deliver(&self, uid: u32) {
        let mut fake = self.0.lock().unwrap();
        let (state, messages) = fake.mailboxes.get_mut(&INBOX).unwrap();
        messages.insert(
            Uid(uid),
            (
                MessageGuid(format!("foreign{uid}")),
                b"Subject: foreign\r\n\r\n".to_vec(),
            ),
        );
        state.uid = Uid(uid);
        state.messages += 1;
    }
}

impl Fake {
    fn hear(&mut self, delta: &Delta, mailbox: &MailboxDelta, bodies: &mut dyn Bodies) -> Outcome {
        let (state, messages) = self.mailboxes.entry(mailbox.guid).or_default();
        match mailbox.since {
            Some(since) if since != *state => return Outcome::Stale("another state".to_owned()),
            Some(_) => messages.retain(|uid, _| !mailbox.vanished.iter().any(|range| range.contains(*uid))),
            None => {
                let listed: BTreeSet<_> = mailbox
                    .changed
                    .iter()
                    .map(|message| (message.uid, message.guid.clone()))
                    .collect();
                let foreign: Vec<_> = messages
                    .iter()
                    .filter(|(uid, (guid, _))| !listed.contains(&(**uid, guid.clone())))
                    .map(|(uid, (guid, _))| (*uid, guid.clone()))
                    .collect();
                if !foreign.is_empty() && !delta.replaceable.contains(&mailbox.guid) {
                    return Outcome::Foreign {
                        why: "it holds messages that nobody told".to_owned(),
                        name: MailboxName::inbox(),
                        messages: foreign,
                    };
                }
                messages.clear();
            }
        }
        for message in &mailbox.changed {
            let mut octets = Vec::new();
            bodies
                .open(&delta.user, mailbox.guid, message)
                .unwrap()
                .read_to_end(&mut octets)
                .unwrap();
            messages.insert(message.uid, (message.guid.clone(), octets));
        }
        *state = mailbox.state();
        match self.cut.checked_sub(1) {
            Some(left) => {
                self.cut = left;
                Outcome::Unknown("the session ended".to_owned())
            }
            None => Outcome::Acknowledged(*state),
        }
    }
}

impl Dovecot for Shared {
    fn tell(&mut self, delta: &Delta, bodies: &mut dyn Bodies) -> Result<Report, TellError> {
        let mut fake = self.0.lock().unwrap();
        fake.told += 1;
        if fake.is_down {
            return Err(TellError::Down("connection refused".to_owned()));
        }
        let outcomes = delta
            .mailboxes
            .iter()
            .map(|mailbox| (mailbox.guid, fake.hear(delta, mailbox, bodies)));
        Ok(Report {
            tree: true,
            mailboxes: outcomes.collect(),
            complaints: Vec::new(),
        })
    }

    fn read(&mut self, _user: &UserName, _wanted: &Wanted) -> Result<Reading, TellError> {
        let fake = self.0.lock().unwrap();
        let read = |(guid, (state, messages)): (&Guid, &(State, Messages))| {
            let listed = messages.iter().map(|(uid, (guid, _))| Message {
                uid: *uid,
                guid: guid.clone(),
                ..Message::default()
            });
            let reading = MailboxReading {
                uid_validity: state.uid_validity,
                listed: listed.collect(),
                ..MailboxReading::default()
            };
            (*guid, reading)
        };
        Ok(Reading {
            tree: Vec::new(),
            mailboxes: fake.mailboxes.iter().map(read).collect(),
        })
    }

    fn fetch(&mut self, _user: &UserName, mailbox: Guid, uid: Uid) -> Result<Option<Fetched>, TellError> {
        let fake = self.0.lock().unwrap();
        let message = fake
            .mailboxes
            .get(&mailbox)
            .and_then(|(_, messages)| messages.get(&uid));
        Ok(message.map(|(_, octets)| Fetched {
            internal_date: 1_600_000_000,
            octets: octets.clone(),
        }))
    }

    fn rest(&mut self) {}
}

#[test]
fn mail_that_somebody_else_left_there_is_kept_and_then_undone() {
    let mut copy = Copy::new();
    let mirror = copy.store.mirror().unwrap();
    let mut dovecot = Shared::default();
    assert_eq!(turn(&mirror, &mut dovecot, &ann()).unwrap().ended, Ok(Ended::Told));
    assert_eq!(dovecot.uids(), [1, 2, 3]);
    dovecot.deliver(4);
    copy.arrive(4);
    let turned = turn(&mirror, &mut dovecot, &ann()).unwrap();
    assert_eq!((turned.ended, turned.kept), (Ok(Ended::Told), 1));
    assert_eq!(dovecot.uids(), [1, 2, 3, 4]);
    assert_eq!(copy.kept(), [("foreign".to_owned(), 4, true)]);
}

#[test]
fn a_session_that_ends_before_its_word_is_told_again_and_changes_nothing() {
    let copy = Copy::new();
    let mirror = copy.store.mirror().unwrap();
    let mut dovecot = Shared::default();
    dovecot.0.lock().unwrap().cut = 1;
    let turned = turn(&mirror, &mut dovecot, &ann()).unwrap();
    assert_eq!(turned.ended, Ok(Ended::Failed("the session ended".to_owned())));
    assert_eq!(turn(&mirror, &mut dovecot, &ann()).unwrap().ended, Ok(Ended::Told));
    assert_eq!(dovecot.uids(), [1, 2, 3]);
    let told = dovecot.0.lock().unwrap().told;
    assert_eq!(turn(&mirror, &mut dovecot, &ann()).unwrap().ended, Ok(Ended::Told));
    assert_eq!(dovecot.0.lock().unwrap().told, told, "told again what was acknowledged");
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn everybody() -> crate::config::UserPatterns {
    crate::config::UserPatterns::try_from(vec!["*".to_owned()]).unwrap()
}

fn shown(shared: &Projection, applied: Applied) -> Lsn {
    shared.shown(applied)
}

#[test]
fn a_mail_server_that_is_down_holds_up_the_lag_and_nothing_else() {
    let mut copy = Copy::new();
    let dovecot = Shared::default();
    dovecot.0.lock().unwrap().is_down = true;
    let ways: Vec<Box<dyn Dovecot>> = vec![Box::new(dovecot.clone()), Box::new(dovecot.clone())];
    let projecting =
        Projecting::start((copy.store.mirror().unwrap(), &everybody()), ways, copy.applied(), None).unwrap();
    let shared = Arc::clone(&projecting.shared);
    until("it was never tried", || dovecot.0.lock().unwrap().told > 0);
    until("nobody says that it is down", || !shared.standing().problems.is_empty());
    copy.arrive(4);
    shared.stir();
    assert!(shown(&shared, copy.applied()) < copy.applied().lsn);
    dovecot.0.lock().unwrap().is_down = false;
    until("it is never told", || {
        shown(&shared, copy.applied()) == copy.applied().lsn
    });
    assert_eq!(dovecot.uids(), [1, 2, 3, 4]);
    until("it still counts as down", || shared.standing().problems.is_empty());
    projecting.stop();
    // a restart knows how far it was
    let mirror = copy.store.mirror().unwrap();
    assert_eq!(mirror.told(copy.applied().stream).unwrap(), copy.applied().lsn);
}
