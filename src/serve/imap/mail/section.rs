//! `BODY[…]`: which octets a section means (RFC 9051 section 6.4.5).

use super::Piece;
use super::field::{Fields, header_of};
use super::part::{Kind, Part};
use crate::serve::imap::grammar::{Section, SectionText};
use std::ops::Range;
use std::sync::Arc;

/// Octets of a section: a stretch of the message, or fields picked from a header.
enum Octets {
    Stretch(Range<usize>),
    Picked(Vec<u8>),
}

/// The item's name with the literal's announcement, and its octets. A part that doesn't exist is empty, as Dovecot
/// answers it. `tree` parses the message; it is called only where parts are named.
pub(super) fn pieces<'t>(octets: &Arc<[u8]>, section: &Section, tree: impl FnOnce() -> Part + 't) -> Vec<Piece> {
    let found = if section.part.is_empty() {
        let header = header_of(octets, 0..octets.len());
        let body = header.end..octets.len();
        whole(octets, header, body, &section.text)
    } else {
        in_part(octets, section, &tree()).unwrap_or(Octets::Stretch(0..0))
    };
    let mut name = section.name.clone();
    if let Some((first, _)) = section.partial {
        name.push_str(&format!("<{first}>"));
    }
    match found {
        Octets::Stretch(range) => {
            let range = cut(range, section.partial);
            let head = format!("{name} {{{}}}\r\n", range.len());
            vec![Piece::Item(head.into_bytes()), Piece::Octets(Arc::clone(octets), range)]
        }
        Octets::Picked(text) => {
            let text = text.get(cut(0..text.len(), section.partial)).unwrap_or_default();
            let head = format!("{name} {{{}}}\r\n", text.len());
            vec![Piece::Item([head.as_bytes(), text].concat())]
        }
    }
}

/// The part of `range` that `<first.count>` asks for.
pub(super) fn cut(range: Range<usize>, partial: Option<(u64, u64)>) -> Range<usize> {
    let Some((first, count)) = partial else { return range };
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let start = range.start.saturating_add(number(first)).min(range.end);
    start..start.saturating_add(number(count)).min(range.end)
}

/// A section of the message with that header and that body.
fn whole(octets: &[u8], header: Range<usize>, body: Range<usize>, text: &SectionText) -> Octets {
    match text {
        SectionText::All => Octets::Stretch(header.start..body.end),
        SectionText::Header | SectionText::Mime => Octets::Stretch(header),
        SectionText::Text => Octets::Stretch(body),
        SectionText::Fields(names) => Octets::Picked(pick(octets, header, |name| names.iter().any(|n| n == name))),
        SectionText::FieldsNot(names) => Octets::Picked(leave_out(octets, header, names)),
    }
}

/// Whole fields whose lower-case name is wanted, and the empty line.
fn pick(octets: &[u8], header: Range<usize>, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let header = octets.get(header).unwrap_or_default();
    let mut picked = Vec::new();
    for field in Fields(header).filter(|f| wanted(&f.name.to_ascii_lowercase())) {
        picked.extend_from_slice(field.octets);
        if !field.octets.ends_with(b"\n") {
            picked.extend_from_slice(b"\r\n");
        }
    }
    picked.extend_from_slice(b"\r\n");
    picked
}

/// The header without the fields of these lower-case names.
fn leave_out(octets: &[u8], header: Range<usize>, names: &[Vec<u8>]) -> Vec<u8> {
    let mut fields = Fields(octets.get(header).unwrap_or_default());
    let mut left = Vec::new();
    for field in fields
        .by_ref()
        .filter(|f| !names.contains(&f.name.to_ascii_lowercase()))
    {
        left.extend_from_slice(field.octets);
    }
    // what stands behind the last field: the empty line, where there is one
    left.extend_from_slice(fields.0);
    left
}

fn in_part(octets: &[u8], section: &Section, root: &Part) -> Option<Octets> {
    let part = find(root, &section.part)?;
    match (&section.text, &part.kind) {
        (SectionText::All, _) => Some(Octets::Stretch(part.body.clone())),
        (SectionText::Mime, _) => Some(Octets::Stretch(part.header.clone())),
        (text, Kind::Message(inner)) => Some(whole(octets, inner.header.clone(), inner.body.clone(), text)),
        _ => None,
    }
}

/// The part of that number. What is no multipart has one part, itself; a message within is seen through.
pub(super) fn find<'p>(root: &'p Part, numbers: &[u32]) -> Option<&'p Part> {
    let mut part = root;
    let mut in_message = true;
    for number in numbers {
        if let (Kind::Message(inner), false) = (&part.kind, in_message) {
            part = inner;
            in_message = true;
        }
        match &part.kind {
            Kind::Multipart(parts) => {
                part = parts.get(usize::try_from(*number).ok()?.checked_sub(1)?)?;
                // Dovecot takes one more `1` for what is neither multipart nor message
                in_message = !matches!(part.kind, Kind::Message(_));
            }
            _ if *number == 1 && in_message => in_message = false,
            _ => return None,
        }
    }
    Some(part)
}
