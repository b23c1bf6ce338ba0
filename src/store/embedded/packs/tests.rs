use super::*;
use crate::op::{BodyName, BodyPlace, Guid, MailboxId, Missing, Uid, UidValidity};

const START: Position = Position { pack: 1, offset: 0 };

fn name(uid: u32) -> BodyName {
    let mailbox = MailboxId {
        user: "u".into(),
        guid: Guid([3; 16]),
    };
    let place = BodyPlace {
        mailbox,
        uidvalidity: UidValidity(7),
        uid: Uid(uid),
    };
    BodyName {
        place,
        guid: "g".into(),
        size: None,
    }
}

fn append(packs: &Packs, uid: u32, octets: &[u8]) {
    let hash = BodyHash(*blake3::hash(octets).as_bytes());
    let content = Content::Octets {
        hash,
        length: length(octets),
    };
    packs
        .append(
            Record {
                name: name(uid),
                content,
            },
            octets,
        )
        .unwrap();
}

fn uids(packs: &Packs) -> Vec<u32> {
    packs
        .unindexed()
        .iter()
        .map(|entry| entry.record.name.place.uid.0)
        .collect()
}

#[test]
fn a_tail_torn_at_any_byte_loses_only_the_torn_record() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), START).unwrap();
    let mut ends = Vec::new();
    for uid in 1..=3 {
        append(&packs, uid, format!("body {uid}").as_bytes());
        ends.push(packs.writing().end.offset);
    }
    let gone = Missing {
        gone: true,
        file: String::new(),
        offset: 0,
        why: "gone".into(),
    };
    packs
        .append(
            Record {
                name: name(4),
                content: Content::Missing(gone),
            },
            &[],
        )
        .unwrap();
    ends.push(packs.writing().end.offset);
    packs.commit().unwrap();
    drop(packs);
    let whole = std::fs::read(dir.path().join("0001.pack")).unwrap();
    for cut in 0..=whole.len() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("0001.pack"), &whole[..cut]).unwrap();
        let packs = Packs::open(dir.path(), START).unwrap();
        let expected: Vec<u32> = (1..)
            .zip(&ends)
            .filter(|(_, end)| **end <= cut as u64)
            .map(|(uid, _)| uid)
            .collect();
        assert_eq!(uids(&packs), expected, "cut at {cut}");
        // What is written next stands directly behind the last whole record.
        append(&packs, 9, b"next");
        packs.commit().unwrap();
        drop(packs);
        let packs = Packs::open(dir.path(), START).unwrap();
        assert_eq!(uids(&packs).last(), Some(&9), "cut at {cut}");
        let hash = BodyHash(*blake3::hash(b"next").as_bytes());
        let at = packs.tail(|tail| tail.location(&hash)).unwrap();
        assert_eq!(packs.read(&at, &hash).unwrap(), b"next");
    }
}

#[test]
fn octets_that_rotted_are_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), START).unwrap();
    append(&packs, 1, b"hello");
    packs.commit().unwrap();
    let hash = BodyHash(*blake3::hash(b"hello").as_bytes());
    let at = packs.tail(|tail| tail.location(&hash)).unwrap();
    let file = File::options().write(true).open(path(dir.path(), 1)).unwrap();
    file.write_all_at(b"j", at.position.offset).unwrap();
    assert!(packs.read(&at, &hash).unwrap_err().contains("0001.pack"));
}

#[test]
fn a_pack_shorter_than_the_index_knows_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    drop(Packs::open(dir.path(), START).unwrap());
    let beyond = Position { pack: 1, offset: 10 };
    assert!(matches!(Packs::open(dir.path(), beyond), Err(TargetError::Halt(_))));
}
