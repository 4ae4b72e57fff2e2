//! Percentile bootstrap over problems: the uncertainty of a mean due to the choice of problems.

use std::collections::HashMap;

use gratis_data::Draws;
use serde::{Deserialize, Serialize};

/// A mean with its percentile interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Mean over the problems.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How intervals are computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Resamples of the problems, drawn with replacement.
    pub n_resamples: usize,
    /// Probability mass between the ends, for example 0.95.
    pub confidence: f64,
    /// Seed of the resamples. The same seed draws the same problems for every measure, so two
    /// measures on the same problems are resampled together.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { n_resamples: 1000, confidence: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    /// The mean of `values` (`[n_problems]`) with its interval. Without a problem all three numbers
    /// are 0.
    pub fn interval(&self, values: &[f64]) -> Interval {
        self.intervals(&[values]).swap_remove(0)
    }

    /// As [`Self::interval`] for many measures of the same problems: `[n_measures][n_problems]`. The
    /// problems are drawn once for all of them.
    ///
    /// # Panics
    /// If the measures have different numbers of problems.
    pub fn intervals(&self, measures: &[impl AsRef<[f64]>]) -> Vec<Interval> {
        let n_measures = measures.len();
        let n = measures.first().map_or(0, |values| values.as_ref().len());
        if n == 0 {
            return vec![Interval { mean: 0.0, low: 0.0, high: 0.0 }; n_measures];
        }
        // `[n_problems, n_measures]`: a drawn problem is one row.
        let mut table = vec![0.0; n * n_measures];
        for (measure, values) in measures.iter().enumerate() {
            let values = values.as_ref();
            assert_eq!(values.len(), n, "the measures are of the same problems");
            for (problem, value) in values.iter().enumerate() {
                table[problem * n_measures + measure] = *value;
            }
        }
        let mut draws = Draws::new(self.seed);
        let mut means = vec![Vec::with_capacity(self.n_resamples); n_measures];
        let mut drawn = vec![0; n];
        let mut sums = vec![0.0; n_measures];
        let mut kinds = Kinds::of(&table, n_measures);
        for _ in 0..self.n_resamples {
            if let Some(kinds) = &mut kinds {
                kinds.draw(&mut draws, &mut sums);
            } else {
                draws.fill(&mut drawn);
                // As `Iterator::sum` begins.
                sums.fill(-0.0);
                for &problem in &drawn {
                    let start = problem * n_measures;
                    for (sum, value) in sums.iter_mut().zip(&table[start..start + n_measures]) {
                        *sum += value;
                    }
                }
            }
            for (means, sum) in means.iter_mut().zip(&sums) {
                means.push(sum / n as f64);
            }
        }
        let of = |(values, means): (&_, Vec<f64>)| {
            let mean = AsRef::<[f64]>::as_ref(values).iter().sum::<f64>() / n as f64;
            self.percentiles(mean, means)
        };
        measures.iter().zip(means).map(of).collect()
    }

    /// An interval over seeds and problems: each resample draws seeds with replacement, and for
    /// each drawn seed its problems with replacement. `statistic` is given, for each seed of a
    /// resample, its place and those of its problems; `n_problems` is `[n_seeds]`.
    pub fn nested(
        &self,
        n_problems: &[usize],
        statistic: impl Fn(&[(usize, Vec<usize>)]) -> f64,
    ) -> Interval {
        let n_seeds = n_problems.len();
        if n_problems.iter().sum::<usize>() == 0 {
            return Interval { mean: 0.0, low: 0.0, high: 0.0 };
        }
        let mut draws = Draws::new(self.seed);
        let mut values = Vec::with_capacity(self.n_resamples);
        for _ in 0..self.n_resamples {
            let drawn: Vec<(usize, Vec<usize>)> = (0..n_seeds)
                .map(|_| {
                    let seed = draws.below(n_seeds);
                    (seed, draws.resample(n_problems[seed]))
                })
                .collect();
            values.push(statistic(&drawn));
        }
        let whole: Vec<_> =
            n_problems.iter().enumerate().map(|(seed, &n)| (seed, (0..n).collect())).collect();
        self.percentiles(statistic(&whole), values)
    }

    /// An interval over units in groups of fixed size: each resample draws with replacement within
    /// each group. `statistic` is given the places of the units drawn, group by group; `n_units` is
    /// `[n_groups]`.
    pub fn stratified(
        &self,
        n_units: &[usize],
        statistic: impl Fn(&[Vec<usize>]) -> f64,
    ) -> Interval {
        let mut draws = Draws::new(self.seed);
        let mut values = Vec::with_capacity(self.n_resamples);
        for _ in 0..self.n_resamples {
            let drawn: Vec<Vec<usize>> = n_units.iter().map(|&n| draws.resample(n)).collect();
            values.push(statistic(&drawn));
        }
        let whole: Vec<Vec<usize>> = n_units.iter().map(|&n| (0..n).collect()).collect();
        self.percentiles(statistic(&whole), values)
    }

    fn percentiles(&self, mean: f64, mut resampled: Vec<f64>) -> Interval {
        let tail = (1.0 - self.confidence.clamp(0.0, 1.0)) / 2.0;
        let mut quantile = |share: f64| {
            let last = resampled.len().checked_sub(1)?;
            let idx = (share * last as f64).round() as usize;
            Some(*resampled.select_nth_unstable_by(idx, f64::total_cmp).1)
        };
        let (low, high) = (quantile(tail), quantile(1.0 - tail));
        Interval { mean, low: low.unwrap_or(mean), high: high.unwrap_or(mean) }
    }
}

