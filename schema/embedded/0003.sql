-- The embedded store, version 3: as the mirror of a running Dovecot (../../docs/adr/0016-mirror.md). These tables say what
-- that Dovecot has acknowledged; what it must still be told is the difference between them and the mail above. Empty in
-- a store that is nobody's mirror.

-- Up to this LSN of this stream everything was told.
CREATE TABLE told_stream (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    stream BLOB    NOT NULL,
    lsn    INTEGER NOT NULL
) STRICT;
INSERT INTO told_stream VALUES (1, zeroblob(16), 0);

CREATE TABLE told_users (                   -- a user without a row was never told anything
    user INTEGER PRIMARY KEY REFERENCES users (id),
    tree BLOB NOT NULL                      -- BLAKE3 of the tree that was told; x'' none
) STRICT;

CREATE TABLE told_mailboxes (
    user        INTEGER NOT NULL REFERENCES users (id),
    guid        BLOB    NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uidnext     INTEGER NOT NULL,           -- messages below it were told
    modseq      INTEGER NOT NULL,           -- changes up to it were told
    at_target   INTEGER NOT NULL,           -- HIGHESTMODSEQ that the Dovecot itself had then
    floor       INTEGER NOT NULL,           -- mailboxes.modseq_floor as told
    rewritten   INTEGER NOT NULL,           -- mailboxes.rewritten as told
    messages    INTEGER NOT NULL,           -- how many it was told to hold
    left_out    TEXT    NOT NULL,           -- UIDs of messages without a body, which can't be told; a JSON array
    PRIMARY KEY (user, guid)
) STRICT, WITHOUT ROWID;

CREATE TABLE told_attributes (
    user    INTEGER NOT NULL REFERENCES users (id),
    mailbox BLOB    NOT NULL,               -- GUID; x'' the user's own
    kind    INTEGER NOT NULL,               -- 1 METADATA, 2 ACL, 3 Sieve
    name    TEXT    NOT NULL,
    hash    BLOB    NOT NULL,               -- BLAKE3 of the value
    PRIMARY KEY (user, mailbox, kind, name)
) STRICT, WITHOUT ROWID;
