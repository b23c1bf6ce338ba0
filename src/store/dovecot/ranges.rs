//! Sets of UIDs as ranges.

use crate::op::{Uid, UidRange};

/// A set of UIDs: ascending, disjoint ranges with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidSet(Vec<UidRange>);

impl UidSet {
    /// Of ranges in any order.
    #[must_use]
    pub fn of(ranges: &[UidRange]) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(*range);
        }
        set
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[UidRange] {
        &self.0
    }

    /// Number of ranges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where no UID is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True where `uid` is in it.
    #[must_use]
    pub fn contains(&self, uid: Uid) -> bool {
        let after = self.0.partition_point(|range| range.last < uid);
        self.0.get(after).is_some_and(|range| range.contains(uid))
    }

    /// Adds a range, joining neighbours.
    pub fn insert(&mut self, added: UidRange) {
        let from = self
            .0
            .partition_point(|range| range.last.0.saturating_add(1) < added.first.0);
        let to = self
            .0
            .partition_point(|range| range.first.0 <= added.last.0.saturating_add(1));
        let joined = self.0.get(from..to).unwrap_or_default();
        let first = joined.first().map_or(added.first, |range| range.first.min(added.first));
        let last = joined.last().map_or(added.last, |range| range.last.max(added.last));
        self.0.splice(from..to.max(from), [UidRange { first, last }]);
    }

    /// Takes a range out.
    pub fn remove(&mut self, removed: UidRange) {
        let from = self.0.partition_point(|range| range.last < removed.first);
        let to = self.0.partition_point(|range| range.first <= removed.last);
        let mut rest = Vec::new();
        for range in self.0.get(from..to).unwrap_or_default() {
            rest.extend(before(range, removed.first));
            rest.extend(after(range, removed.last));
        }
        self.0.splice(from..to.max(from), rest);
    }

    /// Keeps only UIDs below `end`.
    pub fn truncate(&mut self, end: Uid) {
        self.remove(UidRange {
            first: end,
            last: Uid(u32::MAX),
        });
    }

    /// Splits `range` into what is in the set and what is not, both ascending.
    #[must_use]
    pub fn split(&self, range: UidRange) -> (Vec<UidRange>, Vec<UidRange>) {
        let from = self.0.partition_point(|member| member.last < range.first);
        let to = self.0.partition_point(|member| member.first <= range.last);
        let (mut inside, mut outside, mut rest) = (Vec::new(), Vec::new(), Some(range));
        for member in self.0.get(from..to).unwrap_or_default() {
            let Some(left) = rest else { break };
            let (first, last) = (member.first.max(left.first), member.last.min(left.last));
            outside.extend(before(&left, first));
            inside.push(UidRange { first, last });
            rest = after(&left, last);
        }
        outside.extend(rest);
        (inside, outside)
    }
}

/// The part of `range` below `uid`.
fn before(range: &UidRange, uid: Uid) -> Option<UidRange> {
    (range.first < uid).then(|| UidRange {
        first: range.first,
        last: range.last.min(Uid(uid.0.saturating_sub(1))),
    })
}

/// The part of `range` above `uid`.
fn after(range: &UidRange, uid: Uid) -> Option<UidRange> {
    (range.last > uid).then(|| UidRange {
        first: range.first.max(Uid(uid.0.saturating_add(1))),
        last: range.last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn members(ranges: &[UidRange]) -> BTreeSet<u32> {
        ranges.iter().flat_map(|r| r.first.0..=r.last.0).collect()
    }

    fn range() -> impl Strategy<Value = UidRange> {
        (1u32..60, 0u32..12).prop_map(|(first, more)| UidRange {
            first: Uid(first),
            last: Uid(first + more),
        })
    }

    proptest! {
        #[test]
        fn ranges_mean_what_a_set_of_numbers_means(
            steps in proptest::collection::vec((any::<bool>(), range()), 0..20),
            probe in range(),
        ) {
            let (mut set, mut model) = (UidSet::default(), BTreeSet::new());
            for (add, range) in steps {
                for uid in range.first.0..=range.last.0 {
                    if add { model.insert(uid); } else { model.remove(&uid); }
                }
                if add { set.insert(range) } else { set.remove(range) }
            }
            prop_assert_eq!(members(set.ranges()), model.clone());
            prop_assert!(set.ranges().windows(2).all(|w| w[0].last.0 + 1 < w[1].first.0));
            let (inside, outside) = set.split(probe);
            for uid in probe.first.0..=probe.last.0 {
                prop_assert_eq!(members(&inside).contains(&uid), model.contains(&uid));
                prop_assert_eq!(members(&outside).contains(&uid), !model.contains(&uid));
                prop_assert_eq!(set.contains(Uid(uid)), model.contains(&uid));
            }
        }
    }

    #[test]
    fn the_last_uid_does_not_overflow() {
        let all = UidRange {
            first: Uid(1),
            last: Uid(u32::MAX),
        };
        let mut set = UidSet::of(&[all, UidRange::one(Uid(u32::MAX))]);
        set.remove(UidRange::one(Uid(u32::MAX)));
        set.truncate(Uid(3));
        assert_eq!(members(set.ranges()), BTreeSet::from([1, 2]));
    }
}
