//! Transcripts of commands that change something, on a primary.

use super::house::{Client, House, house, primary, primary_with};
use crate::limits::INTAKE_MESSAGE_BYTES_MAX;
use crate::op::Flags;
use crate::serve::server::{Access, ServeLimits};
use std::sync::Arc;
use std::time::Duration;

/// A client in the INBOX of a primary.
async fn in_inbox() -> (House, Client) {
    let house = primary().await;
    let mut client = house.ann().await;
    client.send("x SELECT INBOX\r\n").await;
    client.until("x OK [READ-WRITE]").await;
    (house, client)
}

#[tokio::test]
async fn a_primary_says_what_it_takes() {
    let house = primary().await;
    let mut client = house.client().await;
    assert!(client.line().await.ends_with("] mailshadow ready."));
    client.send("t LOGIN ann secret\r\n").await;
    let offered = client.line().await;
    assert!(
        offered.contains(" UIDPLUS MULTIAPPEND MOVE REPLACE CREATE-SPECIAL-USE APPENDLIMIT=67108864 COMPRESS=DEFLATE]"),
        "{offered}"
    );
    client
        .play(
            "C: SELECT INBOX
             S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded work)
             S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded work \\*)] Flags permitted.
             S: * 3 EXISTS
             S: * 0 RECENT
             S: * OK [UNSEEN 2] First unseen.
             S: * OK [UIDVALIDITY 77] UIDs valid
             S: * OK [UIDNEXT 4] Predicted next UID
             S: * OK [HIGHESTMODSEQ 4] Highest
             S: * OK [MAILBOXID (01010101010101010101010101010101)] Mailbox id
             S: t OK [READ-WRITE] Select completed.
             C: STATUS INBOX (APPENDLIMIT)
             S: * STATUS INBOX (APPENDLIMIT 67108864)
             S: t OK Status completed.",
        )
        .await;
}

