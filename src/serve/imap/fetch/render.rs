//! Writing `* n FETCH (…)` lines: one message's items, and batches of messages read from the store.

use super::{Asked, FULL};
use crate::limits::IMAP_ANSWER_CHUNK_BYTES;
use crate::serve::imap::answer;
use crate::serve::imap::grammar::Item;
use crate::serve::imap::mail::{self, Piece};
use crate::store::embedded::view::{Depth, Detail, Listing, MailboxKey, Mark, View, ViewError};
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

/// One line while it is written. Nothing is left of it where it gets no items.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    empty: bool,
}

impl<'a> Line<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, place: usize) -> Self {
        let start = out.len();
        // writing to memory doesn't fail
        let _ = write!(out, "* {} FETCH (", place.saturating_add(1));
        Self {
            out,
            start,
            empty: true,
        }
    }

    /// Room for the next item's text.
    fn item(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b' ');
        }
        self.empty = false;
        self.out
    }

    pub(super) fn end(self) {
        if self.empty {
            self.out.truncate(self.start);
        } else {
            self.out.extend_from_slice(b")\r\n");
        }
    }
}

/// Items that come from marks and details. Flags are spelled once for each combination that occurs.
#[derive(Default)]
pub(super) struct Words {
    flags: HashMap<(u8, u32), String>,
}

impl Words {
    /// An item that the listing has; nothing for others.
    pub(super) fn mark(&mut self, line: &mut Line<'_>, item: &Item, mark: Mark<'_>) {
        match item {
            Item::Uid => drop(write!(line.item(), "UID {}", mark.uid.0)),
            Item::Flags => {
                let known = self.flags.entry((mark.flags.bits(), mark.set));
                let words = known.or_insert_with(|| format!("FLAGS ({})", answer::flags(mark.flags, mark.keywords)));
                line.item().extend_from_slice(words.as_bytes());
            }
            Item::Modseq => drop(write!(line.item(), "MODSEQ ({})", mark.modseq.0)),
            Item::ThreadId => line.item().extend_from_slice(b"THREADID NIL"),
            _ => {}
        }
    }

    /// An item that a message's detail has; nothing for others, and for a size that isn't known.
    fn detail(line: &mut Line<'_>, item: &Item, detail: &Detail, key: MailboxKey) {
        match item {
            Item::InternalDate => drop(write!(
                line.item(),
                "INTERNALDATE {}",
                answer::date_time(detail.internal_date)
            )),
            Item::Size => {
                if let Some(size) = detail.size {
                    drop(write!(line.item(), "RFC822.SIZE {size}"));
                }
            }
            Item::SaveDate => match detail.save_date {
                Some(at) => drop(write!(line.item(), "SAVEDATE {}", answer::date_time(at))),
                None => line.item().extend_from_slice(b"SAVEDATE NIL"),
            },
            Item::Guid => {
                line.item().extend_from_slice(b"X-GUID ");
                answer::astring(line.out, detail.guid.as_str().as_bytes());
            }
            Item::EmailId => drop(write!(line.item(), "EMAILID ({})", email_id(detail, key))),
            _ => {}
        }
    }
}

/// A message's EMAILID: from its GUID; from its place where the source doesn't tell that.
pub(in crate::serve::imap) fn email_id(detail: &Detail, key: MailboxKey) -> String {
    if detail.guid.is_unknown() {
        return answer::object_id(&format!("{} {}", key.0, detail.uid));
    }
    answer::object_id(detail.guid.as_str())
}

/// Answers for some messages, ready to be sent.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) pieces: Vec<Piece>,
    /// Places that there was no room for.
    pub(super) left: Vec<usize>,
    /// A message was expunged meanwhile.
    pub(super) gone: bool,
    /// A message's octets have not come.
    pub(super) pending: bool,
    /// A part's transfer encoding can't be decoded.
    pub(super) undecodable: bool,
}

/// A batch while it is read.
struct Reading<'a> {
    batch: Batch,
    out: Vec<u8>,
    octets: usize,
    words: Words,
    asked: &'a Asked,
    key: MailboxKey,
}

