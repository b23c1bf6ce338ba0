//! A log that is read bit by bit, over rotations, resets and downtimes, gives what a fresh reading gives.

use crate::bodies::mailbox_guid;
use crate::final_state::{check_mailbox, flag_names};
use crate::vector::{FORMATS, Session, Tree, VERSIONS, index_files, mailbox_folders};
use mailshadow::op::{Guid, Modseq, SourcePosition};
use mailshadow::store::dovecot::classify::{LogClass, LogOnDisk, classify, is_file_of};
use mailshadow::store::dovecot::log::LogHeader;
use mailshadow::store::dovecot::replay::{MailboxState, SnapshotFiles, reader_at, snapshot};
use mailshadow::store::dovecot::transaction::RawAppend;
use std::collections::{BTreeMap, BTreeSet};
use testbed::rng::Rng;

/// What a log at `bytes` is to a position.
pub(crate) fn class_of(position: &SourcePosition, bytes: &[u8]) -> LogClass {
    let header = LogHeader::parse(bytes).unwrap();
    let end = usize::try_from(position.offset).unwrap();
    let consumed = bytes.get(end.saturating_sub(64)..end);
    classify(
        position,
        LogOnDisk {
            header: &header,
            size: bytes.len() as u64,
            consumed,
        },
    )
}

fn drain(state: &mut MailboxState, bytes: &[u8]) {
    while state.advance(bytes, 0).unwrap().is_some() {}
}

/// Brings `state` up to the files; says what it met on the way.
fn tail(state: &mut MailboxState, files: &SnapshotFiles<'_>) -> LogClass {
    let old_file = files
        .log2
        .filter(|bytes| is_file_of(&state.position(), &LogHeader::parse(bytes).unwrap()));
    if let Some(old_file) = old_file.filter(|bytes| class_of(&state.position(), bytes) == LogClass::Continue) {
        drain(state, old_file);
    }
    let class = class_of(&state.position(), files.log);
    match class {
        LogClass::Continue => drain(state, files.log),
        LogClass::Rotated => {
            state.reader = state.reader.clone().rotated(LogHeader::parse(files.log).unwrap());
            drain(state, files.log);
        }
        _ => *state = snapshot(files).unwrap(),
    }
    class
}

/// A restart: all that is kept of the reader is its position.
fn restart(state: &mut MailboxState, files: &SnapshotFiles<'_>) {
    let position = state.position();
    if let Some(reader) = reader_at(files, &position).unwrap() {
        assert_eq!(reader.position(), position);
        assert_eq!(reader.state().modseqs_tracked, state.modseqs_exact());
        state.reader = reader;
    }
}

/// Messages without what depends on where reading began: MODSEQs that Dovecot itself does not keep yet, the order of
/// keywords.
fn comparable(state: &MailboxState) -> Vec<(RawAppend, BTreeSet<String>)> {
    let message = |mail: &RawAppend| {
        let modseq = if state.modseqs_exact() { mail.modseq } else { Modseq(0) };
        let keywords = Vec::new();
        (
            RawAppend {
                modseq,
                keywords,
                ..mail.clone()
            },
            flag_names(mail.flags, mail),
        )
    };
    state.messages.values().map(message).collect()
}

fn assert_equals_fresh(tailed: &MailboxState, files: &SnapshotFiles<'_>, what: &str) {
    let fresh = snapshot(files).unwrap();
    assert_eq!(comparable(tailed), comparable(&fresh), "{what}");
    assert!(tailed.position().is_same_place(&fresh.position()), "{what}");
    let numbers = |state: &MailboxState| {
        let log = state.log_state();
        (log.uidvalidity, log.uidnext, log.modseq, state.guid())
    };
    assert_eq!(numbers(tailed), numbers(&fresh), "{what}");
}

/// All mailboxes of one store that are being tailed, by GUID.
#[derive(Default)]
struct Tailers {
    states: BTreeMap<Guid, MailboxState>,
    met: BTreeMap<&'static str, u32>,
}

impl Tailers {
    fn step(&mut self, tree: &Tree, rng: &mut Rng, what: &str) {
        let mut seen = BTreeSet::new();
        for folder in mailbox_folders(tree) {
            let files = index_files(tree, &format!("{folder}/dovecot.index")).unwrap();
            let fresh = snapshot(&files).unwrap();
            let Some(guid) = mailbox_guid(tree, &folder, &fresh) else {
                continue;
            };
            seen.insert(guid);
            let Some(state) = self.states.get_mut(&guid) else {
                self.states.insert(guid, fresh);
                continue;
            };
            if rng.chance(30) {
                restart(state, &files);
            }
            let class = tail(state, &files);
            *self.met.entry(name(class)).or_default() += 1;
            assert_equals_fresh(state, &files, &format!("{what}, {folder}, {class:?}"));
        }
        self.states.retain(|guid, _| seen.contains(guid));
    }
}

