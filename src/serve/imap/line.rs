//! From bytes to whole commands: lines, literals `{n}` and `{n+}` (RFC 7888), and the bounds of both.
//!
//! A command comes out as one run of bytes: the line without its last CRLF, each literal's octets in place behind its
//! own `{n}` CRLF. A literal that is a message (of APPEND, REPLACE) is kept apart: of it the command has only `{n}` CRLF.
//! Whoever reads the commands decides whether it is taken. Literals that are refused are never held: a synchronising one
//! is not asked for, the others are read and dropped.

use crate::limits::{
    IMAP_LINE_BYTES_MAX, IMAP_LITERAL_BYTES_MAX, IMAP_LITERALS_MAX, IMAP_LOGIN_LINE_BYTES_MAX, IMAP_SKIP_BYTES_MAX,
    IMAP_TAG_BYTES_MAX,
};

/// What has come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A whole command.
    Command(Vec<u8>),
    /// A command with a literal that was not taken: the bytes before it.
    Refused(Vec<u8>),
    /// The client waits for `+` before it sends a literal.
    WantsLiteral,
    /// A message is announced. [`CommandBuffer::take_message`] or [`CommandBuffer::refuse_message`] must follow.
    Announced {
        /// The command up to and with the announcement.
        before: Vec<u8>,
        /// Octets of the message.
        octets: u64,
    },
    /// A line beyond the bound, dropped: its first bytes.
    TooLong(Vec<u8>),
}

/// More octets were announced than anybody would read for nothing: the connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flood;

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Within a line.
    Line,
    /// Within a literal: octets to come.
    Literal(u64),
    /// Behind a message's announcement, until somebody has decided.
    Announced(Literal),
    /// Within a message: octets to come.
    Message(u64),
    /// Within a literal that is dropped: octets to come.
    Skip(u64),
    /// Within a line that is dropped.
    SkipLine,
}

/// Collects one command at a time.
#[derive(Debug)]
pub(super) struct CommandBuffer {
    input: Vec<u8>,
    searched: usize,
    command: Vec<u8>,
    line_bytes: usize,
    line_bytes_max: usize,
    literals: usize,
    refused: bool,
    /// Messages of this command, the last one perhaps not whole.
    messages: Vec<Vec<u8>>,
    state: State,
}

impl CommandBuffer {
    /// Empty, with the bounds of a client that has not logged in.
    pub(super) fn new() -> Self {
        Self {
            input: Vec::new(),
            searched: 0,
            command: Vec::new(),
            line_bytes: 0,
            line_bytes_max: IMAP_LOGIN_LINE_BYTES_MAX,
            literals: 0,
            refused: false,
            messages: Vec::new(),
            state: State::Line,
        }
    }

    /// Lifts the bound of a line to that of a known user.
    pub(super) fn trust(&mut self) {
        self.line_bytes_max = IMAP_LINE_BYTES_MAX;
    }