#[tokio::test]
async fn messages_are_appended_with_their_flags_and_dates() {
    let (_house, mut client) = in_inbox().await;
    client
        .play("C: APPEND INBOX (\\Seen work) \"17-Jul-2019 02:44:25 +0200\" {7}\nS: + OK")
        .await;
    client.send("a\nb\0\nc\r\r\n").await;
    client
        .play(
            "S: * 4 EXISTS
             S: * 0 RECENT
             S: t OK [APPENDUID 77 4] Append completed.
             C: FETCH 4 (UID FLAGS INTERNALDATE BODY.PEEK[])
             S: * 4 FETCH (UID 4 FLAGS (\\Seen work) INTERNALDATE \"17-Jul-2019 00:44:25 +0000\" BODY[] {9}⏎a⏎b\u{fffd}⏎c\r)
             S: t OK Fetch completed.
             C: APPEND INBOX {3+}
             c: one (\\Flagged) ~{3+}
             c: two
             S: * 6 EXISTS
             S: * 0 RECENT
             S: t OK [APPENDUID 77 5:6] Append completed.
             C: APPEND {4+}
             c: Sent {3+}
             c: one
             S: t OK [APPENDUID 79 1] Append completed.",
        )
        .await;
}

#[tokio::test]
async fn a_message_that_may_not_come_is_refused_before_it_is_sent() {
    let (house, mut client) = in_inbox().await;
    let huge = INTAKE_MESSAGE_BYTES_MAX + 1;
    for (command, answer) in [
        (
            "APPEND nope {20}".to_owned(),
            "t NO [TRYCREATE] Mailbox doesn't exist: nope",
        ),
        (
            format!("APPEND INBOX {{{huge}}}"),
            "t NO [TOOBIG] Messages of more than 67108864 bytes are not taken",
        ),
        (
            "APPEND INBOX (\\Foo) {20}".to_owned(),
            "t BAD Error in IMAP command APPEND: Invalid system flag \\FOO",
        ),
        (
            "APPEND INBOX \"yesterday\" {20}".to_owned(),
            "t BAD Error in IMAP command APPEND: Invalid internal date",
        ),
        (
            "APPEND \"\" {20}".to_owned(),
            "t NO [CANNOT] Invalid mailbox name: Name is empty",
        ),
        (
            "APPEND INBOX".to_owned(),
            "t BAD Error in IMAP command APPEND: Missing message size",
        ),
        (
            "APPEND INBOX {0+}\r\n".to_owned(),
            "t NO Can't save a zero byte message",
        ),
        (
            "APPEND nope {3+}\r\none {3}".to_owned(),
            "t NO [TRYCREATE] Mailbox doesn't exist: nope",
        ),
    ] {
        client.send(&format!("t {command}\r\n")).await;
        assert_eq!(client.line().await, answer, "{command}");
    }
    let mut stranger = house.client().await;
    stranger.line().await;
    stranger.play("C: APPEND INBOX {5}\nS: t BAD Log in first").await;
    client.play("C: NOOP\nS: t OK NOOP completed.").await;
}

#[tokio::test]
async fn a_huge_message_is_taken_whole() {
    let (_house, mut client) = in_inbox().await;
    let line = "x".repeat(78) + "\r\n";
    let message = line.repeat(40_000);
    client.send(&format!("t APPEND INBOX {{{}}}\r\n", message.len())).await;
    client.play("S: + OK").await;
    client.send(&format!("{message}\r\n")).await;
    client
        .play("S: * 4 EXISTS\nS: * 0 RECENT\nS: t OK [APPENDUID 77 4] Append completed.")
        .await;
    client
        .play("C: FETCH 4 RFC822.SIZE\nS: * 4 FETCH (RFC822.SIZE 3200000)\nS: t OK Fetch completed.")
        .await;
}

#[tokio::test]
async fn a_client_that_stops_within_a_message_does_not_keep_its_room() {
    let limits = ServeLimits {
        write: Duration::from_millis(800),
        ..ServeLimits::default()
    };
    let house = primary_with(limits).await;
    let mut client = house.ann().await;
    client.play("C: APPEND INBOX {100}\nS: + OK").await;
    client.send("some octets").await;
    client.play("S:").await;
}

#[tokio::test]
async fn flags_are_stored_and_told_as_dovecot_tells_them() {
    let (_house, mut client) = in_inbox().await;
    client
        .play(
            "C: STORE 2 +FLAGS (\\Flagged)
             S: * 2 FETCH (FLAGS (\\Flagged))
             S: t OK Store completed.
             C: STORE 2 +FLAGS (\\Flagged)
             S: t OK Store completed.
             C: STORE 2 +FLAGS.SILENT \\Answered
             S: t OK Store completed.
             C: UID STORE 2 -FLAGS (\\Flagged)
             S: * 2 FETCH (UID 2 FLAGS (\\Answered))
             S: t OK Store completed.
             C: STORE 1:2 +FLAGS (new)
             S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded new work)
             S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded new work \\*)] Flags permitted.
             S: * 1 FETCH (FLAGS (\\Seen $Forwarded new))
             S: * 2 FETCH (FLAGS (\\Answered new))
             S: t OK Store completed.
             C: STORE 9 FLAGS (x)
             S: t BAD Error in IMAP command STORE: Invalid messageset
             C: UID STORE 9 FLAGS (x)
             S: t OK Store completed.
             C: STORE 2 (UNCHANGEDSINCE 3) FLAGS (x)
             S: * OK [HIGHESTMODSEQ 8] Highest
             S: t OK [MODIFIED 2] Conditional store failed.
             C: UID STORE 1:3 (UNCHANGEDSINCE 4) +FLAGS.SILENT (work)
             S: t OK [MODIFIED 1:2] Conditional store failed.
             C: UID STORE 2 (UNCHANGEDSINCE 100) +FLAGS.SILENT (work)
             S: * 2 FETCH (UID 2 MODSEQ (9))
             S: t OK Store completed.
             C: EXAMINE INBOX
             S: * OK [CLOSED] Previous mailbox closed.",
        )
        .await;
    client.until("t OK [READ-ONLY]").await;
    client
        .play("C: STORE 1 FLAGS (x)\nS: t OK Store ignored with read-only mailbox.")
        .await;
}

#[tokio::test]
async fn reading_a_body_makes_it_seen_and_peeking_does_not() {
    let (_house, mut client) = in_inbox().await;
    client
        .play(
            "C: FETCH 2 BODY.PEEK[TEXT]
             S: * 2 FETCH (BODY[TEXT] {7}⏎hello⏎)
             S: t OK Fetch completed.
             C: FETCH 1:2 BODY[TEXT]<0.2>
             S: * 1 FETCH (BODY[TEXT]<0> {2}⏎--)
             S: * 2 FETCH (FLAGS (\\Seen) BODY[TEXT]<0> {2}⏎he)
             S: t OK Fetch completed.
             C: UID FETCH 3 (RFC822.TEXT FLAGS)
             S: * 3 FETCH (UID 3 FLAGS (\\Flagged \\Seen work) RFC822.TEXT {11}⏎no header⏎)
             S: t OK Fetch completed.",
        )
        .await;
}

