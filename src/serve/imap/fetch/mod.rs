//! FETCH (RFC 9051 section 6.4.5). On a primary reading a body makes its message seen; on a standby it marks nothing.
//!
//! What the mailbox's listing has (UID, flags, MODSEQ) is answered from it. All else is read in batches, the next one
//! while the answer before is written, and a client that reads slowly stops both: a session holds two batches, whatever
//! it fetches.

mod render;

use super::grammar::{Fetch, Item};
use super::session::{Reply, Session, Stop};
use crate::limits::{READ_MESSAGES, READ_OCTETS};
use crate::op::{Flags, Uid};
use crate::store::embedded::view::{Listing, MailboxKey};
pub(super) use render::email_id;
use render::{Batch, Line, Words};
use std::ops::Range;
use std::sync::Arc;

impl Session {
    pub(super) async fn fetch(&mut self, fetch: Fetch) -> Result<Reply, Stop> {
        let selected = self.selected()?;
        if !fetch.uid && !fetch.set.fits(selected.count()) {
            return Reply::bad("Error in IMAP command FETCH: Invalid messageset");
        }
        if fetch.vanished && !self.enabled.qresync {
            return Reply::bad("QRESYNC not enabled");
        }
        if fetch.items.contains(&Item::Modseq) {
            self.knows_modseqs();
        }
        let places = self.selected()?.places(&fetch.set, fetch.uid);
        let seen = self.see_what_is_read(&fetch, &places).await?;
        let selected = self.selected()?;
        let (listing, key) = (Arc::clone(&selected.listing), selected.row.key);
        if let Some(since) = fetch.changed_since.filter(|_| fetch.vanished) {
            self.vanished(since, Some(&fetch.set)).await?;
        }
        let reply = if fetch.items.iter().any(|item| item.reads().is_some()) {
            let asked = Asked {
                fetch: fetch.clone(),
                seen,
                modseqs: self.enabled.condstore,
            };
            self.fetch_batches(key, &listing, places, &Arc::new(asked)).await?
        } else {
            self.fetch_marks(&listing, &places, &fetch.items, fetch.changed_since)
                .await?;
            Reply::Ok("Fetch completed.".to_owned())
        };
        if fetch.uid {
            self.refresh().await?;
        }
        Ok(reply)
    }

    /// Makes the messages seen whose bodies are asked for; which of them were not.
    async fn see_what_is_read(&mut self, fetch: &Fetch, places: &[Range<usize>]) -> Result<Vec<Uid>, Stop> {
        if !self.may_write() || !fetch.items.iter().any(Item::sees) {
            return Ok(Vec::new());
        }
        let listing = Arc::clone(&self.selected()?.listing);
        let marks = places.iter().cloned().flatten().filter_map(|place| listing.get(place));
        let asked = marks.filter(|mark| fetch.changed_since.is_none_or(|since| mark.modseq.0 > since));
        let unseen = asked.filter(|mark| !mark.flags.contains(Flags::SEEN));
        let unseen = unseen.map(|mark| mark.uid).collect();
        self.see(unseen, fetch.uid).await
    }

    /// Answers items that the listing has.
    pub(super) async fn fetch_marks(
        &mut self,
        listing: &Listing,
        places: &[Range<usize>],
        items: &[Item],
        changed_since: Option<u64>,
    ) -> Result<(), Stop> {
        let mut words = Words::default();
        for place in places.iter().cloned().flatten() {
            let Some(mark) = listing.get(place) else { continue };
            if changed_since.is_some_and(|since| mark.modseq.0 <= since) {
                continue;
            }
            let answer = self.wire.answer();
            let mut line = Line::begin(answer, place);
            for item in items {
                words.mark(&mut line, item, mark);
            }
            line.end();
            self.wire.room().await?;
        }
        Ok(())
    }

