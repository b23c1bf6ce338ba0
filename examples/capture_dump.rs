//! Captures a running Dovecot into the pure model and shows both: every payload as it comes, and what the model holds.
//!
//! ```sh
//! cargo run --example capture_dump -- doveadm -c /etc/dovecot/dovecot.conf
//! ```
//!
//! Commands on standard input, one a line; each is answered by one line that begins with `ok` or `error`:
//! `sweep` reads everything to its end; `dump DIR` does so too and writes `DIR/truth.json` (what an IMAP client of the
//! copy would see) and the bodies beside it; `verify` and `verify deep` compare digests with the model; `base` makes a
//! second model out of a base and compares it; `stop` and `start` the capture, its memory going through a checkpoint;
//! `print on|off` shows payloads. Nothing at the source is written.

use mailshadow::config::PublicOwners;
use mailshadow::op::digest::Sum;
use mailshadow::op::model::{Mailbox, Model};
use mailshadow::op::{
    Append, BodyHash, BodyPlace, Flags, GoneQuestion, Lsn, MailboxDigest, MailboxId, MailboxName, MessageGuid,
    NodeName, Notice, Op, Payload, Uid, UidValidity, UserName,
};
use mailshadow::store::dovecot::bodies::DovecotBodies;
use mailshadow::store::dovecot::doveadm::Doveadm;
use mailshadow::store::dovecot::engine::{DovecotSource, Setup};
use mailshadow::store::dovecot::mutf7;
use mailshadow::store::source::{Bodies, BodyAnswer, Captured, Command, Outlet, OutletError, Reply, SourceStatus};
use mailshadow::store::table::CaptureTable;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The copy: a model, the bodies, and the memory that a primary keeps of its source.
#[derive(Default)]
struct Copy {
    lsn: u64,
    model: Model,
    joiner: Model,
    bodies: BTreeMap<BodyPlace, Result<Vec<u8>, String>>,
    table: CaptureTable,
    source: Option<Arc<DovecotBodies>>,
    unequal: Vec<String>,
    print: bool,
    based: bool,
}

impl Copy {
    fn take(&mut self, captured: &Captured) {
        for payload in &captured.payloads {
            self.lsn += 1;
            self.show(payload, captured.peer.is_some());
            self.compare(payload);
            self.read_bodies(payload);
            self.based |= matches!(payload, Payload::BaseEnd(_));
        }
        if captured.peer.is_none() {
            let answers = self.ask(&self.model.questions(&captured.payloads));
            self.model.apply(&captured.payloads, &answers);
            captured.payloads.iter().for_each(|payload| self.table.apply(payload));
        }
        let answers = self.ask(&self.joiner.questions(&captured.payloads));
        self.joiner.apply(&captured.payloads, &answers);
    }

    fn ask(&self, questions: &[GoneQuestion]) -> Vec<(GoneQuestion, BTreeSet<Uid>)> {
        let answer = |question: &GoneQuestion| {
            let source = self.source.as_ref();
            let gone = source.map(|s| s.gone(&question.mailbox, question.uidvalidity, &question.messages));
            (question.clone(), gone.unwrap_or_default().into_iter().collect())
        };
        questions.iter().map(answer).collect()
    }

    fn show(&self, payload: &Payload, for_peer: bool) {
        if self.print {
            let peer = if for_peer { " (for a peer)" } else { "" };
            say(&format!("{}{peer}: {payload:?}", self.lsn));
        }
    }

    fn compare(&mut self, payload: &Payload) {
        match payload {
            Payload::Digest(digest) => {
                let why = self.model.digest(&digest.mailbox).map(|mut copy| {
                    if digest.bodies.is_some() {
                        self.add_bodies(&mut copy);
                    }
                    digest.difference(&copy)
                });
                if why.as_deref() != Some("") {
                    self.unequal.push(format!("{}: {why:?}", digest.mailbox));
                }
            }
            Payload::TreeDigest(digest) => {
                let why = digest.difference(&self.model.tree_digest(&digest.user));
                if !why.is_empty() {
                    self.unequal.push(format!("tree of {}: {why}", digest.user));
                }
            }
            _ => {}
        }
    }

    fn add_bodies(&self, copy: &mut MailboxDigest) {
        copy.bodies = Some(Sum::default());
        let Some(mailbox) = self.model.mailbox(&copy.mailbox) else {
            return;
        };
        for uid in mailbox.messages.keys() {
            let place = BodyPlace {
                mailbox: copy.mailbox.clone(),
                uidvalidity: mailbox.uidvalidity,
                uid: *uid,
            };
            if let Some(Ok(octets)) = self.bodies.get(&place) {
                copy.add_body(*uid, &BodyHash(*blake3::hash(octets).as_bytes()));
            }
        }
    }

