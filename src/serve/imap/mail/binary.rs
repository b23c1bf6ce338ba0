//! `BINARY[…]` (RFC 3516): a part's octets with their transfer encoding undone. What holds other parts is sent as it
//! stands: its own encoding is never another.

use super::UnknownEncoding;
use super::field::{Fields, unfold};
use super::part::{Kind, Part};
use super::section::{cut, find};
use crate::serve::imap::grammar::Section;
use std::borrow::Cow;

/// `BINARY[1] {3}` and the octets; a part that doesn't exist is empty.
pub(super) fn write(octets: &[u8], section: &Section, root: &Part) -> Result<Vec<u8>, UnknownEncoding> {
    let decoded = decoded(octets, section, root)?;
    let range = cut(0..decoded.len(), section.partial);
    let part = decoded.get(range).unwrap_or_default();
    let origin = section
        .partial
        .map(|(first, _)| format!("<{first}>"))
        .unwrap_or_default();
    // octets with NUL need a literal8
    let tilde = if part.contains(&0) { "~" } else { "" };
    let head = format!("{}{origin} {tilde}{{{}}}\r\n", section.name, part.len());
    Ok([head.as_bytes(), part].concat())
}

/// `BINARY.SIZE[1] 3`
pub(super) fn size(octets: &[u8], section: &Section, root: &Part) -> Result<Vec<u8>, UnknownEncoding> {
    let size = decoded(octets, section, root)?.len();
    Ok(format!("{} {size}", section.name).into_bytes())
}

fn decoded<'o>(octets: &'o [u8], section: &Section, root: &Part) -> Result<Cow<'o, [u8]>, UnknownEncoding> {
    if section.part.is_empty() {
        return Ok(Cow::Borrowed(octets));
    }
    let Some(part) = find(root, &section.part) else {
        return Ok(Cow::Borrowed(&[]));
    };
    let body = octets.get(part.body.clone()).unwrap_or_default();
    if part.kind != Kind::Leaf {
        return Ok(Cow::Borrowed(body));
    }
    match encoding(octets.get(part.header.clone()).unwrap_or_default()).as_str() {
        "" | "7BIT" | "8BIT" | "BINARY" => Ok(Cow::Borrowed(body)),
        "BASE64" => Ok(Cow::Owned(base64(body))),
        "QUOTED-PRINTABLE" => Ok(Cow::Owned(quoted_printable(body))),
        _ => Err(UnknownEncoding),
    }
}

/// The part's `Content-Transfer-Encoding` in capitals, empty where it has none.
fn encoding(header: &[u8]) -> String {
    let field = Fields(header).find(|f| f.name.eq_ignore_ascii_case(b"content-transfer-encoding"));
    let value = field.map(|f| unfold(f.value)).unwrap_or_default();
    let word = value.split(|b| b" \t;(".contains(b)).find(|word| !word.is_empty());
    String::from_utf8_lossy(word.unwrap_or_default()).to_ascii_uppercase()
}

/// Six bits of a base64 digit.
fn digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte.checked_sub(b'A')?,
        b'a'..=b'z' => byte.checked_sub(b'a')?.checked_add(26)?,
        b'0'..=b'9' => byte.checked_sub(b'0')?.checked_add(52)?,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Up to the first padding; what is no digit is passed over, as RFC 2045 says.
fn base64(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for value in body.iter().take_while(|b| **b != b'=').filter_map(|b| digit(*b)) {
        bits = (bits << 6 | value) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.extend(u8::try_from(bits >> held & 0xff));
        }
    }
    out
}

/// What is no valid escape stays as it is.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|b| *b == b'\n') {
        let text = line.trim_ascii_end();
        let end: &[u8] = match line {
            l if l.ends_with(b"\r\n") => b"\r\n",
            l if l.ends_with(b"\n") => b"\n",
            _ => b"",
        };
        match text.strip_suffix(b"=") {
            Some(soft) => unescape(&mut out, soft),
            None => {
                unescape(&mut out, text);
                out.extend_from_slice(end);
            }
        }
    }
    out
}

fn unescape(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some((first, rest)) = text.split_first() {
        let escaped = rest.get(..2).filter(|_| *first == b'=');
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        text = rest.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_encodings_are_decoded_as_far_as_they_go() {
        for (coded, text) in [
            ("aGVsbG8=", "hello"),
            ("aGVs\r\nbG8", "hello"),
            ("aG!Vsb G8=rest", "hello"),
            ("", ""),
        ] {
            assert_eq!(base64(coded.as_bytes()), text.as_bytes(), "{coded}");
        }
        for (coded, text) in [
            ("a=3Db=\r\nc \t\r\nd", "a=bc\r\nd"),
            ("=ZZ=4", "=ZZ=4"),
            ("=c3=A4\n", "ä\n"),
            ("soft=  \r\nend", "softend"),
        ] {
            assert_eq!(quoted_printable(coded.as_bytes()), text.as_bytes(), "{coded}");
        }
    }
}
