//! The same questions to Dovecot and to the copy's front end: the answers are the same.

use crate::pair;
use anyhow::{Context, ensure};
use testbed::Result;
use testbed::dovecot::{Format, PASSWORD, Version};
use testbed::imap::{Imap, Value};

const USER: &str = "user1@example.test";

/// From, To, Subject, Date, Message-ID, References: what is sorted and threaded by.
const LETTERS: &[[&str; 6]] = &[
    [
        "Zoe <z@a.org>",
        "one@x.org",
        "apples",
        "Mon, 1 Sep 2025 10:00:00 +0200",
        "a1",
        "",
    ],
    [
        "bob <bob@b.org>",
        "two@x.org",
        "Re: apples",
        "Mon, 1 Sep 2025 11:00:00 +0200",
        "a2",
        "<a1@t>",
    ],
    [
        "anna@c.org",
        "Three <three@x.org>",
        "RE: [list] apples",
        "Mon, 1 Sep 2025 09:00:00 -0500",
        "a3",
        "<a1@t> <a2@t>",
    ],
    [
        "\"Carl, Jr\" <carl@d.org>",
        "one@x.org",
        "Fwd: apples (fwd)",
        "Tue, 2 Sep 2025 10:00:00 +0200",
        "a4",
        "<a1@t>",
    ],
    [
        "=?utf-8?q?J=C3=BCrgen?= <j@e.org>",
        "b@x.org, a@x.org",
        "=?utf-8?q?gr=C3=BCn?=",
        "nonsense",
        "b1",
        "",
    ],
    [
        "dora@f.org",
        "",
        "oranges",
        "Wed, 3 Sep 2025 10:00:00 +0000",
        "c1",
        "<missing@t>",
    ],
    [
        "dora@f.org",
        "x@x.org",
        "lemons",
        "Wed, 3 Sep 2025 09:00:00 +0000",
        "c2",
        "<missing@t>",
    ],
    [
        "emil@g.org",
        "x@x.org",
        "re: oranges",
        "Thu, 4 Sep 2025 10:00:00 +0000",
        "c3",
        "<c1@t>",
    ],
    ["emil@g.org", "x@x.org", "", "Thu, 4 Sep 2025 11:00:00 +0000", "d1", ""],
    ["fred@h.org", "x@x.org", "", "Thu, 4 Sep 2025 08:00:00 +0000", "d2", ""],
    [
        "gina@i.org",
        "x@x.org",
        "[list] news",
        "Fri, 5 Sep 2025 08:00:00 +0000",
        "e1",
        "<e2@t>",
    ],
    [
        "hans@j.org",
        "x@x.org",
        "news",
        "Fri, 5 Sep 2025 07:00:00 +0000",
        "e2",
        "<e1@t>",
    ],
    [
        "ida@k.org",
        "x@x.org",
        "Re: pears",
        "Sat, 6 Sep 2025 07:00:00 +0000",
        "f1",
        "",
    ],
    [
        "kurt@l.org",
        "x@x.org",
        "pears",
        "Sat, 6 Sep 2025 08:00:00 +0000",
        "f2",
        "",
    ],
    [
        "lena@m.org",
        "x@x.org",
        "pears",
        "Sat, 6 Sep 2025 06:00:00 +0000",
        "f3",
        "",
    ],
    [
        "MAX@n.org",
        "x@x.org",
        "Apples",
        "Sun, 7 Sep 2025 06:00:00 +0000",
        "a1",
        "<f1@t> <a2@t>",
    ],
];

/// Questions that need no mailbox.
const OUTSIDE: &[&str] = &[
    "LIST \"\" \"\"",
    "LIST \"\" *",
    "LIST \"\" %",
    "LIST \"work/\" %",
    "LIST \"\" (\"INBOX\" \"work*\")",
    "LIST (SUBSCRIBED) \"\" *",
    "LIST (SUBSCRIBED) \"\" %",
    "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %",
    "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" *",
    "LIST (SUBSCRIBED) \"\" * RETURN (CHILDREN SPECIAL-USE)",
    "LIST \"\" * RETURN (SUBSCRIBED CHILDREN)",
    "LIST \"\" * RETURN ()",
    "LIST \"\" % RETURN (STATUS (MESSAGES UNSEEN))",
    "LIST (RECURSIVEMATCH) \"\" *",
    "LIST (FOO) \"\" *",
    "LSUB \"\" *",
    "LSUB \"\" %",
    "LSUB \"\" work*",
    "LSUB \"work/\" %",
    "LSUB \"\" deep",
    "STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN SIZE)",
    "STATUS nowhere (MESSAGES)",
    "STATUS work/plans (UIDVALIDITY)",
    "NAMESPACE",
    "UNSELECT",
    "FETCH 1 FLAGS",
    "SEARCH ALL",
];

