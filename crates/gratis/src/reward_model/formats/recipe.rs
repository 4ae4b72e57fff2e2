//! A published scoring procedure as data: the prompt, where the score is read, what becomes of it.

use crate::data::StepSplit;
use crate::numeric::sigmoid;
use crate::selection::Aggregation;

/// How a problem and its solution become tokens, where a score is read, and how scores are combined.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// How problem and solution become tokens.
    pub(crate) template: Template,
    /// Whether the beginning-of-sequence token goes before them.
    pub(crate) begin: Begin,
    /// Text after each step; empty where nothing marks a step.
    pub(crate) tag: &'static str,
    /// Text between a tag and the next step.
    pub(crate) step_join: &'static str,
    /// Which states the score is read from.
    pub(crate) reading: Reading,
    /// What a reward is given to.
    pub(crate) scope: Scope,
    /// How completions without steps of their own are split.
    pub(crate) step_split: StepSplit,
    /// What the authors make of the step rewards.
    pub(crate) aggregation: Aggregation,
}

/// How a problem and its solution are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Template {
    /// The model's chat template: the user gives the problem, the assistant the solution.
    Chat {
        /// System message; `None` for the template's own.
        system: Option<&'static str>,
    },
    /// The model's chat template with a turn of the assistant after each step, which says the tag.
    /// The first turn of the user is the problem, `problem_join` and the first step.
    Turns {
        /// Text between the problem and the first step.
        problem_join: &'static str,
    },
    /// A text, encoded in one piece.
    Text {
        /// Text before the problem.
        before: &'static str,
        /// Text between problem and solution.
        between: &'static str,
    },
    /// Pieces that are encoded one by one, their tokens put together: the problem, then units of
    /// the solution, each with the tokens of the tag.
    Pieces {
        /// Text after the problem, encoded with it.
        after_problem: &'static str,
        /// What is encoded in one piece.
        unit: Unit,
    },
}

impl Template {
    /// Whether earlier messages of a conversation have a place in it: those before the problem.
    pub(crate) fn holds_conversations(self) -> bool {
        matches!(self, Self::Chat { .. } | Self::Turns { .. })
    }
}

/// What of a solution is encoded in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A step.
    Step,
    /// A line; a step has one or more.
    Line,
}

/// Whether the beginning-of-sequence token goes before a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// As the tokenizer has it, and never twice.
    Tokenizer,
    /// Only where the text has it.
    AsWritten,
    /// Always, where the tokenizer has such a token.
    Always,
}

/// Which states the score is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The last token that is no padding.
    Last,
    /// As `Last`, and the first token of this text, which opens the solution's turn.
    LastAndOpening(&'static str),
    /// The token that ends the tag of each step.
    Tag,
    /// The token before the tag of each step, which predicts it.
    BeforeTag,
}

/// What a reward is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Each step: a process reward model.
    Steps,
    /// The solution: an outcome reward model.
    Solution,
}

/// What becomes of the channels that are read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reward {
    /// The number itself.
    Value,
    /// Its logistic function.
    Sigmoid,
    /// The share of one channel in the softmax of two.
    Softmax {
        /// The channel of a good step.
        good: usize,
    },
    /// Objectives weighed by a gate: see [`Gate`].
    Gated(Gate),
}

/// `sum_j g_j (sum_i r_i T_ij)` with `g = scale * softmax(z / temperature)`; the channels are the `n`
/// objectives `r`, read last, and the `n` logits `z` of the gate, read where the turn opens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gate {
    /// `T`: `[n, n]`.
    pub(crate) transform: Vec<f32>,
    /// Divides the logits.
    pub(crate) temperature: f64,
    /// Multiplies the shares.
    pub(crate) scale: f64,
}

impl Reward {
    /// The reward from the channels at the reading position, and from those at the opening of the
    /// turn where it is read too.
    pub(crate) fn of(&self, channels: &[f64], opening: &[f64]) -> f64 {
        let first = channels.first().copied().unwrap_or(f64::NAN);
        match self {
            Self::Value => first,
            Self::Sigmoid => sigmoid(first),
            Self::Softmax { good } => match channels {
                [a, b] => sigmoid(if *good == 0 { a - b } else { b - a }),
                _ => f64::NAN,
            },
            Self::Gated(gate) => gate.score(channels, opening),
        }
    }
}

impl Gate {
    fn score(&self, last: &[f64], opening: &[f64]) -> f64 {
        let n = last.len() / 2;
        let (objectives, logits) = (&last[..n], &opening[n..]);
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> =
            logits.iter().map(|logit| ((logit - largest) / self.temperature).exp()).collect();
        let total: f64 = shares.iter().sum();
        let adjusted = |j: usize| -> f64 {
            let column = objectives.iter().enumerate();
            column.map(|(i, reward)| reward * f64::from(self.transform[i * n + j])).sum()
        };
        let weighed = shares.iter().enumerate().map(|(j, share)| share / total * adjusted(j));
        self.scale * weighed.sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_by_hand() {
        assert_eq!(Reward::Value.of(&[-3.5], &[]), -3.5);
        assert_eq!(Reward::Sigmoid.of(&[0.0], &[]), 0.5);
        let log_odds = 3.0_f64.ln();
        for (good, expected) in [(0, 0.75), (1, 0.25)] {
            let got = Reward::Softmax { good }.of(&[2.0 + log_odds, 2.0], &[]);
            assert!((got - expected).abs() < 1e-15, "{got}");
        }
        // Shares 3/4 and 1/4 of the objectives 1 and 2, which the matrix mixes to 5 and 2.
        let gate = Gate { transform: vec![1.0, 0.0, 2.0, 1.0], temperature: 10.0, scale: 2.0 };
        let got = Reward::Gated(gate).of(&[1.0, 2.0, 9.0, 9.0], &[8.0, 8.0, 10.0 * log_odds, 0.0]);
        assert!((got - 2.0 * (0.75 * 5.0 + 0.25 * 2.0)).abs() < 1e-12, "{got}");
    }
}
