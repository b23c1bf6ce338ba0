//! The selected mailbox as its client knows it, and how the client hears of what changed since.

use super::answer;
use super::grammar::{SequenceSet, compact};
use super::session::{Enabled, Session, Stop};
use super::wire::Ended;
use crate::op::Uid;
use crate::store::embedded::view::{Listing, MailboxRow, Mark, Opening, ViewError};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Messages that are on their way from the store.
pub(super) type Coming = JoinHandle<Result<Option<Arc<Listing>>, ViewError>>;

/// What was told to the client. Message numbers are places in `listing`, from 1.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) row: MailboxRow,
    pub(super) listing: Arc<Listing>,
    /// What the last search with SAVE found.
    pub(super) saved: Arc<Vec<Uid>>,
    /// Hears of changes.
    pub(super) changes: watch::Receiver<u64>,
    /// How many of the mailbox's keywords FLAGS has named.
    keywords: usize,
    coming: Option<Coming>,
}

impl Selected {
    /// A mailbox that was just opened and whose messages still come.
    pub(super) fn new(opening: &Opening, coming: Coming, changes: watch::Receiver<u64>) -> Self {
        Self {
            row: opening.row.clone(),
            listing: Arc::new(Listing::of_none(opening.row.clone())),
            saved: Arc::default(),
            changes,
            keywords: opening.keywords.len(),
            coming: Some(coming),
        }
    }

    /// Number of messages.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.listing.len()).unwrap_or(u32::MAX)
    }

    /// The highest UID, 0 in an empty mailbox.
    pub(super) fn last_uid(&self) -> Uid {
        self.listing.uids().last().copied().unwrap_or_default()
    }

    /// Places of the messages that the set names, ascending.
    pub(super) fn places(&self, set: &SequenceSet, uid: bool) -> Vec<Range<usize>> {
        if *set == SequenceSet::Saved {
            let uids = self.saved.iter().map(|uid| uid.0..=uid.0);
            return self.places_of(uids);
        }
        if uid {
            return self.places_of(set.resolve(self.last_uid().0).into_iter());
        }
        let place = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let ranges = set.resolve(self.count()).into_iter();
        let places = ranges.map(|r| place(*r.start()).saturating_sub(1)..place(*r.end()).min(self.listing.len()));
        places.filter(|range| !range.is_empty()).collect()
    }

    /// Places of messages whose UID is in one of the ascending `ranges`.
    fn places_of(&self, ranges: impl Iterator<Item = RangeInclusive<u32>>) -> Vec<Range<usize>> {
        let uids = self.listing.uids();
        let mut places: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            let first = uids.partition_point(|uid| uid.0 < *range.start());
            let end = uids.partition_point(|uid| uid.0 <= *range.end());
            match places.last_mut() {
                Some(before) if before.end == first => before.end = end.max(first),
                _ if first < end => places.push(first..end),
                _ => {}
            }
        }
        places
    }

    /// Takes a newer picture and returns what the client must hear of it.
    pub(super) fn advance(&mut self, listing: Arc<Listing>, condstore: bool) -> News {
        let (gone, kept) = self.gone(&listing);
        let differs = |before: usize, new: Mark<'_>| {
            let old = self.listing.get(before);
            let flags = |old: Mark<'_>| old.flags != new.flags || old.keywords != new.keywords;
            old.is_some_and(|old| flags(old) || (condstore && old.modseq != new.modseq))
        };
        let places = kept.iter().zip(listing.iter()).enumerate();
        let changed = places.filter(|(_, (before, new))| differs(**before, *new));
        let changed = changed.map(|(place, _)| place).collect();
        let uids = |places: &[usize]| -> Vec<Uid> {
            places
                .iter()
                .filter_map(|p| self.listing.uids().get(*p).copied())
                .collect()
        };
        let news = News {
            gone_uids: uids(&gone),
            gone,
            exists: (listing.len() > kept.len()).then_some(listing.len()),
            keywords: listing.keywords().len() > self.keywords,
            changed,
        };
        self.row = listing.row.clone();
        self.keywords = listing.keywords().len();
        self.listing = listing;
        news
    }

    /// Places that are gone, and places that are still there. IMAP has no word for a message that turns up before
    /// others: from there on all are announced as gone and come again as new.
    fn gone(&self, listing: &Listing) -> (Vec<usize>, Vec<usize>) {
        let (mut gone, mut kept) = (Vec::new(), Vec::with_capacity(self.listing.len()));
        let mut new = listing.uids().iter().peekable();
        let mut inserted = false;
        for (place, old) in self.listing.uids().iter().enumerate() {
            inserted |= new.peek().is_some_and(|uid| *uid < old);
            if !inserted && new.next_if_eq(&old).is_some() {
                kept.push(place);
            } else {
                gone.push(place);
            }
        }
        (gone, kept)
    }
}