    /// True where bytes of a command wait that was not handed out: a client that begins TLS must have none.
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty() && self.command.is_empty()
    }

    /// Gives back what was pushed and not looked at: it was meant for another layer.
    pub(super) fn take_input(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.input)
    }

    /// True while the client owes octets of a message.
    pub(super) fn is_within_message(&self) -> bool {
        matches!(self.state, State::Message(_))
    }

    /// The announced message is taken; true where the client waits for `+`.
    pub(super) fn take_message(&mut self) -> bool {
        let State::Announced(literal) = self.state else {
            return false;
        };
        self.messages.push(Vec::new());
        self.state = State::Message(literal.octets);
        literal.synchronising
    }

    /// The announced message, and with it the command, is refused: [`Event::Refused`] follows.
    pub(super) fn refuse_message(&mut self) {
        if matches!(self.state, State::Announced(_)) {
            self.refused = true;
            self.messages.clear();
        }
    }

    /// Messages of the command that was just handed out, as they came.
    pub(super) fn messages(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.messages)
    }

    /// Takes bytes from the connection. Call [`Self::next`] until it has nothing before pushing more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next event, none until more bytes come.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Flood> {
        loop {
            match self.state {
                State::Literal(left) => {
                    if !self.literal(left) {
                        return Ok(None);
                    }
                }
                State::Message(left) => {
                    if !self.message(left) {
                        return Ok(None);
                    }
                }
                State::Announced(literal) => {
                    // nobody wanted it
                    self.refused = true;
                    if let Some(event) = self.pass_over(literal)? {
                        return Ok(Some(event));
                    }
                }
                State::Skip(left) => {
                    if !self.skip(left) {
                        return Ok(None);
                    }
                }
                State::Line | State::SkipLine => {
                    let Some(line) = self.take_line() else { return Ok(None) };
                    if let Some(event) = self.line(&line)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// A line without its end; none while it isn't whole. Remembers only the beginning of one that is too long.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let fresh = self.input.get(self.searched..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|b| *b == b'\n') else {
            self.searched = self.input.len();
            self.bound_line();
            return None;
        };
        let mut line: Vec<u8> = self.input.drain(..=self.searched.saturating_add(end)).collect();
        self.searched = 0;
        line.pop();
        line.pop_if(|b| *b == b'\r');
        Some(line)
    }

    fn bound_line(&mut self) {
        if self.line_bytes.saturating_add(self.input.len()) > self.line_bytes_max {
            if self.command.is_empty() {
                self.command = head(&self.input).to_vec();
            }
            self.state = State::SkipLine;
        }
        if self.state == State::SkipLine {
            self.input.clear();
            self.searched = 0;
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Event>, Flood> {
        self.line_bytes = self.line_bytes.saturating_add(line.len());
        if self.state == State::SkipLine || self.line_bytes > self.line_bytes_max {
            if self.command.is_empty() {
                self.command = head(line).to_vec();
            }
            let start = head(&self.command).to_vec();
            self.reset();
            return Ok(Some(Event::TooLong(start)));
        }
        let Some(literal) = Literal::at_end_of(line) else {
            return Ok(Some(self.finish(line)));
        };
        if self.refused {
            return self.pass_over(literal);
        }
        let message = self.is_message(line);
        self.command.extend_from_slice(line);
        if message {
            self.state = State::Announced(literal);
            let (before, octets) = (self.command.clone(), literal.octets);
            return Ok(Some(Event::Announced { before, octets }));
        }
        self.literals = self.literals.saturating_add(1);
        if literal.octets > IMAP_LITERAL_BYTES_MAX || self.literals > IMAP_LITERALS_MAX {
            self.refused = true;
            return self.pass_over(literal);
        }
        self.command.extend_from_slice(b"\r\n");
        self.state = State::Literal(literal.octets);
        Ok(literal.synchronising.then_some(Event::WantsLiteral))
    }

    /// True where a literal at the end of `line` is a message.
    fn is_message(&self, line: &[u8]) -> bool {
        if self.command.is_empty() {
            return announces_message(line);
        }
        let first = self.command.split(|b| *b == b'\n').next().unwrap_or_default();
        name_place(first).is_some()
    }

    /// A literal that nobody wants: not asked for, or read and dropped.
    fn pass_over(&mut self, literal: Literal) -> Result<Option<Event>, Flood> {
        if literal.synchronising {
            let start = std::mem::take(&mut self.command);
            self.reset();
            return Ok(Some(Event::Refused(start)));
        }
        if literal.octets > IMAP_SKIP_BYTES_MAX {
            return Err(Flood);
        }
        self.state = State::Skip(literal.octets);
        Ok(None)
    }

    fn finish(&mut self, line: &[u8]) -> Event {
        let mut command = std::mem::take(&mut self.command);
        if self.refused {
            self.reset();
            return Event::Refused(command);
        }
        let messages = std::mem::take(&mut self.messages);
        self.reset();
        self.messages = messages;
        command.extend_from_slice(line);
        Event::Command(command)
    }

    /// Moves octets of a literal over; true once it is whole.
    fn literal(&mut self, left: u64) -> bool {
        let n = self.input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.command.extend(self.input.drain(..n));
        let left = left.saturating_sub(n.try_into().unwrap_or(u64::MAX));
        self.state = if left == 0 { State::Line } else { State::Literal(left) };
        left == 0
    }

    /// Moves octets of a message over; true once it is whole.
    fn message(&mut self, left: u64) -> bool {
        let n = self.input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(message) = self.messages.last_mut() {
            message.extend_from_slice(self.input.get(..n).unwrap_or_default());
        }
        self.input.drain(..n);
        let left = left.saturating_sub(n.try_into().unwrap_or(u64::MAX));
        if left > 0 {
            self.state = State::Message(left);
            return false;
        }
        self.command.extend_from_slice(b"\r\n");
        self.state = State::Line;
        true
    }

    fn skip(&mut self, left: u64) -> bool {
        let n = self.input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.input.drain(..n);
        let left = left.saturating_sub(n.try_into().unwrap_or(u64::MAX));
        self.state = if left == 0 { State::Line } else { State::Skip(left) };
        left == 0
    }

    fn reset(&mut self) {
        self.command.clear();
        self.line_bytes = 0;
        self.literals = 0;
        self.refused = false;
        self.messages.clear();
        self.state = State::Line;
    }
}

/// A literal's announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// Octets that follow.
    pub(super) octets: u64,
    /// True where the client waits for `+`.
    pub(super) synchronising: bool,
}

impl Literal {
    /// The announcement that ends a line, if one does.
    pub(super) fn at_end_of(line: &[u8]) -> Option<Self> {
        let inside = line.strip_suffix(b"}")?;
        let open = inside.iter().rposition(|b| *b == b'{')?;
        let number = inside.get(open.checked_add(1)?..)?;
        let (digits, synchronising) = match number.strip_suffix(b"+") {
            Some(digits) => (digits, false),
            None => (number, true),
        };
        if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let octets = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self { octets, synchronising })
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    bytes.get(..IMAP_TAG_BYTES_MAX.min(bytes.len())).unwrap_or_default()
}

/// How many words stand before the mailbox's name, which may be a literal itself; none for verbs without a message.
fn name_place(line: &[u8]) -> Option<usize> {
    let mut words = line.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let verb = words.nth(1)?;
    let (verb, before) = if verb.eq_ignore_ascii_case(b"UID") {
        (words.next()?, 3)
    } else {
        (verb, 2)
    };
    if verb.eq_ignore_ascii_case(b"REPLACE") {
        return Some(before + 1);
    }
    (verb.eq_ignore_ascii_case(b"APPEND") && before == 2).then_some(before)
}

/// True where the literal that ends a command's first line is a message.
fn announces_message(line: &[u8]) -> bool {
    let words = line.split(|b| *b == b' ').filter(|word| !word.is_empty()).count();
    name_place(line).is_some_and(|before| words > before.saturating_add(1))
}

/// The tag at the start of a line, for an answer even where the rest can't be read.
pub(super) fn tag_of(line: &[u8]) -> Option<&str> {
    let tag = line.split(|b| *b == b' ').next()?;
    let fits = |b: &u8| b.is_ascii_graphic() && !b"(){%*\"\\+".contains(b);
    if tag.is_empty() || tag.len() > IMAP_TAG_BYTES_MAX || !tag.iter().all(fits) {
        return None;
    }
    std::str::from_utf8(tag).ok()
}

#[cfg(test)]
mod tests;
