//! What stands beside the nodes fails too: the proxy, and a mail server whose node lives.

use super::{LIMIT, SILENCE, append, pair, programs, refused, subjects, until_heard, until_role};
use anyhow::ensure;
use std::path::PathBuf;
use std::time::Duration;
use testbed::dovecot::{Format, Version};
use testbed::imap::Imap;
use testbed::node::Node;
use testbed::pair::Pair;
use testbed::twins::{PASSWORD, Twins, USERS};
use testbed::{Result, process};

/// When the proxy's daemon is killed, counted from the promotion's start.
const KILLED_AFTER_MS: [u64; 4] = [0, 15, 60, 200];

#[test]
fn a_proxy_killed_at_any_moment_of_a_promotion_leads_to_the_new_primary_and_nowhere_else() -> Result<()> {
    for after_ms in KILLED_AFTER_MS {
        let mut twins = Twins::configure(&programs(), "")?;
        let (mut proxy, port) = twins.proxy(&programs())?;
        twins.nodes.iter_mut().try_for_each(Node::start)?;
        proxy.start()?;
        append(&mut Imap::login(port, USERS[0], PASSWORD)?, "INBOX", "before")?;
        twins.nodes[0].ask(&["wait", "--timeout", "60s"])?;
        until_heard(&twins.nodes[1])?;
        twins.nodes[0].kill()?;
        std::thread::sleep(SILENCE);
        let standby = &twins.nodes[1];
        std::thread::scope(|scope| -> Result<()> {
            let promotion = scope.spawn(|| standby.ask(&["promote"]));
            std::thread::sleep(Duration::from_millis(after_ms));
            proxy.kill()?;
            let told = promotion.join().expect("the thread of the promotion")?;
            ensure!(told["epoch"] == 2, "{told}");
            Ok(())
        })?;
        // the old primary returns first, and still believes in itself
        twins.nodes[0].start()?;
        proxy.start()?;
        let mut imap = Imap::login(port, USERS[0], PASSWORD)?;
        append(&mut imap, "INBOX", "after")?;
        let there = subjects(&mut twins.client(1, USERS[0])?)?;
        ensure!(there == ["before", "after"], "killed after {after_ms} ms: {there:?}");
        until_role(&twins.nodes[0], "fenced")?;
    }
    Ok(())
}

/// Gives the watch of the primary's mail service a user, and a password that is wrong. Returns its file.
fn watch_logs_in(pair: &Pair) -> Result<PathBuf> {
    let password = pair.folder().join("watch.pw");
    std::fs::write(&password, "wrong")?;
    let config = std::fs::read_to_string(pair.primary.config())?;
    let (user, file) = (super::dead_primary::USER, password.display());
    let watch = format!("[group.dovecot.watch]\nuser = \"{user}\"\npassword_file = \"{file}\"\n");
    std::fs::write(pair.primary.config(), config + &watch)?;
    Ok(password)
}

fn login_is(node: &Node, word: &str) -> Result<()> {
    process::until(&format!("its login is {word}"), LIMIT, || {
        Ok(node.status()?.pointer("/service/login") == Some(&word.into()))
    })
}

#[test]
fn a_dovecot_that_died_beside_its_living_node_is_replaced_without_any_loss() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Maildir)?;
    let password = watch_logs_in(&pair)?;
    pair.start_nodes()?;
    append(&mut pair.source.imap(super::dead_primary::USER)?, "INBOX", "before")?;
    pair.wait()?;
    until_heard(&pair.standby()?.node)?;
    let of_imap = |word: &'static str, node: &Node| -> Result<()> {
        process::until(&format!("its service is {word}"), LIMIT, || {
            Ok(node.status()?.pointer("/service/imap") == Some(&word.into()))
        })
    };
    of_imap("up", &pair.primary)?;
    // that nobody may log in with a password that was changed says nothing of the server's life
    login_is(&pair.primary, "refused")?;
    let why = refused(&pair.standby()?.node, &["promote"])?;
    ensure!(why.contains("is primary"), "{why}");
    std::fs::write(&password, testbed::dovecot::PASSWORD)?;
    login_is(&pair.primary, "accepted")?;

    pair.source.kill()?;
    of_imap("down", &pair.primary)?;
    let report = pair.standby()?.node.ask(&["promote"])?;
    ensure!(report["epoch"] == 2 && report["loss"]["operations"] == 0, "{report}");
    ensure!(report["old_side_fenced"] == true, "{report}");
    until_role(&pair.primary, "standby")?;
    let mut imap = Imap::login(
        pair.standby()?.imap_port(),
        super::dead_primary::USER,
        testbed::dovecot::PASSWORD,
    )?;
    append(&mut imap, "INBOX", "after")?;
    ensure!(subjects(&mut imap)? == ["before", "after"]);
    Ok(())
}
