//! Untagged answers as values.

use crate::Result;
use anyhow::{Context, bail};

/// Deeper than any answer nests (a BODYSTRUCTURE of a nested message).
const DEPTH_MAX: usize = 60;

/// A word of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An atom, a quoted string or a literal.
    Text(Vec<u8>),
    /// The atom NIL.
    Nil,
    /// A parenthesised list.
    List(Vec<Value>),
}

impl Value {
    /// As text; what isn't UTF-8 is replaced, lists are empty.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The octets of a text.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Value::Text(bytes) => bytes,
            Value::Nil | Value::List(_) => &[],
        }
    }

    /// The members of a list.
    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(list) => list,
            Value::Text(_) | Value::Nil => &[],
        }
    }

    /// As a number.
    pub fn number(&self) -> Option<u64> {
        self.text().parse().ok()
    }

    /// True for this word in any case.
    pub fn is(&self, word: &str) -> bool {
        self.bytes().eq_ignore_ascii_case(word.as_bytes())
    }
}

/// Reads one answer from its start.
#[derive(Debug)]
pub struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    /// A parser at the start of `answer`.
    pub fn new(answer: &'a [u8]) -> Self {
        Parser { rest: answer }
    }

    /// The words after `* `; of a status line (`* OK [CODE …] text`) the words of its code.
    pub fn untagged(mut self) -> Result<Vec<Value>> {
        self.skip(b"* ")?;
        for status in [&b"OK "[..], b"NO ", b"BAD ", b"BYE ", b"PREAUTH "] {
            if let Some(rest) = self.rest.strip_prefix(status) {
                let Some(code) = rest.strip_prefix(b"[") else {
                    return Ok(Vec::new());
                };
                let end = code.iter().position(|b| *b == b']').context("a code without end")?;
                return Parser::new(code.get(..end).unwrap_or_default()).words(0);
            }
        }
        self.words(0)
    }

    fn words(&mut self, depth: usize) -> Result<Vec<Value>> {
        if depth > DEPTH_MAX {
            bail!("an answer nested too deep");
        }
        let mut words = Vec::new();
        loop {
            match self.rest {
                [] | [b'\r', b'\n'] | [b')', ..] => return Ok(words),
                [b' ', rest @ ..] => self.rest = rest,
                _ => words.push(self.word(depth)?),
            }
        }
    }

    fn word(&mut self, depth: usize) -> Result<Value> {
        match self.rest {
            [b'(', rest @ ..] => {
                self.rest = rest;
                let list = self.words(depth + 1)?;
                self.skip(b")")?;
                Ok(Value::List(list))
            }
            [b'"', rest @ ..] => {
                self.rest = rest;
                self.quoted()
            }
            // RFC 3516: `~` before a literal that may hold NUL
            [b'{', ..] | [b'~', b'{', ..] => self.literal(),
            _ => self.atom(),
        }
    }

    fn quoted(&mut self) -> Result<Value> {
        let mut text = Vec::new();
        loop {
            match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Ok(Value::Text(text));
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                    text.push(*byte);
                    self.rest = rest;
                }
                [] => bail!("a quoted string without end"),
            }
        }
    }

    fn literal(&mut self) -> Result<Value> {
        let line = self
            .rest
            .iter()
            .position(|b| *b == b'\n')
            .context("a literal without line")?;
        let (announcement, rest) = self.rest.split_at(line + 1);
        let octets = announced_literal(announcement).context("a literal's size")?;
        let (text, rest) = rest.split_at_checked(octets).context("a literal cut short")?;
        self.rest = rest;
        Ok(Value::Text(text.to_vec()))
    }

    /// An atom; brackets hold spaces and parentheses together, as in `BODY[HEADER.FIELDS (DATE)]`.
    fn atom(&mut self) -> Result<Value> {
        let mut brackets = 0_usize;
        let end = self.rest.iter().position(|byte| {
            match byte {
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            brackets == 0 && matches!(byte, b' ' | b'(' | b')' | b'\r' | b'\n')
        });
        let (atom, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if atom.is_empty() {
            bail!("no word where one is expected: {}", String::from_utf8_lossy(self.rest));
        }
        self.rest = rest;
        Ok(if atom.eq_ignore_ascii_case(b"NIL") {
            Value::Nil
        } else {
            Value::Text(atom.to_vec())
        })
    }

    fn skip(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest = self.rest.strip_prefix(bytes).with_context(|| {
            format!(
                "{} expected before {}",
                String::from_utf8_lossy(bytes),
                String::from_utf8_lossy(self.rest)
            )
        })?;
        Ok(())
    }
}

/// The octets of the literal that this line announces at its end.
pub(super) fn announced_literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let start = line.iter().rposition(|b| *b == b'{')?;
    std::str::from_utf8(line.get(start + 1..)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Value {
        Value::Text(s.as_bytes().to_vec())
    }

    #[test]
    fn literal_with_parentheses_inside_a_fetch() {
        let answer = b"* 12 FETCH (UID 3 BODY[HEADER.FIELDS (DATE)] {4}\r\na)\r\n FLAGS (\\Seen) X NIL)\r\n";
        let words = Parser::new(answer).untagged().unwrap();
        let list = vec![
            text("UID"),
            text("3"),
            text("BODY[HEADER.FIELDS (DATE)]"),
            text("a)\r\n"),
            text("FLAGS"),
            Value::List(vec![text("\\Seen")]),
            text("X"),
            Value::Nil,
        ];
        assert_eq!(words, [text("12"), text("FETCH"), Value::List(list)]);
    }

    #[test]
    fn quoted_name_with_escapes_and_code_of_a_status_line() {
        assert_eq!(
            Parser::new(b"* LIST () \"/\" \"a\\\"b\\\\c\"\r\n").untagged().unwrap(),
            [text("LIST"), Value::List(vec![]), text("/"), text("a\"b\\c")]
        );
        assert_eq!(
            Parser::new(b"* OK [UIDNEXT 7] Predicted\r\n").untagged().unwrap(),
            [text("UIDNEXT"), text("7")]
        );
    }

    #[test]
    fn answer_cut_short_is_an_error() {
        for cut in [
            &b"* 1 FETCH (BODY[] {9}\r\nabc"[..],
            b"* LIST (\"",
            b"* 1 FETCH (UID 3",
            b"*",
        ] {
            assert!(Parser::new(cut).untagged().is_err(), "{}", String::from_utf8_lossy(cut));
        }
    }
}
