//! The same commands to Dovecot 2.3 and to an embedded primary: the same answers.
//!
//! Left out of the comparison: how long a command took, UIDVALIDITY, values of MODSEQ (Dovecot counts folders' own changes
//! too) and when the highest is told first, `\Recent` and RECENT (nothing is recent here), MAILBOXID (2.3 has none). Where an answer differs on purpose, its
//! command stands in [`DIFFERENT`] with the reason.

use crate::{PASSWORD, Primary, USER};
use anyhow::{bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, Version};

/// In order; `⏎` stands for the end of a line within a command.
const SCRIPT: &[&str] = &[
    "APPEND INBOX {9+}⏎Subj: a⏎",
    "APPEND INBOX (\\Seen work $Junk) \"17-Jul-2019 02:44:25 +0200\" {5+}⏎one⏎",
    "APPEND INBOX (\\Foo) {2}",
    "APPEND INBOX",
    "APPEND INBOX {0+}⏎",
    "APPEND nope {2+}⏎xx",
    "APPEND \"\" {2+}⏎xx",
    "APPEND INBOX {2+}⏎xx (\\Seen) {3+}⏎yyy",
    "SELECT INBOX",
    "APPEND INBOX {6+}⏎a\nb\0\nc",
    "FETCH 1:* (UID FLAGS RFC822.SIZE)",
    "FETCH 5 (BODY.PEEK[])",
    "FETCH 1 (BODY[TEXT])",
    "UID FETCH 3 (BODY[])",
    "FETCH 3 (BODY[] FLAGS)",
    "STORE 1 +FLAGS (\\Flagged)",
    "STORE 1 +FLAGS (\\Flagged)",
    "STORE 1 +FLAGS.SILENT (\\Answered)",
    "UID STORE 1 -FLAGS (\\Flagged)",
    "STORE 1:2 FLAGS (work new)",
    "STORE 1 +FLAGS ()",
    "STORE 1 FLAGS \\Seen \\Draft",
    "STORE 1 +FLAGS (\\Foo)",
    "STORE 1 +FLAGS (\\Recent)",
    "STORE 99 +FLAGS (work)",
    "UID STORE 99 +FLAGS (work)",
    "CREATE useless (USE (\\Nope))",
    "STORE 1 FOO (work)",
    "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (work)",
    "STORE 1,2 (UNCHANGEDSINCE 1) +FLAGS.SILENT (work)",
    "UID STORE 1 (UNCHANGEDSINCE 100000) +FLAGS.SILENT (work)",
    "UID STORE 1:99 FLAGS (work)",
    "CREATE a/b",
    "CREATE a/b",
    "CREATE inbox",
    "CREATE \"\"",
    "CREATE x//y",
    "CREATE \"bad&name\"",
    "CREATE moved",
    "CREATE guarded",
    "SUBSCRIBE a/b",
    "SUBSCRIBE a/b",
    "SUBSCRIBE nope",
    "UNSUBSCRIBE nope",
    "LSUB \"\" *",
    "DELETE nope",
    "DELETE INBOX",
    "DELETE \"\"",
    "RENAME a c",
    "RENAME c moved",
    "RENAME nope x",
    "RENAME c c/d",
    "RENAME c c",
    "RENAME c \"\"",
    "LIST \"\" c/%",
    "LSUB \"\" *",
    "COPY 1:2 moved",
    "UID COPY 90,92 moved",
    "COPY 99 moved",
    "COPY 1 nope",
    "COPY 1 INBOX",
    "MOVE 1 moved",
    "UID MOVE 99 moved",
    "MOVE 1 nope",
    "MOVE 1 INBOX",
    "STORE 1:2 +FLAGS.SILENT (\\Deleted)",
    "UID EXPUNGE 1",
    "EXPUNGE",
    "EXPUNGE",
    "UID EXPUNGE",
    "ENABLE QRESYNC",
    "STORE 1 +FLAGS (\\Deleted)",
    "STORE 2 +FLAGS.SILENT (\\Deleted)",
    "UID EXPUNGE 1:*",
    "UID STORE 7 +FLAGS.SILENT (\\Deleted)",
    "MOVE 1 moved",
    "CLOSE",
    "STATUS INBOX (MESSAGES UIDNEXT)",
    "STATUS moved (MESSAGES UIDNEXT UNSEEN)",
    "EXAMINE moved",
    "STORE 1 +FLAGS (\\Seen)",
    "EXPUNGE",
    "CLOSE",
    "SETMETADATA moved (/private/comment \"x\" /shared/vendor/y NIL)",
    "GETMETADATA moved (/private/comment /shared/vendor/y)",
    "SETMETADATA moved (/private/comment NIL)",
    "GETMETADATA moved (/private/comment)",
    "SETMETADATA \"\" (/private/comment {3+}⏎srv)",
    "SETMETADATA moved (/foo \"y\")",
    "SETMETADATA moved (/private/specialuse \"\\\\Archive\")",
    "SETMETADATA moved ()",
    "SETACL guarded bob lrw",
    "SETACL guarded bob +s",
    "SETACL guarded bob -l",
    "SETACL guarded bob lrsq",
    "SETACL guarded -bob t",
    "SETACL guarded anyone lr",
    "SETACL guarded $grp lr",
    "SETACL guarded owner lrwstipekxa",
    "SETACL guarded bob cd",
    "GETACL guarded",
    "DELETEACL guarded bob",
    "DELETEACL guarded zed",
    "SETACL nope bob lr",
    "SETACL guarded \"user1@example.test\" lr",
    "GETACL guarded",
    "RENAME INBOX old",
    "STATUS old (MESSAGES)",
    "STATUS INBOX (MESSAGES)",
    "DELETE moved",
    "STATUS moved (MESSAGES)",
];

