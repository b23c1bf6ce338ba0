//! The tree of a message's parts (RFC 2046), with the octets of each. Cut by Dovecot's rules: a boundary counts wherever
//! a line begins with it, also within a header; the longest that fits wins; the line end before it belongs to it.

use super::field::{Fields, is_blank, line_end, unfold};
use super::lexer::Lexer;
use super::parameters::{Parameter, parameters};
use crate::limits::{MIME_BOUNDARY_BYTES_MAX, MIME_NESTING_MAX, MIME_PARTS_MAX};
use std::ops::Range;

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Part {
    /// Its header with the empty line, as it is shown.
    pub(in crate::serve::imap) header: Range<usize>,
    /// Its body.
    pub(in crate::serve::imap) body: Range<usize>,
    pub(in crate::serve::imap) kind: Kind,
}

/// What a part consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Kind {
    /// Octets.
    Leaf,
    /// Parts.
    Multipart(Vec<Part>),
    /// A message.
    Message(Box<Part>),
    /// Parts or a message, too deep or too many to be told apart.
    TooDeep,
}

/// `Content-Type` taken apart: type, subtype, parameters as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContentType {
    pub(super) main: Vec<u8>,
    pub(super) sub: Vec<u8>,
    pub(super) parameters: Vec<Parameter>,
}

impl ContentType {
    /// Empty where it can't be read: such a part is nothing that anybody knows.
    pub(super) fn parse(value: &[u8]) -> Self {
        let mut lexer = Lexer::new(value);
        lexer.skip();
        let main = lexer.token().to_vec();
        lexer.skip();
        if lexer.is_done() {
            return Self {
                main,
                ..Self::default()
            };
        }
        if main.is_empty() || !lexer.take(b'/') {
            return Self::default();
        }
        lexer.skip();
        let sub = lexer.token().to_vec();
        lexer.skip();
        if sub.is_empty() || !matches!(lexer.peek(), None | Some(b';')) {
            return Self::default();
        }
        let parameters = parameters(&mut lexer);
        Self { main, sub, parameters }
    }

    fn is(&self, main: &str, sub: Option<&str>) -> bool {
        let same = |a: &[u8], b: &str| a.eq_ignore_ascii_case(b.as_bytes());
        same(&self.main, main) && sub.is_none_or(|sub| same(&self.sub, sub))
    }

    /// `text/plain` with no parameter but the charset us-ascii.
    pub(super) fn is_simple_text(&self) -> bool {
        let ascii = |p: &Parameter| p.0.eq_ignore_ascii_case(b"charset") && p.1.eq_ignore_ascii_case(b"us-ascii");
        self.is("text", Some("plain")) && !self.parameters.is_empty() && self.parameters.iter().all(ascii)
    }

    fn boundary(&self) -> Option<&[u8]> {
        let found = self
            .parameters
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(b"boundary"));
        let text = found.map(|(_, value)| value.trim_ascii_end())?;
        text.get(..text.len().min(MIME_BOUNDARY_BYTES_MAX))
    }
}

/// How a part ended.
enum End {
    /// At the end of the message.
    Octets,
    /// At a boundary line: which of the open ones, and whether it was the closing one.
    Boundary { level: usize, closing: bool },
}

struct Parser<'a> {
    octets: &'a [u8],
    at: usize,
    /// Open boundaries, the innermost last.
    boundaries: Vec<Vec<u8>>,
    parts: usize,
}

impl Part {
    /// Of a whole message.
    pub(in crate::serve::imap) fn parse(octets: &[u8]) -> Self {
        let mut parser = Parser {
            octets,
            at: 0,
            boundaries: Vec::new(),
            parts: 0,
        };
        parser.part(0, false).0
    }

    /// Deepest nesting, 0 for a message of one part.
    pub(in crate::serve::imap) fn depth(&self) -> usize {
        match &self.kind {
            Kind::Leaf | Kind::TooDeep => 0,
            Kind::Multipart(parts) => parts.iter().map(Self::depth).max().unwrap_or(0).saturating_add(1),
            Kind::Message(inner) => inner.depth().saturating_add(1),
        }
    }
}

