//! Tokens of structured header fields (RFC 5322 section 3.2, RFC 2045 section 5.1), as lenient as Dovecot's.

/// A place in a field's value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn bump(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.bump();
        }
        found
    }

    /// White space and comments; the last comment's text is returned.
    pub(super) fn skip(&mut self) -> Option<Vec<u8>> {
        let mut last = None;
        self.gap(&mut last);
        last
    }

    /// White space and comments; the last comment's text goes to `comment`. False where one never ends.
    pub(super) fn gap(&mut self, comment: &mut Option<Vec<u8>>) -> bool {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => {
                    self.bump();
                }
                Some(b'(') => {
                    let (text, is_closed) = self.comment();
                    if !is_closed {
                        return false;
                    }
                    *comment = Some(text);
                }
                _ => return true,
            }
        }
    }

    /// A comment's text without its parentheses, and whether it ended; comments within stay as they are.
    fn comment(&mut self) -> (Vec<u8>, bool) {
        let mut text = Vec::new();
        let mut depth = 0_usize;
        while let Some(byte) = self.bump() {
            match byte {
                b'(' => {
                    depth = depth.saturating_add(1);
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return (text, true);
                    }
                }
                b'\\' => {
                    text.extend(self.bump());
                    continue;
                }
                b'\r' | b'\n' => continue,
                _ => {}
            }
            text.push(byte);
        }
        (text, false)
    }

    pub(super) fn while_in(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self.rest.iter().position(|b| !accept(*b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(n).unwrap_or_default();
        self.rest = rest;
        taken
    }

    /// A quoted string's text, escapes undone. The place is at its opening quote. None where it never ends.
    pub(super) fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        self.bump();
        loop {
            match self.bump()? {
                b'"' => return Some(text),
                b'\\' => text.push(self.bump()?),
                b'\r' | b'\n' => {}
                byte => text.push(byte),
            }
        }
    }

    /// A token of RFC 2045.
    pub(super) fn token(&mut self) -> &'a [u8] {
        self.while_in(is_token)
    }
}

/// True for bytes of an RFC 5322 atom.
pub(super) fn is_atext(byte: u8) -> bool {
    byte >= 0x80 || byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_token(byte: u8) -> bool {
    byte >= 0x80 || (byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}
