//! Transcripts of the extensions, one a command or two.

use super::house::{Client, House, house};
use crate::op::Flags;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A client in the INBOX.
async fn inside(house: &House) -> Client {
    let mut client = house.ann().await;
    client.send("x EXAMINE INBOX\r\n").await;
    client.until("x OK").await;
    client
}

#[tokio::test]
async fn a_returning_client_hears_what_vanished_and_what_changed() {
    let house = house().await;
    house.memory.change(|account| {
        let mailbox = account.mailbox(1);
        mailbox.expunge(2);
        mailbox.edit(3, |m| m.flags = Flags::SEEN);
        mailbox.deliver(b"\r\n", Flags::NONE, &[]);
    });
    let mut client = house.ann().await;
    client
        .play(
            "C: SELECT INBOX (QRESYNC (77 4))
             S: t BAD QRESYNC not enabled.
             C: ENABLE QRESYNC CONDSTORE X-NONE
             S: * ENABLED QRESYNC CONDSTORE
             S: t OK Enabled.",
        )
        .await;
    client.send("y SELECT INBOX (QRESYNC (77 4))\r\n").await;
    client.until("* OK [MAILBOXID").await;
    client
        .play(
            "S: * VANISHED (EARLIER) 2
             S: * 2 FETCH (UID 3 FLAGS (\\Seen work) MODSEQ (6))
             S: * 3 FETCH (UID 4 FLAGS () MODSEQ (7))
             S: y OK [READ-ONLY] Select completed.
             C: UID FETCH 1:4 (FLAGS) (CHANGEDSINCE 5 VANISHED)
             S: * 2 FETCH (UID 3 FLAGS (\\Seen work) MODSEQ (6))
             S: * 3 FETCH (UID 4 FLAGS () MODSEQ (7))
             S: t OK Fetch completed.
             C: UID FETCH 3 (FLAGS) (CHANGEDSINCE 4 VANISHED)
             S: * 2 FETCH (UID 3 FLAGS (\\Seen work) MODSEQ (6))
             S: t OK Fetch completed.",
        )
        .await;
    house.memory.change(|account| {
        account.mailbox(1).expunge(3);
        account.mailbox(1).edit(1, |m| m.flags = Flags::NONE);
    });
    client
        .play(
            "C: NOOP
             S: * VANISHED 3
             S: * 1 FETCH (UID 1 MODSEQ (9) FLAGS ($Forwarded))
             S: t OK NOOP completed.",
        )
        .await;
}

#[tokio::test]
async fn expunges_from_before_the_copy_are_told_as_all_that_is_missing() {
    let house = house().await;
    house.memory.change(|account| {
        let mailbox = account.mailbox(1);
        mailbox.expunge(2);
        mailbox.expunged.clear();
        mailbox.expunged_since = 5;
    });
    let mut client = house.ann().await;
    client.send("x ENABLE QRESYNC\r\n").await;
    client.until("x OK").await;
    client.send("y EXAMINE INBOX (QRESYNC (77 2 1:9))\r\n").await;
    client.until("* OK [MAILBOXID").await;
    client
        .play("S: * VANISHED (EARLIER) 2\nS: * 2 FETCH (UID 3 FLAGS (\\Flagged work) MODSEQ (4))")
        .await;
    client.until("y OK").await;
    // another UIDVALIDITY: nothing that the client knows is worth anything
    client.send("z EXAMINE INBOX (QRESYNC (76 2))\r\n").await;
    client.until("* OK [MAILBOXID").await;
    client.play("S: z OK [READ-ONLY] Examine completed.").await;
}

