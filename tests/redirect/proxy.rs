//! The built-in proxy on a node of its own, before a real Dovecot whose node it asks.

use anyhow::{Context, ensure};
use std::time::Duration;
use testbed::Result;
use testbed::dovecot::{Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::node::{Node, Programs};
use testbed::pair::{Pair, Plan};
use testbed::process::until;

fn programs() -> Programs {
    Programs {
        shadowd: env!("CARGO_BIN_EXE_shadowd").into(),
        shadowctl: env!("CARGO_BIN_EXE_shadowctl").into(),
    }
}

/// An observer with a proxy before both nodes of the pair, which let it ask.
fn observer(programs: &Programs, pair: &Pair) -> Result<(Node, u16)> {
    let standby = pair.standbys.first().context("a standby")?;
    let services = [
        (&pair.primary, pair.source.imap_port()),
        (&standby.node, standby.imap_port()),
    ];
    testbed::proxy::observer(programs, pair.pki(), pair.folder(), &services, "")
}

#[test]
fn observer_without_groups_holds_clients_until_there_is_a_primary_and_keeps_them_when_its_daemon_dies() -> Result<()> {
    let programs = programs();
    let plan = Plan {
        programs: &programs,
        version: Version::of_this_system()?,
        format: Format::Sdbox,
        users: 1,
        standbys: 1,
        extra: "",
    };
    let mut pair = plan.build()?;
    let (mut proxy, port) = observer(&programs, &pair)?;
    pair.standby()?.node.start()?;
    proxy.start()?;
    let user = pair.source.users().first().context("a user")?.clone();
    let waits = std::thread::spawn({
        let user = user.clone();
        move || Imap::login(port, &user, PASSWORD)
    });
    let of_proxy = |proxy: &Node, key: &str| -> Result<serde_json::Value> {
        let status = proxy.ask(&["status"])?;
        Ok(status
            .pointer(&format!("/proxies/0/{key}"))
            .cloned()
            .unwrap_or_default())
    };
    until("the client is held", Duration::from_secs(10), || {
        Ok(of_proxy(&proxy, "held")? == 1)
    })?;
    ensure!(of_proxy(&proxy, "primary")?.is_null(), "a standby is no primary");
    pair.primary.start()?;
    let mut client = waits.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
    ensure!(of_proxy(&proxy, "primary")? == "mail-a" && of_proxy(&proxy, "held")? == 0);
    let checked = proxy.ctl(&["check", "--all"])?;
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    ensure!(
        checked.contains("mail-a is primary of group main, epoch 1"),
        "{checked}"
    );
    // the mail server lives, its daemon does not
    pair.primary.kill()?;
    std::thread::sleep(Duration::from_millis(700));
    ensure!(client.run("NOOP")?.is_ok(), "the session was cut\n{}", proxy.log());
    Imap::login(port, &user, PASSWORD)?;
    // and the proxy starts anew while the primary's node is away: it waits for a word
    proxy.crash_and_restart()?;
    ensure!(of_proxy(&proxy, "epoch")? == 1 && of_proxy(&proxy, "primary")?.is_null());
    pair.primary.start()?;
    Imap::login(port, &user, PASSWORD)?;
    Ok(())
}
