//! Equal soon after the end of a load, again and again.

use crate::load;
use crate::report::{Goal, Report};
use crate::setting::{Setting, USERS};
use anyhow::Result;
use std::time::{Duration, Instant};
use testbed::dovecot::Format;

const WITHIN: Duration = Duration::from_secs(2);

/// A short load at full speed, then two seconds: 100 times.
///
/// # Errors
/// A server or a delivery fails.
pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    let mut pair = setting.pair(Format::Maildir, USERS, "")?;
    pair.start_nodes()?;
    pair.wait()?;
    let times = setting.size(100);
    let (mut took, mut equal) = (Vec::new(), 0);
    for _ in 0..times {
        load::deliver(&pair.source, 0.0, Duration::from_secs(1))?;
        let began = Instant::now();
        let waited = pair.primary.ctl(&["wait", "--timeout", "2s"])?.status.success();
        took.push(began.elapsed().as_secs_f64());
        let verified = pair.primary.ctl(&["verify"])?.status.success();
        equal += usize::from(waited && verified);
    }
    report.part(&format!(
        "Equal within {} s of the end of a load, {times} times",
        WITHIN.as_secs()
    ));
    report.judge(
        "equal by `verify`",
        "runs",
        &[equal as f64],
        Goal::AtLeast(times as f64),
    );
    report.judge("until all was applied", "s", &took, Goal::AtMost(WITHIN.as_secs_f64()));
    Ok(())
}
