//! Tokens of RFC 9051 section 9: atoms, strings, literals, numbers, lists.

use crate::limits::IMAP_NESTING_MAX;
use crate::serve::imap::line::Literal;

/// What is wrong with a command, for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Bad(pub(in crate::serve::imap) String);

impl Bad {
    pub(super) fn new<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Self(why.into()))
    }
}

/// A place in a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may follow; spaces at the end are forgiven, as Dovecot does.
    pub(super) fn done(&mut self) -> Result<(), Bad> {
        while self.take(b' ') {}
        if self.is_done() {
            Ok(())
        } else {
            Bad::new("Invalid arguments")
        }
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(super) fn need(&mut self, byte: u8) -> Result<(), Bad> {
        if self.take(byte) {
            return Ok(());
        }
        Bad::new(match byte {
            b' ' => "Missing arguments".to_owned(),
            other => format!("Missing '{}'", char::from(other)),
        })
    }

    /// One or more spaces.
    pub(super) fn space(&mut self) -> Result<(), Bad> {
        self.need(b' ')?;
        while self.take(b' ') {}
        Ok(())
    }

    fn cut(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn while_in(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self.rest.iter().position(|b| !accept(*b)).unwrap_or(self.rest.len());
        self.cut(n).unwrap_or_default()
    }

    /// Everything up to and with the next such byte; nothing where there is none.
    pub(super) fn through(&mut self, byte: u8) -> &'a [u8] {
        let end = self.rest.iter().position(|b| *b == byte);
        end.and_then(|end| self.cut(end.saturating_add(1))).unwrap_or_default()
    }

    /// The next word up to a space, parenthesis or bracket; may be empty.
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.while_in(|b| is_atom(b) && !b"[]<>".contains(&b))
    }

    /// The next word in capitals.
    pub(super) fn keyword(&mut self) -> String {
        String::from_utf8_lossy(self.word()).to_ascii_uppercase()
    }

    /// An atom, a quoted string or a literal.
    pub(super) fn astring(&mut self) -> Result<Vec<u8>, Bad> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.bare(|b| is_atom(b) || b == b']'),
        }
    }

    /// A mailbox pattern: as [`Self::astring`], with wildcards.
    pub(super) fn pattern(&mut self) -> Result<Vec<u8>, Bad> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.bare(|b| is_atom(b) || b"]%*".contains(&b)),
        }
    }

    fn bare(&mut self, accept: impl Fn(u8) -> bool) -> Result<Vec<u8>, Bad> {
        let word = self.while_in(accept);
        if word.is_empty() {
            Bad::new("Invalid arguments")
        } else {
            Ok(word.to_vec())
        }
    }

    /// A quoted string or a literal.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, Bad> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => Bad::new("Expected a string"),
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Bad> {
        self.need(b'"')?;
        let mut text = Vec::new();
        loop {
            text.extend_from_slice(self.while_in(|b| !b"\"\\\r\n".contains(&b)));
            match self.cut(1) {
                Some(b"\"") => return Ok(text),
                Some(b"\\") => match self.cut(1) {
                    Some([escaped]) if b"\"\\".contains(escaped) => text.push(*escaped),
                    _ => return Bad::new("Escaping in a quoted string"),
                },
                _ => return Bad::new("Missing '\"'"),
            }
        }
    }

    fn literal(&mut self) -> Result<Vec<u8>, Bad> {
        let head = self.through(b'}');
        let literal = Literal::at_end_of(head).filter(|_| head.starts_with(b"{"));
        let octets = literal.and_then(|l| usize::try_from(l.octets).ok());
        let line_end = self.take(b'\r') && self.take(b'\n');
        if let Some(text) = octets.filter(|_| line_end).and_then(|n| self.cut(n)) {
            return Ok(text.to_vec());
        }
        Bad::new("Invalid literal")
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self) -> Result<N, Bad> {
        let digits = self.while_in(|b| b.is_ascii_digit());
        let number = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
        number.ok_or_else(|| Bad("Invalid number".to_owned()))
    }

    /// `(item item …)`, at least `least` items.
    pub(super) fn list<T>(
        &mut self,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Bad>,
    ) -> Result<Vec<T>, Bad> {
        self.need(b'(')?;
        let mut items = Vec::new();
        while !self.take(b')') {
            if !items.is_empty() {
                self.space().map_err(|_| Bad("Missing ')'".to_owned()))?;
            }
            items.push(item(self)?);
        }
        if items.len() < least {
            Bad::new("Empty list")
        } else {
            Ok(items)
        }
    }

    /// Runs `inner` one level deeper.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Bad>) -> Result<T, Bad> {
        if self.depth >= IMAP_NESTING_MAX {
            return Bad::new("Too deeply nested");
        }
        self.depth += 1;
        let result = inner(self);
        self.depth = self.depth.saturating_sub(1);
        result
    }
}

/// True for bytes that an atom may hold.
pub(in crate::serve::imap) fn is_atom(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)
}
