//! A small blocking IMAP client (RFC 3501): literals both ways, and every untagged answer parsed into [`Value`]s.
//!
//! Mailbox names stay as the server writes them (modified UTF-7), so that two stores are compared octet by octet.

mod parse;

pub use parse::{Parser, Value};

use crate::Result;
use anyhow::{Context, bail};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No line or literal of a server in a test is longer; a broken server must not eat the memory.
const ANSWER_MAX: usize = 64 << 20;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Refused.
    No,
}

/// A command's answer. `BAD` and a lost connection are errors, not answers.
#[derive(Debug)]
pub struct Reply {
    /// Untagged answers in their order, each as its words; of a status line only the words of its code.
    pub untagged: Vec<Vec<Value>>,
    /// How it ended.
    pub status: Status,
    /// The tagged line's text, with its code.
    pub text: String,
}

impl Reply {
    /// True where the server did it.
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// An error where the server refused.
    pub fn must(self) -> Result<Reply> {
        if !self.is_ok() {
            bail!("refused: {}", self.text);
        }
        Ok(self)
    }

    /// The untagged answers whose word at `place` is `name`.
    pub fn all<'a>(&'a self, place: usize, name: &'a str) -> impl Iterator<Item = &'a [Value]> {
        let named = move |a: &&Vec<Value>| a.get(place).is_some_and(|v| v.is(name));
        self.untagged.iter().filter(named).map(Vec::as_slice)
    }

    /// The number after `name` in a status line's code, as in `[UIDNEXT 7]`.
    pub fn code(&self, name: &str) -> Option<u64> {
        self.all(0, name).last().and_then(|a| a.get(1)).and_then(Value::number)
    }
}

/// One connection.
#[derive(Debug)]
pub struct Imap {
    stream: BufReader<TcpStream>,
    tag: u32,
    capabilities: BTreeSet<String>,
}

impl Imap {
    /// Connects to a port on 127.0.0.1, logs in and asks for the capabilities.
    pub fn login(port: u16, user: &str, password: &str) -> Result<Imap> {
        let mut imap = Imap::connect(port)?;
        imap.run(&format!("LOGIN {} {}", quote(user), quote(password)))?
            .must()
            .context("LOGIN")?;
        let reply = imap.run("CAPABILITY")?.must()?;
        let names = reply
            .all(0, "CAPABILITY")
            .flatten()
            .map(|v| v.text().to_ascii_uppercase());
        imap.capabilities = names.collect();
        Ok(imap)
    }

    /// Connects to a port on 127.0.0.1 and reads the greeting.
    pub fn connect(port: u16) -> Result<Imap> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.set_nodelay(true)?;
        let mut imap = Imap {
            stream: BufReader::new(stream),
            tag: 0,
            capabilities: BTreeSet::new(),
        };
        let greeting = imap.answer()?;
        if !greeting.starts_with(b"* OK") {
            bail!("greeting: {}", String::from_utf8_lossy(&greeting));
        }
        Ok(imap)
    }

    /// True where the server announced it after the login.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// Runs one command, without its tag.
    pub fn run(&mut self, command: &str) -> Result<Reply> {
        self.send(&format!("{command}\r\n"))?;
        self.reply()
            .with_context(|| command.get(..80).unwrap_or(command).to_owned())
    }

    /// APPEND; `arguments` are flags and date as they stand in the command, `""` or as in `(\Seen) "…" `.
    pub fn append(&mut self, mailbox: &str, arguments: &str, message: &[u8]) -> Result<Reply> {
        self.send(&format!(
            "APPEND {} {arguments}{{{}}}\r\n",
            quote(mailbox),
            message.len()
        ))?;
        let go_on = self.answer()?;
        if !go_on.starts_with(b"+") {
            let (_, text) = split_tagged(&go_on)?;
            return Ok(Reply {
                untagged: Vec::new(),
                status: Status::No,
                text,
            });
        }
        let stream = self.stream.get_mut();
        stream.write_all(message)?;
        stream.write_all(b"\r\n")?;
        self.reply().context("APPEND")
    }

    /// Opens a mailbox for writing.
    pub fn select(&mut self, mailbox: &str) -> Result<Reply> {
        self.run(&format!("SELECT {}", quote(mailbox)))
    }

    /// IDLE (RFC 2177), for the rest of the connection.
    pub fn idle(mut self) -> Result<Idle> {
        self.send("IDLE\r\n")?;
        let go_on = self.answer()?;
        if !go_on.starts_with(b"+") {
            bail!("IDLE: {}", String::from_utf8_lossy(&go_on));
        }
        self.stream.get_ref().set_read_timeout(None)?;
        Ok(Idle { imap: self })
    }

    fn send(&mut self, text: &str) -> Result<()> {
        self.tag += 1;
        let line = format!("t{} {text}", self.tag);
        Ok(self.stream.get_mut().write_all(line.as_bytes())?)
    }

    /// Reads up to the tagged answer.
    fn reply(&mut self) -> Result<Reply> {
        let tag = format!("t{} ", self.tag);
        let mut untagged = Vec::new();
        loop {
            let answer = self.answer()?;
            if answer.starts_with(b"* ") {
                untagged.push(Parser::new(&answer).untagged()?);
            } else if answer.starts_with(tag.as_bytes()) {
                let (status, text) = split_tagged(&answer)?;
                return Ok(Reply { untagged, status, text });
            } else {
                bail!("unexpected: {}", String::from_utf8_lossy(&answer));
            }
        }
    }

    /// One complete answer: a line, and where it announces a literal, that and what follows.
    fn answer(&mut self) -> Result<Vec<u8>> {
        let mut answer = Vec::new();
        loop {
            let start = answer.len();
            let limit = (ANSWER_MAX - start) as u64;
            if self.stream.by_ref().take(limit).read_until(b'\n', &mut answer)? == 0 {
                bail!("the server closed the connection, or sent more than {ANSWER_MAX} octets");
            }
            let Some(octets) = parse::announced_literal(answer.get(start..).unwrap_or_default()) else {
                return Ok(answer);
            };
            if octets > ANSWER_MAX - answer.len() {
                bail!("a literal of {octets} octets");
            }
            let place = answer.len();
            answer.resize(place + octets, 0);
            self.stream.read_exact(answer.get_mut(place..).unwrap_or_default())?;
        }
    }
}

/// A connection that hears what changes.
#[derive(Debug)]
pub struct Idle {
    imap: Imap,
}

impl Idle {
    /// The next untagged answer; waits for it without a limit.
    pub fn next_line(&mut self) -> Result<String> {
        let answer = self.imap.answer()?;
        Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
    }
}

fn split_tagged(answer: &[u8]) -> Result<(Status, String)> {
    let text = String::from_utf8_lossy(answer);
    let mut words = text.trim_end().splitn(3, ' ');
    let status = match words.nth(1) {
        Some("OK") => Status::Ok,
        Some("NO") => Status::No,
        _ => bail!("the server answered {}", text.trim_end()),
    };
    Ok((status, words.next().unwrap_or_default().to_owned()))
}

/// A name as a quoted string.
pub fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref().replace('\\', "\\\\").replace('"', "\\\""))
}
