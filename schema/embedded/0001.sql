-- The embedded store, version 1. One database holds one group's copy; bodies lie beside it in packs (packs.md).
-- 64 bit numbers are stored as SQLite's signed integers; MODSEQs have 63 bits. Times are UNIX seconds where not said
-- otherwise. A mailbox name is a JSON array of its levels.

-- How far the stream has been decided, moved only together with the mail; and how far the packs are indexed.
CREATE TABLE stream (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    stream      BLOB    NOT NULL,
    epoch       INTEGER NOT NULL,
    lsn         INTEGER NOT NULL,
    chain       BLOB    NOT NULL,
    building    INTEGER NOT NULL,           -- LSN of the base (1: of the stream) that is being built; 0: none
    pack        INTEGER NOT NULL,           -- every record before (pack, pack_offset) stands in bodies and body_names
    pack_offset INTEGER NOT NULL,
    mailboxes   INTEGER NOT NULL,           -- those with a name, and the messages in them: kept by the triggers below
    messages    INTEGER NOT NULL
) STRICT;
INSERT INTO stream VALUES (1, zeroblob(16), 0, 0, zeroblob(32), 0, 1, 0, 0, 0);

CREATE TABLE users (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    namespaces TEXT                         -- separator and prefixes, a JSON array; NULL: no tree came yet
) STRICT;

CREATE TABLE mailboxes (
    id             INTEGER PRIMARY KEY,
    user           INTEGER NOT NULL REFERENCES users (id),
    guid           BLOB    NOT NULL,
    name           TEXT,                    -- NULL: hidden
    last_name      TEXT,                    -- stays when it is hidden
    special_use    TEXT,                    -- without the backslash
    uidvalidity    INTEGER NOT NULL,        -- 0 until the first list
    uidnext        INTEGER NOT NULL,
    highest_modseq INTEGER NOT NULL,
    modseq_lift    INTEGER NOT NULL,        -- added to the source's MODSEQs since they fell: its log was taken back
    messages       INTEGER NOT NULL,        -- kept with every change, as the two below
    unseen         INTEGER NOT NULL,
    size           INTEGER NOT NULL,        -- sum of messages.octets
    rewritten      INTEGER NOT NULL DEFAULT 0,  -- grows with changes that no higher MODSEQ shows
    modseq_floor   INTEGER NOT NULL DEFAULT 0,  -- every message answers at least this MODSEQ: an epoch began
    expunged_since INTEGER NOT NULL DEFAULT 0,  -- every expunge under a higher MODSEQ than this stands in expunged
    held           TEXT,                    -- why later transactions are diverted
    vanished       TEXT,                    -- why the mailbox itself is thought to be gone
    doomed         INTEGER NOT NULL,        -- deleted, but a message's other append is held
    UNIQUE (user, guid),
    UNIQUE (user, name)
) STRICT;
CREATE INDEX mailboxes_held ON mailboxes (id) WHERE held IS NOT NULL;
CREATE INDEX mailboxes_vanished ON mailboxes (id) WHERE vanished IS NOT NULL;
CREATE INDEX mailboxes_doomed ON mailboxes (id) WHERE doomed <> 0;
CREATE TRIGGER mailboxes_inserted AFTER INSERT ON mailboxes WHEN NEW.name IS NOT NULL BEGIN
    UPDATE stream SET mailboxes = mailboxes + 1, messages = messages + NEW.messages;
END;
CREATE TRIGGER mailboxes_deleted AFTER DELETE ON mailboxes WHEN OLD.name IS NOT NULL BEGIN
    UPDATE stream SET mailboxes = mailboxes - 1, messages = messages - OLD.messages;
END;
CREATE TRIGGER mailboxes_updated AFTER UPDATE OF name, messages ON mailboxes
WHEN (OLD.name IS NULL) <> (NEW.name IS NULL) OR OLD.messages <> NEW.messages BEGIN
    UPDATE stream SET
        mailboxes = mailboxes + (NEW.name IS NOT NULL) - (OLD.name IS NOT NULL),
        messages = messages + iif(NEW.name IS NULL, 0, NEW.messages) - iif(OLD.name IS NULL, 0, OLD.messages);
END;