/// Questions to the INBOX.
const INSIDE: &[&str] = &[
    "SORT (ARRIVAL) UTF-8 ALL",
    "SORT (REVERSE ARRIVAL) UTF-8 ALL",
    "SORT (DATE) UTF-8 ALL",
    "SORT (REVERSE DATE) UTF-8 ALL",
    "SORT (SUBJECT) UTF-8 ALL",
    "SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
    "SORT (FROM) UTF-8 ALL",
    "SORT (REVERSE FROM) UTF-8 ALL",
    "SORT (TO) UTF-8 ALL",
    "SORT (CC) UTF-8 ALL",
    "SORT (SIZE) UTF-8 ALL",
    "SORT (REVERSE SIZE SUBJECT) US-ASCII ALL",
    "SORT (DISPLAYFROM) UTF-8 ALL",
    "SORT (DISPLAYTO) UTF-8 ALL",
    "UID SORT (SUBJECT) UTF-8 UNSEEN",
    "SORT RETURN (MIN MAX COUNT) (SUBJECT) UTF-8 ALL",
    "SORT RETURN () (REVERSE ARRIVAL) UTF-8 1:5",
    "UID SORT RETURN (ALL) (DATE) UTF-8 2:9",
    "SORT (FOO) UTF-8 ALL",
    "SORT () UTF-8 ALL",
    "SORT (DATE) UTF-8 DELETED",
    "THREAD REFERENCES UTF-8 ALL",
    "THREAD REFS UTF-8 ALL",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "UID THREAD REFERENCES UTF-8 2:9",
    "THREAD REFERENCES UTF-8 DELETED",
    "THREAD FOO UTF-8 ALL",
    "THREAD ORDEREDSUBJECT UTF-8 UNSEEN",
    "SEARCH ALL",
    "SEARCH UNSEEN",
    "SEARCH SEEN FLAGGED",
    "SEARCH OR FLAGGED KEYWORD work",
    "SEARCH NOT 1:3",
    "UID SEARCH 3:5,7",
    "UID SEARCH UID 4:*",
    "SEARCH UNKEYWORD work",
    "SEARCH FROM anna",
    "SEARCH TO three",
    "SEARCH SUBJECT apples",
    "SEARCH SUBJECT \"\"",
    "SEARCH HEADER Message-ID a1",
    "SEARCH HEADER X-None \"\"",
    "SEARCH BODY number",
    "SEARCH TEXT dora",
    "SEARCH CHARSET UTF-8 SUBJECT {5+}\r\ngrün",
    "SEARCH LARGER 300",
    "SEARCH SMALLER 300",
    "SEARCH SENTON 1-Sep-2025",
    "SEARCH SENTSINCE 4-Sep-2025",
    "SEARCH SENTBEFORE 2-Sep-2025",
    "SEARCH SINCE 5-Mar-2024",
    "SEARCH BEFORE 5-Mar-2024",
    "SEARCH ON 5-Mar-2024",
    "SEARCH YOUNGER 100",
    "SEARCH OLDER 100",
    "SEARCH RETURN (MIN) UNSEEN",
    "SEARCH RETURN (MAX) UNSEEN",
    "SEARCH RETURN (ALL COUNT) UNSEEN",
    "SEARCH RETURN () ALL",
    "UID SEARCH RETURN (MIN MAX ALL COUNT) ALL",
    "SEARCH RETURN (COUNT) DELETED",
    "SEARCH RETURN (ALL) DELETED",
    "SEARCH RETURN (SAVE) UNSEEN",
    "SEARCH $",
    "FETCH $ (UID)",
    "UID SEARCH RETURN (SAVE COUNT) 2:4",
    "UID FETCH $ FLAGS",
    "SEARCH RETURN (SAVE MIN) UNSEEN",
    "SEARCH RETURN (ALL) $ FLAGGED",
    "SEARCH RETURN (FOO) ALL",
    "SEARCH FOO",
    "SEARCH",
    "SEARCH FUZZY SUBJECT apples",
    "SEARCH NEW",
    "SEARCH OLD ANSWERED",
    "SEARCH DELETED",
    "SEARCH DRAFT",
    "SEARCH 99",
    "SEARCH UID 99999",
    "UID SEARCH NOT UID 1:5 SUBJECT pears",
    "FETCH 1:* (FLAGS)",
    "UID FETCH 3:5 (FLAGS INTERNALDATE RFC822.SIZE)",
    "FETCH 1:3 FAST",
    "FETCH 2 ALL",
    "FETCH 2 FULL",
    "FETCH 17 (BINARY.PEEK[1] BINARY.SIZE[1])",
    "FETCH 17 (BINARY.PEEK[2])",
    "FETCH 17 BINARY.PEEK[2]<1.3>",
    "FETCH 17 (BINARY.SIZE[2] BODY.PEEK[2])",
    "FETCH 1,3,5 (PREVIEW)",
    "FETCH 17 (PREVIEW)",
    "FETCH 99 FLAGS",
    "UID FETCH 99999 FLAGS",
    "FETCH 1 FOO",
    "FETCH 1 (FLAGS) (CHANGEDSINCE 1)",
    "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
    "CHECK",
];

