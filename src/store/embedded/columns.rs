//! What a listing says of its messages beside their UIDs, in blocks that newer pictures share with older ones.

use crate::op::{Flags, Modseq};
use std::sync::Arc;

/// Places in a block: some 13 KiB, copied where one of its messages changes.
const BLOCK: usize = 1024;

/// Flags, number of the set of keywords, MODSEQ.
pub(super) type Entry = (Flags, u32, Modseq);

/// One entry a place. All blocks but the last are full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns(Vec<Arc<Block>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    flags: Vec<Flags>,
    words: Vec<u32>,
    modseqs: Vec<Modseq>,
    /// How many are seen.
    seen: usize,
}

impl Columns {
    /// Adds a place behind all others.
    pub(super) fn push(&mut self, entry: Entry) {
        match self.0.last_mut() {
            Some(last) if last.flags.len() < BLOCK => Arc::make_mut(last).push(entry),
            _ => {
                let mut block = Block::default();
                block.push(entry);
                self.0.push(Arc::new(block));
            }
        }
    }

    /// Puts a place between others, which moves all behind it.
    pub(super) fn insert(&mut self, place: usize, entry: Entry) {
        let behind: Vec<Entry> = self.iter().skip(place).collect();
        let whole = place / BLOCK;
        let head: Vec<Entry> = self.iter().skip(whole * BLOCK).take(place % BLOCK).collect();
        self.0.truncate(whole);
        self.extend(head.into_iter().chain([entry]).chain(behind));
    }

    /// Replaces the entry of a place that there is.
    pub(super) fn replace(&mut self, place: usize, entry: Entry) {
        if let Some(block) = self.0.get_mut(place / BLOCK) {
            Arc::make_mut(block).replace(place % BLOCK, entry);
        }
    }

    /// The entry of a place.
    pub(super) fn get(&self, place: usize) -> Option<Entry> {
        self.0.get(place / BLOCK)?.get(place % BLOCK)
    }

    /// All entries by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.0.iter().flat_map(|block| block.iter())
    }

    /// How many have `\Seen`.
    pub(super) fn seen(&self) -> usize {
        self.0.iter().map(|block| block.seen).sum()
    }

    /// Places of blocks that are not those of `older`.
    pub(super) fn touched<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = usize> + 'a {
        let shared = |number: usize, block: &Arc<Block>| older.0.get(number).is_some_and(|old| Arc::ptr_eq(old, block));
        let others = self
            .0
            .iter()
            .enumerate()
            .filter(move |(number, block)| !shared(*number, block));
        others.flat_map(|(number, block)| (0..block.flags.len()).map(move |place| number * BLOCK + place))
    }
}

impl Extend<Entry> for Columns {
    fn extend<T: IntoIterator<Item = Entry>>(&mut self, entries: T) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

impl FromIterator<Entry> for Columns {
    fn from_iter<T: IntoIterator<Item = Entry>>(entries: T) -> Self {
        let mut columns = Self::default();
        columns.extend(entries);
        columns
    }
}

impl Block {
    fn push(&mut self, (flags, word, modseq): Entry) {
        self.seen += usize::from(flags.contains(Flags::SEEN));
        self.flags.push(flags);
        self.words.push(word);
        self.modseqs.push(modseq);
    }

    fn replace(&mut self, place: usize, (flags, word, modseq): Entry) {
        let columns = (
            self.flags.get_mut(place),
            self.words.get_mut(place),
            self.modseqs.get_mut(place),
        );
        if let (Some(old_flags), Some(old_word), Some(old_modseq)) = columns {
            self.seen -= usize::from(old_flags.contains(Flags::SEEN));
            self.seen += usize::from(flags.contains(Flags::SEEN));
            (*old_flags, *old_word, *old_modseq) = (flags, word, modseq);
        }
    }

    fn get(&self, place: usize) -> Option<Entry> {
        Some((
            *self.flags.get(place)?,
            *self.words.get(place)?,
            *self.modseqs.get(place)?,
        ))
    }

    fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        let marks = self.flags.iter().zip(&self.words).zip(&self.modseqs);
        marks.map(|((flags, word), modseq)| (*flags, *word, *modseq))
    }
}
