//! The input and output of an objective: the interface to training.

use crate::error::{Error, Result};

/// A chosen and a rejected response of the same prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Index of the correct response.
    pub chosen: usize,
    /// Index of the incorrect response.
    pub rejected: usize,
}

/// The input of an objective: the responses of one (micro-)batch.
#[derive(Debug, Clone, Copy)]
pub struct ObjectiveBatch<'a> {
    /// Log-ratio of each token of each response: `[n_responses][n_tokens]`, natural logarithm.
    pub log_ratios: &'a [Vec<f64>],
    /// Outcome label of each response, 1 for a correct one and 0 for an incorrect one:
    /// `[n_responses]`. Values between them are soft labels, for objectives that take them.
    pub labels: &'a [f64],
    /// Pairs, for objectives that need them; the others ignore them.
    pub pairs: &'a [Pair],
    /// Number of units (responses, or pairs where the objective is pairwise) in the *whole*
    /// optimizer batch: the loss is the sum over units divided by this, so that accumulated
    /// micro-batches equal the whole batch.
    pub n_units: usize,
    /// KTO's estimate of the divergence from mismatched pairs: the mean over the whole optimizer
    /// batch of `sum_t log_ratio_t` of responses under another problem's prompt. Not yet scaled by
    /// beta nor clamped; detached.
    pub mismatched_log_ratio: f64,
    /// Label of each step of each response with the end of the step in tokens, for objectives on
    /// step labels: `[n_responses][n_steps]`, or empty.
    pub steps: &'a [Vec<StepLabel>],
}

/// A labelled step: tokens up to `end` (exclusive) from the end of the step before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLabel {
    /// Index one past the step's last token.
    pub end: usize,
    /// In `0..=1`: 1 for a correct step; a share for soft labels.
    pub label: f64,
}

/// The output of an objective.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectiveOutput {
    /// The batch's loss in nats: the sum over its units divided by `n_units`.
    pub loss: f64,
    /// `dL/dlog pi` of each token of each response: `[n_responses][n_tokens]`.
    pub weights: Vec<Vec<f64>>,
    /// Outcome reward `beta * sum_t log_ratio_t` of each response.
    pub outcome_rewards: Vec<f64>,
}

