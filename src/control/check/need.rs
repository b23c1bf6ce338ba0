//! How much room the copy of a source will need, from a sample of its users.

use crate::config::DovecotConfig;
use crate::config::UserPatterns;
use crate::store::dovecot::doveadm::Doveadm;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Users that are looked at.
const SAMPLE_USERS: usize = 20;
/// How long that may take in all.
const SAMPLE_TIME: Duration = Duration::from_secs(3);

/// What a copy will need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// Users of the group.
    pub(super) users: u64,
    /// How many of them were looked at.
    pub(super) sampled: u64,
    /// Bytes of the mail of all, estimated from these.
    pub(super) bytes: u64,
}

/// Estimates it; none where `doveadm` can't be asked or nobody has mail.
pub(super) fn estimate(dovecot: &DovecotConfig, users: &UserPatterns) -> Option<Need> {
    let doveadm = Doveadm {
        command: dovecot.doveadm.words().to_vec(),
        config: dovecot.config.clone(),
    };
    let mut names = doveadm.user_names().ok()?;
    names.retain(|name| users.matches(name.as_str()));
    let deadline = Instant::now() + SAMPLE_TIME;
    let every = names.len().div_ceil(SAMPLE_USERS).max(1);
    let (mut sampled, mut bytes) = (0, 0_u64);
    for name in names.iter().step_by(every) {
        let Some(root) = root(&doveadm, name.as_str()) else {
            continue;
        };
        let Some(size) = size_of(&root, deadline) else { break };
        sampled += 1;
        bytes = bytes.saturating_add(size);
    }
    let users = u64::try_from(names.len()).ok()?;
    let bytes = u64::try_from(u128::from(bytes) * u128::from(users) / u128::from(sampled.max(1))).ok()?;
    (sampled > 0).then_some(Need { users, sampled, bytes })
}

/// The folder of a user's mail, from the place of INBOX.
fn root(doveadm: &Doveadm, user: &str) -> Option<PathBuf> {
    let (text, _, _) = doveadm.call(&["mailbox", "path", "-u", user, "INBOX"]).ok()?;
    let inbox = PathBuf::from(text.lines().next()?);
    if inbox.ends_with("mailboxes/INBOX/dbox-Mails") {
        return inbox.ancestors().nth(3).map(Path::to_owned);
    }
    inbox.is_absolute().then_some(inbox)
}

/// Bytes of all files beneath; none where the time ran out.
fn size_of(root: &Path, deadline: Instant) -> Option<u64> {
    let (mut open, mut bytes) = (vec![root.to_owned()], 0_u64);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if Instant::now() > deadline {
                return None;
            }
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) if meta.is_file() => bytes = bytes.saturating_add(meta.len()),
                _ => {}
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_larger_than_the_standbys_disk_is_measured_by_its_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/cur")).unwrap();
        std::fs::write(dir.path().join("a/cur/1"), vec![0; 1000]).unwrap();
        std::fs::write(dir.path().join("log"), vec![0; 24]).unwrap();
        let soon = Instant::now() + Duration::from_secs(60);
        assert_eq!(size_of(dir.path(), soon), Some(1024));
        assert_eq!(size_of(dir.path(), Instant::now()), None);
        assert_eq!(size_of(&dir.path().join("nobody"), soon), Some(0));
    }
}
