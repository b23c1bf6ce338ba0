//! APPEND (RFC 9051 section 6.3.12), MULTIAPPEND (RFC 3502), APPENDLIMIT (RFC 7889), REPLACE (RFC 8508).
//!
//! A message is judged when it is announced, before its octets come: whether it may come at all, whether its mailbox is
//! there, whether there is room for it.

use super::change::ranges;
use super::grammar::{self, Append, Arrival, Bad, Command, Replace, compact};
use super::session::{Reply, STANDBY, Session, State, Stop};
use crate::limits::{INTAKE_MESSAGE_BYTES_MAX, INTAKE_MESSAGES_MAX};
use crate::op::{MailboxName, Uid};
use crate::serve::room::Taken;
use crate::store::change::{Change, Changed, NewMessage, Reason, Refused};
use crate::store::dovecot::crlf;

/// What a session holds of a command whose messages are on their way.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Room for messages that were taken.
    rooms: Vec<Taken>,
    /// Why the command was refused before it was whole.
    refusal: Option<Reply>,
}

impl Intake {
    /// Why the command was refused, once.
    pub(super) fn refusal(&mut self) -> Option<Reply> {
        self.refusal.take()
    }

    /// The command is over.
    pub(super) fn clear(&mut self) {
        self.rooms.clear();
        self.refusal = None;
    }
}

impl Session {
    /// Decides whether an announced message is taken. `before`: the command up to the announcement, tag included.
    pub(super) async fn announced(&mut self, before: &[u8], octets: u64) -> Result<(), super::wire::Ended> {
        let judged = match self.judge(before, octets).await {
            Ok(()) => self.front.room.take(octets).await.ok_or_else(|| {
                let text = "[LIMIT] Too much mail is coming in just now; try again later";
                Stop::Reply(Reply::No(text.to_owned()))
            }),
            Err(stop) => Err(stop),
        };
        match judged {
            Ok(room) => {
                self.intake.rooms.push(room);
                if self.wire.take_message() {
                    self.wire.put("+ OK\r\n");
                }
            }
            Err(Stop::Ended(ended)) => return Err(ended),
            Err(Stop::Reply(reply)) => self.refuse(reply),
            Err(Stop::Answered) => self.refuse(Reply::Bad("Invalid arguments".to_owned())),
        }
        Ok(())
    }

    fn refuse(&mut self, reply: Reply) {
        self.intake.rooms.clear();
        self.intake.refusal = Some(reply);
        self.wire.refuse_message();
    }

    async fn judge(&mut self, before: &[u8], octets: u64) -> Result<(), Stop> {
        if matches!(self.state, State::NotAuthenticated) {
            return Err(Stop::Reply(Reply::Bad("Log in first".to_owned())));
        }
        if !self.is_primary() {
            return Err(Stop::Reply(Reply::No(STANDBY.to_owned())));
        }
        let command = before.splitn(2, |b| *b == b' ').nth(1).unwrap_or_default();
        let wrong = |Bad(why)| {
            let verb = grammar::verb(command);
            Stop::Reply(Reply::Bad(format!("Error in IMAP command {verb}: {why}")))
        };
        let (mailbox, number) = match grammar::parse(command).map_err(wrong)? {
            Command::Append(append) => (append.mailbox, append.messages.len()),
            Command::Replace(replace) => (replace.mailbox, 1),
            _ => return Err(Stop::Reply(Reply::Bad("Unexpected literal".to_owned()))),
        };
        if octets > INTAKE_MESSAGE_BYTES_MAX {
            let text = format!("[TOOBIG] Messages of more than {INTAKE_MESSAGE_BYTES_MAX} bytes are not taken");
            return Err(Stop::Reply(Reply::No(text)));
        }
        if number > INTAKE_MESSAGES_MAX {
            let text = format!("[LIMIT] More than {INTAKE_MESSAGES_MAX} messages at once");
            return Err(Stop::Reply(Reply::No(text)));
        }
        if number == 1 {
            self.know_separator().await?;
            let name = self.named(&mailbox)?;
            self.has_room_for(&name).await?;
        }
        Ok(())
    }

