//! How fast stored mail may be shipped: so many bytes a second, in small bursts.

use crate::limits::BODY_PART_BYTES;

/// What may still be shipped, refilled as time goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Bytes a second; none: no limit.
    rate: Option<u64>,
    /// Bytes that may go now; below zero a debt.
    level: i64,
    filled_ms: u64,
}

impl Bucket {
    /// Full.
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            level: burst(),
            filled_ms: 0,
        }
    }

    /// True where something may go now.
    pub(super) fn allows(&mut self, now_ms: u64) -> bool {
        let Some(rate) = self.rate else { return true };
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        let gained = i64::try_from(passed_ms.saturating_mul(rate) / 1000).unwrap_or(i64::MAX);
        if gained > 0 {
            self.level = self.level.saturating_add(gained).min(burst());
            self.filled_ms = now_ms;
        }
        self.level > 0
    }

    /// So many bytes went.
    pub(super) fn spend(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.level = self.level.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// When something may go again.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        let rate = self.rate?;
        let debt = u64::try_from(1_i64.saturating_sub(self.level)).ok()?;
        Some(self.filled_ms.saturating_add(debt.saturating_mul(1000).div_ceil(rate)))
    }
}

/// Two parts: one goes while the next is awaited.
fn burst() -> i64 {
    i64::try_from(BODY_PART_BYTES.saturating_mul(2)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_a_minute_whatever_the_parts_are() {
        for (rate, part) in [(100_000_u64, 65_536_usize), (2_500_000, 4_096), (10_000, 1)] {
            let (mut bucket, mut went, mut now_ms) = (Bucket::new(Some(rate)), 0_usize, 5_000);
            while now_ms < 65_000 && went < 1 << 28 {
                if bucket.allows(now_ms) {
                    bucket.spend(part);
                    went += part;
                } else {
                    now_ms = bucket.wake_ms().unwrap().max(now_ms + 1);
                }
            }
            let most = usize::try_from(rate * 60).unwrap() + 4 * BODY_PART_BYTES;
            assert!(
                went <= most && went + 4 * BODY_PART_BYTES >= usize::try_from(rate * 59).unwrap(),
                "{went}"
            );
        }
        assert!(Bucket::new(None).allows(0) && Bucket::new(None).wake_ms().is_none());
    }
}
