//! The front end's passwd-file: users in it, with hashes that can be compared here.

use super::Finding;
use crate::config::{Config, StoreConfig};
use crate::limits::PASSWD_BYTES_MAX;
use crate::serve::auth;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for group in &config.groups {
        if let StoreConfig::Embedded(embedded) = &group.store {
            let topic = format!("group {} embedded.users", group.name);
            // a file that can't be read is told with the other files
            let Some(bytes) = read(&embedded.users) else { continue };
            // where a program knows all users, the file may name none
            if embedded.auth_exec.is_none() || !auth::parse(&bytes).is_empty() {
                found.extend(judge(&topic, &embedded.users, &bytes));
            }
        }
    }
    found
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(PASSWD_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn judge(topic: &str, path: &Path, bytes: &[u8]) -> Vec<Finding> {
    let users = auth::parse(bytes);
    if users.is_empty() {
        let what = format!("{} has no user", path.display());
        let todo = "copy Dovecot's passwd-file, or make lines as NAME:{SCHEME}HASH with: doveadm pw -s SHA512-CRYPT";
        return vec![Finding::warning(topic, what, todo).because("nobody can log in to the copy")];
    }
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    // one of each kind is tried: trying all would take the time that their hashes are made to take
    let mut judged: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (name, entry) in &users {
        let hash = &entry.password;
        let why = judged.entry(kind(hash)).or_insert_with(|| auth::refusal(hash));
        if let Some(why) = why {
            refused.entry(why.clone()).or_default().push(name);
        }
    }
    let mut found: Vec<Finding> = refused
        .into_iter()
        .map(|(why, mut names)| {
            names.sort_unstable();
            let what = format!(
                "{why}: {} of {} users, as {}",
                names.len(),
                users.len(),
                names.first().unwrap_or(&"")
            );
            let todo = "give them hashes of another scheme: doveadm pw -s SHA512-CRYPT";
            Finding::warning(topic, what, todo).because("these users can't log in to the copy")
        })
        .collect();
    if found.is_empty() {
        found.push(Finding::ok(
            topic,
            format!("{} users, all with hashes that can be compared", users.len()),
        ));
    }
    found
}

/// Scheme, identifier and cost of a hash: what decides whether it can be compared. `{SHA512-CRYPT}$6$rounds=6000`.
fn kind(hash: &str) -> String {
    let (scheme, rest) = hash.split_once('}').unwrap_or(("", hash));
    let mut parts = rest.split('$');
    let before = parts.next().unwrap_or_default();
    let cost: Vec<&str> = parts
        .take(3)
        .filter(|part| part.len() <= 24 && (part.len() <= 2 || part.contains('=')))
        .collect();
    let plain = if before.is_empty() { "" } else { "plain" };
    format!("{scheme}|{plain}|{}", cost.join("$"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn users_who_could_not_log_in_to_the_copy_are_found() {
        let levels = |text: &str| {
            let found = judge("users", Path::new("users"), text.as_bytes());
            found
                .into_iter()
                .map(|finding| (finding.level, finding.what))
                .collect::<Vec<_>>()
        };
        assert_eq!(levels("")[0].0, Level::Warning);
        assert_eq!(levels("ann:{PLAIN}x::::::\nbob:{PLAIN}y::::::\n")[0].0, Level::Ok);
        let mixed = levels("ann:{PLAIN}x::::::\nzoe:{SKEY}abc::::::\nbob:{SKEY}abd::::::\n");
        assert_eq!(mixed.len(), 1);
        assert!(
            mixed[0].1.ends_with(": 2 of 3 users, as bob") && mixed[0].0 == Level::Warning,
            "{mixed:?}"
        );
    }

    #[test]
    fn hashes_of_one_kind_are_tried_once() {
        let of = |salt: &str| kind(&format!("{{SHA512-CRYPT}}$6$rounds=6000${salt}$hash"));
        assert_eq!(of("L8HVU0v9/PZSZ1FR"), of("bT1HOPwM4Jcfyhx/"));
        assert_ne!(of("x"), kind("{SHA512-CRYPT}$6$rounds=9999999$x$hash"));
        assert_ne!(kind("{PLAIN}x"), kind("{SSHA}x"));
    }
}
