//! Round trips, harmed bytes, arbitrary bytes, bounds.

use crate::codec::{CodecError, EncodedFrame, check, frame, open, payload, peek, seal};
use crate::op::arbitrary;
use crate::op::*;
use proptest::prelude::*;

fn frames() -> impl Strategy<Value = (FrameHeader, Payload)> {
    arbitrary::payload().prop_flat_map(|payload| (arbitrary::header_for(&payload), Just(payload)))
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened((header, payload) in frames()) {
        let frame = seal(&header, &payload).unwrap();
        let opened = open(&frame.bytes).unwrap();
        prop_assert_eq!(&opened, &(header.clone(), frame.chain, payload.clone()));
        prop_assert_eq!(peek(&frame.bytes).unwrap(), (header, payload::kind_of(&payload)));
        prop_assert_eq!(EncodedFrame::from_bytes(frame.bytes.clone()).unwrap(), frame);
    }

    #[test]
    fn a_flipped_bit_is_found((header, payload) in frames(), at in any::<prop::sample::Index>()) {
        let mut bytes = seal(&header, &payload).unwrap().bytes.to_vec();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(open(&bytes).unwrap_err().is_damage());
        prop_assert!(EncodedFrame::from_bytes(bytes).is_err());
    }

    #[test]
    fn a_cut_frame_is_found((header, payload) in frames(), at in any::<prop::sample::Index>()) {
        let bytes = seal(&header, &payload).unwrap().bytes;
        prop_assert!(open(&bytes[..at.index(bytes.len())]).unwrap_err().is_damage());
    }

    #[test]
    fn arbitrary_bytes_are_refused_quietly(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open(&bytes).is_err());
        let _ = peek(&bytes);
    }

    /// The payload behind a right checksum is arbitrary: what a bug or an enemy in a peer may send.
    #[test]
    fn arbitrary_payloads_are_read_or_refused(kind in 0..12u8, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(read) = payload::decode(kind, &bytes) {
            let again = payload::encode(&read).unwrap();
            prop_assert_eq!(again.kind, kind);
            prop_assert_eq!(payload::decode(kind, &again.bytes).unwrap(), read);
        }
    }

    /// As above, but close to legal: one byte of a legal payload is another one.
    #[test]
    fn nearly_legal_payloads_are_read_or_refused(
        payload in arbitrary::payload(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut encoded = payload::encode(&payload).unwrap();
        let at = at.index(encoded.bytes.len());
        encoded.bytes[at] = byte;
        if let Ok(read) = payload::decode(encoded.kind, &encoded.bytes) {
            check::payload(&read).unwrap();
        }
    }
}

fn header(lsn: u64) -> FrameHeader {
    FrameHeader {
        stream: StreamId([1; 16]),
        epoch: Epoch(1),
        lsn: Lsn(lsn),
        previous: ChainHash(if lsn == 1 { [0; 32] } else { [2; 32] }),
        captured_ms: 5,
        run: None,
        peer: None,
    }
}

