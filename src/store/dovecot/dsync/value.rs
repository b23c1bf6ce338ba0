//! Values of a dsync line: tab-escaped, with a mark for what is absent.

/// Stands for an absent value; a value that begins with it has it twice there.
const ABSENT: u8 = 2;
/// Escapes NUL, itself, TAB, CR and LF.
const ESCAPE: u8 = 1;

/// A line under construction: the item's letter, then its values.
#[derive(Debug)]
pub(super) struct Line {
    bytes: Vec<u8>,
    first: bool,
}

impl Line {
    pub(super) fn new(letter: u8) -> Self {
        Self {
            bytes: vec![letter],
            first: true,
        }
    }

    pub(super) fn value(&mut self, value: Option<&[u8]>) -> &mut Self {
        if !self.first {
            self.bytes.push(b'\t');
        }
        self.first = false;
        match value {
            None => self.bytes.push(ABSENT),
            Some(value) => {
                if value.first() == Some(&ABSENT) {
                    self.bytes.push(ABSENT);
                }
                escape(value, &mut self.bytes);
            }
        }
        self
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.value(Some(value.as_bytes()))
    }

    pub(super) fn number(&mut self, value: impl std::fmt::Display) -> &mut Self {
        self.text(&value.to_string())
    }

    /// Present and empty where true, absent where false.
    pub(super) fn switch(&mut self, on: bool) -> &mut Self {
        self.value(on.then_some(b"".as_slice()))
    }

    pub(super) fn absent(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.value(None);
        }
        self
    }

    /// Puts the line and its end behind what `out` holds.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.bytes);
        out.push(b'\n');
    }
}

fn escape(value: &[u8], out: &mut Vec<u8>) {
    for octet in value {
        let escaped = match octet {
            0 => b'0',
            1 => b'1',
            b'\t' => b't',
            b'\r' => b'r',
            b'\n' => b'n',
            other => {
                out.push(*other);
                continue;
            }
        };
        out.extend([ESCAPE, escaped]);
    }
}

fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        if *octet != ESCAPE {
            out.push(*octet);
            continue;
        }
        match octets.next() {
            Some(b'0') => out.push(0),
            Some(b'1') => out.push(1),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'n') => out.push(b'\n'),
            Some(other) => out.push(*other),
            None => {}
        }
    }
    out
}

/// The values of a line behind its letter. Nothing there: all are absent.
pub(super) fn values(line: &[u8]) -> Vec<Option<Vec<u8>>> {
    if line.is_empty() {
        return Vec::new();
    }
    line.split(|octet| *octet == b'\t').map(value).collect()
}

fn value(written: &[u8]) -> Option<Vec<u8>> {
    match written.split_first() {
        Some((&ABSENT, [])) => None,
        Some((&ABSENT, rest)) => Some(unescape(rest)),
        _ => Some(unescape(written)),
    }
}

/// Elements in one value: each escaped, with TABs between them.
pub(super) fn list<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, element) in elements.into_iter().enumerate() {
        if place > 0 {
            out.push(b'\t');
        }
        escape(element, &mut out);
    }
    out
}

/// Reads what [`list`] wrote.
pub(super) fn elements(value: &[u8]) -> Vec<Vec<u8>> {
    if value.is_empty() {
        return Vec::new();
    }
    value.split(|octet| *octet == b'\t').map(unescape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_octet_that_is_escaped_comes_back_and_absent_is_not_empty() {
        let all: Vec<u8> = (0..=255).collect();
        for case in [&all[..], b"", b"\x02", b"\x02x", b"\x01", b"a\tb\r\n"] {
            let mut out = Vec::new();
            Line::new(b'A').value(Some(case)).value(None).end(&mut out);
            let line = out.strip_suffix(b"\n").unwrap();
            assert!(!line.contains(&b'\n'), "{case:?}");
            assert_eq!(values(&line[1..]), [Some(case.to_vec()), None]);
        }
    }

    #[test]
    fn levels_of_a_name_with_tabs_come_back() {
        for case in [&[&b"Work"[..], "Sub é".as_bytes()][..], &[b"a\tb", b"\x01t"], &[]] {
            assert_eq!(elements(&list(case.iter().copied())), case);
        }
    }
}
