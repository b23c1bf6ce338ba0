//! The map of an mdbox user's bodies (`storage/dovecot.map.index`): where each lies, and how many mails refer to it.
//!
//! The files are those of any index; its "messages" are bodies, its UIDs what the mailboxes' extension `mdbox` names.
//! Extension `map`: `{u32 file id, u32 offset of the message header, u32 octets up to the end of the metadata}`;
//! extension `ref`: `u16` references.

use super::chain::{Chain, SnapshotError, SnapshotFiles, parse_index, retry};
use super::exts::ExtTable;
use super::index::RawIndex;
use super::le::{u16_at, u32_at};
use super::log::LogHeader;
use super::payload::{Change, ext_records, parse};
use super::ranges::UidSet;
use super::record::Record;
use crate::op::{Uid, UidValidity};
use std::collections::BTreeMap;

const MAP: &str = "map";
const REF: &str = "ref";
const HEADER_UIDVALIDITY: u32 = 24;
/// Offset in the extension `map`'s header.
const HEADER_REBUILD_COUNT: usize = 4;

/// Where a body lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyEntry {
    /// Number of the file `m.<file_id>`; 0: not written yet.
    pub file_id: u32,
    /// Offset of its message header in that file.
    pub offset: u32,
    /// Octets from there to the end of its metadata.
    pub bytes: u32,
    /// Mails that refer to it. 0: it is gone, and its octets stay until the next purge.
    pub references: u16,
}

/// A user's map of bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyMap {
    /// Its UIDVALIDITY: mailboxes name it in their extension `mdbox-hdr`.
    pub uidvalidity: UidValidity,
    /// How often the storage was rebuilt from its files.
    pub rebuild_count: u32,
    entries: BTreeMap<Uid, BodyEntry>,
}

impl BodyMap {
    /// Where the body of `map_uid` lies; none where nothing refers to it any more.
    #[must_use]
    pub fn get(&self, map_uid: u32) -> Option<&BodyEntry> {
        self.entries
            .get(&Uid(map_uid))
            .filter(|entry| entry.references > 0 && entry.file_id != 0)
    }

    /// Keeps the newest entries only.
    pub(crate) fn forget_all_but(&mut self, newest: usize) {
        while self.entries.len() > newest {
            self.entries.pop_first();
        }
    }

    /// All entries, unreferenced ones too, by ascending map UID.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &BodyEntry)> {
        self.entries.iter().map(|(uid, entry)| (uid.0, entry))
    }

    /// Reads the map from its files.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn snapshot(files: &SnapshotFiles<'_>) -> Result<Self, SnapshotError> {
        Self::with_end(files).map(|(map, _)| map)
    }

    /// Reads the map, and how to read on from there.
    pub(crate) fn with_end(files: &SnapshotFiles<'_>) -> Result<(Self, MapEnd), SnapshotError> {
        let chain = Chain::of(files)?;
        let index = parse_index(files, &chain)?;
        let place = index.as_ref().and_then(|index| chain.place_of(index));
        let (mut fold, place) = match (index, place) {
            (Some(index), Some(place)) => {
                let map = Self::of_index(files.index.unwrap_or_default(), index.uidvalidity);
                (MapFold { map, exts: index.exts }, place)
            }
            _ if chain.oldest()?.header.starts_empty() => (MapFold::default(), (0, 0)),
            _ => {
                return Err(retry(
                    "no main index fits, and the logs don't reach back to the beginning",
                ));
            }
        };
        let offset = chain.each_record(place, |record| fold.record(record))?;
        let header = fold.exts.get(MAP).map(|ext| ext.header.as_slice()).unwrap_or_default();
        fold.map.rebuild_count = u32_at(header, HEADER_REBUILD_COUNT).unwrap_or_default();
        let log = chain.0.last().ok_or_else(|| retry("no log"))?.header;
        let end = MapEnd {
            log,
            offset,
            exts: fold.exts,
        };
        Ok((fold.map, end))
    }

    fn of_index(bytes: &[u8], uidvalidity: UidValidity) -> Self {
        let mut map = Self {
            uidvalidity,
            ..Self::default()
        };
        // The index was read once already, so there is nothing left to go wrong.
        let Ok(index) = RawIndex::parse(bytes) else {
            return map;
        };
        for (uid, record) in index.records {
            let entry = map.entries.entry(uid).or_default();
            for column in &index.columns {
                if let Some(data) = column.of(record) {
                    entry.learn(&column.ext.name, data);
                }
            }
        }
        map
    }
}

