//! A mailbox's messages in columns: what every client that opens it needs at once, in some 20 bytes a message, shared
//! between sessions. What only some commands ask for (GUID, dates, size, octets) stays in the database.
//!
//! A newer picture shares with the older one what did not change, so that one flag in a mailbox of 100,000 messages costs
//! no more than one in a mailbox of 1,000.

use super::columns::{Columns, Entry};
use super::view::MailboxRow;
use crate::op::{Flags, Keyword, Modseq, Uid};
use std::collections::HashMap;
use std::sync::Arc;

/// All messages of a mailbox at one moment, by ascending UID. A message's *place* counts from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The mailbox's numbers at that moment.
    pub row: MailboxRow,
    uids: Arc<Vec<Uid>>,
    marks: Columns,
    sets: Arc<KeywordSets>,
}

/// What a listing says of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark<'a> {
    /// UID.
    pub uid: Uid,
    /// System flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: &'a [Keyword],
    /// Number of this set of keywords in the listing: equal sets have equal numbers.
    pub set: u32,
    /// MODSEQ.
    pub modseq: Modseq,
}

/// The sets of keywords that messages of one mailbox have; most mailboxes have a handful.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KeywordSets {
    /// The mailbox's keywords in the order of their numbers.
    keywords: Vec<Keyword>,
    sets: Vec<Vec<Keyword>>,
    numbers: HashMap<Vec<u8>, u32>,
}

impl KeywordSets {
    /// The number of the set with that packed form.
    fn number(&mut self, packed: &[u8], spell: impl Fn(&[Keyword], &[u8]) -> Vec<Keyword>) -> u32 {
        if let Some(number) = self.numbers.get(packed) {
            return *number;
        }
        let number = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.sets.push(spell(&self.keywords, packed));
        self.numbers.insert(packed.to_vec(), number);
        number
    }
}

/// A message as a row of the database has it: keywords packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'a> {
    pub(super) uid: Uid,
    pub(super) flags: Flags,
    pub(super) keywords: &'a [u8],
    pub(super) modseq: Modseq,
}

impl Listing {
    /// Of a mailbox with these keywords, without messages yet.
    pub(super) fn new(row: MailboxRow, keywords: Vec<Keyword>) -> Self {
        let room = usize::try_from(row.messages).unwrap_or(0);
        let sets = KeywordSets {
            keywords,
            ..KeywordSets::default()
        };
        Self {
            row,
            uids: Arc::new(Vec::with_capacity(room)),
            marks: Columns::default(),
            sets: Arc::new(sets),
        }
    }

    /// Of a mailbox with these keywords whose messages are not known yet.
    #[must_use]
    pub fn of_none(row: MailboxRow, keywords: Vec<Keyword>) -> Self {
        Self::new(MailboxRow { messages: 0, ..row }, keywords)
    }

    /// Takes a message in: a known one's marks are replaced, a new one gets its place by UID.
    pub(super) fn put(&mut self, message: Packed<'_>) {
        let known = self.sets.numbers.get(message.keywords).copied();
        let word =
            known.unwrap_or_else(|| Arc::make_mut(&mut self.sets).number(message.keywords, super::mailbox::spelled));
        let entry = (message.flags, word, message.modseq);
        if self.uids.last().is_none_or(|last| *last < message.uid) {
            Arc::make_mut(&mut self.uids).push(message.uid);
            self.marks.push(entry);
            return;
        }
        match self.uids.binary_search(&message.uid) {
            Ok(place) => self.marks.replace(place, entry),
            Err(place) => {
                Arc::make_mut(&mut self.uids).insert(place, message.uid);
                self.marks.insert(place, entry);
            }
        }
    }

    /// Takes messages out; `gone` ascends.
    pub(super) fn remove(&mut self, gone: &[Uid]) {
        let stays: Vec<bool> = self.uids.iter().map(|uid| gone.binary_search(uid).is_err()).collect();
        let mut of_uid = stays.iter();
        Arc::make_mut(&mut self.uids).retain(|_| of_uid.next().copied().unwrap_or(true));
        let marks = self.marks.iter().zip(&stays);
        self.marks = marks.filter(|(_, stays)| **stays).map(|(mark, _)| mark).collect();
    }

    /// A newer picture begins with this one's messages.
    pub(super) fn renewed(&self, row: MailboxRow, keywords: Vec<Keyword>) -> Self {
        let mut next = self.clone();
        next.row = row;
        if next.sets.keywords != keywords {
            Arc::make_mut(&mut next.sets).keywords = keywords;
        }
        next
    }

    /// This picture, with those messages of an `older` one of the same mailbox that are gone in it: what a client is shown
    /// while it may not be told of expunges.
    #[must_use]
    pub fn keeping(&self, older: &Self) -> Self {
        let mut kept = self.clone();
        for mark in older.iter().filter(|mark| self.uids.binary_search(&mark.uid).is_err()) {
            let word = kept.word(mark.keywords);
            let place = kept.uids.partition_point(|uid| *uid < mark.uid);
            Arc::make_mut(&mut kept.uids).insert(place, mark.uid);
            kept.marks.insert(place, (mark.flags, word, mark.modseq));
        }
        kept
    }