/// Command, and why it is answered otherwise.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "CREATE useless (USE (\\Nope))",
        "is refused with USEATTR, as RFC 6154 has it",
    ),
    ("STATUS moved (MESSAGES)", "says NONEXISTENT, as 2.4 does"),
    ("SUBSCRIBE nope", "says NONEXISTENT, as RFC 5530 has it"),
    ("DELETE INBOX", "says CANNOT, as RFC 5530 has it"),
    ("DELETE \"\"", "is told what is wrong with the name"),
    ("RENAME c c/d", "says CANNOT, as RFC 5530 has it"),
];

struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    fn login(port: u16) -> Result<Talk> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut talk = Talk {
            stream: BufReader::new(stream),
        };
        talk.line()?;
        ensure!(
            talk.ask(&format!("LOGIN {USER} {PASSWORD}"))?
                .last()
                .is_some_and(|l| l.starts_with("t OK"))
        );
        Ok(talk)
    }

    /// A line, literals within.
    fn line(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        loop {
            ensure!(self.stream.read_until(b'\n', &mut bytes)? > 0, "the server closed");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let literal = text
                .strip_suffix("}\r\n")
                .and_then(|t| t.rsplit_once('{')?.1.parse::<usize>().ok());
            let Some(octets) = literal else {
                return Ok(text.trim_end().to_owned());
            };
            let start = bytes.len();
            bytes.resize(start + octets, 0);
            self.stream.read_exact(bytes.get_mut(start..).unwrap_or_default())?;
        }
    }

    fn ask(&mut self, command: &str) -> Result<Vec<String>> {
        let line = format!("t {}\r\n", command.replace('⏎', "\r\n"));
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let last = line.starts_with("t ");
            lines.extend(normal(&line));
            if last {
                return Ok(lines);
            }
            if lines.len() > 100 {
                bail!("no end: {lines:?}");
            }
        }
    }
}

/// The line without what can't be equal; none where nothing of it can.
fn normal(line: &str) -> Option<String> {
    if line.ends_with(" RECENT")
        || ["* OK [MAILBOXID", "* OK [HIGHESTMODSEQ"]
            .iter()
            .any(|code| line.starts_with(code))
    {
        return None;
    }
    let mut line = match line.rsplit_once(" (0.").filter(|_| line.ends_with(" secs).")) {
        Some((text, _)) => text.to_owned(),
        None => line.strip_suffix('.').unwrap_or(line).to_owned(),
    };
    for (word, ends) in [
        ("[UIDVALIDITY ", "]"),
        ("[APPENDUID ", " "),
        ("[COPYUID ", " "),
        ("MODSEQ (", ")"),
        ("[HIGHESTMODSEQ ", "]"),
    ] {
        line = without_number(&line, word, ends);
    }
    line = without_number(&line, "[MAILBOXID (", ")").replace("[MAILBOXID (…)] ", "");
    Some(
        line.replace(" \\Recent", "")
            .replace("\\Recent ", "")
            .replace("\\Recent", ""),
    )
}

/// `…` for what stands between `word` and the end.
fn without_number(line: &str, word: &str, ends: &str) -> String {
    let Some((before, rest)) = line.split_once(word) else {
        return line.to_owned();
    };
    let rest = rest.split_once(ends).map_or("", |(_, rest)| rest);
    format!("{before}{word}…{ends}{rest}")
}

#[test]
fn a_client_that_writes_hears_what_2_3_would_have_said() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut dovecot = Dovecot::prepare(&folder.path().join("dovecot"), Version::V2_3, Format::Sdbox, 1, "")?;
    dovecot.start()?;
    let primary = Primary::start()?;
    let (mut theirs, mut ours) = (Talk::login(dovecot.imap_port())?, Talk::login(primary.imap_port)?);
    let mut different = Vec::new();
    for command in SCRIPT {
        let (expected, got) = (theirs.ask(command)?, ours.ask(command)?);
        let known = DIFFERENT.iter().any(|(other, _)| other == command);
        if (expected != got) != known {
            different.push(format!("{command}\n  Dovecot: {expected:?}\n  primary: {got:?}"));
        }
    }
    ensure!(
        different.is_empty(),
        "{} answers:\n{}",
        different.len(),
        different.join("\n")
    );
    Ok(())
}
