//! Short histories of folders and flags, each with a twist, played before the first copy and again while it is live.

use crate::{pair, pair_with, programs};
use anyhow::{Context, ensure};
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::imap::Imap;

const USER: &str = "user1@example.test";

/// Commands on names that begin with `@`, which stands for a folder of the history's own. `+ NAME` appends a message.
const FOLDERS: [&[&str]; 12] = [
    // Another mailbox under the same name, twice.
    &[
        "CREATE @a",
        "+ @a",
        "DELETE @a",
        "CREATE @a",
        "+ @a",
        "DELETE @a",
        "CREATE @a",
    ],
    // A name taken over from one that was deleted.
    &["CREATE @a", "+ @a", "CREATE @b", "+ @b", "DELETE @b", "RENAME @a @b"],
    // Three names passed round.
    &[
        "CREATE @a",
        "+ @a",
        "CREATE @b",
        "CREATE @c",
        "+ @c",
        "RENAME @a @t",
        "RENAME @b @a",
        "RENAME @c @b",
        "RENAME @t @c",
    ],
    // A parent that is renamed below a new one, and its child back.
    &[
        "CREATE @p/c/d",
        "+ @p/c/d",
        "CREATE @q",
        "RENAME @p @q/p",
        "RENAME @q/p/c @c",
        "+ @c/d",
    ],
    &["CREATE @p", "RENAME @p @p/c"],
    &["CREATE @case", "+ @case", "RENAME @case @CASE", "CREATE @case"],
    // One letter in two forms.
    &["CREATE @&AOk-", "+ @&AOk-", "RENAME @&AOk- @e&AwE-", "CREATE @&AOk-"],
    &[
        "CREATE @p",
        "+ @p",
        "CREATE @p/c",
        "+ @p/c",
        "SUBSCRIBE @p",
        "DELETE @p",
        "SUBSCRIBE @p/c",
        "UNSUBSCRIBE @p",
    ],
    &[
        "CREATE @a",
        "SUBSCRIBE @a",
        "RENAME @a @b",
        "SUBSCRIBE @b",
        "DELETE @b",
        "CREATE @a",
    ],
    &[
        "CREATE @a",
        "RENAME @a @b",
        "RENAME @b @c",
        "RENAME @c @d",
        "+ @d",
        "RENAME @d @a",
        "RENAME @a @a",
        "CREATE @a",
    ],
    // INBOX gives all it has away, and goes on.
    &[
        "+ INBOX",
        "+ INBOX",
        "RENAME INBOX @was",
        "+ INBOX",
        "DELETE INBOX",
        "RENAME @was @were",
        "CREATE INBOX/@below",
    ],
    // Came and went at once, between others that stay.
    &["CREATE @x", "CREATE @y", "DELETE @x", "CREATE @z", "DELETE @z", "+ @y"],
];

/// What is done to the messages 1 to 6 of a folder; the second client's commands begin with `2 `.
const FLAGS: [&str; 26] = [
    "STORE 1 +FLAGS (passing)",
    "STORE 1 -FLAGS (passing)",
    "STORE 2 FLAGS (one two \\Seen)",
    "STORE 2 FLAGS (three)",
    "STORE 2 FLAGS ()",
    "STORE 3 +FLAGS (\\Seen)",
    "STORE 3 +FLAGS (\\SEEN)",
    "STORE 4 +FLAGS (Mixed)",
    "2 STORE 4 +FLAGS (mIXED other)",
    "STORE 5 +FLAGS (MIXED)",
    "STORE 1:6 +FLAGS (a b c d e f g h i j k l m n o p q r s t u v w x y z aa ab ac ad ae af ag)",
    "STORE 1,3,5 -FLAGS (b d f h)",
    "STORE 2:4 +FLAGS.SILENT (quiet)",
    "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (never)",
    "STORE 6 +FLAGS ($Forwarded $MDNSent a:b a=b &AOk- 4294967296 ~x <x> !)",
    "COPY 2,4,6 @copy",
    "STORE 6 +FLAGS (last \\Deleted)",
    "2 STORE 6 -FLAGS (last)",
    "EXPUNGE",
    "2 STORE 6 +FLAGS (gone)",
    "NOOP",
    "2 NOOP",
    "STORE 1:* +FLAGS (\\Answered)",
    "2 STORE 1 FLAGS (\\Flagged a)",
    "MOVE 5 @copy",
    "COPY 1:4 @copy",
];
/// INTERNALDATEs at the ends of what some store can write.
const DATES: [&str; 8] = [
    " 1-Feb-2022 03:04:05 +0545",
    "01-Jan-1970 00:00:00 +0000",
    "31-Dec-1969 23:59:59 +0000",
    "01-Jan-1900 00:00:00 +0000",
    "19-Jan-2038 03:14:08 +0000",
    "07-Feb-2106 06:28:16 +0000",
    "31-Dec-9999 23:59:59 +0000",
    "29-Feb-2024 23:59:60 -1200",
];

