//! Files that must be readable, keys that must not be readable by others.

use super::{Finding, Level, state};
use crate::config::{Argv, Config, RedirectConfig, StoreConfig};
use crate::io::probe;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
            found.extend(embedded.auth_exec.as_ref().map(|argv| program(&key("auth_exec"), argv)));
            if let Some((cert, cert_key)) = &embedded.certificate {
                found.push(readable(&key("cert"), cert));
                found.push(private(&key("key"), cert_key, Finding::error));
            }
        }
    }
    for group in &config.groups {
        if let StoreConfig::Dovecot(dovecot) = &group.store {
            let topic = format!("group {} dovecot.watch.password_file", group.name);
            found.extend(dovecot.watch.iter().map(|watch| password(&topic, &watch.password_file)));
        }
        let topic = format!("group {} probe.password_file", group.name);
        found.extend(group.probes.iter().map(|probe| password(&topic, &probe.password_file)));
    }
    let redirects = config.groups.iter().flat_map(|group| &group.redirects);
    for redirect in redirects {
        if let RedirectConfig::Dns { key, .. } = redirect {
            found.push(private("group.redirect.key", key, Finding::error));
        }
    }
    let dir = &config.node.state;
    found.push(writable("node.state", dir, &state::existing(dir)));
    found.extend(ca_key(&config.tls.ca));
    found.push(control(&config.node.control));
    found
}

/// A program that is named by its path can be run; one that is looked up in `PATH` is not judged.
fn program(topic: &str, command: &Argv) -> Finding {
    let path = command.program();
    let runs = |path: &str| {
        Path::new(path)
            .metadata()
            .is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
    };
    if path.contains('/') && !runs(path) {
        let todo = "name a program that shadowd's user can run, or leave the key out";
        return Finding::error(topic, format!("{path} is no program"), todo)
            .because("nobody but the users of the passwd-file could log in");
    }
    Finding::ok(
        topic,
        format!("{path} is asked about users whom the passwd-file doesn't name"),
    )
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
        let todo = format!("chmod 0600 {}", path.display());
        return judgement(topic.to_owned(), what, todo)
            .because("whoever reads it can pass for this node, or log in as its users");
    }
    finding
}

/// A secret whose first line is a password.
fn password(topic: &str, path: &Path) -> Finding {
    let finding = private(topic, path, Finding::error);
    match probe::password(path) {
        Err(why) if finding.level == Level::Ok => {
            Finding::error(topic, why, "write the password into the file's first line")
        }
        _ => finding,
    }
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

/// The CA's key lets its reader make certificates for every node: its place is not on one of them.
fn ca_key(ca: &Path) -> Option<Finding> {
    let key = ca.with_file_name("ca.key");
    key.exists().then(|| {
        let todo = format!(
            "keep it on a machine of yours: copy it there, then shred -u {}",
            key.display()
        );
        Finding::warning("tls.ca", format!("{} lies on this server", key.display()), todo)
            .because("whoever breaks into this node could make certificates for all nodes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_that_everybody_reads_and_a_ca_key_on_a_server_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("node.key");
        std::fs::write(&key, "secret").unwrap();
        let set = |mode| std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
        set(0o644);
        assert_eq!(private("tls.key", &key, Finding::error).level, Level::Error);
        set(0o640);
        assert_eq!(private("tls.key", &key, Finding::error).level, Level::Ok);
        assert_eq!(readable("tls.cert", &dir.path().join("none")).level, Level::Error);
        assert_eq!(readable("tls.cert", dir.path()).level, Level::Error);
        let ca = dir.path().join("ca.pem");
        assert!(ca_key(&ca).is_none());
        std::fs::write(dir.path().join("ca.key"), "secret").unwrap();
        assert_eq!(ca_key(&ca).unwrap().level, Level::Warning);
    }

    #[test]
    fn a_password_file_that_is_missing_empty_or_open_to_everybody_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watch.pw");
        let written = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            password("watch", &path).level
        };
        assert_eq!(written("secret\n", 0o600), Level::Ok);
        assert_eq!(written("\nsecret\n", 0o600), Level::Error);
        assert_eq!(written("secret\n", 0o644), Level::Error);
        assert_eq!(password("watch", &dir.path().join("none")).level, Level::Error);
    }

    #[test]
    fn a_program_that_nobody_can_run_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("check-password");
        let level = |mode| {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let argv = Argv::try_from(vec![path.display().to_string()]).unwrap();
            program("auth_exec", &argv).level
        };
        std::fs::write(&path, "#!/bin/sh").unwrap();
        assert_eq!((level(0o755), level(0o644)), (Level::Ok, Level::Error));
    }

    #[test]
    fn a_socket_path_that_no_kernel_takes_is_found() {
        assert_eq!(control(Path::new("/run/mailshadow/shadowd.sock")).level, Level::Ok);
        assert_eq!(control(Path::new(&"/x".repeat(60))).level, Level::Error);
    }
}
