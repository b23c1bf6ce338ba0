//! The style that is a test, not a wish: direction of imports, size of files and functions, names, and documents
//! that name what exists.

use std::fs;
use std::path::{Path, PathBuf};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// The rooms by level; a room may import those of lower levels, and of its own level only itself.
const LEVELS: [(u32, &[&str]); 9] = [
    // bounds that everybody obeys: numbers, no more
    (0, &["limits"]),
    // what a change is
    (1, &["op"]),
    // pure: bytes and values in, bytes and values out. The configuration is values too
    (2, &["codec", "config"]),
    // what is counted and logged, named by values of the levels below; and who may write, a machine of values
    (3, &["telemetry", "role"]),
    // the boxes on a change's way
    (4, &["journal", "session", "store"]),
    // a store's front end, and the rim with files, clock, certificates and sockets
    (5, &["serve", "io"]),
    // where clients are pointed
    (6, &["redirect"]),
    // what an operator asks and sees
    (7, &["control"]),
    // composition; the programs in src/bin stand above it
    (8, &["node"]),
];

/// Buckets, not rooms.
const BANNED_NAMES: [&str; 7] = ["utils", "util", "common", "helper", "helpers", "manager", "types"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below these folders with one of these endings, in order.
fn files(folders: &[&str], endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|f| root().join(f)).filter(|p| p.exists()).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|e| endings.iter().any(|x| e == *x)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn rust_files() -> Result<Vec<PathBuf>> {
    let found = files(&["src", "tests", "examples", "benches", "fuzz"], &["rs"])?;
    assert!(
        found.len() > 20,
        "only {} files found: the test looks in the wrong place",
        found.len()
    );
    Ok(found)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn level(room: &str) -> Option<u32> {
    LEVELS
        .iter()
        .find(|(_, rooms)| rooms.contains(&room))
        .map(|(level, _)| *level)
}

/// The room that a file of `src/` belongs to; none for `lib.rs` and the programs.
fn room(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root().join("src")).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib" && name != "bin").then(|| name.to_owned())
}

/// The rooms named by `crate::room` in code (not in comments), with their lines; also in `crate::{a, b}`.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for rest in code.split("crate::").skip(1) {
            let names = rest.strip_prefix('{').map_or(vec![rest], |group| top_level(group));
            found.extend(names.into_iter().map(|n| (number + 1, word(n))));
        }
    }
    found
}

/// The members of `{a, b::{c, d}}` after its opening brace; rustfmt puts a group of ours in one line or one a line.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (place, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                members.extend(group.get(start..place));
                start = place + 1;
            }
            _ => {}
        }
    }
    members
}