/// The different rows of a table, where few of them are different.
struct Kinds {
    /// The rows, measure by measure: `[n_measures, n_kinds]`.
    columns: Vec<f64>,
    /// The row of each problem.
    of: Vec<u32>,
    /// How often each row was drawn: `[n_kinds]`.
    counts: Vec<u32>,
    /// The same as 64-bit numbers.
    weights: Vec<f64>,
}

impl Kinds {
    /// The rows of a table `[n_problems, n_measures]`, where counting them gives the same sums as adding
    /// them one by one: accuracies are mostly fractions of a few binary digits, and then every sum is exact.
    fn of(table: &[f64], n_measures: usize) -> Option<Self> {
        // Binary digits after the point of each value, and before the point of any sum.
        const N_AFTER: i32 = 20;
        const N_BEFORE: i32 = 32;
        let n_problems = table.len() / n_measures;
        let largest = table.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let unit = f64::exp2(f64::from(N_AFTER));
        let is_exact = |value: &f64| {
            (value * unit).fract() == 0.0 && (*value != 0.0 || value.is_sign_positive())
        };
        let are_sums_exact = largest * (n_problems as f64) < f64::exp2(f64::from(N_BEFORE));
        if !are_sums_exact || !table.iter().all(is_exact) {
            return None;
        }
        let mut known: HashMap<Vec<u64>, u32> = HashMap::new();
        let mut rows: Vec<&[f64]> = Vec::new();
        let mut of = Vec::with_capacity(n_problems);
        for row in table.chunks_exact(n_measures) {
            let next = u32::try_from(rows.len()).ok()?;
            let kind =
                *known.entry(row.iter().map(|value| value.to_bits()).collect()).or_insert(next);
            if kind == next {
                rows.push(row);
            }
            of.push(kind);
        }
        let column = |measure| rows.iter().map(move |row| row[measure]);
        (2 * rows.len() <= n_problems).then(|| Self {
            columns: (0..n_measures).flat_map(column).collect(),
            of,
            counts: vec![0; rows.len()],
            weights: vec![0.0; rows.len()],
        })
    }

    /// The sums of the rows of one resample of the problems: `[n_measures]`.
    fn draw(&mut self, draws: &mut Draws, sums: &mut [f64]) {
        let Self { columns, of, counts, weights } = self;
        counts.fill(0);
        draws.count(of, counts);
        for (weight, count) in weights.iter_mut().zip(&*counts) {
            *weight = f64::from(*count);
        }
        for (sum, column) in sums.iter_mut().zip(columns.chunks_exact(weights.len())) {
            *sum = product(weights, column);
        }
    }
}

