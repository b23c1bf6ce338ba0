//! What capture costs: memory at many mailboxes, a round of looking at all of them, and one change in mailboxes of 1,000 and
//! of 100,000 messages.
//!
//! `cargo run --release --example bench_capture [MAILBOXES] [FOLDER]` (default: 100,000 in a temporary folder). The store is
//! forged: maildirs with the files that capture reads, as Dovecot writes them. No mail server runs, and no journal: what is
//! measured is capture's own part. Times are this thread's processor time.

use mailshadow::limits::{SCAN_SECONDS, WATCHED_SCAN_SECONDS};
use mailshadow::op::{Guid, Lsn, MailboxId, MessageGuid, Notice, Payload, Uid, UidValidity, UserName};
use mailshadow::store::dovecot::bodies::DovecotBodies;
use mailshadow::store::dovecot::identity::Identities;
use mailshadow::store::dovecot::look::Look;
use mailshadow::store::dovecot::mail_root::{Driver, MailRoot, Namespace};
use mailshadow::store::dovecot::shared::Shared;
use mailshadow::store::dovecot::user::UserCapture;
use mailshadow::store::dovecot::watch::Watch;
use mailshadow::store::source::{Captured, Command, Outlet, OutletError};
use mailshadow::store::table::CaptureTable;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MAILBOXES_A_USER: u32 = 20;
const SIZES: [u32; 2] = [1_000, 100_000];
const CHANGES: u32 = 300;
const EXTERNAL: u32 = 0x1000_0000;
const APPEND: u32 = 0x2 | EXTERNAL;
const FLAGS: u32 = 0x4;
const HEADER: u32 = 0x20;

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let mailboxes: u32 = words.next().map_or(Ok(100_000), |word| word.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = words.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    many_mailboxes(&folder.join("many"), mailboxes)?;
    large_mailboxes(&folder.join("large"))
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// Counts what is emitted, and forgets it.
#[derive(Default)]
struct Sink {
    lsn: u64,
    appends: u64,
}

impl Outlet for Sink {
    fn notice(&mut self, _notice: Notice) {}

    fn emit(&mut self, captured: Vec<Captured>, table: &mut CaptureTable) -> Result<Lsn, OutletError> {
        for payload in captured.iter().flat_map(|captured| &captured.payloads) {
            self.lsn += 1;
            if let Payload::Mailbox(txn) = payload {
                self.appends += u64::try_from(txn.ops.len()).unwrap_or(0);
            }
            table.apply(payload);
        }
        Ok(Lsn(self.lsn))
    }

    fn offer(&mut self, _mailbox: &MailboxId, _of: UidValidity, _messages: &[(Uid, MessageGuid, Option<u64>)]) {}

    fn is_offer_open(&mut self) -> bool {
        false
    }
}

/// The capture of some users, without the thread around it.
struct Bench {
    table: CaptureTable,
    outlet: Sink,
    watch: Watch,
    identities: Arc<Identities>,
    bodies: DovecotBodies,
    users: Vec<UserCapture>,
    _commands: Receiver<Command>,
}

impl Bench {
    fn new() -> Self {
        let (sender, commands) = channel();
        let identities = Arc::new(Identities::default());
        Self {
            table: CaptureTable::default(),
            outlet: Sink::default(),
            watch: Watch::start(sender),
            bodies: DovecotBodies::new(Arc::clone(&identities)),
            identities,
            users: Vec::new(),
            _commands: commands,
        }
    }

    /// Lists a user's mailboxes for the first time, then keeps their positions only.
    fn add(&mut self, name: String, path: PathBuf) -> Outcome<()> {
        let root = Arc::new(MailRoot::of(Namespace::plain(Driver::Maildir, &path)));
        self.users.push(UserCapture::new(UserName(name), root));
        let last = self.users.len() - 1;
        self.turn(last, Look::everything())?;
        while self.with(last, |user, shared| {
            user.introduce(shared).map(|()| user.is_introducing())
        })? {}
        self.turn(last, Look::everything())?;
        if let Some(user) = self.users.get_mut(last) {
            user.rest(&self.table);
        }
        Ok(())
    }

    fn turn(&mut self, user: usize, look: Look) -> Outcome<()> {
        self.with(user, |user, shared| user.turn(look, shared).map(drop))
    }

    fn with<T>(
        &mut self,
        user: usize,
        deed: impl FnOnce(&mut UserCapture, &mut Shared<'_>) -> Result<T, OutletError>,
    ) -> Outcome<T> {
        let (mut notices, mut last) = (0, Lsn(0));
        let mut shared = Shared {
            table: &mut self.table,
            outlet: &mut self.outlet,
            watch: &mut self.watch,
            identities: &self.identities,
            bodies: &self.bodies,
            notices: &mut notices,
            last: &mut last,
        };
        let user = self.users.get_mut(user).ok_or("no such user")?;
        Ok(deed(user, &mut shared)?)
    }
}

fn many_mailboxes(folder: &Path, mailboxes: u32) -> Outcome<()> {
    let users = mailboxes.div_ceil(MAILBOXES_A_USER);
    for user in 0..users {
        for number in 0..MAILBOXES_A_USER {
            let name = if number == 0 {
                String::new()
            } else {
                format!(".Folder {number}")
            };
            forge(
                &folder.join(format!("user{user}/Maildir")).join(name),
                user * MAILBOXES_A_USER + number,
                0,
            )?;
        }
    }
    let before = resident_bytes()?;
    let began = Instant::now();
    let mut bench = Bench::new();
    for user in 0..users {
        bench.add(
            format!("user{user}@example.net"),
            folder.join(format!("user{user}/Maildir")),
        )?;
    }
    let count = f64::from(users * MAILBOXES_A_USER);
    let grown = resident_bytes()?.saturating_sub(before);
    let coverage = bench.watch.coverage();
    say(&format!(
        "{count} mailboxes of {users} users listed in {:.1} s; {} directories watched, {} users scanned instead",
        began.elapsed().as_secs_f64(),
        coverage.watched,
        coverage.scanned_users
    ))?;
    let mib = |bytes: u64| f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0;
    say(&format!(
        "memory: {:.1} MiB more than before, {:.0} bytes a mailbox; resident {:.1} MiB in all",
        mib(grown),
        mib(grown) * 1048576.0 / count,
        mib(resident_bytes()?)
    ))?;
    let mut round = |what: &str, seconds: u64, deed: &mut dyn FnMut(&mut Bench, usize) -> Outcome<()>| -> Outcome<()> {
        let before = processor_time()?;
        for user in 0..bench.users.len() {
            deed(&mut bench, user)?;
        }
        let spent = (processor_time()?.saturating_sub(before)).as_secs_f64();
        let share = 100.0 * spent / Duration::from_secs(seconds).as_secs_f64();
        let each = spent * 1e6 / count;
        say(&format!(
            "{what}: {each:.1} µs a mailbox, {share:.3} % of a processor once in {seconds} s"
        ))?;
        Ok(())
    };
    round(
        "looking at everything (watched)",
        WATCHED_SCAN_SECONDS,
        &mut |bench, user| bench.turn(user, Look::everything()),
    )?;
    round("scan by stat (not watched)", SCAN_SECONDS, &mut |bench, user| {
        bench.with(user, |user, _| Ok(user.scan())).map(drop)
    })
}

fn large_mailboxes(folder: &Path) -> Outcome<()> {
    let mut spent = Vec::new();
    for (number, messages) in (1..).zip(SIZES) {
        let mailbox = folder.join(format!("of{messages}"));
        forge(&mailbox, number, messages)?;
        let mut bench = Bench::new();
        bench.add(format!("of{messages}@example.net"), mailbox.clone())?;
        let guid = guid_of(number);
        deliver(&mailbox, messages)?;
        bench.turn(0, Look::log(guid))?;
        let change = |bench: &mut Bench, deed: &dyn Fn(u32) -> Outcome<()>| -> Outcome<f64> {
            let mut total = Duration::ZERO;
            for round in 1..=CHANGES {
                deed(round)?;
                let before = processor_time()?;
                bench.turn(0, Look::log(guid))?;
                total += processor_time()?.saturating_sub(before);
            }
            Ok(total.as_secs_f64() * 1e6 / f64::from(CHANGES))
        };
        let emitted = bench.outlet.appends;
        let deliveries = change(&mut bench, &|round| deliver(&mailbox, messages + round))?;
        let flags = change(&mut bench, &|round| {
            let add = if round % 2 == 0 { 0x08 } else { 0 };
            let entry = [messages, messages, u32::from_le_bytes([add, 0x08 - add, 0, 0])];
            log(&mailbox, FLAGS, &entry)
        })?;
        if bench.outlet.appends - emitted != u64::from(2 * CHANGES) {
            return Err(format!("{} changes were captured", bench.outlet.appends - emitted).into());
        }
        say(&format!(
            "{messages} messages: a delivery {deliveries:.0} µs, a flag {flags:.0} µs"
        ))?;
        spent.push((deliveries, flags));
    }
    if let [small, large] = spent.as_slice() {
        say(&format!(
            "100,000 to 1,000 messages: delivery {:.2}, flag {:.2}",
            large.0 / small.0,
            large.1 / small.1
        ))?;
    }
    Ok(())
}

fn guid_of(number: u32) -> Guid {
    let mut guid = [0x5a; 16];
    guid.iter_mut()
        .zip(number.to_le_bytes())
        .for_each(|(to, from)| *to = from);
    Guid(guid)
}

fn base(uid: u32) -> String {
    format!("1700000000.M{uid}P1.mail,S=12,W=13")
}

/// A maildir with so many messages.
fn forge(mailbox: &Path, number: u32, messages: u32) -> Outcome<()> {
    for sub in ["cur", "new"] {
        fs::create_dir_all(mailbox.join(sub))?;
    }
    let mut uidlist = format!("3 V1700000000 N{} G{}\n", messages + 1, guid_of(number).to_hex());
    for uid in 1..=messages {
        uidlist.push_str(&format!("{uid} :{}\n", base(uid)));
        fs::write(mailbox.join("cur").join(base(uid) + ":2,"), "Subject: x\n\n")?;
    }
    fs::write(mailbox.join("dovecot-uidlist"), uidlist)?;
    let mut header = vec![1, 3, 40, 0];
    for field in [1_700_000_000 + number, 2, 0, 0, 1_700_000_000, 1, 0, 1, 0] {
        header.extend(u32::to_le_bytes(field));
    }
    fs::write(mailbox.join("dovecot.index.log"), header)?;
    log(mailbox, HEADER, &[u32::from_le_bytes([24, 0, 4, 0]), 1_700_000_000])?;
    let appends: Vec<u32> = (1..=messages).flat_map(|uid| [uid, 0]).collect();
    if messages > 0 {
        log(mailbox, APPEND, &appends)
    } else {
        Ok(())
    }
}

/// Appends one record to a mailbox's log.
fn log(mailbox: &Path, kind: u32, payload: &[u32]) -> Outcome<()> {
    let words = u32::try_from(payload.len() + 2)?;
    let mut bytes: Vec<u8> = Vec::new();
    for shift in [21, 14, 7, 0] {
        bytes.push(0x80 | u8::try_from(words >> shift & 0x7f)?);
    }
    bytes.extend(kind.to_le_bytes());
    payload.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    append(&mailbox.join("dovecot.index.log"), &bytes)
}

/// A message arrives, with the UID after `last`.
fn deliver(mailbox: &Path, last: u32) -> Outcome<()> {
    let uid = last + 1;
    fs::write(mailbox.join("new").join(base(uid)), "Subject: y\n\n")?;
    append(
        &mailbox.join("dovecot-uidlist"),
        format!("{uid} :{}\n", base(uid)).as_bytes(),
    )?;
    log(mailbox, APPEND, &[uid, 0])
}

fn append(path: &Path, bytes: &[u8]) -> Outcome<()> {
    Ok(fs::File::options().append(true).open(path)?.write_all(bytes)?)
}

fn processor_time() -> Outcome<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let spent = text.split(' ').next().ok_or("an empty schedstat")?;
    Ok(Duration::from_nanos(spent.parse()?))
}

fn resident_bytes() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
