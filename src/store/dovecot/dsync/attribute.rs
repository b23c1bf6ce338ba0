//! Attributes, as we name them and as Dovecot does.
//!
//! | ours | Dovecot's |
//! |---|---|
//! | METADATA `/private/K`, `/shared/K` of a mailbox | private or shared `K` |
//! | the same of the user | with `vendor/vendor.dovecot/pvt/server/` before it, on INBOX |
//! | ACL `user=bob`: letters | shared `vendor/vendor.dovecot/pvt/acl/user=bob`: names of rights |
//! | Sieve `script/NAME` | private `vendor/vendor.dovecot/pvt/server/sieve/files/NAME`, on INBOX |
//! | Sieve `active`: NAME; `active-file`: a script | private `…/sieve/default`: `L` and NAME; `S` and the script |

use super::{AttributeDelta, Owner};
use crate::op::AttributeKind;
use crate::store::dovecot::acl;

const SERVER: &str = "vendor/vendor.dovecot/pvt/server/";
const ACL: &str = "vendor/vendor.dovecot/pvt/acl/";
const SCRIPT: &str = "vendor/vendor.dovecot/pvt/server/sieve/files/";
const ACTIVE: &str = "vendor/vendor.dovecot/pvt/server/sieve/default";
const DOVECOTS_OWN: &str = "vendor/vendor.dovecot/";

/// An attribute as Dovecot names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) private: bool,
    pub(super) key: String,
    /// None: unset.
    pub(super) value: Option<Vec<u8>>,
}

/// Dovecot's name and value for ours; none where it has none (an entry that is neither private nor shared).
pub(super) fn named(attribute: &AttributeDelta) -> Option<Named> {
    let value = attribute.value.clone();
    let private = |key: String, value| Named {
        private: true,
        key,
        value,
    };
    match attribute.kind {
        AttributeKind::Metadata => {
            let prefix = match attribute.owner {
                Owner::User => SERVER,
                Owner::Mailbox => "",
            };
            let rest = attribute.entry.strip_prefix('/')?;
            let (scope, key) = rest.split_once('/').filter(|(_, key)| !key.is_empty())?;
            let named = private(format!("{prefix}{key}"), value);
            match scope {
                "private" => Some(named),
                "shared" => Some(Named {
                    private: false,
                    ..named
                }),
                _ => None,
            }
        }
        AttributeKind::Acl => Some(Named {
            private: false,
            key: format!("{ACL}{}", attribute.entry),
            value: match value {
                Some(rights) => Some(acl::in_words(&rights)?.into_bytes()),
                None => None,
            },
        }),
        AttributeKind::Sieve => match attribute.entry.strip_prefix("script/") {
            Some(name) => Some(private(format!("{SCRIPT}{name}"), value)),
            None => {
                let letter = match attribute.entry.as_str() {
                    "active" => b"L",
                    "active-file" => b"S",
                    _ => return None,
                };
                Some(private(
                    ACTIVE.to_owned(),
                    value.map(|value| [letter, value.as_slice()].concat()),
                ))
            }
        },
    }
}

/// Our name and value for Dovecot's; none for what is its own matter.
pub(super) fn ours(said: Named) -> Option<AttributeDelta> {
    let Named { private, key, value } = said;
    let attribute = |owner, kind, entry, value| AttributeDelta {
        owner,
        kind,
        entry,
        value,
    };
    if let Some(name) = key.strip_prefix(SCRIPT) {
        return Some(attribute(
            Owner::User,
            AttributeKind::Sieve,
            format!("script/{name}"),
            value,
        ));
    }
    if key == ACTIVE {
        let is_file = value.as_ref().is_some_and(|value| value.first() == Some(&b'S'));
        let entry = if is_file { "active-file" } else { "active" };
        let value = value.map(|value| value.get(1..).unwrap_or_default().to_vec());
        return Some(attribute(Owner::User, AttributeKind::Sieve, entry.to_owned(), value));
    }
    if let Some(whom) = key.strip_prefix(ACL) {
        let rights = value.map(|words| acl::in_letters(&words)).map(String::into_bytes);
        return Some(attribute(Owner::Mailbox, AttributeKind::Acl, whom.to_owned(), rights));
    }
    let (owner, key) = match key.strip_prefix(SERVER) {
        Some(key) => (Owner::User, key),
        None => (Owner::Mailbox, key.as_str()),
    };
    if key.starts_with(DOVECOTS_OWN) || key.starts_with("sieve/") {
        return None;
    }
    let scope = if private { "private" } else { "shared" };
    Some(attribute(
        owner,
        AttributeKind::Metadata,
        format!("/{scope}/{key}"),
        value,
    ))
}

/// In which order attributes go out: a script before the word that it is the active one, that word's end before the
/// script's.
pub(super) fn order(named: &Named) -> u8 {
    match (named.key == ACTIVE, named.value.is_some()) {
        (true, false) => 0,
        (false, _) => 1,
        (true, true) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_name_comes_back_under_our_name() {
        let cases = [
            (Owner::Mailbox, AttributeKind::Metadata, "/private/comment", Some("c")),
            (Owner::User, AttributeKind::Metadata, "/shared/vendor/x/y", Some("c")),
            (Owner::Mailbox, AttributeKind::Metadata, "/shared/vendor/x/y", None),
            (Owner::Mailbox, AttributeKind::Acl, "-user=eve", Some("lr :own")),
            (Owner::Mailbox, AttributeKind::Acl, "anyone", None),
            (Owner::User, AttributeKind::Sieve, "script/main", Some("keep;")),
            (Owner::User, AttributeKind::Sieve, "active", Some("main")),
            (Owner::User, AttributeKind::Sieve, "active-file", Some("keep;")),
        ];
        for (owner, kind, entry, value) in cases {
            let attribute = AttributeDelta {
                owner,
                kind,
                entry: entry.to_owned(),
                value: value.map(|value| value.as_bytes().to_vec()),
            };
            let named = named(&attribute).unwrap();
            assert_eq!(ours(named), Some(attribute));
        }
    }

    #[test]
    fn rights_are_spelled_as_dovecot_spells_them_on_this_way() {
        let attribute = AttributeDelta {
            owner: Owner::Mailbox,
            kind: AttributeKind::Acl,
            entry: "user=bob".to_owned(),
            value: Some(b"lrs".to_vec()),
        };
        let named = named(&attribute).unwrap();
        assert_eq!(named.key, "vendor/vendor.dovecot/pvt/acl/user=bob");
        assert_eq!(named.value.as_deref(), Some(b"lookup read write-seen".as_slice()));
    }
}
