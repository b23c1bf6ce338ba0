//! From a dbox message to its plain octets: decompressed, and its attachments put back in.

use super::attachment::{Attachment, bytes_of, join};
use super::body_settings::BodySettings;
use super::dbox::DboxMessage;
use super::plain::{Sizes, plain};
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The plain octets. `suffix` is what is appended to the names of its attachments' files.
///
/// # Errors
/// What is damaged, absent or contradictory, for people.
pub(crate) fn plain_octets<'a>(
    message: &DboxMessage<'a>,
    settings: &BodySettings,
    suffix: &str,
) -> Result<Cow<'a, [u8]>, String> {
    let metadata = &message.metadata;
    let stored = Cow::Borrowed(message.stored);
    let attachments = &metadata.attachments;
    if attachments.is_empty() {
        // `Z` stands there only where the stored octets are not the plain ones.
        let length = u64::try_from(message.stored.len()).ok();
        let sizes = Sizes {
            plain: metadata.plain_size.or(length),
            body: metadata.virtual_size,
        };
        return plain(stored, sizes, settings.decompresses);
    }
    let rest = metadata
        .plain_size
        .map(|whole| whole.checked_sub(bytes_of(attachments)));
    let sizes = Sizes {
        plain: rest
            .map(|rest| rest.ok_or("attachments larger than the message"))
            .transpose()?,
        body: None,
    };
    let rest = plain(stored, sizes, settings.decompresses)?;
    let folder = settings
        .attachments
        .as_deref()
        .ok_or("it has attachments in files of their own, but doveadm tells no folder of attachments")?;
    join(&rest, attachments, |attachment| read(folder, attachment, suffix)).map(Cow::Owned)
}

/// The file is never larger than what it makes in the message.
fn read(folder: &Path, attachment: &Attachment, suffix: &str) -> Result<Vec<u8>, String> {
    let path = folder.join(format!("{}{suffix}", attachment.path));
    let mut octets = Vec::new();
    let most = attachment.bytes.saturating_add(1);
    File::open(&path)
        .and_then(|file| file.take(most).read_to_end(&mut octets))
        .map_err(|error| format!("the attachment {}: {error}", path.display()))?;
    Ok(octets)
}
