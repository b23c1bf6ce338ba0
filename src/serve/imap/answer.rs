//! How answers are written: strings, names, flags, dates. Pure.

use super::grammar::{MONTHS, is_atom};
use super::mutf7::{self, Script};
use crate::op::{Flags, Keyword, MailboxName};
use time::OffsetDateTime;

/// Longest text that is quoted; anything longer goes as a literal.
const QUOTED_BYTES_MAX: usize = 4096;

/// Writes `text` as `string`: quoted where it can be, else a literal.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |b: &u8| b.is_ascii() && !b"\0\r\n".contains(b);
    if text.len() > QUOTED_BYTES_MAX || !text.iter().all(plain) {
        return literal(out, text);
    }
    out.push(b'"');
    for byte in text {
        if b"\"\\".contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// `text`, or NIL.
pub(super) fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes `text` as Dovecot writes a subject or a person's name: white space that clients would stumble on becomes one
/// space or goes, and what had to be changed or escaped is sent as a literal.
pub(super) fn readable(out: &mut Vec<u8>, text: &[u8]) {
    let mut clean: Vec<u8> = Vec::with_capacity(text.len());
    let mut escaped = false;
    for byte in text {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' if clean.last().is_none_or(|b| *b == b' ') => {}
            b' ' | b'\t' | b'\r' | b'\n' => clean.push(b' '),
            // NUL can't be sent; Dovecot stands 0x80 in for it
            0 => clean.push(0x80),
            byte => {
                escaped |= b"\"\\".contains(byte);
                clean.push(*byte);
            }
        }
    }
    clean.pop_if(|b| *b == b' ');
    if (clean == text && !escaped) || clean.is_empty() {
        string(out, &clean)
    } else {
        literal(out, &clean)
    }
}

fn literal(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
    out.extend_from_slice(text);
}

/// Writes `text` as an atom where it is one, else as a string.
pub(super) fn astring(out: &mut Vec<u8>, text: &[u8]) {
    let atom = !text.is_empty() && text.iter().all(|b| is_atom(*b)) && !text.eq_ignore_ascii_case(b"NIL");
    if atom {
        out.extend_from_slice(text)
    } else {
        string(out, text)
    }
}

/// A mailbox's name as clients read it: in modified UTF-7, or as it is where the client enabled UTF-8.
pub(super) fn name(name: &MailboxName, script: Script) -> Vec<u8> {
    let text = name.join(script.separator);
    if script.utf8 && !text.is_ascii() && !text.contains(char::is_control) {
        return quoted_utf8(&text);
    }
    let mut out = Vec::new();
    if script.utf8 {
        astring(&mut out, text.as_bytes());
    } else {
        astring(&mut out, mutf7::encode(&text).as_bytes());
    }
    out
}

/// The beginning of names as clients read it; always a string.
pub(super) fn prefix(text: &str, utf8: bool) -> Vec<u8> {
    if utf8 && !text.contains(char::is_control) {
        return quoted_utf8(text);
    }
    let mut out = Vec::new();
    string(&mut out, mutf7::encode(text).as_bytes());
    out
}

fn quoted_utf8(text: &str) -> Vec<u8> {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"").into_bytes()
}

/// The separator as LIST and NAMESPACE show it, quotes included.
pub(super) fn separator(separator: char) -> String {
    if "\"\\".contains(separator) {
        format!("\"\\{separator}\"")
    } else {
        format!("\"{separator}\"")
    }
}

/// A message's or mailbox's id for OBJECTID (RFC 8474): the GUID where that has the form of one, else made from it.
pub(super) fn object_id(guid: &str) -> String {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !guid.is_empty() && guid.len() <= 255 && guid.bytes().all(fits) {
        return guid.to_owned();
    }
    let hash = blake3::hash(guid.as_bytes()).to_hex();
    format!("G{}", hash.get(..32).unwrap_or_default())
}

/// `\Seen $Forwarded`: system flags and keywords, without parentheses.
pub(super) fn flags(flags: Flags, keywords: &[Keyword]) -> String {
    let system = Flags::NAMED
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, name)| *name);
    let words: Vec<&str> = system.chain(keywords.iter().map(Keyword::as_str)).collect();
    words.join(" ")
}

/// `"17-Jul-2019 00:44:25 +0000"`, quotes included. UNIX seconds; UTC. Times beyond the years that IMAP can write
/// become the nearest that it can.
pub(super) fn date_time(seconds: i64) -> String {
    const LAST: i64 = 253_402_300_799; // 31-Dec-9999 23:59:59
    let clamped = seconds.clamp(-62_135_596_800, LAST);
    let at = OffsetDateTime::from_unix_timestamp(clamped).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let month = MONTHS
        .get(usize::from(u8::from(at.month())).saturating_sub(1))
        .copied()
        .unwrap_or("Jan");
    format!(
        "\"{:02}-{month}-{:04} {:02}:{:02}:{:02} +0000\"",
        at.day(),
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_string_that_would_break_its_line_becomes_a_literal() {
        assert_eq!(text(|o| string(o, b"a \"b\\")), r#""a \"b\\""#);
        assert_eq!(text(|o| string(o, b"a\r\nb")), "{4}\r\na\r\nb");
        assert_eq!(text(|o| string(o, "ä".as_bytes())), "{2}\r\nä");
        assert_eq!(text(|o| nstring(o, None)), "NIL");
        assert_eq!(text(|o| astring(o, b"a b")), "\"a b\"");
        assert_eq!(text(|o| astring(o, b"")), "\"\"");
        assert_eq!(text(|o| astring(o, b"nil")), "\"nil\"");
        assert_eq!(text(|o| astring(o, b"a]")), "\"a]\"");
    }

    #[test]
    fn dates_are_written_as_dovecot_does() {
        assert_eq!(date_time(1_563_324_265), "\"17-Jul-2019 00:44:25 +0000\"");
        assert_eq!(date_time(0), "\"01-Jan-1970 00:00:00 +0000\"");
        assert_eq!(date_time(-1), "\"31-Dec-1969 23:59:59 +0000\"");
        assert_eq!(date_time(i64::MAX), "\"31-Dec-9999 23:59:59 +0000\"");
        assert_eq!(date_time(i64::MIN), "\"01-Jan-0001 00:00:00 +0000\"");
    }
}