fn word(text: &str) -> String {
    text.trim()
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

/// Everything before the unit tests: these may reach further.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn room_imports_from_above_or_from_its_own_level() -> Result {
    let mut wrong = Vec::new();
    for path in files(&["src"], &["rs"])? {
        let Some(room) = room(&path) else { continue };
        let Some(own) = level(&room) else {
            wrong.push(format!(
                "{}: the room {room} has no level in tests/tidy.rs",
                shown(&path)
            ));
            continue;
        };
        let text = fs::read_to_string(&path)?;
        for (line, import) in imports(without_tests(&text)) {
            let Some(other) = level(&import) else { continue };
            if import != room && other >= own {
                wrong.push(format!(
                    "{}:{line}: {room} (level {own}) imports {import} (level {other})",
                    shown(&path)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows point down only:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn imports_are_found_in_groups_and_paths() {
    let text = "use crate::{limits, op::{self, Uid}, store};\nlet x = crate::io::now(); // crate::node\n";
    let rooms: Vec<String> = imports(text).into_iter().map(|i| i.1).collect();
    assert_eq!(rooms, ["limits", "op", "store", "io"]);
}

#[test]
fn file_grew_into_a_hall() -> Result {
    let mut wrong = Vec::new();
    for path in rust_files()? {
        let lines = fs::read_to_string(&path)?.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines", shown(&path)));
        }
    }
    assert!(
        wrong.is_empty(),
        "more than {FILE_LINES_MAX} lines:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

/// Name and lines of each function: from its `fn` to the closing brace at the same indentation, as rustfmt leaves it.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let closing = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
        let mut rest = lines.iter().skip(start).enumerate();
        let opening = rest.find(|(_, l)| l.ends_with(['{', '}', ';']));
        found.extend(match opening {
            Some((signature, l)) if l.ends_with('}') => Some((name, signature + 1)),
            Some((_, l)) if l.ends_with('{') => rest.find(|(_, l)| **l == closing).map(|(n, _)| (name, n + 1)),
            // without a body: a trait's promise
            _ => None,
        });
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.trim_start().split(' ').peekable();
    let before = ["pub", "pub(crate)", "pub(super)", "async", "const"];
    while words.next_if(|w| before.contains(w)).is_some() {}
    (words.next() == Some("fn")).then(|| word(words.next().unwrap_or_default()))
}

#[test]
fn function_grew_too_long() -> Result {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in rust_files()? {
        for (name, lines) in functions(&fs::read_to_string(&path)?) {
            seen += 1;
            if lines > FUNCTION_LINES_MAX {
                wrong.push(format!("{}: {name} has {lines} lines", shown(&path)));
            }
        }
    }
    assert!(seen > 100, "only {seen} functions found");
    assert!(
        wrong.is_empty(),
        "more than {FUNCTION_LINES_MAX} lines:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

#[test]
fn lengths_of_functions_are_counted() {
    let text = "fn one() {}\n\nimpl X {\n    fn no_body();\n    pub(crate) async fn two(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n}\n";
    assert_eq!(functions(text), [("one".to_owned(), 1), ("two".to_owned(), 5)]);
}

#[test]
fn bucket_instead_of_a_room() -> Result {
    for path in rust_files()? {
        for part in path.strip_prefix(root())?.components() {
            let name = part.as_os_str().to_string_lossy();
            let name = name.strip_suffix(".rs").unwrap_or(&name);
            assert!(!BANNED_NAMES.contains(&name), "{}: call it by what it is", shown(&path));
        }
    }
    Ok(())
}

#[test]
fn work_left_undone_or_a_test_left_out() -> Result {
    // put together here, so that this file does not name them
    let marks = ["TO DO", "FIX ME", "X XX", "#[ig nore", "un implemented!", "to do!("].map(|m| m.replace(' ', ""));
    let mut wrong = Vec::new();
    for path in rust_files()? {
        for (number, line) in fs::read_to_string(&path)?.lines().enumerate() {
            let marked = marks.iter().filter(|m| line.contains(m.as_str()));
            wrong.extend(marked.map(|m| format!("{}:{}: {m}", shown(&path), number + 1)));
        }
    }
    assert!(wrong.is_empty(), "left undone:\n{}", wrong.join("\n"));
    Ok(())
}

/// Every text file of the repository that people or programs read.
fn texts() -> Result<Vec<PathBuf>> {
    let folders = [
        "src",
        "tests",
        "examples",
        "benches",
        "fuzz",
        "docs",
        "schema",
        "packaging",
        ".ci",
    ];
    let mut found = files(&folders, &["rs", "md", "toml", "sql", "conf", "service"])?;
    for name in [
        "README.md",
        "Cargo.toml",
        "deny.toml",
        "check",
        "quickstart",
        ".ci/run",
        "tests/dovecot/install",
    ] {
        found.push(root().join(name));
    }
    Ok(found)
}

#[test]
fn text_names_a_path_of_the_machine_it_was_written_on() -> Result {
    let foreign = ["/wo rk/", "../sha red", "/ro ot/", "/opt/mailshadow-test bed"].map(|m| m.replace(' ', ""));
    let mut wrong = Vec::new();
    for path in texts()? {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", shown(&path)))?;
        let named = foreign.iter().filter(|f| text.contains(f.as_str()));
        wrong.extend(named.map(|f| format!("{}: {f}", shown(&path))));
    }
    assert!(wrong.is_empty(), "the project stands alone:\n{}", wrong.join("\n"));
    Ok(())
}

/// The words of a text that look like paths inside this repository.
fn named_paths(text: &str) -> Vec<String> {
    let tops = [
        "src/",
        "tests/",
        "docs/",
        "examples/",
        "schema/",
        "fuzz/",
        "benches/",
        "packaging/",
        ".ci/",
        "./",
    ];
    let separators = |c: char| c.is_whitespace() || "`()[]<>\"',;|".contains(c);
    let words = text.split(separators).map(|w| w.trim_end_matches(['.', ':']));
    let paths = words.filter(|w| tops.iter().any(|t| w.starts_with(t)));
    paths
        .filter(|w| !w.contains(['*', '{', '$', '…']))
        .map(str::to_owned)
        .collect()
}

#[test]
fn document_names_a_path_that_does_not_exist() -> Result {
    let mut documents = files(&["docs", "schema"], &["md"])?;
    documents.push(root().join("README.md"));
    let mut wrong = Vec::new();
    for document in documents {
        for path in named_paths(&fs::read_to_string(&document)?) {
            if !root().join(&path).exists() {
                wrong.push(format!("{}: {path}", shown(&document)));
            }
        }
    }
    assert!(wrong.is_empty(), "named, but not there:\n{}", wrong.join("\n"));
    Ok(())
}

/// What a log macro's fields look like where they would name a user whatever `node.log_users` says.
fn names_a_user(line: &str) -> bool {
    let open = ["%user,", "%mailbox,", "%self.user", "%self.id", "mailbox = %id"];
    line.contains("tracing::") && !line.contains("trace!") && open.iter().any(|field| line.contains(field))
}

#[test]
fn log_that_names_users_who_should_be_hashed() -> Result {
    assert!(
        names_a_user("tracing::warn!(%user, why, \"x\");")
            && !names_a_user("tracing::warn!(user = %telemetry::user(u));")
    );
    let mut wrong = Vec::new();
    for path in files(&["src"], &["rs"])? {
        for (number, line) in fs::read_to_string(&path)?.lines().enumerate() {
            if names_a_user(line) {
                wrong.push(format!("{}:{}", shown(&path), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "go through crate::telemetry:\n{}", wrong.join("\n"));
    Ok(())
}
