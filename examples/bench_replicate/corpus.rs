//! Mail out of a seed, and stores filled with it without a server.

use anyhow::Result;
use std::fs;
use std::path::Path;
use testbed::dovecot::Dovecot;
use testbed::rng::Rng;

/// What mail looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// 4 KiB of text each, give or take 5 %.
    Small,
    /// Log-normal sizes, median 8 KiB, mean 64 KiB, at most 25 MiB; what is large is mostly a base64 attachment, half of
    /// them compressible.
    Real,
}

const FOLDERS: [&str; 10] = [
    "",
    ".Sent",
    ".Drafts",
    ".Trash",
    ".Archive",
    ".Lists.dev",
    ".Lists.ops",
    ".Projects.alpha",
    ".Projects.beta",
    ".Invoices",
];
const WORDS: [&str; 40] = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "for",
    "that",
    "with",
    "meeting",
    "project",
    "report",
    "invoice",
    "budget",
    "quarter",
    "customer",
    "server",
    "delivery",
    "attached",
    "review",
    "schedule",
    "contract",
    "team",
    "release",
    "question",
    "answer",
    "thanks",
    "regards",
    "tomorrow",
    "office",
    "department",
    "account",
    "number",
    "address",
    "document",
    "change",
    "request",
    "support",
    "deadline",
    "payment",
];
const REAL_MAX: usize = 25 << 20;
/// The mail's own user and group, as the Dovecots of the tests have it.
const OWNER: u32 = 8;

/// Messages and octets that were written.
#[derive(Clone, Copy, Default)]
pub(crate) struct Filled {
    /// How many.
    pub(crate) messages: usize,
    /// In all.
    pub(crate) octets: u64,
}

/// Message number `n`, with CRLF lines.
pub(crate) fn message(profile: Profile, n: usize) -> Vec<u8> {
    let mut rng = Rng::new(&format!("bench/{n}"));
    let size = match profile {
        Profile::Small => 3_891 + usize::try_from(rng.below(410)).unwrap_or(0),
        Profile::Real => log_normal(&mut rng).clamp(1_024, REAL_MAX),
    };
    let mut text = format!(
        "Return-Path: <sender{a}@example.org>\r\nReceived: from mx{a}.example.org (mx{a}.example.org [192.0.2.7])\r\n\tby \
         mail.example.test with ESMTPS id {id:010X};\r\n\tMon, 3 Mar 2025 10:00:00 +0000\r\nDate: Mon, 3 Mar 2025 10:00:00 \
         +0000\r\nFrom: Sender {a} <sender{a}@example.org>\r\nTo: user@example.test\r\nSubject: {}\r\nMessage-ID: \
         <{id:016x}.{n}@example.org>\r\nMIME-Version: 1.0\r\n",
        phrase(&mut rng, 5),
        a = rng.below(500),
        id = rng.word(),
    );
    if size < 20_000 {
        text.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
        prose(&mut rng, &mut text, size);
    } else {
        with_attachment(&mut rng, &mut text, size);
    }
    text.into_bytes()
}

fn with_attachment(rng: &mut Rng, text: &mut String, size: usize) {
    text.push_str(
        "Content-Type: multipart/mixed; boundary=\"=_part\"\r\n\r\n--=_part\r\nContent-Type: text/plain\r\n\r\n",
    );
    let end = text.len() + 1_500;
    prose(rng, text, end);
    text.push_str(
        "--=_part\r\nContent-Type: application/octet-stream; name=\"a.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    );
    let is_compressible = rng.chance(50);
    while text.len() < size {
        base64_line(rng, text, is_compressible);
    }
    text.push_str("--=_part--\r\n");
}

fn base64_line(rng: &mut Rng, text: &mut String, is_compressible: bool) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let among = if is_compressible { 8 } else { 64 };
    for _ in 0..8 {
        let mut word = rng.word();
        let letters = if text.ends_with('\n') { 6 } else { 10 };
        for _ in 0..letters {
            let place = usize::try_from(word % among).unwrap_or(0);
            text.push(char::from(ALPHABET.get(place).copied().unwrap_or(b'A')));
            word /= 64;
        }
    }
    text.push_str("\r\n");
}

fn prose(rng: &mut Rng, text: &mut String, end: usize) {
    while text.len() < end {
        text.push_str(&phrase(rng, 10));
        text.push_str("\r\n");
    }
}

fn phrase(rng: &mut Rng, words: usize) -> String {
    (0..words).map(|_| *rng.pick(&WORDS)).collect::<Vec<_>>().join(" ")
}

/// Median 8 KiB, mean 64 KiB (Box and Muller).
fn log_normal(rng: &mut Rng) -> usize {
    let mut uniform = || (rng.below(1 << 52) + 1) as f64 / (1_u64 << 52) as f64;
    let (a, b) = (uniform(), uniform());
    let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    let sigma = (2.0 * 8.0_f64.ln()).sqrt();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size, bounded by the caller"
    )]
    let size = (8_192.0 * (sigma * normal).exp()) as usize;
    size
}

/// Fills a maildir Dovecot's stores with `messages` spread over users and ten folders each, and lets Dovecot index them.
///
/// # Errors
/// A file can't be written, or Dovecot can't read it.
pub(crate) fn fill(source: &Dovecot, profile: Profile, messages: usize) -> Result<Filled> {
    let mut filled = Filled::default();
    for n in 0..messages {
        let user = source.users().get(n % source.users().len()).map_or("", String::as_str);
        let folder = FOLDERS
            .get(n / source.users().len() % FOLDERS.len())
            .copied()
            .unwrap_or("");
        let text = message(profile, n);
        deliver_into(&source.home(user).join("Maildir").join(folder), n, &text)?;
        filled.messages += 1;
        filled.octets += text.len() as u64;
    }
    for user in source.users() {
        own(&source.home(user))?;
    }
    source.doveadm(&["mailbox", "status", "-A", "messages", "*"])?;
    Ok(filled)
}

/// As an MDA would: LF lines, sizes in the name.
fn deliver_into(maildir: &Path, n: usize, text: &[u8]) -> Result<()> {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(part))?;
    }
    let stored: Vec<u8> = text.iter().copied().filter(|octet| *octet != b'\r').collect();
    let name = format!("17{n:08}.M1P1.bench,S={},W={}:2,S", stored.len(), text.len());
    Ok(fs::write(maildir.join("cur").join(name), stored)?)
}

fn own(folder: &Path) -> Result<()> {
    std::os::unix::fs::chown(folder, Some(OWNER), Some(OWNER))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            own(&entry.path())?;
        } else {
            std::os::unix::fs::chown(entry.path(), Some(OWNER), Some(OWNER))?;
        }
    }
    Ok(())
}
