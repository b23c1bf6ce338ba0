//! A seeded mixed load on a mail server, as its users would make it, over IMAP and LMTP.

use crate::dovecot::PASSWORD;
use crate::imap::{Imap, Reply, Value, quote};
use crate::lmtp::Lmtp;
use crate::rng::Rng;
use crate::{Result, mail, truth};
use anyhow::{Context, anyhow};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What users mostly do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Mostly new mail, some of everything.
    Normal,
    /// Mostly creating, renaming and deleting folders.
    Folders,
    /// As `Normal`, but mailboxes keep the names that they were made with.
    Messages,
    /// As `Messages`, and the names are ordinary.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Deliver,
    Append,
    Flag,
    Read,
    Copy,
    Move,
    Expunge,
    Create,
    Rename,
    Delete,
    Subscribe,
    Metadata,
    Acl,
}

/// How often of a hundred, in order, for each mix.
const NORMAL: [(Act, u64); 13] = [
    (Act::Deliver, 40),
    (Act::Append, 8),
    (Act::Flag, 17),
    (Act::Read, 7),
    (Act::Copy, 5),
    (Act::Move, 7),
    (Act::Expunge, 6),
    (Act::Create, 3),
    (Act::Rename, 2),
    (Act::Delete, 1),
    (Act::Subscribe, 2),
    (Act::Metadata, 1),
    (Act::Acl, 1),
];
const FOLDERS: [(Act, u64); 13] = [
    (Act::Deliver, 8),
    (Act::Append, 6),
    (Act::Flag, 4),
    (Act::Read, 2),
    (Act::Copy, 8),
    (Act::Move, 9),
    (Act::Expunge, 5),
    (Act::Create, 21),
    (Act::Rename, 21),
    (Act::Delete, 9),
    (Act::Subscribe, 5),
    (Act::Metadata, 1),
    (Act::Acl, 1),
];

const FLAGS: [&str; 12] = [
    "\\Seen",
    "\\Answered",
    "\\Flagged",
    "\\Deleted",
    "\\Draft",
    "$Forwarded",
    "$Junk",
    "NonJunk",
    "later",
    "k1",
    "k2",
    "k3",
];
/// Ordinary and odd: spaces, a dot (a separator on maildir's disk), UTF-7, case, length, a quote and a backslash.
const NAMES: [&str; 16] = [
    "Archive",
    "Work",
    "2025",
    "Lists",
    "rust",
    "two words",
    "v1.2",
    "UPPER",
    "upper",
    "Entw&APw-rfe",
    "&U,BTFw-",
    "a&-b",
    "~tilde",
    "per%cent",
    "quo\"te",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
/// How many of them, from the first, have nothing odd.
const ORDINARY: usize = 5;
const DEPTH_MAX: usize = 4;

/// A load to run against one server.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where clients read and write.
    pub imap_port: u16,
    /// Where mail is delivered.
    pub lmtp_port: u16,
    /// Whose mail it is; each user has a thread.
    pub users: Vec<String>,
    /// The same seed does the same.
    pub seed: String,
    /// How many operations in all.
    pub operations: usize,
    /// Over how long they are spread; zero: as fast as it goes.
    pub over: Duration,
    /// What users mostly do.
    pub mix: Mix,
}

/// A load that runs beside the test.
#[derive(Debug)]
pub struct Running(Vec<JoinHandle<Result<usize>>>);

impl Running {
    /// True while any of it runs.
    pub fn is_going_on(&self) -> bool {
        self.0.iter().any(|t| !t.is_finished())
    }

    /// Waits for its end and gives how many of the operations the server refused, as it may.
    pub fn finish(self) -> Result<usize> {
        let mut refused = 0;
        for thread in self.0 {
            refused += thread.join().map_err(|_| anyhow!("a thread of the load panicked"))??;
        }
        Ok(refused)
    }
}

impl Load {
    /// Runs to its end. A server's NO to a legal request is no error; BAD and a lost connection are.
    pub fn run(&self) -> Result<usize> {
        self.start().finish()
    }

