//! A Dovecot standby becomes the primary: the mirror is brought to the journal's end, and the Dovecot to the mirror, before
//! the first client is let in.

use super::{Dovecot, Projecting, Standing};
use crate::config::UserPatterns;
use crate::io::clock::Stopwatch;
use crate::limits::PROJECT_SECONDS_MAX;
use crate::node::NodeError;
use crate::node::files;
use crate::node::written::OpenedEmbedded;
use crate::op::Lsn;
use crate::store::target::{Frame, GoneAnswers, Target, TargetError};
use std::time::Duration;

/// Bytes of frames that are read at once.
const READ_BYTES: usize = 2 << 20;
/// How often it is looked whether everything was told.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Tells the Dovecot all that the journal holds, active users first, for at most [`PROJECT_SECONDS_MAX`] seconds; then
/// forgets what it was told, for clients will change it. Returns what it could not be told, in words. Blocks.
pub(in crate::node) fn bring_to_end(
    opened: &OpenedEmbedded,
    ways: Vec<Box<dyn Dovecot>>,
    users: &UserPatterns,
) -> Result<Option<String>, NodeError> {
    let failed = |e: TargetError| NodeError::Journal(e.to_string());
    let mut again = opened.embedded.again().map_err(failed)?;
    let mirror = again.mirror().map_err(failed)?;
    let before = again.target.applied();
    // who closed before with everything told need not be looked at once more
    let everybody = mirror.told(before.stream).map_err(failed)? != before.lsn;
    apply_rest(again.target.as_mut(), opened)?;
    let applied = again.target.applied();
    let projecting = match everybody {
        true => Projecting::start((mirror, users), ways, applied, None)?,
        false => Projecting::go_on((mirror, users), ways, before)?,
    };
    let (time, limit) = (Stopwatch::start(), Duration::from_secs(PROJECT_SECONDS_MAX));
    projecting.shared.stir();
    while projecting.shared.shown(applied) < applied.lsn && !projecting.shared.is_stuck() && time.elapsed() < limit {
        std::thread::sleep(LOOK_AGAIN);
    }
    let untold = (projecting.shared.shown(applied) < applied.lsn).then(|| projecting.shared.standing());
    projecting.stop();
    again.mirror().and_then(|mirror| mirror.forget_all()).map_err(failed)?;
    Ok(untold.map(|standing| words(&standing)))
}

fn words(standing: &Standing) -> String {
    let (lifting, problems) = (standing.lifting, standing.problems.join("; "));
    let mut words = Vec::new();
    if standing.waiting > lifting {
        words.push(format!(
            "{} users have mail that the mail server was not told in {PROJECT_SECONDS_MAX} s; it stays in this node's state \
             directory. {problems}",
            standing.waiting.saturating_sub(lifting)
        ));
    }
    if lifting > 0 {
        words.push(format!(
            "{lifting} users have messages whose MODSEQs were not raised in {PROJECT_SECONDS_MAX} s: a client that caches may go \
             on showing flags that were lost"
        ));
    }
    words.join(" ")
}

/// Decides what the journal has and the mirror lacks: the epoch's first frame, and what came just before.
fn apply_rest(target: &mut dyn Target, opened: &OpenedEmbedded) -> Result<(), NodeError> {
    let view = opened.journal.view();
    let Some(head) = view.head() else { return Ok(()) };
    let applied = target.applied();
    let next = match applied.stream == head.stream {
        true => applied.lsn.next(),
        false => files::oldest(&view),
    };
    let mut reader = view.reader(next);
    let mut open: Vec<Frame> = Vec::new();
    while reader.next_lsn() <= head.lsn {
        let batch = reader.read_batch(READ_BYTES).map_err(NodeError::journal)?;
        if batch.is_empty() {
            return Err(NodeError::Journal(format!("frame {} is missing", reader.next_lsn())));
        }
        for encoded in batch {
            open.push(files::decode(&encoded)?);
            if encoded.ends_transaction() {
                let whole = std::mem::take(&mut open);
                let applied = target.apply(&[whole], &GoneAnswers::new());
                applied.map_err(|e| NodeError::Journal(e.to_string()))?;
            }
        }
    }
    debug_assert!(target.applied().lsn >= head.lsn || head.lsn == Lsn(0));
    Ok(())
}
