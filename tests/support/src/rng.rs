//! A small seeded generator (SplitMix64): the same seed gives the same load on every machine and compiler.

/// Random numbers out of a seed; not for secrets.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator for `seed`, which may be any text.
    pub fn new(seed: &str) -> Self {
        let hash = blake3::hash(seed.as_bytes());
        let word = hash.as_bytes().iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b));
        Rng(word)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.word().checked_rem(end).unwrap_or(0)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `items`.
    ///
    /// # Panics
    /// Where `items` is empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(items.len() as u64)).unwrap_or(0);
        items.get(place).expect("something to pick from")
    }

    /// Up to `most` different items, at least one where there is any, in their order.
    pub fn some<T: Clone>(&mut self, items: &[T], most: u64) -> Vec<T> {
        let mut left = (items.len() as u64).min(1 + self.below(most));
        let mut chosen = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let remaining = (items.len() - place) as u64;
            if self.below(remaining) < left {
                chosen.push(item.clone());
                left -= 1;
            }
        }
        chosen
    }
}
