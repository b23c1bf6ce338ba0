//! SELECT and EXAMINE (RFC 9051 sections 6.3.2 and 6.3.3; CONDSTORE and QRESYNC of RFC 7162). On a standby both open
//! read-only.
//!
//! What is told of a mailbox at once comes from its numbers; its messages are read meanwhile, for the next command.

use super::answer;
use super::grammar::{Item, Known, Select, SequenceSet, compact};
use super::mutf7::Script;
use super::selected::{Selected, flags_line, permanent_flags};
use super::session::{Enabled, Reply, Session, State, Stop};
use crate::op::{MailboxName, Modseq, Uid};
use crate::store::embedded::view::{Listing, Opening};
use std::ops::RangeInclusive;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

impl Session {
    pub(super) async fn select(&mut self, select: Select) -> Result<Reply, Stop> {
        if select.known.is_some() && !self.enabled.qresync {
            return Reply::bad("QRESYNC not enabled.");
        }
        // whatever comes of it, the mailbox before is no longer selected
        if let State::Selected(user, _) = &self.state {
            self.state = State::Authenticated(user.clone());
            self.wire.put("* OK [CLOSED] Previous mailbox closed.\r\n");
        }
        let name = self.named(&select.mailbox)?;
        if select.condstore {
            self.knows_modseqs();
        }
        let Some(opening) = self.open(&name, select.examine).await? else {
            self.find(&name).await?;
            return Reply::no("[NONEXISTENT] The mailbox has just been deleted");
        };
        let greeting = greeting(&name, &opening, (self.enabled, self.may_write()), self.script());
        self.wire.put(greeting);
        if let Some(known) = select.known.filter(|k| k.uidvalidity == opening.row.uidvalidity.0) {
            self.arrive().await?;
            self.resynchronise(&known).await?;
        }
        let verb = if select.examine { "Examine" } else { "Select" };
        let access = if self.may_write() { "READ-WRITE" } else { "READ-ONLY" };
        Reply::ok(format!("[{access}] {verb} completed."))
    }

    /// Selects the mailbox as soon as its numbers are known; none where there is no such mailbox.
    async fn open(&mut self, name: &MailboxName, examine: bool) -> Result<Option<Opening>, Stop> {
        let (user, view, wanted) = (self.user()?, Arc::clone(&self.front.view), name.clone());
        let (tell, told) = oneshot::channel::<(Opening, watch::Receiver<u64>)>();
        let owner = user.clone();
        let coming = tokio::task::spawn_blocking(move || {
            let mut tell = Some(tell);
            view.open(&owner, &wanted, &mut |opening| {
                let mut changes = view.watch(opening.row.key);
                // a change between the reading and the watching must not be missed
                changes.mark_changed();
                if let Some(tell) = tell.take() {
                    // a session that ended meanwhile doesn't hear it
                    drop(tell.send((opening, changes)));
                }
            })
        });
        match told.await {
            Ok((opening, changes)) => {
                self.state = State::Selected(user, Selected::new(&opening, coming, changes, examine));
                Ok(Some(opening))
            }
            Err(_) => self.reading(move |_| Ok(())).await.map(|()| None),
        }
    }

    /// Tells a returning client what vanished and what changed since it was here.
    async fn resynchronise(&mut self, known: &Known) -> Result<(), Stop> {
        self.vanished(known.modseq, known.uids.as_ref()).await?;
        let selected = self.selected()?;
        let listing = Arc::clone(&selected.listing);
        let every = SequenceSet::every();
        let places = selected.places(known.uids.as_ref().unwrap_or(&every), true);
        let items = [Item::Uid, Item::Flags, Item::Modseq];
        self.fetch_marks(&listing, &places, &items, Some(known.modseq)).await
    }

    /// `* VANISHED (EARLIER) …`: UIDs that are gone under a higher MODSEQ than `since`, of those asked about. Where
    /// expunges of that time are not known, all UIDs that might have been.
    pub(super) async fn vanished(&mut self, since: u64, within: Option<&SequenceSet>) -> Result<(), Stop> {
        let selected = self.selected()?;
        let (row, listing) = (selected.row.clone(), Arc::clone(&selected.listing));
        if since >= row.highest_modseq.0 {
            return Ok(());
        }
        let last = row.uidnext.0.saturating_sub(1);
        let within = within.map_or_else(|| vec![1..=last], |uids| uids.resolve(selected.last_uid().0));
        let text = if since >= row.expunged_since.0 {
            let gone = self.read(move |view| view.vanished(row.key, Modseq(since))).await?;
            let asked = |uid: &&Uid| within.iter().any(|range| range.contains(&uid.0));
            let there = |uid: &&Uid| listing.uids().binary_search(uid).is_ok();
            let gone = gone.iter().filter(|uid| asked(uid) && !there(uid)).map(|uid| uid.0);
            compact(&gone.collect::<Vec<_>>())
        } else {
            gaps(&listing, &within, last)
        };
        if !text.is_empty() {
            self.wire.put(format!("* VANISHED (EARLIER) {text}\r\n"));
        }
        Ok(())
    }
}

/// UIDs within the ranges and up to `last` that no message has, as a set.
fn gaps(listing: &Listing, within: &[RangeInclusive<u32>], last: u32) -> String {
    let mut gaps: Vec<String> = Vec::new();
    let mut gap = |first: u32, end: u32| match end.checked_sub(first) {
        None => {}
        Some(0) => gaps.push(first.to_string()),
        Some(_) => gaps.push(format!("{first}:{end}")),
    };
    for range in within {
        let end = *range.end().min(&last);
        let mut next = *range.start();
        let from = listing.uids().partition_point(|uid| uid.0 < next);
        for uid in listing.uids().iter().skip(from).take_while(|uid| uid.0 <= end) {
            gap(next, uid.0.saturating_sub(1));
            next = uid.0.saturating_add(1);
        }
        gap(next, end);
    }
    gaps.join(",")
}

/// What the client is told of a mailbox that it enters.
fn greeting(name: &MailboxName, opening: &Opening, (enabled, may_write): (Enabled, bool), script: Script) -> Vec<u8> {
    let row = &opening.row;
    let permanent = if may_write {
        permanent_flags(&opening.keywords)
    } else {
        "* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n".to_owned()
    };
    let old = |line: String| if enabled.rev2 { String::new() } else { line };
    let unseen = opening.first_unseen;
    let unseen = unseen.map(|number| format!("* OK [UNSEEN {number}] First unseen.\r\n"));
    let lines = [
        flags_line(&opening.keywords),
        permanent,
        format!("* {} EXISTS\r\n", row.messages),
        old("* 0 RECENT\r\n".to_owned()),
        old(unseen.unwrap_or_default()),
        format!("* OK [UIDVALIDITY {}] UIDs valid\r\n", row.uidvalidity),
        format!("* OK [UIDNEXT {}] Predicted next UID\r\n", row.uidnext),
        format!("* OK [HIGHESTMODSEQ {}] Highest\r\n", row.highest_modseq),
        format!("* OK [MAILBOXID ({})] Mailbox id\r\n", row.guid.to_hex()),
    ];
    let mut greeting = lines.concat().into_bytes();
    if enabled.rev2 {
        greeting.extend_from_slice(format!("* LIST () {} ", answer::separator(script.separator)).as_bytes());
        greeting.extend_from_slice(&answer::name(name, script));
        greeting.extend_from_slice(b"\r\n");
    }
    greeting
}
