//! The main index: a complete picture of a mailbox at one place of its log.
//!
//! A header of 120 bytes, then the extensions' headers, then one record a message: `{u32 uid, u8 flags}` and the data of
//! the extensions. It contains everything before ([`Index::log_file_seq`], [`Index::log_head_offset`]). A new or small
//! mailbox has none. It is only ever replaced as a whole, by rename.

use super::exts::{self, Ext, ExtTable};
use super::le::{bytes_at, index, pad8, u8_at, u16_at, u32_at, u64_at};
use super::transaction::{Detail, RawAppend};
use crate::limits::{EXT_HEADER_BYTES_MAX, EXTS_MAX, INDEX_BYTES_MAX, KEYWORD_BYTES_MAX};
use crate::op::{Flags, Keyword, Modseq, Uid, UidValidity};

const MAJOR_VERSION: u8 = 7;
const BASE_HEADER_BYTES_MIN: usize = 120;
const EXT_HEADER_FIELDS_BYTES: usize = 16;
const RECORD_BYTES_MIN: usize = 5;
const FLAG_CORRUPTED: u32 = 0x1;
const FLAG_FSCKD: u32 = 0x4;

/// A main index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Which index; its log carries the same number.
    pub index_id: u32,
    /// True where Dovecot repaired it: messages may be missing that nobody expunged.
    pub repaired: bool,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// UIDNEXT.
    pub uidnext: Uid,
    /// Sequence of the log that goes on from here.
    pub log_file_seq: u32,
    /// Offset in that log: every commit before is contained.
    pub log_head_offset: u32,
    /// The extensions in the order of their ids.
    pub exts: ExtTable,
    /// The messages by ascending UID. MODSEQ 0: the index keeps none.
    pub messages: Vec<RawAppend>,
}

/// Why an index can't be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("main index, byte {offset}: {why}")]
pub struct IndexError {
    /// File offset.
    pub offset: u64,
    /// What is wrong, for people.
    pub why: String,
}

/// Sizes out of the base header.
struct Layout {
    base_header_bytes: usize,
    header_bytes: usize,
    record_bytes: usize,
    messages: usize,
}

/// Where an extension keeps its data in a record.
pub(crate) struct Column {
    pub(crate) ext: Ext,
    offset: usize,
    bytes: usize,
}

impl Column {
    /// The extension's data in a message's record; none where it keeps none.
    pub(crate) fn of<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        bytes_at(record, self.offset, self.bytes).filter(|data| !data.is_empty())
    }
}

/// True where an index's first octets carry the mark that Dovecot repaired it.
pub(crate) fn is_repaired(header: &[u8]) -> bool {
    u32_at(header, 20).is_some_and(|flags| flags & FLAG_FSCKD != 0)
}

impl Index {
    /// Reads a whole main index.
    ///
    /// # Errors
    /// What can't be right, and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let layout = Layout::parse(bytes)?;
        let columns = columns(bytes, &layout)?;
        let messages = messages(bytes, &layout, &columns)?;
        Self::with(bytes, columns, messages)
    }

    /// Reads all but the messages: what that costs does not depend on how many they are.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_header(bytes: &[u8]) -> Result<Self, IndexError> {
        let layout = Layout::parse(bytes)?;
        Self::with(bytes, columns(bytes, &layout)?, Vec::new())
    }

    fn with(bytes: &[u8], columns: Vec<Column>, messages: Vec<RawAppend>) -> Result<Self, IndexError> {
        let cut = || wrong(0, "shorter than its header");
        let field = |at| u32_at(bytes, at).ok_or_else(cut);
        Ok(Self {
            index_id: field(16)?,
            repaired: is_repaired(bytes),
            uidvalidity: UidValidity(field(24)?),
            uidnext: Uid(field(28)?),
            log_file_seq: field(60)?,
            log_head_offset: field(68)?,
            exts: ExtTable::of(columns.into_iter().map(|column| column.ext).collect()),
            messages,
        })
    }
}

/// The entries of an index that holds no messages: the map of mdbox bodies.
pub(crate) struct RawIndex<'a> {
    /// The extensions.
    pub(crate) columns: Vec<Column>,
    /// UID and record of each entry.
    pub(crate) records: Vec<(Uid, &'a [u8])>,
}

