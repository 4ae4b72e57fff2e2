//! Training objectives: pure functions of log-ratios and labels (paper section 3).
//!
//! An objective is given the log-ratios `log pi(y_t|y_<t) - log pi_ref(y_t|y_<t)` of each response
//! token (without a reference: `log pi` alone) and answers with the loss and
//! `w_t = dL/dlog pi(y_t|y_<t)`. It knows no model and no text. Pairs and the mismatched responses
//! of KTO are indices into the same list of responses.

/// A chosen and a rejected response of the same prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Index of the correct response.
    pub chosen: usize,
    /// Index of the incorrect response.
    pub rejected: usize,
}

/// What an objective is given: responses of one (micro-)batch.
#[derive(Debug, Clone, Copy)]
pub struct ObjectiveBatch<'a> {
    /// Log-ratio of each token of each response: `[n_responses][n_tokens]`, natural logarithm.
    pub log_ratios: &'a [Vec<f64>],
    /// Outcome label of each response: `[n_responses]`.
    pub labels: &'a [bool],
    /// Pairs, for objectives that need them.
    pub pairs: &'a [Pair],
    /// Number of units (responses, or pairs where the objective is pairwise) in the *whole*
    /// optimizer batch: the loss is the sum over units divided by this, so that accumulated
    /// micro-batches equal the whole batch.
    pub n_units: usize,
    /// KTO's estimate of the divergence from mismatched pairs over the whole optimizer batch, in
    /// units of the log-ratio (not yet scaled by beta); detached.
    pub mismatched_log_ratio: f64,
    /// Label +1/-1 of each step of each response with the end of the step in tokens, for
    /// objectives on step labels.
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

/// What an objective answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectiveOutput {
    /// The batch's loss in nats: the sum over its units divided by `n_units`.
    pub loss: f64,
    /// `dL/dlog pi` of each token of each response: `[n_responses][n_tokens]`.
    pub weights: Vec<Vec<f64>>,
    /// Outcome reward `beta * sum_t log_ratio_t` of each response.
    pub outcome_rewards: Vec<f64>,
}
