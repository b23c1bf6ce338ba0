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
    /// Opened by EXAMINE: this session changes nothing in it.
    pub(super) examined: bool,
    /// How many of the mailbox's keywords FLAGS has named.
    keywords: usize,
    coming: Option<Coming>,
}

impl Selected {
    /// A mailbox that was just opened and whose messages still come.
    pub(super) fn new(opening: &Opening, coming: Coming, changes: watch::Receiver<u64>, examined: bool) -> Self {
        Self {
            row: opening.row.clone(),
            listing: Arc::new(Listing::of_none(opening.row.clone(), opening.keywords.clone())),
            saved: Arc::default(),
            changes,
            examined,
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

    /// UIDs of the messages that the set names, ascending.
    pub(super) fn uids(&self, set: &SequenceSet, uid: bool) -> Vec<Uid> {
        let uids = self.listing.uids();
        let places = self.places(set, uid).into_iter();
        places
            .flat_map(|range| uids.get(range).unwrap_or_default())
            .copied()
            .collect()
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

    /// Takes a newer picture and returns what the client must hear of it. Where it `keeps` its numbers, messages that are
    /// gone stay until it may hear of them; none where nothing can be told before that.
    pub(super) fn advance(&mut self, newer: Arc<Listing>, condstore: bool, keeps: bool) -> Option<News> {
        if newer.continues(&self.listing) {
            return Some(self.go_on(newer, condstore));
        }
        let (mut gone, mut kept, inserted) = self.gone(&newer);
        let mut listing = newer;
        if keeps && !gone.is_empty() {
            if inserted {
                return None;
            }
            listing = Arc::new(listing.keeping(&self.listing));
            gone.clear();
            kept = (0..self.listing.len()).collect();
        }
        let differs = |before: usize, new| self.listing.get(before).is_some_and(|old| differs(old, new, condstore));
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
        self.show(listing);
        Some(news)
    }

    /// As [`Self::advance`] where all messages are still there, and new ones only behind them: looks at nothing else.
    fn go_on(&mut self, newer: Arc<Listing>, condstore: bool) -> News {
        let before = self.listing.len();
        let marks = |place| Some((self.listing.get(place)?, newer.get(place)?));
        let differs = |place: &usize| marks(*place).is_some_and(|(old, new)| differs(old, new, condstore));
        let changed = newer.touched(&self.listing).filter(differs).collect();
        let news = News {
            exists: (newer.len() > before).then_some(newer.len()),
            keywords: newer.keywords().len() > self.keywords,
            changed,
            ..News::default()
        };
        self.show(newer);
        news
    }

    fn show(&mut self, listing: Arc<Listing>) {
        self.row = listing.row.clone();
        self.keywords = listing.keywords().len();
        self.listing = listing;
    }

    /// Places that are gone, and places that are still there. IMAP has no word for a message that turns up before
    /// others: from there on all are announced as gone and come again as new, and the last value is true.
    fn gone(&self, listing: &Listing) -> (Vec<usize>, Vec<usize>, bool) {
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
        (gone, kept, inserted)
    }
}

/// Whether a client must hear of this.
fn differs(old: Mark<'_>, new: Mark<'_>, condstore: bool) -> bool {
    old.flags != new.flags || old.keywords != new.keywords || (condstore && old.modseq != new.modseq)
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

/// `* OK [PERMANENTFLAGS …]` of a mailbox that may be changed.
pub(super) fn permanent_flags(keywords: &[crate::op::Keyword]) -> String {
    let all = crate::op::Flags::from_bits(u8::MAX);
    let known = answer::flags(all, keywords);
    format!("* OK [PERMANENTFLAGS ({known} \\*)] Flags permitted.\r\n")
}

/// How news are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Telling {
    /// Expunges are kept for later: the command names messages by number (RFC 9051 section 7.5.1).
    pub(super) keeps: bool,
    /// Changed flags are told with the UID.
    pub(super) uids: bool,
    /// Of these no flags are told, for the client asked for silence; ascending.
    pub(super) silent: Vec<Uid>,
    /// Of these nothing is told: the answer itself will; ascending.
    pub(super) untold: Vec<Uid>,
}

impl Telling {
    /// Behind a command that names messages by UID, or by number.
    pub(super) fn of(uid: bool) -> Self {
        Self {
            keeps: !uid,
            uids: uid,
            ..Self::default()
        }
    }
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
        self.refresh_as(&Telling::default()).await
    }

    /// As [`Self::refresh`], as the command allows it.
    pub(super) async fn refresh_as(&mut self, telling: &Telling) -> Result<(), Stop> {
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
        let condstore = self.enabled.condstore;
        let selected = self.selected_mut()?;
        if Arc::ptr_eq(&fresh, &selected.listing) {
            return Ok(());
        }
        let news = selected.advance(Arc::clone(&fresh), condstore, telling.keeps);
        if selected.listing.len() > fresh.len() || news.is_none() {
            // the rest is told when expunges may be
            selected.changes.mark_changed();
        }
        let listing = Arc::clone(&selected.listing);
        match news {
            Some(news) => self.tell(&news, &listing, telling).await,
            None => Ok(()),
        }
    }

    async fn tell(&mut self, news: &News, listing: &Listing, telling: &Telling) -> Result<(), Stop> {
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
            if self.may_write() {
                self.wire.put(permanent_flags(listing.keywords()));
            }
        }
        for place in &news.changed {
            if let Some(mark) = listing.get(*place) {
                let line = changed(place.saturating_add(1), mark, enabled, telling);
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

/// `* n FETCH (…)` of a message whose flags changed; nothing where there is nothing to be told.
fn changed(number: usize, mark: Mark<'_>, enabled: Enabled, telling: &Telling) -> String {
    let is_of = |uids: &[Uid]| uids.binary_search(&mark.uid).is_ok();
    let flags = !is_of(&telling.silent);
    if is_of(&telling.untold) || !(flags || enabled.condstore) {
        return String::new();
    }
    let mut words = Vec::new();
    if enabled.qresync || telling.uids {
        words.push(format!("UID {}", mark.uid));
    }
    if enabled.condstore {
        words.push(format!("MODSEQ ({})", mark.modseq));
    }
    if flags {
        words.push(format!("FLAGS ({})", answer::flags(mark.flags, mark.keywords)));
    }
    format!("* {number} FETCH ({})\r\n", words.join(" "))
}