impl Batch {
    /// Reads messages and writes their answers, until there is enough.
    pub(super) fn read(
        view: &dyn View,
        key: MailboxKey,
        listing: &Listing,
        places: &[usize],
        asked: &Asked,
    ) -> Result<Self, ViewError> {
        let mut reading = Reading {
            batch: Self::default(),
            out: Vec::new(),
            octets: 0,
            words: Words::default(),
            asked,
            key,
        };
        let depth = asked.fetch.items.iter().filter_map(Item::reads).max();
        let uids: Vec<_> = places.iter().filter_map(|p| listing.uids().get(*p).copied()).collect();
        let mut left = places;
        view.visit(key, &uids, depth.unwrap_or(Depth::Detail), &mut |detail, octets| {
            while let Some((place, rest)) = left.split_first() {
                left = rest;
                let Some(mark) = listing.get(*place) else { continue };
                if mark.uid == detail.uid {
                    reading.message(*place, mark, Some(&detail), octets.as_ref());
                    break;
                }
                reading.message(*place, mark, None, None);
            }
            !reading.is_full()
        })?;
        if reading.is_full() {
            reading.batch.left = left.to_vec();
        } else {
            for (place, mark) in left.iter().filter_map(|p| Some((*p, listing.get(*p)?))) {
                reading.message(place, mark, None, None);
            }
        }
        reading.spill();
        Ok(reading.batch)
    }
}

impl Reading<'_> {
    fn is_full(&self) -> bool {
        self.octets >= FULL
    }

    /// Answers one message; without its detail where it is gone.
    fn message(&mut self, place: usize, mark: Mark<'_>, detail: Option<&Detail>, octets: Option<&Arc<[u8]>>) {
        self.batch.gone |= detail.is_none();
        let before = self.out.len();
        let mut line = Line::begin(&mut self.out, place);
        let mut large = Vec::new();
        let asked = &self.asked.fetch.items;
        for item in asked {
            self.words.mark(&mut line, item, mark);
            let Some(detail) = detail else { continue };
            Words::detail(&mut line, item, detail, self.key);
            self.batch.pending |= *item == Item::Size && detail.size.is_none();
        }
        if self.asked.seen.binary_search(&mark.uid).is_ok() {
            let told = [Item::Flags, Item::Modseq];
            let told = told.iter().take(if self.asked.modseqs { 2 } else { 1 });
            for item in told.filter(|item| !asked.contains(item)) {
                self.words.mark(&mut line, item, mark);
            }
        }
        let from_octets: Vec<&Item> = asked.iter().filter(|item| item.needs_body()).collect();
        match octets {
            Some(octets) if !from_octets.is_empty() => {
                let Ok(pieces) = mail::pieces(octets, &from_octets) else {
                    self.batch.undecodable = true;
                    return line.end();
                };
                for piece in pieces {
                    write_piece(&mut line, piece, &mut large);
                }
            }
            _ => self.batch.pending |= detail.is_some() && !from_octets.is_empty(),
        }
        line.end();
        self.octets = self.octets.saturating_add(self.out.len().saturating_sub(before));
        if !large.is_empty() {
            self.interleave(large);
        } else if self.out.len() >= IMAP_ANSWER_CHUNK_BYTES {
            self.spill();
        }
    }

    /// Puts large stretches of octets, which were not copied, in their places.
    fn interleave(&mut self, large: Vec<(usize, Piece)>) {
        let out = std::mem::take(&mut self.out);
        let mut from = 0;
        for (at, piece) in large {
            let text = out.get(from..at).unwrap_or_default();
            self.batch.pieces.push(Piece::Item(text.to_vec()));
            self.octets = self.octets.saturating_add(piece.bytes().len());
            self.batch.pieces.push(piece);
            from = at;
        }
        self.out = out.get(from..).unwrap_or_default().to_vec();
    }

    fn spill(&mut self) {
        if !self.out.is_empty() {
            self.batch.pieces.push(Piece::Item(std::mem::take(&mut self.out)));
        }
    }
}

/// Writes a piece; a large stretch of octets is put aside with the place where it belongs.
fn write_piece(line: &mut Line<'_>, piece: Piece, large: &mut Vec<(usize, Piece)>) {
    match piece {
        Piece::Item(text) => line.item().extend_from_slice(&text),
        Piece::Octets(..) if piece.bytes().len() >= IMAP_ANSWER_CHUNK_BYTES => large.push((line.out.len(), piece)),
        Piece::Octets(..) => line.out.extend_from_slice(piece.bytes()),
    }
}