    /// Answers items that must be read.
    async fn fetch_batches(
        &mut self,
        key: MailboxKey,
        listing: &Arc<Listing>,
        places: Vec<Range<usize>>,
        asked: &Arc<Asked>,
    ) -> Result<Reply, Stop> {
        let mut queue = Queue {
            places,
            listing: Arc::clone(listing),
            changed_since: asked.fetch.changed_since,
        };
        let (mut gone, mut pending, mut undecodable) = (false, false, false);
        let first = queue.next();
        let mut reading = Some(self.read_batch(key, listing, first, asked));
        while let Some(read) = reading.take() {
            let batch = read.await?;
            queue.put_back(&batch.left);
            let next = queue.next();
            if !next.is_empty() {
                reading = Some(self.read_batch(key, listing, next, asked));
            }
            gone |= batch.gone;
            pending |= batch.pending;
            undecodable |= batch.undecodable;
            for piece in &batch.pieces {
                self.wire.stream(piece.bytes()).await?;
            }
        }
        Ok(match (gone, pending, undecodable) {
            (true, ..) => Reply::No("[EXPUNGEISSUED] Some of the requested messages no longer exist.".to_owned()),
            (_, true, _) => {
                let here = if self.is_primary() { "here" } else { "on this standby" };
                Reply::No(format!(
                    "[UNAVAILABLE] The content of some messages has not arrived {here}"
                ))
            }
            (.., true) => Reply::No("[UNKNOWN-CTE] FETCH BINARY[] can't decode a part's encoding".to_owned()),
            _ => Reply::Ok("Fetch completed.".to_owned()),
        })
    }

    fn read_batch(
        &self,
        key: MailboxKey,
        listing: &Arc<Listing>,
        places: Vec<usize>,
        asked: &Arc<Asked>,
    ) -> impl Future<Output = Result<Batch, Stop>> + Send + use<> {
        let (listing, asked) = (Arc::clone(listing), Arc::clone(asked));
        self.reading(move |view| Batch::read(view, key, &listing, &places, &asked))
    }
}

/// What is answered of each message.
struct Asked {
    fetch: Fetch,
    /// Messages that this command made seen: their flags are told, asked for or not. Ascending.
    seen: Vec<Uid>,
    /// True where the client is told MODSEQs with flags.
    modseqs: bool,
}

/// Messages that are still to be answered.
struct Queue {
    places: Vec<Range<usize>>,
    listing: Arc<Listing>,
    changed_since: Option<u64>,
}

impl Queue {
    /// The next ones, at most [`READ_MESSAGES`]; empty at the end.
    fn next(&mut self) -> Vec<usize> {
        let mut next = Vec::new();
        let mut done = 0;
        for range in &mut self.places {
            for place in range.by_ref() {
                let mark = self.listing.get(place);
                let changed = |m: u64| self.changed_since.is_none_or(|since| m > since);
                if mark.is_some_and(|mark| changed(mark.modseq.0)) {
                    next.push(place);
                }
                if next.len() >= READ_MESSAGES {
                    break;
                }
            }
            if range.start < range.end {
                break;
            }
            done += 1;
        }
        self.places.drain(..done);
        next
    }

    /// Takes back those that a batch had no room for.
    fn put_back(&mut self, left: &[usize]) {
        let single = left.iter().map(|place| *place..place.saturating_add(1));
        self.places.splice(..0, single);
    }
}

/// Octets after which a batch is full.
const FULL: usize = READ_OCTETS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::imap::tests::memory::rows;

    #[test]
    fn a_batch_that_was_cut_short_loses_no_message() {
        let listing = Arc::new(rows(1000));
        let mut queue = Queue {
            places: vec![0..300, 500..501, 700..1000],
            listing,
            changed_since: None,
        };
        let first = queue.next();
        assert_eq!((first.len(), first.first()), (READ_MESSAGES, Some(&0)));
        queue.put_back(&first[2..]);
        let mut seen = first[..2].to_vec();
        loop {
            let next = queue.next();
            if next.is_empty() {
                break;
            }
            seen.extend(next);
        }
        let expected: Vec<usize> = (0..300).chain(500..501).chain(700..1000).collect();
        assert_eq!(seen, expected);
    }
}
