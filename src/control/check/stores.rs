//! The mail stores: `doveadm` works and tells the users, their mail can be read, the kernel can watch it.

use super::Finding;
use crate::config::{DovecotConfig, GroupConfig, StoreConfig};
use crate::serve::lacks::NOT_CARRIED;
use crate::store::dovecot::doveadm::Doveadm;
use crate::store::dovecot::mail_root::{Layout, MailRoot, Namespace};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Users whose troubles are told one by one.
const NAMED_USERS_MAX: usize = 5;
/// Directories that are counted; with more the kernel's limit is short anyway.
const COUNTED_DIRECTORIES_MAX: u64 = 1_000_000;
const WATCHES_FILE: &str = "/proc/sys/fs/inotify/max_user_watches";

pub(super) fn findings(group: &GroupConfig) -> Vec<Finding> {
    match &group.store {
        StoreConfig::Dovecot(dovecot) => dovecot_findings(group, dovecot),
        StoreConfig::Embedded(_) => vec![not_carried(group)],
    }
}

/// What whoever was on a Dovecot before has to know.
fn not_carried(group: &GroupConfig) -> Finding {
    let what = format!("not carried: {}", NOT_CARRIED.join("; "));
    Finding::ok(format!("group {} embedded", group.name), what)
}

fn dovecot_findings(group: &GroupConfig, dovecot: &DovecotConfig) -> Vec<Finding> {
    let topic = format!("group {} dovecot", group.name);
    let doveadm = Doveadm {
        command: dovecot.doveadm.words().to_vec(),
        config: dovecot.config.clone(),
    };
    let all = match doveadm.users(&dovecot.public) {
        Ok(all) => all,
        Err(error) => {
            let todo = "correct dovecot.doveadm (and dovecot.config) so that this command works for shadowd's user";
            return vec![Finding::error(topic, error.to_string(), todo)];
        }
    };
    let known = all.len();
    let ours = all.into_iter().filter(|(user, _)| group.users.matches(user.as_str()));
    let (mut roots, mut troubled) = (Vec::new(), Vec::new());
    for (user, root) in ours {
        match root.and_then(|root| readable(&root).map(|()| root)) {
            Ok(root) => roots.push(root),
            Err(why) => troubled.push((user, why)),
        }
    }
    let mut found = vec![users(&topic, known, &roots, troubled.len())];
    for (user, why) in troubled.iter().take(NAMED_USERS_MAX) {
        let what = format!("user {user} can't be captured: {why}");
        found.push(Finding::error(
            &topic,
            what,
            "give shadowd CAP_DAC_READ_SEARCH (docs/rights.md), correct this user's mail location, or leave the user out",
        ));
    }
    if troubled.len() > NAMED_USERS_MAX {
        let what = format!("{} more users can't be captured", troubled.len() - NAMED_USERS_MAX);
        found.push(Finding::error(&topic, what, "start with those named above"));
    }
    found.extend(left_out(&topic, &roots));
    found.extend(elsewhere(&topic, &roots));
    found.extend(encryption(&topic, &roots));
    found.push(watches(&topic, &roots));
    found
}

/// The keys of mail-crypt are the users' own.
fn encryption(topic: &str, roots: &[MailRoot]) -> Option<Finding> {
    roots.iter().any(|root| root.bodies.plugins.encryption).then(|| {
        let what = "mail-crypt is loaded: bodies that it encrypts can't be read without the users' keys, and stay pending \
                    on the copy";
        let todo = "leave the users with encrypted mail out (users = [\"*\", \"!pattern\"]); or stop encrypting \
                    (mail_crypt_save_version = 0; since 2.4: crypt_write_algorithm = without a value), and have what is \
                    encrypted written anew by doveadm backup to another location";
        Finding::error(topic, what, todo)
    })
}

fn users(topic: &str, known: usize, roots: &[MailRoot], troubled: usize) -> Finding {
    if roots.is_empty() && troubled == 0 {
        let what = format!("none of the {known} users that doveadm lists matches group.users");
        let todo = "correct group.users; let the user database list its users (iterate_query, passwd-file)";
        return Finding::warning(topic, what, todo);
    }
    let mut formats: BTreeMap<String, usize> = BTreeMap::new();
    for root in roots {
        *formats.entry(format_of(root)).or_default() += 1;
    }
    let formats: Vec<String> = formats
        .iter()
        .map(|(format, count)| format!("{format}: {count}"))
        .collect();
    Finding::ok(
        topic,
        format!(
            "{} of {known} users belong to the group ({})",
            roots.len() + troubled,
            formats.join(", ")
        ),
    )
}