    /// Every append's body, as a standby that asks at once would get it.
    fn read_bodies(&mut self, payload: &Payload) {
        let (mailbox, uidvalidity, appends) = match payload {
            Payload::Mailbox(txn) => {
                let append = |op: &Op| match op {
                    Op::Append(append) => Some(append.clone()),
                    _ => None,
                };
                (
                    &txn.mailbox,
                    txn.uidvalidity,
                    txn.ops.iter().filter_map(append).collect::<Vec<_>>(),
                )
            }
            Payload::State(chunk) => (&chunk.mailbox, chunk.uidvalidity, chunk.messages.clone()),
            _ => return,
        };
        let Some(source) = self.source.clone() else { return };
        for append in appends {
            let place = BodyPlace {
                mailbox: mailbox.clone(),
                uidvalidity,
                uid: append.uid,
            };
            if matches!(self.bodies.get(&place), Some(Ok(_))) {
                continue;
            }
            let body = match source.read(std::slice::from_ref(&place), &append.guid, append.size) {
                BodyAnswer::Body(octets) => Ok(octets),
                BodyAnswer::Missing(missing) => Err(missing.why),
            };
            self.bodies.insert(place, body);
        }
    }
}

struct Pour(Arc<Mutex<Copy>>);

impl Outlet for Pour {
    fn notice(&mut self, _notice: Notice) {}

    fn emit(&mut self, captured: Vec<Captured>, table: &mut CaptureTable) -> Result<Lsn, OutletError> {
        let for_all = captured.iter().filter(|captured| captured.peer.is_none());
        for_all
            .flat_map(|captured| &captured.payloads)
            .for_each(|payload| table.apply(payload));
        let mut copy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        captured.iter().for_each(|captured| copy.take(captured));
        Ok(Lsn(copy.lsn))
    }

    fn offer(&mut self, _mailbox: &MailboxId, _of: UidValidity, _messages: &[(Uid, MessageGuid, Option<u64>)]) {}

    fn is_offer_open(&mut self) -> bool {
        false
    }
}

struct Session {
    command: Vec<String>,
    copy: Arc<Mutex<Copy>>,
    source: Option<DovecotSource>,
}

type Answer = Result<String, String>;

impl Session {
    fn copy(&self) -> MutexGuard<'_, Copy> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&mut self) -> Answer {
        if self.source.is_some() {
            return Err("it runs".to_owned());
        }
        let parts: Result<Vec<Vec<u8>>, _> = self.copy().table.parts().collect();
        let parts = parts.map_err(|e| e.to_string())?;
        let table = CaptureTable::from_parts(parts.iter().map(Vec::as_slice)).map_err(|e| e.to_string())?;
        let setup = Setup {
            doveadm: Doveadm {
                command: self.command.clone(),
                config: None,
            },
            public: PublicOwners::new(),
            wanted: Box::new(|_: &UserName| true),
            changes: Box::new(|| 0),
            table,
            outlet: Box::new(Pour(Arc::clone(&self.copy))),
            status: Arc::new(Mutex::new(SourceStatus::default())),
        };
        let source = DovecotSource::start(setup).map_err(|e| e.to_string())?;
        self.copy().source = Some(source.bodies());
        self.source = Some(source);
        Ok(String::new())
    }

    fn stop(&mut self) -> Answer {
        let source = self.source.take().ok_or("it doesn't run")?;
        source.commands().send(Command::Stop).map_err(|e| e.to_string())?;
        source.join().map_err(|e| e.to_string())?;
        Ok(String::new())
    }

    fn ask<T: Send + 'static>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, String> {
        let (reply, answer) = channel();
        let reply: Reply<T> = Box::new(move |result| drop(reply.send(result)));
        let source = self.source.as_ref().ok_or("it doesn't run")?;
        source.commands().send(command(reply)).map_err(|e| e.to_string())?;
        answer
            .recv_timeout(Duration::from_secs(120))
            .map_err(|e| e.to_string())?
    }

    fn verify(&self, deep: bool) -> Answer {
        let verified = self.ask(|reply| Command::Verify {
            user: None,
            mailbox: None,
            repair: false,
            deep,
            request: 1,
            reply,
        })?;
        let mut unequal = std::mem::take(&mut self.copy().unequal);
        let left_out = verified.left_out.iter();
        unequal.extend(left_out.map(|left| format!("{} {}: {}", left.user, left.mailbox, left.why)));
        if unequal.is_empty() {
            return Ok(format!("{} mailboxes are equal", verified.mailboxes));
        }
        Err(unequal.join("; "))
    }

    fn base(&self) -> Answer {
        self.copy().joiner = Model::default();
        self.copy().based = false;
        let source = self.source.as_ref().ok_or("it doesn't run")?;
        let command = Command::Base {
            peer: NodeName::from("joiner"),
            reason: "asked for".to_owned(),
        };
        source.commands().send(command).map_err(|e| e.to_string())?;
        for _ in 0..600 {
            std::thread::sleep(Duration::from_millis(100));
            let copy = self.copy();
            if copy.based {
                let equal = contents(&copy.model) == contents(&copy.joiner);
                let answer = if equal {
                    Ok("the joiner has the same")
                } else {
                    Err("the joiner has something else")
                };
                return answer.map(str::to_owned).map_err(str::to_owned);
            }
        }
        Err("no end of the base".to_owned())
    }

    fn command(&mut self, line: &str) -> Answer {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["start"] => self.start(),
            ["stop"] => self.stop(),
            ["sweep"] => self.ask(Command::Sweep).map(|lsn| lsn.to_string()),
            ["verify"] => self.verify(false),
            ["verify", "deep"] => self.verify(true),
            ["base"] => self.base(),
            ["dump", directory] => {
                self.ask(Command::Sweep)?;
                dump(&self.copy(), Path::new(directory)).map_err(|e| e.to_string())
            }
            ["print", word] => {
                self.copy().print = *word == "on";
                Ok(String::new())
            }
            _ => Err(format!("no such command: {line}")),
        }
    }
}