impl<'a> RawIndex<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, IndexError> {
        let layout = Layout::parse(bytes)?;
        let columns = columns(bytes, &layout)?;
        let records = records(bytes, &layout)?;
        Ok(Self { columns, records })
    }
}

fn wrong(at: usize, why: impl Into<String>) -> IndexError {
    IndexError {
        offset: u64::try_from(at).unwrap_or(u64::MAX),
        why: why.into(),
    }
}

impl Layout {
    fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        if u64::try_from(bytes.len()).map_or(true, |len| len > INDEX_BYTES_MAX) {
            return Err(wrong(0, format!("larger than {INDEX_BYTES_MAX} bytes")));
        }
        let layout = Self::fields(bytes).ok_or_else(|| wrong(0, "shorter than its header"))?;
        let major = u8_at(bytes, 0).unwrap_or_default();
        if major != MAJOR_VERSION {
            return Err(wrong(0, format!("major version {major}, not {MAJOR_VERSION}")));
        }
        if u8_at(bytes, 12) != Some(1) {
            return Err(wrong(12, "written by a machine of another byte order"));
        }
        if u32_at(bytes, 20).is_some_and(|flags| flags & FLAG_CORRUPTED != 0) {
            return Err(wrong(20, "marked as corrupted"));
        }
        layout.check(bytes.len())?;
        Ok(layout)
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        bytes_at(bytes, 0, BASE_HEADER_BYTES_MIN)?;
        Some(Self {
            base_header_bytes: usize::from(u16_at(bytes, 2)?),
            header_bytes: index(u32_at(bytes, 4)?),
            record_bytes: index(u32_at(bytes, 8)?),
            messages: index(u32_at(bytes, 32)?),
        })
    }

    fn check(&self, file_bytes: usize) -> Result<(), IndexError> {
        if self.base_header_bytes < BASE_HEADER_BYTES_MIN || self.header_bytes < self.base_header_bytes {
            return Err(wrong(2, "impossible header sizes"));
        }
        if self.record_bytes < RECORD_BYTES_MIN {
            return Err(wrong(8, format!("records of {} bytes", self.record_bytes)));
        }
        let records = self.messages.checked_mul(self.record_bytes);
        let end = records.and_then(|records| records.checked_add(self.header_bytes));
        if end.is_none_or(|end| end > file_bytes) {
            return Err(wrong(
                file_bytes,
                format!("ends before its {} messages do", self.messages),
            ));
        }
        Ok(())
    }
}

fn columns(bytes: &[u8], layout: &Layout) -> Result<Vec<Column>, IndexError> {
    let header = bytes.get(..layout.header_bytes).unwrap_or_default();
    let mut columns: Vec<Column> = Vec::new();
    let mut at = pad8(layout.base_header_bytes);
    while at < header.len() {
        let (column, next) = column_at(header, at).ok_or_else(|| wrong(at, "an extension header is cut"))?;
        let name = &column.ext.name;
        if column.offset.saturating_add(column.bytes) > layout.record_bytes {
            return Err(wrong(at, format!("extension {name:?} reaches beyond the record")));
        }
        if columns.iter().any(|other| other.ext.name == *name) {
            return Err(wrong(at, format!("extension {name:?} twice")));
        }
        if columns.len() >= EXTS_MAX || column.ext.header.len() > EXT_HEADER_BYTES_MAX {
            return Err(wrong(at, "too many or too large extensions"));
        }
        columns.push(column);
        at = next;
    }
    Ok(columns)
}

fn column_at(header: &[u8], at: usize) -> Option<(Column, usize)> {
    let fields = bytes_at(header, at, EXT_HEADER_FIELDS_BYTES)?;
    let header_bytes = index(u32_at(fields, 0)?);
    let name_at = at.checked_add(EXT_HEADER_FIELDS_BYTES)?;
    let name_bytes = usize::from(u16_at(fields, 14)?);
    let name = std::str::from_utf8(bytes_at(header, name_at, name_bytes)?).ok()?;
    let data_at = pad8(name_at.checked_add(name_bytes)?);
    let column = Column {
        ext: Ext {
            name: name.into(),
            reset_id: u32_at(fields, 4),
            header: bytes_at(header, data_at, header_bytes)?.to_vec(),
        },
        offset: usize::from(u16_at(fields, 8)?),
        bytes: usize::from(u16_at(fields, 10)?),
    };
    Some((column, pad8(data_at.checked_add(header_bytes)?)))
}

