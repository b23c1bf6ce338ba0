//! Whatever is done to the octets, nothing panics, and what was right before the damage is read as before.

use crate::vector::{FORMATS, Session, Tree, index_files, mailbox_folders};
use mailshadow::store::dovecot::log::{LogError, LogHeader};
use mailshadow::store::dovecot::reader;
use mailshadow::store::dovecot::reader::LogReader;
use mailshadow::store::dovecot::transaction::LogTransaction;
use mailshadow::store::dovecot::{
    dbox, index, list_index, log, mailbox_log, map, mutf7, record, replay, subscriptions, uidlist,
};
use proptest::prelude::*;
use std::sync::LazyLock;
use testbed::rng::Rng;

type EntryPoint = fn(&[u8]);

const ENTRY_POINTS: [(&str, EntryPoint); 12] = [
    ("log header", log::fuzz_log_header),
    ("records", record::fuzz_records),
    ("log", reader::fuzz_log),
    ("index", index::fuzz_index),
    ("snapshot", replay::fuzz_snapshot),
    ("map", map::fuzz_map),
    ("list index", list_index::fuzz_list_index),
    ("dbox", dbox::fuzz_dbox),
    ("uidlist", uidlist::fuzz_uidlist),
    ("mailbox log", mailbox_log::fuzz_mailbox_log),
    ("subscriptions", subscriptions::fuzz_subscriptions),
    ("mutf7", mutf7::fuzz_mutf7),
];

static STORES: LazyLock<Vec<Tree>> = LazyLock::new(|| {
    FORMATS
        .iter()
        .map(|format| Session::load(&format!("{format}-2.4.1")).store)
        .collect()
});

/// An index and its log, one behind the other as the entry points want them.
fn pair(index: &[u8], log: &[u8]) -> Vec<u8> {
    let cut = u16::try_from(index.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&cut[..], index, log].concat()
}

fn damaged(octets: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for _ in 0..=rng.below(4) {
        let Some(at) = usize::try_from(rng.below(octets.len() as u64))
            .ok()
            .filter(|_| !octets.is_empty())
        else {
            break;
        };
        match rng.below(5) {
            0 => octets.truncate(at),
            1 => octets[at] = 0xff,
            2 => octets[at] ^= 1 << rng.below(8),
            3 => octets[at..].fill(0),
            _ => drop(octets.splice(at..at, [0x80, 0x80, 0x80, 0x83])),
        }
    }
    octets
}

#[test]
fn damaged_stores_never_panic() {
    let mut rng = Rng::new("damaged stores");
    for tree in STORES.iter() {
        for octets in tree.values().filter(|octets| octets.len() < 64 << 10) {
            for _ in 0..6 {
                let octets = damaged(octets, &mut rng);
                ENTRY_POINTS.iter().for_each(|(_, entry)| entry(&octets));
            }
        }
        for folder in mailbox_folders(tree) {
            let files = index_files(tree, &format!("{folder}/dovecot.index")).unwrap();
            let (first, second) = (files.index.or(files.log2).unwrap_or_default(), files.log);
            for _ in 0..100 {
                let (first, second) = (damaged(first, &mut rng), damaged(second, &mut rng));
                replay::fuzz_snapshot(&pair(&first, &second));
                map::fuzz_map(&pair(&first, &second));
                list_index::fuzz_list_index(&pair(&first, &second));
            }
        }
    }
}

fn read(bytes: &[u8]) -> Option<(Vec<LogTransaction>, Option<LogError>)> {
    let mut reader = LogReader::at_start(LogHeader::parse(bytes).ok()?);
    let mut txns = Vec::new();
    loop {
        match reader.next(bytes, 0) {
            Ok(Some(txn)) => txns.push(txn),
            Ok(None) => return Some((txns, None)),
            Err(error) => return Some((txns, Some(error))),
        }
    }
}

#[test]
fn damage_in_a_log_never_changes_what_stands_before_it() {
    let mut rng = Rng::new("damage in the middle");
    let (mut noticed, mut tried) = (0, 0);
    for tree in STORES.iter() {
        for folder in mailbox_folders(tree) {
            let log = index_files(tree, &format!("{folder}/dovecot.index")).unwrap().log;
            if !LogHeader::parse(log).unwrap().starts_empty() {
                continue;
            }
            let (whole, _) = read(log).unwrap();
            for _ in 0..200 {
                let at = 40 + usize::try_from(rng.below(log.len() as u64 - 40)).unwrap();
                let mut octets = log.to_vec();
                octets[at] ^= 1 << rng.below(8);
                let (found, error) = read(&octets).unwrap();
                let sound = whole.iter().take_while(|txn| txn.end <= at as u64).count();
                assert_eq!(found[..sound], whole[..sound], "{folder}, octet {at}");
                tried += 1;
                noticed += u32::from(error.is_some() || found.len() < whole.len());
            }
        }
    }
    assert!(noticed > tried / 10, "{noticed} of {tried} noticed");
}

proptest! {
    #[test]
    fn any_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        for (_, entry) in ENTRY_POINTS {
            entry(&octets);
        }
    }

    #[test]
    fn any_records_behind_a_good_header_never_panic(
        records in proptest::collection::vec((0usize..20, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..12),
    ) {
        let mut octets = index_files(&STORES[0], "sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index").unwrap().log[..40].to_vec();
        octets[12..16].fill(0);
        for (kind, flags, mut payload) in records {
            payload.resize(payload.len().next_multiple_of(4), 0);
            let words = u32::try_from(payload.len() / 4 + 2).unwrap();
            octets.extend([0x80, 0x80, 0x80, 0x80 | u8::try_from(words).unwrap()]);
            let kinds = [0xcd91, 0xed90, 2, 4, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x8000, 0x10000,
                0x20000, 0x40000, 0x80000, 0x10_0000, 0x40, 0x200];
            octets.extend((kinds[kind] | u32::from(flags & 3) << 28).to_le_bytes());
            octets.extend(payload);
        }
        reader::fuzz_log(&octets);
        replay::fuzz_snapshot(&pair(&[], &octets));
        map::fuzz_map(&pair(&[], &octets));
        list_index::fuzz_list_index(&pair(&[], &octets));
    }
}