/// What a client sees, as digests: keywords have no order.
fn contents(model: &Model) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    for (user, account) in &model.accounts {
        contents.insert(user.to_string(), format!("{:?}", model.tree_digest(user)));
        for (guid, _) in account.mailboxes.iter().filter(|(_, mailbox)| mailbox.name.is_some()) {
            let id = MailboxId {
                user: user.clone(),
                guid: *guid,
            };
            contents.insert(id.to_string(), format!("{:?}", model.digest(&id)));
        }
    }
    contents
}

/// `truth.json` as the test bed's `mailtruth.py` writes it, but with the name of a file in place of a body's hash.
fn dump(copy: &Copy, directory: &Path) -> std::io::Result<String> {
    std::fs::create_dir_all(directory)?;
    let mut truth = Map::new();
    let mut bodies = 0_u32;
    for (user, account) in &copy.model.accounts {
        let mut boxes = Map::new();
        for (name, how) in &account.unselectable {
            let shown = match how.stale() {
                None => json!({"noselect": true}),
                Some(stale) => {
                    let code = if stale.nonexistent_code { "[NONEXISTENT] " } else { "" };
                    let error = format!("{code}Mailbox doesn't exist: {name} (0.001 + 0.000 secs).");
                    json!({"error": error, "guid": stale.guid.to_hex()})
                }
            };
            boxes.insert(encoded(name), shown);
        }
        for (guid, mailbox) in &account.mailboxes {
            let id = MailboxId {
                user: user.clone(),
                guid: *guid,
            };
            if let Some(name) = &mailbox.name {
                boxes.insert(encoded(name), dump_mailbox(copy, &id, mailbox, directory, &mut bodies)?);
            }
        }
        let subscriptions: BTreeSet<String> = account.subscribed.iter().map(encoded).collect();
        truth.insert(
            user.0.clone(),
            json!({"mailboxes": boxes, "subscriptions": subscriptions}),
        );
    }
    std::fs::write(directory.join("truth.json"), serde_json::to_vec(&truth)?)?;
    Ok(format!("{} users, {bodies} bodies, lsn {}", truth.len(), copy.lsn))
}

fn dump_mailbox(
    copy: &Copy,
    id: &MailboxId,
    mailbox: &Mailbox,
    directory: &Path,
    bodies: &mut u32,
) -> std::io::Result<Value> {
    let mut messages = Map::new();
    for (uid, message) in &mailbox.messages {
        let place = BodyPlace {
            mailbox: id.clone(),
            uidvalidity: mailbox.uidvalidity,
            uid: *uid,
        };
        let body = match copy.bodies.get(&place) {
            Some(Ok(octets)) => {
                *bodies += 1;
                let file = directory.join(format!("body-{bodies}"));
                std::fs::write(&file, octets)?;
                json!(file)
            }
            other => json!(format!("missing: {other:?}")),
        };
        messages.insert(uid.to_string(), dump_message(message, body));
    }
    let quarantine = mailbox
        .quarantine
        .is_open()
        .then(|| format!("{:?}", mailbox.quarantine));
    Ok(json!({
        "guid": id.guid.to_hex(), "uidvalidity": mailbox.uidvalidity.0, "uidnext": mailbox.uidnext.0,
        "highestmodseq": mailbox.highest_modseq.0, "messages": messages, "quarantine": quarantine,
    }))
}

fn dump_message(message: &Append, body: Value) -> Value {
    let set = Flags::NAMED.iter().filter(|(flag, _)| message.flags.contains(*flag));
    let mut flags: Vec<String> = set.map(|(_, name)| name.to_ascii_lowercase()).collect();
    flags.extend(message.keywords.iter().map(|keyword| keyword.0.clone()));
    flags.sort();
    json!({
        "flags": flags, "modseq": message.modseq.0.to_string(), "guid": message.guid.0, "body": body,
        "size": message.size, "date": message.internal_date, "saved": message.save_date,
    })
}

fn encoded(name: &MailboxName) -> String {
    name.0
        .iter()
        .map(|level| mutf7::encode(level))
        .collect::<Vec<_>>()
        .join("/")
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Where nobody reads any more nothing is left to say.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let command: Vec<String> = std::env::args().skip(1).collect();
    let mut session = Session {
        command,
        copy: Arc::default(),
        source: None,
    };
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match session.command(&line) {
            Ok(text) => say(&format!("ok {text}")),
            Err(why) => say(&format!("error {why}")),
        }
    }
}