impl Parser<'_> {
    fn line(&self) -> &[u8] {
        self.octets
            .get(self.at..line_end(self.octets, self.at))
            .unwrap_or_default()
    }

    /// The open boundary that the line begins with, the longest of them, and whether it closes.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--")?;
        if self.parts >= MIME_PARTS_MAX {
            // what follows belongs to the last part
            return None;
        }
        let fitting = self.boundaries.iter().enumerate().filter(|(_, b)| text.starts_with(b));
        let (level, boundary) = fitting.max_by_key(|(level, b)| (b.len(), *level))?;
        let closing = text.get(boundary.len()..).is_some_and(|rest| rest.starts_with(b"--"));
        Some((level, closing))
    }

    /// Reads a part and the boundary line that ends it.
    fn part(&mut self, depth: usize, in_digest: bool) -> (Part, End) {
        self.parts = self.parts.saturating_add(1);
        let start = self.at;
        if let Some((level, closing)) = self.header() {
            let header = start..self.before_line_end(start);
            let body = self.at..self.at;
            self.next_line();
            let kind = Kind::Leaf;
            return (Part { header, body, kind }, End::Boundary { level, closing });
        }
        let mut header = start..self.at;
        let content = self.at;
        let before_boundary = self.boundary(self.line()).map(|_| self.before_line_end(start));
        let declared = declared(self.octets.get(header.clone()).unwrap_or_default());
        let deeper = depth.saturating_add(1) < MIME_NESTING_MAX && self.parts < MIME_PARTS_MAX;
        let multipart = declared.as_ref().filter(|kind| kind.is("multipart", None));
        let message = declared
            .as_ref()
            .map_or(in_digest, |kind| kind.is("message", Some("rfc822")));
        let (kind, end, body_end) = match multipart {
            Some(kind) if deeper => self.multipart(kind, depth),
            None if deeper && message => self.message(depth),
            _ => {
                let (end, body_end) = self.body(content);
                let known = multipart.is_none() && !message;
                (if known { Kind::Leaf } else { Kind::TooDeep }, end, body_end)
            }
        };
        if let Some(end) = before_boundary.filter(|_| !matches!(&kind, Kind::Multipart(parts) if !parts.is_empty())) {
            // The line end before a boundary that follows at once is nobody's: the header is shown without it, and a
            // message around the part counts it.
            header.end = end;
        }
        let body = content..body_end;
        (Part { header, body, kind }, end)
    }

    /// Reads a header. A boundary line within ends the part there.
    fn header(&mut self) -> Option<(usize, bool)> {
        while self.at < self.octets.len() {
            let found = self.boundary(self.line());
            if found.is_some() {
                return found;
            }
            let blank = is_blank(self.line());
            self.next_line();
            if blank {
                break;
            }
        }
        None
    }

    /// Reads up to a boundary line or the end; the body's end is before the line end that belongs to the boundary.
    fn body(&mut self, start: usize) -> (End, usize) {
        while self.at < self.octets.len() {
            if let Some((level, closing)) = self.boundary(self.line()) {
                let end = self.before_line_end(start);
                self.next_line();
                return (End::Boundary { level, closing }, end);
            }
            self.next_line();
        }
        (End::Octets, self.octets.len())
    }

    fn message(&mut self, depth: usize) -> (Kind, End, usize) {
        let (inner, end) = self.part(depth.saturating_add(1), false);
        let body_end = inner.body.end;
        (Kind::Message(Box::new(inner)), end, body_end)
    }

    fn multipart(&mut self, kind: &ContentType, depth: usize) -> (Kind, End, usize) {
        let start = self.at;
        let own = self.boundaries.len();
        let Some(boundary) = kind.boundary() else {
            let (end, body_end) = self.body(start);
            return (Kind::Multipart(Vec::new()), end, body_end);
        };
        self.boundaries.push(boundary.to_vec());
        let in_digest = kind.is("multipart", Some("digest"));
        let mut parts = Vec::new();
        // the preamble, then each part
        let (mut end, mut body_end) = self.body(start);
        while let End::Boundary { level, closing } = end {
            if level != own {
                break;
            }
            if closing {
                // the epilogue: only the boundaries around this part count in it
                self.boundaries.truncate(own);
                let epilogue = self.at;
                (end, body_end) = self.body(epilogue);
                break;
            }
            let (part, ended) = self.part(depth.saturating_add(1), in_digest);
            body_end = part.body.end;
            parts.push(part);
            end = ended;
        }
        self.boundaries.truncate(own);
        (Kind::Multipart(parts), end, body_end)
    }

    fn next_line(&mut self) {
        self.at = line_end(self.octets, self.at);
    }

    /// The place before the line end that stands before here, not before `start`.
    fn before_line_end(&self, start: usize) -> usize {
        let before = self.octets.get(start..self.at).unwrap_or_default();
        start.saturating_add(super::field::without_line_end(before).len())
    }
}

/// The `Content-Type` of a header, where it has one.
pub(super) fn declared(header: &[u8]) -> Option<ContentType> {
    let field = Fields(header).find(|f| f.name.eq_ignore_ascii_case(b"content-type"))?;
    Some(ContentType::parse(&unfold(field.value)))
}