/// Format and layout of the namespace with INBOX: `maildir Maildir++`.
fn format_of(root: &MailRoot) -> String {
    let text = |namespace: &Namespace| {
        let layout = match namespace.layout {
            Layout::MaildirPlusPlus => "Maildir++",
            Layout::Fs => "fs",
            Layout::Index => "index",
        };
        format!("{} {layout}", namespace.driver.name())
    };
    root.namespaces.first().map(text).unwrap_or_default()
}

/// A user who never got mail has no folder yet. Whether other folders than the roots can be read is seen when they are.
fn readable(root: &MailRoot) -> Result<(), String> {
    for directory in root.namespaces.iter().flat_map(Namespace::roots) {
        match std::fs::read_dir(directory) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(closed(directory)),
            Err(error) => return Err(format!("{}: {error}", directory.display())),
        }
    }
    Ok(())
}

/// Which directory on the way is closed, whose it is, and for whom.
fn closed(directory: &Path) -> String {
    let who = rustix::process::geteuid().as_raw();
    let mut way: Vec<&Path> = directory.ancestors().collect();
    way.reverse();
    let shut = way.into_iter().find(|path| {
        let read = std::fs::read_dir(path);
        let entered = std::fs::symlink_metadata(path.join("."));
        entered.is_err() || (*path == directory && read.is_err())
    });
    let shut = shut.unwrap_or(directory);
    let owner = std::fs::symlink_metadata(shut).map_or_else(
        |_| "of an unknown owner".to_owned(),
        |meta| format!("of uid {}, mode {:o}", meta.uid(), meta.mode() & 0o7777),
    );
    format!("uid {who} may not read {} ({owner})", shut.display())
}

/// Namespaces that are nobody's own, each once.
fn left_out(topic: &str, roots: &[MailRoot]) -> Vec<Finding> {
    let texts: BTreeSet<&String> = roots.iter().flat_map(|root| &root.left_out).collect();
    let todo = "nothing, where this is meant: docs/rights.md and docs/adr say what is copied as whose";
    texts
        .into_iter()
        .take(NAMED_USERS_MAX)
        .map(|text| Finding::warning(topic, text.clone(), todo))
        .collect()
}

/// Namespaces that are copied as others' mail, each once.
fn elsewhere(topic: &str, roots: &[MailRoot]) -> Vec<Finding> {
    let texts: BTreeSet<&String> = roots.iter().flat_map(|root| &root.elsewhere).collect();
    let todo = "see that this user can log in to the copy, and give whoever needs it his password: docs/carried.md";
    let texts = texts.into_iter().take(NAMED_USERS_MAX);
    texts.map(|text| Finding::hint(topic, text.clone(), todo)).collect()
}

/// inotify wants a watch a directory; what can't be watched is found by the slow scan only.
fn watches(topic: &str, roots: &[MailRoot]) -> Finding {
    let allowed = std::fs::read_to_string(WATCHES_FILE)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let Some(allowed) = allowed else {
        return Finding::warning(
            topic,
            format!("{WATCHES_FILE} can't be read"),
            "changes may be found by the slow scan only",
        );
    };
    let mut counted = 0;
    for namespace in roots.iter().flat_map(|root| &root.namespaces) {
        count_directories(namespace.index_root(), &mut counted);
    }
    let what = format!("{counted} directories to watch, the kernel allows {allowed} watches a user");
    if counted.saturating_mul(2) > allowed {
        let todo = format!(
            "sysctl fs.inotify.max_user_watches={}; above it changes are found late",
            counted.saturating_mul(4)
        );
        return Finding::warning(topic, what, todo);
    }
    Finding::ok(topic, what)
}

fn count_directories(root: &Path, counted: &mut u64) {
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        if *counted >= COUNTED_DIRECTORIES_MAX {
            return;
        }
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        *counted += 1;
        let below = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(below.map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::mail_root::Driver;

    #[test]
    fn a_namespace_of_nobody_is_told_once_for_all_users() {
        let mut root = MailRoot::of(Namespace::plain(Driver::Sdbox, Path::new("/m")));
        root.left_out
            .push("public namespace all: nobody's mail, it is not copied".to_owned());
        root.elsewhere.push("public namespace Public/: copied once".to_owned());
        let roots = [root.clone(), root];
        assert_eq!(
            (left_out("store", &roots).len(), elsewhere("store", &roots).len()),
            (1, 1)
        );
    }

    #[test]
    fn a_closed_directory_is_named_with_its_owner_and_who_stands_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let why = closed(directory.path());
        let uid = rustix::process::geteuid().as_raw();
        assert!(
            why.starts_with(&format!("uid {uid} may not read")) && why.contains("mode "),
            "{why}"
        );
    }
}
