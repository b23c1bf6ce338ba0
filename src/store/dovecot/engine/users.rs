//! Who the users are, and where their mail lies: new ones, those who left, those who moved.

use super::{Engine, Sweep};
use crate::op::UserName;
use crate::store::dovecot::doveadm::Users;
use crate::store::dovecot::look::Look;
use crate::store::dovecot::user::UserCapture;
use crate::store::source::OutletError;
use std::sync::Arc;

impl Engine {
    /// Asks for the users as they are now, and where there is reason to, for the places of their mail. Somebody who is new
    /// has changes too, and somebody who moved.
    pub(super) fn ask_for_users(&self) -> u64 {
        match self.lost.is_empty() {
            true => self.directory.ask(),
            false => self.directory.ask_places(),
        }
    }

    /// Where somebody's mail is not in its place, it is asked once where it is now.
    pub(super) fn note_lost(&mut self, user: &UserName, is_lost: bool) {
        if !is_lost {
            self.lost.remove(user);
        } else if !self.lost.contains_key(user) {
            self.lost.insert(user.clone(), self.directory.ask_places());
        }
    }

    /// True where nobody knows where this user's mail is.
    pub(super) fn is_nowhere(&self, user: &UserName) -> bool {
        self.lost.get(user).is_some_and(|question| *question <= self.answered)
    }

    /// Takes a new list of users over, where there is one, and begins what waited for it.
    pub(super) fn take_users(&mut self) -> Result<(), OutletError> {
        let answered = self.directory.answered();
        if let Some(users) = self.directory.take() {
            self.others.0.clear();
            self.take_over(users)?;
        }
        self.choose_anew()?;
        let before = std::mem::replace(&mut self.answered, answered);
        let told = self
            .lost
            .iter()
            .filter(|(_, question)| **question > before && **question <= answered);
        let told: Vec<UserName> = told.map(|(user, _)| user.clone()).collect();
        told.iter().for_each(|user| self.look_at(user, Look::everything()));
        let due: Vec<_> = self
            .asked
            .extract_if(.., |(question, _)| *question <= answered)
            .collect();
        for (_, reply) in due {
            self.all_dirty();
            self.sweeps.push(Sweep {
                remaining: self.users.keys().cloned().collect(),
                reply,
            });
            self.answer_sweeps(None);
        }
        Ok(())
    }

    /// Where others may be wanted than before: takes those who are, and lets go of those who are not any more.
    fn choose_anew(&mut self) -> Result<(), OutletError> {
        let changes = (self.changes)();
        if std::mem::replace(&mut self.others.1, changes) == changes || !self.users_known {
            return Ok(());
        }
        let mut users: Users = self.others.0.extract_if(.., |user, _| (self.wanted)(user)).collect();
        let stay = self
            .users
            .iter()
            .map(|(user, capture)| (user.clone(), Ok(capture.root().as_ref().clone())));
        users.extend(stay);
        self.take_over(users)
    }

    /// Takes a new list of users over.
    fn take_over(&mut self, users: Users) -> Result<(), OutletError> {
        let (found, others): (Users, Users) = users.into_iter().partition(|(user, _)| (self.wanted)(user));
        self.others.0.extend(others);
        // Where the mail lies can't be said just now: it is where it was until there is another answer.
        let stays = |user: &UserName, capture: &UserCapture| match found.get(user) {
            Some(Ok(root)) => root == capture.root().as_ref(),
            Some(Err(_)) => true,
            None => false,
        };
        let gone: Vec<UserName> = self
            .users
            .iter()
            .filter(|(user, capture)| !stays(user, capture))
            .map(|(user, _)| user.clone())
            .collect();
        gone.iter().for_each(|user| self.forget(user));
        for (user, root) in found {
            match root {
                Ok(root) if !self.users.contains_key(&user) => {
                    self.refused.remove(&user);
                    self.look_at(&user, Look::everything());
                    self.unlisted.insert(user.clone());
                    let capture = UserCapture::new(user.clone(), Arc::new(root));
                    self.users.insert(user, Box::new(capture));
                }
                Ok(_) => {}
                Err(why) => {
                    if self.refused.get(&user) != Some(&why) {
                        tracing::warn!(user = %crate::telemetry::user(&user), why, "this user is not captured");
                    }
                    self.refused.insert(user, why);
                }
            }
        }
        // Who has moved is still to be read.
        gone.iter().for_each(|user| self.answer_sweeps(Some(user)));
        if !std::mem::replace(&mut self.users_known, true) {
            self.go_on_with_bases();
        }
        self.tell_omissions();
        for command in std::mem::take(&mut self.early) {
            self.command(command)?;
        }
        Ok(())
    }

    /// A user who is not captured any more, or whose mail lies elsewhere now.
    fn forget(&mut self, user: &UserName) {
        self.users.remove(user);
        self.watch.forget_user(user);
        self.introducing.remove(user);
        self.unlisted.remove(user);
        self.held.remove(user);
        self.lost.remove(user);
        if let Some((_, logs)) = self.open.remove(user) {
            self.open_logs = self.open_logs.saturating_sub(logs);
        }
    }
}
