//! Damage that Dovecot repaired: what became of the log is told from the position that was kept.

use crate::tailing::class_of;
use crate::vector::{Tree, archive, below, index_files};
use mailshadow::store::dovecot::classify::LogClass;
use mailshadow::store::dovecot::map::BodyMap;
use mailshadow::store::dovecot::replay::{SnapshotError, snapshot};

const FORMATS: [&str; 3] = ["sdbox", "mdbox", "maildir"];

/// The files of INBOX at one moment of a case.
fn inbox(case: &Tree, moment: &str) -> Tree {
    let tree = below(case, moment);
    let mdbox = below(&tree, "mailboxes/INBOX/dbox-Mails");
    let inner = if mdbox.is_empty() { tree } else { mdbox };
    inner
        .into_iter()
        .map(|(path, bytes)| (format!("INBOX/{path}"), bytes))
        .collect()
}

fn class_after(format: &str, version: &str, case: &str) -> LogClass {
    let case = below(&archive(&format!("resets-{format}-{version}")), case);
    let (before, after) = (inbox(&case, "before"), inbox(&case, "after"));
    let position = snapshot(&index_files(&before, "INBOX/dovecot.index").unwrap())
        .unwrap()
        .position();
    class_of(&position, index_files(&after, "INBOX/dovecot.index").unwrap().log)
}

fn each(test: impl Fn(&str, &str)) {
    for format in FORMATS {
        test(format, "2.3.19.1");
        test(format, "2.4.1");
    }
}

#[test]
fn a_lost_log_is_a_rollback() {
    each(|format, version| {
        for case in ["log-hdr-indexid-0", "log-2nd-last-record-size-zeroed", "log-deleted"] {
            assert_eq!(
                class_after(format, version, case),
                LogClass::Rollback,
                "{format} {version} {case}"
            );
        }
    });
}

#[test]
fn a_recreated_index_is_a_reset_even_with_the_same_numbers() {
    each(|format, version| {
        for case in ["idx-zeroed-first-64", "idx-log-deleted"] {
            assert_eq!(
                class_after(format, version, case),
                LogClass::Reset,
                "{format} {version} {case}"
            );
        }
        let rebuilt = if format == "maildir" {
            LogClass::Continue
        } else {
            LogClass::Reset
        };
        assert_eq!(
            class_after(format, version, "idx-truncated-by-8"),
            rebuilt,
            "{format} {version}"
        );
    });
}

#[test]
fn a_foreign_index_id_replaces_the_log_in_2_3_only() {
    for format in FORMATS {
        assert_eq!(
            class_after(format, "2.4.1", "idx-indexid-flipped"),
            LogClass::Continue,
            "{format}"
        );
        let class = class_after(format, "2.3.19.1", "idx-indexid-flipped");
        assert!(matches!(class, LogClass::Reset | LogClass::Gap), "{format}: {class:?}");
    }
}

#[test]
fn damage_is_named_with_its_file_and_never_read_over() {
    each(|format, version| {
        let archive = archive(&format!("resets-{format}-{version}"));
        let damaged = |case: &str| {
            let tree = inbox(&below(&archive, case), "damaged");
            snapshot(&index_files(&tree, "INBOX/dovecot.index").unwrap())
        };
        let file = |result| match result {
            Err(SnapshotError::Corrupt { file, .. }) => file.name(),
            other => panic!("{format} {version}: {other:?}"),
        };
        assert_eq!(file(damaged("log-2nd-last-record-size-zeroed")), "dovecot.index.log");
        assert_eq!(file(damaged("idx-truncated-by-8")), "dovecot.index");
        assert_eq!(file(damaged("idx-zeroed-first-64")), "dovecot.index");
        for case in ["log-hdr-indexid-0", "idx-indexid-flipped"] {
            assert!(
                matches!(damaged(case), Err(SnapshotError::Retry(_))),
                "{format} {version} {case}"
            );
        }
    });
}

#[test]
fn what_dovecot_repaired_reads_again() {
    each(|format, version| {
        let archive = archive(&format!("resets-{format}-{version}"));
        let cases: std::collections::BTreeSet<&str> =
            archive.keys().filter_map(|path| path.split('/').next()).collect();
        for case in cases {
            let tree = inbox(&below(&archive, case), "after");
            let state = snapshot(&index_files(&tree, "INBOX/dovecot.index").unwrap());
            let state = state.unwrap_or_else(|error| panic!("{format} {version} {case}: {error}"));
            assert_ne!(state.log_state().uidvalidity.0, 0, "{format} {version} {case}");
        }
    });
}

/// Two rotations after a rebuild would hide the reset log; the count is what tells then.
#[test]
fn a_rebuild_that_rotations_hid_is_counted() {
    for version in ["2.3.19.1", "2.4.1"] {
        let case = below(&archive(&format!("resets-sdbox-{version}")), "idx-truncated-by-8");
        let count = |moment| {
            let tree = inbox(&case, moment);
            let state = snapshot(&index_files(&tree, "INBOX/dovecot.index").unwrap()).unwrap();
            state.position().rebuild_count
        };
        assert!(count("after") > count("before"), "sdbox {version}");

        let case = below(&archive(&format!("resets-mdbox-{version}")), "idx-truncated-by-8");
        let count = |moment| {
            let tree = below(&case, moment);
            let map = BodyMap::snapshot(&index_files(&tree, "storage/dovecot.map.index").unwrap()).unwrap();
            map.rebuild_count
        };
        assert!(count("after") > count("before"), "mdbox {version}");
    }
}
