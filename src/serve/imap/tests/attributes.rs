//! What Dovecot 2.3.19 and 2.4.1 answer to questions about METADATA and access control lists.

use super::house::{House, house};
use crate::op::{AttributeKind, AttributeScope, Guid};

fn scope(mailbox: Option<Guid>, kind: AttributeKind) -> AttributeScope {
    AttributeScope { mailbox, kind }
}

async fn house_with_attributes() -> House {
    let house = house().await;
    house.memory.change(|account| {
        let sent = account
            .boxes
            .values()
            .find(|(name, _)| name.0 == ["Sent"])
            .unwrap()
            .1
            .guid;
        let owned = |entries: &[(&str, &str)]| {
            let owned = entries
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
            owned.collect::<Vec<_>>()
        };
        let metadata = owned(&[
            ("/private/comment", "l1\\"),
            ("/private/vendor/vendor.dovecot/pvt/x", "hidden"),
            ("/private/vendor/x/y", "a\"b"),
            ("/shared/comment", ""),
        ]);
        account.attributes = [
            (scope(Some(sent), AttributeKind::Metadata), metadata),
            (
                scope(None, AttributeKind::Metadata),
                owned(&[("/private/comment", "srv")]),
            ),
            (
                scope(Some(sent), AttributeKind::Acl),
                owned(&[
                    ("-user=carol", "w"),
                    ("group=grp", "lrs"),
                    ("owner", "akxeilprwts"),
                    ("user=bob", ""),
                ]),
            ),
        ]
        .into();
    });
    house
}

#[tokio::test]
async fn metadata_is_told_as_dovecot_tells_it() {
    let house = house_with_attributes().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: GETMETADATA Sent (/private/comment /PRIVATE/nope)
             S: * METADATA Sent (/private/comment {3}⏎l1\\ /private/nope NIL)
             S: t OK Getmetadata completed.
             C: GETMETADATA (DEPTH 1) Sent (/private /shared)
             S: * METADATA Sent (/private/comment {3}⏎l1\\ /private/specialuse {5}⏎\\Sent /shared/comment {0}⏎)
             S: t OK Getmetadata completed.
             C: GETMETADATA (DEPTH infinity) Sent /private/vendor
             S: * METADATA Sent (/private/vendor/x/y {3}⏎a\"b)
             S: t OK Getmetadata completed.
             C: GETMETADATA (MAXSIZE 2 DEPTH infinity) Sent (/private/comment /shared/comment)
             S: * METADATA Sent (/shared/comment {0}⏎)
             S: t OK [METADATA LONGENTRIES 3] Getmetadata completed.
             C: GETMETADATA (DEPTH infinity) \"\" (/private /private/comment)
             S: * METADATA \"\" (/private/comment {3}⏎srv)
             S: t OK Getmetadata completed.
             C: GETMETADATA inbox /shared/comment
             S: * METADATA INBOX (/shared/comment NIL)
             S: t OK Getmetadata completed.
             C: GETMETADATA Sent /private
             S: * METADATA Sent (/private NIL)
             S: t OK Getmetadata completed.
             C: GETMETADATA Sent ()
             S: t OK Getmetadata completed.
             C: GETMETADATA Nope /private/comment
             S: t NO [NONEXISTENT] Mailbox doesn't exist: Nope
             C: SETMETADATA Sent (/private/comment NIL)
             S: t NO [NOPERM] Read-only: this is a standby; writes go to the primary",
        )
        .await;
    for (arguments, why) in [
        ("Sent (comment)", "Entry name must begin with '/'"),
        ("Sent (/private//x)", "Entry name can't contain consecutive '/'"),
        ("Sent (/private/x/)", "Entry name can't end with '/'"),
        ("Sent (/private/a*)", "Entry name can't contain '*'"),
        ("Sent (/private/a%)", "Entry name can't contain '%'"),
        ("Sent (/privately)", "Entry name must begin with /private or /shared"),
        ("(FOO) Sent /private", "Unknown option"),
        ("(DEPTH 2) Sent /private", "Invalid value for DEPTH option"),
        ("(MAXSIZE x) Sent /private", "Invalid value for MAXSIZE option"),
    ] {
        let bad = format!("t BAD Error in IMAP command GETMETADATA: {why}");
        client.play(&format!("C: GETMETADATA {arguments}\nS: {bad}")).await;
    }
}

#[tokio::test]
async fn access_control_lists_are_told_as_dovecot_tells_them() {
    let house = house_with_attributes().await;
    let mut client = house.ann().await;
    client
        .play(
            "C: GETACL Sent
             S: * ACL Sent $grp lrs ann akxeilprwtscd bob \"\" -carol w
             S: t OK Getacl completed.
             C: GETACL inbox
             S: * ACL inbox ann lrwstipekxacd
             S: t OK Getacl completed.
             C: MYRIGHTS Sent
             S: * MYRIGHTS Sent lrwstipekxacd
             S: t OK Myrights completed.
             C: MYRIGHTS Nope
             S: * MYRIGHTS Nope lrwstipekxacd
             S: t OK Myrights completed.
             C: MYRIGHTS \"\"
             S: * MYRIGHTS \"\" lrwstipekxacd
             S: t OK Myrights completed.
             C: LISTRIGHTS Sent \"a b\"
             S: * LISTRIGHTS Sent \"a b\" \"\" l r w s t i p e k x a c d
             S: t OK Listrights completed.
             C: GETACL Nope
             S: t NO [NONEXISTENT] Mailbox doesn't exist: Nope
             C: GETACL empty
             S: t NO [NONEXISTENT] Mailbox doesn't exist: empty
             C: SETACL Sent bob lr
             S: t NO [NOPERM] Read-only: this is a standby; writes go to the primary",
        )
        .await;
    house.memory.change(|account| {
        account
            .attributes
            .values_mut()
            .for_each(|entries| entries.push(("user=ann".to_owned(), b"lr".to_vec())));
    });
    client
        .play(
            "C: GETACL Sent
             S: t NO [NOPERM] You lack administrator privileges on this mailbox.
             C: MYRIGHTS Sent
             S: * MYRIGHTS Sent lr
             S: t OK Myrights completed.",
        )
        .await;
}
