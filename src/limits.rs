//! Every bound in one place, each with its reason. A bound that a peer, a disk or a client can reach is checked where
//! the bytes come in, never later.

mod dsync;
mod fencing;
mod front_end;
mod handover;
mod migrating;
mod moving;
mod projecting;
mod roles;

pub use dsync::*;
pub use fencing::*;
pub use front_end::*;
pub use handover::*;
pub use migrating::*;
pub use moving::*;
pub use projecting::*;
pub use roles::*;

/// Largest frame on disk and on the wire, header included: a transaction beyond it becomes a run.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Most parts of a run: 4,096 frames of up to 1 MiB hold the list of a mailbox of some 20 million messages.
pub const RUN_PARTS_MAX: u32 = 4096;
/// Longest user name (RFC 5321 allows 64 + 1 + 255 octets; Dovecot has no bound of its own).
pub const USER_BYTES_MAX: usize = 512;
/// Longest message GUID: a maildir base file name (NAME_MAX).
pub const MESSAGE_GUID_BYTES_MAX: usize = 255;
/// Longest level of a name that a client may give a mailbox: Dovecot's own bound.
pub const NAME_LEVEL_BYTES_MAX: usize = 255;
/// Largest message that a client or a delivery may bring: what can also be shipped ([`BODY_IN_MEMORY_MAX`]).
pub const MESSAGE_BYTES_MAX: u64 = BODY_IN_MEMORY_MAX;
/// Most keywords that clients may teach one mailbox: it never forgets one, and each session shows them all.
pub const MAILBOX_KEYWORDS_MAX: usize = 4096;
/// Longest keyword that Dovecot's log can hold is 64 KiB; no client uses more than a line's worth.
pub const KEYWORD_BYTES_MAX: usize = 4096;
/// Deepest mailbox name; Dovecot refuses names beyond 4,096 bytes and some 100 levels.
pub const NAME_LEVELS_MAX: usize = 128;
/// Longest mailbox name in bytes, all levels.
pub const NAME_BYTES_MAX: usize = 4096;
/// Most ranges of open expunge requests that a position carries; beyond it the mailbox is read again as a `state`.
pub const OPEN_REQUESTS_MAX: usize = 4096;
/// Appended messages that a notice names one by one.
pub const NOTICE_MESSAGES_MAX: usize = 100;
/// Other places that a need names: the newest copies of a message are the likeliest to be there still.
pub const NEED_PLACES_MAX: usize = 32;
/// Largest message body that is carried. Dovecot itself has no bound; 2 GiB is what IMAP literals of 32 bit clients allow.
pub const BODY_BYTES_MAX: u64 = 2 << 30;
/// Bytes of a body in one wire message: on a slow link the next message does not wait for long.
pub const BODY_PART_BYTES: usize = 64 << 10;

/// Ids of one `References` field that count: longer threads hang together all the same.
pub const REFERENCES_MAX: usize = 1000;
/// Addresses of one header field that ENVELOPE shows: a hostile megabyte of commas must not become a gigabyte.
pub const ENVELOPE_ADDRESSES_MAX: usize = 10_000;
/// Most SHA-CRYPT rounds that are tried (about 1 s).
pub const SHA_CRYPT_ROUNDS_MAX: u32 = 1_000_000;

// What is read of a Dovecot store.

/// Milliseconds from a look that found something to the next, in a series of changes: a standby is so much later under
/// load, and everything that a look costs is shared by what came meanwhile.
pub const CAPTURE_PACE_MS: u64 = 20;

