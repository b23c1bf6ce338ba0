//! Two nodes that were promoted in the same epoch while neither could hear the other.

use super::tails::Three;
use super::{LIMIT, append, subjects, until_role};
use anyhow::ensure;
use testbed::{Result, process};

/// Promotes a node that hears nobody, and leaves mail there that nobody else has.
fn promote_alone(three: &Three, node: usize, subject: &str) -> Result<()> {
    // a node that was started a moment ago doesn't know what it would lose; one that was not waits until the primary is silent
    process::until("it is promoted", LIMIT, || {
        let promoted = three.nodes[node].ctl(&["promote", "--max-loss", "any"])?;
        Ok(promoted.status.success())
    })?;
    append(&mut three.client(node)?, "INBOX", subject)
}

#[test]
fn both_who_were_promoted_in_one_epoch_stop_and_what_either_took_is_kept() -> Result<()> {
    let mut three = Three::start()?;
    append(&mut three.client(0)?, "INBOX", "everywhere")?;
    three.until_even(1)?;
    three.until_even(2)?;
    three.nodes[0].kill()?;
    three.nodes[2].kill()?;
    promote_alone(&three, 1, "only at b")?;
    three.nodes[1].kill()?;
    three.nodes[2].start()?;
    promote_alone(&three, 2, "only at c")?;
    three.nodes[1].start()?;
    for node in [1, 2] {
        until_role(&three.nodes[node], "fenced")?;
        ensure!(three.client(node).is_err(), "a fenced node lets a client in");
    }

    let report = three.nodes[2].ask(&["promote", "--force", "--max-loss", "any"])?;
    ensure!(report["epoch"] == 3, "{report}");
    until_role(&three.nodes[2], "primary")?;
    let report = three.nodes[1].ask(&["rejoin"])?;
    ensure!(report["tally"]["new"] == 1, "{report}");
    three.nodes[0].start()?;
    until_role(&three.nodes[0], "fenced")?;
    three.nodes[0].ask(&["rejoin"])?;
    three.nodes[2].ask(&["wait", "--timeout", "60s"])?;
    for node in 0..3 {
        let mut found = subjects(&mut three.client(node)?)?;
        found.sort();
        ensure!(found == ["everywhere", "only at b", "only at c"], "{node}: {found:?}");
    }
    Ok(())
}
