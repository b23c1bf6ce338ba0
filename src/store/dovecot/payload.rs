//! What each kind of record says.
//!
//! Payloads are arrays of fixed entries, or lists of entries padded to 4 bytes. A payload that doesn't divide into whole
//! entries, or that names UID 0 or a range that ends before it begins, is damage.

use super::le::{array_at, bytes_at, index, pad4, u8_at, u16_at, u32_at};
use super::record::{Kind, Record};
use crate::limits::KEYWORD_BYTES_MAX;
use crate::op::{Keyword, KeywordVerb, Modseq, Uid, UidRange};

/// Longest name of an extension that Dovecot accepts.
const EXT_NAME_BYTES_MAX: usize = 64;

/// What a record says. Borrows extension data from the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Mails are gone, or shall go.
    Expunge(Vec<UidRange>),
    /// Mails arrive: UID and flag byte.
    Append(Vec<(Uid, u8)>),
    /// System flags change.
    Flags(Vec<FlagEntry>),
    /// Fields of the index header change.
    Header(Vec<Patch<'a>>),
    /// Extensions that the next records are about; the last one counts.
    Intro(Vec<Intro<'a>>),
    /// The current extension's data is void.
    ExtReset {
        /// Its new reset id.
        reset_id: u32,
        /// True: only the id changes.
        preserve: bool,
    },
    /// The current extension's header changes.
    ExtHeader(Vec<Patch<'a>>),
    /// The current extension's records change: see [`ext_records`].
    ExtRecords(&'a [u8]),
    /// A number in the current extension's records changes.
    Increments(Vec<(Uid, i32)>),
    /// One keyword changes ([`KeywordVerb::Reset`] has none).
    Keywords {
        /// What happens.
        verb: KeywordVerb,
        /// To which keyword.
        keyword: Keyword,
        /// Of which messages.
        uids: Vec<UidRange>,
    },
    /// MODSEQs are raised; UID 0: only the mailbox's.
    Modseqs(Vec<(Uid, Modseq)>),
    /// The mailbox is being deleted.
    IndexDeleted,
    /// It is not.
    IndexUndeleted,
    /// Mailbox attributes change.
    Attributes(Vec<AttributeChange<'a>>),
}

/// One entry of a flag update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagEntry {
    /// Which messages.
    pub uids: UidRange,
    /// Bits to set.
    pub add: u8,
    /// Bits to clear.
    pub remove: u8,
    /// True: counts as a change even if no client-visible bit is named.
    pub raise_modseq: bool,
}

impl FlagEntry {
    /// True where no client can see it: Dovecot's own bits only, and no MODSEQ.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        (self.add | self.remove) & 0x1f == 0 && !self.raise_modseq
    }
}

/// New bytes for a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch<'a> {
    /// Where in the header.
    pub offset: u32,
    /// The bytes.
    pub data: &'a [u8],
}

impl Patch<'_> {
    /// The 32 bit field at header offset `field`, where this patch covers all of it.
    #[must_use]
    pub fn u32_field(&self, field: u32) -> Option<u32> {
        u32_at(self.data, index(field.checked_sub(self.offset)?))
    }
}

/// Says which extension the next records are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intro<'a> {
    /// Its place in the table of extensions, or its name.
    pub ext: ExtRef<'a>,
    /// The generation of its data that the next records belong to.
    pub reset_id: u32,
    /// Size of its header.
    pub header_bytes: u32,
    /// Size of its record of one mail: the layout of the next records.
    pub record_bytes: u16,
    /// True: sizes only ever grow.
    pub no_shrink: bool,
}

/// How an intro names its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtRef<'a> {
    /// By its place in the table.
    Id(u32),
    /// By its name.
    Name(&'a str),
}

/// A mailbox attribute was set or unset. The value is elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeChange<'a> {
    /// True: set.
    pub set: bool,
    /// True: a shared attribute; false: a private one.
    pub shared: bool,
    /// Its key.
    pub key: &'a [u8],
}

