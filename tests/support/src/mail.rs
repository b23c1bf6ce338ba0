//! Messages out of a seed: realistic in size, with lines that start with a dot, and parts now and then.

use crate::rng::Rng;
use std::fmt::Write;

const WORDS: [&str; 16] = [
    "ledger", "meeting", "invoice", "garden", "release", "minutes", "draft", "Tuesday", "harbour", "answer",
    "schedule", "attached", "please", "regards", "copper", "window",
];
/// Few messages are larger; the load is about many changes, not about bytes.
const SIZE_MAX: u64 = 600_000;

/// A complete message with CRLF lines.
pub fn message(rng: &mut Rng) -> Vec<u8> {
    let subject = phrase(rng, 4);
    message_about(rng, &subject)
}

/// A complete message with this subject.
pub fn message_about(rng: &mut Rng, subject: &str) -> Vec<u8> {
    let size = size(rng);
    let mut text = format!(
        "From: Sender {n} <sender{n}@example.org>\r\nTo: user@example.test\r\nSubject: {subject}\r\n\
         Message-ID: <{id:016x}{n}@example.org>\r\nDate: Mon, {day} Sep 2025 10:{minute:02}:00 +0200\r\n\
         MIME-Version: 1.0\r\n",
        n = rng.below(5000),
        id = rng.word(),
        day = 1 + rng.below(28),
        minute = rng.below(60),
    );
    if rng.chance(20) {
        two_parts(rng, &mut text, size);
    } else {
        text.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
        lines(rng, &mut text, size);
    }
    text.into_bytes()
}

/// Log-uniform between 200 octets and the bound: most are small, some are large.
fn size(rng: &mut Rng) -> u64 {
    let doublings = rng.below(12).min(rng.below(12));
    (200_u64 << doublings).saturating_add(rng.below(200)).min(SIZE_MAX)
}

fn two_parts(rng: &mut Rng, text: &mut String, size: u64) {
    let boundary = format!("b{:x}", rng.word());
    // writing to a String can't fail
    _ = write!(
        text,
        "Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n"
    );
    text.push_str("Content-Type: text/plain\r\n\r\n");
    lines(rng, text, 120);
    _ = write!(
        text,
        "--{boundary}\r\nContent-Type: application/octet-stream; name=\"{}.bin\"\r\n",
        phrase(rng, 1)
    );
    text.push_str("Content-Disposition: attachment\r\n\r\n");
    lines(rng, text, size);
    _ = write!(text, "--{boundary}--\r\n");
}

fn lines(rng: &mut Rng, text: &mut String, size: u64) {
    let end = text.len() as u64 + size;
    while (text.len() as u64) < end {
        if rng.chance(2) {
            text.push('.');
        }
        text.push_str(&phrase(rng, 9));
        text.push_str(if rng.chance(3) { " – ü\r\n" } else { "\r\n" });
    }
}

fn phrase(rng: &mut Rng, words: usize) -> String {
    (0..words).map(|_| *rng.pick(&WORDS)).collect::<Vec<_>>().join(" ")
}
