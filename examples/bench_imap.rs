//! The front end against a real Dovecot 2.3 on the same data, in turns: ratios above 1 mean that ours is faster.
//!
//! `cargo run --release --example bench_imap [ROUNDS]` (default 5; needs root and Dovecot 2.3). Prints each figure as the
//! median of the rounds with their span.

#![expect(clippy::print_stdout, reason = "it is here to show something")]

use anyhow::{Context, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testbed::Result;
use testbed::dovecot::{Format, PASSWORD, Version};
use testbed::node::Programs;
use testbed::pair::{Pair, Plan};

const USER: &str = "user1@example.test";
const SMALL: usize = 10_000;
const LARGE: usize = 100_000;
const LOGIN_CLIENTS: usize = 8;
const LOGINS: usize = 40;
const DELIVERIES: usize = 40;
/// Dovecot's login processes as its documentation tunes them for speed.
const EXTRA: &str = "service imap-login {\n  service_count = 0\n}\n";

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(5), |n| n.parse())?;
    let mut pair = prepare()?;
    let ports = [pair.source.imap_port(), pair.standby()?.imap_port()];
    println!("{:<58} {:>22} {:>22} {:>18}", "", "Dovecot 2.3", "mailshadow", "ratio");
    type Measure = fn(u16) -> Result<f64>;
    let figures: [(&str, bool, Measure); 10] = [
        ("logins/s, 8 clients", true, logins),
        ("SELECT of 10,000, new session, ms", false, |p| select(p, "small")),
        ("SELECT of 100,000, new session, ms", false, |p| select(p, "large")),
        ("SELECT and FETCH 1:* (FLAGS) of 100,000, ms", false, select_and_flags),
        ("FETCH 1:* (FLAGS) of 100,000, messages/s", true, |p| {
            fetch(p, "large", "FETCH 1:* (FLAGS)", LARGE)
        }),
        ("UID FETCH 1:* (UID FLAGS MODSEQ) of 100,000, messages/s", true, |p| {
            fetch(p, "large", "UID FETCH 1:* (UID FLAGS MODSEQ)", LARGE)
        }),
        (
            "FETCH 1:* (INTERNALDATE RFC822.SIZE) of 10,000, messages/s",
            true,
            |p| fetch(p, "small", "FETCH 1:* (INTERNALDATE RFC822.SIZE)", SMALL),
        ),
        ("FETCH 1:* ENVELOPE of 10,000, messages/s", true, |p| {
            fetch(p, "small", "FETCH 1:* (ENVELOPE)", SMALL)
        }),
        ("FETCH 1:* HEADER.FIELDS of 10,000, messages/s", true, |p| {
            let fields = "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)])";
            fetch(p, "small", fields, SMALL)
        }),
        ("SEARCH UNSEEN of 100,000, ms", false, search),
    ];
    for (name, more_is_better, measure) in figures {
        // the first turn fills both sides' caches
        let mut seen = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            for (port, seen) in ports.iter().zip(&mut seen) {
                let figure = measure(*port).with_context(|| name.to_owned())?;
                if round > 0 {
                    seen.push(figure);
                }
            }
        }
        report(name, more_is_better, seen)?;
    }
    let latencies = [idle(&pair, ports[0])?, idle(&pair, ports[1])?];
    report("IDLE, from LMTP's 250 to EXISTS, ms", false, latencies)
}

fn report(name: &str, more_is_better: bool, mut seen: [Vec<f64>; 2]) -> Result<()> {
    for figures in &mut seen {
        figures.sort_by(f64::total_cmp);
    }
    let spans = seen
        .each_ref()
        .map(|f| format!("{:.1} ({:.1}-{:.1})", median(f), first(f), last(f)));
    let ratio = |a: f64, b: f64| if more_is_better { b / a } else { a / b };
    let [theirs, ours] = &seen;
    let worst = if more_is_better {
        ratio(last(theirs), first(ours))
    } else {
        ratio(first(theirs), last(ours))
    };
    println!(
        "{name:<58} {:>22} {:>22} {:>8.2} (≥ {worst:.2})",
        spans[0],
        spans[1],
        ratio(median(theirs), median(ours))
    );
    Ok(std::io::stdout().flush()?)
}

