//! Every message in both directions, the golden bytes of each, and bytes that are none.

use super::*;
use crate::limits::{BODY_PART_BYTES, WIRE_BYTES_MAX, WIRE_NEEDS_MAX};
use crate::op::{BodyPlace, Guid, Modseq, SourcePosition, UidRange};
use proptest::prelude::*;
use std::path::PathBuf;

fn mailbox() -> MailboxId {
    MailboxId {
        user: "anna@example.org".into(),
        guid: Guid([0x11; 16]),
    }
}

fn place(uid: u32) -> BodyPlace {
    BodyPlace {
        mailbox: mailbox(),
        uidvalidity: UidValidity(1_700_000_001),
        uid: Uid(uid),
    }
}

fn name() -> BodyName {
    BodyName {
        place: place(11),
        guid: "1700000002.M1P2.host".into(),
        size: Some(5),
    }
}

fn missing() -> Missing {
    Missing {
        gone: false,
        file: "/var/mail/anna/mdbox/storage/m.3".to_owned(),
        offset: 4096,
        why: "bad magic".to_owned(),
    }
}

fn question() -> GoneQuestion {
    GoneQuestion {
        mailbox: mailbox(),
        uidvalidity: UidValidity(1_700_000_001),
        messages: vec![(Uid(4), "g".into()), (Uid(5), MessageGuid::default())],
    }
}

fn notice() -> Notice {
    Notice {
        number: 9,
        mailbox: mailbox(),
        uidvalidity: UidValidity(1_700_000_001),
        appended: vec![UidRange::one(Uid(11))],
        changed: vec![UidRange {
            first: Uid(1),
            last: Uid(300),
        }],
        expunged: Vec::new(),
        messages: vec![(Uid(11), "1700000002.M1P2.host".into(), Some(5))],
        position: SourcePosition {
            index_id: 1_700_000_000,
            file_seq: 3,
            create_stamp: 1_700_000_100,
            offset: 4_520,
            modseq: Modseq(77),
            uidvalidity: UidValidity(1_700_000_001),
            uidnext: Uid(12),
            fingerprint: [1, 2, 3, 4, 5, 6, 7, 8],
            rebuild_count: 2,
            repaired: false,
            unattested: true,
            open_requests: vec![UidRange::one(Uid(9))],
        },
    }
}

fn head() -> Place {
    Place {
        lsn: Lsn(812),
        chain: ChainHash([7; 32]),
    }
}

fn of_sender() -> Vec<Message> {
    vec![
        Message::Hello(Hello {
            protocol: PROTOCOL,
            group: "main".to_owned(),
            node: "mail-a".into(),
            stream: StreamId([0xab; 16]),
            epoch: Epoch(2),
            head: head(),
            oldest: Lsn(500),
            rebuilt: false,
        }),
        Message::Frames(vec![Arc::from(&b"one"[..]), Arc::from(&b"another"[..])]),
        Message::BodyPart(BodyPart {
            id: 3,
            ahead: true,
            name: Some(name()),
            offset: 0,
            total: 5,
            octets: b"a\r\n\r\n".to_vec(),
            hash: Some(BodyHash(*blake3::hash(b"a\r\n\r\n").as_bytes())),
        }),
        Message::BodyMissing {
            id: 4,
            missing: missing(),
        },
        Message::Notice(notice()),
        Message::Heartbeat(Heartbeat {
            source_ms: 1_700_000_003_456,
            captured: Lsn(812),
        }),
        Message::GoneAnswer {
            id: 5,
            gone: vec![Uid(4)],
        },
        Message::Offer(Offer {
            id: 6,
            mailbox: mailbox(),
            uidvalidity: UidValidity(1_700_000_001),
            messages: vec![(Uid(1), "g".into(), None), (Uid(2), "h".into(), Some(70_000))],
        }),
    ]
}

fn of_both() -> Vec<Message> {
    vec![
        Message::Refused {
            why: "no such group".to_owned(),
        },
        Message::Diverged {
            why: "größer".to_owned(),
        },
        Message::Ask {
            id: 7,
            json: "{}".to_owned(),
        },
        Message::Answer {
            id: 7,
            json: "[1]".to_owned(),
        },
        Message::Ping,
        Message::Again(head()),
    ]
}

fn of_receiver() -> Vec<Message> {
    vec![
        Message::Welcome(Welcome {
            protocol: PROTOCOL,
            node: "mail-b".into(),
            stream: StreamId([0xab; 16]),
            epoch: Epoch(2),
            head: head(),
            durable: Lsn(811),
            applied: Lsn(810),
            need_base: Some("the store was replaced".to_owned()),
        }),
        Message::Position(Position {
            taken: Lsn(814),
            journaled: Lsn(813),
            durable: Lsn(812),
            applied: Lsn(811),
            counts: Counts {
                mailboxes: 40,
                messages: 12_345,
                held: 1,
                pending: 2,
                quarantined: 3,
                building: true,
            },
        }),
        Message::Needs(vec![NumberedNeed {
            id: 4,
            need: Need {
                name: name(),
                other_places: vec![place(12)],
            },
        }]),
        Message::GoneAsk {
            id: 5,
            question: question(),
        },
        Message::OfferDone { id: 6 },
        Message::Verdict(DigestVerdict {
            lsn: Lsn(800),
            request: 1,
            user: "anna@example.org".into(),
            mailbox: "INBOX".to_owned(),
            why: "content".to_owned(),
            note: "a roll-back".to_owned(),
        }),
    ]
}

