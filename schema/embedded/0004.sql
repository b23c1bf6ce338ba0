-- The embedded store, version 4: what of lost tails was settled (../operations.md, payload 10). Written with the mail, in the
-- same transaction; never taken away: a disk may come back after years.

CREATE TABLE merged (
    user        INTEGER NOT NULL REFERENCES users (id),
    mailbox     BLOB    NOT NULL,           -- GUID, as the tail names it
    uidvalidity INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,           -- in which the tail was written
    stream      BLOB    NOT NULL,
    guid        TEXT    NOT NULL,           -- the message's
    PRIMARY KEY (user, mailbox, uidvalidity, uid, epoch, stream)
) STRICT, WITHOUT ROWID;
CREATE INDEX merged_guid ON merged (user, guid);

CREATE TABLE merged_expunges (
    user        INTEGER NOT NULL REFERENCES users (id),
    mailbox     BLOB    NOT NULL,
    uidvalidity INTEGER NOT NULL,
    first       INTEGER NOT NULL,           -- UIDs, both included
    last        INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    stream      BLOB    NOT NULL,
    PRIMARY KEY (user, mailbox, uidvalidity, first, last, epoch, stream)
) STRICT, WITHOUT ROWID;
