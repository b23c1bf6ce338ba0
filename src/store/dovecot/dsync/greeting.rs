//! The socket of a Dovecot's `doveadm` service: what is said before a dsync session, and the frames around what is heard.
//!
//! With minor 1 of that protocol (both versions know it) what the server says comes in frames once it has let us in: a channel
//! (0: the session; `L`: lines of its log), the length in four octets, highest first, and the octets. What we say is bare.

use super::{Broken, broken};
use crate::limits::{DSYNC_FRAME_BYTES_MAX, DSYNC_GREETING_BYTES_MAX};
use crate::op::UserName;

const VERSION: &[u8] = b"VERSION\tdoveadm-server\t1\t1\n";
const LOG: u8 = b'L';
const FRAME_HEADER: usize = 5;

/// Bare or framed octets of the server → octets of the session, and lines of its log.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    stage: Stage,
    user: String,
    buffer: Vec<u8>,
    frames: Frames,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Waits to be let in.
    #[default]
    Door,
    /// The command was said.
    Command,
    Open,
}

impl Greeting {
    /// Begins; `out` takes what is to be sent.
    pub(super) fn new(user: &UserName, out: &mut Vec<u8>) -> Self {
        out.extend(VERSION);
        Self {
            user: user.to_string(),
            ..Self::default()
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Takes what the server sent: `out` takes what is to be sent, `heard` what belongs to the session, `log` its log.
    pub(super) fn take(
        &mut self,
        octets: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<u8>,
        log: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        if self.stage == Stage::Door {
            self.buffer.extend(octets);
            if !self.let_in(out)? {
                return Ok(());
            }
            let rest = std::mem::take(&mut self.buffer);
            return self.framed(&rest, heard, log);
        }
        self.framed(octets, heard, log)
    }

    /// Reads lines up to the one that lets us in, and says the command.
    fn let_in(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        while let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            match line.as_slice() {
                b"+\n" => {
                    let name = &self.user;
                    out.extend(format!("\t{name}\tdsync-server\t-u{name}\n").as_bytes());
                    self.stage = Stage::Command;
                    return Ok(true);
                }
                b"-\n" => return Err(broken("the doveadm socket asks for a password")),
                version if version.starts_with(b"VERSION\t") => {}
                _ => return Err(broken("no doveadm server answers")),
            }
        }
        match self.buffer.len() > DSYNC_GREETING_BYTES_MAX {
            true => Err(broken("no doveadm server answers")),
            false => Ok(false),
        }
    }

    fn framed(&mut self, octets: &[u8], heard: &mut Vec<u8>, log: &mut Vec<u8>) -> Result<(), Broken> {
        if self.stage == Stage::Open {
            return self.frames.take(octets, heard, log);
        }
        self.frames.take(octets, &mut self.buffer, log)?;
        let answer = self.buffer.strip_prefix(b"\n").unwrap_or(&self.buffer);
        let Some(end) = answer.iter().position(|octet| *octet == b'\n') else {
            return Ok(());
        };
        let (line, rest) = answer.split_at(end);
        if line != b"+" {
            let why = String::from_utf8_lossy(line.strip_prefix(b"-").unwrap_or(line)).into_owned();
            return Err(broken(format!("dsync-server was refused: {why}")));
        }
        heard.extend(rest.get(1..).unwrap_or_default());
        self.buffer.clear();
        self.stage = Stage::Open;
        Ok(())
    }
}

/// The frames alone.
#[derive(Debug, Default)]
struct Frames {
    header: Vec<u8>,
    channel: u8,
    left: usize,
}

impl Frames {
    fn take(&mut self, mut octets: &[u8], session: &mut Vec<u8>, log: &mut Vec<u8>) -> Result<(), Broken> {
        while !octets.is_empty() {
            if self.left > 0 {
                let (now, rest) = octets.split_at(self.left.min(octets.len()));
                match self.channel {
                    LOG => log.extend(now),
                    _ => session.extend(now),
                }
                self.left = self.left.saturating_sub(now.len());
                octets = rest;
                continue;
            }
            let missing = FRAME_HEADER.saturating_sub(self.header.len());
            let (now, rest) = octets.split_at(missing.min(octets.len()));
            self.header.extend(now);
            octets = rest;
            self.begin()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Broken> {
        let [channel, a, b, c, d] = self.header.as_slice() else {
            return Ok(());
        };
        if *channel != 0 && *channel != LOG {
            return Err(broken("a frame of an unknown channel"));
        }
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        self.channel = *channel;
        self.left = usize::try_from(length).unwrap_or(usize::MAX);
        self.header.clear();
        match self.left > DSYNC_FRAME_BYTES_MAX {
            true => Err(broken("a frame is too long")),
            false => Ok(()),
        }
    }
}

/// For the fuzzer: whatever a server says, in whatever pieces.
pub fn fuzz_greeting(octets: &[u8]) {
    let (first, rest) = octets.split_first().unwrap_or((&0, &[]));
    let (mut out, mut heard, mut log) = (Vec::new(), Vec::new(), Vec::new());
    let mut greeting = Greeting::new(&UserName::from("u"), &mut out);
    for piece in rest.chunks(usize::from(*first).saturating_add(1)) {
        if greeting.take(piece, &mut out, &mut heard, &mut log).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(channel: u8, octets: &[u8]) -> Vec<u8> {
        let length = u32::try_from(octets.len()).unwrap().to_be_bytes();
        [&[channel], length.as_slice(), octets].concat()
    }

    #[test]
    fn frames_cut_anywhere_give_the_session_and_the_log_apart() {
        let said = [
            b"VERSION\tdoveadm-client\t1\t3\n+\n".to_vec(),
            frame(0, b"\n"),
            frame(LOG, b"\x02a log line\n"),
            frame(0, b"+\nVERS"),
            frame(0, b""),
            frame(0, b"ION\n"),
        ]
        .concat();
        for size in 1..said.len() {
            let (mut out, mut heard, mut log) = (Vec::new(), Vec::new(), Vec::new());
            let mut greeting = Greeting::new(&"bob".into(), &mut out);
            for piece in said.chunks(size) {
                greeting.take(piece, &mut out, &mut heard, &mut log).unwrap();
            }
            assert!(greeting.is_open());
            assert_eq!(out, b"VERSION\tdoveadm-server\t1\t1\n\tbob\tdsync-server\t-ubob\n");
            assert_eq!(
                (heard.as_slice(), log.as_slice()),
                (&b"VERSION\n"[..], &b"\x02a log line\n"[..])
            );
        }
    }

    #[test]
    fn a_refusal_says_why() {
        for (said, why) in [
            (b"-\n".to_vec(), "password"),
            ([b"+\n".to_vec(), frame(0, b"\n-NOUSER\n")].concat(), "NOUSER"),
            (b"HTTP/1.1 400\n".to_vec(), "no doveadm"),
            ([b"+\n".to_vec(), vec![7; 5]].concat(), "channel"),
        ] {
            let mut out = Vec::new();
            let mut greeting = Greeting::new(&"bob".into(), &mut out);
            let error = greeting.take(&said, &mut out, &mut Vec::new(), &mut Vec::new());
            assert!(error.unwrap_err().to_string().contains(why), "{why}");
        }
    }
}
