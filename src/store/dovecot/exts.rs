//! The table of an index's extensions, and which of them the log speaks of now.
//!
//! An extension's id is its place in the table. The table lives as long as the index: a rotated log refers to ids that
//! an earlier file introduced, and only a reset empties it. The same name may be introduced twice; it stays one entry.
//! The first keyword takes a place as `keywords` without any introduction.

use super::le::{array_at, u32_at, u64_at};
use super::payload::{ExtRef, Intro, Patch};
use crate::limits::{EXT_HEADER_BYTES_MAX, EXTS_MAX};
use crate::op::{Guid, Modseq};
use std::sync::Arc;

/// The extension that keeps keywords.
pub const KEYWORDS: &str = "keywords";
/// The extension that keeps a MODSEQ of each message.
pub const MODSEQ: &str = "modseq";

/// The extension whose header names an sdbox mailbox.
pub const SDBOX_HEADER: &str = "dbox-hdr";
/// The extension whose header names an mdbox mailbox.
pub const MDBOX_HEADER: &str = "mdbox-hdr";

/// Header of the extension `modseq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModseqHeader {
    /// MODSEQ counter at the place below.
    pub highest: Modseq,
    /// Sequence of the log; 0: never synced.
    pub log_seq: u32,
    /// Offset in that log.
    pub log_offset: u32,
}

/// One extension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ext {
    /// Its name.
    pub name: Arc<str>,
    /// Generation of its data; none: not known, the next intro tells.
    pub reset_id: Option<u32>,
    /// Its header's octets as far as they were seen.
    pub header: Vec<u8>,
}

/// Which extension the log speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Current {
    id: usize,
    record_bytes: u16,
    /// The intro's data belongs to another generation: to be ignored.
    stale: bool,
}

/// An index's extensions in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtTable {
    exts: Vec<Ext>,
    current: Option<Current>,
}

impl ExtTable {
    /// Of the extensions that an index lists.
    #[must_use]
    pub fn of(exts: Vec<Ext>) -> Self {
        Self { exts, current: None }
    }

    /// The same names, when the table was taken from a later point of the same index: ids never change, but which
    /// generation of the data is in force earlier is not known.
    #[must_use]
    pub fn without_generations(&self) -> Self {
        let mut table = self.clone();
        for ext in &mut table.exts {
            ext.reset_id = None;
        }
        table.current = None;
        table
    }

    /// The extensions in the order of their ids.
    #[must_use]
    pub fn exts(&self) -> &[Ext] {
        &self.exts
    }

    /// The extension of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Ext> {
        self.exts.iter().find(|ext| &*ext.name == name)
    }

    /// The mailbox's GUID, where the mailbox is an sdbox or mdbox. A maildir's is in its uidlist.
    #[must_use]
    pub fn mailbox_guid(&self) -> Option<Guid> {
        let header = |name| self.get(name).map(|ext| ext.header.as_slice());
        let guid = |header| array_at(header, 4).map(Guid).filter(|guid| guid.0 != [0; 16]);
        header(SDBOX_HEADER).or_else(|| header(MDBOX_HEADER)).and_then(guid)
    }

    /// How often Dovecot has rebuilt this sdbox mailbox from its files.
    #[must_use]
    pub fn rebuild_count(&self) -> Option<u32> {
        u32_at(&self.get(SDBOX_HEADER)?.header, 0)
    }

    /// UIDVALIDITY of the map that this mdbox mailbox's bodies are found by.
    #[must_use]
    pub fn map_uidvalidity(&self) -> Option<u32> {
        u32_at(&self.get(MDBOX_HEADER)?.header, 0)
    }

    /// Header of the extension `modseq`; none while Dovecot keeps no MODSEQ of each message here.
    #[must_use]
    pub fn modseq_header(&self) -> Option<ModseqHeader> {
        let header = &self.get(MODSEQ)?.header;
        Some(ModseqHeader {
            highest: Modseq(u64_at(header, 0)?),
            log_seq: u32_at(header, 8)?,
            log_offset: u32_at(header, 12)?,
        })
    }

    /// Name and record size of the extension that the log speaks of; none where its data is to be ignored.
    ///
    /// # Errors
    /// Nothing was introduced yet.
    pub fn current(&self) -> Result<Option<(Arc<str>, u16)>, String> {
        let current = self.current.ok_or("extension data before any introduction")?;
        let ext = self.exts.get(current.id).filter(|_| !current.stale);
        Ok(ext.map(|ext| (Arc::clone(&ext.name), current.record_bytes)))
    }

    /// Follows an introduction.
    ///
    /// # Errors
    /// It names an id that the table doesn't have, or one extension too many.
    pub fn introduce(&mut self, intro: &Intro<'_>) -> Result<(), String> {
        let id = match intro.ext {
            ExtRef::Name(name) => self.id_of(name)?,
            ExtRef::Id(id) => usize::try_from(id).unwrap_or(usize::MAX),
        };
        let ext = self
            .exts
            .get_mut(id)
            .ok_or_else(|| format!("extension {id} was never introduced"))?;
        let generation = *ext.reset_id.get_or_insert(intro.reset_id);
        self.current = Some(Current {
            id,
            record_bytes: intro.record_bytes,
            stale: generation != intro.reset_id,
        });
        Ok(())
    }

    /// The first keyword of an index takes a place in the table.
    ///
    /// # Errors
    /// One extension too many.
    pub fn note_keywords(&mut self) -> Result<(), String> {
        let id = self.id_of(KEYWORDS)?;
        if let Some(ext) = self.exts.get_mut(id) {
            ext.reset_id.get_or_insert(0);
        }
        Ok(())
    }

    /// A new generation of the current extension's data begins.
    ///
    /// # Errors
    /// Nothing was introduced yet.
    pub fn reset(&mut self, reset_id: u32, preserve: bool) -> Result<(), String> {
        let current = self.current.as_mut().ok_or("extension reset before any introduction")?;
        current.stale = false;
        if let Some(ext) = self.exts.get_mut(current.id) {
            ext.reset_id = Some(reset_id);
            if !preserve {
                ext.header.fill(0);
            }
        }
        Ok(())
    }

    /// Writes into the current extension's header. Its name, where the data counts.
    ///
    /// # Errors
    /// Nothing was introduced yet, or the header would grow beyond its bound.
    pub fn patch_header(&mut self, patches: &[Patch<'_>]) -> Result<Option<Arc<str>>, String> {
        let Some((name, _)) = self.current()? else {
            return Ok(None);
        };
        let Some(ext) = self.exts.iter_mut().find(|ext| ext.name == name) else {
            return Ok(None);
        };
        for patch in patches {
            write_at(&mut ext.header, patch)?;
        }
        Ok(Some(name))
    }

    /// The id of a name, which takes the next place where it has none.
    fn id_of(&mut self, name: &str) -> Result<usize, String> {
        if let Some(id) = self.exts.iter().position(|ext| &*ext.name == name) {
            return Ok(id);
        }
        if self.exts.len() >= EXTS_MAX {
            return Err(format!("more than {EXTS_MAX} extensions"));
        }
        self.exts.push(Ext {
            name: name.into(),
            ..Ext::default()
        });
        Ok(self.exts.len().saturating_sub(1))
    }
}

