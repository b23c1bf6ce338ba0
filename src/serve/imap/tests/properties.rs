//! Whatever comes in, the parsers answer and end.

use crate::serve::imap::grammar::{self, Command, Fetch, Item};
use crate::serve::imap::mail::{self, SearchText, fold};
use proptest::prelude::*;
use std::sync::Arc;

fn everything() -> Vec<Item> {
    let text = "FETCH 1 (ENVELOPE BODY BODYSTRUCTURE BODY[] BODY[HEADER] BODY[TEXT]<1.5> BODY[1.2.HEADER] BODY[1.MIME] \
                BODY[2] BODY[1.1.1] BODY[HEADER.FIELDS (To \"x y\")] BODY[HEADER.FIELDS.NOT (To)] RFC822.TEXT \
                BINARY[1] BINARY.SIZE[2] BINARY[1.1]<1.3> PREVIEW)";
    match grammar::parse(text.as_bytes()) {
        Ok(Command::Fetch(Fetch { items, .. })) => items,
        other => panic!("{other:?}"),
    }
}

/// Octets made of what mail is made of, so that the parsers get deep.
fn mailish() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(&b"\r\n"[..]),
        Just(&b"\n"[..]),
        Just(&b"\r\n\r\n"[..]),
        Just(&b"--b"[..]),
        Just(&b"--b--"[..]),
        Just(&b"--bb\r\n"[..]),
        Just(&b"Content-Type: multipart/mixed; boundary=b\r\n"[..]),
        Just(&b"Content-Type: multipart/digest; boundary=\"bb\"\r\n"[..]),
        Just(&b"Content-Type: message/rfc822\r\n"[..]),
        Just(&b"Content-Type: text/plain; charset"[..]),
        Just(&b"Content-Disposition: attachment; filename=\"a"[..]),
        Just(&b"From: a@b, "[..]),
        Just(&b"To: g: <x@y>, \"q\" <@r:z>; "[..]),
        Just(&b"Subject: =?utf-8?q?=C3=A4?="[..]),
        Just(&b" (com(ment)\\) "[..]),
        Just(&b"@<>,;:.\"\\[]"[..]),
        Just(&b"\x00\xff\xc3"[..]),
        Just(&b"Date: Tue, 1 Feb 2022 03:04:05 +0000"[..]),
    ];
    let any = proptest::collection::vec(any::<u8>(), 0..4);
    let piece = prop_oneof![8 => word.prop_map(<[u8]>::to_vec), 1 => any];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_command_line_gives_a_command_or_a_reason(bytes: Vec<u8>) {
        let _ = grammar::parse(&bytes);
    }

    #[test]
    fn commands_with_broken_ends_give_a_command_or_a_reason(
        start in prop_oneof![
            Just("FETCH 1:*,3 (BODY.PEEK[1.HEADER.FIELDS (a b)]<1.2> FLAGS) (CHANGEDSINCE 3)"),
            Just("UID SEARCH RETURN (MIN ALL) CHARSET UTF-8 OR (NOT SEEN KEYWORD x) HEADER a {3}\r\nabc SINCE 1-Jul-2019"),
            Just("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"a%*\" b) RETURN (STATUS (SIZE) CHILDREN)"),
            Just("SELECT a (CONDSTORE QRESYNC (1 2 1:3,* (1 2)))"), Just("SORT RETURN (PARTIAL -1:-3 SAVE) (REVERSE DATE) UTF-8 $"),
            Just("UID THREAD REFERENCES UTF-8 FUZZY EMAILID x"), Just("UID FETCH $ (BINARY.PEEK[1]<0.3> PREVIEW (LAZY)) (CHANGEDSINCE 3 VANISHED)"), Just("STATUS INBOX (MESSAGES X-GUID)"), Just("LOGIN {1+}\r\na \"b\\\"\""),
        ],
        cut in 0_usize..100, tail: Vec<u8>,
    ) {
        let mut bytes = start.as_bytes().iter().copied().take(cut).collect::<Vec<_>>();
        bytes.extend(tail);
        let _ = grammar::parse(&bytes);
    }

    #[test]
    fn any_mail_is_described_and_searched_without_end_or_panic(octets in mailish()) {
        let octets: Arc<[u8]> = octets.into();
        let items = everything();
        let items: Vec<&Item> = items.iter().collect();
        if let Ok(pieces) = mail::pieces(&octets, &items) {
            let size: usize = pieces.iter().map(|p| p.bytes().len()).sum();
            prop_assert!(size < 200 * (octets.len() + 100));
        }
        let text = SearchText::new(&octets);
        let _ = (text.header("to", "x"), text.body("x"), text.anywhere(&fold("Ä")), text.sent());
    }
}
