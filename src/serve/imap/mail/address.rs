//! Address lists as ENVELOPE shows them (RFC 9051 section 7.5.2): each a name, a route, a mailbox, a host; groups as
//! a start and an end without host. What is missing is named as Dovecot names it, and a list ends where Dovecot gives it
//! up: at whatever follows an address and is no comma.

use super::lexer::{Lexer, is_atext};
use crate::limits::ENVELOPE_ADDRESSES_MAX;

/// One address, or one end of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::serve::imap) struct Address {
    pub(in crate::serve::imap) name: Option<Vec<u8>>,
    pub(in crate::serve::imap) route: Option<Vec<u8>>,
    pub(in crate::serve::imap) mailbox: Option<Vec<u8>>,
    pub(in crate::serve::imap) host: Option<Vec<u8>>,
}

/// Reads the list of one field.
pub(in crate::serve::imap) fn parse(value: &[u8]) -> Vec<Address> {
    let mut list = List {
        lexer: Lexer::new(value),
        comment: None,
        found: Vec::new(),
    };
    if list.gap().is_ok() && !list.lexer.is_done() {
        list.addresses();
    }
    list.found
}

/// It can't be read on from here.
struct Broken;

struct List<'a> {
    lexer: Lexer<'a>,
    /// The last one that was passed over.
    comment: Option<Vec<u8>>,
    found: Vec<Address>,
}

