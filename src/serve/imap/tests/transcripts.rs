//! Transcripts of the base protocol.

use super::house::house;
use crate::op::{Flags, Guid, MailboxName, Namespaces, Stale};
use crate::serve::server::Access;
use crate::store::embedded::view::TreeRow;

#[tokio::test]
async fn strangers_learn_nothing_and_users_get_in() {
    let house = house().await;
    let mut client = house.client().await;
    client
        .play(
            "S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR ID ENABLE IDLE LITERAL+ AUTH=PLAIN AUTH=LOGIN] mailshadow standby ready.
             C: SELECT INBOX
             S: t BAD Log in first
             C: XFOO
             S: t BAD Error in IMAP command XFOO: Unknown command
             c: *
             S: * BAD Invalid tag
             C: LOGIN ann wrong
             S: t NO [AUTHENTICATIONFAILED] Authentication failed.
             C: AUTHENTICATE PLAIN AGFubgBzZWNyZXQ
             S: t BAD Invalid base64
             C: AUTHENTICATE PLAIN
             S: +
             c: *
             S: t BAD Authentication aborted
             C: AUTHENTICATE CRAM-MD5
             S: t NO Unsupported authentication mechanism.
             C: AUTHENTICATE LOGIN
             S: + VXNlcm5hbWU6
             c: YW5u
             S: + UGFzc3dvcmQ6
             c: c2VjcmV0
             S: t OK [CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT UNSELECT CHILDREN NAMESPACE LIST-EXTENDED CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN LIST-STATUS BINARY PREVIEW STATUS=SIZE SAVEDATE OBJECTID PARTIAL LITERAL+ SPECIAL-USE QUOTA METADATA ACL RIGHTS=texk UTF8=ACCEPT COMPRESS=DEFLATE] Logged in
             C: LOGIN ann secret
             S: t BAD Already logged in
             C: NAMESPACE
             S: * NAMESPACE ((\"\" \"/\")) NIL NIL
             S: t OK Namespace completed.
             C: LOGOUT
             S: * BYE Logging out
             S: t OK Logout completed.
             S:",
        )
        .await;
}

#[tokio::test]
async fn folders_are_listed_as_dovecot_lists_them() {
    let house = house().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: LIST \"\" *
             S: * LIST (\\HasNoChildren) \"/\" INBOX
             S: * LIST (\\HasNoChildren \\Sent) \"/\" Sent
             S: * LIST (\\Noselect \\HasChildren) \"/\" a
             S: * LIST (\\Noselect \\HasChildren) \"/\" a/b
             S: * LIST (\\HasNoChildren) \"/\" a/b/t&AOQ-st
             S: * LIST (\\Noselect \\HasNoChildren) \"/\" empty
             S: t OK List completed.
             C: LIST \"a/\" %
             S: * LIST (\\Noselect \\HasChildren) \"/\" a/b
             S: t OK List completed.
             C: LIST \"\" \"\"
             S: * LIST (\\Noselect) \"/\" \"\"
             S: t OK List completed.
             C: LSUB \"\" *
             S: * LSUB () \"/\" a/b/t&AOQ-st
             S: * LSUB () \"/\" gone
             S: t OK Lsub completed.
             C: LSUB \"\" %
             S: * LSUB () \"/\" gone
             S: * LSUB (\\Noselect) \"/\" a
             S: t OK Lsub completed.
             C: STATUS inbox (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE X-GUID)
             S: * STATUS INBOX (MESSAGES 3 RECENT 0 UIDNEXT 4 UIDVALIDITY 77 UNSEEN 2 HIGHESTMODSEQ 4 SIZE 295 X-GUID 01010101010101010101010101010101)
             S: t OK Status completed.
             C: STATUS empty (MESSAGES)
             S: t NO [NONEXISTENT] Mailbox doesn't exist: empty
             C: EXAMINE \"bad&name\"
             S: t NO Mailbox name is not valid mUTF-7",
        )
        .await;
}

/// The line without its last `(0.001 + 0.000 secs).`, which must be of that form.
fn without_time(line: &str) -> &str {
    let (text, time) = line.rsplit_once(" (").unwrap();
    let ran = time.strip_suffix(" + 0.000 secs).").unwrap();
    assert!(
        ran.parse::<f64>().unwrap() > 0.0 && ran.split_once('.').unwrap().1.len() == 3,
        "{line}"
    );
    text
}

#[tokio::test]
async fn a_deleted_parent_that_dovecot_still_lists_looks_the_same_here() {
    let house = house().await;
    house.memory.change(|account| {
        for (name, guid, nonexistent_code) in [("é", [5; 16], false), ("f", [6; 16], true), ("g", [0; 16], true)] {
            account.create(&[name, "child"], 90);
            let guid = Guid(guid);
            account.tree.rows.push(TreeRow {
                name: MailboxName::of([name]),
                guid: None,
                stale: Some(Stale { guid, nonexistent_code }),
                special_use: None,
            });
        }
    });
    let mut client = house.ann().await;
    client
        .play(
            "C: LIST \"\" &AOk-
             S: * LIST (\\HasChildren) \"/\" &AOk-
             S: t OK List completed.
             C: STATUS &AOk- (X-GUID)
             S: * STATUS &AOk- (X-GUID 05050505050505050505050505050505)
             S: t OK Status completed.",
        )
        .await;
    for (command, answer) in [
        ("STATUS &AOk- (X-GUID MESSAGES)", "t NO Mailbox doesn't exist: é"),
        ("SELECT &AOk-", "t NO Mailbox doesn't exist: é"),
        ("EXAMINE f", "t NO [NONEXISTENT] Mailbox doesn't exist: f"),
        ("STATUS f (UIDNEXT)", "t NO [NONEXISTENT] Mailbox doesn't exist: f"),
        ("STATUS g (X-GUID)", "t NO [NONEXISTENT] Mailbox doesn't exist: g"),
    ] {
        client.send(&format!("t {command}\r\n")).await;
        assert_eq!(without_time(&client.line().await), answer, "{command}");
    }
}

#[tokio::test]
async fn reading_a_mailbox_marks_nothing_as_seen() {
    let house = house().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: SELECT INBOX
             S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded work)
             S: * OK [PERMANENTFLAGS ()] Read-only mailbox.
             S: * 3 EXISTS
             S: * 0 RECENT
             S: * OK [UNSEEN 2] First unseen.
             S: * OK [UIDVALIDITY 77] UIDs valid
             S: * OK [UIDNEXT 4] Predicted next UID
             S: * OK [HIGHESTMODSEQ 4] Highest
             S: * OK [MAILBOXID (01010101010101010101010101010101)] Mailbox id
             S: t OK [READ-ONLY] Select completed.
             C: FETCH 2 (BODY[TEXT] FLAGS UID)
             S: * 2 FETCH (FLAGS () UID 2 BODY[TEXT] {7}⏎hello⏎)
             S: t OK Fetch completed.
             C: UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE MODSEQ SAVEDATE X-GUID) (CHANGEDSINCE 3)
             S: * OK [HIGHESTMODSEQ 4] Highest
             S: * 3 FETCH (UID 3 FLAGS (\\Flagged work) INTERNALDATE \"17-Jul-2019 00:44:28 +0000\" RFC822.SIZE 13 MODSEQ (4) SAVEDATE \"17-Jul-2019 00:45:00 +0000\" X-GUID 00000000000000000000000000000003)
             S: t OK Fetch completed.
             C: FETCH 1 (BODY.PEEK[2] BODY.PEEK[1]<1.9> BODY.PEEK[2.MIME] BODY.PEEK[HEADER.FIELDS (to)] BODY)
             S: * 1 FETCH (BODY[2] {10}⏎<b>two</b> BODY[1]<1> {2}⏎ne BODY[2.MIME] {27}⏎Content-Type: text/html⏎⏎ BODY[HEADER.FIELDS (TO)] {23}⏎To: bob@example.net⏎⏎ BODY ((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0)(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 0) \"mixed\"))
             S: t OK Fetch completed.
             C: FETCH 4 FLAGS
             S: t BAD Error in IMAP command FETCH: Invalid messageset
             C: FETCH 1 (FLAGS
             S: t BAD Error in IMAP command FETCH: Missing ')'
             C: UNSELECT
             S: t OK Unselect completed.
             C: FETCH 1 FLAGS
             S: t BAD No mailbox selected",
        )
        .await;
}

#[tokio::test]
async fn searches_find_by_flag_text_date_and_number() {
    let house = house().await;
    let mut client = house.ann().await;
    client.send("x EXAMINE INBOX (CONDSTORE)\r\n").await;
    client.until("x OK").await;
    let cases = [
        ("SEARCH UNSEEN", "* SEARCH 2 3"),
        ("SEARCH NOT (SEEN) KEYWORD WORK", "* SEARCH 3"),
        ("UID SEARCH OR 1 UID 3:*", "* SEARCH 1 3"),
        ("SEARCH SUBJECT \"GRÜN\"", "* SEARCH 1"),
        ("SEARCH HEADER Subject \"\"", "* SEARCH 1 2"),
        ("SEARCH BODY two", "* SEARCH 1"),
        ("SEARCH TEXT \"no header\"", "* SEARCH 3"),
        ("SEARCH FROM ann@ TO bob", "* SEARCH 1"),
        ("SEARCH SENTON 1-Feb-2022", "* SEARCH 1"),
        (
            "SEARCH SINCE 17-Jul-2019 BEFORE 18-Jul-2019 SMALLER 100",
            "* SEARCH 2 3",
        ),
        ("SEARCH MODSEQ 3", "* SEARCH 2 3 (MODSEQ 4)"),
        (
            "SEARCH RETURN (MIN MAX COUNT) ALL",
            "* ESEARCH (TAG \"t\") MIN 1 MAX 3 COUNT 3",
        ),
        ("UID SEARCH RETURN () 2:3", "* ESEARCH (TAG \"t\") UID ALL 2:3"),
        ("SEARCH OLD YOUNGER 5", "* SEARCH"),
        ("SEARCH 9", "* SEARCH"),
    ];
    for (command, answer) in cases {
        client.send(&format!("t {command}\r\n")).await;
        assert_eq!(client.line().await, answer, "{command}");
        assert_eq!(client.line().await, "t OK Search completed.");
    }
    client
        .play(
            "C: SEARCH CHARSET KOI8-R TEXT x
             S: t NO [BADCHARSET (UTF-8 US-ASCII)] Unknown charset
             C: SEARCH FOO
             S: t BAD Error in IMAP command SEARCH: Unknown argument FOO",
        )
        .await;
}

#[tokio::test]
async fn writes_are_refused_without_taking_the_message() {
    let house = house().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: APPEND INBOX (\\Seen) {5}
             S: t NO [NOPERM] Read-only: this is a standby; writes go to the primary
             C: APPEND INBOX {5+}
             c: xxx
             c: 
             S: t NO [NOPERM] Read-only: this is a standby; writes go to the primary
             C: CREATE x
             S: t NO [NOPERM] Read-only: this is a standby; writes go to the primary
             C: UID STORE 1 +FLAGS (\\Seen)
             S: t NO [NOPERM] Read-only: this is a standby; writes go to the primary
             C: NOOP
             S: t OK NOOP completed.",
        )
        .await;
}

#[tokio::test]
async fn an_idle_client_hears_of_what_is_applied() {
    let house = house().await;
    let mut client = house.ann().await;
    client.send("x EXAMINE INBOX (CONDSTORE)\r\n").await;
    client.until("x OK").await;
    client.play("C: IDLE\nS: + idling").await;
    house.memory.change(|account| account.mailbox(1).expunge(2));
    client.play("S: * 2 EXPUNGE").await;
    house.memory.change(|account| {
        account.mailbox(1).deliver(b"\r\nnew\r\n", Flags::NONE, &["fresh"]);
        account.mailbox(1).edit(1, |m| m.flags = Flags::NONE);
    });
    client
        .play(
            "S: * 3 EXISTS
             S: * 0 RECENT
             S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded work fresh)
             S: * 1 FETCH (MODSEQ (7) FLAGS ($Forwarded))
             c: DONE
             S: t OK Idle completed.
             C: UID FETCH 4 BODY.PEEK[]
             S: * 3 FETCH (UID 4 BODY[] {7}⏎⏎new⏎)
             S: t OK Fetch completed.",
        )
        .await;
}