fn append(imap: &mut Imap, name: &str, arguments: &str) -> Result<()> {
    // A server may refuse some of the dates.
    let reply = imap.append(name, arguments, format!("Subject: {name}\r\n\r\ntext\r\n").as_bytes())?;
    ensure!(reply.is_ok() || !arguments.is_empty(), "APPEND {name}: {}", reply.text);
    Ok(())
}

/// What a server refuses is part of the history.
fn play_folders(imap: &mut Imap, round: &str) -> Result<()> {
    for (number, history) in FOLDERS.iter().enumerate() {
        let own = format!("{round}{number}");
        for line in *history {
            let line = line.replace('@', &own);
            match line.strip_prefix("+ ") {
                Some(name) => append(imap, name, "")?,
                None => drop(imap.run(&line)?),
            }
        }
        imap.run("LIST \"\" *")?.must()?;
    }
    Ok(())
}

fn play_flags(source: &Dovecot, round: &str) -> Result<()> {
    let (mut first, mut second) = (source.imap(USER)?, source.imap(USER)?);
    let (name, copy) = (format!("{round}flags"), format!("{round}copy"));
    for folder in [&name, &copy] {
        first.run(&format!("CREATE {folder}"))?.must()?;
    }
    (0..6).try_for_each(|_| append(&mut first, &name, ""))?;
    for client in [&mut first, &mut second] {
        client.select(&name)?.must()?;
    }
    for line in FLAGS {
        let line = line.replace('@', round);
        match line.strip_prefix("2 ") {
            Some(line) => second.run(line)?,
            None => first.run(&line)?,
        };
    }
    DATES
        .iter()
        .try_for_each(|date| append(&mut first, &copy, &format!("(dated) \"{date}\" ")))
}

fn sequences(version: Version, format: Format) -> Result<()> {
    let mut pair = pair(version, format, 1)?;
    let mut imap = pair.source.imap(USER)?;
    play_folders(&mut imap, "before")?;
    play_flags(&pair.source, "before")?;
    pair.start_nodes()?;
    pair.wait()?;
    play_folders(&mut imap, "live")?;
    play_flags(&pair.source, "live")?;
    pair.wait()?;
    pair.primary.ask(&["verify", "--deep"])?;
    let truth = pair.settle_and_compare()?;
    let (mailboxes, messages) = (truth.mailboxes(), truth.messages());
    ensure!(
        mailboxes > 40 && messages > 60,
        "only {mailboxes} mailboxes and {messages} messages"
    );
    Ok(())
}

#[test]
fn sequences_of_2_3_maildir() -> Result<()> {
    sequences(Version::V2_3, Format::Maildir)
}

#[test]
fn sequences_of_2_4_mdbox() -> Result<()> {
    sequences(Version::V2_4, Format::Mdbox)
}

/// Half of the mail is moved to the second storage before the copy begins, the rest while it is live: no message changes
/// by that, and bodies are found where they are now.
fn second_storage(version: Version, format: Format, extra: &str) -> Result<()> {
    let mut pair = pair_with(&programs(), version, format, extra)?;
    let mut imap = pair.source.imap(USER)?;
    imap.run("CREATE work/deep")?.must()?;
    for name in ["INBOX", "work/deep"] {
        (0..6).try_for_each(|_| append(&mut imap, name, ""))?;
    }
    pair.source.doveadm(&["altmove", "-u", USER, "1:3"])?;
    pair.start_nodes()?;
    pair.wait()?;
    (0..2).try_for_each(|_| append(&mut imap, "work/deep", ""))?;
    pair.source.doveadm(&["altmove", "-u", USER, "4:7"])?;
    imap.select("work/deep")?.must()?;
    imap.run("MOVE 1,5 INBOX")?.must()?;
    imap.run("STORE 2 +FLAGS (\\Deleted)")?.must()?;
    imap.run("EXPUNGE")?.must()?;
    if format == Format::Mdbox {
        pair.source.doveadm(&["purge", "-u", USER])?;
    }
    pair.wait()?;
    let moved = pair.source.home(USER).join("second");
    let mut entries = std::fs::read_dir(&moved).with_context(|| format!("nothing in {}", moved.display()))?;
    ensure!(entries.next().is_some(), "nothing was moved");
    pair.primary.ask(&["verify", "--deep"])?;
    let truth = pair.settle_and_compare()?;
    assert_eq!(truth.messages(), 13);
    Ok(())
}

#[test]
fn second_storage_of_2_3_sdbox() -> Result<()> {
    second_storage(
        Version::V2_3,
        Format::Sdbox,
        "mail_location = sdbox:~/sdbox:ALT=~/second\n",
    )
}

#[test]
fn second_storage_of_2_4_mdbox_with_index_and_control_files_apart() -> Result<()> {
    let extra = "mail_alt_path = ~/second\nmail_index_path = ~/index\nmail_control_path = ~/control\n";
    second_storage(Version::V2_4, Format::Mdbox, extra)
}