    /// The reply where there is no such mailbox: a client may make it and try again.
    async fn has_room_for(&self, name: &MailboxName) -> Result<(), Stop> {
        super::folders::check_name(name)?;
        let (user, wanted) = (self.user()?, name.clone());
        let found = self.read(move |view| view.mailbox(&user, &wanted)).await?;
        if found.is_some() {
            return Ok(());
        }
        let (reason, why) = (Reason::TryCreate, String::new());
        Err(self.refusal(&Refused { reason, why }, name))
    }

    pub(super) async fn append(&mut self, append: Append, octets: Vec<Vec<u8>>) -> Result<Reply, Stop> {
        let name = self.named(&append.mailbox)?;
        let messages = arrivals(append.messages, octets)?;
        let change = Change::Append {
            user: self.user()?,
            mailbox: name.clone(),
            messages,
        };
        let appended = self.change_of(&name, change).await?;
        self.refresh().await?;
        Reply::ok(format!("{}Append completed.", appended_code(&appended)))
    }

    pub(super) async fn replace(&mut self, replace: Replace, octets: Vec<Vec<u8>>) -> Result<Reply, Stop> {
        let uid = self.replaced(&replace)?;
        let name = self.named(&replace.mailbox)?;
        let mut messages = arrivals(vec![replace.message], octets)?;
        let Some(message) = messages.pop() else {
            return Reply::bad("Missing message");
        };
        let change = Change::Replace {
            mailbox: self.selected_id()?,
            uid,
            into: name.clone(),
            message,
        };
        let appended = self.change_of(&name, change).await?;
        let code = appended_code(&appended);
        self.wire.put(format!("* OK {code}Replacement message ready.\r\n"));
        self.refresh().await?;
        let code = self.highest_modseq_code()?;
        Reply::ok(format!("{code}Replace completed."))
    }

    /// The one message that a REPLACE names.
    fn replaced(&self, replace: &Replace) -> Result<Uid, Stop> {
        let no = |text: &str| Stop::Reply(Reply::No(text.to_owned()));
        let selected = self.selected()?;
        if !replace.uid && !replace.set.fits(selected.count()) {
            let text = "Error in IMAP command REPLACE: Invalid messageset";
            return Err(Stop::Reply(Reply::Bad(text.to_owned())));
        }
        if selected.examined {
            return Err(no("[READ-ONLY] Mailbox is read-only"));
        }
        let uids = selected.uids(&replace.set, replace.uid);
        match uids.as_slice() {
            [uid] => Ok(*uid),
            [] => Err(no("[NONEXISTENT] No such message")),
            _ => Err(Stop::Reply(Reply::Bad("REPLACE takes one message".to_owned()))),
        }
    }
}

/// The messages with their octets as IMAP shows them: each line ended by CRLF, no NUL.
fn arrivals(arrivals: Vec<Arrival>, octets: Vec<Vec<u8>>) -> Result<Vec<NewMessage>, Stop> {
    if arrivals.len() != octets.len() {
        let text = "Error in IMAP command APPEND: Missing message size";
        return Err(Stop::Reply(Reply::Bad(text.to_owned())));
    }
    if octets.iter().any(Vec::is_empty) {
        return Err(Stop::Reply(Reply::No("Can't save a zero byte message".to_owned())));
    }
    let message = |(arrival, octets): (Arrival, Vec<u8>)| NewMessage {
        octets: crlf::into_crlf(octets).into(),
        flags: arrival.flags.flags,
        keywords: arrival.flags.keywords,
        internal_date: arrival.date,
    };
    Ok(arrivals.into_iter().zip(octets).map(message).collect())
}

/// `[APPENDUID 38505 3955:3957] ` (RFC 4315).
fn appended_code(changed: &Changed) -> String {
    let Changed::Appended { uidvalidity, uids, .. } = changed else {
        return String::new();
    };
    let uids: Vec<u32> = ranges(uids).iter().flat_map(|r| r.first.0..=r.last.0).collect();
    format!("[APPENDUID {uidvalidity} {}] ", compact(&uids))
}