impl List<'_> {
    fn addresses(&mut self) {
        while self.found.len() < ENVELOPE_ADDRESSES_MAX {
            if !self.group() {
                self.mailbox();
            }
            if !self.next() {
                return;
            }
        }
    }

    /// Passes over a comma. False where none is there, or nothing behind it.
    fn next(&mut self) -> bool {
        if !self.lexer.take(b',') {
            return false;
        }
        if self.gap().is_err() {
            self.push(Address::default());
            return false;
        }
        !self.lexer.is_done()
    }

    /// White space and comments.
    fn gap(&mut self) -> Result<(), Broken> {
        if self.lexer.gap(&mut self.comment) {
            Ok(())
        } else {
            Err(Broken)
        }
    }

    /// The same, where something must follow.
    fn gap_inside(&mut self) -> Result<(), Broken> {
        self.gap()?;
        if self.lexer.is_done() { Err(Broken) } else { Ok(()) }
    }

    /// `name: mailbox, mailbox;`. False where no group begins here.
    fn group(&mut self) -> bool {
        let start = self.lexer;
        let mut name = Vec::new();
        if self.phrase(&mut name).is_err() || !self.lexer.take(b':') {
            self.lexer = start;
            return false;
        }
        self.found.push(Address {
            mailbox: Some(name),
            ..Address::default()
        });
        let whole = self.gap().is_ok();
        if whole && !self.lexer.is_done() && self.lexer.peek() != Some(b';') {
            while self.found.len() < ENVELOPE_ADDRESSES_MAX {
                self.mailbox();
                if !self.lexer.take(b',') || self.gap_inside().is_err() {
                    break;
                }
            }
        }
        if self.lexer.take(b';') {
            // Whether a comment behind it is open matters to nobody: the list ends there.
            _ = self.gap();
        }
        self.found.push(Address::default());
        true
    }

    /// `Name <mailbox@host>`, or `mailbox@host (Name)`.
    fn mailbox(&mut self) {
        let start = self.lexer;
        let mut name = Vec::new();
        let mut address = Address::default();
        if self.phrase(&mut name).is_ok() && self.lexer.peek() == Some(b'<') {
            address.name = Some(name);
            if self.bracketed(&mut address).is_err() {
                address.host = Some(b"SYNTAX_ERROR".to_vec());
            }
        } else {
            self.lexer = start;
            self.bare(&mut address);
        }
        self.push(address);
    }

    /// `<@route:mailbox@host>`
    fn bracketed(&mut self, address: &mut Address) -> Result<(), Broken> {
        self.lexer.bump();
        self.gap_inside()?;
        if self.lexer.peek() == Some(b'@') {
            let route = self.route();
            let is_whole = self.lexer.take(b':');
            address.route = Some(b"INVALID_ROUTE".to_vec());
            if let (Ok(route), true) = (route, is_whole) {
                address.route = Some(route);
            }
            self.gap_inside()?;
        }
        if self.lexer.peek() != Some(b'>') {
            let mut text = Vec::new();
            self.local_part(&mut text)?;
            address.mailbox = Some(text);
            if self.lexer.is_done() {
                return Err(Broken);
            }
            if self.lexer.peek() == Some(b'@') {
                address.host = Some(self.host()?);
            }
        }
        if !self.lexer.take(b'>') {
            return Err(Broken);
        }
        self.gap()
    }

    /// `@a,@b`
    fn route(&mut self) -> Result<Vec<u8>, Broken> {
        let mut route = Vec::new();
        while self.lexer.peek() == Some(b'@') {
            if !route.is_empty() {
                route.push(b',');
            }
            route.push(b'@');
            route.extend(self.host()?);
            while self.gap().is_ok() && self.lexer.take(b',') {}
        }
        Ok(route)
    }

    /// `mailbox@host (Name)`; a mailbox alone; or words alone, which are a name.
    fn bare(&mut self, address: &mut Address) {
        self.comment = None;
        let is_quoted = self.lexer.peek() == Some(b'"');
        let mut text = Vec::new();
        if self.local_part(&mut text).is_ok() {
            address.mailbox = Some(text.clone());
        }
        let has_host = self.lexer.peek() == Some(b'@');
        if has_host {
            address.host = self.host().ok();
        }
        if let Some(comment) = self.comment.take().filter(|comment| !comment.is_empty()) {
            address.name = Some(comment);
        } else if !has_host {
            text.push(b' ');
            let before = text.len();
            // As far as it goes: what can't be read ends the list.
            _ = self.phrase(&mut text);
            if text.len() > before {
                address.mailbox = None;
                address.name = Some(text);
            } else if is_quoted {
                address.name = address.mailbox.take();
            }
        }
    }

    /// Words up to a special character, joined by one space.
    fn phrase(&mut self, text: &mut Vec<u8>) -> Result<(), Broken> {
        if self.lexer.peek() == Some(b'.') {
            return Err(Broken);
        }
        loop {
            if self.lexer.peek() == Some(b'"') {
                text.extend(self.lexer.quoted().ok_or(Broken)?);
            } else {
                text.extend_from_slice(self.lexer.while_in(|b| is_atext(b) || b == b'.'));
            }
            self.gap()?;
            match self.lexer.peek() {
                Some(byte) if is_atext(byte) || byte == b'"' || byte == b'.' => text.push(b' '),
                _ => return Ok(()),
            }
        }
    }

    /// A quoted string, or words with dots before, between and behind.
    fn local_part(&mut self, text: &mut Vec<u8>) -> Result<(), Broken> {
        if self.lexer.peek() == Some(b'"') {
            text.extend(self.lexer.quoted().ok_or(Broken)?);
            return self.gap();
        }
        loop {
            let dots = self.lexer.while_in(|b| b == b'.');
            text.extend_from_slice(dots);
            if !dots.is_empty() && (self.lexer.is_done() || self.lexer.peek() == Some(b'@')) {
                return Ok(());
            }
            let word = self.lexer.while_in(is_atext);
            if word.is_empty() {
                return Err(Broken);
            }
            text.extend_from_slice(word);
            self.gap()?;
            if self.lexer.peek() != Some(b'.') {
                return Ok(());
            }
        }
    }

    /// `@host`, or `@[literal]`. Spaces may stand around the dots.
    fn host(&mut self) -> Result<Vec<u8>, Broken> {
        self.lexer.bump();
        self.gap_inside()?;
        let mut text = Vec::new();
        if self.lexer.peek() == Some(b'[') {
            text.extend_from_slice(self.lexer.while_in(|b| b != b']'));
            if !self.lexer.take(b']') {
                return Err(Broken);
            }
            text.push(b']');
            self.gap()?;
            return Ok(text);
        }
        loop {
            let word = self.lexer.while_in(is_atext);
            if word.is_empty() {
                return Err(Broken);
            }
            text.extend_from_slice(word);
            self.gap()?;
            if !self.lexer.take(b'.') {
                return Ok(text);
            }
            text.push(b'.');
            self.gap()?;
        }
    }

    fn push(&mut self, address: Address) {
        let or = |text: Option<Vec<u8>>, missing: &str| text.unwrap_or_else(|| missing.as_bytes().to_vec());
        self.found.push(Address {
            name: address.name.filter(|name| !name.is_empty()),
            route: address.route,
            mailbox: Some(or(address.mailbox, "MISSING_MAILBOX")),
            host: Some(or(address.host.filter(|host| !host.is_empty()), "MISSING_DOMAIN")),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|route|mailbox|host` of each, as Dovecot 2.3 and 2.4 answered; `M` and `D` stand for what is missing.
    fn shown(value: &str) -> String {
        let text = |part: &Option<Vec<u8>>| part.as_ref().map(|part| String::from_utf8_lossy(part).into_owned());
        let one = |address: &Address| {
            let parts = [&address.name, &address.route, &address.mailbox, &address.host];
            let parts: Vec<String> = parts.map(|part| text(part).unwrap_or_default()).into();
            parts
                .join("|")
                .replace("MISSING_MAILBOX", "M")
                .replace("MISSING_DOMAIN", "D")
        };
        parse(value.as_bytes()).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn broken_lists_end_where_dovecot_ends_them() {
        let cases = [
            ("a@b, , c@d", "||a|b ||M|D ||c|d"),
            ("a@b,", "||a|b"),
            ("a@b c@d", "||a|b"),
            ("a@b;c@d", "||a|b"),
            ("x <y@z> w, q@r", "x||y|z"),
            ("x <a@b>>, c@d", "x||a|b"),
            (",,, ;", "||M|D ||M|D ||M|D ||M|D"),
            ("\"unclosed <x@example.org", "||M|D"),
            ("a@b, \"c", "||a|b ||M|D"),
            ("(un", ""),
            ("a@b (un", "||a|D"),
            ("[x]@y", "||M|D"),
            ("a\\b@c", "||a|D"),
            ("a@b.c., d@e", "||a|D ||d|e"),
            ("<a@b>x.com, <c@d>x.com", "||a|b"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn addresses_are_shown_as_dovecot_shows_them() {
        let cases = [
            ("a b, c", "a b||M|D ||c|D"),
            ("woie\tq_ewo", "woie q_ewo||M|D"),
            ("a.b c <x@y>", "a.b c||x|y"),
            ("x <y", "x||y|SYNTAX_ERROR"),
            ("<a@b", "||a|SYNTAX_ERROR"),
            ("x <a b@c>", "x||a|SYNTAX_ERROR"),
            ("@x", "||M|x"),
            ("a@", "||a|D"),
            ("a@b@c", "||a|b"),
            ("<a>", "||a|D"),
            ("<>", "||M|D"),
            ("<@r,@s:a@b>", "|@r,@s|a|b"),
            ("<@r a@b>", "|INVALID_ROUTE|a|b"),
            ("a (c)", "c||a|D"),
            ("(c) a@b", "||a|b"),
            ("a@b (c) d", "c||a|b"),
            ("a@b (x) (y)", "y||a|b"),
            ("<a@b> (N)", "||a|b"),
            ("\"a\" (c)", "c||a|D"),
            ("\"a\" b", "a b||M|D"),
            ("\"undisclosed\"", "undisclosed||M|D"),
            ("a \"b\" c.d .e", "a b c.d .e||M|D"),
            (".a@b", "||.a|b"),
            ("a.@b", "||a.|b"),
            ("a..b@c", "||a..b|c"),
            ("a@[x y]", "||a|[x y]"),
            ("<\"q u\"@x>", "||q u|x"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn groups_have_two_ends() {
        let cases = [
            ("g: a@b, c;, d@e", "||g| ||a|b ||c|D ||| ||d|e"),
            ("g: a@b", "||g| ||a|b |||"),
            ("a: b: c@d;", "||a| ||b|D |||"),
            ("undisclosed-recipients:;", "||undisclosed-recipients| |||"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(value), expected, "{value}");
        }
    }
}
