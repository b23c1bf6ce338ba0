//! What FETCH asks for (RFC 9051 section 6.4.5, RFC 7162 section 3.1.4, RFC 8514).

use super::scan::{Bad, Scan, is_atom};
use super::set::SequenceSet;
use crate::limits::MIME_NESTING_MAX;
use crate::store::embedded::view::Depth;

/// FETCH or UID FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Fetch {
    pub(in crate::serve::imap) uid: bool,
    pub(in crate::serve::imap) set: SequenceSet,
    pub(in crate::serve::imap) items: Vec<Item>,
    /// Only messages with a higher MODSEQ.
    pub(in crate::serve::imap) changed_since: Option<u64>,
    /// Tell what of the set was expunged since, too.
    pub(in crate::serve::imap) vanished: bool,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Item {
    Uid,
    Flags,
    InternalDate,
    Size,
    Modseq,
    SaveDate,
    Guid,
    EmailId,
    ThreadId,
    Envelope,
    Body,
    BodyStructure,
    Section(Section),
    /// `BINARY[…]<…>` (RFC 3516).
    Binary(Section),
    /// `BINARY.SIZE[…]`
    BinarySize(Section),
    /// RFC 8970, with the name that the answer has.
    Preview(&'static str),
}

/// `BODY[…]<…>` and its RFC 822 forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Section {
    /// How the answer names it, without the origin.
    pub(in crate::serve::imap) name: String,
    /// Part numbers from the outermost.
    pub(in crate::serve::imap) part: Vec<u32>,
    pub(in crate::serve::imap) text: SectionText,
    /// First octet and number of octets.
    pub(in crate::serve::imap) partial: Option<(u64, u64)>,
    /// True where reading it leaves the message unseen.
    pub(in crate::serve::imap) peek: bool,
}

/// Which octets of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum SectionText {
    All,
    Header,
    /// Names in lower case.
    Fields(Vec<Vec<u8>>),
    FieldsNot(Vec<Vec<u8>>),
    Text,
    Mime,
}

impl Fetch {
    pub(super) fn parse(scan: &mut Scan<'_>, uid: bool) -> Result<Self, Bad> {
        scan.space()?;
        let set = SequenceSet::parse(scan)?;
        scan.space()?;
        let mut items = if scan.peek() == Some(b'(') {
            scan.list(1, item)?.concat()
        } else {
            macro_or_item(scan)?
        };
        let (mut changed_since, mut vanished) = (None, false);
        if !scan.is_done() {
            scan.space()?;
            (changed_since, vanished) = modifiers(scan)?;
        }
        scan.done()?;
        if vanished && (changed_since.is_none() || !uid) {
            return Bad::new("VANISHED used without CHANGEDSINCE");
        }
        if changed_since.is_some() {
            items.push(Item::Modseq);
        }
        if uid {
            items.insert(0, Item::Uid);
        }
        Ok(Self {
            uid,
            set,
            items: in_order(items),
            changed_since,
            vanished,
        })
    }
}

/// Each item once, those that need no body first, as Dovecot answers them.
fn in_order(items: Vec<Item>) -> Vec<Item> {
    let (mut ordered, mut from_body) = (Vec::new(), Vec::new());
    for item in items {
        let list = if item.needs_body() {
            &mut from_body
        } else {
            &mut ordered
        };
        if !list.contains(&item) {
            list.push(item);
        }
    }
    ordered.append(&mut from_body);
    ordered
}

impl Item {
    /// True where the message's octets are needed.
    pub(in crate::serve::imap) fn needs_body(&self) -> bool {
        self.depth() > Depth::Detail
    }

    /// True where answering it makes the message seen.
    pub(in crate::serve::imap) fn sees(&self) -> bool {
        match self {
            Self::Section(section) | Self::Binary(section) => !section.peek,
            _ => false,
        }
    }

