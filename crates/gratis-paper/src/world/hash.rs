//! A hash that stays the same on every platform and in every release: splits, error contexts and seeds
//! of the tiny world depend on it.

/// SplitMix64's finaliser chained over `words`.
pub(super) fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0x243f_6a88_85a3_08d3, |state, &word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// `mix` as a number in `0..1`.
pub(super) fn unit(words: &[u64]) -> f64 {
    (mix(words) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_words_matters_and_the_unit_is_uniform() {
        assert_ne!(mix(&[1, 2]), mix(&[2, 1]));
        let mean = (0..10_000).map(|i| unit(&[i])).sum::<f64>() / 1e4;
        // Standard error 0.0029; observed 0.5007.
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