fn write_at(header: &mut Vec<u8>, patch: &Patch<'_>) -> Result<(), String> {
    let start = usize::try_from(patch.offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(patch.data.len());
    if end > EXT_HEADER_BYTES_MAX {
        return Err(format!("an extension's header of {end} bytes"));
    }
    if header.len() < end {
        header.resize(end, 0);
    }
    if let Some(place) = header.get_mut(start..end) {
        place.copy_from_slice(patch.data);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intro(ext: ExtRef<'_>, reset_id: u32) -> Intro<'_> {
        Intro {
            ext,
            reset_id,
            header_bytes: 0,
            record_bytes: 4,
            no_shrink: true,
        }
    }

    #[test]
    fn a_name_introduced_twice_keeps_its_id() {
        let mut table = ExtTable::default();
        for name in ["map", "map", "ref", "map"] {
            table.introduce(&intro(ExtRef::Name(name), 0)).unwrap();
        }
        table.introduce(&intro(ExtRef::Id(1), 0)).unwrap();
        assert_eq!(table.current().unwrap().unwrap().0.as_ref(), "ref");
        assert!(table.introduce(&intro(ExtRef::Id(2), 0)).is_err());
    }

    #[test]
    fn keywords_shift_the_ids_behind_them() {
        let mut table = ExtTable::default();
        table.introduce(&intro(ExtRef::Name("cache"), 0)).unwrap();
        table.note_keywords().unwrap();
        table.note_keywords().unwrap();
        table.introduce(&intro(ExtRef::Name("vsize"), 0)).unwrap();
        table.introduce(&intro(ExtRef::Id(2), 0)).unwrap();
        assert_eq!(table.current().unwrap().unwrap().0.as_ref(), "vsize");
    }

    #[test]
    fn data_of_another_generation_is_ignored_until_the_reset() {
        let mut table = ExtTable::default();
        table.introduce(&intro(ExtRef::Name("cache"), 7)).unwrap();
        table.introduce(&intro(ExtRef::Id(0), 8)).unwrap();
        assert_eq!(table.current(), Ok(None));
        table.reset(8, false).unwrap();
        assert!(table.current().unwrap().is_some());
        assert!(ExtTable::default().current().is_err());
    }

    #[test]
    fn a_header_patch_beyond_the_bound_is_refused() {
        let mut table = ExtTable::default();
        table.introduce(&intro(ExtRef::Name("map"), 0)).unwrap();
        let far = Patch {
            offset: u32::MAX,
            data: &[1],
        };
        assert!(table.patch_header(&[far]).is_err());
        table
            .patch_header(&[Patch {
                offset: 2,
                data: &[1, 2],
            }])
            .unwrap();
        assert_eq!(table.get("map").unwrap().header, [0, 0, 1, 2]);
    }
}