-- Keywords of a mailbox in the order and spelling of their first use.
CREATE TABLE keywords (
    mailbox  INTEGER NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    number   INTEGER NOT NULL,              -- 0, 1, 2 ...
    spelling TEXT    NOT NULL,
    PRIMARY KEY (mailbox, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    mailbox       INTEGER NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    uid           INTEGER NOT NULL,
    guid          TEXT    NOT NULL,         -- '' unknown
    flags         INTEGER NOT NULL,         -- Dovecot's bits
    keywords      BLOB    NOT NULL,         -- ascending numbers, 4 bytes each, little endian
    internal_date INTEGER NOT NULL,
    save_date     INTEGER,
    size          INTEGER,                  -- as the source declared it
    modseq        INTEGER NOT NULL,
    body          INTEGER REFERENCES bodies (id),   -- NULL: body pending
    octets        INTEGER,                  -- length of the body; while pending: size
    user          INTEGER NOT NULL,         -- the mailbox's, for the indexes: many users may have a message of one GUID
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_guid ON messages (user, guid);
CREATE INDEX messages_pending ON messages (user, guid) WHERE body IS NULL;
CREATE INDEX messages_modseq ON messages (mailbox, modseq);     -- what changed since a client last looked

-- UIDs that never come back under the mailbox's UIDVALIDITY.
CREATE TABLE expunged (
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    uid     INTEGER NOT NULL,
    modseq  INTEGER NOT NULL,               -- of the expunge
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX expunged_modseq ON expunged (mailbox, modseq);

-- What left the copy and can be brought back.
CREATE TABLE retained (
    id            INTEGER PRIMARY KEY,
    user          INTEGER NOT NULL REFERENCES users (id),
    mailbox_guid  BLOB    NOT NULL,
    mailbox_name  TEXT,
    uidvalidity   INTEGER NOT NULL,
    uid           INTEGER NOT NULL,
    guid          TEXT    NOT NULL,
    flags         INTEGER NOT NULL,
    keywords      TEXT    NOT NULL,         -- JSON array
    internal_date INTEGER NOT NULL,
    save_date     INTEGER,
    size          INTEGER,
    body          INTEGER REFERENCES bodies (id),
    why           TEXT    NOT NULL,         -- genuine, attested, deleted, overwritten, released
    since_ms      INTEGER                   -- this node's clock, stamped by the next upkeep
) STRICT;
CREATE INDEX retained_since ON retained (since_ms);

CREATE TABLE unselectable (                 -- names that are listed without being mailboxes
    user INTEGER NOT NULL REFERENCES users (id),
    name TEXT    NOT NULL,
    mark BLOB    NOT NULL,                  -- how they are listed: ../operations.md
    PRIMARY KEY (user, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE subscriptions (
    id   INTEGER PRIMARY KEY,               -- ascending: the order of subscribing
    user INTEGER NOT NULL REFERENCES users (id),
    name TEXT    NOT NULL,
    UNIQUE (user, name)
) STRICT;

-- Index of the packs.
CREATE TABLE bodies (
    id          INTEGER PRIMARY KEY,
    hash        BLOB    NOT NULL UNIQUE,    -- BLAKE3 of the octets
    pack        INTEGER NOT NULL,
    pack_offset INTEGER NOT NULL,           -- of the octets
    length      INTEGER NOT NULL
) STRICT;
CREATE TABLE body_names (
    user        INTEGER NOT NULL REFERENCES users (id),
    guid        TEXT    NOT NULL,
    mailbox     BLOB    NOT NULL,           -- the place it was asked for: mailbox GUID, UIDVALIDITY, UID
    uidvalidity INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    size        INTEGER,                    -- as the source declared it
    body        INTEGER REFERENCES bodies (id),     -- NULL: it can't be had, and ...
    missing     TEXT,                       -- ... why, for people
    PRIMARY KEY (user, guid, mailbox, uidvalidity, uid)
) STRICT, WITHOUT ROWID;

-- Quarantine. A mailbox has an entry where held, vanished or doomed is set above or a row stands in one of these.
CREATE TABLE diverted (
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    lsn     INTEGER NOT NULL,
    first   INTEGER NOT NULL,               -- LSN of the first frame of its transaction
    frame   BLOB    NOT NULL,               -- ../frame.md
    PRIMARY KEY (mailbox, lsn)
) STRICT;
CREATE TABLE held_appends (                 -- GUIDs that a diverted transaction appends
    user    INTEGER NOT NULL,
    guid    TEXT    NOT NULL,
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    PRIMARY KEY (user, guid, mailbox)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_appends_mailbox ON held_appends (mailbox);
CREATE TABLE deferred (                     -- expunged, but an append of the same GUID is held
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    uid     INTEGER NOT NULL,
    guid    TEXT    NOT NULL,
    modseq  INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE TABLE inferred (                     -- messages that only seem to be gone; they stay visible
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    uid     INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;

-- The last digest of each mailbox (mailbox = its GUID) and tree (mailbox = x''): when was the copy last proven?
CREATE TABLE verdicts (
    user    INTEGER NOT NULL REFERENCES users (id),
    mailbox BLOB    NOT NULL,
    lsn     INTEGER NOT NULL,
    request INTEGER NOT NULL,
    why     TEXT    NOT NULL,               -- what differed; '' equal
    PRIMARY KEY (user, mailbox)
) STRICT, WITHOUT ROWID;
