//! A small LMTP client (RFC 2033): enough to deliver.

use crate::Result;
use anyhow::bail;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One connection, greeted and ready.
#[derive(Debug)]
pub struct Lmtp {
    stream: BufReader<TcpStream>,
}

impl Lmtp {
    /// Connects to a port on 127.0.0.1.
    pub fn connect(port: u16) -> Result<Lmtp> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        let mut lmtp = Lmtp {
            stream: BufReader::new(stream),
        };
        lmtp.expect("220")?;
        lmtp.say(b"LHLO client.example.test\r\n", "250")?;
        Ok(lmtp)
    }

    /// Delivers `message` (CRLF lines) to one user; an error unless it is taken.
    pub fn deliver(&mut self, user: &str, message: &[u8]) -> Result<()> {
        self.say(b"MAIL FROM:<sender@example.org>\r\n", "250")?;
        self.say(format!("RCPT TO:<{user}>\r\n").as_bytes(), "250")?;
        self.say(b"DATA\r\n", "354")?;
        let mut text = Vec::with_capacity(message.len() + 8);
        for line in message.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                text.push(b'.');
            }
            text.extend_from_slice(line);
        }
        text.extend_from_slice(if message.ends_with(b"\r\n") {
            b".\r\n"
        } else {
            b"\r\n.\r\n"
        });
        self.say(&text, "250")
    }

    fn say(&mut self, bytes: &[u8], wanted: &str) -> Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.expect(wanted)
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                bail!("LMTP: the server closed the connection");
            }
            if !line.starts_with(wanted) {
                bail!("LMTP: {wanted} expected, got {}", line.trim_end());
            }
            if line.get(3..4) != Some("-") {
                return Ok(());
            }
        }
    }
}
