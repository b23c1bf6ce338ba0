//! The guide for two machines, followed word for word: its commands are taken out of the page and run on two machines made
//! of namespaces, each with its own network, its own copy of this system's files, and the package, built here, to install.
//!
//! What the machines lack: systemd (`systemctl` is a script that starts the packaged unit with its user and its
//! capabilities) and SSH (`scp` is a script that copies into the other machine's folder). Needs root.

mod machines;
mod page;

use machines::{MailServer, World};
use page::Step;
use std::path::Path;
use testbed::Result;

#[test]
fn a_guide_that_does_not_lead_there() -> Result<()> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide-two-machines.md"))?;
    let steps = page::steps(&text)?;
    assert!(steps.len() > 12, "only {} steps were found in the guide", steps.len());
    let world = World::new(&["mail-a", "mail-b"])?;
    world.package(Path::new(env!("CARGO_BIN_EXE_shadowd")))?;
    let _server = MailServer::start(&world, "mail-a", &["ann@example.net", "bob@example.net"])?;
    for step in steps {
        match step {
            Step::Run { machines, script } => {
                for machine in machines {
                    world.run(&machine, &script)?;
                }
            }
            Step::Write { machine, path, text } => world.write(&machine, &path, &text)?,
        }
    }
    the_packaged_limits_held(&world)
}

/// What the unit promises: a standby that is nobody special, a primary that can read everything and write nothing else.
fn the_packaged_limits_held(world: &World) -> Result<()> {
    let user = world.run("mail-b", "ps -o user= -p $(cat /run/shadowd.pid)")?;
    assert_eq!(user.trim(), "mailshadow");
    let powers = world.run("mail-a", "grep CapEff /proc/$(cat /run/shadowd.pid)/status")?;
    // bits 2, 6, 7, 10: DAC_READ_SEARCH, SETGID, SETUID, NET_BIND_SERVICE
    assert!(powers.trim().ends_with("00000000000004c4"), "{powers}");
    let checked = world.run("mail-a", "shadowctl --json check")?;
    assert!(
        checked.contains("is standby of group main"),
        "check did not hear of the peer's group: {checked}"
    );
    Ok(())
}