/// Why a payload can't be right.
type Why = String;

/// Reads a record's payload. A boundary says nothing by itself.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse<'a>(record: &Record<'a>) -> Result<Change<'a>, Why> {
    let payload = record.payload;
    Ok(match record.kind {
        Kind::ExpungeRanges => Change::Expunge(uid_ranges(payload)?),
        Kind::ExpungeGuids => Change::Expunge(entries::<20, _>(payload, |e| uid(e, 0).map(UidRange::one))?),
        Kind::Append => Change::Append(entries::<8, _>(payload, |e| Some((uid(e, 0)?, u8_at(e, 4)?)))?),
        Kind::FlagUpdate => Change::Flags(entries::<12, _>(payload, flag_entry)?),
        Kind::HeaderUpdate => Change::Header(patches(payload, Width::Narrow)?),
        Kind::ExtIntro => Change::Intro(intros(payload)?),
        Kind::ExtReset => ext_reset(payload).ok_or("extension reset without an id")?,
        Kind::ExtHeaderUpdate => Change::ExtHeader(patches(payload, Width::Narrow)?),
        Kind::ExtHeaderUpdate32 => Change::ExtHeader(patches(payload, Width::Wide)?),
        Kind::ExtRecordUpdate => Change::ExtRecords(payload),
        Kind::ExtAtomicIncrement => Change::Increments(entries::<8, _>(payload, increment)?),
        Kind::KeywordUpdate => keyword_update(payload)?,
        Kind::KeywordReset => keyword_reset(payload)?,
        Kind::ModseqUpdate => Change::Modseqs(entries::<12, _>(payload, modseq)?),
        Kind::IndexDeleted => Change::IndexDeleted,
        Kind::IndexUndeleted => Change::IndexUndeleted,
        Kind::AttributeUpdate => Change::Attributes(attributes(payload).ok_or("attribute list without an end")?),
        Kind::Boundary => return Err("a boundary where a change belongs".to_owned()),
    })
}

/// Splits an extension's records: UID and `record_bytes` bytes each, padded to 4.
///
/// # Errors
/// What is wrong, for people.
pub fn ext_records(payload: &[u8], record_bytes: u16) -> Result<Vec<(Uid, &[u8])>, Why> {
    let record_bytes = usize::from(record_bytes);
    let stride = pad4(record_bytes.saturating_add(4));
    if payload.is_empty() || !payload.len().is_multiple_of(stride) {
        return Err(format!(
            "{} bytes of extension records of {record_bytes} bytes",
            payload.len()
        ));
    }
    let entry = |entry| Some((uid(entry, 0)?, bytes_at(entry, 4, record_bytes)?));
    let records: Option<Vec<_>> = payload.chunks_exact(stride).map(entry).collect();
    records.ok_or_else(|| "an extension record of UID 0".to_owned())
}

/// An array of entries of `N` bytes, at least one.
fn entries<'a, const N: usize, T>(payload: &'a [u8], entry: impl Fn(&'a [u8]) -> Option<T>) -> Result<Vec<T>, Why> {
    if payload.is_empty() || !payload.len().is_multiple_of(N) {
        return Err(format!("{} bytes where entries of {N} bytes belong", payload.len()));
    }
    let entries: Option<Vec<T>> = payload.chunks_exact(N).map(entry).collect();
    entries.ok_or_else(|| "UID 0, or a range that ends before it begins".to_owned())
}

/// A UID that is not 0.
fn uid(bytes: &[u8], at: usize) -> Option<Uid> {
    u32_at(bytes, at).filter(|uid| *uid != 0).map(Uid)
}

fn uid_range(bytes: &[u8]) -> Option<UidRange> {
    let (first, last) = (uid(bytes, 0)?, uid(bytes, 4)?);
    (first <= last).then_some(UidRange { first, last })
}

