//! Octets of the other side → what it says. Bounded, over any cuts of the input, and it never panics.

use super::columns::Columns;
use super::said::{Said, item};
use super::stuffing::Unstuffer;
use super::{Broken, broken};
use crate::limits::DSYNC_LINE_BYTES_MAX;

/// The protocol's major version; another one can't be spoken to.
const MAJOR: &str = "3";

/// The reading half of a session.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    /// How much of the buffer was taken.
    taken: usize,
    /// How much of the rest has no line's end.
    searched: usize,
    stage: Stage,
    columns: Columns,
}

#[derive(Debug)]
enum Stage {
    Version,
    Headers,
    Items,
    Stream(Unstuffer),
    StreamEnd,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
            stage: Stage::Version,
            columns: Columns::default(),
        }
    }
}

impl Reader {
    /// Takes what has come.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.drain(..self.taken.min(self.buffer.len()));
        self.taken = 0;
        self.buffer.extend(octets);
    }

    /// The next thing that was said; none: more must come first.
    ///
    /// # Errors
    /// It is not the protocol, or beyond a bound.
    pub fn hear(&mut self) -> Result<Option<Said>, Broken> {
        loop {
            if let Some(part) = self.part() {
                return Ok(Some(part));
            }
            match self.stage {
                Stage::Stream(_) => return Ok(None),
                Stage::StreamEnd => {
                    self.stage = Stage::Items;
                    return Ok(Some(Said::PartsEnd));
                }
                _ => {}
            }
            let Some(line) = self.line()? else {
                return Ok(None);
            };
            if let Some(said) = self.understand(&line)? {
                return Ok(Some(said));
            }
        }
    }

    fn understand(&mut self, line: &[u8]) -> Result<Option<Said>, Broken> {
        match self.stage {
            Stage::Version => {
                check_version(line)?;
                self.stage = Stage::Headers;
                Ok(None)
            }
            Stage::Headers if line == b"." => {
                self.stage = Stage::Items;
                Ok(None)
            }
            Stage::Headers => self.columns.learn(line).map(|()| None),
            _ if line == b"." => Ok(Some(Said::End)),
            _ if line.first() == Some(&b'X') => Ok(Some(Said::Closing)),
            _ => {
                let said = item(line, &self.columns)?;
                let streamed = match &said {
                    Some(Said::Attribute(attribute)) => attribute.streamed,
                    Some(Said::Mail(streamed)) => *streamed,
                    _ => false,
                };
                if streamed {
                    self.stage = Stage::Stream(Unstuffer::new());
                }
                Ok(said)
            }
        }
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let unseen = rest.get(self.searched..).unwrap_or_default();
        let Some(end) = unseen.iter().position(|octet| *octet == b'\n') else {
            self.searched = rest.len();
            if rest.len() > DSYNC_LINE_BYTES_MAX {
                return Err(broken("a line is too long"));
            }
            return Ok(None);
        };
        let end = self.searched.saturating_add(end);
        if end > DSYNC_LINE_BYTES_MAX {
            return Err(broken("a line is too long"));
        }
        let line = rest.get(..end).unwrap_or_default().to_vec();
        self.taken = self.taken.saturating_add(end).saturating_add(1);
        self.searched = 0;
        Ok(Some(line))
    }

    /// Octets of the stream that has begun; none: more must come first, or it has ended.
    fn part(&mut self) -> Option<Said> {
        let Stage::Stream(unstuffer) = &mut self.stage else {
            return None;
        };
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let mut octets = Vec::new();
        let (taken, ended) = unstuffer.take(rest, &mut octets);
        self.taken = self.taken.saturating_add(taken);
        if ended {
            self.stage = Stage::StreamEnd;
        }
        (!octets.is_empty()).then_some(Said::Part(octets))
    }
}

/// `VERSION dsync 3 MINOR`: whatever the minor is, ours is lower or equal, and it does as ours says.
fn check_version(line: &[u8]) -> Result<(), Broken> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split('\t');
    let known = words.next() == Some("VERSION") && words.next() == Some("dsync") && words.next() == Some(MAJOR);
    match known {
        true => Ok(()),
        // What stands here instead is mostly an error message of the command.
        false => Err(broken(format!(
            "no dsync of version 3 answers: {}",
            text.chars().take(200).collect::<String>()
        ))),
    }
}

/// For the fuzzer: whatever comes, in whatever pieces, ends in a bound and not in a panic.
pub fn fuzz_dsync(octets: &[u8]) {
    let (first, rest) = octets.split_first().unwrap_or((&0, &[]));
    let mut reader = Reader::default();
    for piece in rest.chunks(usize::from(*first).saturating_add(1)) {
        reader.push(piece);
        loop {
            match reader.hear() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}
