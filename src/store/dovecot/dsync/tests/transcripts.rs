//! Sessions recorded between a program and real servers of 2.3 and 2.4, as `tests/vectors/dsync/README.md` says.

use super::*;
use crate::op::AttributeKind;
use crate::store::dovecot::dsync::reader::Reader;
use crate::store::dovecot::dsync::said::Said;
use crate::store::dovecot::dsync::telling::{Placed, Step};
use std::path::Path;

/// What one side (`S` or `C`) said in the dsync session of a transcript.
fn said_by(side: char, name: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/dsync/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(Path::new(&path)).unwrap();
    let marked = format!("{side}: ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&marked));
    let session = lines.skip_while(|line| !line.starts_with("VERSION<TAB>dsync<TAB>"));
    session.flat_map(octets).collect()
}

fn octets(written: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = written;
    while let Some((before, mark)) = rest.split_once('<') {
        out.extend(before.as_bytes());
        let (mark, after) = mark.split_once('>').unwrap_or((mark, ""));
        match (mark, u8::from_str_radix(mark, 16)) {
            ("TAB", _) => out.push(b'\t'),
            ("LF", _) => out.push(b'\n'),
            ("CR", _) => out.push(b'\r'),
            (hex, Ok(octet)) if hex.len() == 2 => out.push(octet),
            _ => out.extend(format!("<{mark}>").as_bytes()),
        }
        rest = after;
    }
    out.extend(rest.as_bytes());
    out
}

fn understood(octets: &[u8], size: usize) -> Vec<Said> {
    let (mut reader, mut found) = (Reader::default(), Vec::<Said>::new());
    for piece in octets.chunks(size) {
        reader.push(piece);
        while let Some(said) = reader.hear().unwrap() {
            match (found.last_mut(), said) {
                (Some(Said::Part(before)), Said::Part(more)) => before.extend(more),
                (_, said) => found.push(said),
            }
        }
    }
    found
}

#[test]
fn every_recorded_server_is_understood_however_its_octets_are_cut() {
    let names = [
        ("10-create-backup-23", 11, true),
        ("10-create-backup-24", 12, true),
        ("11-incremental-state-backup-24", 11, true),
        ("20-sieve-push-24", 8, true),
        ("40-pull-full-23", 45, true),
        ("41-pull-incremental-23", 31, true),
        ("41-pull-incremental-24", 31, true),
        ("31-debug-log-channel-24", 10, true),
        ("54-dup-msg-guid-23", 10, true),
        ("02-state-modseq-too-high-backup-24", 7, true),
        ("21-uids-out-of-order-24", 5, false),
    ];
    for (name, least, ends) in names {
        let octets = said_by('S', name);
        let whole = understood(&octets, octets.len());
        assert!(whole.len() >= least, "{name}: {} items: {whole:?}", whole.len());
        assert_eq!(whole.last() == Some(&Said::Closing), ends, "{name}");
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(understood(&octets, size), whole, "{name} in pieces of {size}");
        }
    }
}

const BOX: &str = "000beef0000000000000000000000018";

/// The mailbox that the transcript creates.
fn created() -> MailboxDelta {
    let mail = |uid: u32, modseq, flags, keywords: &[&str], received, saved| Message {
        flags: Flags::from_bits(flags),
        keywords: keywords.iter().map(|keyword| Keyword::from(*keyword)).collect(),
        internal_date: received,
        save_date: Some(saved),
        ..message(uid, &format!("bbbb{uid:028}"), modseq)
    };
    MailboxDelta {
        guid: Guid::from_hex(BOX).unwrap(),
        uid_validity: UidValidity(1_700_000_002),
        uid_next: Uid(20),
        highest_modseq: Modseq(50),
        messages: 3,
        changed: vec![
            mail(1, 10, 8, &[], 1_704_164_645, 1_704_164_700),
            mail(5, 20, 10, &["$Important", "foo"], 1_704_168_000, 1_704_168_001),
            mail(9, 30, 0, &["bar"], 1_704_169_000, 1_704_169_009),
        ],
        ..MailboxDelta::default()
    }
}

