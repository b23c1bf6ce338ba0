//! What a message's octets say: parts, ENVELOPE, BODYSTRUCTURE, sections, searchable text. Pure.
//!
//! Parts are cut by Dovecot's rules, so that sizes and sections are the same on both sides; the texts for SEARCH are
//! decoded by `mail-parser`.

mod address;
mod binary;
mod bodystructure;
mod envelope;
mod field;
mod lexer;
mod parameters;
mod part;
mod preview;
mod section;
mod text;

pub(super) use address::parse as addresses;
pub(super) use field::{Fields, unfold};
pub(super) use part::Part;
pub(super) use text::{SearchText, fold};

use super::grammar::Item;
use std::ops::Range;
use std::sync::Arc;

/// A piece of a FETCH answer.
#[derive(Debug)]
pub(super) enum Piece {
    /// An item, or its beginning.
    Item(Vec<u8>),
    /// Octets of the message that belong to the item before.
    Octets(Arc<[u8]>, Range<usize>),
}

impl Piece {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Item(bytes) => bytes,
            Self::Octets(octets, range) => octets.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// A part's transfer encoding is one that nobody here can decode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownEncoding;

/// The items that need octets, in the order asked for. (For items of the header, `octets` may end behind it.)
pub(super) fn pieces(octets: &Arc<[u8]>, items: &[&Item]) -> Result<Vec<Piece>, UnknownEncoding> {
    let mut pieces = Vec::new();
    let mut parsed = None;
    for item in items {
        let mut part = || parsed.get_or_insert_with(|| Part::parse(octets)).clone();
        match item {
            Item::Envelope => pieces.push(Piece::Item(named("ENVELOPE", &envelope::write(octets)))),
            Item::Body => pieces.push(Piece::Item(named(
                "BODY",
                &bodystructure::write(octets, &part(), false),
            ))),
            Item::BodyStructure => {
                pieces.push(Piece::Item(named(
                    "BODYSTRUCTURE",
                    &bodystructure::write(octets, &part(), true),
                )));
            }
            Item::Section(section) => pieces.extend(section::pieces(octets, section, part)),
            Item::Binary(section) => pieces.push(Piece::Item(binary::write(octets, section, &part())?)),
            Item::BinarySize(section) => pieces.push(Piece::Item(binary::size(octets, section, &part())?)),
            Item::Preview(name) => pieces.push(Piece::Item(named(name, &preview::write(octets)))),
            Item::Uid | Item::Flags | Item::InternalDate | Item::Size => {}
            Item::Modseq | Item::SaveDate | Item::Guid | Item::EmailId | Item::ThreadId => {}
        }
    }
    Ok(pieces)
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b" ", value].concat()
}