#[tokio::test]
async fn a_body_that_has_not_come_is_said_to_be_missing_and_never_invented() {
    let house = house().await;
    house.memory.change(|account| {
        let message = account.mailbox(1).messages.get_mut(&2).unwrap();
        message.detail.body_pending = true;
        message.detail.size = None;
        message.octets = None;
    });
    let mut client = house.ann().await;
    client.send("x EXAMINE INBOX\r\n").await;
    client.until("x OK").await;
    client
        .play(
            "C: UID FETCH 2:3 (FLAGS RFC822.SIZE BODY.PEEK[])
             S: * 2 FETCH (UID 2 FLAGS ())
             S: * 3 FETCH (UID 3 FLAGS (\\Flagged work) RFC822.SIZE 13 BODY[] {13}⏎⏎no header⏎)
             S: t NO [UNAVAILABLE] The content of some messages has not arrived on this standby
             C: SEARCH BODY hello
             S: * SEARCH
             S: t OK Search completed.",
        )
        .await;
}

#[tokio::test]
async fn a_message_expunged_meanwhile_is_not_taken_for_pending() {
    let house = house().await;
    let mut client = house.ann().await;
    client.send("x EXAMINE INBOX\r\n").await;
    client.until("x OK").await;
    house.memory.change(|account| account.mailbox(1).expunge(2));
    client
        .play(
            "C: FETCH 2 (UID BODY.PEEK[])
             S: * 2 FETCH (UID 2)
             S: t NO [EXPUNGEISSUED] Some of the requested messages no longer exist.
             C: NOOP
             S: * 2 EXPUNGE
             S: t OK NOOP completed.",
        )
        .await;
}

