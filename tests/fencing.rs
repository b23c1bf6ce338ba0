//! The fence on real Dovecots of both versions: who must be out is out, by whatever door.
//!
//! They need root and the Dovecots that `./check` installs; without them they fail and say so.

use anyhow::Context;
use mailshadow::config::UserPatterns;
use mailshadow::store::dovecot::doveadm::Doveadm;
use mailshadow::store::dovecot::fence::{Fence, Fenced};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use testbed::dovecot::{Dovecot, Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::node::Programs;
use testbed::pair::{Pair, Plan};
use testbed::{Result, process};

const USER: &str = "user1@example.test";
const OTHER: &str = "user2@example.test";
const MESSAGE: &[u8] = b"Subject: too late\r\n\r\nnobody may take this\r\n";

fn fence(source: &Dovecot, users: &str) -> Result<Fence> {
    let (command, config) = (source.doveadm_command()?, None);
    let users = UserPatterns::try_from(vec![users.to_owned()]).map_err(anyhow::Error::msg)?;
    Ok(Fence::new(Doveadm { command, config }, users, None))
}

/// As its keeper does: again and again, until nobody is in.
fn shut(fence: &mut Fence) -> Result<Fenced> {
    let mut last = Fenced::default();
    process::until("the Dovecot is shut", Duration::from_secs(20), || {
        last = fence.shut()?;
        Ok(last.is_shut())
    })?;
    Ok(last)
}

/// Through any door.
fn is_open(source: &Dovecot) -> bool {
    let open = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
    [source.imap_port(), source.lmtp_port()].into_iter().any(open)
}

fn takes_mail(session: &mut Imap) -> bool {
    let appended = session.append("INBOX", "", MESSAGE);
    appended.is_ok_and(|reply| reply.is_ok())
}

fn everybody_stays_out(version: Version) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("mailshadow-fence-").tempdir()?;
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
    let mut source = Dovecot::prepare(folder.path(), version, Format::Maildir, 2, "")?;
    source.start()?;
    others_go_on(&source)?;
    let mut fence = fence(&source, "*")?;

    let mut session = source.imap(USER)?;
    let mut at_the_door = Imap::connect(source.imap_port())?;
    let mut delivery = source.lmtp()?;
    assert!(takes_mail(&mut session));
    let fenced = shut(&mut fence)?;
    assert!(fenced.refused && fenced.running);
    assert!(
        !is_open(&source) && !takes_mail(&mut session),
        "a session outlived the fence"
    );
    assert!(
        at_the_door.run(&format!("LOGIN {USER} {PASSWORD}")).is_err(),
        "who was connected logged in"
    );
    assert!(delivery.deliver(USER, MESSAGE).is_err(), "an open connection delivered");

    source.doveadm(&["reload"])?;
    process::until("a reload opens it", Duration::from_secs(10), || Ok(is_open(&source)))?;
    let mut again = source.imap(USER)?;
    shut(&mut fence)?;
    assert!(!is_open(&source) && !takes_mail(&mut again));

    fence.lift()?;
    process::until("it is open again", Duration::from_secs(10), || Ok(is_open(&source)))?;
    let mut outlives = source.imap(USER)?;
    source.kill()?;
    assert!(
        takes_mail(&mut outlives),
        "the trap is none any more: a session without master takes no mail"
    );
    let fenced = shut(&mut fence)?;
    assert!(!fenced.running && !takes_mail(&mut outlives), "{fenced:?}");
    source.start()?;
    let fenced = shut(&mut fence)?;
    assert!(fenced.running && !is_open(&source), "{fenced:?}");
    source.stop()
}

/// A server of several groups: who is of another one notices nothing.
fn others_go_on(source: &Dovecot) -> Result<()> {
    let mut fence = fence(source, "user1@*")?;
    let (mut ours, mut other) = (source.imap(USER)?, source.imap(OTHER)?);
    let fenced = fence.shut()?;
    assert!(
        !fenced.refused && !fenced.is_shut(),
        "new logins are not refused, and that is said"
    );
    assert!(!takes_mail(&mut ours) && takes_mail(&mut other));
    assert!(is_open(source));
    Ok(())
}

#[test]
fn session_reload_and_killed_master_let_nobody_back_into_2_3() -> Result<()> {
    everybody_stays_out(Version::V2_3)
}

#[test]
fn session_reload_and_killed_master_let_nobody_back_into_2_4() -> Result<()> {
    everybody_stays_out(Version::V2_4)
}

fn pair() -> Result<Pair> {
    let programs = Programs {
        shadowd: env!("CARGO_BIN_EXE_shadowd").into(),
        shadowctl: env!("CARGO_BIN_EXE_shadowctl").into(),
    };
    let plan = Plan {
        programs: &programs,
        version: Version::of_this_system()?,
        format: Format::Maildir,
        users: 1,
        standbys: 1,
        extra: "",
    };
    plan.build()
}

