//! A Dovecot that only proxies, before one that has the mail: both at the two hosts' addresses.

use crate::{folder, look, point, redirect};
use anyhow::{Context, ensure};
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, PASSWORD, Version};
use testbed::imap::Imap;

const HOSTS: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

fn passdb(version: Version, file: &str) -> String {
    match version {
        Version::V2_3 => format!("passdb {{\n  driver = passwd-file\n  args = username_format=everybody {file}\n}}\n"),
        Version::V2_4 => format!(
            "passdb everybody {{\n  driver = passwd-file\n  passwd_file_path = {file}\n  auth_username_format = everybody\n}}\n"
        ),
    }
}

/// As the manual recommends for proxies. Otherwise 2.4 says that it ended sessions, and ends none.
fn many_clients(version: Version) -> &'static str {
    match version {
        Version::V2_3 => "service imap-login {\n  service_count = 0\n}\n",
        Version::V2_4 => "service imap-login {\n  restart_request_count = unlimited\n}\n",
    }
}

fn switch(version: Version) -> Result<()> {
    let folder = folder()?;
    let listen = format!("listen = 127.0.0.1, {}, {}\n", HOSTS[0], HOSTS[1]);
    let mut backend = Dovecot::prepare(&folder.path().join("backend"), version, Format::Maildir, 2, &listen)?;
    backend.start()?;
    let file = folder.path().join("proxy-users");
    let line = |host: &str| {
        format!(
            "everybody:::::::proxy=y nopassword=y host={host} port={}\n",
            backend.imap_port()
        )
    };
    std::fs::write(&file, line(HOSTS[0]))?;
    let extra = format!(
        "{}{}",
        passdb(version, &file.display().to_string()),
        many_clients(version)
    );
    let mut proxy = Dovecot::prepare(&folder.path().join("proxy"), version, Format::Maildir, 0, &extra)?;
    proxy.start()?;
    let doveadm = serde_json::to_string(&proxy.doveadm_command()?)?;
    let keys = format!(
        "kind = \"dovecot\"\nfile = \"proxy-users\"\ndoveadm = {doveadm}\nhosts = {{ mail-a = \"{}\", mail-b = \"{}\" }}",
        HOSTS[0], HOSTS[1]
    );
    let ours = redirect(folder.path(), &keys)?;
    look(&ours)?.map_err(anyhow::Error::msg)?;
    let user = backend.users().first().context("a user")?;
    let login = || Imap::login(proxy.imap_port(), user, PASSWORD);
    let mut old = (0..3).map(|_| login()).collect::<Result<Vec<_>>>()?;
    let moved = point(&ours, "mail-b")?;
    ensure!(
        moved.ok && moved.moved_sessions == Some(3),
        "{moved:?}\n{}",
        proxy.logs()
    );
    ensure!(
        old.iter_mut().all(|session| session.run("NOOP").is_err()),
        "an old session was left"
    );
    ensure!(std::fs::read_to_string(&file)? == line(HOSTS[1]));
    // at once: the file's time has whole seconds, and the lookups before were remembered
    let mut new = login()?;
    let kicked = point(&ours, "mail-b")?;
    ensure!(
        kicked.ok && kicked.moved_sessions == Some(0) && new.run("NOOP")?.is_ok(),
        "{kicked:?}"
    );
    let back = point(&ours, "mail-a")?;
    ensure!(
        back.ok && back.moved_sessions == Some(1) && new.run("NOOP").is_err(),
        "{back:?}"
    );
    Ok(())
}

#[test]
fn sessions_of_a_proxy_2_3_move_with_the_file_and_the_kick() -> Result<()> {
    switch(Version::V2_3)
}

#[test]
fn sessions_of_a_proxy_2_4_move_with_the_file_and_the_kick() -> Result<()> {
    switch(Version::V2_4)
}
