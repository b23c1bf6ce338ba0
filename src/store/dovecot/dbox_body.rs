//! From a dbox message to its plain octets: decompressed, and its attachments put back in.

use super::attachment::{Attachment, bytes_of, join};
use super::dbox::DboxMessage;
use super::plain::{Plugins, Sizes, plain};
use std::borrow::Cow;

/// The plain octets. `file` reads an attachment's file.
///
/// # Errors
/// What is damaged, absent or contradictory, for people.
pub fn plain_octets<'a>(
    message: &DboxMessage<'a>,
    plugins: Plugins,
    file: impl FnMut(&Attachment) -> Result<Vec<u8>, String>,
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
        return plain(stored, sizes, plugins);
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
    let rest = plain(stored, sizes, plugins)?;
    join(&rest, attachments, file).map(Cow::Owned)
}

/// Entry point for fuzzing: any octets as a `u.<uid>`, with attachments of the octets themselves.
pub fn fuzz_dbox_body(bytes: &[u8]) {
    if let Ok(message) = super::dbox::sdbox_message(bytes) {
        let file = |attachment: &Attachment| {
            let most = usize::try_from(attachment.bytes).unwrap_or(usize::MAX);
            Ok(bytes.iter().copied().take(most).collect())
        };
        let _ = plain_octets(&message, Plugins::default(), file);
    }
}