fn body(uid: Uid) -> String {
    format!(
        "From: a@example.test\r\nTo: user1@example.test\r\nSubject: msg {uid}\r\nMessage-ID: <m{uid}@example.test>\r\n\
         Date: Tue, 02 Jan 2024 03:04:05 +0000\r\n\r\nbody {uid}\r\n"
    )
}

/// Walks through the session, and answers each step as the speaker does.
fn tell(said: &[u8], delta: &MailboxDelta) -> (Vec<u8>, Vec<Step>) {
    let mut telling = Telling::new(&std::collections::BTreeMap::new());
    let (mut out, mut steps) = (Vec::new(), Vec::new());
    telling.push(said);
    loop {
        let step = telling.step().unwrap();
        match &step {
            Step::Tree(_, spelling) => {
                telling.tree(&[] as &[Placed], *spelling).unwrap();
                telling.mailbox(delta).unwrap();
            }
            Step::Mailbox(_) => {
                let nothing = std::collections::BTreeMap::new();
                let changes = check::list(delta, None, &nothing).unwrap();
                telling.changes(Vec::new(), 1, &changes).unwrap();
            }
            Step::Requests(requests) => {
                assert_eq!(requests.len(), 3);
                for message in &delta.changed {
                    telling.mail(message).unwrap();
                    telling.body(body(message.uid).as_bytes());
                    telling.body_end();
                }
                telling.state(delta.guid, &delta.state()).unwrap();
            }
            Step::Told(_) => telling.end().unwrap(),
            Step::Finished(_) | Step::More => {}
        }
        out.append(telling.out());
        let over = matches!(step, Step::Finished(_) | Step::More);
        steps.push(step);
        if over {
            return (out, steps);
        }
    }
}

#[test]
fn a_mailbox_is_told_octet_by_octet_as_a_server_of_2_4_took_it() {
    let name = "10-create-backup-24";
    let (out, steps) = tell(&said_by('S', name), &created());
    assert!(
        matches!(steps.as_slice(), [Step::Tree(nodes, _), Step::Mailbox(there), Step::Requests(_), Step::Told(told), Step::Finished(finish)]
        if nodes.len() == 1 && there.uid_next == Uid(1) && told.uid == Uid(19) && told.messages == 3 && finish.error.is_none()),
        "{steps:?}"
    );
    // From its B on, the program that was recorded said the same.
    let from = |octets: &[u8]| {
        let mark = format!("\nB{BOX}");
        let place = octets
            .windows(mark.len())
            .position(|window| window == mark.as_bytes())
            .unwrap();
        String::from_utf8(octets[place..].to_vec()).unwrap()
    };
    let recorded = from(&said_by('C', name));
    assert_eq!(from(&out), recorded);
}

#[test]
fn the_version_is_never_more_than_3_5() {
    let mut telling = Telling::new(&std::collections::BTreeMap::new());
    assert!(telling.out().starts_with(b"VERSION\tdsync\t3\t5\n"));
    let mut asking = Asking::new(Wanted::Everything);
    assert!(asking.out().starts_with(b"VERSION\tdsync\t3\t5\n"));
    // Whatever the other side is.
    telling.push(b"VERSION\tdsync\t3\t9\n");
    assert_eq!(telling.step(), Ok(Step::More));
    asking.push(b"VERSION\tdsync\t4\t0\n");
    assert!(asking.step().is_err());
}

#[test]
fn no_session_names_one_mailbox_of_the_tree() {
    // With sync_box a rename makes two mailboxes with one GUID; it stands in no line that we can write.
    let mut telling = Telling::new(&std::collections::BTreeMap::new());
    let said = String::from_utf8(telling.out().clone()).unwrap();
    assert!(said.contains("Hhostname\tsync_type\tbackup_recv\t") && !said.contains("sync_box"));
}

