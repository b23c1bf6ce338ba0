//! The machine of the primary dies, and the standby takes over.

use super::{USER, lines, say};
use anyhow::ensure;
use std::time::Duration;
use testbed::Result;
use testbed::dovecot::PASSWORD;
use testbed::imap::Imap;
use testbed::node::Node;
use testbed::pair::Pair;

/// A primary that was heard lately counts as alive.
const SILENCE: Duration = Duration::from_millis(3_200);

pub(crate) fn run(pair: &mut Pair) -> Result<()> {
    say("9. The primary's machine dies: its Dovecot and mail-a are gone.");
    pair.source.stop()?;
    pair.primary.kill()?;
    std::thread::sleep(SILENCE);
    let port = pair.standby()?.imap_port();
    let before = lines(port)?;
    promote(&pair.standby()?.node)?;
    say("10. mail-b is the mail server now: a client writes to it, and nothing of before is missing.");
    let mut imap = Imap::login(port, USER, PASSWORD)?;
    let message = "Subject: Written after the failover\r\n\r\nstill here\r\n";
    imap.append("INBOX", "", message.as_bytes())?.must()?;
    let after = lines(port)?;
    after.iter().for_each(|line| println!("   {line}"));
    ensure!(
        before.iter().all(|line| after.contains(line)),
        "something is missing:\n{}",
        before.join("\n")
    );
    Ok(())
}

/// `shadowctl promote`, with what it says.
pub(crate) fn promote(node: &Node) -> Result<()> {
    println!("   `shadowctl promote` on {}:", node.name());
    let told = node.say(&["promote"])?;
    told.lines().for_each(|line| println!("     {line}"));
    Ok(())
}
