//! mdbox: all bodies of a user lie in `storage/m.<n>`, many in one file; the map of bodies tells where. Purging moves
//! bodies, so a place that doesn't fit is looked up anew before it is called damage.

use super::body_settings::BodySettings;
use super::dbox::{DBOX_ONE_READ_BYTES, DBOX_PREFIX_BYTES, FileHeader, Metadata, layout, message};
use super::dbox_body::plain_octets;
use super::mail_root::Namespace;
use super::map::{BodyEntry, BodyMap};
use super::map_tail::{MapTail, read_map};
use super::snapshot::ReadError;
use super::stored::{Look, Stored, Want, contradiction, unreadable, with_body};
use super::tail::read_range;
use super::transaction::RawAppend;
use crate::limits::DBOX_METADATA_BYTES_MAX;
use crate::op::MessageGuid;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A user's bodies, seen from one mailbox. Keeps the newest places; the whole map until [`Self::rest`].
#[derive(Debug)]
pub(crate) struct MdboxFolder {
    storage: PathBuf,
    alternative: PathBuf,
    /// Where the map is.
    index: PathBuf,
    map: Option<BodyMap>,
    tail: Option<MapTail>,
    settings: BodySettings,
}

impl MdboxFolder {
    pub(crate) fn new(namespace: &Namespace, settings: BodySettings) -> Self {
        Self {
            storage: namespace.storage(),
            alternative: namespace.alternative_root().join("storage"),
            index: namespace.storage_index(),
            map: None,
            tail: None,
            settings,
        }
    }

    /// The map as it is now.
    pub(crate) fn map_now(&mut self) -> Result<&BodyMap, ReadError> {
        let (map, tail) = read_map(&self.index)?;
        self.tail = Some(tail);
        Ok(self.map.insert(map))
    }

    /// Where a body lies as far as that is known without reading the whole map. What is known may be out of date.
    fn entry_known(&mut self, map_uid: u32) -> Option<BodyEntry> {
        let tail = self.tail.as_mut()?;
        if let Some(entry) = tail.get(map_uid) {
            return Some(entry);
        }
        if let Some(entry) = self.map.as_ref().and_then(|map| map.get(map_uid)) {
            return Some(*entry);
        }
        if !tail.advance(&self.index) {
            self.tail = None;
        }
        self.tail.as_ref()?.get(map_uid)
    }

    /// Gives the memory back.
    pub(crate) fn rest(&mut self) {
        self.map = None;
    }

    pub(crate) fn look(&mut self, raw: &RawAppend, want: Want) -> Look {
        let guid = raw.guid.map(|guid| MessageGuid(guid.to_hex())).unwrap_or_default();
        let Some(map_uid) = raw.map_uid else {
            return Look::Gone(guid);
        };
        let known = self.entry_known(map_uid);
        let first = known.map(|entry| self.read(&entry, raw, &guid, want));
        if let Some(Look::Found(stored)) = first {
            return Look::Found(stored);
        }
        match self.map_now().map(|map| map.get(map_uid).copied()) {
            Ok(Some(entry)) if Some(entry) == known => first.unwrap_or(Look::Gone(guid)),
            Ok(Some(entry)) => self.read(&entry, raw, &guid, want),
            Ok(None) => Look::Gone(guid),
            Err(e) => contradiction(&self.index.join("dovecot.map.index.log"), 0, e.to_string()),
        }
    }

    fn read(&self, entry: &BodyEntry, raw: &RawAppend, guid: &MessageGuid, want: Want) -> Look {
        let name = format!("m.{}", entry.file_id);
        for directory in [&self.storage, &self.alternative] {
            let path = directory.join(&name);
            match File::open(&path).and_then(|file| self.facts(&path, &file, entry, raw, want)) {
                Ok(Look::Found(stored)) if !guid.is_unknown() && !is_same(&stored.guid, guid) => {
                    let why = format!("another message's body ({})", stored.guid);
                    return contradiction(&path, u64::from(entry.offset), why);
                }
                Ok(look) => return look,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return unreadable(&path, &e),
            }
        }
        contradiction(
            &self.storage.join(name),
            0,
            "the file that the map of bodies names is not there".to_owned(),
        )
    }

