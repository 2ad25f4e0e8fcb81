//! Random choices from one seed that the shell hands in, so that whatever decides can be replayed.

/// SplitMix64 (Steele, Lea, Flood, 2014): every seed gives a full period.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Choices that this seed makes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number that was never used before, as far as chance goes.
    pub fn id(&mut self) -> u128 {
        u128::from(self.bits()) << 64 | u128::from(self.bits())
    }

    /// A number below a bound; zero where the bound is. Even enough for what is far below 2^64.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.bits()) * bound as u128;
        (wide >> 64) as usize
    }
}

/// Spreads the bits of a number over all of it.
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_chooses_alike_and_within_the_bound() {
        let choose = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.below(7)).collect::<Vec<_>>()
        };
        assert_eq!(choose(1), choose(1));
        assert_ne!(choose(1), choose(2));
        assert!((0..7).all(|it| choose(1).contains(&it)));
        assert_eq!(Random::new(1).below(0), 0);
    }
}
