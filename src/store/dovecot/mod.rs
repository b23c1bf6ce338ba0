//! Dovecot 2.3 and 2.4: as a source, read from its files only.
//!
//! Two halves. The parsers turn bytes into facts and touch no disk; in the order in which they build on each other:
//!
//! | module | bytes of |
//! |---|---|
//! | [`log`], [`record`], [`payload`] | a transaction log: header, records, what each says |
//! | [`exts`], [`index`] | the table of extensions, and the main index that carries it |
//! | [`transaction`], [`commit`], [`reader`] | a commit as operations, and what the next commit needs |
//! | [`chain`], [`replay`] | a mailbox's whole state |
//! | [`classify`] | where a log stands against a position |
//! | [`uidlist`], [`maildir_name`] | maildir: which file is which message |
//! | [`map`], [`dbox`], [`attachment`], [`dbox_body`] | bodies, and what of them lies apart |
//! | [`transform`], [`decompress`], [`lz4`], [`plain`], [`crlf`] | stored octets, and what IMAP answers for them |
//! | [`body_settings`] | what the configuration says of bodies |
//! | [`mutf7`], [`spelling`], [`subscriptions`], [`mailbox_log`], [`list_index`] | a user's tree |
//!
//! The capture reads files and emits operations; from the thread's loop down to the files:
//!
//! | module | does |
//! |---|---|
//! | [`engine`], [`job`], [`directory`], [`doveadm`], [`watch`], [`look`] | the thread: users, wake-ups, commands, long work |
//! | [`user`], [`order`], [`introduction`], [`trouble`], [`shared`] | one user: turns at tree and logs, in which order what goes out |
//! | [`mail_root`], [`namespaces`], [`location`], [`settings`], [`variables`] | where a user's mail lies |
//! | [`public`] | whose it is where it is nobody's own |
//! | [`tree`], [`catalogue`], [`walk`], [`identity`] | the tree and its changes |
//! | [`mailbox`], [`tail`], [`snapshot`], [`settling`] | one mailbox: its log, its list, and when to list it again |
//! | [`folder`], [`bodies`], [`body_cache`] | messages' files: what the log lacks, and bodies |
//! | [`fetch`], [`own_bodies`] | one message out of a running Dovecot; bodies that a standby's Dovecot has already |
//! | [`fence`], `sessions` | keeps clients out of a Dovecot that is primary no longer |
//! | [`hold`], `holding` | keeps some users of a Dovecot out |
//!
//! As a target, a Dovecot is told what to hold while it runs: [`dsync`]. What a lost tail brings, it gets while clients use it:
//! [`merging`].

pub mod acl;
pub mod attachment;
pub mod attribute_dict;
pub mod attribute_settings;
pub mod attributes;
pub mod body_settings;
pub mod chain;
pub mod classify;
pub mod commit;
pub mod crlf;
pub mod dbox;
pub mod dbox_body;
pub mod decompress;
pub mod exts;
#[cfg(test)]
pub(crate) mod forge;
pub mod index;
pub(crate) mod le;
pub mod list_index;
pub mod log;
pub mod lz4;
pub mod mailbox_log;
pub mod maildir_name;
pub mod map;
mod map_tail;
pub mod mutf7;
pub mod payload;
pub mod plain;
pub mod ranges;
pub mod reader;
pub mod record;
pub mod replay;
pub mod rota;
pub mod subscriptions;
pub mod transaction;
pub mod transform;
pub mod uidlist;
mod uidlist_file;
mod unsettled;

// The other half: files, directories and the server's own command.
pub mod bodies;
pub mod body_cache;
pub mod catalogue;
pub mod directory;
pub mod doveadm;
pub mod dsync;
pub mod engine;
pub mod fence;
pub mod fetch;
pub mod folder;
pub mod hold;
mod holding;
pub mod identity;
pub mod introduction;
pub mod inventory;
pub mod job;
mod location;
pub mod look;
pub mod mail_root;
pub mod mailbox;
mod maildir_folder;
mod mdbox_folder;
pub mod merging;
mod namespaces;
pub mod order;
pub mod own_bodies;
pub mod places;
mod public;
mod sdbox_folder;
mod sessions;
pub mod settings;
pub mod settling;
pub mod shared;
pub mod sieve;
pub mod snapshot;
mod spelling;
mod stamp;
mod stored;
pub mod tail;
pub mod tree;
pub mod trouble;
pub mod user;
pub mod variables;
mod walk;
pub mod watch;
