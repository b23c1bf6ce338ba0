//! What Dovecot's configuration says of bodies, out of `doveadm config -n`: which plugins transform them, and where
//! attachments lie.

use std::path::PathBuf;

/// How one user's bodies are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodySettings {
    /// The folder of attachments that are stored apart (dbox).
    pub attachments: Option<PathBuf>,
    /// A compression plugin is loaded: what begins like compressed mail is decompressed.
    pub decompresses: bool,
    /// mail-crypt is loaded: bodies can't be read.
    pub encrypts: bool,
}
