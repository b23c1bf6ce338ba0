//! Sequence sets: `1:3,5,7:*` (RFC 9051 section 9, `sequence-set`).

use super::scan::{Bad, Scan};
use std::ops::RangeInclusive;

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Place {
    /// A number, not 0.
    Number(u32),
    /// `*`: the last one there is.
    Last,
}

impl Place {
    fn resolve(self, last: u32) -> u32 {
        match self {
            Self::Number(n) => n,
            Self::Last => last,
        }
    }
}

/// Message numbers or UIDs, as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum SequenceSet {
    /// `1:3,7:*`
    Ranges(Vec<(Place, Place)>),
    /// `$`: what the last search with SAVE found (RFC 5182).
    Saved,
}

impl SequenceSet {
    pub(super) fn parse(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        if scan.take(b'$') {
            return Ok(Self::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let first = place(scan)?;
            let last = if scan.take(b':') { place(scan)? } else { first };
            ranges.push((first, last));
            if !scan.take(b',') {
                return Ok(Self::Ranges(ranges));
            }
        }
    }

    /// `1:*`
    pub(in crate::serve::imap) fn every() -> Self {
        Self::Ranges(vec![(Place::Number(1), Place::Last)])
    }

    fn ranges(&self) -> &[(Place, Place)] {
        match self {
            Self::Ranges(ranges) => ranges,
            Self::Saved => &[],
        }
    }

    /// Ascending ranges that don't touch, with `*` as `last`; none for `$`. For UIDs `last` is the highest UID in the
    /// mailbox, and ranges may hold UIDs that don't exist.
    pub(in crate::serve::imap) fn resolve(&self, last: u32) -> Vec<RangeInclusive<u32>> {
        let mut ranges: Vec<(u32, u32)> = self
            .ranges()
            .iter()
            .map(|(a, b)| (a.resolve(last), b.resolve(last)))
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, end) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(end),
                _ => merged.push((first, end)),
            }
        }
        merged.into_iter().map(|(a, b)| a..=b).collect()
    }

    /// True where every message number exists in a mailbox of `messages`; `*` exists in none that is empty.
    pub(in crate::serve::imap) fn fits(&self, messages: u32) -> bool {
        let within = |(a, b): &(Place, Place)| a.resolve(1) <= messages && b.resolve(1) <= messages;
        *self == Self::Saved || (messages > 0 && self.ranges().iter().all(within))
    }
}

fn place(scan: &mut Scan<'_>) -> Result<Place, Bad> {
    if scan.take(b'*') {
        return Ok(Place::Last);
    }
    match scan.number() {
        Ok(0) | Err(_) => Bad::new("Invalid messageset"),
        Ok(n) => Ok(Place::Number(n)),
    }
}

/// Numbers as a set: `1:3,5`. `numbers` ascend.
pub(in crate::serve::imap) fn compact(numbers: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some(first) = rest.first().copied() {
        let run = rest
            .iter()
            .zip(first..=u32::MAX)
            .take_while(|(n, expected)| **n == *expected)
            .count();
        let last = run.checked_sub(1).and_then(|i| rest.get(i)).copied().unwrap_or(first);
        let comma = if text.is_empty() { "" } else { "," };
        let range = if first == last {
            format!("{comma}{first}")
        } else {
            format!("{comma}{first}:{last}")
        };
        text.push_str(&range);
        rest = rest.get(run.max(1)..).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> SequenceSet {
        let mut scan = Scan::new(text.as_bytes());
        let set = SequenceSet::parse(&mut scan).unwrap();
        scan.done().unwrap();
        set
    }

    #[test]
    fn overlapping_and_backward_ranges_name_each_message_once() {
        assert_eq!(set("5:3,4,1,9:7,10").resolve(20), [1..=1, 3..=5, 7..=10]);
        assert_eq!(set("*").resolve(7), [7..=7]);
        assert_eq!(set("9:*").resolve(7), [7..=9]);
        assert_eq!(set("1:4294967295,4294967295").resolve(7), [1..=u32::MAX]);
    }

    #[test]
    fn message_numbers_beyond_the_last_are_told_from_good_ones() {
        assert!(set("1:3,*").fits(3) && !set("4").fits(3) && !set("2:9").fits(3) && !set("1:*").fits(0));
    }

    #[test]
    fn numbers_read_back_from_their_compact_form() {
        for numbers in [vec![1], vec![1, 2, 3], vec![1, 3, 4, 9], vec![u32::MAX - 1, u32::MAX]] {
            let back: Vec<u32> = set(&compact(&numbers)).resolve(0).into_iter().flatten().collect();
            assert_eq!(back, numbers);
        }
        assert_eq!(compact(&[]), "");
    }
}