fn records<'a>(bytes: &'a [u8], layout: &Layout) -> Result<Vec<(Uid, &'a [u8])>, IndexError> {
    let all = layout.messages.saturating_mul(layout.record_bytes);
    let area = bytes_at(bytes, layout.header_bytes, all).unwrap_or_default();
    let mut records: Vec<(Uid, &[u8])> = Vec::with_capacity(layout.messages);
    for record in area.chunks_exact(layout.record_bytes) {
        let uid = Uid(u32_at(record, 0).unwrap_or_default());
        let last = records.last().map_or(Uid(0), |(uid, _)| *uid);
        if uid <= last {
            let at = layout
                .header_bytes
                .saturating_add(records.len().saturating_mul(layout.record_bytes));
            return Err(wrong(at, format!("UID {uid} after UID {last}")));
        }
        records.push((uid, record));
    }
    Ok(records)
}

fn messages(bytes: &[u8], layout: &Layout, columns: &[Column]) -> Result<Vec<RawAppend>, IndexError> {
    let names = match columns.iter().find(|column| &*column.ext.name == exts::KEYWORDS) {
        Some(column) => keyword_names(&column.ext.header)?,
        None => Vec::new(),
    };
    let uidnext = Uid(u32_at(bytes, 28).unwrap_or_default());
    let records = records(bytes, layout)?;
    if records.last().is_some_and(|(uid, _)| *uid >= uidnext) {
        return Err(wrong(28, format!("a message at or above UIDNEXT {uidnext}")));
    }
    Ok(records
        .into_iter()
        .map(|(uid, record)| message(uid, record, columns, &names))
        .collect())
}

fn message(uid: Uid, record: &[u8], columns: &[Column], names: &[Keyword]) -> RawAppend {
    let mut message = RawAppend {
        uid,
        flags: Flags::from_bits(u8_at(record, 4).unwrap_or_default()),
        ..RawAppend::default()
    };
    for column in columns {
        let Some(data) = column.of(record) else {
            continue;
        };
        match &*column.ext.name {
            exts::KEYWORDS => message.keywords = keywords_of(data, names),
            exts::MODSEQ => message.modseq = Modseq(u64_at(data, 0).unwrap_or_default()),
            name => {
                if let Some(detail) = Detail::read(name, data) {
                    message.learn(detail);
                }
            }
        }
    }
    message
}

/// Bit `i`, lowest first, is the keyword `names[i]`.
fn keywords_of(data: &[u8], names: &[Keyword]) -> Vec<Keyword> {
    let bits = data.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 != 0));
    bits.zip(names)
        .filter(|(set, _)| *set)
        .map(|(_, name)| name.clone())
        .collect()
}

/// The names in a keywords header: `u32 count`, that many `{u32 unused, u32 name offset}`, NUL-terminated names.
fn keyword_names(header: &[u8]) -> Result<Vec<Keyword>, IndexError> {
    let count = index(u32_at(header, 0).unwrap_or_default());
    let names_at = count.saturating_mul(8).saturating_add(4);
    let area = header
        .get(names_at..)
        .ok_or_else(|| wrong(0, format!("{count} keywords in too small a header")))?;
    let name = |number: usize| {
        let field_at = number.checked_mul(8)?.checked_add(8)?;
        let rest = area.get(index(u32_at(header, field_at)?)..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(rest.get(..end)?).ok()?;
        (!name.is_empty() && end <= KEYWORD_BYTES_MAX).then(|| Keyword(name.to_owned()))
    };
    let names: Option<Vec<Keyword>> = (0..count).map(name).collect();
    names.ok_or_else(|| wrong(0, "a keyword without a name"))
}

/// Entry point for fuzzing: any octets as a main index.
pub fn fuzz_index(bytes: &[u8]) {
    let _ = Index::parse(bytes);
}