fn every() -> Vec<Message> {
    [of_sender(), of_both(), of_receiver()].concat()
}

fn golden(kind: &str, ending: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schema/golden/wire");
    folder.join(format!("{kind}.{ending}"))
}

#[test]
fn the_bytes_of_every_message_are_those_of_version_1() {
    for message in every() {
        let (bin, txt) = (golden(message.kind(), "bin"), golden(message.kind(), "txt"));
        if std::env::var_os("MAILSHADOW_WRITE_GOLDEN").is_some() && !bin.exists() {
            std::fs::write(&bin, message.encode().unwrap()).unwrap();
            std::fs::write(&txt, format!("{message:#?}\n")).unwrap();
        }
        let bytes = std::fs::read(&bin).unwrap();
        assert_eq!(
            message.encode().unwrap(),
            bytes,
            "{} is written otherwise",
            message.kind()
        );
        let (read, used) = take(&bytes).unwrap().unwrap();
        assert_eq!(
            (&read, used),
            (&message, bytes.len()),
            "{} is read otherwise",
            message.kind()
        );
        assert_eq!(format!("{read:#?}\n"), std::fs::read_to_string(&txt).unwrap());
    }
}

#[test]
fn a_message_that_is_cut_anywhere_is_waited_for_and_never_misread() {
    for message in every() {
        let bytes = message.encode().unwrap();
        for end in 0..bytes.len() {
            assert_eq!(take(&bytes[..end]), Ok(None), "{} cut at {end}", message.kind());
        }
    }
}

#[test]
fn a_claimed_length_allocates_nothing() {
    assert!(body_length(u32::MAX.to_le_bytes()).is_err());
    assert!(body_length([0; 4]).is_err());
    let most = u32::try_from(WIRE_BYTES_MAX).unwrap();
    assert_eq!(body_length(most.to_le_bytes()), Ok(WIRE_BYTES_MAX));
    assert!(body_length((most + 1).to_le_bytes()).is_err());
}

#[test]
fn an_unknown_tag_is_named() {
    assert_eq!(Message::decode(&[200, 1, 2]), Err(WireError::Tag(200)));
}

#[test]
fn what_breaks_a_bound_is_neither_sent_nor_taken() {
    let part = |offset, total, octets: usize, last: bool| {
        Message::BodyPart(BodyPart {
            id: 1,
            ahead: false,
            name: None,
            offset,
            total,
            octets: vec![0; octets],
            hash: last.then_some(BodyHash([0; 32])),
        })
    };
    let need = |count| {
        let need = NumberedNeed {
            id: 1,
            need: Need {
                name: name(),
                other_places: Vec::new(),
            },
        };
        Message::Needs(vec![need; count])
    };
    let mut no_uid = name();
    no_uid.place.uid = Uid(0);
    let bad = [
        part(0, 10, 5, true),
        part(0, 10, 10, false),
        part(8, 10, 5, true),
        part(u64::MAX, 10, 5, true),
        part(0, 10, 0, false),
        part(0, u64::MAX, 5, false),
        part(0, 1 << 20, BODY_PART_BYTES + 1, false),
        need(WIRE_NEEDS_MAX + 1),
        Message::Frames(Vec::new()),
        Message::Frames(vec![Arc::from(&b""[..])]),
        Message::Refused {
            why: "x".repeat(10_000),
        },
        Message::Needs(vec![NumberedNeed {
            id: 1,
            need: Need {
                name: no_uid,
                other_places: Vec::new(),
            },
        }]),
    ];
    for message in bad {
        assert!(message.encode().is_err(), "{} is sent", message.kind());
    }
    assert!(part(0, 0, 0, true).encode().is_ok(), "an empty body has one empty part");
}

/// It once ended every connection of a group in which a user had a Sieve script of more than 4 KiB.
#[test]
fn a_long_value_of_an_attribute_is_asked_for_although_it_has_no_uid() {
    let scope = crate::op::AttributeScope {
        mailbox: None,
        kind: crate::op::AttributeKind::Sieve,
    };
    let value = crate::op::AttributeValue::of(&[b'#'; 100_000]);
    let name = value.body(&"anna@example.org".into(), scope).unwrap();
    let other_places = vec![name.place.clone()];
    let part = BodyPart {
        id: 1,
        ahead: true,
        name: Some(name.clone()),
        offset: 0,
        total: 100_000,
        octets: vec![b'#'; 5],
        hash: None,
    };
    let need = Need { name, other_places };
    for message in [
        Message::Needs(vec![NumberedNeed { id: 1, need }]),
        Message::BodyPart(part),
    ] {
        assert!(message.encode().is_ok(), "{} is not sent", message.kind());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = take(&bytes);
        let _ = Message::decode(&bytes);
    }

    /// What is read from harmed bytes is written as the same bytes, or not read at all (integers have one short form).
    #[test]
    fn harmed_messages_never_panic(chosen in 0..20usize, at in any::<proptest::sample::Index>(), bits in 1..=255u8) {
        let mut bytes = every()[chosen].encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        if let Ok(Some((message, _))) = take(&bytes) {
            prop_assert!(message.encode().is_ok());
        }
    }
}
