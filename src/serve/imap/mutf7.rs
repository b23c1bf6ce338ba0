//! Mailbox names as IMAP writes them: modified UTF-7 (RFC 3501 section 5.1.3), levels joined by the source's separator.

use crate::limits::NAME_BYTES_MAX;
use crate::op::MailboxName;
use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 with `,` for `/`, without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Unicode to modified UTF-7.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::new();
    let mut wide: Vec<u8> = Vec::new();
    for c in text.chars() {
        if (' '..='~').contains(&c) {
            shift_out(&mut out, &mut wide);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                wide.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    shift_out(&mut out, &mut wide);
    out
}

fn shift_out(out: &mut String, wide: &mut Vec<u8>) {
    if !wide.is_empty() {
        out.push('&');
        out.push_str(&BASE64.encode(&*wide));
        out.push('-');
        wide.clear();
    }
}

/// Modified UTF-7 to Unicode; none where it is not valid (also where it is not the one way to write the name).
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.len() > NAME_BYTES_MAX || !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out.push_str(plain);
        let (wide, after) = shifted.split_once('-')?;
        if wide.is_empty() {
            out.push('&');
        } else {
            out.push_str(&unshift(wide)?);
        }
        rest = after;
    }
    out.push_str(rest);
    (encode(&out) == text).then_some(out)
}

fn unshift(wide: &str) -> Option<String> {
    let bytes = BASE64.decode(wide).ok()?;
    let units: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| pair.try_into().ok().map(u16::from_be_bytes))
        .collect::<Option<_>>()?;
    String::from_utf16(&units).ok()
}

/// Text as a client writes it: modified UTF-7, or UTF-8 where the client enabled it.
pub(super) fn text(bytes: &[u8], utf8: bool) -> Option<String> {
    if !utf8 {
        return decode(bytes);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= NAME_BYTES_MAX && !text.contains(char::is_control)).then(|| text.to_owned())
}

/// How one session and its client write names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Stands between levels.
    pub(super) separator: char,
    /// True where the client enabled UTF-8.
    pub(super) utf8: bool,
}

/// A mailbox name as the client wrote it. `INBOX` in any case is the INBOX, also as a first level.
pub(super) fn mailbox(bytes: &[u8], script: Script) -> Option<MailboxName> {
    let text = text(bytes, script.utf8)?;
    let mut levels: Vec<String> = text.split(script.separator).map(str::to_owned).collect();
    if let Some(first) = levels.first_mut().filter(|l| l.eq_ignore_ascii_case("INBOX")) {
        "INBOX".clone_into(first);
    }
    Some(MailboxName(levels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rfc_3501_and_dovecot_read_and_write() {
        for (name, coded) in [
            ("", ""),
            ("INBOX", "INBOX"),
            ("a&b", "a&-b"),
            ("täst", "t&AOQ-st"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("😀", "&2D3eAA-"),
            ("tab\there", "tab&AAk-here"),
        ] {
            assert_eq!(encode(name), coded);
            assert_eq!(decode(coded.as_bytes()).as_deref(), Some(name), "{coded}");
        }
    }

    #[test]
    fn names_that_are_no_modified_utf7_are_not_guessed_at() {
        for bad in [
            "bad&name",
            "&",
            "&AOQ",
            "&YQ-",
            "&2D0-",
            "&AOQ=-",
            "t\u{e4}st",
            "&AOQ-&AOQ-",
            "&AAA",
            "a\u{7f}",
        ] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_reads_back(name: String) {
            proptest::prop_assert_eq!(decode(encode(&name).as_bytes()), Some(name));
        }

        #[test]
        fn any_bytes_are_a_name_or_none(bytes: Vec<u8>) {
            decode(&bytes);
        }
    }
}