fn letter(fields: [&str; 6], number: usize) -> String {
    let [from, to, subject, date, id, references] = fields;
    let mut text = format!("From: {from}\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{id}@t>\r\n");
    if !to.is_empty() {
        text.push_str(&format!("To: {to}\r\n"));
    }
    if !references.is_empty() {
        text.push_str(&format!("References: {references}\r\n"));
    }
    let lines = "a line of text\r\n".repeat(number % 5);
    format!("{text}\r\nThis is number {number}.\r\n{lines}> quoted\r\n")
}

const PARTS: &str = "From: p@p.org\r\nSubject: parts\r\nDate: Mon, 8 Sep 2025 06:00:00 +0000\r\nMessage-ID: <p@t>\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BCn =\r\nund gut\r\n--b\r\nContent-Type: application/x-bytes\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nAQIDBAUGBw==\r\n--b--\r\n";

fn fill(imap: &mut Imap) -> Result<()> {
    // from its first message on Dovecot keeps a MODSEQ for each
    imap.run("SELECT INBOX (CONDSTORE)")?.must()?;
    for (number, fields) in (1..).zip(LETTERS.iter().copied()) {
        let flags = match number % 4 {
            0 => "",
            1 => "(\\Seen) ",
            2 => "(\\Flagged work) ",
            _ => "(\\Seen \\Answered) ",
        };
        let date = format!("\"{:02}-Mar-2024 10:00:{:02} +0000\" ", 1 + (number * 7) % 20, number);
        imap.append("INBOX", &format!("{flags}{date}"), letter(fields, number).as_bytes())?
            .must()?;
    }
    imap.append("INBOX", "", PARTS.as_bytes())?.must()?;
    for name in ["work/plans", "work/plans/deep/er", "Sent", "t&AOQ-st", "lonely"] {
        imap.run(&format!("CREATE \"{name}\""))?.must()?;
    }
    for name in ["work/plans/deep/er", "INBOX", "nowhere/gone", "t&AOQ-st", "work/plans"] {
        imap.run(&format!("SUBSCRIBE \"{name}\""))?;
    }
    // what is recent is told to one session only: this one
    imap.select("INBOX")?.must()?;
    imap.run("UNSELECT")?.must()?;
    Ok(())
}

/// The answers, and how the command ended, but for the words of its last line. Names are listed in no order, and whether
/// a listed mailbox has news is for each server to say or not.
fn asked(imap: &mut Imap, question: &str) -> String {
    match imap.run(question) {
        Ok(reply) => {
            let lines = reply.untagged.into_iter().map(without_marks);
            let mut lines: Vec<String> = lines.map(|line| format!("{line:?}")).collect();
            if question.starts_with('L') {
                lines.sort();
            }
            format!("{:?} {lines:?}", reply.status)
        }
        Err(error) => {
            let text = format!("{error:#}");
            if text.contains("BAD") { "BAD".to_owned() } else { text }
        }
    }
}

fn without_marks(line: Vec<Value>) -> Vec<Value> {
    let words = line.into_iter().map(|word| match word {
        Value::List(words) => Value::List(words.into_iter().filter(|w| !w.is("\\UnMarked")).collect()),
        other => other,
    });
    words.collect()
}

fn the_same_answers(version: Version, format: Format) -> Result<()> {
    let mut pair = pair(version, format, 1)?;
    fill(&mut pair.source.imap(USER)?)?;
    pair.start_nodes()?;
    pair.wait()?;
    let mut source = pair.source.imap(USER)?;
    let mut copy = Imap::login(pair.standby()?.imap_port(), USER, PASSWORD)?;
    let mut different = Vec::new();
    let mut compare = |source: &mut Imap, copy: &mut Imap, question: &str| {
        let (expected, got) = (asked(source, question), asked(copy, question));
        if expected != got {
            different.push(format!("{question}\n  Dovecot: {expected}\n  copy:    {got}"));
        }
    };
    for question in OUTSIDE {
        compare(&mut source, &mut copy, question);
    }
    for imap in [&mut source, &mut copy] {
        imap.run("EXAMINE INBOX")?.must().context("EXAMINE")?;
    }
    for question in INSIDE {
        compare(&mut source, &mut copy, question);
    }
    ensure!(
        different.is_empty(),
        "{} of the answers differ:\n{}",
        different.len(),
        different.join("\n")
    );
    Ok(())
}

#[test]
fn a_client_that_asks_the_copy_learns_what_2_3_would_have_said() -> Result<()> {
    the_same_answers(Version::V2_3, Format::Sdbox)
}
