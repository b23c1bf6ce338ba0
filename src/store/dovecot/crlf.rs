//! From stored octets to those that IMAP answers: stores keep LF, IMAP has CRLF; and a NUL, which no IMAP literal may
//! have, is answered as 0x80 (both versions, all formats).

use memchr::{memchr, memchr_iter};

const NUL_IS_SHOWN_AS: u8 = 0x80;

/// The octets as `BODY[]` answers them: each bare LF as CRLF, each NUL as 0x80. A lone CR stays.
#[must_use]
pub fn to_crlf(stored: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(stored.len().saturating_add(bare_line_feeds(stored)));
    let mut from = 0;
    for at in bare(stored) {
        body.extend_from_slice(stored.get(from..at).unwrap_or_default());
        body.push(b'\r');
        from = at;
    }
    body.extend_from_slice(stored.get(from..).unwrap_or_default());
    without_nul(body)
}

/// As [`to_crlf`], of octets that are nobody else's: those that are right already are not copied.
#[must_use]
pub fn into_crlf(stored: Vec<u8>) -> Vec<u8> {
    if bare(&stored).next().is_none() {
        return without_nul(stored);
    }
    to_crlf(&stored)
}

/// RFC822.SIZE of stored octets: their number once each bare LF is CRLF.
#[must_use]
pub fn virtual_size(stored: &[u8]) -> u64 {
    u64::try_from(stored.len().saturating_add(bare_line_feeds(stored))).unwrap_or(u64::MAX)
}

fn without_nul(mut body: Vec<u8>) -> Vec<u8> {
    if memchr(0, &body).is_some() {
        let nuls = body.iter_mut().filter(|octet| **octet == 0);
        nuls.for_each(|octet| *octet = NUL_IS_SHOWN_AS);
    }
    body
}

/// Places of the LFs without a CR before them.
fn bare(stored: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memchr_iter(b'\n', stored).filter(|at| {
        let before = at.checked_sub(1).and_then(|before| stored.get(before));
        before != Some(&b'\r')
    })
}

fn bare_line_feeds(stored: &[u8]) -> usize {
    bare(stored).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule, octet by octet.
    fn by_the_octet(stored: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        let mut before = 0;
        for &octet in stored {
            if octet == b'\n' && before != b'\r' {
                body.push(b'\r');
            }
            body.push(if octet == 0 { 0x80 } else { octet });
            before = octet;
        }
        body
    }

    #[test]
    fn a_carriage_return_is_never_doubled() {
        assert_eq!(to_crlf(b"\na\r\nb\n\r\r\nc\r"), b"\r\na\r\nb\r\n\r\r\nc\r");
    }

    #[test]
    fn a_nul_never_reaches_a_client() {
        assert_eq!(to_crlf(b"a\0\nb\0"), b"a\x80\r\nb\x80");
        assert_eq!(into_crlf(b"\0\r\n".to_vec()), b"\x80\r\n");
    }

    proptest! {
        #[test]
        fn all_ways_agree(stored in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), any::<u8>()], 0..80)) {
            let body = by_the_octet(&stored);
            prop_assert_eq!(virtual_size(&stored), body.len() as u64);
            prop_assert_eq!(&to_crlf(&stored), &body);
            prop_assert_eq!(&into_crlf(stored), &body);
            prop_assert_eq!(&into_crlf(body.clone()), &body);
        }
    }
}
