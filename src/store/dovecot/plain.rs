//! Stored octets to plain ones, where it is not certain that they are not plain already.
//!
//! With a compression plugin loaded Dovecot undoes what the first octets claim, exactly once; without it a message that
//! begins like a gzip file is just such a message. Whether the plugin is loaded is a matter of protocol and user, so the
//! sizes decide that the store wrote down when the message was saved. Where there are none (a foreign program delivered
//! into a maildir), the configuration does.

use super::crlf::virtual_size;
use super::decompress::decompress;
use super::transform::Transform;
use crate::limits::BODY_IN_MEMORY_MAX;
use std::borrow::Cow;

/// What a store says of a message's size, as far as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Octets before any transform (dbox `Z`, maildir `S=`).
    pub plain: Option<u64>,
    /// RFC822.SIZE (dbox `V`, maildir `W=`).
    pub body: Option<u64>,
}

/// What Dovecot has loaded, so that it takes first octets at their word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plugins {
    /// A compression plugin: what begins like compressed mail is decompressed.
    pub compression: bool,
    /// mail-crypt: bodies can't be read.
    pub encryption: bool,
}

impl Sizes {
    fn are_known(self) -> bool {
        self.plain.is_some() || self.body.is_some()
    }

    /// How far these octets are from what is said: none where nothing contradicts them.
    fn contradiction(self, plain: &[u8]) -> Option<String> {
        let length = u64::try_from(plain.len()).unwrap_or(u64::MAX);
        match (self.plain, self.body) {
            (Some(said), _) if said != length => Some(format!("{length} bytes where the store says {said}")),
            (_, Some(said)) if said != virtual_size(plain) => {
                let body = virtual_size(plain);
                Some(format!("a body of {body} bytes where the store says {said}"))
            }
            _ => None,
        }
    }
}

/// The plain octets of what is stored.
///
/// # Errors
/// What contradicts what, or why it can't be read; for people.
pub fn plain(stored: Cow<'_, [u8]>, sizes: Sizes, plugins: Plugins) -> Result<Cow<'_, [u8]>, String> {
    let transform = Transform::of(&stored);
    if transform == Transform::None {
        return match sizes.plain {
            Some(said) if usize::try_from(said) != Ok(stored.len()) => {
                Err(format!("{} bytes where the store says {said}", stored.len()))
            }
            // Whether the body has its size is seen when it is there.
            _ => Ok(stored),
        };
    }
    let is_plain = if sizes.are_known() {
        sizes.contradiction(&stored).is_none()
    } else {
        match transform {
            Transform::Encrypted => !plugins.encryption,
            _ => !plugins.compression,
        }
    };
    if is_plain {
        return Ok(stored);
    }
    let most = sizes.plain.or(sizes.body).unwrap_or(BODY_IN_MEMORY_MAX);
    let octets = decompress(transform, &stored, most.min(BODY_IN_MEMORY_MAX)).map_err(|error| error.to_string())?;
    match sizes.contradiction(&octets) {
        None => Ok(Cow::Owned(octets)),
        Some(why) => Err(format!("{why}, once {} is undone", transform.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const MAIL: &[u8] = b"Subject: x\n\nbody\n";

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn said(plain: usize, body: usize) -> Sizes {
        Sizes {
            plain: Some(plain as u64),
            body: Some(body as u64),
        }
    }

    fn read(stored: &[u8], sizes: Sizes, loaded: bool) -> Result<Vec<u8>, String> {
        let plugins = Plugins {
            compression: loaded,
            encryption: loaded,
        };
        plain(Cow::Borrowed(stored), sizes, plugins).map(Cow::into_owned)
    }

    #[test]
    fn a_gzip_file_that_someone_sent_is_that_message() {
        let stored = gzip(MAIL);
        let line_feeds = stored.iter().filter(|octet| **octet == b'\n').count();
        let sizes = said(stored.len(), stored.len() + line_feeds);
        for loaded in [false, true] {
            assert_eq!(read(&stored, sizes, loaded).unwrap(), stored);
        }
        assert_eq!(read(&stored, Sizes::default(), false).unwrap(), stored);
    }

    #[test]
    fn one_layer_is_undone_and_no_more() {
        let once = gzip(MAIL);
        for loaded in [false, true] {
            assert_eq!(read(&once, said(MAIL.len(), MAIL.len() + 3), loaded).unwrap(), MAIL);
        }
        assert_eq!(read(&gzip(&once), Sizes::default(), true).unwrap(), once);
    }

    #[test]
    fn a_size_that_nothing_fits_is_a_contradiction() {
        for stored in [MAIL.to_vec(), gzip(MAIL)] {
            let why = read(&stored, said(MAIL.len() + 1, MAIL.len() + 4), true).unwrap_err();
            assert!(why.contains("where the store says 18"), "{why}");
        }
    }

    #[test]
    fn a_bomb_makes_no_more_than_was_announced() {
        let bomb = gzip(&vec![b'a'; 4 << 20]);
        let why = read(&bomb, said(100, 100), true).unwrap_err();
        assert!(why.contains("more than 100 bytes"), "{why}");
    }

    #[test]
    fn what_is_encrypted_says_so() {
        let stored = b"CRYPTED\x03\x07\x02 and so on";
        assert!(read(stored, Sizes::default(), true).unwrap_err().contains("encrypted"));
        assert_eq!(read(stored, Sizes::default(), false).unwrap(), stored);
        assert!(read(stored, said(5, 5), true).unwrap_err().contains("encrypted"));
        assert_eq!(read(stored, said(stored.len(), stored.len()), true).unwrap(), stored);
    }
}