#[tokio::test]
async fn a_mailbox_that_is_deleted_or_renumbered_under_a_session_ends_it() {
    let house = house().await;
    let (mut first, mut second) = (house.ann().await, house.ann().await);
    for client in [&mut first, &mut second] {
        client.send("x EXAMINE INBOX\r\n").await;
        client.until("x OK").await;
    }
    house.memory.change(|account| account.mailbox(1).uidvalidity = 99);
    first.play("C: NOOP\nS: * BYE Mailbox was deleted under us.\nS:").await;
    house.memory.change(|account| {
        account.boxes.remove(&1);
    });
    second.play("C: NOOP\nS: * BYE Mailbox was deleted under us.\nS:").await;
}

#[tokio::test]
async fn a_node_that_may_not_serve_says_bye_at_once() {
    let house = house().await;
    let mut waiting = house.ann().await;
    *house.access.lock().unwrap() = Access::Closed("This node is fenced".into());
    waiting.play("S: * BYE [UNAVAILABLE] This node is fenced\nS:").await;
    let mut late = house.client().await;
    late.play("S: * BYE [UNAVAILABLE] This node is fenced\nS:").await;
}

#[tokio::test]
async fn a_shutdown_ends_sessions_with_bye() {
    let house = house().await;
    let mut client = house.ann().await;
    house.shutdown.send(true).unwrap();
    client.play("S: * BYE Server shutting down.\nS:").await;
}

