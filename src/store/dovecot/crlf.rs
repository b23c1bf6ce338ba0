//! Line ends: stores keep LF, IMAP answers CRLF.

/// The octets with each bare LF as CRLF: what IMAP answers to `BODY[]`. A lone CR stays.
#[must_use]
pub fn to_crlf(stored: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(stored.len().saturating_add(bare_line_feeds(stored)));
    let mut before = 0;
    for &octet in stored {
        if octet == b'\n' && before != b'\r' {
            body.push(b'\r');
        }
        body.push(octet);
        before = octet;
    }
    body
}

/// RFC822.SIZE of stored octets: their number once each bare LF is CRLF.
#[must_use]
pub fn virtual_size(stored: &[u8]) -> u64 {
    u64::try_from(stored.len().saturating_add(bare_line_feeds(stored))).unwrap_or(u64::MAX)
}

fn bare_line_feeds(stored: &[u8]) -> usize {
    let mut before = 0;
    let mut count: usize = 0;
    for &octet in stored {
        if octet == b'\n' && before != b'\r' {
            count = count.saturating_add(1);
        }
        before = octet;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_carriage_return_is_never_doubled() {
        assert_eq!(to_crlf(b"\na\r\nb\n\r\r\nc\r"), b"\r\na\r\nb\r\n\r\r\nc\r");
    }

    proptest! {
        #[test]
        fn the_size_is_told_without_the_octets(stored in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80)) {
            let body = to_crlf(&stored);
            prop_assert_eq!(virtual_size(&stored), body.len() as u64);
            prop_assert_eq!(to_crlf(&body), body);
        }
    }
}