fn uid_ranges(payload: &[u8]) -> Result<Vec<UidRange>, Why> {
    entries::<8, _>(payload, uid_range)
}

fn flag_entry(entry: &[u8]) -> Option<FlagEntry> {
    Some(FlagEntry {
        uids: uid_range(entry)?,
        add: u8_at(entry, 8)?,
        remove: u8_at(entry, 9)?,
        raise_modseq: u8_at(entry, 10)? != 0,
    })
}

fn increment(entry: &[u8]) -> Option<(Uid, i32)> {
    Some((uid(entry, 0)?, array_at(entry, 4).map(i32::from_le_bytes)?))
}

/// UID 0 is legal here: it raises the mailbox's MODSEQ alone.
fn modseq(entry: &[u8]) -> Option<(Uid, Modseq)> {
    let (low, high) = (u32_at(entry, 4)?, u32_at(entry, 8)?);
    Some((Uid(u32_at(entry, 0)?), Modseq(u64::from(high) << 32 | u64::from(low))))
}

fn ext_reset(payload: &[u8]) -> Option<Change<'_>> {
    Some(Change::ExtReset {
        reset_id: u32_at(payload, 0)?,
        preserve: u8_at(payload, 4).is_some_and(|flag| flag != 0),
    })
}

/// Width of the offset and size fields of a patch.
#[derive(Clone, Copy)]
enum Width {
    Narrow,
    Wide,
}

fn patches(payload: &[u8], width: Width) -> Result<Vec<Patch<'_>>, Why> {
    let mut patches = Vec::new();
    let mut at: usize = 0;
    while at < payload.len() {
        let (patch, next) = patch_at(payload, at, width).ok_or("a header update is cut")?;
        patches.push(patch);
        at = next;
    }
    Ok(patches)
}

fn patch_at(payload: &[u8], at: usize, width: Width) -> Option<(Patch<'_>, usize)> {
    let rest = payload.get(at..)?;
    let (offset, size, data_at) = match width {
        Width::Narrow => (u32::from(u16_at(rest, 0)?), usize::from(u16_at(rest, 2)?), 4),
        Width::Wide => (u32_at(rest, 0)?, index(u32_at(rest, 4)?), 8),
    };
    let data = bytes_at(rest, data_at, size)?;
    let next = at.checked_add(pad4(data_at.checked_add(size)?))?;
    Some((Patch { offset, data }, next))
}

fn intros(payload: &[u8]) -> Result<Vec<Intro<'_>>, Why> {
    let mut intros = Vec::new();
    let mut at: usize = 0;
    while at < payload.len() {
        let (intro, next) = intro_at(payload, at).ok_or("an extension's introduction is cut or has no name")?;
        intros.push(intro);
        at = next;
    }
    Ok(intros)
}

fn intro_at(payload: &[u8], at: usize) -> Option<(Intro<'_>, usize)> {
    const NAMED: u32 = u32::MAX;
    const NAME_AT: usize = 20;
    let rest = payload.get(at..)?;
    let name_bytes = usize::from(u16_at(rest, 18)?);
    let name = bytes_at(rest, NAME_AT, name_bytes)?;
    let ext = match u32_at(rest, 0)? {
        NAMED if name.is_empty() || name_bytes > EXT_NAME_BYTES_MAX => return None,
        NAMED => ExtRef::Name(std::str::from_utf8(name).ok().filter(|name| !name.contains('\0'))?),
        id => ExtRef::Id(id),
    };
    let intro = Intro {
        ext,
        reset_id: u32_at(rest, 4)?,
        header_bytes: u32_at(rest, 8)?,
        record_bytes: u16_at(rest, 12)?,
        no_shrink: u16_at(rest, 16)? & 1 != 0,
    };
    Some((intro, at.checked_add(pad4(NAME_AT.checked_add(name_bytes)?))?))
}

