//! `dovecot-uidlist`, read only where a UID is looked for: a fresh message stands at its end, the messages of a list
//! follow on each other, and any other is found by halving. So one message costs the same in a mailbox of any size.
//!
//! The file is held open while it is used: it only grows, or is replaced by another file, which the holder does not see
//! and need not ([`UidlistFile::stamp`] tells).

use super::stamp::Stamp;
use super::tail::read_range;
use super::uidlist::{Uidlist, UidlistEntry, UidlistError};
use crate::limits::UIDLIST_BYTES_MAX;
use crate::op::Uid;
use std::fs::File;
use std::io;
use std::path::Path;

/// The first line is some 60 bytes.
const FIRST_LINE_BYTES: u64 = 4 << 10;
/// What is read for a UID at the end: some 40 lines.
const END_BYTES: u64 = 4 << 10;
/// What is read where UIDs are asked for one after the other: some 700 lines.
const STRETCH_BYTES: u64 = 64 << 10;

/// Why a UID can't be looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Uidlist(#[from] UidlistError),
    /// Lines that can't be read, or out of order: only reading all of it tells.
    #[error("lines out of order")]
    Irregular,
}

/// An open uidlist.
#[derive(Debug)]
pub(crate) struct UidlistFile {
    file: File,
    stamp: Stamp,
    /// The first line, its LF included.
    first: Vec<u8>,
    header: Uidlist,
    /// The lines that were read last.
    stretch: Option<Stretch>,
}

/// Some whole lines.
#[derive(Debug)]
struct Stretch {
    from: u64,
    to: u64,
    list: Uidlist,
}

impl Stretch {
    fn first(&self) -> Option<Uid> {
        self.list.entries.first().map(|entry| entry.uid)
    }

    fn last(&self) -> Option<Uid> {
        self.list.entries.last().map(|entry| entry.uid)
    }

    fn spans(&self, uid: Uid) -> bool {
        self.first().is_some_and(|first| first <= uid) && self.last().is_some_and(|last| uid <= last)
    }
}

