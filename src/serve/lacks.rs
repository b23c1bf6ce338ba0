//! What users had on a Dovecot and have no longer where the embedded store serves them: said before, not found out.

/// Each in a sentence, for people.
pub const NOT_CARRIED: [&str; 3] = [
    "Sieve scripts are kept, but not run, and there is no ManageSieve",
    "POP3 is not spoken",
    "quotas are not enforced",
];
