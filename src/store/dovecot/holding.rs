//! Keeps users of a Dovecot out by name, and believes it only when the Dovecot says so itself.

use super::doveadm::{Doveadm, DoveadmError};
use super::fence::FenceError;
use super::hold::HoldFile;
use crate::limits::{FENCE_CALL_SECONDS_MAX, HOLD_LIST_EVERY, HOLD_READ_MS_MAX};
use crate::op::UserName;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const CALL_MAX: Duration = Duration::from_secs(FENCE_CALL_SECONDS_MAX);

/// The time between two questions whether the file was read.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What both versions say of a lookup that fails for a time.
const COME_LATER: &str = "Auth PASS lookup failed";

/// See the module.
#[derive(Debug)]
pub(super) struct Holding {
    file: HoldFile,
    held: BTreeSet<UserName>,
    turns: u32,
}

impl Holding {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file: HoldFile::new(file),
            held: BTreeSet::new(),
            turns: 0,
        }
    }

    /// Keeps everybody out who is `ours`, as far as the server lists its users. They are listed again from time to time.
    pub(super) fn hold_all(&mut self, doveadm: &Doveadm, ours: impl Fn(&str) -> bool) -> Result<(), FenceError> {
        let again = self.turns.is_multiple_of(HOLD_LIST_EVERY) || !self.held.iter().all(|user| ours(user.as_str()));
        self.turns = self.turns.wrapping_add(1);
        let held = match again || self.held.is_empty() {
            true => doveadm
                .user_names()?
                .into_iter()
                .filter(|user| ours(user.as_str()))
                .collect(),
            false => self.held.clone(),
        };
        self.hold(doveadm, ours, held)
    }

    /// Keeps exactly these of `ours` out. It is true when this returns.
    pub(super) fn hold(
        &mut self,
        doveadm: &Doveadm,
        ours: impl Fn(&str) -> bool,
        held: BTreeSet<UserName>,
    ) -> Result<(), FenceError> {
        let wrong = |why| FenceError::Hold {
            path: self.file.path().to_owned(),
            why,
        };
        let changed = self.file.replace(&ours, &held).map_err(wrong)?;
        let known = held == self.held;
        let freed: Vec<UserName> = self
            .held
            .difference(&held)
            .filter(|user| ours(user.as_str()))
            .cloned()
            .collect();
        if !changed && known {
            return Ok(());
        }
        // what it remembers of an earlier login would let somebody in; who has no cache says so, and that is well
        doveadm.call_within(&["auth", "cache", "flush"], CALL_MAX)?;
        let proofs = [(held.first(), true), (freed.first(), false)];
        for (user, is_held) in proofs {
            if let Some(user) = user
                && !until(doveadm, user, is_held)?
            {
                return Err(FenceError::HoldUnread(self.file.path().to_owned()));
            }
        }
        self.held = held;
        if self.held.is_empty() {
            self.turns = 0;
        }
        Ok(())
    }
}

/// Waits until the server keeps `user` out, or lets him in: false where it does not.
fn until(doveadm: &Doveadm, user: &UserName, is_held: bool) -> Result<bool, DoveadmError> {
    let began = Instant::now();
    loop {
        let (_, complaint, _) = doveadm.call_within(&["auth", "lookup", user.as_str()], CALL_MAX)?;
        if complaint.contains(COME_LATER) == is_held {
            return Ok(true);
        }
        if began.elapsed() > Duration::from_millis(HOLD_READ_MS_MAX) {
            return Ok(false);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