/// Largest transaction log that is read: Dovecot rotates at 1 MiB by default; an operator may have raised it.
pub const LOG_BYTES_MAX: u64 = 256 << 20;
/// Largest main index that is read (about 50 bytes a message).
pub const INDEX_BYTES_MAX: u64 = 1 << 30;
/// Newest places of bodies that an mdbox mailbox keeps: what arrives between two looks. 32 bytes each.
pub const MAP_TAIL_ENTRIES_MAX: usize = 64;
/// Largest configuration file: a thousand groups fit in a tenth of it.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Most patterns of users in one group: beyond it the user database should do the choosing.
pub const USER_PATTERNS_MAX: usize = 1024;
/// Largest PEM file: a CA bundle of some hundred certificates.
pub const PEM_BYTES_MAX: u64 = 1 << 20;
/// Handshakes with callers who have not proved who they are: peers are few, strangers must not use up the memory.
pub const HANDSHAKES_MAX: usize = 32;
/// Quiet time after which the kernel asks whether a peer's host is still there, and between such questions, seconds.
pub const PEER_KEEPALIVE_SECONDS: u64 = 5;
/// Time after which what a peer's host has not acknowledged ends the connection, seconds.
pub const PEER_UNACKNOWLEDGED_SECONDS: u64 = 15;
/// Bytes to a peer that wait in the kernel without being on their way: nothing can overtake them there.
pub const PEER_UNSENT_BYTES: u32 = 64 << 10;
/// Longest TLS handshake, the connection's setup included.
pub const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// Longest request line on the admin socket: a verb and a few names.
pub const CONTROL_LINE_BYTES_MAX: u64 = 64 << 10;
/// Longest answer line that a command reads: `status --user` of 100,000 mailboxes is some 30 MB.
pub const CONTROL_ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Entries, messages and retained ones that one answer lists: an operator who has more asks by user.
pub const CUSTODY_ROWS_MAX: u32 = 10_000;
/// Commands that run at the same time on one daemon.
pub const CONTROL_CLIENTS_MAX: usize = 64;
/// Progress lines that wait for a client; more are dropped.
pub const CONTROL_PROGRESS_LINES_MAX: usize = 16;
/// Seconds from a connection to its request.
pub const CONTROL_REQUEST_SECONDS_MAX: u64 = 10;
/// Seconds that a client may take to read a line.
pub const CONTROL_WRITE_SECONDS_MAX: u64 = 30;
/// HTTP connections at the same time: monitoring and a few browsers.
pub const HTTP_CLIENTS_MAX: usize = 64;
/// Seconds that an HTTP connection may live: nothing that is answered here takes one, and a slow sender goes.
pub const HTTP_SECONDS_MAX: u64 = 30;
/// Frames that the daemon hands to `journal cat` at a time: some hundred kilobytes of JSON.
pub const JOURNAL_CAT_FRAMES_MAX: u64 = 500;
/// GUIDs of rotated dbox logs that are kept in memory: some 100 bytes each.
pub const IDENTITIES_MAX: usize = 200_000;
/// Bodies kept between capture and shipping.
pub const BODY_CACHE_BYTES_MAX: usize = 64 << 20;
/// A file up to this size is read as a whole while its append is captured: nine of ten messages.
pub const SMALL_BODY_BYTES_MAX: u64 = 256 << 10;
/// Transactions of one user that wait for each other; beyond it they go out without waiting, as one run.
pub const QUEUED_ITEMS_MAX: usize = 20_000;
/// A mailbox with an index or log of this size (some thousand messages) is listed on a thread of its own.
pub const ASIDE_INDEX_BYTES: u64 = 64 << 10;
/// Messages that are offered at a time while a mailbox is introduced, and their bytes: some tenths of a second on a
/// usual link, so that live mail is not held up.
pub const OFFER_MESSAGES: usize = 200;
/// See [`OFFER_MESSAGES`].
pub const OFFER_BYTES: u64 = 8 << 20;
/// Log files that are held open: below the usual soft limit of a service's descriptors.
pub const OPEN_LOGS_MAX: usize = 2000;
/// Time for a round over all users of whom something is not watched: how late a change there is found.
pub const SCAN_SECONDS: u64 = 30;
/// Mailboxes of such users that are looked at in a second; beyond it a round takes longer. Some 3 µs each: 1.5 % of a
/// processor.
pub const SCAN_MAILBOXES_A_SECOND: u64 = 5_000;
/// Time for a round over everybody, whose events are heard at once: 100,000 mailboxes in an hour are some 30 a second.
pub const WATCHED_SCAN_SECONDS: u64 = 3600;
/// Time between two questions for the list of users.
pub const USERS_SECONDS: u64 = 60;
/// Time between two questions where each user's mail lies: a home that moved is followed so soon.
pub const PLACES_SECONDS: u64 = 300;
/// Users of whom that is asked in a second, in the mean: each answer costs the server's `doveadm` some 0.3 ms.
pub const PLACES_A_SECOND: u64 = 5;
/// Mailboxes whose lists are kept for answering needs.
pub const FOLDERS_MAX: usize = 64;
/// Messages in all of these lists together, some 200 bytes each; with more they are read anew.
pub const DESK_MESSAGES_MAX: usize = 100_000;
/// Longest wait for one call of `doveadm`: a listing of 10,000 users takes it some 10 s.
pub const DOVEADM_SECONDS_MAX: u64 = 120;
/// Users named in one call of `doveadm`: their names fit a command line, each with up to [`USER_BYTES_MAX`].
pub const DOVEADM_USERS_MAX: usize = 200;
/// Most output of one call of `doveadm`: 100,000 users with paths of 200 bytes are 20 MB.
pub const DOVEADM_OUTPUT_BYTES_MAX: u64 = 64 << 20;
/// Deepest nesting of blocks in the server's configuration; its own examples have three.
pub const SETTINGS_NESTING_MAX: usize = 32;
/// Most namespaces of a configuration; people have a handful.
pub const NAMESPACES_MAX: usize = 100;
/// Longest node name: what a DNS name in a certificate can have (RFC 1035 section 2.3.4).
pub const NODE_BYTES_MAX: usize = 253;
/// Longest reason for a base; a sentence for people.
pub const REASON_BYTES_MAX: usize = 1024;
/// Longest special use; the registered ones have at most 10 bytes.
pub const SPECIAL_USE_BYTES_MAX: usize = 255;
/// Largest value that goes through [`crate::codec::packed`]: nothing in it is larger than a frame.
pub const PACKED_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// What a packed value may claim while it is decoded: there a number counts with its size in memory, at most 16 for one
/// byte.
pub const PACKED_CLAIM_MAX: usize = 16 * PACKED_BYTES_MAX;
/// Room for a frame's header (98 bytes and a node name), payload length and checksum, rounded up.
pub const FRAME_OVERHEAD_BYTES_MAX: usize = 512;
/// Largest payload of one frame.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES_MAX;
/// UID ranges that one operation keeps when its transaction must become a run: at most 10 bytes each, so that every
/// piece fits a frame. Shorter transactions are carried as they were logged.
pub const SPLIT_RANGES_MAX: usize = 32_768;
/// Largest body of a journal record: a frame, or a part of a checkpoint.
pub const RECORD_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Largest part of a checkpoint: as a frame, so that recovery needs one buffer size; 32 bytes are the record's own.
pub const CHECKPOINT_PART_BYTES_MAX: usize = RECORD_BYTES_MAX - 32;
/// Most parts of a checkpoint: 4,096 parts of 1 MiB are positions of some 20 million mailboxes.
pub const CHECKPOINT_PARTS_MAX: u32 = 4096;
/// A journal segment that has reached this size is sealed at the next commit: small enough that trimming frees space
/// soon, large enough that a seal (two more flushes) is rare.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// Records that the journal holds in memory before it writes them, but for the last; a commit writes them earlier.
pub const JOURNAL_PENDING_BYTES_MAX: usize = 1 << 20;
/// The newest committed frames that a journal keeps in memory: some thousand deliveries, what a follower is behind.
pub const JOURNAL_RECENT_BYTES: usize = 1 << 20;
/// Distance of the marks by which a reader finds an LSN inside a segment.
pub const JOURNAL_MARK_BYTES: u64 = 64 << 10;
/// Most extensions of one Dovecot index: its own are about a dozen, plugins add a few (`fts`, `sort-*`).
pub const EXTS_MAX: usize = 256;
/// Largest extension header: the list index keeps all names of a user's mailboxes in one (20,000 names of 200 bytes).
pub const EXT_HEADER_BYTES_MAX: usize = 4 << 20;
/// Longest wire message: room for the largest frame and its neighbours' lengths.
pub const WIRE_BYTES_MAX: usize = FRAME_BYTES_MAX + (64 << 10);
/// Shorter messages are not compressed: zstd's own frame would eat the gain.
pub const PRESS_BYTES_MIN: usize = 200;
/// Bytes that wait to be written to a peer: what is said last waits behind so much.
pub const OUTBOX_BYTES: usize = 128 << 10;
/// Bytes that are handed to the socket at a time.
pub const WRITE_BYTES_MAX: usize = 64 << 10;
/// Buffer of a connection's reader: small messages share a read.
pub const SOCKET_READ_BYTES: usize = 64 << 10;
/// Most frames in one wire message; many small ones share a message, so that a busy minute is not a thousand writes.
pub const WIRE_FRAMES_MAX: usize = 1024;
/// Most messages that an offer or a gone question lists: with the longest GUIDs some 600 KiB.
pub const WIRE_MESSAGES_MAX: usize = 2048;
/// Most needs in one wire message, ...
pub const WIRE_NEEDS_MAX: usize = 128;
/// ... and most places that they name together: with the longest user names and GUIDs some 400 KiB.
pub const WIRE_NEED_PLACES_MAX: usize = 640;
/// Longest text for people in a wire message.
pub const WIRE_TEXT_BYTES_MAX: usize = 8192;
/// Longest operator's question or answer that is relayed.
pub const WIRE_JSON_BYTES_MAX: usize = 512 << 10;
/// Most UID ranges of one kind in a notice.
pub const NOTICE_RANGES_MAX: usize = 4096;
/// Frames that may be on their way to a peer, in bytes and in number: covers 100 ms at 640 Mbit/s.
pub const WINDOW_BYTES: u64 = 8 << 20;
/// See [`WINDOW_BYTES`].
pub const WINDOW_FRAMES: usize = 1024;
/// A standby says how far it is at most this often, milliseconds, ...
pub const POSITION_PAUSE_MS: u64 = 10;
/// ... unless it has decided everything, or a quarter of the window was taken meanwhile, in frames ...
pub const POSITION_FRAMES: u64 = 256;
/// ... or in bytes.
pub const POSITION_BYTES: u64 = WINDOW_BYTES / 4;
/// Bytes of frames that one read of the sender's journal brings.
pub const SHIP_READ_BYTES: usize = 2 << 20;
/// Bodies read but not sent, bytes, for needs and for bodies sent ahead alike. One larger body may go alone.
pub const READ_AHEAD_BYTES: u64 = 8 << 20;
/// Bodies being read or waiting to be sent, for each of the two kinds.
pub const READ_AHEAD_BODIES: usize = 512;
/// Threads that read bodies for one peer: enough to hide a disk's latency, few beside the mail server's own.
pub const READ_JOBS_MAX: usize = 3;
/// Bodies that one thread reads in a go, ...
pub const READ_JOB_BODIES: usize = 32;
/// ... and their bytes.
pub const READ_JOB_BYTES: u64 = 1 << 20;
/// What a body of unknown size counts as until it was read.
pub const BODY_BYTES_GUESS: u64 = 256 << 10;
/// Largest body that crosses a session, for both sides hold it in memory whole. A larger one is *body pending*.
pub const BODY_IN_MEMORY_MAX: u64 = 256 << 20;
/// GUIDs of bodies that went to a peer and are not sent ahead again: a day of a busy server.
pub const SENT_BODIES_MAX: usize = 65_536;
/// A message is fresh where its GUID was made this near to its capture, seconds. Older: probably moved or copied.
pub const FRESH_SECONDS: u64 = 600;
/// Bodies that a standby is checking, asking for or storing at once; frames beyond that wait in its journal.
pub const WANTED_BODIES_MAX: usize = 16_384;
/// Needs that a standby has asked for and not been answered.
pub const NEEDS_OPEN_MAX: usize = 1024;
/// Needs that a peer may have open here.
pub const NEEDS_TAKEN_MAX: usize = 4 * NEEDS_OPEN_MAX;
/// Bytes handed to the journal or the body store and not finished; beyond them a standby stops reading its socket.
pub const RECEIVE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of its own journal that a standby reads back at once to look for bodies.
pub const READ_OWN_BYTES: usize = 1 << 20;
/// Pending bodies that are asked for again in one round.
pub const PENDING_AGAIN_MAX: usize = 256;
/// Time between two such rounds.
pub const PENDING_AGAIN_MS: u64 = 30_000;
/// Quiet time after which a side sends a ping.
pub const PING_AFTER_MS: u64 = 5_000;
/// Quiet time after which a side takes the connection for dead.
pub const DEAD_AFTER_MS: u64 = 15_000;
/// Announcements, gone questions, relayed questions and verdicts that wait to be sent, each.
pub const SAYINGS_MAX: usize = 4096;
/// Digest verdicts that wait to be sent: one for each mailbox of a large group.
pub const VERDICTS_MAX: usize = 262_144;
/// Gone questions that are open at once.
pub const GONE_OPEN_MAX: usize = 1024;
/// Offers that are open at once on one connection.
pub const OFFERS_OPEN_MAX: usize = 16;
/// Announcements that are remembered until they are settled; beyond them the loss statement says "at least".
pub const NOTICES_MAX: usize = 65_536;
/// Largest file of announcements that is read: each of the most that are remembered with its hundred messages would be
/// larger, and then the file counts as unknown.
pub const NOTICES_FILE_BYTES_MAX: u64 = 256 << 20;
/// Heartbeats whose captured LSN is not durable yet; beyond that every second one is forgotten.
pub const HEARTBEATS_MAX: usize = 1024;
/// Where a capture table starts its next checkpoint part: some 2,000 mailboxes, well below a record.
pub const TABLE_PART_BYTES_MAX: usize = 512 << 10;
/// Most mailboxes of one user that are captured: ten times what servers bear.
pub const LISTING_MAILBOXES_MAX: usize = 100_000;
/// Largest subscriptions file or mailbox log that is read (the latter is rotated at 4 KiB).
pub const SMALL_FILE_BYTES_MAX: u64 = 16 << 20;
/// Bytes that a journal's reader fetches at a time: some hundred frames of usual size.
pub const JOURNAL_READ_BYTES: usize = 256 << 10;
/// Largest `dovecot-uidlist` that is read: about 80 bytes a message, as many messages as an index may have.
pub const UIDLIST_BYTES_MAX: u64 = 2 << 30;
/// Most subscriptions of one user; people have dozens.
pub const SUBSCRIPTIONS_MAX: usize = 100_000;
/// Largest `subscriptions` file that is read.
pub const SUBSCRIPTIONS_BYTES_MAX: usize = 32 << 20;
/// Largest metadata behind a dbox body: a few lines; external attachments add a line of at most some KiB.
pub const DBOX_METADATA_BYTES_MAX: usize = 1 << 20;
/// Attachments of one message that dbox keeps in files of their own: as many as a message has parts.
pub const ATTACHMENTS_MAX: usize = MIME_PARTS_MAX;
/// Largest chunk of Dovecot's lz4 framing: its own bound.
pub const LZ4_CHUNK_BYTES_MAX: usize = 1 << 20;
/// Memory that a body's decompressor may take for its window: what zstd's own default allows; Dovecot allows xz 80 MiB.
pub const DECOMPRESSOR_BYTES_MAX: u32 = 128 << 20;
/// A pack of bodies is closed before it grows beyond this: small enough to copy and to compact, large enough to be few.
pub const PACK_BYTES: u64 = 256 << 20;
/// Packed name of a body in a pack, with the reason where it is missing: user, GUIDs and two texts.
pub const PACK_NAME_BYTES_MAX: usize = 16 << 10;
/// Packs that are held open for reading.
pub const PACK_FILES_OPEN_MAX: usize = 64;
/// Read-only connections to one embedded store; beyond them readers wait for one another.
pub const READERS_MAX: usize = 8;
/// Listings of mailboxes that are kept for the next client, bytes: of some thousand usual mailboxes, or sixteen of 100,000
/// messages.
pub const LISTINGS_BYTES_MAX: usize = 32 << 20;
/// Messages that are read from the store in one go, between two answers' writing.
pub const READ_MESSAGES: usize = 128;
/// Octets of such a reading; one larger message may go alone.
pub const READ_OCTETS: usize = 1 << 20;
/// Octets that are read first where a header is wanted: nine of ten end before.
pub const HEADER_BYTES_GUESS: usize = 8 << 10;
/// Bodies whose octets were checked against their hash since the start, so that their headers are read alone: one bit
/// each.
pub const CHECKED_BODIES_MAX: usize = 64 << 20;
/// Messages in one question whether they are gone at the source.
pub const GONE_QUESTION_MESSAGES_MAX: usize = 2000;
/// Frames after which a primary writes down how far each mailbox was read: bounds what a restart reads again.
pub const CHECKPOINT_FRAMES: u64 = 10_000;
/// The same in time, seconds, where frames are few.
pub const CHECKPOINT_SECONDS: u64 = 60;
/// Bytes of a primary's journal beyond which a standby that is behind is left to be built anew, so that it can't fill
/// the primary's disk: weeks of a busy server's operations.
pub const JOURNAL_BYTES_MAX: u64 = 4 << 30;
/// Bytes of applied frames that a standby keeps.
pub const STANDBY_JOURNAL_BYTES: u64 = 256 << 20;
/// Bytes of messages that standbys may have been offered and not fetched: what fills 100 ms at 160 Mbit/s.
pub const OFFERS_AHEAD_BYTES: u64 = 2 << 20;
/// What an offered message of unknown size counts as.
pub const OFFER_SIZE_GUESS: u64 = 16 << 10;
/// A mailbox up to this size is listed without waiting until its messages were fetched: a long link would make each of
/// many small mailboxes wait for a round trip.
pub const OFFER_SMALL_BYTES: u64 = 256 << 10;
/// How long a `state` waits for standbys that fetch what they lack of it, seconds. Then their needs follow the list.
pub const OFFER_STALLED_SECONDS: u64 = 20;
/// Written bodies that no frame waits for are flushed after this time, milliseconds, so that the next ones share the
/// flush; ...
pub const BODIES_UNFLUSHED_MS_MAX: u64 = 4;
/// ... or once they are so many bytes: what a disk writes back in some ten milliseconds.
pub const BODIES_UNFLUSHED_BYTES_MAX: usize = 8 << 20;
/// Records of bodies that stand in the packs and not in the database, beyond which they are put there without waiting
/// for mail that names them: bounds the memory for them during a copy.
pub const BODIES_UNINDEXED_MAX: usize = 1024;
/// Orders to a standby's disk that one flush may follow.
pub const DISK_ROUND_MAX: usize = 1024;
/// Changes of clients that one database transaction and one flush of the journal may take, ...
pub const WRITE_BATCH_CHANGES: usize = 256;
/// ... and the octets of their messages: nobody waits long for those before him.
pub const WRITE_BATCH_BYTES: usize = 16 << 20;
/// Microseconds that a batch waits for as many changes as the one before had: a fraction of the flushes that they share.
pub const WRITE_GATHER_US: u64 = 1000;
/// Changes of clients that wait for the next batch, ...
pub const CHANGES_QUEUED_MAX: usize = 4096;
/// ... and the octets that they hold in memory; one larger change may go alone.
pub const CHANGES_QUEUED_BYTES_MAX: usize = 256 << 20;
/// Seconds that a client's change waits for room in that queue before it is refused.
pub const CHANGE_SECONDS_MAX: u64 = 30;
/// Mailboxes that an embedded primary lists for a base or a comparison between two batches of changes, ...
pub const TELL_MAILBOXES: usize = 64;
/// ... and the messages in them: some ten milliseconds. One larger mailbox is listed in one go.
pub const TELL_MESSAGES: usize = 2000;
/// Frames that are decided in one database transaction.
pub const APPLY_FRAMES_MAX: usize = 512;
/// Longest value of an attribute that travels in a frame: most METADATA and ACLs. A longer one travels as a body.
pub const VALUE_HERE_BYTES_MAX: usize = 4096;
/// Longest value of an attribute that is carried: ten times what Sieve servers take for a script.
pub const ATTRIBUTE_BYTES_MAX: u64 = 10 << 20;
/// Longest name of an attribute: longer than any line a client sends for one.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 4096;
/// Most attributes of one kind that one mailbox, or a user, may have.
pub const ATTRIBUTES_MAX: usize = 10_000;
/// Largest dict file of attributes that is read: it is read again whenever it changes.
pub const ATTRIBUTE_FILE_BYTES_MAX: u64 = 64 << 20;
/// Longest time between two looks at what no log speaks of: ACL files that were edited by hand.
pub const ATTRIBUTES_SCAN_SECONDS: u64 = 300;
/// Free bytes where the state lies below which an operator is warned: the journal of a busy day may not fit.
pub const STATE_FREE_BYTES_LOW: u64 = 1 << 30;
/// The same below which writing will pause within minutes.
pub const STATE_FREE_BYTES_SHORT: u64 = 64 << 20;
/// Days before its end from which on a certificate is warned of: time for an operator on holiday.
pub const CERTIFICATE_DAYS_LOW: i64 = 30;
/// The same from which on the warning becomes an error.
pub const CERTIFICATE_DAYS_SHORT: i64 = 7;
/// Seconds between two looks at everything for events, the service manager's watchdog and its status line.
pub const OBSERVE_SECONDS: u64 = 2;
/// Events that wait for the command of `node.on_event`; more are dropped and counted.
pub const EVENTS_QUEUED_MAX: usize = 64;
/// Seconds that the command of `node.on_event` may take for one event.
pub const EVENT_COMMAND_SECONDS_MAX: u64 = 30;
/// Bytes of what that command complains of that are kept for the log.
pub const EVENT_COMPLAINT_BYTES_MAX: u64 = 4 << 10;
/// Problems of one group that are told as events, each with its text: a damaged disk must not become a flood.
pub const EVENT_PROBLEMS_MAX: usize = 20;
/// Seconds without a sign of a group's threads after which it counts as stalled, and is said to be.
pub const STALLED_SECONDS: u64 = 60;
/// The same after which the service manager is no longer told that all is well, so that it starts the daemon anew. A
/// mailbox of a million messages is read or applied in a fraction of it.
pub const STALLED_SECONDS_MAX: u64 = 300;
/// Longest answer of a peer about itself: a few hundred bytes a group.
pub const ABOUT_BYTES_MAX: usize = 256 << 10;
/// Most mailboxes that a base can name as those with attributes of a kind: their GUIDs fit a frame beside the rest.
pub const ATTRIBUTE_HOLDERS_MAX: usize = 20_000;
/// Entries of the quarantine, damaged mailboxes, uncaptured users that `status` names: what a screen shows at a glance.
pub const STATUS_NAMED_MAX: u32 = 5;
/// Sentences on what is not carried that a source keeps for `status`. There is one for each kind and namespace, unless the
/// configuration names a user in them.
pub const NOT_CARRIED_TOLD_MAX: usize = 32;
/// Largest note of peers that have a replaced stream: their names and a stream's.
pub const REPLACED_FILE_BYTES_MAX: u64 = 1 << 20;
/// Seconds for which a mailbox is not waited for again that was waited for in vain: a standby repeats its needs as often.
pub const UNSETTLED_SECONDS: u64 = 30;
/// Mailboxes of that kind, beyond which nobody is waited for: their waits together take some seconds.
pub const UNSETTLED_MAILBOXES_MAX: usize = 32;
/// Bytes of frames of a base that may be in the journal and not durable at its peer: fills a long link, and is small beside
/// [`JOURNAL_BYTES_MAX`].
pub const BASE_AHEAD_BYTES: usize = 8 << 20;
/// The same in frames: lists of small mailboxes whose bodies are on their way.
pub const BASE_AHEAD_FRAMES: usize = 1024;

