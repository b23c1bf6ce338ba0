//! Text that SEARCH looks in: decoded by `mail-parser`, case folded.

use super::part::Part;
use crate::limits::MIME_DECODE_NESTING_MAX;
use mail_parser::{HeaderValue, Message, MessageParser, PartType};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A message's texts, folded for comparison.
pub(in crate::serve::imap) struct SearchText<'a> {
    octets: &'a [u8],
    message: Option<Message<'a>>,
}

impl<'a> SearchText<'a> {
    /// Of a message. Mail that the decoder can't take (too deep, or worse) is searched as it stands.
    pub(in crate::serve::imap) fn new(octets: &'a [u8]) -> Self {
        let shallow = Part::parse(octets).depth() <= MIME_DECODE_NESTING_MAX;
        // the decoder has panicked on corrupt mail before; a search must not end the session
        let decode = AssertUnwindSafe(|| MessageParser::new().parse(octets));
        let message = if shallow {
            catch_unwind(decode).unwrap_or_default()
        } else {
            None
        };
        Self { octets, message }
    }

    /// True where a field of that name (lower case) holds `wanted` (folded); with an empty `wanted`, where it exists.
    pub(in crate::serve::imap) fn header(&self, name: &str, wanted: &str) -> bool {
        let values = super::Fields(self.octets).filter(|f| f.name.eq_ignore_ascii_case(name.as_bytes()));
        let raw = values.map(|f| String::from_utf8_lossy(&super::field::unfold(f.value)).into_owned());
        raw.into_iter().any(|value| fold(&value).contains(wanted)) || self.decoded_header(name, wanted)
    }

    fn decoded_header(&self, name: &str, wanted: &str) -> bool {
        let Some(message) = &self.message else { return false };
        let fields = message.headers().iter().filter(|h| h.name().eq_ignore_ascii_case(name));
        fields.into_iter().any(|field| holds(field.value(), wanted))
    }

    /// True where a text part holds `wanted` (folded).
    pub(in crate::serve::imap) fn body(&self, wanted: &str) -> bool {
        match &self.message {
            Some(message) => texts(message, wanted, 0),
            None => fold(&String::from_utf8_lossy(self.octets)).contains(wanted),
        }
    }

    /// True where a header field or a text part holds `wanted` (folded).
    pub(in crate::serve::imap) fn anywhere(&self, wanted: &str) -> bool {
        let header = super::field::header_of(self.octets, 0..self.octets.len());
        let header = self.octets.get(header).unwrap_or_default();
        if fold(&String::from_utf8_lossy(header)).contains(wanted) || self.body(wanted) {
            return true;
        }
        let Some(message) = &self.message else { return false };
        message.headers().iter().any(|field| holds(field.value(), wanted))
    }

    /// The day that the `Date` field names, as written there.
    pub(in crate::serve::imap) fn sent(&self) -> Option<time::Date> {
        let date = self.message.as_ref()?.date()?;
        let month = time::Month::try_from(date.month).ok()?;
        time::Date::from_calendar_date(date.year.into(), month, date.day).ok()
    }
}

/// Case folded, for comparing.
pub(in crate::serve::imap) fn fold(text: &str) -> String {
    text.to_lowercase()
}

fn texts(message: &Message<'_>, wanted: &str, depth: usize) -> bool {
    message.parts.iter().any(|part| match &part.body {
        PartType::Text(text) | PartType::Html(text) => fold(text).contains(wanted),
        PartType::Message(inner) if depth < MIME_DECODE_NESTING_MAX => texts(inner, wanted, depth.saturating_add(1)),
        _ => false,
    })
}

fn holds(value: &HeaderValue<'_>, wanted: &str) -> bool {
    match value {
        HeaderValue::Text(text) => fold(text).contains(wanted),
        HeaderValue::TextList(list) => list.iter().any(|text| fold(text).contains(wanted)),
        HeaderValue::Address(address) => address.iter().any(|a| {
            let shown = format!("{} <{}>", a.name().unwrap_or_default(), a.address().unwrap_or_default());
            fold(&shown).contains(wanted)
        }),
        _ => false,
    }
}