#[test]
fn a_primary_that_returns_after_a_promotion_serves_nobody() -> Result<()> {
    let mut pair = pair()?;
    pair.primary.start()?;
    pair.standby()?.node.start()?;
    let mut session = pair.source.imap(USER)?;
    assert!(takes_mail(&mut session));
    pair.primary.ask(&["wait", "--timeout", "60s"])?;
    let up = || Ok(pair.primary.status()?.pointer("/service/imap") == Some(&"up".into()));
    process::until("its service is watched", Duration::from_secs(15), up)?;
    pair.primary.kill()?;
    let standby = &pair.standby()?.node;
    let promoted = || Ok(standby.ctl(&["promote", "--max-loss", "any"])?.status.success());
    process::until("it is promoted", Duration::from_secs(30), promoted)?;
    assert!(takes_mail(&mut session), "nobody is there to shut it yet");

    pair.primary.start()?;
    let shut = || Ok(pair.primary.status()?.pointer("/fence/shut") == Some(&true.into()));
    process::until("it is fenced and shut", Duration::from_secs(20), shut)?;
    assert!(!is_open(&pair.source) && !takes_mail(&mut session));
    pair.source.doveadm(&["reload"])?;
    process::until("a reload is undone", Duration::from_secs(10), || {
        Ok(!is_open(&pair.source))
    })?;
    let told = pair.primary.status()?.to_string();
    assert!(told.contains("the mail server lets nobody in"), "{told}");
    Ok(())
}

/// Says what it was asked, and fails the first time.
const COMMAND: &str = "#!/bin/sh -e\ncd \"${0%/*}\"\necho \"$MAILSHADOW_ROLE $MAILSHADOW_NODE\" >>asked\n\
                       [ \"$(wc -l <asked)\" -gt 1 ]\n";

/// Names the command in the primary's configuration; where it writes what it was asked.
fn with_command(pair: &Pair, key: &str) -> Result<PathBuf> {
    let command = pair.folder().join("command");
    std::fs::write(&command, COMMAND)?;
    std::fs::set_permissions(&command, PermissionsExt::from_mode(0o755))?;
    let config = std::fs::read_to_string(pair.primary.config())?;
    let with = format!("{config}{key} = [\"{}\"]\n", command.display());
    std::fs::write(pair.primary.config(), with)?;
    Ok(pair.folder().join("asked"))
}

#[test]
fn a_mail_server_that_waited_for_its_node_is_started_once_that_may_serve() -> Result<()> {
    let mut pair = pair()?;
    let asked = with_command(&pair, "start_store")?;
    pair.start_nodes()?;
    pair.wait()?;
    pair.primary.kill()?;
    pair.standby()?.node.kill()?;
    let before = std::fs::read_to_string(&asked).unwrap_or_default();
    pair.primary.start()?;
    let may_serve = |pair: &Pair| -> Result<bool> { Ok(pair.primary.ctl(&["may-serve", "main"])?.status.success()) };
    assert!(!may_serve(&pair)?, "nobody has told it that it still is primary");
    assert_eq!(std::fs::read_to_string(&asked).unwrap_or_default(), before);
    pair.standby()?.node.start()?;
    process::until("it may serve", Duration::from_secs(20), || may_serve(&pair))?;
    process::until("its mail server is started", Duration::from_secs(10), || {
        let lines = std::fs::read_to_string(&asked).unwrap_or_default();
        Ok(lines.len() > before.len() && lines.lines().last() == Some("primary mail-a"))
    })
}

#[test]
fn a_command_of_ones_own_is_run_until_it_succeeds_and_nothing_else_is_done() -> Result<()> {
    let mut pair = pair()?;
    let asked = with_command(&pair, "fence")?;
    pair.start_nodes()?;
    let mut session = pair.source.imap(USER)?;
    assert!(takes_mail(&mut session));
    pair.wait()?;
    let told = pair.standby()?.node.ask(&["switchover"])?;
    assert!(told.pointer("/old_side_fenced") == Some(&true.into()), "{told}");
    let lines = std::fs::read_to_string(&asked)?;
    assert!(
        lines.lines().count() > 1 && lines.lines().all(|line| line == "fenced mail-a"),
        "{lines}"
    );
    assert!(
        is_open(&pair.source) && session.run("NOOP")?.is_ok(),
        "the command's word is not enough"
    );

    pair.standby()?.node.kill()?;
    let primary = &pair.primary;
    let mut said = String::new();
    let promoted = process::until("it is promoted again", Duration::from_secs(30), || {
        let out = primary.ctl(&["promote", "--force", "--max-loss", "any"])?;
        said = String::from_utf8_lossy(&out.stdout).into_owned();
        Ok(out.status.success())
    });
    promoted.with_context(|| format!("{said}\n{}", primary.log()))?;
    process::until("it was opened again", Duration::from_secs(10), || {
        Ok(std::fs::read_to_string(&asked)?.lines().last() == Some("primary mail-a"))
    })
}