impl ObjectiveBatch<'_> {
    /// `sum_t log_ratio_t` of each response: `[n_responses]`.
    pub(super) fn response_log_ratios(&self) -> Vec<f64> {
        self.log_ratios.iter().map(|tokens| tokens.iter().sum()).collect()
    }

    /// The output of an objective that depends on a response only through its summed log-ratio:
    /// `loss` and `slopes` `dL/d(sum_t log_ratio_t)` are sums over units, not yet divided by
    /// `n_units`.
    pub(super) fn output_of_sums(&self, beta: f64, loss: f64, slopes: &[f64]) -> ObjectiveOutput {
        let n_units = self.n_units as f64;
        let weights = self
            .log_ratios
            .iter()
            .zip(slopes)
            .map(|(tokens, slope)| vec![slope / n_units; tokens.len()])
            .collect();
        ObjectiveOutput { loss: loss / n_units, weights, outcome_rewards: self.rewards(beta) }
    }

    /// The output of an objective on labelled steps: `evaluate` is given a response's process
    /// rewards and their labels (`[n_steps]` each) and returns its loss and `dL/d(process reward)`.
    /// Tokens past the last labelled step contribute nothing.
    pub(super) fn output_of_steps(
        &self,
        beta: f64,
        evaluate: impl Fn(&[f64], &[f64]) -> (f64, Vec<f64>),
    ) -> ObjectiveOutput {
        let n_units = self.n_units as f64;
        let mut loss = 0.0;
        let mut weights = Vec::with_capacity(self.log_ratios.len());
        for (tokens, steps) in self.log_ratios.iter().zip(self.steps) {
            let starts = std::iter::once(0).chain(steps.iter().map(|step| step.end));
            let rewards: Vec<f64> = starts
                .zip(steps)
                .map(|(start, step)| beta * tokens[start..step.end].iter().sum::<f64>())
                .collect();
            let labels: Vec<f64> = steps.iter().map(|step| step.label).collect();
            let (response_loss, slopes) = evaluate(&rewards, &labels);
            loss += response_loss;
            let mut response_weights = Vec::with_capacity(tokens.len());
            for (step, slope) in steps.iter().zip(slopes) {
                response_weights.resize(step.end, beta * slope / n_units);
            }
            response_weights.resize(tokens.len(), 0.0);
            weights.push(response_weights);
        }
        ObjectiveOutput { loss: loss / n_units, weights, outcome_rewards: self.rewards(beta) }
    }

    /// The output of an objective that is the mean over a response's labelled steps of a loss of
    /// the Q value at the step's end: `evaluate` is given a Q value and its label and returns the
    /// loss and its slope.
    pub(super) fn output_of_q_values(
        &self,
        beta: f64,
        evaluate: impl Fn(f64, f64) -> (f64, f64),
    ) -> ObjectiveOutput {
        self.output_of_steps(beta, |rewards, labels| {
            let n_steps = rewards.len() as f64;
            let (mut loss, mut q_value) = (0.0, 0.0);
            let mut slopes = Vec::with_capacity(rewards.len());
            for (reward, label) in rewards.iter().zip(labels) {
                q_value += reward;
                let (step_loss, slope) = evaluate(q_value, *label);
                loss += step_loss / n_steps;
                slopes.push(slope / n_steps);
            }
            // A step's reward is part of every Q value from its own on.
            for idx in (1..slopes.len()).rev() {
                slopes[idx - 1] += slopes[idx];
            }
            (loss, slopes)
        })
    }

    /// `beta * sum_t log_ratio_t` of each response: `[n_responses]`.
    pub(super) fn rewards(&self, beta: f64) -> Vec<f64> {
        self.response_log_ratios().iter().map(|log_ratio| beta * log_ratio).collect()
    }

    /// Whether the parts fit together.
    pub(super) fn validate(&self, needs_step_labels: bool, takes_soft_labels: bool) -> Result<()> {
        let n = self.log_ratios.len();
        if self.n_units == 0 {
            return Err(Error::setting("n_units", "at least 1", 0));
        }
        if self.labels.len() != n {
            let expected = format!("one label for each of {n} responses");
            return Err(Error::setting("labels", expected, self.labels.len()));
        }
        let is_hard = |label: f64| label == 0.0 || label == 1.0;
        let fits = |label: f64| is_hard(label) || (takes_soft_labels && label > 0.0 && label < 1.0);
        if let Some(label) = self.labels.iter().find(|label| !fits(**label)) {
            let expected = if takes_soft_labels { "in 0..=1" } else { "0 or 1" };
            return Err(Error::setting("labels", expected, label));
        }
        if let Some(idx) = self.log_ratios.iter().position(Vec::is_empty) {
            let got = format!("no token in response {idx}");
            return Err(Error::setting("log_ratios", "at least one token a response", got));
        }
        for pair in self.pairs {
            let both = [pair.chosen, pair.rejected];
            if both.iter().any(|&idx| idx >= n) || pair.chosen == pair.rejected {
                let expected = format!("two different indices below {n}");
                return Err(Error::setting("pairs", expected, format!("{both:?}")));
            }
        }
        if needs_step_labels { self.validate_steps() } else { Ok(()) }
    }

    fn validate_steps(&self) -> Result<()> {
        let n = self.log_ratios.len();
        if self.steps.len() != n {
            let expected = format!("the labelled steps of each of {n} responses");
            return Err(Error::setting("steps", expected, self.steps.len()));
        }
        for (idx, (steps, tokens)) in self.steps.iter().zip(self.log_ratios).enumerate() {
            let got = |what: String| format!("{what} in response {idx}");
            if steps.is_empty() {
                return Err(Error::setting("steps", "at least one step", got("none".into())));
            }
            let mut start = 0;
            for step in steps {
                if step.end <= start || step.end > tokens.len() {
                    let expected = format!("rising ends of at most {} tokens", tokens.len());
                    return Err(Error::setting("steps", expected, got(step.end.to_string())));
                }
                if !(0.0..=1.0).contains(&step.label) {
                    let what = step.label.to_string();
                    return Err(Error::setting("steps", "labels in 0..=1", got(what)));
                }
                start = step.end;
            }
        }
        Ok(())
    }
}
