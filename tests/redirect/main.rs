//! Real redirectors, real clients: HAProxy, a Dovecot proxy of both versions, Knot DNS, and our own proxy before a real pair.
//!
//! They need root and the packages that `./check` installs; without them they fail and say so.

mod dns;
mod dovecot;
mod haproxy;
mod proxy;

use anyhow::Context;
use mailshadow::config::{Config, RedirectConfig, UserPatterns};
use mailshadow::op::{Epoch, NodeName};
use mailshadow::redirect::{self, Facts, Redirected};
use std::path::Path;
use tempfile::TempDir;
use testbed::Result;

/// A folder that other users may walk through: the servers drop their rights.
fn folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("mailshadow-test-").tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}

/// A `[[group.redirect]]` of the node `mail-b` and its peer `mail-a`, whose relative paths count from `folder`.
fn redirect(folder: &Path, keys: &str) -> Result<RedirectConfig> {
    let text = format!(
        "[node]\nname = \"mail-b\"\nstate = \"s\"\ncontrol = \"c\"\nlisten = \"127.0.0.1:1\"\n[tls]\nca = \"a\"\n\
         cert = \"b\"\nkey = \"c\"\n[[group]]\nname = \"main\"\nusers = [\"*\"]\nstart_as = \"standby\"\n\
         peers = {{ mail-a = \"127.0.0.1:2\" }}\nstore = \"embedded\"\n[group.embedded]\nusers = \"u\"\n\
         [[group.redirect]]\n{keys}\n"
    );
    let mut config = Config::parse(&folder.join("shadowd.toml"), &text)?;
    config
        .groups
        .pop()
        .and_then(|mut group| group.redirects.pop())
        .context("one redirect")
}

/// Points clients at `node`, as its promotion would.
fn point(redirect: &RedirectConfig, node: &str) -> Result<Redirected> {
    let facts = Facts {
        group: "main".to_owned(),
        role: "primary".to_owned(),
        node: NodeName::from(node),
        peer: None,
        epoch: Epoch(2),
        users: UserPatterns::try_from(vec!["*".to_owned()]).map_err(anyhow::Error::msg)?,
        others: Vec::new(),
    };
    Ok(tokio::runtime::Runtime::new()?.block_on(redirect::run(redirect, &facts)))
}

/// What `check` would say of it.
fn look(redirect: &RedirectConfig) -> Result<Result<String, String>> {
    Ok(tokio::runtime::Runtime::new()?.block_on(redirect::look(redirect)))
}