/// The sum of the products of two lists. All sums are exact, so that four can be added up side by side.
fn product(a: &[f64], b: &[f64]) -> f64 {
    let ((fours_a, last_a), (fours_b, last_b)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0.0; 4];
    for (a, b) in fours_a.iter().zip(fours_b) {
        sums = [
            sums[0] + a[0] * b[0],
            sums[1] + a[1] * b[1],
            sums[2] + a[2] * b[2],
            sums[3] + a[3] * b[3],
        ];
    }
    let last: f64 = last_a.iter().zip(last_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + last
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn groups_keep_their_size_in_every_resample() {
        let bootstrap = Bootstrap { n_resamples: 50, ..Bootstrap::default() };
        let interval = bootstrap.stratified(&[3, 0, 2], |drawn| {
            let sizes: Vec<usize> = drawn.iter().map(Vec::len).collect();
            assert_eq!(sizes, [3, 0, 2]);
            assert!(drawn[0].iter().all(|&idx| idx < 3) && drawn[2].iter().all(|&idx| idx < 2));
            drawn[0].iter().sum::<usize>() as f64
        });
        assert_eq!(interval.mean, 3.0, "the units as they are");
        assert!(interval.low < 3.0 && interval.high > 3.0);
    }

    #[test]
    fn the_interval_of_a_coin_has_the_textbook_width() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let interval = Bootstrap::default().interval(&values);
        assert_eq!(interval.mean, 0.5);
        // 1.96 * 0.5 / sqrt(400) = 0.049 on each side; observed 0.0475 and 0.05.
        assert!((0.5 - interval.low - 0.049).abs() < 0.006, "{interval:?}");
        assert!((interval.high - 0.5 - 0.049).abs() < 0.006, "{interval:?}");
    }

    #[test]
    fn seeds_that_differ_widen_the_interval_and_one_seed_is_the_plain_one() {
        let bootstrap = Bootstrap::default();
        let values = [vec![0.0; 100], vec![0.5; 100], vec![1.0; 100]];
        let mean = |drawn: &[(usize, Vec<usize>)]| {
            let of_seed = |(seed, problems): &(usize, Vec<usize>)| {
                problems.iter().map(|&problem| values[*seed][problem]).sum::<f64>() / 100.0
            };
            drawn.iter().map(of_seed).sum::<f64>() / drawn.len() as f64
        };
        let interval = bootstrap.nested(&[100, 100, 100], mean);
        assert_eq!(interval.mean, 0.5);
        // One of 27 resamples has the lowest seed three times: 3.7 %, more than the tail of 2.5 %.
        assert_eq!((interval.low, interval.high), (0.0, 1.0));
        assert_eq!(bootstrap.nested(&[100], mean), bootstrap.interval(&values[0]));
    }

    #[test]
    fn many_measures_have_the_intervals_of_each_alone() {
        let bootstrap = Bootstrap { n_resamples: 100, seed: 5, ..Bootstrap::default() };
        let measures: Vec<Vec<f64>> = (1..8)
            .map(|k| (0..60).map(|i| f64::from(i * k % 13) / f64::from(k) - 0.3).collect())
            .collect();
        // As defined: a resample's mean is the sum of the values drawn over their number.
        let by_definition = |values: &[f64]| {
            let n = values.len();
            let mut rng = ChaCha8Rng::seed_from_u64(bootstrap.seed);
            let drawn = |_| (0..n).map(|_| values[rng.random_range(0..n)]).sum::<f64>() / n as f64;
            let means = (0..bootstrap.n_resamples).map(drawn).collect();
            bootstrap.percentiles(values.iter().sum::<f64>() / n as f64, means)
        };
        // Sixteenths of few kinds are counted, thirds are added.
        let counted: Vec<Vec<f64>> = (1..8)
            .map(|k| (0..60).map(|i| f64::from(i * k % 12) / 16.0 - f64::from(k)).collect())
            .collect();
        for measures in [measures, counted] {
            let together = bootstrap.intervals(&measures);
            for (values, found) in measures.iter().zip(together) {
                assert_eq!(found, by_definition(values));
                assert_eq!(found, bootstrap.interval(values));
            }
        }
        let kinds = |table: &[f64], n_measures| Kinds::of(table, n_measures);
        assert!(kinds(&[0.5, 0.25, 0.5, 0.25], 2).is_some_and(|kinds| kinds.of == [0, 0]));
        assert!(kinds(&[0.1, 0.1], 1).is_none() && kinds(&[-0.0, -0.0], 1).is_none());
        assert!(kinds(&[1e10, 1e10], 1).is_none() && kinds(&[0.5, 0.25], 1).is_none());
        assert!(bootstrap.intervals(&[] as &[Vec<f64>]).is_empty());
    }

    #[test]
    fn a_constant_has_no_width_and_the_seed_decides() {
        let bootstrap = Bootstrap { n_resamples: 100, ..Bootstrap::default() };
        let constant = bootstrap.interval(&[0.25; 10]);
        assert_eq!(constant, Interval { mean: 0.25, low: 0.25, high: 0.25 });
        let values: Vec<f64> = (0..50).map(|i| f64::from(i % 7)).collect();
        assert_eq!(bootstrap.interval(&values), bootstrap.interval(&values));
        let other = Bootstrap { seed: 1, ..bootstrap };
        assert_ne!(bootstrap.interval(&values), other.interval(&values));
        assert_eq!(bootstrap.interval(&[]).mean, 0.0);
    }
}