/// What a client must hear of a newer picture.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Places in the old picture, ascending.
    gone: Vec<usize>,
    gone_uids: Vec<Uid>,
    /// The new number of messages.
    exists: Option<usize>,
    /// There are keywords that FLAGS has not named.
    keywords: bool,
    /// Places in the new picture whose flags are others.
    changed: Vec<usize>,
}

/// `* FLAGS (…)`; the order is that of Dovecot's bits, as in every FETCH.
pub(super) fn flags_line(keywords: &[crate::op::Keyword]) -> String {
    let all = crate::op::Flags::from_bits(u8::MAX);
    format!("* FLAGS ({})\r\n", answer::flags(all, keywords))
}

impl Session {
    /// Waits for the messages of a mailbox that was just selected.
    pub(super) async fn arrive(&mut self) -> Result<(), Stop> {
        let Ok(selected) = self.selected_mut() else {
            return Ok(());
        };
        let Some(coming) = selected.coming.take() else {
            return Ok(());
        };
        match coming.await {
            Ok(Ok(Some(listing))) => {
                selected.listing = listing;
                Ok(())
            }
            Ok(Ok(None)) => Err(Ended::Bye("Mailbox was deleted under us.".to_owned()).into()),
            Ok(Err(error)) => Err(unread(&error)),
            Err(error) => Err(unread(&ViewError(error.to_string()))),
        }
    }

    /// Tells the client what changed in the selected mailbox. A mailbox that is gone, or has become another one, ends
    /// the session, as Dovecot does: IMAP has no other way to say so.
    pub(super) async fn refresh(&mut self) -> Result<(), Stop> {
        self.arrive().await?;
        let Ok(selected) = self.selected_mut() else {
            return Ok(());
        };
        if !selected.changes.has_changed().unwrap_or(true) {
            return Ok(());
        }
        selected.changes.mark_unchanged();
        let (key, uidvalidity) = (selected.row.key, selected.row.uidvalidity);
        let fresh = self.read(move |view| view.listing(key)).await?;
        let same = |listing: &Arc<Listing>| listing.row.uidvalidity == uidvalidity;
        let Some(fresh) = fresh.filter(same) else {
            return Err(Ended::Bye("Mailbox was deleted under us.".to_owned()).into());
        };
        let enabled = self.enabled;
        let selected = self.selected_mut()?;
        if Arc::ptr_eq(&fresh, &selected.listing) {
            return Ok(());
        }
        let news = selected.advance(Arc::clone(&fresh), enabled.condstore);
        self.tell(&news, &fresh).await
    }

    async fn tell(&mut self, news: &News, listing: &Listing) -> Result<(), Stop> {
        let enabled = self.enabled;
        if enabled.qresync && !news.gone_uids.is_empty() {
            let uids: Vec<u32> = news.gone_uids.iter().map(|uid| uid.0).collect();
            self.wire.put(format!("* VANISHED {}\r\n", compact(&uids)));
        } else {
            // from the last, so that numbers stay true
            for place in news.gone.iter().rev() {
                self.wire
                    .stream(format!("* {} EXPUNGE\r\n", place.saturating_add(1)).as_bytes())
                    .await?;
            }
        }
        if let Some(count) = news.exists {
            let recent = if enabled.rev2 { "" } else { "* 0 RECENT\r\n" };
            self.wire.put(format!("* {count} EXISTS\r\n{recent}"));
        }
        if news.keywords {
            self.wire.put(flags_line(listing.keywords()));
        }
        for place in &news.changed {
            if let Some(mark) = listing.get(*place) {
                let line = changed(place.saturating_add(1), mark, enabled);
                self.wire.stream(line.as_bytes()).await?;
            }
        }
        Ok(())
    }
}

fn unread(error: &ViewError) -> Stop {
    tracing::error!(%error, "a selected mailbox could not be read");
    Ended::Bye("The store can't be read just now.".to_owned()).into()
}

/// `* n FETCH (…)` of a message whose flags changed.
fn changed(number: usize, mark: Mark<'_>, enabled: Enabled) -> String {
    let uid = if enabled.qresync {
        format!("UID {} ", mark.uid)
    } else {
        String::new()
    };
    let modseq = if enabled.condstore {
        format!("MODSEQ ({}) ", mark.modseq)
    } else {
        String::new()
    };
    let flags = answer::flags(mark.flags, mark.keywords);
    format!("* {number} FETCH ({uid}{modseq}FLAGS ({flags}))\r\n")
}
