//! From bytes to lines, and to the octets of a message behind DATA. Pure.

use crate::limits::LMTP_LINE_BYTES_MAX;

/// Bytes that came and were not read yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// A line beyond the bound is being dropped.
    dropping: bool,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// Beyond the bound; dropped.
    TooLong,
}

impl Input {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next line, none until its end has come.
    pub(super) fn line(&mut self) -> Option<Line> {
        let Some(end) = memchr::memchr(b'\n', &self.bytes) else {
            if self.bytes.len() > LMTP_LINE_BYTES_MAX {
                self.bytes.clear();
                self.dropping = true;
            }
            return None;
        };
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        if std::mem::take(&mut self.dropping) || line.len() > LMTP_LINE_BYTES_MAX {
            return Some(Line::TooLong);
        }
        line.pop();
        line.pop_if(|b| *b == b'\r');
        Some(Line::Whole(line))
    }

    /// Takes up to `most` octets.
    pub(super) fn octets(&mut self, most: u64) -> Vec<u8> {
        let n = self.bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        self.bytes.drain(..n).collect()
    }

    /// Hands what is there to a reader of data; true once its end was found.
    pub(super) fn data(&mut self, dots: &mut Dots, out: &mut Vec<u8>) -> bool {
        let (read, ended) = dots.read(&self.bytes, out);
        self.bytes.drain(..read);
        ended
    }
}

/// Takes the dots out of data that was sent with DATA (RFC 5321 section 4.5.2). Only CRLF ends a line: what a sender hides
/// behind a bare LF is part of the message, whoever else would see a command in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dots {
    /// At the start of a line.
    #[default]
    Start,
    /// Behind a dot at the start of a line.
    Dot,
    /// Behind `.` CR there.
    DotCr,
    /// Within a line.
    Text,
    /// Behind CR within a line.
    Cr,
}

impl Dots {
    /// Reads until the end of the data, or of `bytes`: how many were read, and whether the data ended.
    pub(super) fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        for (place, byte) in bytes.iter().enumerate() {
            match (*self, byte) {
                (Self::Start, b'.') => *self = Self::Dot,
                (Self::Dot, b'\r') => *self = Self::DotCr,
                (Self::DotCr, b'\n') => {
                    *self = Self::Start;
                    return (place.saturating_add(1), true);
                }
                (Self::DotCr, byte) => {
                    out.push(b'\r');
                    *self = Self::Cr;
                    self.text(*byte, out);
                }
                (_, byte) => self.text(*byte, out),
            }
        }
        (bytes.len(), false)
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) {
        out.push(byte);
        *self = match (*self, byte) {
            (Self::Cr, b'\n') => Self::Start,
            (_, b'\r') => Self::Cr,
            _ => Self::Text,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data and what is left behind it; none where it doesn't end.
    fn data(sent: &[u8], size: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut input, mut dots, mut out) = (Input::default(), Dots::default(), Vec::new());
        let mut pieces = sent.chunks(size);
        while let Some(piece) = pieces.next() {
            input.push(piece);
            if input.data(&mut dots, &mut out) {
                let mut left = input.octets(u64::MAX);
                pieces.for_each(|piece| left.extend_from_slice(piece));
                return Some((out, left));
            }
        }
        None
    }

    #[test]
    fn dots_are_taken_out_and_the_end_is_found_in_any_pieces() {
        for (sent, message) in [
            (b"a\r\n.\r\nQUIT".as_slice(), Some(b"a\r\n".as_slice())),
            (b".\r\nQUIT", Some(b"")),
            (b"..\r\n...x\r\n.\r\nQUIT", Some(b".\r\n..x\r\n")),
            (b".\rx\r\n.\r\nQUIT", Some(b"\rx\r\n")),
            (b"a\n.\r\nb\n.\nc\r\n.\r\nQUIT", Some(b"a\n.\r\nb\n.\nc\r\n")),
            (b"a\r.\r\n.\r\nQUIT", Some(b"a\r.\r\n")),
            (b"a\r\n.", None),
        ] {
            for size in 1..8 {
                let expected = message.map(|message| (message.to_vec(), b"QUIT".to_vec()));
                assert_eq!(data(sent, size), expected, "{}", sent.escape_ascii());
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut input = Input::default();
        for _ in 0..100 {
            input.push(&[b'x'; 1000]);
            assert_eq!(input.line(), None);
            assert!(input.bytes.len() <= LMTP_LINE_BYTES_MAX + 1000);
        }
        input.push(b"\r\nNOOP\r\n");
        assert_eq!(input.line(), Some(Line::TooLong));
        assert_eq!(input.line(), Some(Line::Whole(b"NOOP".to_vec())));
    }

    proptest::proptest! {
        #[test]
        fn what_is_stuffed_comes_out_as_it_was(text in "[a.\r\n]{0,40}", size in 1_usize..9) {
            let mut stuffed = text.replace("\r\n.", "\r\n..");
            if stuffed.starts_with('.') {
                stuffed.insert(0, '.');
            }
            let sent = format!("{stuffed}\r\n.\r\n");
            let (out, left) = data(sent.as_bytes(), size).unwrap();
            proptest::prop_assert_eq!(out, format!("{text}\r\n").into_bytes());
            proptest::prop_assert!(left.is_empty());
        }
    }
}
