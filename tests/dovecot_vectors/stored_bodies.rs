//! Bodies as real Dovecots store them: compressed by each method, with attachments apart, with CRLF line ends, delivered by
//! foreign programs. What they answered to `BODY[]` is the truth.

use crate::vector::{Tree, VERSIONS, archive};
use mailshadow::store::dovecot::attachment::Attachment;
use mailshadow::store::dovecot::crlf::{to_crlf, virtual_size};
use mailshadow::store::dovecot::dbox::sdbox_message;
use mailshadow::store::dovecot::dbox_body::plain_octets;
use mailshadow::store::dovecot::maildir_name::MaildirName;
use mailshadow::store::dovecot::plain::{Plugins, Sizes, plain};
use std::borrow::Cow;

/// A stored message and what IMAP answered for it.
struct Case<'a> {
    tree: &'a Tree,
    said: &'a serde_json::Value,
}

impl Case<'_> {
    fn text(&self, key: &str) -> &str {
        self.said[key].as_str().unwrap_or_default()
    }

    fn stored(&self) -> &[u8] {
        &self.tree[self.text("file")]
    }

    fn size(&self) -> u64 {
        self.said["size"].as_u64().unwrap()
    }

    fn plugins(&self) -> Plugins {
        Plugins {
            compression: self.said["decompresses"].as_bool().unwrap(),
            encryption: false,
        }
    }

    /// As the folders read it.
    fn plain(&self) -> Result<Vec<u8>, String> {
        let file = self.text("file");
        if file.starts_with("sdbox") {
            let message = sdbox_message(self.stored()).map_err(|error| error.to_string())?;
            let attachment = |attachment: &Attachment| {
                let path = format!(
                    "{}/attachments/{}{}",
                    self.text("store"),
                    attachment.path,
                    self.text("suffix")
                );
                self.tree.get(&path).cloned().ok_or(path)
            };
            return plain_octets(&message, self.plugins(), attachment).map(Cow::into_owned);
        }
        let name = MaildirName::parse(file.split_once('/').unwrap().1);
        let sizes = Sizes {
            plain: name.size(),
            body: name.virtual_size(),
        };
        plain(Cow::Borrowed(self.stored()), sizes, self.plugins()).map(Cow::into_owned)
    }
}

fn sha256(octets: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, octets);
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn for_each_case(mut check: impl FnMut(&Case<'_>)) {
    for version in VERSIONS {
        let tree = archive(&format!("bodies-{version}"));
        let expected: serde_json::Value = serde_json::from_slice(&tree["expected.json"]).unwrap();
        let cases = expected.as_array().unwrap();
        assert!(cases.len() > 50, "only {} cases of {version}", cases.len());
        for said in cases {
            check(&Case { tree: &tree, said });
        }
    }
}

#[test]
fn every_way_of_storing_gives_the_octets_that_imap_answers() {
    for_each_case(|case| {
        let file = case.text("file");
        let plain = case.plain().unwrap_or_else(|why| panic!("{file}: {why}"));
        assert_eq!(virtual_size(&plain), case.size(), "{file}");
        assert_eq!(sha256(&to_crlf(&plain)), case.text("sha256"), "{file}");
    });
}

#[test]
fn a_stored_body_that_was_cut_is_never_taken_for_whole() {
    let mut cut = 0;
    for_each_case(|case| {
        let file = case.text("file");
        if !file.starts_with("sdbox") {
            return;
        }
        let mut message = sdbox_message(case.stored()).unwrap();
        message.stored = &message.stored[..message.stored.len() - 1];
        let read = plain_octets(&message, case.plugins(), |_| Err(String::new()));
        assert!(
            read.is_err() || read.is_ok_and(|plain| virtual_size(&plain) != case.size()),
            "{file}"
        );
        cut += 1;
    });
    assert!(cut > 20, "only {cut} files were cut");
}