#[tokio::test]
async fn numbers_hold_while_a_command_by_number_runs() {
    let (house, mut client) = in_inbox().await;
    house.memory.change(|account| account.mailbox(1).expunge(1));
    client
        .play(
            "C: STORE 2 +FLAGS (\\Deleted)
             S: * 2 FETCH (FLAGS (\\Deleted))
             S: t OK Store completed.
             C: FETCH 1:3 (UID FLAGS)
             S: * 1 FETCH (UID 1 FLAGS (\\Seen $Forwarded))
             S: * 2 FETCH (UID 2 FLAGS (\\Deleted))
             S: * 3 FETCH (UID 3 FLAGS (\\Flagged work))
             S: t OK Fetch completed.
             C: STORE 1 +FLAGS (\\Draft)
             S: t OK Store completed.
             C: UID STORE 3 +FLAGS (\\Answered)
             S: * 1 EXPUNGE
             S: * 2 FETCH (UID 3 FLAGS (\\Answered \\Flagged work))
             S: t OK Store completed.
             C: EXPUNGE
             S: * 1 EXPUNGE
             S: t OK Expunge completed.",
        )
        .await;
}

#[tokio::test]
async fn what_is_deleted_goes_with_expunge_and_close_and_by_uid() {
    let (house, mut client) = in_inbox().await;
    client
        .play(
            "C: STORE 1:3 +FLAGS.SILENT (\\Deleted)
             S: t OK Store completed.
             C: UID EXPUNGE 9
             S: t OK Expunge completed.
             C: UID EXPUNGE 2
             S: * 2 EXPUNGE
             S: t OK Expunge completed.
             C: ENABLE QRESYNC
             S: * OK [HIGHESTMODSEQ 6] Highest
             S: * ENABLED QRESYNC
             S: t OK Enabled.
             C: UID EXPUNGE 1
             S: * VANISHED 1
             S: t OK [HIGHESTMODSEQ 7] Expunge completed.
             C: CLOSE
             S: t OK Close completed.
             C: STATUS INBOX (MESSAGES)
             S: * STATUS INBOX (MESSAGES 0)
             S: t OK Status completed.",
        )
        .await;
    house.memory.change(|account| {
        account.mailbox(1).deliver(b"x\r\n", Flags::DELETED, &[]);
    });
    client.send("x EXAMINE INBOX\r\n").await;
    client.until("x OK").await;
    client
        .play(
            "C: EXPUNGE
             S: t OK Expunge completed.
             C: MOVE 1 Sent
             S: t NO [READ-ONLY] Mailbox is read-only
             C: CLOSE
             S: t OK Close completed.
             C: STATUS INBOX (MESSAGES)
             S: * STATUS INBOX (MESSAGES 1)
             S: t OK Status completed.",
        )
        .await;
}

#[tokio::test]
async fn copies_and_moves_tell_the_new_uids() {
    let (_house, mut client) = in_inbox().await;
    client
        .play(
            "C: COPY 1:2 Sent
             S: t OK [COPYUID 79 1:2 1:2] Copy completed.
             C: UID COPY 9 Sent
             S: t OK No messages found.
             C: COPY 9 Sent
             S: t BAD Error in IMAP command COPY: Invalid messageset
             C: COPY 1 nope
             S: t NO [TRYCREATE] Mailbox doesn't exist: nope
             C: MOVE 1,3 Sent
             S: * OK [COPYUID 79 1,3 3:4] Moved UIDs.
             S: * 3 EXPUNGE
             S: * 1 EXPUNGE
             S: t OK Move completed.
             C: MOVE 1 INBOX
             S: * OK [COPYUID 77 2 4] Moved UIDs.
             S: * 1 EXPUNGE
             S: * 1 EXISTS
             S: * 0 RECENT
             S: t OK Move completed.
             C: UID MOVE 9 Sent
             S: t OK No messages found.
             C: REPLACE 1 INBOX (\\Draft) {3+}
             c: new
             S: * OK [APPENDUID 77 5] Replacement message ready.
             S: * 1 EXPUNGE
             S: * 1 EXISTS
             S: * 0 RECENT
             S: t OK Replace completed.",
        )
        .await;
}

