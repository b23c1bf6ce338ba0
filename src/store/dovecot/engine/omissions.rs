//! What of the users' mail is not captured, for the log and for `status`: each kind once, however many users have it.

use super::Engine;
use crate::limits::{NOT_CARRIED_TOLD_MAX, STATUS_NAMED_MAX};
use crate::store::dovecot::mail_root::MailRoot;
use crate::store::source::NotCarried;
use std::collections::BTreeMap;
use std::sync::PoisonError;

impl Engine {
    /// Sums up over a new list of users; logs what was not said before.
    pub(super) fn tell_omissions(&self) {
        let found = sum_up(self.users.values().map(|user| user.root().as_ref()));
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        for omission in &found {
            if !status.not_carried.iter().any(|known| known.what == omission.what) {
                tracing::warn!(
                    users = omission.users.unwrap_or_default(),
                    "not carried: {}",
                    omission.what
                );
            }
        }
        status.not_carried = found;
        let named = self.refused.iter().zip(0..STATUS_NAMED_MAX);
        status.refused = named.map(|((user, why), _)| (user.clone(), why.clone())).collect();
        status.refused_users = u64::try_from(self.refused.len()).unwrap_or(u64::MAX);
    }
}

/// What concerns most users first.
pub(in crate::store::dovecot) fn sum_up<'a>(roots: impl Iterator<Item = &'a MailRoot>) -> Vec<NotCarried> {
    let mut users: BTreeMap<&str, u64> = BTreeMap::new();
    for root in roots {
        for what in root
            .left_out
            .iter()
            .chain(&root.elsewhere)
            .chain(&root.attributes.not_carried)
        {
            *users.entry(what).or_default() += 1;
        }
    }
    let mut found: Vec<NotCarried> = users
        .into_iter()
        .map(|(what, users)| NotCarried {
            what: what.to_owned(),
            users: Some(users),
        })
        .collect();
    found.sort_by_key(|omission| std::cmp::Reverse(omission.users));
    found.truncate(NOT_CARRIED_TOLD_MAX);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::mail_root::{Driver, Namespace};
    use std::path::Path;

    fn root(left_out: &[&str], not_carried: &[&str]) -> MailRoot {
        let mut root = MailRoot::of(Namespace::plain(Driver::Sdbox, Path::new("/m")));
        root.left_out = left_out.iter().map(|what| (*what).to_owned()).collect();
        root.attributes.not_carried = not_carried.iter().map(|what| (*what).to_owned()).collect();
        root
    }

    #[test]
    fn what_all_users_lack_is_told_once_and_before_what_one_lacks() {
        let roots = [root(&["public"], &["a dict"]), root(&["public"], &[])];
        let told = sum_up(roots.iter());
        let told: Vec<(&str, Option<u64>)> = told.iter().map(|one| (one.what.as_str(), one.users)).collect();
        assert_eq!(told, [("public", Some(2)), ("a dict", Some(1))]);
    }

    #[test]
    fn a_sentence_for_each_of_many_users_stays_within_its_bound() {
        let roots: Vec<MailRoot> = (0..100).map(|n| root(&[&format!("namespace {n}")], &[])).collect();
        assert_eq!(sum_up(roots.iter()).len(), NOT_CARRIED_TOLD_MAX);
    }
}