/// Bytes of a frame with one byte set, and a checksum that fits.
fn resealed(at: usize, byte: u8) -> Vec<u8> {
    let sealed = seal(&header(9), &Payload::BaseEnd(Lsn(3))).unwrap();
    let mut bytes = sealed.bytes[..sealed.bytes.len() - 4].to_vec();
    bytes[at] = byte;
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

#[test]
fn a_newer_version_or_kind_is_named_and_no_damage() {
    let version = open(&resealed(4, 2)).unwrap_err();
    assert_eq!(
        version,
        CodecError::Version {
            what: "frame",
            found: 2,
            known: 1
        }
    );
    let kind = open(&resealed(6, 99)).unwrap_err();
    assert_eq!(
        kind,
        CodecError::Tag {
            what: "payload",
            found: 99
        }
    );
    assert!(!version.is_damage() && !kind.is_damage());
    assert!(matches!(open(&resealed(7, 1)).unwrap_err(), CodecError::Invalid { .. }));
}

#[test]
fn a_newer_operation_is_named() {
    let txn = MailboxTxn {
        mailbox: MailboxId {
            user: "u".into(),
            guid: Guid([1; 16]),
        },
        uidvalidity: UidValidity(1),
        ops: vec![Op::Expunge(Expunge {
            uids: vec![],
            requested: true,
            modseq: Modseq(1),
        })],
        uidnext: Uid(1),
        highest_modseq: Modseq(1),
        position: SourcePosition::default(),
    };
    let mut encoded = payload::encode(&Payload::Mailbox(txn)).unwrap();
    let tag = encoded.bytes.len() - 4;
    assert_eq!(encoded.bytes[tag], 4);
    encoded.bytes[tag] = 5;
    let error = payload::decode(encoded.kind, &encoded.bytes).unwrap_err();
    assert_eq!(
        error,
        CodecError::Tag {
            what: "operation",
            found: 5
        }
    );
}

#[test]
fn headers_that_can_not_be_meant_are_refused_both_ways() {
    let run = |first, part, parts| {
        Some(Run {
            first: Lsn(first),
            part,
            parts,
        })
    };
    let bad = [
        FrameHeader {
            lsn: Lsn(0),
            ..header(9)
        },
        FrameHeader {
            epoch: Epoch(0),
            ..header(9)
        },
        FrameHeader {
            lsn: Lsn(1),
            ..header(9)
        },
        FrameHeader {
            run: run(9, 0, 1),
            ..header(9)
        },
        FrameHeader {
            run: run(7, 2, 2),
            ..header(9)
        },
        FrameHeader {
            run: run(8, 2, 3),
            ..header(9)
        },
        FrameHeader {
            run: run(9, 0, crate::limits::RUN_PARTS_MAX + 1),
            ..header(9)
        },
        FrameHeader {
            run: run(u64::MAX, 1, 3),
            ..header(9)
        },
        FrameHeader {
            peer: Some(NodeName::default()),
            ..header(9)
        },
        FrameHeader {
            peer: Some(NodeName("x".repeat(254))),
            ..header(9)
        },
    ];
    for header in bad {
        assert!(seal(&header, &Payload::BaseEnd(Lsn(3))).is_err(), "{header:?}");
    }
    // The fields as bytes: epoch at 24, lsn at 32, parts of the run at 92, length of the peer's name at 96.
    for (at, byte) in [(24, 0), (32, 0), (92, 1), (96, 255), (97, 1)] {
        assert!(open(&resealed(at, byte)).is_err(), "byte {at} set to {byte}");
    }
}

#[test]
fn an_epoch_frame_of_another_epoch_is_refused() {
    let start = EpochStart {
        epoch: Epoch(2),
        node: "a".into(),
        previous: Epoch(1),
        fork_lsn: Lsn(8),
        fork_hash: ChainHash([2; 32]),
        leap: None,
    };
    assert!(seal(&header(9), &Payload::Epoch(start.clone())).is_err());
    let same = FrameHeader {
        epoch: Epoch(2),
        ..header(9)
    };
    assert!(seal(&same, &Payload::Epoch(start)).is_ok());
}

#[test]
fn the_largest_frame_is_a_mebibyte() {
    let name = NodeName("n".repeat(crate::limits::NODE_BYTES_MAX));
    let header = FrameHeader {
        peer: Some(name),
        ..header(9)
    };
    let bytes = vec![0; crate::limits::PAYLOAD_BYTES_MAX];
    let sealed = frame::seal_encoded(&header, &payload::EncodedPayload { kind: 4, bytes }).unwrap();
    assert!(sealed.bytes.len() <= crate::limits::FRAME_BYTES_MAX);
    let mut beyond = sealed.bytes.to_vec();
    beyond.resize(crate::limits::FRAME_BYTES_MAX + 1, 0);
    assert!(matches!(open(&beyond), Err(CodecError::TooLarge { .. })));
}

fn refused(payload: &Payload) -> bool {
    payload::encode(payload).is_err()
}

#[test]
fn operations_that_can_not_be_meant_are_refused() {
    let mailbox = MailboxId {
        user: "u".into(),
        guid: Guid([1; 16]),
    };
    let txn = |op| {
        Payload::Mailbox(MailboxTxn {
            mailbox: mailbox.clone(),
            uidvalidity: UidValidity(1),
            ops: vec![op],
            uidnext: Uid(9),
            highest_modseq: Modseq(1),
            position: SourcePosition::default(),
        })
    };
    let append = Append {
        uid: Uid(3),
        guid: "g".into(),
        size: None,
        internal_date: 0,
        save_date: None,
        flags: Flags::SEEN,
        keywords: vec!["k".into()],
        modseq: Modseq(1),
    };
    let uids = |first, last| {
        vec![UidRange {
            first: Uid(first),
            last: Uid(last),
        }]
    };
    let expunge = |uids| {
        txn(Op::Expunge(Expunge {
            uids,
            requested: true,
            modseq: Modseq(1),
        }))
    };
    let keyword = |verb, keyword: &str| {
        txn(Op::Keywords(KeywordChange {
            uids: uids(1, 2),
            verb,
            keyword: keyword.into(),
            modseq: Modseq(1),
        }))
    };
    assert!(!refused(&txn(Op::Append(append.clone()))));
    assert!(refused(&txn(Op::Append(Append {
        uid: Uid(0),
        ..append.clone()
    }))));
    assert!(refused(&txn(Op::Append(Append {
        guid: MessageGuid("g".repeat(256)),
        ..append.clone()
    }))));
    assert!(refused(&txn(Op::Append(Append {
        keywords: vec!["".into()],
        ..append.clone()
    }))));
    assert!(refused(&txn(Op::Append(Append {
        keywords: vec![Keyword("k".repeat(4097))],
        ..append
    }))));
    assert!(!refused(&expunge(uids(1, u32::MAX))) && refused(&expunge(uids(0, 4))) && refused(&expunge(uids(5, 4))));
    assert!(!refused(&keyword(KeywordVerb::Add, "k")) && refused(&keyword(KeywordVerb::Add, "")));
    assert!(!refused(&keyword(KeywordVerb::Reset, "")) && refused(&keyword(KeywordVerb::Reset, "k")));
}

#[test]
fn names_beyond_their_bounds_are_refused() {
    let tree = |user: &str, name| {
        Payload::Tree(TreeChange {
            user: user.into(),
            unselectable: vec![(name, Some(Unselectable::Noselect))],
            ..TreeChange::default()
        })
    };
    assert!(!refused(&tree("u", MailboxName::of(["a"]))));
    assert!(refused(&tree("", MailboxName::of(["a"]))));
    assert!(refused(&tree(&"u".repeat(513), MailboxName::of(["a"]))));
    assert!(refused(&tree("u", MailboxName::default())));
    assert!(refused(&tree("u", MailboxName(vec!["a".to_owned(); 129]))));
    assert!(refused(&tree("u", MailboxName::of(["a".repeat(4097)]))));
}
