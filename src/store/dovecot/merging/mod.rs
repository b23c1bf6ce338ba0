//! Merges a lost tail into a running Dovecot that is primary and that clients use meanwhile (guarantee 12).
//!
//! What becomes of each thing decides [`crate::role::merge`], as it does for the embedded store; here stand the ways of
//! making it so. Capture sees what was made like any client's change, and that is how other standbys get it.
//!
//! | file | what it does |
//! |---|---|
//! | `account` | what the Dovecot has of one user now |
//! | `past` | what it had when this node became primary, and what was settled before |
//! | `arrivals` | messages: put into a mailbox of their own by dsync, which keeps GUID, date and flags, and moved from there by `doveadm`, which gives each its next UID |
//! | `changes` | flags, and expunges that were halves of moves |
//! | `names` | mailboxes and subscriptions |
//!
//! A Dovecot takes no operator's entry for a message that it still has, so what would take something away stays undone, and is
//! counted as *left*: the message is simply there. So do attributes.

mod account;
mod arrivals;
mod changes;
mod names;
mod past;

pub use past::Past;

use super::doveadm::Doveadm;
use super::dsync::Speaker;
use crate::op::{Append, MailboxId, Merged, Op, Payload, UidValidity};
use crate::role::merge::Tally;
use crate::store::change::{Changed, Reason, Refused, TailPiece, TailSink};
use past::Settled;
use std::fmt::Display;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Takes tails for one Dovecot, one piece at a time.
pub struct TailMerger {
    doveadm: Doveadm,
    speaker: OnceLock<Speaker>,
    past: Box<dyn Past>,
    settled: Mutex<Option<Settled>>,
}

impl TailMerger {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(doveadm: Doveadm, past: Box<dyn Past>) -> Self {
        Self {
            speaker: OnceLock::new(),
            doveadm,
            past,
            settled: Mutex::default(),
        }
    }

    fn speaker(&self) -> &Speaker {
        let speaker = || Speaker::new(self.doveadm.clone(), self.doveadm.socket());
        self.speaker.get_or_init(speaker)
    }

    fn made(&self, piece: &TailPiece, settled: &mut Settled) -> Result<Made, Refused> {
        let mut desk = Desk {
            merger: self,
            piece,
            settled,
        };
        match &piece.item.payload {
            Payload::Mailbox(txn) => {
                let tail = InMailbox {
                    is: &txn.mailbox,
                    uidvalidity: txn.uidvalidity,
                };
                match txn.ops.first() {
                    Some(Op::Append(_)) => desk.arrive(&tail, &txn.appends().collect::<Vec<&Append>>(), false),
                    Some(Op::Expunge(_)) => desk.expunge(&tail, &txn.ops),
                    Some(_) => desk.change(&tail, &txn.ops),
                    None => Ok(Made::default()),
                }
            }
            Payload::State(list) => {
                let tail = InMailbox {
                    is: &list.mailbox,
                    uidvalidity: list.uidvalidity,
                };
                desk.arrive(&tail, &list.messages.iter().collect::<Vec<_>>(), true)
            }
            Payload::Tree(change) if piece.item.created => desk.make(change),
            Payload::Tree(change) => desk.rename(change),
            Payload::Attributes(change) => {
                let mut made = Made::default();
                made.tally.attributes_left = u64::try_from(change.entries.len()).unwrap_or(u64::MAX);
                Ok(made)
            }
            other => Err(Refused {
                reason: Reason::Cannot,
                why: format!("a tail brings no {}", other.kind()),
            }),
        }
    }
}

impl TailSink for TailMerger {
    fn merge(&self, piece: TailPiece) -> Result<Changed, Refused> {
        let mut held = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = match held.as_mut() {
            Some(settled) => settled,
            None => held.insert(Settled::of(self.past.settled().map_err(unavailable)?)),
        };
        let made = self.made(&piece, settled)?;
        if !made.lacks.is_empty() {
            return Ok(Changed::Lacks(made.lacks));
        }
        let something = |key: &Merged| !key.appended.is_empty() || !key.expunged.is_empty();
        if let Some(key) = made.key.filter(something) {
            self.past.note(key.clone()).map_err(unavailable)?;
            settled.add(&key);
        }
        Ok(Changed::Merged(made.tally))
    }
}

/// What a piece became.
#[derive(Default)]
struct Made {
    key: Option<Merged>,
    lacks: Vec<crate::op::BodyName>,
    tally: Tally,
}

/// A piece at work.
struct Desk<'a> {
    merger: &'a TailMerger,
    piece: &'a TailPiece,
    settled: &'a mut Settled,
}

/// A mailbox as the tail names it.
struct InMailbox<'a> {
    is: &'a MailboxId,
    uidvalidity: UidValidity,
}

impl Desk<'_> {
    fn key(&self, tail: &InMailbox<'_>) -> Merged {
        Merged {
            stream: self.piece.stream,
            epoch: self.piece.epoch,
            mailbox: tail.is.clone(),
            uidvalidity: tail.uidvalidity,
            ..Merged::default()
        }
    }

    /// Runs `doveadm`, which must succeed.
    fn doveadm(&self, words: &[&str]) -> Result<String, Refused> {
        self.merger.doveadm.run(words).map_err(unavailable)
    }
}

fn unavailable(why: impl Display) -> Refused {
    Refused {
        reason: Reason::Unavailable,
        why: why.to_string(),
    }
}
