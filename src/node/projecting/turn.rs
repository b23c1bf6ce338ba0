//! One user's turn: what the mirror has and the Dovecot lacks is told, and what the Dovecot has and nobody told is kept
//! aside first and then undone.

use super::target::{Dovecot, TellError};
use super::turns::Ended;
use crate::limits::{DSYNC_FOREIGN_MAX, TELL_ROUNDS_MAX};
use crate::op::{Append, BodyPlace, Guid, MailboxId, MailboxName, MessageGuid, Uid, UidValidity, UserName};
use crate::store::dovecot::dsync::{Bodies, Delta, MailboxDelta, MailboxReading, Message, Outcome, Report, Wanted};
use crate::store::dovecot::fetch::Fetched;
use crate::store::embedded::mirror::{Foreign, Mirror, Telling};
use crate::store::source::{self, BodyAnswer};
use crate::store::target::TargetError;
use crate::telemetry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Error, Read};
use std::sync::Arc;

/// What came of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turned {
    pub(super) ended: Result<Ended, TellError>,
    /// Messages that somebody else had left there, and are kept now.
    pub(super) kept: u64,
    /// Messages of this user without a body.
    pub(super) left_out: usize,
}

/// Tells a user everything that is new.
pub(super) fn turn(mirror: &Mirror, dovecot: &mut dyn Dovecot, user: &UserName) -> Result<Turned, TargetError> {
    let mut turning = Turning {
        mirror,
        dovecot,
        user,
        replaceable: BTreeSet::new(),
        turned: Turned {
            ended: Ok(Ended::Told),
            kept: 0,
            left_out: 0,
        },
    };
    turning.turned.ended = turning.rounds()?;
    Ok(turning.turned)
}

struct Turning<'t> {
    mirror: &'t Mirror,
    dovecot: &'t mut dyn Dovecot,
    user: &'t UserName,
    /// Mailboxes of the Dovecot of which everything is kept.
    replaceable: BTreeSet<Guid>,
    turned: Turned,
}

/// What a round leaves to do.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    Done,
    Again,
    NotYet,
    Failed(String),
}

