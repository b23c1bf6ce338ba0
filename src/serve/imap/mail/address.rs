//! Address lists as ENVELOPE shows them (RFC 9051 section 7.5.2): each a name, a route, a mailbox, a host; groups as
//! a start and an end without host. What is missing is named as Dovecot names it.

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

/// Reads a list.
pub(in crate::serve::imap) fn parse(value: &[u8]) -> Vec<Address> {
    let mut list = List {
        lexer: Lexer::new(value),
        found: Vec::new(),
        in_group: false,
    };
    list.lexer.skip();
    while !list.lexer.is_done() && list.found.len() < ENVELOPE_ADDRESSES_MAX {
        let before = list.lexer.remaining();
        list.entry();
        if list.lexer.remaining() == before {
            // whatever stands here begins no entry: every turn takes at least a byte
            list.lexer.bump();
        }
    }
    if list.in_group {
        list.found.push(Address::default());
    }
    list.found
}

struct List<'a> {
    lexer: Lexer<'a>,
    found: Vec<Address>,
    in_group: bool,
}

impl List<'_> {
    fn entry(&mut self) {
        let (phrase, comment) = self.phrase();
        match self.lexer.peek() {
            Some(b'<') => self.bracketed(phrase),
            Some(b':') if !self.in_group => {
                self.lexer.bump();
                self.lexer.skip();
                self.in_group = true;
                self.found.push(Address {
                    mailbox: Some(phrase.text),
                    ..Address::default()
                });
                return;
            }
            Some(b'@') if phrase.words <= 1 => self.bare(phrase, comment),
            Some(b'@') => {
                self.lone(phrase, comment);
                self.give_up();
            }
            Some(b':') => {
                self.lone(phrase, comment);
                self.give_up();
            }
            _ if phrase.words > 0 => self.lone(phrase, comment),
            _ => {}
        }
        self.end_of_entry();
    }

    /// A group can't hold another: nothing behind it can be trusted, and Dovecot reads no further either.
    fn give_up(&mut self) {
        self.lexer = Lexer::new(b"");
    }

    /// Words up to a special character, joined by one space; and the last comment.
    fn phrase(&mut self) -> (Phrase, Option<Vec<u8>>) {
        let mut phrase = Phrase::default();
        let mut comment = self.lexer.skip();
        loop {
            let word = match self.lexer.peek() {
                Some(b'"') => match self.lexer.quoted() {
                    Some(word) => word,
                    None => break,
                },
                Some(b'.') => self.lexer.while_in(|b| b == b'.').to_vec(),
                Some(byte) if is_atext(byte) => self.lexer.while_in(|b| is_atext(b) || b == b'.').to_vec(),
                _ => break,
            };
            let skipped_from = self.lexer;
            if phrase.words > 0 && phrase.spaced {
                phrase.text.push(b' ');
            }
            phrase.text.extend_from_slice(&word);
            phrase.words = phrase.words.saturating_add(1);
            comment = self.lexer.skip().or(comment);
            phrase.spaced = skipped_from.peek() != self.lexer.peek() || skipped_from.peek() == Some(b' ');
        }
        (phrase, comment)
    }

    /// `Name <@route:mailbox@host>`
    fn bracketed(&mut self, phrase: Phrase) {
        self.lexer.bump();
        self.lexer.skip();
        let mut route = None;
        if self.lexer.peek() == Some(b'@') {
            let text = self.lexer.while_in(|b| b != b':' && b != b'>');
            route = Some(text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect());
            self.lexer.take(b':');
            self.lexer.skip();
        }
        let mailbox = self.local_part();
        let mut host = self.host();
        self.lexer.skip();
        if !matches!(self.lexer.peek(), None | Some(b'>')) {
            host = Some(b"SYNTAX_ERROR".to_vec());
        }
        self.lexer.while_in(|b| b != b'>');
        self.lexer.take(b'>');
        let comment = self.lexer.skip();
        let name = if phrase.words > 0 { Some(phrase.text) } else { comment };
        self.push(name, route, mailbox, host);
    }

    /// `mailbox@host (Name)`
    fn bare(&mut self, phrase: Phrase, comment: Option<Vec<u8>>) {
        let host = self.host();
        let comment = self.lexer.skip().or(comment);
        let mailbox = (phrase.words > 0).then_some(phrase.text);
        self.push(comment, None, mailbox, host);
        if !matches!(self.lexer.peek(), None | Some(b',' | b';')) {
            self.give_up();
        }
    }

    /// Words without an address.
    fn lone(&mut self, phrase: Phrase, comment: Option<Vec<u8>>) {
        if phrase.words > 1 {
            self.push(Some(phrase.text), None, None, None);
        } else {
            self.push(comment, None, Some(phrase.text), None);
        }
    }

    /// Words with dots between; none where there is no word.
    fn local_part(&mut self) -> Option<Vec<u8>> {
        let mut text = None;
        loop {
            let word = match self.lexer.peek() {
                Some(b'"') => self.lexer.quoted().unwrap_or_default(),
                Some(byte) if is_atext(byte) || byte == b'.' => {
                    self.lexer.while_in(|b| is_atext(b) || b == b'.').to_vec()
                }
                _ => return text,
            };
            let dotted = word.ends_with(b".");
            text.get_or_insert_with(Vec::new).extend(word);
            self.lexer.skip();
            if !dotted && self.lexer.peek() != Some(b'.') {
                return text;
            }
        }
    }

    fn host(&mut self) -> Option<Vec<u8>> {
        if !self.lexer.take(b'@') {
            return None;
        }
        self.lexer.skip();
        let mut text = Vec::new();
        if self.lexer.peek() == Some(b'[') {
            text.extend_from_slice(self.lexer.while_in(|b| b != b']' && b != b'>'));
            text.extend(self.lexer.take(b']').then_some(b']'));
        } else {
            text.extend_from_slice(self.lexer.while_in(|b| is_atext(b) || b == b'.'));
        }
        Some(text)
    }

    fn push(&mut self, name: Option<Vec<u8>>, route: Option<Vec<u8>>, mailbox: Option<Vec<u8>>, host: Option<Vec<u8>>) {
        let or = |text: Option<Vec<u8>>, missing: &str| text.unwrap_or_else(|| missing.as_bytes().to_vec());
        self.found.push(Address {
            name: name.filter(|name| !name.is_empty()),
            route,
            mailbox: Some(or(mailbox, "MISSING_MAILBOX")),
            host: Some(or(host.filter(|host| !host.is_empty()), "MISSING_DOMAIN")),
        });
    }

    /// Passes over what separates entries, and whatever can't begin one.
    fn end_of_entry(&mut self) {
        loop {
            self.lexer.skip();
            match self.lexer.peek() {
                Some(b';') if self.in_group => {
                    self.lexer.bump();
                    self.in_group = false;
                    self.found.push(Address::default());
                }
                Some(byte) if byte == b'"' || is_atext(byte) || b"<@".contains(&byte) => return,
                Some(_) => {
                    self.lexer.bump();
                }
                None => return,
            }
        }
    }
}

#[derive(Default)]
struct Phrase {
    text: Vec<u8>,
    words: usize,
    spaced: bool,
}