#[test]
fn what_others_did_since_a_state_is_read() {
    for version in ["23", "24"] {
        let mut states = std::collections::BTreeMap::new();
        let said = understood(&said_by('S', &format!("41-pull-incremental-{version}")), 100);
        for said in &said {
            if let Said::Node(node) = said
                && let Some((guid, ..)) = node.mailbox
            {
                states.insert(guid, state(1, 1));
            }
        }
        let mut asking = Asking::new(Wanted::Since(states));
        asking.push(&said_by('S', &format!("41-pull-incremental-{version}")));
        let reading = asking.step().unwrap().unwrap();
        let of = |name: &str| {
            let node = reading
                .tree
                .iter()
                .find(|node| node.name == MailboxName::of([name]))
                .unwrap();
            &reading.mailboxes[&node.mailbox.unwrap().guid]
        };
        assert_eq!(of("INBOX").expunged, [Uid(1)]);
        let work = of("Work");
        assert_eq!(
            (work.uid_next, work.highest_modseq, work.messages),
            (Uid(3), Modseq(9), 2)
        );
        let [flagged, saved] = work.listed.as_slice() else {
            panic!("{work:?}")
        };
        assert_eq!(
            (flagged.uid, flagged.flags, saved.uid),
            (Uid(1), Flags::ANSWERED, Uid(2))
        );
        assert_eq!(flagged.keywords, [Keyword::from("$Important"), Keyword::from("$New")]);
        let [comment] = work.attributes.as_slice() else {
            panic!("{work:?}")
        };
        assert_eq!(
            (comment.entry.as_str(), comment.value.as_deref()),
            ("/private/comment", Some(&b"hi"[..]))
        );
        let subscribed: Vec<_> = reading.tree.iter().filter(|node| node.subscribed).collect();
        assert_eq!(subscribed.len(), 1, "{:?}", reading.tree);
    }
}

#[test]
fn everything_that_a_server_holds_is_read() {
    let mut asking = Asking::new(Wanted::Everything);
    asking.push(&said_by('S', "40-pull-full-23"));
    let reading = asking.step().unwrap().unwrap();
    let scripts: Vec<_> = reading
        .mailboxes
        .values()
        .flat_map(|mailbox| &mailbox.attributes)
        .filter(|attribute| attribute.kind == AttributeKind::Sieve)
        .map(|attribute| (attribute.entry.as_str(), attribute.value.as_deref().unwrap()))
        .collect();
    assert_eq!(
        scripts,
        [
            ("script/myscript", &b"require \"fileinto\";\nfileinto \"Junk\";\n"[..]),
            ("active", b"myscript")
        ]
    );
    let rights = reading
        .mailboxes
        .values()
        .flat_map(|mailbox| &mailbox.attributes)
        .find(|attribute| attribute.kind == AttributeKind::Acl)
        .unwrap();
    assert_eq!(
        (rights.entry.as_str(), rights.value.as_deref()),
        ("user=carol", Some(&b"lr"[..]))
    );
}

#[test]
fn a_state_that_is_of_no_use_is_heard_of_and_a_crash_is_an_error() {
    let mut telling = Telling::new(&std::collections::BTreeMap::new());
    telling.push(&said_by('S', "02-state-modseq-too-high-backup-24"));
    let Step::Tree(_, spelling) = telling.step().unwrap() else {
        panic!("no tree")
    };
    telling.tree(&[], spelling).unwrap();
    telling.mailbox(&created()).unwrap();
    assert!(matches!(telling.step(), Ok(Step::Mailbox(there)) if there.lost));
    telling.end().unwrap();
    assert!(matches!(telling.step(), Ok(Step::Finished(finish)) if finish.full_resync));

    let mut telling = Telling::new(&std::collections::BTreeMap::new());
    telling.push(&said_by('S', "10-create-backup-24"));
    let Step::Tree(_, spelling) = telling.step().unwrap() else {
        panic!("no tree")
    };
    telling.tree(&[], spelling).unwrap();
    // It speaks of a mailbox that we have not begun with.
    assert!(telling.step().is_err());
}