impl BodyEntry {
    fn learn(&mut self, ext: &str, data: &[u8]) {
        match (ext, u32_at(data, 0), u32_at(data, 4), u32_at(data, 8)) {
            (MAP, Some(file_id), Some(offset), Some(bytes)) => {
                (self.file_id, self.offset, self.bytes) = (file_id, offset, bytes);
            }
            (REF, ..) => self.references = u16_at(data, 0).unwrap_or(self.references),
            _ => {}
        }
    }
}

/// Where a map's log was read to.
#[derive(Clone, Debug)]
pub(crate) struct MapEnd {
    pub(crate) log: LogHeader,
    /// Behind the last commit.
    pub(crate) offset: u64,
    pub(crate) exts: ExtTable,
}

/// Follows records. Of bodies that are not in `map` nothing is kept but what their own records say.
#[derive(Debug, Default)]
pub(crate) struct MapFold {
    pub(crate) map: BodyMap,
    pub(crate) exts: ExtTable,
}

impl MapFold {
    pub(crate) fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        match parse(record)? {
            Change::Append(bodies) => {
                for (uid, _) in bodies {
                    self.map.entries.insert(uid, BodyEntry::default());
                }
            }
            Change::Expunge(uids) if record.external => {
                let gone = UidSet::of(&uids);
                self.map.entries.retain(|uid, _| !gone.contains(*uid));
            }
            Change::Header(patches) => {
                if let Some(uidvalidity) = patches.iter().find_map(|patch| patch.u32_field(HEADER_UIDVALIDITY)) {
                    self.map.uidvalidity = UidValidity(uidvalidity);
                }
            }
            Change::Intro(intros) => intros.iter().try_for_each(|intro| self.exts.introduce(intro))?,
            Change::ExtReset { reset_id, preserve } => self.exts.reset(reset_id, preserve)?,
            Change::ExtHeader(patches) => {
                self.exts.patch_header(&patches)?;
            }
            Change::ExtRecords(payload) => self.ext_records(payload)?,
            Change::Increments(differences) => self.count(&differences)?,
            Change::Keywords { .. } => self.exts.note_keywords()?,
            _ => {}
        }
        Ok(())
    }

    fn ext_records(&mut self, payload: &[u8]) -> Result<(), String> {
        let Some((name, record_bytes)) = self.exts.current()? else {
            return Ok(());
        };
        for (uid, data) in ext_records(payload, record_bytes)? {
            if let Some(entry) = self.map.entries.get_mut(&uid) {
                entry.learn(&name, data);
            }
        }
        Ok(())
    }

    fn count(&mut self, differences: &[(Uid, i32)]) -> Result<(), String> {
        if self.exts.current()?.is_none_or(|(name, _)| &*name != REF) {
            return Ok(());
        }
        for (uid, difference) in differences {
            if let Some(entry) = self.map.entries.get_mut(uid) {
                let sum = i64::from(entry.references).saturating_add(i64::from(*difference));
                entry.references = u16::try_from(sum).map_err(|_| format!("{sum} references to body {uid}"))?;
            }
        }
        Ok(())
    }
}

/// Entry point for fuzzing: the octets are cut into an index and a log by their first two.
pub fn fuzz_map(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let (index, log) = rest.split_at(usize::from(u16::from_le_bytes(*cut)).min(rest.len()));
    let _ = BodyMap::snapshot(&SnapshotFiles {
        index: Some(index),
        log,
        log2: None,
    });
    let _ = BodyMap::snapshot(&SnapshotFiles {
        index: None,
        log,
        log2: Some(index),
    });
}