fn median(figures: &[f64]) -> f64 {
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn first(figures: &[f64]) -> f64 {
    figures.first().copied().unwrap_or(f64::NAN)
}

fn last(figures: &[f64]) -> f64 {
    figures.last().copied().unwrap_or(f64::NAN)
}

/// A Dovecot with two mailboxes, and a copy of it.
fn prepare() -> Result<Pair> {
    let plan = Plan {
        programs: &Programs::beside_this_example()?,
        version: Version::V2_3,
        format: Format::Sdbox,
        users: 1,
        standbys: 1,
        extra: EXTRA,
    };
    let mut pair = plan.build()?;
    let began = Instant::now();
    let mut client = Client::login(pair.source.imap_port())?;
    client.run("CREATE small")?;
    client.run("CREATE large")?;
    for number in 0..500 {
        let flags = match number % 3 {
            0 => "",
            1 => "(\\Seen) ",
            _ => "(\\Seen \\Answered $Forwarded) ",
        };
        client.append("small", flags, &letter(number))?;
    }
    multiply(&mut client, "small", SMALL)?;
    client.run("SELECT small")?;
    client.run(&format!("COPY 1:{SMALL} large"))?;
    multiply(&mut client, "large", LARGE)?;
    println!("source filled in {:.0} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    pair.start_nodes()?;
    pair.wait_for("1200s")?;
    println!("copied in {:.0} s\n", began.elapsed().as_secs_f64());
    Ok(pair)
}

/// Copies messages of a mailbox to its own end until there are so many.
fn multiply(client: &mut Client, mailbox: &str, wanted: usize) -> Result<()> {
    loop {
        let lines = client.run(&format!("SELECT {mailbox}"))?;
        let exists = lines
            .iter()
            .find_map(|line| line.strip_suffix(" EXISTS")?.strip_prefix("* ")?.parse().ok());
        let exists: usize = exists.context("no EXISTS")?;
        if exists >= wanted {
            return Ok(());
        }
        client.run(&format!("COPY 1:{} {mailbox}", exists.min(wanted - exists)))?;
    }
}

fn letter(number: usize) -> String {
    let line = "a line of some length that a person could have written\r\n".repeat(60);
    format!(
        "Received: from relay.example.org by mx.example.test; Mon, 1 Sep 2025 10:00:{:02} +0200\r\n\
         From: Sender {number} <sender{number}@example.org>\r\nTo: User <user1@example.test>\r\n\
         Subject: message number {number}\r\nMessage-ID: <{number}@example.org>\r\n\
         Date: Mon, 1 Sep 2025 10:00:{:02} +0200\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n{line}",
        number % 60,
        number % 60
    )
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

fn logins(port: u16) -> Result<f64> {
    let began = Instant::now();
    let clients: Vec<_> = (0..LOGIN_CLIENTS)
        .map(|_| {
            std::thread::spawn(move || -> Result<()> {
                for _ in 0..LOGINS {
                    Client::login(port)?.run("LOGOUT")?;
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        match client.join() {
            Ok(done) => done?,
            Err(_) => bail!("a client panicked"),
        }
    }
    Ok((LOGIN_CLIENTS * LOGINS) as f64 / began.elapsed().as_secs_f64())
}

fn select(port: u16, mailbox: &str) -> Result<f64> {
    let mut client = Client::login(port)?;
    let began = Instant::now();
    client.run(&format!("EXAMINE {mailbox}"))?;
    Ok(ms(began.elapsed()))
}

fn select_and_flags(port: u16) -> Result<f64> {
    let mut client = Client::login(port)?;
    let began = Instant::now();
    client.run("EXAMINE large")?;
    ensure!(client.count("FETCH 1:* (FLAGS)")? == LARGE, "messages are missing");
    Ok(ms(began.elapsed()))
}

fn fetch(port: u16, mailbox: &str, command: &str, messages: usize) -> Result<f64> {
    let mut client = Client::login(port)?;
    client.run(&format!("EXAMINE {mailbox}"))?;
    client.run("NOOP")?;
    let began = Instant::now();
    let fetched = client.count(command)?;
    ensure!(fetched == messages, "{fetched} messages were fetched, not {messages}");
    Ok(messages as f64 / began.elapsed().as_secs_f64())
}

fn search(port: u16) -> Result<f64> {
    let mut client = Client::login(port)?;
    client.run("EXAMINE large")?;
    client.run("NOOP")?;
    let began = Instant::now();
    client.run("SEARCH UNSEEN")?;
    Ok(ms(began.elapsed()))
}

/// Times from a delivery's end to the news of it.
fn idle(pair: &Pair, port: u16) -> Result<Vec<f64>> {
    let mut client = Client::login(port)?;
    client.run("EXAMINE INBOX")?;
    client.send("IDLE")?;
    client.line()?;
    let mut lmtp = pair.source.lmtp()?;
    let mut seen = Vec::new();
    for number in 0..DELIVERIES {
        lmtp.deliver(USER, letter(number).as_bytes())?;
        let began = Instant::now();
        while !client.line()?.ends_with(" EXISTS") {}
        seen.push(ms(began.elapsed()));
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(seen)
}

/// A client that is faster than the servers: it looks at line ends and literals, no more.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn login(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(300)))?;
        let stream = BufReader::with_capacity(256 << 10, stream);
        let mut client = Self { stream };
        client.line()?;
        client.run(&format!("LOGIN {USER} {PASSWORD}"))?;
        Ok(client)
    }

    fn send(&mut self, command: &str) -> Result<()> {
        Ok(self.stream.get_mut().write_all(format!("t {command}\r\n").as_bytes())?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        ensure!(self.stream.read_until(b'\n', &mut line)? > 0, "the server closed");
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Lines up to the tagged one, which must be OK.
    fn run(&mut self, command: &str) -> Result<Vec<String>> {
        self.send(command)?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if let Some(end) = line.strip_prefix("t ") {
                ensure!(end.starts_with("OK"), "{command}: {end}");
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    fn append(&mut self, mailbox: &str, flags: &str, message: &str) -> Result<()> {
        self.send(&format!("APPEND {mailbox} {flags}{{{}+}}\r\n{message}", message.len()))?;
        while !self.line()?.starts_with("t OK") {}
        Ok(())
    }

    /// Runs a FETCH and counts its answers; literals are passed over.
    fn count(&mut self, command: &str) -> Result<usize> {
        self.send(command)?;
        let (mut count, mut line) = (0, Vec::new());
        let mut within = false;
        loop {
            line.clear();
            ensure!(self.stream.read_until(b'\n', &mut line)? > 0, "the server closed");
            if !within && line.starts_with(b"t ") {
                ensure!(line.starts_with(b"t OK"), "{}", String::from_utf8_lossy(&line));
                return Ok(count);
            }
            // other answers may stand between them, as `* OK [HIGHESTMODSEQ]` where MODSEQs are asked for
            let is_message = line
                .split(|octet| *octet == b' ')
                .nth(2)
                .is_some_and(|word| word == b"FETCH");
            count += usize::from(!within && line.starts_with(b"* ") && is_message);
            let literal = line.strip_suffix(b"}\r\n").and_then(|l| {
                let open = l.iter().rposition(|b| *b == b'{')?;
                std::str::from_utf8(l.get(open + 1..)?).ok()?.parse::<u64>().ok()
            });
            within = literal.is_some();
            if let Some(octets) = literal {
                std::io::copy(&mut self.stream.by_ref().take(octets), &mut std::io::sink())?;
            }
        }
    }
}
