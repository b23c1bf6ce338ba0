//! Streams inside a session: octets with a `.` doubled at the start of a line, ended by CR LF `.` CR LF.

/// Octets → stream.
#[derive(Debug)]
pub(super) struct Stuffer {
    at_line_start: bool,
}

impl Stuffer {
    /// At the beginning of a stream. The first octet counts as the start of a line: an undoubled `.` would be lost there.
    pub(super) fn new() -> Self {
        Self { at_line_start: true }
    }

    pub(super) fn put(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            if self.at_line_start && line.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend(line);
            self.at_line_start = line.last() == Some(&b'\n');
        }
    }

    /// The end. Its first CR LF is no part of the octets.
    pub(super) fn end(self, out: &mut Vec<u8>) {
        out.extend(b"\r\n.\r\n");
    }
}

/// Stream → octets, over any cuts of the input.
#[derive(Debug)]
pub(super) struct Unstuffer {
    place: Place,
    /// A line's end that may be part of the stream's end.
    held: &'static [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Line,
    Cr,
    Start,
    Dot,
    DotCr,
}

impl Unstuffer {
    /// At the beginning. Dovecot does not double a `.` at the very first place, so none is taken away there.
    pub(super) fn new() -> Self {
        Self {
            place: Place::Line,
            held: b"",
        }
    }

    /// Takes octets up to the stream's end, puts what they stand for into `out`; how many were taken, and whether that
    /// was the end.
    pub(super) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        for (place, octet) in input.iter().enumerate() {
            if self.step(*octet, out) {
                return (place.saturating_add(1), true);
            }
        }
        (input.len(), false)
    }

    fn step(&mut self, octet: u8, out: &mut Vec<u8>) -> bool {
        match (self.place, octet) {
            (Place::Start, b'.') => self.place = Place::Dot,
            (Place::Dot, b'\r') => self.place = Place::DotCr,
            (Place::Dot | Place::DotCr, b'\n') => return true,
            (Place::Dot | Place::Start, _) => {
                out.extend(self.held);
                self.inside(octet, out);
            }
            (Place::DotCr, _) => {
                out.extend(self.held);
                out.push(b'\r');
                self.inside(octet, out);
            }
            (Place::Cr, b'\n') => self.end_of_line(b"\r\n"),
            (Place::Cr, _) => {
                out.push(b'\r');
                self.inside(octet, out);
            }
            (Place::Line, _) => self.inside(octet, out),
        }
        false
    }

    fn inside(&mut self, octet: u8, out: &mut Vec<u8>) {
        match octet {
            b'\r' => self.place = Place::Cr,
            b'\n' => self.end_of_line(b"\n"),
            other => {
                out.push(other);
                self.place = Place::Line;
            }
        }
    }

    fn end_of_line(&mut self, written: &'static [u8]) {
        self.held = written;
        self.place = Place::Start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuffed(octets: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut stuffer = Stuffer::new();
        octets.chunks(3).for_each(|part| stuffer.put(part, &mut out));
        stuffer.end(&mut out);
        out
    }

    fn unstuffed(stream: &[u8], cut: usize) -> Option<Vec<u8>> {
        let (mut out, mut unstuffer) = (Vec::new(), Unstuffer::new());
        let (first, second) = stream.split_at(cut.min(stream.len()));
        let (taken, ended) = unstuffer.take(first, &mut out);
        if ended {
            return (taken == stream.len()).then_some(out);
        }
        (unstuffer.take(second, &mut out) == (second.len(), true)).then_some(out)
    }

    #[test]
    fn a_dot_at_the_first_octet_is_doubled_and_an_end_inside_is_not_believed() {
        assert_eq!(stuffed(b".\r\n.\r\nx"), b"..\r\n..\r\nx\r\n.\r\n");
        assert_eq!(stuffed(b""), b"\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn streams_come_back_however_they_are_cut(
            octets in prop::collection::vec(prop::sample::select(b".\r\na".to_vec()), 0..12),
            cut in 0_usize..40,
        ) {
            prop_assume!(octets.first() != Some(&b'.'));
            prop_assert_eq!(unstuffed(&stuffed(&octets), cut), Some(octets));
        }
    }
}