    /// Starts it in threads of its own.
    pub fn start(&self) -> Running {
        let threads = self.users.iter().enumerate().map(|(place, user)| {
            let (load, user) = (self.clone(), user.clone());
            // the first users take what can't be shared out evenly
            let share = (self.operations + self.users.len() - 1 - place) / self.users.len();
            std::thread::spawn(move || load.work(&user, share).with_context(|| format!("load of {user}")))
        });
        Running(threads.collect())
    }

    fn work(&self, user: &str, operations: usize) -> Result<usize> {
        let mut worker = Worker::new(self, user)?;
        let mut weights = match self.mix {
            Mix::Normal | Mix::Messages | Mix::Plain => NORMAL,
            Mix::Folders => FOLDERS,
        };
        if matches!(self.mix, Mix::Messages | Mix::Plain) {
            let renames = |act| matches!(act, Act::Rename | Act::Delete);
            weights
                .iter_mut()
                .filter(|(act, _)| renames(*act))
                .for_each(|(_, weight)| *weight = 0);
        }
        let began = Instant::now();
        for number in 0..operations {
            let due = self.over.mul_f64(number as f64 / operations as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let act = choose(&mut worker.rng, &weights);
            worker
                .act(act)
                .with_context(|| format!("operation {number}: {act:?}"))?;
        }
        worker.imap.run("LOGOUT")?;
        Ok(worker.refused)
    }
}

fn choose(rng: &mut Rng, weights: &[(Act, u64)]) -> Act {
    let mut point = rng.below(weights.iter().map(|w| w.1).sum());
    for (act, weight) in weights {
        match point.checked_sub(*weight) {
            Some(rest) => point = rest,
            None => return *act,
        }
    }
    Act::Deliver
}

struct Worker {
    user: String,
    rng: Rng,
    imap: Imap,
    lmtp: Lmtp,
    mailboxes: Vec<String>,
    /// What it may call a mailbox.
    names: &'static [&'static str],
    prefix: String,
    separator: String,
    refused: usize,
}

impl Worker {
    fn new(load: &Load, user: &str) -> Result<Worker> {
        let rng = Rng::new(&format!("{}/{user}", load.seed));
        let mut imap = Imap::login(load.imap_port, user, PASSWORD)?;
        let (prefix, separator) = truth::prefix_and_separator(&mut imap)?;
        let lmtp = Lmtp::connect(load.lmtp_port)?;
        let mut worker = Worker {
            user: user.to_owned(),
            rng,
            imap,
            lmtp,
            mailboxes: Vec::new(),
            names: match load.mix {
                Mix::Plain => &NAMES[..ORDINARY],
                Mix::Normal | Mix::Folders | Mix::Messages => &NAMES,
            },
            prefix,
            separator,
            refused: 0,
        };
        worker.list()?;
        Ok(worker)
    }

    fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Deliver => {
                let message = mail::message(&mut self.rng);
                self.lmtp.deliver(&self.user, &message)
            }
            Act::Append => self.append(),
            Act::Flag | Act::Read | Act::Copy | Act::Move | Act::Expunge => self.change_messages(act),
            Act::Create | Act::Rename | Act::Delete => self.change_mailboxes(act),
            Act::Subscribe | Act::Metadata | Act::Acl => self.change_attributes(act),
        }
    }

    fn append(&mut self) -> Result<()> {
        let flags = self.rng.some(&FLAGS, 3).join(" ");
        let (day, month) = (1 + self.rng.below(28), *self.rng.pick(&["Jan", "Jun", "Dec"]));
        let (year, hour) = (1999 + self.rng.below(27), self.rng.below(24));
        let date = format!("\"{day:02}-{month}-{year} {hour:02}:30:05 +0000\"");
        let mailbox = self.rng.pick(&self.mailboxes).clone();
        let message = mail::message(&mut self.rng);
        let reply = self.imap.append(&mailbox, &format!("({flags}) {date} "), &message)?;
        self.count(&reply);
        Ok(())
    }

    fn change_messages(&mut self, act: Act) -> Result<()> {
        let mailbox = if self.rng.chance(40) {
            "INBOX".to_owned()
        } else {
            self.rng.pick(&self.mailboxes).clone()
        };
        let opened = self.imap.select(&mailbox)?;
        if !opened.is_ok() {
            self.refused += 1;
            return self.list();
        }
        let found = self.imap.run("UID SEARCH ALL")?.must()?;
        let uids: Vec<u64> = found.all(0, "SEARCH").flatten().filter_map(Value::number).collect();
        if !uids.is_empty() {
            let chosen = self
                .rng
                .some(&uids, 4)
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(",");
            self.change_chosen(act, &chosen)?;
        }
        self.run("UNSELECT")
    }

    fn change_chosen(&mut self, act: Act, uids: &str) -> Result<()> {
        let target = quote(self.rng.pick(&self.mailboxes));
        match act {
            Act::Read => self.run(&format!("UID FETCH {uids} (BODY[])")),
            Act::Copy => self.run(&format!("UID COPY {uids} {target}")),
            Act::Move => self.run(&format!("UID MOVE {uids} {target}")),
            Act::Expunge => {
                self.run(&format!("UID STORE {uids} +FLAGS (\\Deleted)"))?;
                if self.rng.chance(50) {
                    self.run(&format!("UID EXPUNGE {uids}"))
                } else {
                    self.run("EXPUNGE")
                }
            }
            _ => {
                let how = *self.rng.pick(&["+FLAGS", "+FLAGS", "-FLAGS", "FLAGS"]);
                let flags = self.rng.some(&FLAGS, 3).join(" ");
                self.run(&format!("UID STORE {uids} {how} ({flags})"))
            }
        }
    }

    fn change_mailboxes(&mut self, act: Act) -> Result<()> {
        let own: Vec<String> = self.mailboxes.iter().filter(|m| *m != "INBOX").cloned().collect();
        let fresh = format!("{}{}", self.rng.pick(self.names), self.rng.below(20));
        let below_other = !own.is_empty() && self.rng.chance(45);
        let separator = self.separator.clone();
        let name = if below_other {
            format!("{}{separator}{fresh}", self.rng.pick(&own))
        } else {
            format!("{}{fresh}", self.prefix)
        };
        if name.matches(&separator).count() < DEPTH_MAX {
            match act {
                Act::Create => self.run(&format!("CREATE {}", quote(&name)))?,
                Act::Rename => {
                    let old = if own.is_empty() || self.rng.chance(4) {
                        "INBOX"
                    } else {
                        self.rng.pick(&own)
                    };
                    if !format!("{name}{separator}").starts_with(&format!("{old}{separator}")) {
                        self.run(&format!("RENAME {} {}", quote(old), quote(&name)))?;
                    }
                }
                _ if own.is_empty() => {}
                _ => {
                    let victim = quote(self.rng.pick(&own));
                    self.run(&format!("DELETE {victim}"))?;
                }
            }
        }
        self.list()
    }

    fn change_attributes(&mut self, act: Act) -> Result<()> {
        let mailbox = quote(self.rng.pick(&self.mailboxes));
        let number = self.rng.below(1000);
        let command = match act {
            Act::Metadata => format!("SETMETADATA {mailbox} (/private/comment \"note {number}\")"),
            Act::Acl => format!("SETACL {mailbox} reader{}@example.test lr", number % 3),
            _ if number < 700 => format!("SUBSCRIBE {mailbox}"),
            _ => format!("UNSUBSCRIBE {mailbox}"),
        };
        self.run(&command)
    }

    fn run(&mut self, command: &str) -> Result<()> {
        let reply = self.imap.run(command)?;
        self.count(&reply);
        Ok(())
    }

    fn count(&mut self, reply: &Reply) {
        self.refused += usize::from(!reply.is_ok());
    }

    fn list(&mut self) -> Result<()> {
        let all = truth::mailboxes(&mut self.imap)?;
        self.mailboxes = all.into_iter().filter(|m| m.1).map(|m| m.0).collect();
        if self.mailboxes.is_empty() {
            self.mailboxes.push("INBOX".to_owned());
        }
        Ok(())
    }
}