    /// How much of a message must be read; none where its mailbox's listing has it.
    pub(in crate::serve::imap) fn reads(&self) -> Option<Depth> {
        match self {
            Self::Uid | Self::Flags | Self::Modseq | Self::ThreadId => None,
            other => Some(other.depth()),
        }
    }

    fn depth(&self) -> Depth {
        match self {
            Self::Uid | Self::Flags | Self::InternalDate | Self::Size | Self::Modseq => Depth::Detail,
            Self::SaveDate | Self::Guid | Self::EmailId | Self::ThreadId => Depth::Detail,
            Self::Envelope => Depth::Header,
            Self::Section(section) if section.is_in_header() => Depth::Header,
            Self::Body | Self::BodyStructure | Self::Section(_) => Depth::Whole,
            Self::Binary(_) | Self::BinarySize(_) | Self::Preview(_) => Depth::Whole,
        }
    }
}

impl Section {
    /// True where only the message's own header is wanted.
    fn is_in_header(&self) -> bool {
        let header = matches!(
            self.text,
            SectionText::Header | SectionText::Fields(_) | SectionText::FieldsNot(_)
        );
        header && self.part.is_empty()
    }
}

fn macro_or_item(scan: &mut Scan<'_>) -> Result<Vec<Item>, Bad> {
    let fast = vec![Item::Flags, Item::InternalDate, Item::Size];
    let mut ahead = *scan;
    let items = match ahead.keyword().as_str() {
        "FAST" => fast,
        "ALL" => [fast, vec![Item::Envelope]].concat(),
        "FULL" => [fast, vec![Item::Envelope, Item::Body]].concat(),
        _ => return item(scan),
    };
    *scan = ahead;
    Ok(items)
}

fn item(scan: &mut Scan<'_>) -> Result<Vec<Item>, Bad> {
    let word = scan.keyword();
    Ok(vec![match word.as_str() {
        "UID" => Item::Uid,
        "FLAGS" => Item::Flags,
        "INTERNALDATE" => Item::InternalDate,
        "RFC822.SIZE" => Item::Size,
        "MODSEQ" => Item::Modseq,
        "SAVEDATE" => Item::SaveDate,
        "X-GUID" => Item::Guid,
        "EMAILID" => Item::EmailId,
        "THREADID" => Item::ThreadId,
        "PREVIEW" => preview(scan, "PREVIEW")?,
        "SNIPPET" => preview(scan, "SNIPPET")?,
        "BINARY" | "BINARY.PEEK" => Item::Binary(Section {
            peek: word == "BINARY.PEEK",
            ..binary(scan, "BINARY", true)?
        }),
        "BINARY.SIZE" => Item::BinarySize(binary(scan, "BINARY.SIZE", false)?),
        "ENVELOPE" => Item::Envelope,
        "BODYSTRUCTURE" => Item::BodyStructure,
        "BODY" if scan.peek() != Some(b'[') => Item::Body,
        "BODY" | "BODY.PEEK" => Item::Section(Section {
            peek: word == "BODY.PEEK",
            ..section(scan)?
        }),
        "RFC822" => rfc822(&word, SectionText::All),
        "RFC822.HEADER" => rfc822(&word, SectionText::Header),
        "RFC822.TEXT" => rfc822(&word, SectionText::Text),
        _ => return Bad::new(format!("Unknown parameter: {word}")),
    }])
}

fn rfc822(name: &str, text: SectionText) -> Item {
    Item::Section(Section {
        name: name.to_owned(),
        part: Vec::new(),
        peek: text == SectionText::Header,
        text,
        partial: None,
    })
}

/// `BINARY[1.2]<0.5>`: parts by number only.
fn binary(scan: &mut Scan<'_>, name: &str, may_be_partial: bool) -> Result<Section, Bad> {
    let mut section = section(scan)?;
    let plain = section.text == SectionText::All && (may_be_partial || section.partial.is_none());
    section.name = section.name.replacen("BODY", name, 1);
    if plain {
        return Ok(section);
    }
    Bad::new(format!("Invalid {name}[..] section"))
}