#[tokio::test]
async fn folders_are_made_renamed_subscribed_and_deleted() {
    let house = primary().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: CREATE new/sub/
             S: t OK [MAILBOXID (04040404040404040404040404040404)] Create completed.
             C: CREATE new/sub
             S: t NO [ALREADYEXISTS] Mailbox already exists
             C: CREATE inbox
             S: t NO [ALREADYEXISTS] Mailbox already exists.
             C: CREATE x//y
             S: t NO [CANNOT] Invalid mailbox name: Has adjacent hierarchy separators
             C: CREATE Arc (USE (\\Archive))
             S: t OK [MAILBOXID (05050505050505050505050505050505)] Create completed.
             C: CREATE Foo (USE (\\Nope))
             S: t NO [USEATTR] No such special use is known.
             C: LIST \"\" Arc
             S: * LIST (\\HasNoChildren \\Archive) \"/\" Arc
             S: t OK List completed.
             C: RENAME new/sub Arc
             S: t NO [ALREADYEXISTS] Target mailbox already exists.
             C: RENAME Arc Arc/x
             S: t NO [CANNOT] Can't rename mailbox under its own child.
             C: RENAME nope x
             S: t NO [NONEXISTENT] Mailbox doesn't exist: nope
             C: RENAME new/sub old
             S: t OK Rename completed.
             C: SUBSCRIBE nope
             S: t NO [NONEXISTENT] Mailbox doesn't exist: nope
             C: SUBSCRIBE old
             S: t OK Subscribe completed.
             C: UNSUBSCRIBE gone
             S: t OK Unsubscribe completed.
             C: LSUB \"\" *
             S: * LSUB () \"/\" a/b/t&AOQ-st
             S: * LSUB () \"/\" old
             S: t OK Lsub completed.
             C: DELETE nope
             S: t NO [NONEXISTENT] Mailbox doesn't exist: nope
             C: DELETE INBOX
             S: t NO [CANNOT] INBOX can't be deleted.",
        )
        .await;
    client.send("x SELECT old\r\n").await;
    client.until("x OK").await;
    client
        .play(
            "C: DELETE old
             S: * OK [CLOSED] Selected mailbox was deleted.
             S: t OK Delete completed.
             C: FETCH 1 FLAGS
             S: t BAD No mailbox selected",
        )
        .await;
}

#[tokio::test]
async fn attributes_are_set_and_taken_away() {
    let house = primary().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: SETMETADATA INBOX (/private/comment \"mine\" /shared/vendor/y NIL /private/x atom)
             S: t OK Setmetadata completed.
             C: GETMETADATA INBOX (/private/comment /shared/vendor/y /private/x)
             S: * METADATA INBOX (/private/comment {4}⏎mine /shared/vendor/y NIL /private/x {4}⏎atom)
             S: t OK Getmetadata completed.
             C: SETMETADATA \"\" (/private/comment {2+}
             c: hi)
             S: t OK Setmetadata completed.
             C: GETMETADATA \"\" /private/comment
             S: * METADATA \"\" (/private/comment {2}⏎hi)
             S: t OK Getmetadata completed.
             C: SETMETADATA INBOX (/private/specialuse \"x\")
             S: t NO [CANNOT] The /private/specialuse attribute cannot be changed.
             C: SETMETADATA INBOX (/foo \"x\")
             S: t BAD Error in IMAP command SETMETADATA: Entry name must begin with /private or /shared
             C: SETACL INBOX bob lrw
             S: t OK Setacl complete.
             C: SETACL INBOX bob +cd
             S: t OK Setacl complete.
             C: SETACL INBOX bob -w
             S: t OK Setacl complete.
             C: SETACL INBOX -bob t
             S: t OK Setacl complete.
             C: SETACL INBOX ann lr
             S: t OK Setacl complete.
             C: SETACL INBOX bob lrq
             S: t BAD Error in IMAP command SETACL: Invalid ACL right: q
             C: SETACL INBOX anyone lr
             S: t BAD Error in IMAP command SETACL: 'anyone' identifier is disallowed
             C: GETACL INBOX
             S: * ACL INBOX ann alr bob kxelrtcd -bob td
             S: t OK Getacl completed.
             C: DELETEACL INBOX bob
             S: t OK Deleteacl complete.
             C: DELETEACL INBOX zed
             S: t OK Deleteacl complete.
             C: GETACL INBOX
             S: * ACL INBOX ann alr -bob td
             S: t OK Getacl completed.",
        )
        .await;
}

#[tokio::test]
async fn a_promotion_and_a_demotion_count_for_running_sessions() {
    let house = house().await;
    let mut client = house.ann().await;
    client.send("x SELECT INBOX\r\n").await;
    client.until("x OK [READ-ONLY]").await;
    client
        .play("C: STORE 1 FLAGS (x)\nS: t NO [NOPERM] Read-only: this is a standby; writes go to the primary")
        .await;
    *house.access.lock().unwrap() = Access::ReadWrite(Arc::clone(&house.memory) as Arc<_>);
    client
        .play(
            "C: STORE 1 FLAGS (x)
             S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded work \\*)] Flags permitted.
             S: * OK [READ-WRITE] This node is the primary now.
             S: * 1 FETCH (FLAGS (x))
             S: t OK Store completed.",
        )
        .await;
    *house.access.lock().unwrap() = Access::ReadOnly;
    client
        .play("S: * BYE [UNAVAILABLE] This node is no longer the primary\nS:")
        .await;
    let mut reader = house.ann().await;
    reader.play("C: NOOP\nS: t OK NOOP completed.").await;
}