fn name(class: LogClass) -> &'static str {
    match class {
        LogClass::Continue => "continue",
        LogClass::Rotated => "rotated",
        LogClass::Rollback => "rollback",
        LogClass::Gap => "gap",
        LogClass::Reset => "reset",
        LogClass::CorruptMark => "corrupt mark",
    }
}

fn overlay(tree: &mut Tree, (files, gone): &(Tree, Vec<String>)) {
    tree.extend(files.iter().map(|(path, bytes)| (path.clone(), bytes.clone())));
    for path in gone {
        tree.remove(path);
    }
}

/// Runs a session, leaving out reading after `skip_percent` of the steps; what was met.
fn run(session: &Session, skip_percent: u64, seed: &str) -> BTreeMap<&'static str, u32> {
    let (mut tree, mut tailers, mut rng) = (Tree::new(), Tailers::default(), Rng::new(seed));
    for (number, step) in session.steps.iter().enumerate() {
        overlay(&mut tree, step);
        if !rng.chance(skip_percent) {
            tailers.step(&tree, &mut rng, &format!("seed {seed}, step {}", number + 1));
        }
    }
    tailers.step(&session.store, &mut rng, &format!("seed {seed}, end"));
    for expected in &session.mailboxes {
        let guid = Guid::from_hex(expected["guid"].as_str().unwrap()).unwrap();
        let in_store = |folder: &String| {
            let files = index_files(&session.store, &format!("{folder}/dovecot.index")).unwrap();
            mailbox_guid(&session.store, folder, &snapshot(&files).unwrap()) == Some(guid)
        };
        let folder = mailbox_folders(&session.store).into_iter().find(in_store).unwrap();
        check_mailbox(expected, &tailers.states[&guid], &session.store, &folder);
    }
    tailers.met
}

fn sessions() -> impl Iterator<Item = (String, Session)> {
    let names = FORMATS
        .iter()
        .flat_map(|format| VERSIONS.map(|version| format!("{format}-{version}")));
    names.map(|name| (name.clone(), Session::load(&name)))
}

#[test]
fn every_step_read_at_once_ends_as_imap_does() {
    for (name, session) in sessions() {
        let met = run(&session, 0, &name);
        assert!(
            met["continue"] > 20 && met["rotated"] >= 3 && !met.contains_key("gap"),
            "{name}: {met:?}"
        );
    }
}

#[test]
fn downtimes_at_any_time_end_as_imap_does() {
    let mut met: BTreeMap<&str, u32> = BTreeMap::new();
    for (name, session) in sessions() {
        for round in 0..12 {
            for (class, count) in run(&session, 30 + 5 * round, &format!("{name}/{round}")) {
                *met.entry(class).or_default() += count;
            }
        }
    }
    assert!(
        ["continue", "rotated", "gap", "reset"]
            .iter()
            .all(|class| met.contains_key(class)),
        "{met:?}"
    );
}

#[test]
fn every_cut_of_a_log_gives_a_prefix_of_its_commits() {
    for (name, session) in sessions() {
        for folder in mailbox_folders(&session.store) {
            let files = index_files(&session.store, &format!("{folder}/dovecot.index")).unwrap();
            let header = LogHeader::parse(files.log).unwrap();
            if header.starts_empty() {
                cuts(header, files.log, &format!("{name}, {folder}"));
            }
        }
    }
}

fn cuts(header: LogHeader, log: &[u8], what: &str) {
    let read = |bytes: &[u8]| {
        let mut reader = mailshadow::store::dovecot::reader::LogReader::at_start(header);
        let mut txns = Vec::new();
        while let Some(txn) = reader.next(bytes, 0).unwrap() {
            txns.push(txn);
        }
        txns
    };
    let whole = read(log);
    for cut in (40..log.len()).step_by(3) {
        let part = read(&log[..cut]);
        assert_eq!(part, whole[..part.len()], "{what}, cut at {cut}");
        let next = whole.get(part.len()).unwrap();
        assert!(next.end > cut as u64, "{what}: a complete commit was left out at {cut}");
    }
}
