//! One mailbox of sdbox: each message is a file `u.<uid>`, in the mailbox's directory or at the same place below the
//! alternative root.

use super::body_settings::BodySettings;
use super::dbox::{DBOX_ONE_READ_BYTES, DBOX_PREFIX_BYTES, FileHeader, Metadata, layout, sdbox_message};
use super::dbox_body::plain_octets;
use super::mail_root::Namespace;
use super::stored::{Look, Stored, Want, contradiction, seconds, unreadable, with_body};
use super::tail::read_range;
use super::transaction::RawAppend;
use crate::limits::{BODY_BYTES_MAX, DBOX_METADATA_BYTES_MAX};
use crate::op::{Guid, MessageGuid, Uid};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mailbox's files.
#[derive(Debug)]
pub(crate) struct SdboxFolder {
    directory: PathBuf,
    alternative: Option<PathBuf>,
    mailbox: Guid,
    settings: BodySettings,
}

impl SdboxFolder {
    /// Of the mailbox whose index lies in `index_directory`.
    pub(crate) fn new(namespace: &Namespace, index_directory: &Path, mailbox: Guid, settings: BodySettings) -> Self {
        Self {
            directory: namespace.mail_directory(index_directory),
            alternative: namespace.alternative_directory(index_directory),
            mailbox,
            settings,
        }
    }

    /// Where a message may be.
    fn paths(&self, uid: Uid) -> impl Iterator<Item = PathBuf> {
        let name = format!("u.{uid}");
        let directories = [Some(&self.directory), self.alternative.as_ref()];
        directories
            .into_iter()
            .flatten()
            .map(move |directory| directory.join(&name))
    }

    pub(crate) fn look(&self, raw: &RawAppend, want: Want) -> Look {
        for path in self.paths(raw.uid) {
            match File::open(&path).and_then(|file| self.facts(&path, &file, raw, want)) {
                Ok(look) => return look,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return unreadable(&path, &e),
            }
        }
        Look::Gone(MessageGuid::default())
    }

    /// True where no place has the message. False also where a place can't be looked at.
    pub(crate) fn is_gone(&self, uid: Uid) -> bool {
        let absent =
            |path: PathBuf| std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        self.directory.is_dir() && self.paths(uid).all(absent)
    }

    fn facts(&self, path: &Path, file: &File, raw: &RawAppend, want: Want) -> io::Result<Look> {
        let meta = file.metadata()?;
        if meta.len() > BODY_BYTES_MAX {
            return Ok(contradiction(
                path,
                BODY_BYTES_MAX,
                format!("a message of {} bytes", meta.len()),
            ));
        }
        let found = |metadata: &Metadata| Stored {
            guid: metadata.guid.clone().unwrap_or_default(),
            received: metadata.received.unwrap_or_default(),
            saved: seconds(meta.ctime()),
            size: metadata.virtual_size,
            body: None,
        };
        if !want.reads(meta.len()) && meta.len() > DBOX_ONE_READ_BYTES {
            return Ok(match metadata_only(file, meta.len())? {
                Ok(metadata) => Look::Found(found(&metadata)),
                Err((offset, why)) => contradiction(path, offset, why),
            });
        }
        let bytes = read_range(file, 0, meta.len())?;
        match sdbox_message(&bytes) {
            Ok(message) if want == Want::Facts => Ok(Look::Found(found(&message.metadata))),
            Ok(message) => {
                // A copy has its attachments under names of its own.
                let suffix = format!("-{}-{}", self.mailbox.to_hex(), raw.uid);
                let file = |attachment: &_| self.settings.attachment(attachment, &suffix);
                let plain = plain_octets(&message, self.settings.plugins, file);
                Ok(with_body(
                    path,
                    message.layout.body_at,
                    plain,
                    found(&message.metadata),
                    want,
                ))
            }
            Err(e) => Ok(contradiction(path, e.offset, e.why)),
        }
    }
}

/// Header and metadata of a large file without what lies between.
fn metadata_only(file: &File, size: u64) -> io::Result<Result<Metadata, (u64, String)>> {
    let prefix = read_range(file, 0, u64::try_from(DBOX_PREFIX_BYTES).unwrap_or(u64::MAX).min(size))?;
    let place = FileHeader::parse(&prefix).and_then(|header| {
        let at = layout(&header, prefix.get(header.bytes..).unwrap_or_default())?;
        Ok(at
            .metadata_at
            .saturating_add(u64::try_from(header.bytes).unwrap_or(u64::MAX)))
    });
    let from = match place {
        Ok(from) => from,
        Err(e) => return Ok(Err((e.offset, e.why))),
    };
    let most = from.saturating_add(u64::try_from(DBOX_METADATA_BYTES_MAX).unwrap_or(u64::MAX));
    let bytes = read_range(file, from.min(size), most.min(size))?;
    Ok(Metadata::parse(&bytes).map_err(|e| (e.offset.saturating_add(from), e.why)))
}