impl Turning<'_> {
    fn rounds(&mut self) -> Result<Result<Ended, TellError>, TargetError> {
        for _ in 0..TELL_ROUNDS_MAX {
            let Some(mut telling) = self.mirror.telling(self.user)? else {
                return Ok(Ok(Ended::Told));
            };
            self.turned.left_out = telling.left_out;
            if telling.incomplete && !telling.has_inbox() {
                return Ok(Ok(Ended::NotYet));
            }
            telling.delta.replaceable.extend(&self.replaceable);
            let mut bodies = Packed::of(self.mirror, &telling.delta);
            let report = match self.dovecot.tell(&telling.delta, &mut bodies) {
                Ok(report) => report,
                Err(TellError::Blocked { name, guid }) => {
                    if telling.incomplete {
                        return Ok(Ok(Ended::NotYet));
                    }
                    if let Err(error) = self.take_over(guid, &name, &[])? {
                        return Ok(Err(error));
                    }
                    continue;
                }
                Err(error) => return Ok(Err(error)),
            };
            self.mirror.acknowledge(&telling, &report)?;
            match self.judge(&telling, &report)? {
                Ok(Round::Done) if telling.more => return Ok(Ok(Ended::More)),
                Ok(Round::Done) if telling.lifts => return Ok(Ok(Ended::Lifts)),
                Ok(Round::Done) => return Ok(Ok(Ended::Told)),
                Ok(Round::Again) => {}
                Ok(Round::NotYet) => return Ok(Ok(Ended::NotYet)),
                Ok(Round::Failed(why)) => return Ok(Ok(Ended::Failed(why))),
                Err(error) => return Ok(Err(error)),
            }
        }
        let why = format!("the mail server still holds something else after {TELL_ROUNDS_MAX} attempts");
        Ok(Ok(Ended::Failed(why)))
    }

    fn judge(&mut self, telling: &Telling, report: &Report) -> Result<Result<Round, TellError>, TargetError> {
        let mut round = Round::Done;
        let mut lost = Vec::new();
        for complaint in &report.complaints {
            tracing::warn!(user = %telemetry::user(self.user), complaint, "the mail server complains");
        }
        for (guid, outcome) in &report.mailboxes {
            match outcome {
                Outcome::Acknowledged(_) => {}
                Outcome::Stale(why) => {
                    tracing::info!(user = %telemetry::user(self.user), mailbox = %guid, why, "told anew, as a whole");
                    lost.push(*guid);
                }
                Outcome::Differs { said, meanwhile } => {
                    tracing::warn!(user = %telemetry::user(self.user), mailbox = %guid, ?said, meanwhile, "the mail server holds something else than it was told: told anew, as a whole");
                    lost.push(*guid);
                }
                Outcome::Unknown(why) => round = Round::Failed(why.clone()),
                Outcome::Foreign { why, name, messages } => {
                    if telling.incomplete && !telling.has(*guid) {
                        // what is unknown there may be a mailbox whose list is still to come
                        round = Round::NotYet;
                        continue;
                    }
                    tracing::warn!(user = %telemetry::user(self.user), mailbox = %guid, why, messages = messages.len(), "somebody else wrote to this standby's mail server: kept, and undone there");
                    if let Err(error) = self.take_over(*guid, name, messages)? {
                        return Ok(Err(error));
                    }
                    lost.push(*guid);
                }
            }
        }
        self.mirror.forget(self.user, &lost)?;
        if !lost.is_empty() && round == Round::Done {
            round = Round::Again;
        }
        if round == Round::Done && !report.tree {
            round = Round::Failed("the mail server did not take the user's folders as they are".to_owned());
        }
        Ok(Ok(round))
    }

    /// From here on the mailbox may be overwritten: what nobody told of it is kept.
    fn take_over(
        &mut self,
        guid: Guid,
        name: &MailboxName,
        messages: &[(Uid, MessageGuid)],
    ) -> Result<Result<(), TellError>, TargetError> {
        let kept = self.keep(guid, name, messages)?;
        if kept.is_ok() {
            self.replaceable.insert(guid);
        }
        Ok(kept)
    }

    /// Keeps messages that nobody told; of a mailbox that is unknown as a whole, all of them.
    fn keep(
        &mut self,
        guid: Guid,
        name: &MailboxName,
        messages: &[(Uid, MessageGuid)],
    ) -> Result<Result<(), TellError>, TargetError> {
        let wanted = Wanted::Mailboxes([guid].into());
        let reading = match self.dovecot.read(self.user, &wanted) {
            Ok(reading) => reading.mailboxes,
            Err(error) => return Ok(Err(error)),
        };
        let Some(mailbox) = reading.get(&guid) else {
            return Ok(Ok(()));
        };
        let named: BTreeMap<Uid, &MessageGuid> = messages.iter().map(|(uid, guid)| (*uid, guid)).collect();
        // a list that may have been cut says nothing of the rest
        let all = named.is_empty() || named.len() >= DSYNC_FOREIGN_MAX;
        for message in mailbox.listed.iter().filter(|m| all || named.contains_key(&m.uid)) {
            let fetched = match self.dovecot.fetch(self.user, guid, message.uid) {
                Ok(Some(fetched)) => fetched,
                Ok(None) => continue,
                Err(error) => return Ok(Err(error)),
            };
            self.keep_one(guid, name, mailbox, message, &fetched)?;
        }
        Ok(Ok(()))
    }

    fn keep_one(
        &mut self,
        guid: Guid,
        name: &MailboxName,
        mailbox: &MailboxReading,
        message: &Message,
        fetched: &Fetched,
    ) -> Result<(), TargetError> {
        let foreign = Foreign {
            mailbox: MailboxId {
                user: self.user.clone(),
                guid,
            },
            name: name.clone(),
            uidvalidity: mailbox.uid_validity,
            message: Append {
                uid: message.uid,
                guid: message.guid.clone(),
                size: u64::try_from(fetched.octets.len()).ok(),
                internal_date: fetched.internal_date,
                save_date: message.save_date,
                flags: message.flags,
                keywords: message.keywords.clone(),
                modseq: message.modseq,
            },
        };
        self.mirror.keep_foreign(&foreign, &fetched.octets)?;
        self.turned.kept = self.turned.kept.saturating_add(1);
        Ok(())
    }
}

/// Bodies out of the mirror's packs.
struct Packed {
    packs: Arc<dyn source::Bodies>,
    uidvalidities: BTreeMap<Guid, UidValidity>,
}

impl Packed {
    fn of(mirror: &Mirror, delta: &Delta) -> Self {
        let uidvalidity = |mailbox: &MailboxDelta| (mailbox.guid, mailbox.uid_validity);
        Self {
            packs: mirror.bodies(),
            uidvalidities: delta.mailboxes.iter().map(uidvalidity).collect(),
        }
    }
}

impl Bodies for Packed {
    fn open(&mut self, user: &UserName, mailbox: Guid, message: &Message) -> std::io::Result<Box<dyn Read + '_>> {
        let place = BodyPlace {
            uidvalidity: self.uidvalidities.get(&mailbox).copied().unwrap_or_default(),
            mailbox: MailboxId {
                user: user.clone(),
                guid: mailbox,
            },
            uid: message.uid,
        };
        match self.packs.read(&[place], &message.guid, message.size) {
            BodyAnswer::Body(octets) => Ok(Box::new(Cursor::new(octets))),
            BodyAnswer::Missing(missing) => Err(Error::other(missing.why)),
        }
    }
}
