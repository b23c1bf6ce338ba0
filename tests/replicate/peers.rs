//! Several standbys: each gets everything, none waits for another.

use crate::{AT_ONCE, pair};
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::load::Mix;

#[test]
fn second_standby_that_comes_late_catches_up_and_the_first_is_not_held_up() -> Result<()> {
    let mut pair = pair(Version::V2_3, Format::Sdbox, 2)?;
    pair.load("before", 80, Mix::Normal, AT_ONCE).run()?;
    pair.standby()?.node.start()?;
    pair.primary.start()?;
    pair.load("while-one", 80, Mix::Normal, AT_ONCE).run()?;
    let waited = pair.primary.ctl(&["wait", "--timeout", "5s"])?;
    assert_eq!(
        waited.status.code(),
        Some(4),
        "the second standby has never been there\n{}",
        pair.primary.log()
    );
    pair.standbys.last_mut().map_or(Ok(()), |s| s.node.start())?;
    pair.load("while-two", 80, Mix::Folders, AT_ONCE).run()?;
    pair.settle_and_compare()?;
    Ok(())
}
