//! Knot DNS, by a signed update.

use crate::{folder, look, point, redirect};
use anyhow::{Context, ensure};
use std::path::Path;
use std::time::Duration;
use testbed::process::{Server, check, until, words};
use testbed::{Result, ports};

const KEY: &str = "key:\n  - id: shadow\n    algorithm: hmac-sha256\n    secret: c2hhZG93IG9mIGEgc2VjcmV0\n";
const ZONE: &str = "@ 60 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 127.0.0.1\nimap 60 A 10.0.0.9\n";

fn knot(folder: &Path, port: u16) -> Result<Server> {
    let shown = folder.display();
    let config = format!(
        "server:\n  rundir: {shown}\n  listen: 127.0.0.1@{port}\nlog:\n  - target: stderr\n    any: info\n\
         database:\n  storage: {shown}\n{KEY}\
         acl:\n  - id: updates\n    key: shadow\n    action: update\n\
         zone:\n  - domain: example.test\n    storage: {shown}\n    file: zone\n    acl: updates\n"
    );
    std::fs::write(folder.join("zone"), format!("$ORIGIN example.test.\n{ZONE}"))?;
    let file = folder.join("knot.conf");
    std::fs::write(&file, config)?;
    let argv = words(&["knotd", "-c", &file.display().to_string()]);
    let missing = "these tests need Knot DNS: run ./check once as root, it installs what is missing";
    let mut server = Server::start("knotd", &argv, &folder.join("knot.log")).context(missing)?;
    let answers = until("Knot answers", Duration::from_secs(10), || {
        if let Some(status) = server.ended()? {
            anyhow::bail!("knotd ended: {status}: {missing}");
        }
        Ok(addresses(port, "A")? == ["10.0.0.9"])
    });
    answers.with_context(|| testbed::node::tail(&folder.join("knot.log")))?;
    Ok(server)
}

/// What the name server says.
fn addresses(port: u16, kind: &str) -> Result<Vec<String>> {
    let port = port.to_string();
    let said = check(&words(&[
        "kdig",
        "@127.0.0.1",
        "-p",
        &port,
        "+tcp",
        "+short",
        "imap.example.test",
        kind,
    ]));
    let said = said.unwrap_or_default();
    Ok(said
        .lines()
        .filter(|line| !line.starts_with(";;"))
        .map(str::to_owned)
        .collect())
}

#[test]
fn name_gets_the_new_addresses_and_a_wrong_key_is_told() -> Result<()> {
    let folder = folder()?;
    let port = ports::free();
    let _knot = knot(folder.path(), port)?;
    let of_key = |key: &str, text: &str| {
        std::fs::write(folder.path().join(key), text)?;
        redirect(
            folder.path(),
            &format!(
                "kind = \"dns\"\nserver = \"127.0.0.1:{port}\"\nzone = \"example.test\"\nrecord = \"imap.example.test\"\nttl = 7\n\
                 key = \"{key}\"\naddresses = {{ mail-a = [\"10.0.0.1\"], mail-b = [\"10.0.0.2\", \"2001:db8::2\"] }}"
            ),
        )
    };
    let ours = of_key("ours.key", KEY)?;
    look(&ours)?.map_err(anyhow::Error::msg)?;
    for _ in 0..2 {
        let moved = point(&ours, "mail-b")?;
        ensure!(moved.ok && moved.moved_sessions.is_none(), "{moved:?}");
        ensure!(addresses(port, "A")? == ["10.0.0.2"] && addresses(port, "AAAA")? == ["2001:db8::2"]);
    }
    let back = point(&ours, "mail-a")?;
    ensure!(
        back.ok && addresses(port, "A")? == ["10.0.0.1"] && addresses(port, "AAAA")?.is_empty(),
        "{back:?}"
    );
    for (key, text, says) in [
        ("secret.key", "hmac-sha256:shadow:b3RoZXI=", "BADSIG"),
        ("name.key", "hmac-sha256:stranger:b3RoZXI=", "BADKEY"),
    ] {
        let failed = point(&of_key(key, text)?, "mail-b")?;
        ensure!(
            !failed.ok && failed.why.as_deref().is_some_and(|why| why.contains(says)),
            "{failed:?}"
        );
    }
    ensure!(addresses(port, "A")? == ["10.0.0.1"], "refused, and done all the same");
    Ok(())
}
