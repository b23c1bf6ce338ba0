//! Files that must be readable, keys that must not be readable by others, room in the state directory.

use super::Finding;
use crate::config::{Config, StoreConfig};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Below it the journal of a busy day may not fit.
const ROOM_WARNING_BYTES: u64 = 1 << 30;
/// Below it the journal pauses within minutes.
const ROOM_ERROR_BYTES: u64 = 64 << 20;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = vec![
        readable("tls.ca", &config.tls.ca),
        readable("tls.cert", &config.tls.cert),
        private("tls.key", &config.tls.key, Finding::error),
    ];
    for group in &config.groups {
        if let StoreConfig::Embedded(embedded) = &group.store {
            let key = |name: &str| format!("group {} embedded.{name}", group.name);
            found.push(private(&key("users"), &embedded.users, Finding::warning));
            if let Some((cert, cert_key)) = &embedded.certificate {
                found.push(readable(&key("cert"), cert));
                found.push(private(&key("key"), cert_key, Finding::error));
            }
        }
    }
    found.extend(state(&config.node.state));
    found.push(control(&config.node.control));
    found
}

fn readable(topic: &str, path: &Path) -> Finding {
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(meta) if meta.is_file() => Finding::ok(topic, format!("{} is readable", path.display())),
        Ok(_) => Finding::error(topic, format!("{} is not a file", path.display()), "name a file"),
        Err(error) => {
            let todo = "put the file there, readable by the user that runs shadowd, or correct the path";
            Finding::error(topic, format!("{}: {error}", path.display()), todo)
        }
    }
}

type Judgement = fn(String, String, String) -> Finding;

/// A secret: readable by us, by nobody outside its group. How bad it is if it isn't, depends: a key is the node, a
/// passwd-file may hold strong hashes only.
fn private(topic: &str, path: &Path, judgement: Judgement) -> Finding {
    let finding = readable(topic, path);
    let Ok(meta) = path.metadata() else { return finding };
    if meta.mode() & 0o007 != 0 {
        let what = format!(
            "{} can be read or written by everybody (mode {:o})",
            path.display(),
            meta.mode() & 0o777
        );
        return judgement(topic.to_owned(), what, format!("chmod 0600 {}", path.display()));
    }
    finding
}

/// The state directory, or where it is to be made: writable, with room.
fn state(dir: &Path) -> Vec<Finding> {
    let topic = "node.state";
    let mut existing = dir;
    while !existing.exists() {
        match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => existing = parent,
            _ => existing = Path::new("."),
        }
    }
    let mut found = vec![writable(topic, dir, existing)];
    match rustix::fs::statvfs(existing) {
        Ok(space) => found.push(room(topic, dir, space.f_bavail.saturating_mul(space.f_frsize))),
        Err(error) => {
            let what = format!("free space of {} is not known: {error}", existing.display());
            found.push(Finding::warning(topic, what, "look yourself: df"));
        }
    }
    found
}

fn writable(topic: &str, dir: &Path, existing: &Path) -> Finding {
    let probe = existing.join(format!(".mailshadow-check-{}", std::process::id()));
    let written = File::create_new(&probe).and_then(|mut file| file.write_all(b"check").and_then(|()| file.sync_all()));
    let removed = std::fs::remove_file(&probe);
    match written.and(removed) {
        Ok(()) if existing == dir => Finding::ok(topic, format!("{} is writable", dir.display())),
        Ok(()) => Finding::ok(topic, format!("{} will be made at the first start", dir.display())),
        Err(error) => {
            let todo = "make it writable for the user that runs shadowd, or correct the path";
            Finding::error(topic, format!("{}: {error}", existing.display()), todo)
        }
    }
}

fn room(topic: &str, dir: &Path, bytes: u64) -> Finding {
    let what = format!("{} MiB free for {}", bytes >> 20, dir.display());
    let todo = "make room: without it capture or apply pauses until there is some";
    match bytes {
        0..ROOM_ERROR_BYTES => Finding::error(topic, what, todo),
        ROOM_ERROR_BYTES..ROOM_WARNING_BYTES => Finding::warning(topic, what, todo),
        _ => Finding::ok(topic, what),
    }
}

/// A unix socket's path has at most 107 bytes, and while it is made a few more.
fn control(path: &Path) -> Finding {
    let topic = "node.control";
    let length = path.as_os_str().len();
    if length > 100 {
        let what = format!("{} is {length} bytes long", path.display());
        return Finding::error(
            topic,
            what,
            "choose a path of at most 100 bytes: unix sockets allow no more",
        );
    }
    Finding::ok(topic, format!("{} can be a socket", path.display()))
}
