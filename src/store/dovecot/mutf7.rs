//! Modified UTF-7, the encoding of mailbox names on disk (RFC 3501 section 5.1.3).
//!
//! Strict: each name has exactly one form. What is not that form is an error that keeps the octets, so that a name which
//! nobody can read is reported and not lost.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// The variant of base64: `,` for `/`, no padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);

/// Octets that are no name in modified UTF-7.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not modified UTF-7: {}", String::from_utf8_lossy(.0))]
pub struct Undecodable(pub Vec<u8>);

/// The name that the octets stand for.
///
/// # Errors
/// They are not what [`encode`] makes of any name.
pub fn decode(octets: &[u8]) -> Result<String, Undecodable> {
    let undecodable = || Undecodable(octets.to_vec());
    let name = decode_any(octets).ok_or_else(undecodable)?;
    if encode(&name).as_bytes() == octets {
        Ok(name)
    } else {
        Err(undecodable())
    }
}

fn decode_any(octets: &[u8]) -> Option<String> {
    let mut name = String::new();
    let mut rest = octets;
    while let Some((&octet, after)) = rest.split_first() {
        if octet != b'&' {
            name.push(char::from(octet).is_ascii().then(|| char::from(octet))?);
            rest = after;
            continue;
        }
        let end = after.iter().position(|octet| *octet == b'-')?;
        let (shifted, tail) = after.split_at_checked(end)?;
        if shifted.is_empty() {
            name.push('&');
        } else {
            name.push_str(&unshift(shifted)?);
        }
        rest = tail.get(1..)?;
    }
    Some(name)
}

fn unshift(shifted: &[u8]) -> Option<String> {
    let octets = BASE64.decode(shifted).ok()?;
    let (pairs, odd) = octets.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    String::from_utf16(&units).ok()
}

/// The octets of a name.
#[must_use]
pub fn encode(name: &str) -> String {
    let mut octets = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for character in name.chars() {
        if !matches!(character, ' '..='~') {
            let mut units = [0; 2];
            shifted.extend(
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .flat_map(|unit| unit.to_be_bytes()),
            );
            continue;
        }
        end_shift(&mut octets, &mut shifted);
        octets.push(character);
        if character == '&' {
            octets.push('-');
        }
    }
    end_shift(&mut octets, &mut shifted);
    octets
}

fn end_shift(octets: &mut String, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        octets.push('&');
        octets.push_str(&BASE64.encode(&*shifted));
        octets.push('-');
        shifted.clear();
    }
}

/// Entry point for fuzzing: any octets as a name.
pub fn fuzz_mutf7(octets: &[u8]) {
    let _ = decode(octets);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_names_read_both_ways() {
        for (name, octets) in [
            ("Résumé", "R&AOk-sum&AOk-"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("a&b", "a&-b"),
            ("😀", "&2D3eAA-"),
            ("tab\there", "tab&AAk-here"),
        ] {
            assert_eq!(encode(name), octets);
            assert_eq!(decode(octets.as_bytes()).unwrap(), name);
        }
    }

    #[test]
    fn a_second_spelling_of_a_name_is_reported_not_lost() {
        for octets in [
            &b"&AGE-"[..],
            b"&",
            b"&AOk",
            b"R\xc3\xa9sum\xc3\xa9",
            b"&AOk-&AOk-",
            b"&2D0-",
            b"a\tb",
            b"&=-",
        ] {
            assert_eq!(decode(octets), Err(Undecodable(octets.to_vec())));
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in any::<String>()) {
            prop_assert_eq!(decode(encode(&name).as_bytes()).unwrap(), name);
        }

        #[test]
        fn any_octets_decode_to_themselves_or_not_at_all(octets in proptest::collection::vec(prop_oneof![Just(b'&'), Just(b'-'), 0x20u8..0x7f, any::<u8>()], 0..40)) {
            if let Ok(name) = decode(&octets) {
                prop_assert_eq!(encode(&name).into_bytes(), octets);
            }
        }
    }
}
