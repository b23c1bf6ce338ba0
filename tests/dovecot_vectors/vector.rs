//! Vectors out of their archives, in memory.

use mailshadow::store::dovecot::replay::SnapshotFiles;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

/// Files by path.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

pub(crate) const FORMATS: [&str; 5] = ["sdbox", "mdbox", "maildir", "maildir-fs", "sdbox-lindex"];
pub(crate) const VERSIONS: [&str; 2] = ["2.3.19.1", "2.4.1"];

/// An archive's files, without its name at the front.
pub(crate) fn archive(name: &str) -> Tree {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/dovecot/{name}.tar"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut tree = Tree::new();
    for entry in tar::Archive::new(std::io::BufReader::new(file)).entries().unwrap() {
        let mut entry = entry.unwrap();
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = path.strip_prefix(&format!("{name}/")).unwrap().to_owned();
        tree.insert(path, bytes);
    }
    tree
}

/// The files below `folder`, by their paths in it.
pub(crate) fn below(tree: &Tree, folder: &str) -> Tree {
    let prefix = format!("{folder}/");
    let inside = tree
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&prefix)?.to_owned(), bytes.clone())));
    inside.collect()
}

/// A scripted session.
pub(crate) struct Session {
    /// What changed in each step, and what vanished.
    pub(crate) steps: Vec<(Tree, Vec<String>)>,
    /// The store at the end.
    pub(crate) store: Tree,
    /// What IMAP answered at the end.
    pub(crate) mailboxes: Vec<serde_json::Value>,
}

impl Session {
    pub(crate) fn load(name: &str) -> Self {
        let tree = archive(name);
        let expected: serde_json::Value = serde_json::from_slice(&tree["expected.json"]).unwrap();
        let count = expected["steps"].as_array().unwrap().len();
        let step = |number: usize| {
            let files = below(&tree, &format!("steps/{number:02}/files"));
            let gone = tree
                .get(&format!("steps/{number:02}/deleted.txt"))
                .cloned()
                .unwrap_or_default();
            (
                files,
                String::from_utf8(gone).unwrap().lines().map(str::to_owned).collect(),
            )
        };
        Self {
            steps: (1..=count).map(step).collect(),
            store: below(&tree, "store"),
            mailboxes: expected["final_state"]["mailboxes"].as_array().unwrap().clone(),
        }
    }
}

/// Folders that hold a mailbox's index.
pub(crate) fn mailbox_folders(tree: &Tree) -> BTreeSet<String> {
    tree.keys()
        .filter_map(|path| path.strip_suffix("/dovecot.index.log"))
        .map(str::to_owned)
        .collect()
}

/// The files of an index `P` at `path`, where there is a log.
pub(crate) fn index_files<'a>(tree: &'a Tree, path: &str) -> Option<SnapshotFiles<'a>> {
    let file = |suffix: &str| tree.get(&format!("{path}{suffix}")).map(Vec::as_slice);
    Some(SnapshotFiles {
        index: file(""),
        log: file(".log")?,
        log2: file(".log.2"),
    })
}
