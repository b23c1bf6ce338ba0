//! Both sides' users beside each other.

use super::{Counts, Holding, Holdings, UserParity};
use crate::control::report::VerifyReport;
use crate::op::UserName;
use std::collections::{BTreeMap, BTreeSet};

impl From<&Holding> for Counts {
    fn from(holding: &Holding) -> Self {
        Self {
            mailboxes: holding.mailboxes,
            messages: holding.messages,
            bytes: holding.bytes,
        }
    }
}

/// Everybody who is known on either side, by name.
#[must_use]
pub fn users(old: &Holdings, new: &Holdings) -> Vec<UserParity> {
    let names: BTreeSet<&UserName> = old.keys().chain(new.keys()).collect();
    let of = |user: &UserName| UserParity {
        user: user.clone(),
        old: old.get(user).map(Counts::from),
        new: new.get(user).map(Counts::from),
        ..UserParity::default()
    };
    names.into_iter().map(of).collect()
}

/// What a comparison said of each. Whom it names with no difference is equal, if it compared everything that it was to:
/// otherwise nothing is known of them.
pub fn judge(users: &mut [UserParity], report: &VerifyReport) {
    let mut differences: BTreeMap<&UserName, u64> = BTreeMap::new();
    for difference in &report.different {
        *differences.entry(&difference.user).or_default() += 1;
    }
    let unequal = report.mailboxes.saturating_sub(report.equal);
    let named = u64::try_from(report.different.len()).unwrap_or(u64::MAX);
    for parity in users {
        parity.differences = differences.get(&parity.user).copied().unwrap_or_default();
        parity.equal = match (parity.differences, parity.old, parity.new) {
            (0, Some(_), Some(_)) => (unequal <= named).then_some(true),
            (0, _, _) => None,
            _ => Some(false),
        };
    }
}

/// Who differs, by name.
#[must_use]
pub fn unequal(report: &VerifyReport) -> BTreeSet<UserName> {
    report
        .different
        .iter()
        .map(|difference| difference.user.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::Difference;

    fn holdings(users: &[(&str, u64)]) -> Holdings {
        let one = |(user, messages): &(&str, u64)| {
            let user = UserName::from(*user);
            let holding = Holding {
                user: user.clone(),
                messages: *messages,
                ..Holding::default()
            };
            (user, holding)
        };
        users.iter().map(one).collect()
    }

    fn different(user: &str) -> Difference {
        Difference {
            user: user.into(),
            mailbox: "INBOX".to_owned(),
            why: "flags".to_owned(),
            peer: None,
        }
    }

    #[test]
    fn a_user_whom_only_one_side_has_is_not_called_equal() {
        let mut users = users(
            &holdings(&[("ann", 3), ("bob", 1)]),
            &holdings(&[("ann", 3), ("eve", 0)]),
        );
        let report = VerifyReport {
            mailboxes: 2,
            equal: 2,
            ..VerifyReport::default()
        };
        judge(&mut users, &report);
        let told: Vec<_> = users.iter().map(|one| (one.user.as_str(), one.equal)).collect();
        assert_eq!(told, [("ann", Some(true)), ("bob", None), ("eve", None)]);
    }

    #[test]
    fn one_difference_makes_one_user_unequal_and_a_list_that_was_cut_makes_the_others_unknown() {
        let both = holdings(&[("ann", 3), ("bob", 1)]);
        let mut report = VerifyReport {
            mailboxes: 9,
            equal: 8,
            different: vec![different("bob")],
            ..VerifyReport::default()
        };
        let mut some = users(&both, &both);
        judge(&mut some, &report);
        assert_eq!(
            (some[0].equal, some[1].equal, some[1].differences),
            (Some(true), Some(false), 1)
        );
        assert_eq!(unequal(&report).len(), 1);
        report.equal = 2;
        judge(&mut some, &report);
        assert_eq!((some[0].equal, some[1].equal), (None, Some(false)));
    }
}
