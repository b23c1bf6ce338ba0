//! Which bodies were compared with their hash since the start: one bit each.

use crate::limits::CHECKED_BODIES_MAX;
use std::sync::{Mutex, PoisonError};

/// Numbers of bodies. Those beyond the bound are never held, and so checked each time.
#[derive(Default)]
pub(super) struct Checked(Mutex<Vec<u64>>);

/// Word and bit of a body's number.
fn place(body: i64) -> Option<(usize, u32)> {
    let number = usize::try_from(body).ok().filter(|n| *n < CHECKED_BODIES_MAX)?;
    Some((number / 64, u32::try_from(number % 64).ok()?))
}

impl Checked {
    pub(super) fn holds(&self, body: i64) -> bool {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = place(body).and_then(|(word, bit)| Some(words.get(word)? >> bit & 1));
        held == Some(1)
    }

    pub(super) fn add(&self, body: i64) {
        let Some((word, bit)) = place(body) else { return };
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() <= word {
            words.resize(word.saturating_add(1).next_power_of_two(), 0);
        }
        if let Some(word) = words.get_mut(word) {
            *word |= 1 << bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_trusted_only_after_its_own_check() {
        let checked = Checked::default();
        for body in [0, 63, 64, 1_000_000] {
            assert!(!checked.holds(body));
            checked.add(body);
            assert!(checked.holds(body) && !checked.holds(body + 1));
        }
        checked.add(-1);
        checked.add(i64::MAX);
        assert!(!checked.holds(-1) && !checked.holds(i64::MAX));
    }
}
