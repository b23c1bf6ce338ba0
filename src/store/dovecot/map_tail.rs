//! The newest entries of an mdbox user's map of bodies, read on from where its log was read to: a message that has just
//! arrived is found without reading the map, which is as large as all of the user's mail together.

use super::map::{BodyEntry, BodyMap, MapEnd, MapFold};
use super::record::commit_at;
use super::snapshot::{self, ReadError};
use super::tail::{open_log, read_range};
use crate::limits::MAP_TAIL_ENTRIES_MAX;
use std::path::Path;

const LOG: &str = "dovecot.map.index.log";

/// Reads on in the map's log.
#[derive(Debug)]
pub(crate) struct MapTail {
    end: MapEnd,
    /// Entries that were written since, the newest only.
    fold: MapFold,
}

impl MapTail {
    /// From the end of a map that was read as a whole.
    pub(crate) fn after(end: MapEnd) -> Self {
        let exts = end.exts.clone();
        Self {
            end,
            fold: MapFold {
                map: BodyMap::default(),
                exts,
            },
        }
    }

    /// Where a body lies, if that was written since the tail began.
    pub(crate) fn get(&self, map_uid: u32) -> Option<BodyEntry> {
        self.fold.map.get(map_uid).copied()
    }

    /// Reads to the log's end. False: that can't be told from here (rotated, replaced, damaged), read the whole map.
    pub(crate) fn advance(&mut self, storage: &Path) -> bool {
        self.read_on(storage).unwrap_or(false)
    }

    fn read_on(&mut self, storage: &Path) -> Result<bool, ReadError> {
        let Some((file, header)) = open_log(&storage.join(LOG))? else {
            return Ok(false);
        };
        let size = file.metadata()?.len();
        if !self.end.log.is_same_file(&header) || header.is_marked_corrupt() || size < self.end.offset {
            return Ok(false);
        }
        let (base, mut at) = (self.end.offset, 0);
        let bytes = read_range(&file, base, size)?;
        while let Ok(Some((commit, next))) = commit_at(&bytes, base, at) {
            if commit.records.iter().any(|record| self.fold.record(record).is_err()) {
                return Ok(false);
            }
            self.end.offset = commit.end;
            at = next;
        }
        self.fold.map.forget_all_but(MAP_TAIL_ENTRIES_MAX);
        Ok(true)
    }
}

/// The whole map, and its tail.
pub(crate) fn read_map(storage: &Path) -> Result<(BodyMap, MapTail), ReadError> {
    snapshot::map_with_end(storage).map(|(map, end)| (map, MapTail::after(end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::forge::{Forged, LogForge, append, ext_record, intro};

    fn words(fields: [u32; 3]) -> Vec<u8> {
        fields.iter().flat_map(|field| field.to_le_bytes()).collect()
    }

    fn body(map_uid: u32, offset: u32) -> Vec<Forged> {
        vec![
            append(&[(map_uid, 0)]),
            intro("map", 0, 12),
            ext_record(map_uid, &words([1, offset, 99])),
            intro("ref", 0, 2),
            ext_record(map_uid, &[1, 0]),
        ]
    }

    fn offset_of(tail: &MapTail, map_uid: u32) -> Option<u32> {
        tail.get(map_uid).map(|entry| entry.offset)
    }

    #[test]
    fn a_fresh_body_is_found_and_the_end_of_a_replaced_log_is_not_believed() {
        let storage = tempfile::tempdir().unwrap();
        let path = storage.path().join(LOG);
        let log = LogForge::first().commit(&body(1, 100));
        std::fs::write(&path, &log.0).unwrap();
        let (map, mut tail) = read_map(storage.path()).unwrap();
        assert_eq!(map.get(1).map(|entry| entry.offset), Some(100));
        assert!(tail.advance(storage.path()));
        assert_eq!(offset_of(&tail, 1), None, "the tail begins behind the map");

        let log = log.commit(&body(2, 200));
        let half = log.0.len() - 8;
        std::fs::write(&path, &log.0[..half]).unwrap();
        assert!(tail.advance(storage.path()));
        assert_eq!(offset_of(&tail, 2), None, "half a commit counts");
        std::fs::write(&path, &log.0).unwrap();
        assert!(tail.advance(storage.path()));
        assert_eq!(offset_of(&tail, 2), Some(200));

        let next = LogForge::following(3, 2, 0).commit(&body(2, 300));
        std::fs::write(&path, [&next.0[..], &[0; 4096]].concat()).unwrap();
        assert!(!tail.advance(storage.path()));
    }
}
