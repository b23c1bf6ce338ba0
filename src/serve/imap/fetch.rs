//! FETCH (RFC 9051 section 6.4.5). Reading marks nothing as seen: this side is read-only. Answers leave message by
//! message, so a client that fetches a whole mailbox costs the memory of one message.

use super::answer;
use super::grammar::{Fetch, Item};
use super::mail::{self, Piece};
use super::selected::Selected;
use super::session::{Reply, Session, Stop};
use crate::op::Uid;
use crate::store::embedded::view::{MailboxKey, MessageRow};
use std::sync::Arc;

impl Session {
    pub(super) async fn fetch(&mut self, fetch: Fetch) -> Result<Reply, Stop> {
        let selected = self.selected()?;
        if !fetch.uid && !fetch.set.fits(selected.count()) {
            return Reply::bad("Error in IMAP command FETCH: Invalid messageset");
        }
        self.condstore |= fetch.items.contains(&Item::Modseq);
        let selected = self.selected()?.clone();
        let fetch = Arc::new(fetch);
        let mut missed = Vec::new();
        for place in places(&selected, &fetch) {
            let Some(message) = selected.messages.get(place) else {
                continue;
            };
            if fetch.changed_since.is_none_or(|since| message.modseq.0 > since) {
                let number = place.saturating_add(1);
                self.fetch_one(selected.row.key, number, message, &fetch, &mut missed)
                    .await?;
            }
        }
        if fetch.uid {
            self.refresh().await?;
        }
        if !missed.is_empty() {
            return self.say_missed(selected.row.key, missed).await;
        }
        Reply::ok("Fetch completed.")
    }

    async fn fetch_one(
        &mut self,
        key: MailboxKey,
        number: usize,
        message: &MessageRow,
        fetch: &Arc<Fetch>,
        missed: &mut Vec<Uid>,
    ) -> Result<(), Stop> {
        let mut words: Vec<String> = fetch.items.iter().filter_map(|item| word(item, message)).collect();
        if message.size.is_none() && fetch.items.contains(&Item::Size) {
            // the source didn't tell the size: the octets do, once they are here
            match self.size(key, message.uid).await? {
                Some(size) => words.push(format!("RFC822.SIZE {size}")),
                None => missed.push(message.uid),
            }
        }
        let pieces = match self.pieces(key, message.uid, fetch).await? {
            Some(pieces) => pieces,
            None => {
                missed.push(message.uid);
                Vec::new()
            }
        };
        if words.is_empty() && pieces.is_empty() {
            return Ok(());
        }
        self.wire.put(format!("* {number} FETCH ({}", words.join(" ")));
        for (n, piece) in pieces.iter().enumerate() {
            let between = matches!(piece, Piece::Item(_)) && (n > 0 || !words.is_empty());
            if between {
                self.wire.put(" ");
            }
            self.wire.stream(piece.bytes()).await?;
        }
        self.wire.stream(b")\r\n").await?;
        Ok(())
    }

    /// What the octets say; none where they are not here.
    async fn pieces(&self, key: MailboxKey, uid: Uid, fetch: &Arc<Fetch>) -> Result<Option<Vec<Piece>>, Stop> {
        if !fetch.items.iter().any(Item::needs_body) {
            return Ok(Some(Vec::new()));
        }
        let fetch = Arc::clone(fetch);
        self.read(move |view| Ok(view.body(key, uid)?.map(|octets| mail::pieces(&octets, &fetch.items))))
            .await
    }

    async fn size(&self, key: MailboxKey, uid: Uid) -> Result<Option<usize>, Stop> {
        self.read(move |view| Ok(view.body(key, uid)?.map(|octets| octets.len())))
            .await
    }

    /// Tells messages that were expunged meanwhile from those whose octets have not come.
    async fn say_missed(&self, key: MailboxKey, missed: Vec<Uid>) -> Result<Reply, Stop> {
        let expunged = self.read(move |view| {
            let there = view.messages(key)?.map(|(_, messages)| messages).unwrap_or_default();
            Ok(missed
                .iter()
                .any(|uid| there.binary_search_by_key(uid, |m| m.uid).is_err()))
        });
        if expunged.await? {
            return Reply::no("[EXPUNGEISSUED] Some of the requested messages no longer exist.");
        }
        Reply::no("[UNAVAILABLE] The content of some messages has not arrived on this standby")
    }
}

/// Places of the messages that the set names, ascending.
fn places(selected: &Selected, fetch: &Fetch) -> Vec<usize> {
    if fetch.uid {
        return uid_places(selected, &fetch.set.resolve(selected.last_uid().0));
    }
    let ranges = fetch.set.resolve(selected.count());
    let numbers = ranges.into_iter().flatten();
    numbers
        .filter_map(|n| usize::try_from(n).ok()?.checked_sub(1))
        .collect()
}

/// Places of messages whose UID is in one of `ranges`.
pub(super) fn uid_places(selected: &Selected, ranges: &[std::ops::RangeInclusive<u32>]) -> Vec<usize> {
    let mut places = Vec::new();
    for range in ranges {
        let first = selected.messages.partition_point(|m| m.uid.0 < *range.start());
        let end = selected.messages.partition_point(|m| m.uid.0 <= *range.end());
        places.extend(first..end);
    }
    places
}

/// An item that needs no octets, as it is answered; none for the others, and for a size that isn't known.
fn word(item: &Item, message: &MessageRow) -> Option<String> {
    Some(match item {
        Item::Uid => format!("UID {}", message.uid),
        Item::Flags => format!("FLAGS ({})", answer::flags(message.flags, &message.keywords)),
        Item::InternalDate => format!("INTERNALDATE {}", answer::date_time(message.internal_date)),
        Item::Size => format!("RFC822.SIZE {}", message.size?),
        Item::Modseq => format!("MODSEQ ({})", message.modseq),
        Item::SaveDate => match message.save_date {
            Some(at) => format!("SAVEDATE {}", answer::date_time(at)),
            None => "SAVEDATE NIL".to_owned(),
        },
        Item::Guid => {
            let mut guid = Vec::new();
            answer::astring(&mut guid, message.guid.as_str().as_bytes());
            format!("X-GUID {}", String::from_utf8_lossy(&guid))
        }
        Item::Envelope | Item::Body | Item::BodyStructure | Item::Section(_) => return None,
    })
}