impl UidlistFile {
    /// None: there is none.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, LookError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let stamp = Stamp::of(&file.metadata()?);
        let mut first = read_range(&file, 0, FIRST_LINE_BYTES.min(stamp.size()))?;
        let end = first
            .iter()
            .position(|octet| *octet == b'\n')
            .map_or(first.len(), |lf| lf.saturating_add(1));
        first.truncate(end);
        let header = Uidlist::parse(&first)?;
        Ok(Some(Self {
            file,
            stamp,
            first,
            header,
            stretch: None,
        }))
    }

    /// Of the file when it was opened.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Its first line, without any entry.
    pub(crate) fn header(&self) -> &Uidlist {
        &self.header
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Result<Uidlist, LookError> {
        let most = UIDLIST_BYTES_MAX.saturating_add(1);
        Ok(Uidlist::parse(&read_range(
            &self.file,
            0,
            self.stamp.size().min(most),
        )?)?)
    }

    /// The entry of a UID.
    pub(crate) fn get(&mut self, uid: Uid) -> Result<Option<UidlistEntry>, LookError> {
        if !self.stretch.as_ref().is_some_and(|stretch| stretch.spans(uid)) {
            self.stretch = Some(self.find(uid)?);
        }
        Ok(self.stretch.as_ref().and_then(|stretch| stretch.list.get(uid)).cloned())
    }

    /// The stretch in which `uid` is, if it is anywhere.
    fn find(&self, uid: Uid) -> Result<Stretch, LookError> {
        if let Some(before) = &self.stretch
            && before.last().is_some_and(|last| last < uid)
        {
            let next = self.stretch(before.to, before.to.saturating_add(STRETCH_BYTES))?;
            if next.spans(uid) {
                return Ok(next);
            }
        }
        let begin = u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        let end = self.stretch(
            self.stamp.size().saturating_sub(END_BYTES).max(begin),
            self.stamp.size(),
        )?;
        if end.from <= begin || end.first().is_some_and(|first| first <= uid) {
            return Ok(end);
        }
        // The lines before `low` are of smaller UIDs, those from `high` on of larger ones.
        let (mut low, mut high) = (begin, end.from);
        while high.saturating_sub(low) > STRETCH_BYTES {
            let middle = low.midpoint(high);
            let probe = self.stretch(middle, middle.saturating_add(END_BYTES).min(high))?;
            match (probe.first(), probe.last()) {
                (Some(first), _) if uid < first => high = probe.from,
                (_, Some(last)) if uid > last => low = probe.to,
                (Some(_), Some(_)) => return Ok(probe),
                _ => return Err(LookError::Irregular),
            }
        }
        self.stretch(low, high)
    }

    /// The whole lines between two offsets. `from` is a line's beginning, or its line is left out.
    fn stretch(&self, from: u64, to: u64) -> Result<Stretch, LookError> {
        let to = to.min(self.stamp.size());
        let bytes = read_range(&self.file, from.saturating_sub(1), to)?;
        // With the octet before it: a line begins behind an LF.
        let start = bytes
            .iter()
            .position(|octet| *octet == b'\n')
            .map_or(bytes.len(), |lf| lf.saturating_add(1));
        let end = bytes
            .iter()
            .rposition(|octet| *octet == b'\n')
            .map_or(start, |lf| lf.saturating_add(1));
        let lines = bytes.get(start..end.max(start)).unwrap_or_default();
        let list = Uidlist::parse(&[&self.first, lines].concat())?;
        if !list.problems.is_empty() {
            return Err(LookError::Irregular);
        }
        let place = |at: usize| {
            from.saturating_sub(1)
                .saturating_add(u64::try_from(at).unwrap_or(u64::MAX))
        };
        Ok(Stretch {
            from: place(start),
            to: place(end.max(start)),
            list,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(uids: impl Iterator<Item = u32>, end: &str) -> (tempfile::NamedTempFile, Uidlist) {
        let mut text = "3 V1795305476 N8 G90339d030430026b0803000087ad316d\n".to_owned();
        for uid in uids {
            let long = "x".repeat(usize::try_from(uid % 97).unwrap());
            text.push_str(&format!("{uid} W{} :17000.M{uid}P{long}\n", uid + 9));
        }
        text.push_str(end);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (file, Uidlist::parse(text.as_bytes()).unwrap())
    }

    fn open(file: &tempfile::NamedTempFile) -> UidlistFile {
        UidlistFile::open(file.path()).unwrap().unwrap()
    }

    #[test]
    fn every_uid_is_found_as_if_all_was_read_in_any_order() {
        for count in [0, 1, 30, 400, 2500] {
            let (file, all) = file((1..=count).map(|n| n * 3), "99999 :being writ");
            let (mut forwards, mut backwards) = (open(&file), open(&file));
            for uid in (0..=count * 3 + 2).map(Uid) {
                assert_eq!(forwards.get(uid).unwrap().as_ref(), all.get(uid), "{uid} of {count}");
                if uid.0 % 41 < 2 {
                    assert_eq!(open(&file).get(uid).unwrap().as_ref(), all.get(uid), "{uid} alone");
                }
            }
            for uid in (0..=count * 3 + 2).rev().map(Uid) {
                assert_eq!(backwards.get(uid).unwrap().as_ref(), all.get(uid), "{uid} of {count}");
            }
        }
    }

    #[test]
    fn a_fresh_message_of_a_large_mailbox_costs_one_short_reading() {
        let (file, _) = file(1..=100_000, "");
        let mut list = open(&file);
        assert!(list.get(Uid(100_000)).unwrap().is_some());
        let stretch = list.stretch.unwrap();
        assert!(stretch.to - stretch.from <= END_BYTES, "{stretch:?}");
    }

    #[test]
    fn a_line_out_of_order_is_not_taken_for_an_absent_message() {
        let (file, all) = file((1..=5000).chain([17]), "");
        assert!(all.get(Uid(5000)).is_some());
        assert!(matches!(open(&file).get(Uid(5000)), Err(LookError::Irregular)));
    }
}