#[tokio::test]
async fn sorts_and_threads_answer_in_order() {
    let house = house().await;
    let mut client = inside(&house).await;
    client
        .play(
            "C: SORT (SIZE) UTF-8 ALL
             S: * SORT 3 2 1
             S: t OK Sort completed.
             C: UID SORT (REVERSE ARRIVAL) UTF-8 2:3
             S: * SORT 3 2
             S: t OK Sort completed.
             C: SORT RETURN (MIN MAX ALL COUNT PARTIAL 1:2) (SUBJECT) UTF-8 ALL
             S: * ESEARCH (TAG \"t\") MIN 3 MAX 2 ALL 3,1:2 PARTIAL (1:2 3,1) COUNT 3
             S: t OK Sort completed.
             C: SORT (COLOUR) UTF-8 ALL
             S: t BAD Error in IMAP command SORT: Unknown sort argument.
             C: SORT (SIZE) KOI8-R ALL
             S: t NO [BADCHARSET (UTF-8 US-ASCII)] Unknown charset
             C: THREAD REFERENCES UTF-8 ALL
             S: * THREAD (2)(3)(1)
             S: t OK Thread completed.
             C: UID THREAD ORDEREDSUBJECT UTF-8 KEYWORD none
             S: * THREAD
             S: t OK Thread completed.
             C: THREAD REFS UTF-8 1
             S: * THREAD (1)
             S: t OK Thread completed.",
        )
        .await;
}

#[tokio::test]
async fn a_saved_search_stays_until_the_next() {
    let house = house().await;
    let mut client = inside(&house).await;
    client
        .play(
            "C: SEARCH RETURN (SAVE) UNSEEN
             S: t OK Search completed.
             C: FETCH $ (UID)
             S: * 2 FETCH (UID 2)
             S: * 3 FETCH (UID 3)
             S: t OK Fetch completed.
             C: SEARCH RETURN (MAX SAVE) $
             S: * ESEARCH (TAG \"t\") MAX 3
             S: t OK Search completed.
             C: UID SEARCH RETURN (PARTIAL -1:-2) OR $ 1
             S: * ESEARCH (TAG \"t\") UID PARTIAL (-1:-2 1,3)
             S: t OK Search completed.
             C: UID SEARCH RETURN (PARTIAL 9:10) ALL
             S: * ESEARCH (TAG \"t\") UID PARTIAL (9:10 NIL)
             S: t OK Search completed.",
        )
        .await;
}

#[tokio::test]
async fn parts_previews_and_ids_are_fetched() {
    let house = house().await;
    let coded = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8gAHdvcmxk\r\n";
    let odd = b"Content-Transfer-Encoding: x-uuencode\r\n\r\nabc\r\n";
    house.memory.change(|account| {
        account.mailbox(1).deliver(coded, Flags::NONE, &[]);
        account.mailbox(1).deliver(odd, Flags::NONE, &[]);
    });
    let mut client = inside(&house).await;
    client
        .play(
            "C: FETCH 4 (BINARY.SIZE[1] BINARY.PEEK[1]<6.3> BINARY[9])
             S: * 4 FETCH (BINARY.SIZE[1] 12 BINARY[1]<6> ~{3}⏎\0wo BINARY[9] {0}⏎)
             S: t OK Fetch completed.
             C: FETCH 5 (UID BINARY[1])
             S: * 5 FETCH (UID 5)
             S: t NO [UNKNOWN-CTE] FETCH BINARY[] can't decode a part's encoding
             C: FETCH 1:3 (PREVIEW (LAZY) EMAILID THREADID)
             S: * 1 FETCH (EMAILID (00000000000000000000000000000001) THREADID NIL PREVIEW \"one\")
             S: * 2 FETCH (EMAILID (00000000000000000000000000000002) THREADID NIL PREVIEW \"hello\")
             S: * 3 FETCH (EMAILID (00000000000000000000000000000003) THREADID NIL PREVIEW \"no header\")
             S: t OK Fetch completed.
             C: SEARCH EMAILID 00000000000000000000000000000002
             S: * SEARCH 2
             S: t OK Search completed.
             C: STATUS INBOX (MAILBOXID DELETED)
             S: * STATUS INBOX (MAILBOXID (01010101010101010101010101010101) DELETED 0)
             S: t OK Status completed.",
        )
        .await;
}

#[tokio::test]
async fn extended_lists_select_and_tell_what_is_asked() {
    let house = house().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: LIST (SUBSCRIBED) \"\" * RETURN (CHILDREN)
             S: * LIST (\\Subscribed \\HasNoChildren) \"/\" a/b/t&AOQ-st
             S: * LIST (\\NonExistent \\Subscribed \\HasNoChildren) \"/\" gone
             S: t OK List completed.
             C: LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %
             S: * LIST (\\NonExistent \\Subscribed) \"/\" gone
             S: * LIST (\\Noselect) \"/\" a (CHILDINFO (\"SUBSCRIBED\"))
             S: t OK List completed.
             C: LIST \"\" (INBOX \"S%\") RETURN (SPECIAL-USE SUBSCRIBED STATUS (MESSAGES SIZE))
             S: * LIST () \"/\" INBOX
             S: * STATUS INBOX (MESSAGES 3 SIZE 295)
             S: * LIST (\\Sent) \"/\" Sent
             S: * STATUS Sent (MESSAGES 0 SIZE 0)
             S: t OK List completed.
             C: LIST (SPECIAL-USE) \"\" *
             S: * LIST (\\Sent) \"/\" Sent
             S: t OK List completed.
             C: LIST (RECURSIVEMATCH) \"\" *
             S: t BAD Error in IMAP command LIST: RECURSIVEMATCH must not be the only selection.
             C: LIST \"\" * RETURN (COLOUR)
             S: t BAD Error in IMAP command LIST: Unknown return options",
        )
        .await;
}

#[tokio::test]
async fn a_client_of_rev2_gets_its_answers() {
    let house = house().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: ENABLE IMAP4rev2
             S: * ENABLED IMAP4rev2
             S: t OK Enabled.
             C: LIST \"\" \"a/b/*\"
             S: * LIST (\\HasNoChildren) \"/\" \"a/b/täst\"
             S: t OK List completed.
             C: EXAMINE \"a/b/täst\"
             S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
             S: * OK [PERMANENTFLAGS ()] Read-only mailbox.
             S: * 0 EXISTS
             S: * OK [UIDVALIDITY 78] UIDs valid
             S: * OK [UIDNEXT 1] Predicted next UID
             S: * OK [HIGHESTMODSEQ 1] Highest
             S: * OK [MAILBOXID (02020202020202020202020202020202)] Mailbox id
             S: * LIST () \"/\" \"a/b/täst\"
             S: t OK [READ-ONLY] Examine completed.
             C: SEARCH ALL
             S: * ESEARCH (TAG \"t\")
             S: t OK Search completed.
             C: GETQUOTAROOT INBOX
             S: * QUOTAROOT INBOX
             S: t OK Getquotaroot completed.
             C: GETQUOTA \"\"
             S: t NO [NONEXISTENT] No such quota root.",
        )
        .await;
}

#[tokio::test]
async fn a_compressed_session_goes_on_compressed() {
    let house = house().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: COMPRESS LZ4
             S: t BAD Unknown compression mechanism.
             C: COMPRESS DEFLATE
             S: t OK Begin compression.",
        )
        .await;
    let mut packed = Vec::with_capacity(1000);
    let text = b"a EXAMINE INBOX\r\nb FETCH 1 BODY.PEEK[]\r\nc COMPRESS DEFLATE\r\nd CAPABILITY\r\ne LOGOUT\r\n";
    let mut deflate = Compress::new(Compression::fast(), false);
    deflate.compress_vec(text, &mut packed, FlushCompress::Sync).unwrap();
    for byte in packed {
        client.write.write_all(&[byte]).await.unwrap();
    }
    let mut answer = Vec::new();
    client.read.read_to_end(&mut answer).await.unwrap();
    let mut plain = Vec::with_capacity(100_000);
    Decompress::new(false)
        .decompress_vec(&answer, &mut plain, FlushDecompress::Sync)
        .unwrap();
    let plain = String::from_utf8(plain).unwrap();
    assert!(
        plain.contains("<b>two</b>") && plain.ends_with("e OK Logout completed.\r\n"),
        "{plain}"
    );
    assert!(plain.contains("c NO [COMPRESSIONACTIVE]"), "{plain}");
    let offered = plain.lines().find(|line| line.starts_with("* CAPABILITY")).unwrap();
    assert!(!offered.contains("COMPRESS"), "{offered}");
}