    /// The number of that set of keywords, a new one where no message has it.
    fn word(&mut self, keywords: &[Keyword]) -> u32 {
        let place = self.sets.sets.iter().position(|set| set == keywords);
        let place = place.unwrap_or_else(|| {
            let sets = &mut Arc::make_mut(&mut self.sets).sets;
            sets.push(keywords.to_vec());
            sets.len().saturating_sub(1)
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// True where the messages are as many, and as many of them unseen, as the mailbox's own numbers say.
    pub(super) fn adds_up(&self) -> bool {
        let unseen = self.uids.len().saturating_sub(self.marks.seen());
        (u32::try_from(self.uids.len()), u32::try_from(unseen)) == (Ok(self.row.messages), Ok(self.row.unseen))
    }

    /// Bytes that it takes in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let sets = self.sets.sets.iter().map(|set| 64 + 48 * set.len()).sum::<usize>();
        self.uids
            .capacity()
            .saturating_mul(17)
            .saturating_add(sets)
            .saturating_add(512)
    }

    /// Number of messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.uids.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }

    /// All UIDs.
    #[must_use]
    pub fn uids(&self) -> &[Uid] {
        &self.uids
    }

    /// Keywords that the mailbox knows, used or not, in the order of their first use.
    #[must_use]
    pub fn keywords(&self) -> &[Keyword] {
        &self.sets.keywords
    }

    /// The message at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Mark<'_>> {
        Some(self.mark(*self.uids.get(place)?, self.marks.get(place)?))
    }

    fn mark(&self, uid: Uid, (flags, set, modseq): Entry) -> Mark<'_> {
        Mark {
            uid,
            flags,
            keywords: self.set(set),
            set,
            modseq,
        }
    }

    /// True where the messages of `older` are the first of this one, in the same places.
    #[must_use]
    pub fn continues(&self, older: &Self) -> bool {
        Arc::ptr_eq(&self.uids, &older.uids) || self.uids.starts_with(&older.uids)
    }

    /// Places whose marks may be others than in `older`, which this one [continues](Self::continues).
    pub fn touched<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = usize> + 'a {
        self.marks
            .touched(&older.marks)
            .take_while(|place| *place < older.len())
    }

    fn set(&self, number: u32) -> &[Keyword] {
        usize::try_from(number)
            .ok()
            .and_then(|number| self.sets.sets.get(number))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// All messages.
    pub fn iter(&self) -> impl Iterator<Item = Mark<'_>> {
        let marks = self.uids.iter().zip(self.marks.iter());
        marks.map(|(uid, entry)| self.mark(*uid, entry))
    }
}

#[cfg(test)]
impl Listing {
    /// Of these messages: UID, flags, keywords, MODSEQ.
    pub(crate) fn of<'m>(
        row: MailboxRow,
        messages: impl IntoIterator<Item = (Uid, Flags, &'m [Keyword], Modseq)>,
    ) -> Self {
        let mut known: Vec<Keyword> = Vec::new();
        let mut listing = Self::new(row, Vec::new());
        for (uid, flags, keywords, modseq) in messages {
            let mut numbers = Vec::new();
            for keyword in keywords {
                let place = known.iter().position(|k| k == keyword).unwrap_or(known.len());
                if place == known.len() {
                    known.push(keyword.clone());
                }
                numbers.push(u32::try_from(place).unwrap());
            }
            let keywords = super::mailbox::pack(numbers);
            Arc::make_mut(&mut listing.sets).keywords.clone_from(&known);
            listing.put(Packed {
                uid,
                flags,
                keywords: &keywords,
                modseq,
            });
        }
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Guid, UidValidity};
    use crate::store::embedded::view::MailboxKey;

    fn listing(messages: &[(u32, &str)]) -> Listing {
        let row = MailboxRow {
            key: MailboxKey(1),
            guid: Guid::default(),
            uidvalidity: UidValidity(1),
            uidnext: Uid(9),
            highest_modseq: Modseq(1),
            messages: 0,
            unseen: 0,
            size: 0,
            rewritten: 0,
            expunged_since: Modseq(0),
            modseq_floor: Modseq(0),
        };
        let keywords: Vec<[Keyword; 1]> = messages.iter().map(|(_, word)| [Keyword::from(*word)]).collect();
        let marks = messages.iter().zip(&keywords);
        Listing::of(
            row,
            marks.map(|((uid, _), k)| (Uid(*uid), Flags::NONE, k.as_slice(), Modseq(1))),
        )
    }

    #[test]
    fn a_client_keeps_its_numbers_while_messages_go() {
        let older = listing(&[(1, "a"), (2, "b"), (3, "a")]);
        let kept = listing(&[(2, "c"), (4, "c")]).keeping(&older);
        let shown: Vec<_> = kept.iter().map(|m| (m.uid.0, m.keywords[0].as_str())).collect();
        assert_eq!(shown, [(1, "a"), (2, "c"), (3, "a"), (4, "c")]);
    }

    #[test]
    fn one_flag_touches_no_message_far_from_it() {
        let messages: Vec<_> = (1..=5_000).map(|uid| (uid, "a")).collect();
        let older = listing(&messages);
        let mut newer = older.renewed(older.row.clone(), older.keywords().to_vec());
        newer.put(Packed {
            uid: Uid(3_000),
            flags: Flags::SEEN,
            keywords: &[],
            modseq: Modseq(2),
        });
        newer.put(Packed {
            uid: Uid(6_000),
            flags: Flags::SEEN,
            keywords: &[],
            modseq: Modseq(2),
        });
        assert!(newer.continues(&older) && !older.continues(&newer));
        let touched: Vec<usize> = newer.touched(&older).collect();
        assert!(touched.contains(&2_999) && touched.len() < 2_500, "{}", touched.len());
        assert!(touched.iter().all(|place| *place < older.len()));
        newer.remove(&[Uid(1)]);
        assert!(!newer.continues(&older));
        assert_eq!(
            newer.get(2_998).map(|m| (m.uid, m.flags)),
            Some((Uid(3_000), Flags::SEEN))
        );
    }
}
