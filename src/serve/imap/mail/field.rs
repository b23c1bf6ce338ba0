//! Header fields, raw: name, value, and the octets of the whole field.

use std::ops::Range;

/// One field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Field<'a> {
    /// Without the colon and the spaces before it; empty for a line without one.
    pub(in crate::serve::imap) name: &'a [u8],
    /// Behind the colon, line ends within, without the last one.
    pub(in crate::serve::imap) value: &'a [u8],
    /// The whole field with its last line end.
    pub(in crate::serve::imap) octets: &'a [u8],
}

/// Fields of a header, in order, up to the empty line.
pub(in crate::serve::imap) struct Fields<'a>(pub(in crate::serve::imap) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let first = line_end(self.0, 0);
        if self.0.is_empty() || is_blank(self.0.get(..first)?) {
            return None;
        }
        let mut end = first;
        while matches!(self.0.get(end), Some(b' ' | b'\t')) {
            end = line_end(self.0, end);
        }
        let (octets, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        Some(field(octets, first))
    }
}

/// The colon of a field stands in its first line, which ends at `first`.
fn field(octets: &[u8], first: usize) -> Field<'_> {
    let colon = octets
        .get(..first)
        .and_then(|line| line.iter().position(|b| *b == b':'));
    let (name, value) = match colon.and_then(|at| octets.split_at_checked(at)) {
        Some((name, rest)) => (name, rest.get(1..).unwrap_or_default()),
        None => (&[][..], octets),
    };
    Field {
        name: name.trim_ascii_end(),
        value: trim_blanks(without_line_end(value)),
        octets,
    }
}

/// Without the blanks of its first line; those that a fold brought stay.
fn trim_blanks(value: &[u8]) -> &[u8] {
    let blanks = value.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    value.get(blanks..).unwrap_or_default()
}

/// Place behind the line that begins at `from`.
pub(super) fn line_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let length = rest
        .iter()
        .position(|b| *b == b'\n')
        .map_or(rest.len(), |at| at.saturating_add(1));
    from.saturating_add(length)
}

/// True for a line that ends a header.
pub(super) fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n")
}

/// Without one line end.
pub(super) fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// The header at the start of `octets.get(range)`, its empty line included.
pub(super) fn header_of(octets: &[u8], range: Range<usize>) -> Range<usize> {
    let mut at = range.start;
    while at < range.end {
        let end = line_end(octets, at).min(range.end);
        if octets.get(at..end).is_some_and(is_blank) {
            return range.start..end;
        }
        at = end;
    }
    range
}

/// Value on one line: line ends go, the white space behind them stays.
pub(in crate::serve::imap) fn unfold(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|b| !b"\r\n".contains(b)).collect()
}