#[tokio::test]
async fn names_of_a_source_with_another_separator_are_its_own() {
    let house = house().await;
    house.memory.change(|account| {
        account.tree.namespaces = Namespaces {
            separator: '.',
            prefixes: vec!["INBOX.".to_owned(), "R&é.".to_owned()],
        };
        account.create(&["INBOX", "a/b", "c"], 80);
        account.tree.subscribed = vec![MailboxName::of(["INBOX", "a/b", "c"]), MailboxName::of(["Sent"])];
    });
    let mut client = house.ann().await;
    client
        .play(
            "C: NAMESPACE
             S: * NAMESPACE ((\"INBOX.\" \".\")(\"R&-&AOk-.\" \".\")) NIL NIL
             S: t OK Namespace completed.
             C: LIST \"\" %
             S: * LIST (\\HasChildren) \".\" INBOX
             S: * LIST (\\Noselect \\HasNoChildren) \".\" R&-&AOk-
             S: * LIST (\\HasNoChildren \\Sent) \".\" Sent
             S: * LIST (\\Noselect \\HasChildren) \".\" a
             S: * LIST (\\Noselect \\HasNoChildren) \".\" empty
             S: t OK List completed.
             C: LIST \"\" inbox.%
             S: * LIST (\\Noselect \\HasChildren) \".\" INBOX.a/b
             S: t OK List completed.
             C: LIST \"inbox.a/b.x\" \"\"
             S: * LIST (\\Noselect) \".\" inbox.
             S: t OK List completed.
             C: LSUB \"\" S*
             S: * LSUB (\\Sent) \".\" Sent
             S: t OK Lsub completed.
             C: LSUB \"\" INBOX.%
             S: * LSUB (\\Noselect) \".\" INBOX.a/b
             S: t OK Lsub completed.
             C: STATUS INBOX.a/b.c (MESSAGES)
             S: * STATUS INBOX.a/b.c (MESSAGES 0)
             S: t OK Status completed.
             C: STATUS INBOX/a/b/c (MESSAGES)
             S: t NO [NONEXISTENT] Mailbox doesn't exist: INBOX/a/b/c
             C: GETQUOTAROOT inbox.a/b.c
             S: * QUOTAROOT INBOX.a/b.c
             S: t OK Getquotaroot completed.",
        )
        .await;
    house.memory.change(|account| account.tree.namespaces.separator = '\\');
    // A session keeps to what it was told, until it is told otherwise.
    client
        .play(
            "C: STATUS INBOX.a/b.c (MESSAGES)
             S: * STATUS INBOX.a/b.c (MESSAGES 0)
             S: t OK Status completed.
             C: LIST \"\" *c
             S: * LIST (\\HasNoChildren) \"\\\\\" \"INBOX\\\\a/b\\\\c\"
             S: t OK List completed.
             C: STATUS \"INBOX\\\\a/b\\\\c\" (MESSAGES)
             S: * STATUS \"INBOX\\\\a/b\\\\c\" (MESSAGES 0)
             S: t OK Status completed.",
        )
        .await;
}
