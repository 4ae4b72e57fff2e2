//! The default learning rate: by what is learnt, by the size of the model, and by whether all of it
//! or an adapter is trained.
//!
//! Between the sizes of a table the rate is interpolated on logarithmic axes and rounded to one
//! digit; below the first and above the last it is constant. `docs/training.md` has the tables.

use std::fmt;

/// Sizes and rates for reward models. Measured for 0.1 million parameters (`docs/choosing.md`) and kept
/// up to 1 million; the authors' rate for Llama 3.1 8B.
const REWARD_MODEL: &[(f64, f64)] = &[(1e6, 1e-3), (8.03e9, 5e-7)];

/// Sizes and rates for language models from scratch: Brown et al. 2020, table 2.1, whose line is
/// extended to 1e-3 and no further.
const LANGUAGE_MODEL: &[(f64, f64)] = &[(35e6, 1e-3), (125e6, 6e-4), (6.7e9, 1.2e-4)];

/// An adapter learns best at about ten times the rate of the whole model, whatever its rank
/// (Schulman and Thinking Machines Lab 2025, "LoRA without regret").
const ADAPTER_FACTOR: f64 = 10.0;

/// No default is above this.
const LARGEST: f64 = 1e-3;

/// What is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A reward model, from a language model.
    RewardModel,
    /// A language model.
    LanguageModel,
}

/// What is trained, as far as its default learning rate depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trained {
    /// What is learnt.
    pub(crate) purpose: Purpose,
    /// Parameters of the whole model.
    pub(crate) n_parameters: usize,
    /// Parameters of the low-rank adapter that alone is trained; `None` if all parameters are.
    pub(crate) n_adapter_parameters: Option<usize>,
}

impl Trained {
    /// The default learning rate.
    pub(crate) fn learning_rate(&self) -> f64 {
        let table = match self.purpose {
            Purpose::RewardModel => REWARD_MODEL,
            Purpose::LanguageModel => LANGUAGE_MODEL,
        };
        let factor = self.n_adapter_parameters.map_or(1.0, |_| ADAPTER_FACTOR);
        one_digit((factor * interpolate(table, self.n_parameters as f64)).min(LARGEST))
    }
}

/// `default for all 135 million parameters of a reward model`.
impl fmt::Display for Trained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_model = rounded(self.n_parameters);
        let what = match self.purpose {
            Purpose::RewardModel => "a reward model",
            Purpose::LanguageModel => "a language model from scratch",
        };
        match self.n_adapter_parameters {
            None => write!(f, "default for all {n_model} parameters of {what}"),
            Some(n_parameters) => write!(
                f,
                "default for an adapter of {} parameters to {what} of {n_model}",
                rounded(n_parameters)
            ),
        }
    }
}

fn interpolate(table: &[(f64, f64)], size: f64) -> f64 {
    let after = table.partition_point(|(known, _)| *known < size);
    let (Some(&(low, low_rate)), Some(&(high, high_rate))) =
        (after.checked_sub(1).and_then(|idx| table.get(idx)), table.get(after))
    else {
        let nearest = if after == 0 { table.first() } else { table.last() };
        return nearest.map_or(f64::NAN, |(_, rate)| *rate);
    };
    let share = (size / low).ln() / (high / low).ln();
    (low_rate.ln() + share * (high_rate / low_rate).ln()).exp()
}

/// Rounded to one decimal digit, by way of its text so that 2e-5 is the nearest number to 2e-5.
fn one_digit(rate: f64) -> f64 {
    format!("{rate:.0e}").parse().unwrap_or(rate)
}

/// `135 million`, `1.2 million`, `98304`.
fn rounded(n: usize) -> String {
    let n_all = n as f64;
    let (value, unit) = match n_all {
        n if n >= 999.5e6 => (n / 1e9, " billion"),
        n if n >= 1e6 => (n / 1e6, " million"),
        _ => return n.to_string(),
    };
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(n_parameters: usize) -> Trained {
        Trained { purpose: Purpose::RewardModel, n_parameters, n_adapter_parameters: None }
    }

    #[test]
    fn the_rate_falls_from_the_measured_one_to_that_of_the_authors() {
        let sizes = [98_304, 1_000_000, 135_000_000, 1_240_000_000, 8_030_261_248, 70_000_000_000];
        let rates = sizes.map(|n| full(n).learning_rate());
        assert_eq!(rates, [1e-3, 1e-3, 2e-5, 2e-6, 5e-7, 5e-7]);
        let adapted =
            |n| Trained { n_adapter_parameters: Some(41_943_040), ..full(n) }.learning_rate();
        assert_eq!([98_304, 135_000_000, 8_030_261_248].map(adapted), [1e-3, 2e-4, 5e-6]);
        let language = |n| Trained { purpose: Purpose::LanguageModel, ..full(n) }.learning_rate();
        let rates = [100_000, 125_000_000, 1_300_000_000, 6_700_000_000].map(language);
        assert_eq!(rates, [1e-3, 6e-4, 2e-4, 1e-4]);
    }

    #[test]
    fn its_source_is_named() {
        assert_eq!(
            full(135_000_000).to_string(),
            "default for all 135 million parameters of a reward model"
        );
        assert_eq!(
            Trained { n_adapter_parameters: Some(98_304), ..full(8_030_261_248) }.to_string(),
            "default for an adapter of 98304 parameters to a reward model of 8.0 billion"
        );
        assert_eq!([999_600_000, 1_240_000].map(rounded), ["1.0 billion", "1.2 million"]);
    }
}