    fn facts(&self, path: &Path, file: &File, entry: &BodyEntry, raw: &RawAppend, want: Want) -> io::Result<Look> {
        let beginning = read_range(file, 0, u64::try_from(DBOX_PREFIX_BYTES).unwrap_or(u64::MAX))?;
        let header = match FileHeader::parse(&beginning) {
            Ok(header) => header,
            Err(e) => return Ok(contradiction(path, e.offset, e.why)),
        };
        let (from, bytes) = (u64::from(entry.offset), u64::from(entry.bytes));
        let found = |metadata: &Metadata| Stored {
            guid: metadata.guid.clone().unwrap_or_default(),
            received: metadata.received.unwrap_or_default(),
            saved: raw.save_date,
            size: metadata.virtual_size,
            body: None,
        };
        if !want.reads(bytes) && bytes > DBOX_ONE_READ_BYTES {
            return Ok(match metadata_only(file, &header, from, bytes)? {
                Ok(metadata) => Look::Found(found(&metadata)),
                Err((offset, why)) => contradiction(path, offset, why),
            });
        }
        let octets = read_range(file, from, from.saturating_add(bytes))?;
        match message(&header, &octets) {
            Ok(message) if want == Want::Facts => Ok(Look::Found(found(&message.metadata))),
            Ok(message) => {
                let at = from.saturating_add(message.layout.body_at);
                let file = |attachment: &_| self.settings.attachment(attachment, "");
                let plain = plain_octets(&message, self.settings.plugins, file);
                Ok(with_body(path, at, plain, found(&message.metadata), want))
            }
            Err(e) => Ok(contradiction(path, e.offset.saturating_add(from), e.why)),
        }
    }
}

/// Header and metadata of a large message without what lies between.
fn metadata_only(
    file: &File,
    header: &FileHeader,
    from: u64,
    bytes: u64,
) -> io::Result<Result<Metadata, (u64, String)>> {
    let prefix = u64::try_from(DBOX_PREFIX_BYTES).unwrap_or(u64::MAX).min(bytes);
    let place = match layout(header, &read_range(file, from, from.saturating_add(prefix))?) {
        Ok(place) => place,
        Err(e) => return Ok(Err((e.offset.saturating_add(from), e.why))),
    };
    let most = u64::try_from(DBOX_METADATA_BYTES_MAX).unwrap_or(u64::MAX);
    let begin = from.saturating_add(place.metadata_at.min(bytes));
    let end = from.saturating_add(bytes).min(begin.saturating_add(most));
    let trailer = read_range(file, begin, end)?;
    Ok(Metadata::parse(&trailer).map_err(|e| (e.offset.saturating_add(begin), e.why)))
}

/// True where the index can mean that message: it has room for 32 hex digits, and of other GUIDs (a maildir's, which came by
/// a migration) it has the end of their SHA-1.
fn is_same(spelled: &MessageGuid, in_index: &MessageGuid) -> bool {
    let hash = || digest(&SHA1_FOR_LEGACY_USE_ONLY, spelled.as_str().as_bytes());
    let short = || {
        hash()
            .as_ref()
            .iter()
            .skip(4)
            .map(|octet| format!("{octet:02x}"))
            .collect::<String>()
    };
    spelled == in_index || short() == in_index.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maildirs_guid_is_known_again_in_an_mdbox() {
        let spelled = MessageGuid::from("1795385968.M618300P21480.vm,S=35,W=39");
        let same = |in_index: &str| is_same(&spelled, &in_index.into());
        // written by Dovecot 2.4.1 for a message of that GUID
        assert!(same("f1f3dd991290b019af59445401b761e3") && same(spelled.as_str()));
        assert!(!same("46ac860bf1f3dd991290b019af594454") && !same("f1f3dd991290b019af59445401b761e4"));
    }
}
