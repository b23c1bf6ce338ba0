-- The embedded store, version 2: attributes (../operations.md). A value is at most 4 KiB; a longer one is a body that
-- bodies.hash names, not there while it is pending. Whoever takes bodies away must look for their hashes here too.

CREATE TABLE attributes (
    user    INTEGER NOT NULL REFERENCES users (id),
    mailbox BLOB    NOT NULL,               -- GUID; x'' the user's own
    kind    INTEGER NOT NULL,               -- 1 METADATA, 2 ACL, 3 Sieve
    name    TEXT    NOT NULL,
    value   BLOB,                           -- NULL: it is a body
    hash    BLOB    NOT NULL,               -- BLAKE3 of the value
    size    INTEGER NOT NULL,               -- octets
    PRIMARY KEY (user, mailbox, kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX attributes_body ON attributes (hash) WHERE value IS NULL;

-- Attributes that left the copy and can be brought back.
CREATE TABLE retained_attributes (
    id           INTEGER PRIMARY KEY,
    user         INTEGER NOT NULL REFERENCES users (id),
    mailbox      BLOB    NOT NULL,
    mailbox_name TEXT,                      -- as it was called then; a JSON array of its levels
    kind         INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    value        BLOB,
    hash         BLOB    NOT NULL,
    size         INTEGER NOT NULL,
    why          TEXT    NOT NULL,          -- unset, overwritten, deleted (with its mailbox)
    since_ms     INTEGER                    -- this node's clock, stamped by the next upkeep
) STRICT;
CREATE INDEX retained_attributes_since ON retained_attributes (since_ms);
