//! The other node of a move: says whether it could take a user, and takes him.

use super::{Mover, again};
use crate::control::moving::{MoveAnswer, MoveQuestion, MoveStep};
use crate::io::clock::Stopwatch;
use crate::limits::MOVE_TAKE_SECONDS_MAX;
use crate::node::group::{GroupHandle, Side};
use crate::op::NodeName;
use crate::role::Role;
use crate::role::moved::{Assignment, Stage};
use crate::store::source::Command;
use std::sync::Arc;
use std::time::Duration;

/// The question in `json`, where it is one for this desk.
pub(in crate::node) fn question(json: &str) -> Option<MoveQuestion> {
    serde_json::from_str(json).ok()
}

/// What `asker` is answered; nothing is done for anybody but the only peer of both groups.
pub(in crate::node) async fn answer(mover: &Mover, asker: &NodeName, question: MoveQuestion) -> MoveAnswer {
    let limit = Duration::from_secs(MOVE_TAKE_SECONDS_MAX);
    if is_mine(mover, asker, &question) {
        return MoveAnswer::Mine;
    }
    let answered = match question.move_user {
        MoveStep::Look => look(mover, asker, &question).map(|_| MoveAnswer::Ready),
        MoveStep::Take => {
            let taken = tokio::time::timeout(limit, take(mover, asker, &question)).await;
            taken.unwrap_or_else(|_| Err(format!("he was not taken within {} s", limit.as_secs())))
        }
    };
    answered.unwrap_or_else(MoveAnswer::Refused)
}

/// True where this node was promoted in the group that he would leave, and he has not left it here.
fn is_mine(mover: &Mover, asker: &NodeName, question: &MoveQuestion) -> bool {
    let from = mover.groups.iter().find(|group| group.config.name == question.from);
    from.is_some_and(|from| {
        let (users, user) = (&from.config.users, question.user.as_str());
        from.config.peers.contains_key(asker) && from.standing().may_write() && users.matches(user)
    })
}

/// The group that he comes from, and the one that he comes to.
fn look(mover: &Mover, asker: &NodeName, question: &MoveQuestion) -> Result<[GroupHandle; 2], String> {
    let find = |name: &str| {
        let fits = |group: &&GroupHandle| group.config.name == name && group.config.peers.keys().eq([asker]);
        let found = mover.groups.iter().find(fits).cloned();
        found.ok_or_else(|| format!("{asker} is not the only peer of a group \"{name}\" here"))
    };
    let (from, to) = (find(&question.from)?, find(&question.to)?);
    if from.role() != Role::Standby {
        return Err(format!("it is {} of group {}", from.role(), question.from));
    }
    match to.side() {
        Side::Primary(_) if !to.is_draining() => Ok([from, to]),
        _ => Err(format!("it is not at work as primary of group {}", question.to)),
    }
}

async fn take(mover: &Mover, asker: &NodeName, question: &MoveQuestion) -> Result<MoveAnswer, String> {
    let [from, to] = look(mover, asker, question)?;
    if let Some(at) = mover.assigned.of(&question.user)
        && matches!(at.stage, Stage::Leaving | Stage::Given)
    {
        return Err("it is moving him itself".to_owned());
    }
    let (assigned, user) = (Arc::clone(&mover.assigned), question.user.clone());
    let here = Assignment {
        group: question.to.clone(),
        stage: Stage::Taken,
    };
    let done = tokio::task::spawn_blocking(move || assigned.assign(&user, here)).await;
    done.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    // nobody tells the mail server of him any more what the mirror of the other group says
    if let Side::Standby(copy, _) = from.side()
        && let Some(projection) = &copy.projection
    {
        while projection.is_telling(&question.user) {
            again().await;
        }
    }
    let Side::Primary(shared) = to.side() else {
        return Err(format!(
            "it is not at work as primary of group {} any more",
            question.to
        ));
    };
    let time = Stopwatch::start();
    let lsn = shared.ask(Command::Sweep).await?;
    mover.groups.iter().for_each(|group| group.doors().look());
    to.until_out(&question.user, false).await;
    tracing::info!(user = %crate::telemetry::user(&question.user), group = question.to, ms = time.elapsed_ms(), "taken: this node writes for him");
    let stream = shared.committed.borrow().stream.to_string();
    Ok(MoveAnswer::Taken { stream, lsn })
}