fn keyword_update(payload: &[u8]) -> Result<Change<'_>, Why> {
    let cut = "a keyword update is cut";
    let verb = match u8_at(payload, 0).ok_or(cut)? {
        0 => KeywordVerb::Add,
        1 => KeywordVerb::Remove,
        2 => KeywordVerb::Replace,
        other => return Err(format!("keyword update {other}: none that is known")),
    };
    let name_bytes = usize::from(u16_at(payload, 2).ok_or(cut)?);
    let name = bytes_at(payload, 4, name_bytes).ok_or(cut)?;
    if name.is_empty() || name_bytes > KEYWORD_BYTES_MAX {
        return Err(format!("a keyword of {name_bytes} bytes"));
    }
    let keyword = Keyword(
        std::str::from_utf8(name)
            .map_err(|_| "a keyword that is no UTF-8")?
            .to_owned(),
    );
    let uids = uid_ranges(payload.get(pad4(name_bytes.saturating_add(4))..).unwrap_or_default())?;
    Ok(Change::Keywords { verb, keyword, uids })
}

fn keyword_reset(payload: &[u8]) -> Result<Change<'_>, Why> {
    Ok(Change::Keywords {
        verb: KeywordVerb::Reset,
        keyword: Keyword::default(),
        uids: uid_ranges(payload)?,
    })
}

/// `{+|-}{p|s}key NUL` each, then one more NUL; the time stamps and lengths behind are of no use without the values.
fn attributes(payload: &[u8]) -> Option<Vec<AttributeChange<'_>>> {
    let mut changes = Vec::new();
    let mut rest = payload;
    loop {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (name, after) = rest.split_at_checked(end)?;
        if name.is_empty() {
            return Some(changes);
        }
        let (verb, key) = name.split_at_checked(2)?;
        let set = matches!(verb, [b'+', _]);
        let shared = matches!(verb, [_, b's']);
        changes.push(AttributeChange { set, shared, key });
        rest = after.get(1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, payload: &[u8]) -> Record<'_> {
        let (external, replicated) = (true, false);
        Record {
            offset: 0,
            kind,
            external,
            replicated,
            payload,
        }
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_damage() {
        let backwards = [5, 0, 0, 0, 4, 0, 0, 0];
        assert!(parse(&record(Kind::KeywordReset, &backwards)).is_err());
        let zero = [0, 0, 0, 0, 4, 0, 0, 0];
        assert!(parse(&record(Kind::ExpungeRanges, &zero)).is_err());
        assert!(parse(&record(Kind::Append, &[])).is_err());
    }

    #[test]
    fn merged_header_fields_are_found_by_range() {
        let both = [24, 0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        let Ok(Change::Header(patches)) = parse(&record(Kind::HeaderUpdate, &both)) else {
            panic!("a header update");
        };
        assert_eq!(patches[0].u32_field(24), Some(1));
        assert_eq!(patches[0].u32_field(28), Some(2));
        assert_eq!(patches[0].u32_field(32), None);
        assert_eq!(patches[0].u32_field(20), None);
    }

    #[test]
    fn only_dovecots_own_bits_are_internal() {
        let entry = |add, raise_modseq| FlagEntry {
            uids: UidRange::one(Uid(1)),
            add,
            remove: 0,
            raise_modseq,
        };
        assert!(entry(0x40, false).is_internal());
        assert!(!entry(0x40, true).is_internal());
        assert!(!entry(0x48, false).is_internal());
    }

    #[test]
    fn attributes_end_at_the_empty_name() {
        let payload = b"+scomment\0-pother\0\0\0\0\0\0";
        let Ok(Change::Attributes(changes)) = parse(&record(Kind::AttributeUpdate, payload)) else {
            panic!("attributes");
        };
        assert_eq!(changes.len(), 2);
        assert!(changes[0].set && changes[0].shared && changes[0].key == b"comment");
        assert!(!changes[1].set && !changes[1].shared);
    }
}
