//! What clients of the embedded store can make it hold, over IMAP and LMTP.

/// Longest command line without its literals; Dovecot's own default (`imap_max_line_length`) for long UID sets.
pub const IMAP_LINE_BYTES_MAX: usize = 64 << 10;
/// Longest line before login: a name, a password or one SASL answer, nothing else.
pub const IMAP_LOGIN_LINE_BYTES_MAX: usize = 8 << 10;
/// Largest literal that is taken in (a mailbox name, a search text). Larger ones are refused or skipped.
pub const IMAP_LITERAL_BYTES_MAX: u64 = 64 << 10;
/// Most literals of one command: a search for some dozen texts.
pub const IMAP_LITERALS_MAX: usize = 64;
/// Most octets of a non-synchronising literal that are read only to be thrown away; beyond it the connection ends.
pub const IMAP_SKIP_BYTES_MAX: u64 = 256 << 20;
/// Largest message that a client may give us: half as much again as the largest mail that big providers take. It is in
/// memory as a whole until it is durable.
pub const INTAKE_MESSAGE_BYTES_MAX: u64 = 64 << 20;
/// Octets of messages that all clients together may be sending. Memory is up to twice that while line ends are put right.
pub const INTAKE_BYTES_MAX: u64 = 512 << 20;
/// Most messages of one MULTIAPPEND: they become one transaction.
pub const INTAKE_MESSAGES_MAX: usize = 1000;
/// Longest command line of LMTP: an address of RFC 5321 in UTF-8, and parameters.
pub const LMTP_LINE_BYTES_MAX: usize = 8 << 10;
/// Longest address: RFC 5321 has 256 octets, some senders more.
pub const LMTP_PATH_BYTES_MAX: usize = 1024;
/// Recipients of one message; a mail server sends the rest in another transaction. RFC 5321 asks for 100.
pub const LMTP_RECIPIENTS_MAX: usize = 1000;
/// Lines that make no sense, after which a connection ends: it is no mail server.
pub const LMTP_WRONG_COMMANDS_MAX: u32 = 20;
/// Recipients to which a message is delivered at a time: they share a flush.
pub const LMTP_DELIVERIES_AT_ONCE: usize = 32;
/// Longest tag; clients use some 10 bytes.
pub const IMAP_TAG_BYTES_MAX: usize = 64;
/// Deepest nesting of search keys and lists in a command: the parser recurses.
pub const IMAP_NESTING_MAX: usize = 32;
/// Longest LIST pattern: matching costs pattern length times name length.
pub const IMAP_PATTERN_BYTES_MAX: usize = 2048;
/// Bytes that one reading of a client's connection takes, packed or not.
pub const IMAP_READ_BYTES: usize = 4096;
/// Answer bytes that are collected before they are written out.
pub const IMAP_ANSWER_CHUNK_BYTES: usize = 64 << 10;
/// Body parts of one message that are told apart; Dovecot's default.
pub const MIME_PARTS_MAX: usize = 10_000;
/// Octets of a boundary that count (RFC 2046 allows 70); Dovecot compares as many.
pub const MIME_BOUNDARY_BYTES_MAX: usize = 80;
/// Parameters of one structured field that are told; Dovecot shows as many.
pub const MIME_PARAMETERS_MAX: usize = 128;
/// Deepest nesting of body parts that is told apart (Dovecot: 100); deeper parts are one leaf.
pub const MIME_NESTING_MAX: usize = 100;
/// Deepest nesting that is handed to the decoder for text searches, whose own depth is not bounded; deeper mail is
/// searched as it stands.
pub const MIME_DECODE_NESTING_MAX: usize = 30;
/// Largest passwd-file: a million users of 60 bytes.
pub const PASSWD_BYTES_MAX: u64 = 64 << 20;
/// Longest password that is tried: hashing costs by length.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// Password hashes computed at the same time: each costs a processor, ARGON2 also memory.
pub const PASSWORD_CHECKS_MAX: usize = 4;
/// Programs that check a password which run at a time: a directory server behind them answers some dozen questions at once.
pub const PASSWORD_PROGRAMS_MAX: usize = 8;
/// Seconds that such a program may take; a mail client waits for about half a minute.
pub const PASSWORD_PROGRAM_SECONDS_MAX: u64 = 10;
/// Seconds for which its yes holds: a web mailer logs in anew for each click.
pub const PASSWORD_PROGRAM_CACHE_SECONDS: u64 = 30;
/// How many such answers are remembered; each takes some 50 bytes.
pub const PASSWORD_PROGRAM_CACHE_MAX: usize = 10_000;
/// Highest bcrypt cost that is tried (2^15 rounds, about 2 s).
pub const BCRYPT_COST_MAX: u32 = 15;
/// Most rounds of PBKDF2 and SCRAM that are tried (about 1 s).
pub const PASSWORD_ROUNDS_MAX: u32 = 1_000_000;
/// Longest salt of a hash; schemes use up to 64 octets.
pub const PASSWORD_SALT_BYTES_MAX: usize = 256;
/// Highest cost digit of a yescrypt hash that is tried: 2^(n + 1) blocks of 4 KiB, 128 MiB. Debian uses 11.
pub const YESCRYPT_COST_MAX: usize = 14;
/// Most memory for one ARGON2 hash, KiB.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;
/// Most ARGON2 passes.
pub const ARGON2_PASSES_MAX: u32 = 16;