/// `PREVIEW`, `PREVIEW (LAZY)`; `(FUZZY)` is what drafts of it had, and Dovecot answers.
fn preview(scan: &mut Scan<'_>, name: &'static str) -> Result<Item, Bad> {
    let mut ahead = *scan;
    while ahead.take(b' ') {}
    if ahead.peek() == Some(b'(') {
        *scan = ahead;
        scan.list(1, |scan| {
            scan.take(b'/');
            match scan.keyword().as_str() {
                "LAZY" | "FUZZY" | "LAZY=FUZZY" => Ok(()),
                other => Bad::new(format!("'{other}' is not a supported {name} modifier")),
            }
        })?;
    }
    Ok(Item::Preview(name))
}

fn section(scan: &mut Scan<'_>) -> Result<Section, Bad> {
    const INVALID: &str = "Invalid BODY[..] section";
    scan.need(b'[')?;
    let spec = scan.keyword();
    let (part, word) = split_part(&spec).ok_or(Bad(INVALID.to_owned()))?;
    let mut name = format!("BODY[{spec}");
    let text = match word {
        "" if spec.ends_with('.') => return Bad::new(INVALID),
        "" => SectionText::All,
        "HEADER" => SectionText::Header,
        "TEXT" => SectionText::Text,
        "MIME" if !part.is_empty() => SectionText::Mime,
        "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
            scan.space()?;
            let fields = scan.list(1, Scan::astring)?;
            name.push_str(&field_names(&fields));
            let fields = fields.iter().map(|f| f.to_ascii_lowercase()).collect();
            if word.ends_with("NOT") {
                SectionText::FieldsNot(fields)
            } else {
                SectionText::Fields(fields)
            }
        }
        _ => return Bad::new(INVALID),
    };
    scan.need(b']')?;
    name.push(']');
    let partial = if scan.take(b'<') { Some(partial(scan)?) } else { None };
    Ok(Section {
        peek: true,
        name,
        part,
        text,
        partial,
    })
}

fn partial(scan: &mut Scan<'_>) -> Result<(u64, u64), Bad> {
    let first = scan.number()?;
    scan.need(b'.')?;
    let octets = scan.number()?;
    scan.need(b'>')?;
    Ok((first, octets))
}

/// ` (A B)`, names in capitals, quoted where they are no atoms.
fn field_names(fields: &[Vec<u8>]) -> String {
    let quoted = fields.iter().map(|field| {
        let name = String::from_utf8_lossy(field).to_ascii_uppercase();
        let plain = !field.is_empty() && field.iter().all(|b| is_atom(*b));
        if plain {
            name
        } else {
            format!("\"{}\"", name.replace(['\\', '"', '\r', '\n'], ""))
        }
    });
    format!(" ({})", quoted.collect::<Vec<_>>().join(" "))
}

/// `1.2.HEADER` → (1, 2), `HEADER`.
fn split_part(spec: &str) -> Option<(Vec<u32>, &str)> {
    let mut part = Vec::new();
    let mut rest = spec;
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let (number, after) = rest.split_once('.').unwrap_or((rest, ""));
        let number: u32 = number.parse().ok().filter(|n| *n > 0)?;
        part.push(number);
        rest = after;
        if part.len() > MIME_NESTING_MAX {
            return None;
        }
    }
    Some((part, rest))
}

fn modifiers(scan: &mut Scan<'_>) -> Result<(Option<u64>, bool), Bad> {
    let (mut since, mut vanished) = (None, false);
    scan.list(1, |scan| {
        match scan.keyword().as_str() {
            "CHANGEDSINCE" => {
                scan.space()?;
                since = Some(scan.number()?);
            }
            "VANISHED" => vanished = true,
            _ => return Bad::new("Unknown FETCH modifier"),
        }
        Ok(())
    })?;
    Ok((since, vanished))
}
