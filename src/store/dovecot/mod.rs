//! Dovecot 2.3 and 2.4 as a source: read from its files only.
