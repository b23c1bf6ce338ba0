//! Where the state lies: on a disk that keeps it, with room for what will be written.

use super::Finding;
use crate::config::{Config, StoreConfig};
use crate::limits::{STATE_FREE_BYTES_LOW, STATE_FREE_BYTES_SHORT};
use std::path::{Path, PathBuf};

const TOPIC: &str = "node.state";
/// Files that a store makes in months: packs of 256 MiB, journal segments, SQLite.
const INODES_LOW: u64 = 10_000;

/// Filesystem magics (`linux/magic.h`) that forget at a reboot.
const IN_MEMORY: [(u64, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];
/// Those whose locks and flushes SQLite does not trust.
const OVER_THE_NETWORK: [(u64, &str); 5] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
];

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let dir = existing(&config.node.state);
    let mut found = Vec::new();
    match rustix::fs::statfs(&dir) {
        Ok(kind) => {
            // a signed word of which 32 bits count
            let magic = u64::from_ne_bytes(kind.f_type.to_ne_bytes()) & 0xffff_ffff;
            found.push(filesystem(&dir, magic));
        }
        Err(error) => found.push(unknown(&dir, &error)),
    }
    match rustix::fs::statvfs(&dir) {
        Ok(room) => {
            let holds_mail = config
                .groups
                .iter()
                .any(|group| matches!(group.store, StoreConfig::Embedded(_)));
            found.push(free(&dir, room.f_bavail.saturating_mul(room.f_frsize), holds_mail));
            if room.f_files > 0 {
                found.push(inodes(&dir, room.f_favail));
            }
        }
        Err(error) => found.push(unknown(&dir, &error)),
    }
    found
}

/// The directory, or the nearest one above it that exists already.
pub(super) fn existing(dir: &Path) -> PathBuf {
    let mut existing = dir;
    while !existing.exists() {
        match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => existing = parent,
            _ => return PathBuf::from("."),
        }
    }
    existing.to_owned()
}

fn unknown(dir: &Path, error: &rustix::io::Errno) -> Finding {
    let what = format!("the filesystem of {} can't be judged: {error}", dir.display());
    Finding::warning(TOPIC, what, format!("look yourself: df -hi {}", dir.display()))
}

fn filesystem(dir: &Path, magic: u64) -> Finding {
    let of = |list: &[(u64, &'static str)]| list.iter().find(|(m, _)| *m == magic).map(|(_, name)| *name);
    let at = dir.display();
    if let Some(name) = of(&IN_MEMORY) {
        return Finding::error(
            TOPIC,
            format!("{at} is on {name}"),
            "set node.state to a folder on a disk",
        )
        .because("a reboot would lose the journal and the copy: the standby would be built anew");
    }
    if let Some(name) = of(&OVER_THE_NETWORK) {
        return Finding::warning(TOPIC, format!("{at} is on {name}"), "set node.state to a folder on a local disk").because(
            "what is acknowledged must be on a disk, and SQLite needs locks that work: network filesystems promise neither",
        );
    }
    Finding::ok(TOPIC, format!("{at} is on a local filesystem"))
}

fn free(dir: &Path, bytes: u64, holds_mail: bool) -> Finding {
    let what = format!("{} free for {}", size(bytes), dir.display());
    let todo = format!("make room, or give it a larger filesystem: df -h {}", dir.display());
    let why = if holds_mail {
        "the copy of all mail lies here; without room receiving and applying pause"
    } else {
        "the journal lies here; without room capture pauses, and Dovecot's logs may rotate away meanwhile"
    };
    match bytes {
        0..STATE_FREE_BYTES_SHORT => Finding::error(TOPIC, what, todo).because(why),
        STATE_FREE_BYTES_SHORT..STATE_FREE_BYTES_LOW => Finding::warning(TOPIC, what, todo).because(why),
        _ => Finding::ok(TOPIC, what),
    }
}

fn inodes(dir: &Path, free: u64) -> Finding {
    let what = format!("{free} inodes free for {}", dir.display());
    let todo = format!(
        "remove small files, or give it a filesystem with more inodes: df -i {}",
        dir.display()
    );
    let why = "a disk without inodes is full, however many bytes are free";
    match free {
        0..1_000 => Finding::error(TOPIC, what, todo).because(why),
        1_000..INODES_LOW => Finding::warning(TOPIC, what, todo).because(why),
        _ => Finding::ok(TOPIC, what),
    }
}

/// Bytes as people say them: `812 MiB`, `3.4 GiB`.
pub(super) fn size(bytes: u64) -> String {
    let mib = bytes >> 20;
    if mib < 10 * 1024 {
        return format!("{mib} MiB");
    }
    let tenths = mib * 10 / 1024;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_state_directory_that_forgets_or_fills_up_is_found() {
        let at = Path::new("/state");
        let level = |magic| filesystem(at, magic).level;
        assert_eq!(
            (level(0x0102_1994), level(0x6969), level(0xef53)),
            (Level::Error, Level::Warning, Level::Ok)
        );
        let room = |bytes| free(at, bytes, true).level;
        assert_eq!(
            (room(1 << 20), room(100 << 20), room(20 << 30)),
            (Level::Error, Level::Warning, Level::Ok)
        );
        let left = |count| inodes(at, count).level;
        assert_eq!(
            (left(10), left(5_000), left(1_000_000)),
            (Level::Error, Level::Warning, Level::Ok)
        );
    }

    #[test]
    fn sizes_are_what_people_say() {
        assert_eq!(
            (size(812 << 20), size(34 * (1 << 30) / 2 + 1)),
            ("812 MiB".to_owned(), "17.0 GiB".to_owned())
        );
    }
}
