//! A file that the first passdb of a Dovecot reads: who stands in it is told to come again later, at the login and for a
//! delivery. So some users of a server can be kept out while all others go on: `docs/fencing.md` shows the passdb.
//!
//! Dovecot has no field that says so in a passdb. A variable that it can't know has that effect on 2.3 and 2.4: the lookup
//! fails for a time, and the passdb's `result_internalfail` ends it there.

use crate::limits::HOLD_BYTES_MAX;
use crate::op::UserName;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What stands behind a user's name; the eighth field of a passwd-file has what a lookup answers besides.
const HELD: &str = ":::::::held=%{held}";

/// Groups of one node may share a Dovecot, and with it the file.
static WRITING: Mutex<()> = Mutex::new(());

/// See the module.
#[derive(Clone, Debug)]
pub struct HoldFile {
    path: PathBuf,
}

impl HoldFile {
    /// Nothing is read or written yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `held` those of `ours` who stand in it; lines of others stay. True where it said something else before.
    ///
    /// # Errors
    /// It can't be read or written, is larger than [`HOLD_BYTES_MAX`], or a name can't stand in such a file.
    pub fn replace(&self, ours: impl Fn(&str) -> bool, held: &BTreeSet<UserName>) -> io::Result<bool> {
        let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.read()?;
        let others = before
            .lines()
            .filter(|line| !ours(line.split(':').next().unwrap_or_default()));
        let mut text: String = others.flat_map(|line| [line, "\n"]).collect();
        for user in held {
            text.push_str(name(user)?);
            text.push_str(HELD);
            text.push('\n');
        }
        if text == before {
            return Ok(false);
        }
        self.write(&text)?;
        Ok(true)
    }

    fn read(&self) -> io::Result<String> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            opened => opened?,
        };
        let mut text = String::new();
        file.take(HOLD_BYTES_MAX + 1).read_to_string(&mut text)?;
        match u64::try_from(text.len()).unwrap_or(u64::MAX) > HOLD_BYTES_MAX {
            true => Err(io::Error::other(format!("it has more than {HOLD_BYTES_MAX} bytes"))),
            false => Ok(text),
        }
    }

    /// Puts a new file in its place. Dovecot looks at whole seconds of its time and at its size: two files within a second
    /// must differ in the first.
    fn write(&self, text: &str) -> io::Result<()> {
        let mut hidden = self.path.file_name().unwrap_or_default().to_owned();
        hidden.push(".new");
        let new = self.path.with_file_name(hidden);
        let before = std::fs::metadata(&self.path).and_then(|before| before.modified());
        let later = before.map_or(SystemTime::UNIX_EPOCH, |time| time + Duration::from_secs(1));
        // whoever looks up users there is not who writes it, and it holds names only
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.set_modified(later.max(SystemTime::now()))?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

/// A name that stands for one user in a passwd-file.
fn name(user: &UserName) -> io::Result<&str> {
    let name = user.as_str();
    let breaks = |c: char| c == ':' || c.is_control();
    match name.is_empty() || name.starts_with('#') || name.contains(breaks) {
        true => Err(io::Error::other(format!(
            "no passwd-file can name the user \"{}\"",
            name.escape_debug()
        ))),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn users(names: &[&str]) -> BTreeSet<UserName> {
        names.iter().map(|name| UserName::from(*name)).collect()
    }

    #[test]
    fn what_another_group_holds_stays_held() {
        let dir = tempfile::tempdir().unwrap();
        let file = HoldFile::new(dir.path().join("held"));
        let of = |domain: &'static str| move |name: &str| name.ends_with(domain);
        let text = || std::fs::read_to_string(file.path()).unwrap();
        assert!(file.replace(of("@east"), &users(&["ann@east", "bob@east"])).unwrap());
        assert!(file.replace(of("@west"), &users(&["cat@west"])).unwrap());
        assert!(
            !file.replace(of("@west"), &users(&["cat@west"])).unwrap(),
            "written again for nothing"
        );
        assert!(file.replace(of("@east"), &users(&["bob@east"])).unwrap());
        assert_eq!(text(), "cat@west:::::::held=%{held}\nbob@east:::::::held=%{held}\n");
        assert!(file.replace(of("@west"), &users(&[])).unwrap());
        assert!(file.replace(of("@east"), &users(&[])).unwrap());
        assert_eq!(text(), "");
    }

    #[test]
    fn two_changes_within_a_second_are_seen_by_dovecot() {
        let dir = tempfile::tempdir().unwrap();
        let file = HoldFile::new(dir.path().join("held"));
        let mut seconds = Vec::new();
        for names in [["ann"], ["bob"], ["cat"]] {
            file.replace(|_| true, &users(&names)).unwrap();
            seconds.push(std::fs::metadata(file.path()).unwrap().mtime());
        }
        assert!(seconds.is_sorted_by(|one, two| one < two), "{seconds:?}");
    }

    #[test]
    fn a_name_that_would_be_read_as_another_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = HoldFile::new(dir.path().join("held"));
        for name in ["a:b", "a\nroot", "#ann", ""] {
            assert!(file.replace(|_| true, &users(&[name])).is_err(), "{name:?}");
        }
        assert!(!file.path().exists());
    }
}
