//! Failing over: promotions and switchovers of real nodes, with what goes wrong on the way.
//!
//! The tests with a Dovecot as the source need the ones that `./check` installs; without them they fail and say so.

#![expect(
    clippy::indexing_slicing,
    reason = "a document without the field fails the test, as it should"
)]

mod beside;
mod both_ways;
mod caching;
mod cut_off;
mod dead_primary;
mod forks;
mod moving;
mod restarted;
mod resync;
mod switchover;
mod tails;

use anyhow::{Context, ensure};
use serde_json::Value;
use std::time::Duration;
use testbed::dovecot::{Format, Version};
use testbed::imap::Imap;
use testbed::node::{Node, Programs};
use testbed::pair::{Pair, Plan};
use testbed::twins::{Twins, USERS};
use testbed::{Result, process};

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a primary that is silent counts as alive, and a little more.
const SILENCE: Duration = Duration::from_millis(3_200);

fn programs() -> Programs {
    Programs {
        shadowd: env!("CARGO_BIN_EXE_shadowd").into(),
        shadowctl: env!("CARGO_BIN_EXE_shadowctl").into(),
    }
}

/// A Dovecot of two users, its node, and a standby.
fn pair(version: Version, format: Format) -> Result<Pair> {
    Plan {
        programs: &programs(),
        version,
        format,
        users: 2,
        standbys: 1,
        extra: "",
    }
    .build()
}

fn append(imap: &mut Imap, mailbox: &str, subject: &str) -> Result<()> {
    let octets = format!("Subject: {subject}\r\n\r\n{subject}\r\n");
    let appended = imap.append(mailbox, "(\\Seen $work) ", octets.as_bytes())?.must();
    appended.with_context(|| format!("append {subject}")).map(drop)
}

/// Both twins with the same mail.
fn twins_with_mail() -> Result<Twins> {
    let twins = Twins::start(&programs())?;
    for user in USERS {
        let mut imap = twins.client(0, user)?;
        imap.run("CREATE Work")?.must()?;
        for number in 0..5 {
            append(&mut imap, "INBOX", &format!("message {number}"))?;
            append(&mut imap, "Work", &format!("work {number}"))?;
        }
    }
    twins.nodes[0].ask(&["wait", "--timeout", "60s"])?;
    until_heard(&twins.nodes[1])?;
    Ok(twins)
}

/// Until a standby could say what a promotion would lose.
fn until_heard(standby: &Node) -> Result<()> {
    process::until("the primary is heard", LIMIT, || {
        let status = standby.status()?;
        let seconds = status.pointer("/promotable/would_lose/seconds");
        Ok(seconds.is_some_and(Value::is_number))
    })
}

/// What a client of this user finds: subjects of INBOX.
fn subjects(imap: &mut Imap) -> Result<Vec<String>> {
    Ok(testbed::truth::subjects(imap, "INBOX")?.into_values().collect())
}

/// Role, confirmed, epoch.
fn standing(node: &Node) -> Result<(String, bool, u64)> {
    let status = node.status()?;
    let role = status["role"].as_str().context("a role")?.to_owned();
    let epoch = status["epoch"].as_u64().unwrap_or(0);
    Ok((role, status["confirmed"] == true, epoch))
}

fn until_role(node: &Node, role: &str) -> Result<()> {
    process::until(&format!("{} is {role}", node.name()), LIMIT, || {
        Ok(standing(node).is_ok_and(|(is, confirmed, _)| is == role && confirmed))
    })
}

/// A verb that must be refused, and why.
fn refused(node: &Node, words: &[&str]) -> Result<String> {
    let out = node.ctl(words)?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(
        out.status.code() == Some(3),
        "{words:?} ended with {}: {text}",
        out.status
    );
    let told: Value = serde_json::from_str(&text)?;
    Ok(told["error"]["message"].as_str().unwrap_or_default().to_owned())
}