// Who is primary, and where clients are sent.

/// Conversations about roles at the same time: nodes are few, and each proxy holds one or two.
pub const ROLE_ASKERS_MAX: usize = 256;
/// Silence after which who asked for roles is taken for gone, seconds: a follower asks at once again.
pub const ROLE_SILENCE_SECONDS_MAX: u64 = 30;
/// How long a question for roles is held while nothing changes, milliseconds: so often a follower proves that the other
/// side lives.
pub const ROLES_HELD_MS: u64 = 1_000;
/// Longest wait for roles from a node that answers at once, the handshake included, milliseconds; a node that is slower
/// counts as not alive.
pub const ROLES_MS_MAX: u64 = 500;
/// Largest record of a role: names and numbers.
pub const ROLE_FILE_BYTES_MAX: u64 = 64 << 10;
/// Largest log of role changes that is read at a start: thousands of promotions, each with its loss statement.
pub const AUDIT_BYTES_MAX: u64 = 256 << 20;
/// Room that is kept for the role and its log on a full disk: both many times over.
pub const ROLE_RESERVE_BYTES: u64 = 256 << 10;
/// Seconds since the last heartbeat within which a primary counts as alive without being asked.
pub const ALIVE_SECONDS: f64 = 3.0;
/// Deeds that wait for a group's steward; whoever brings one more waits.
pub const DEEDS_QUEUED_MAX: usize = 64;
/// Pause before a peer that did not answer is asked again, milliseconds: a former primary waits for it at its start.
pub const ROLES_AGAIN_MS: u64 = 500;
/// Messages that a loss statement names; the rest is counted.
pub const LOSS_NAMED_MAX: usize = 10_000;
/// Largest note of the highest epoch that a proxy has seen: a number and a node's name.
pub const PROXY_MEMORY_BYTES_MAX: u64 = 4 << 10;
/// Clients of one proxy: two descriptors each, and some kilobytes.
pub const PROXY_CONNECTIONS_MAX: u64 = 100_000;
/// Clients of one proxy that wait for a primary: everybody who was connected, once.
pub const PROXY_HELD_MAX: u64 = 20_000;
/// How long one waits, seconds: a promotion takes fewer, and clients give up after some 30.
pub const PROXY_HELD_SECONDS_MAX: u64 = 30;
/// Longest wait for the primary's service to take a connection, seconds.
pub const PROXY_CONNECT_SECONDS_MAX: u64 = 3;
/// Time between two attempts for one held client, milliseconds.
pub const PROXY_RETRY_MS: u64 = 100;
/// Over how long the ends of sessions are spread when the primary changes, milliseconds: all within the second that is
/// promised.
pub const PROXY_CUT_MS_MAX: u64 = 500;
/// Quiet time after which the kernel asks whether a client's or server's host is still there, seconds.
pub const PROXY_KEEPALIVE_SECONDS: u64 = 120;
/// Bytes that a proxied connection moves at a time, and the most that it keeps for each direction.
pub const PROXY_PIECE_BYTES: usize = 16 << 10;
/// Longest time for one redirect, seconds: a promotion goes on without it.
pub const REDIRECT_SECONDS_MAX: u64 = 30;
/// The same for an operator's command; less, so that its own complaint is heard.
pub const REDIRECT_COMMAND_SECONDS_MAX: u64 = 25;
/// Longest answer of a redirector: HAProxy's figures of some thousand servers.
pub const REDIRECT_ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Longest wait until a redirector has ended the old sessions, milliseconds.
pub const REDIRECT_OLD_SESSIONS_MS_MAX: u64 = 3_000;
/// Largest passwd-file of a Dovecot proxy: as of our own front end.
pub const REDIRECT_PASSWD_BYTES_MAX: u64 = PASSWD_BYTES_MAX;
/// Largest TSIG key file: a name, an algorithm and 64 octets.
pub const TSIG_FILE_BYTES_MAX: u64 = 16 << 10;
/// Longest wait for a name server's answer, seconds.
pub const DNS_SECONDS_MAX: u64 = 5;
/// Longest DNS name, in its wire form (RFC 1035 section 2.3.4).
pub const DNS_NAME_BYTES_MAX: usize = 255;
/// Records of an answer that are stepped over to find its signature; a DNS UPDATE is answered with none but that.
pub const DNS_RECORDS_MAX: usize = 64;
/// Clients that the system holds until a proxy takes them in: all come back at once when the primary changes. The kernel
/// allows as many as `net.core.somaxconn` says.
pub const PROXY_BACKLOG: i32 = 4096;
/// Time until a node that could not be asked is asked again by a proxy, milliseconds.
pub const PROXY_ASK_AGAIN_MS: u64 = 200;
/// Longest look of `check` at one redirector, seconds.
pub const REDIRECT_LOOK_SECONDS_MAX: u64 = 10;
/// Everything that a mail server may say to a login that proves a promotion.
pub const PROBE_ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Largest password file of such a login.
pub const PROBE_PASSWORD_BYTES_MAX: u64 = 4 << 10;
/// How long it is tried, seconds: redirects take their time.
pub const PROBE_SECONDS_MAX: u64 = 10;
/// Pause between two tries, milliseconds.
pub const PROBE_AGAIN_MS: u64 = 100;
