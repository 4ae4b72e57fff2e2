//! Scores of baselines, in the same format as those of implicit process reward models.
//!
//! The Q value of a step is the model's value of the prefix that ends with it, the process reward
//! is the difference of two Q values (with 0 before the first step), the outcome reward is the last
//! one. What is usually called the reward of a process reward model is its value here: aggregate it
//! by `q_min`, and that of an outcome reward model by `outcome`. Masks have no effect, because the
//! value of a prefix covers its whole text.

use gratis_engine::{Score, Values};

use super::pooling::Pooling;
use super::token_task::LabelTokens;
use crate::cost::{JobWork, Work};
use crate::data::{ProblemScores, Rollout, ScorePart, StepSplit};
use crate::encoding::{Corpus, Encoder, head_values, log_probs};
use crate::error::Result;
use crate::observer::{Observer, Silent};
use crate::scoring::{
    ScoreRollouts, ScoringSettings, Solution, pass_over, scores_of, solution_work, solutions,
};

/// Scores completions by a scalar head.
struct HeadScorer<'a> {
    engine: &'a dyn Values,
    pooling: Pooling,
    encoder: Encoder<'a>,
    settings: ScoringSettings,
}

impl Pooling {
    /// Scores completions by the scalar head of `engine`, whose token values are pooled in this way.
    pub fn scorer<'a>(
        self,
        engine: &'a dyn Values,
        encoder: Encoder<'a>,
        settings: ScoringSettings,
    ) -> impl ScoreRollouts + use<'a> {
        HeadScorer { engine, pooling: self, encoder, settings }
    }
}

impl ScoreRollouts for HeadScorer<'_> {
    fn score_counted(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<ProblemScores>, JobWork)> {
        let mut corpus = Corpus::default();
        let step_split = &self.settings.step_split;
        let solutions = unmasked(rollouts, &self.encoder, step_split, &mut corpus)?;
        let n_channels = self.engine.n_channels();
        let budget = self.settings.batch_tokens;
        let rows = head_values(self.engine, &corpus, budget, observer)?;
        let gains = |solution: &Solution| {
            differences(&self.pooling.prefix_values(&rows[solution.response], n_channels))
        };
        let ScoringSettings { beta, tokens, .. } = self.settings;
        let scores = scores_of(rollouts, &solutions, &corpus, beta, tokens, gains)?;
        Ok((scores, solution_work(&solutions, &corpus, budget)?))
    }
}

/// Scores completions by label tokens.
struct TokenScorer<'a> {
    engine: &'a dyn Score,
    labels: LabelTokens,
    encoder: Encoder<'a>,
    settings: ScoringSettings,
}

impl LabelTokens {
    /// Scores completions by the label tokens that `engine` predicts. The value is constant between two
    /// step ends.
    pub fn scorer<'a>(
        self,
        engine: &'a dyn Score,
        encoder: Encoder<'a>,
        settings: ScoringSettings,
    ) -> impl ScoreRollouts + use<'a> {
        TokenScorer { engine, labels: self, encoder, settings }
    }
}

/// The completions of some rollouts as chains of steps, tags and labels.
struct Chains {
    solutions: Vec<Solution>,
    /// The completions as they are.
    plain: Corpus,
    corpus: Corpus,
    /// The response of the first label in each chain; duplicates share it.
    first_of: Vec<Option<usize>>,
}

impl TokenScorer<'_> {
    fn chains(&self, rollouts: &[Rollout]) -> Result<Chains> {
        let mut plain = Corpus::default();
        let step_split = &self.settings.step_split;
        let solutions = unmasked(rollouts, &self.encoder, step_split, &mut plain)?;
        let mut chains = Corpus::default();
        let mut first_of = vec![None; plain.responses().len()];
        for Solution { response, step_ends, .. } in &solutions {
            if first_of[*response].is_none() {
                let tokens = &plain.responses()[*response];
                let prompt = &plain.prompts()[tokens.prompt_idx];
                let ends = own_ends(step_ends);
                let first = self.labels.add_chain(&mut chains, prompt, &tokens.tokens, ends);
                first_of[*response] = Some(first);
            }
        }
        Ok(Chains { solutions, plain, corpus: chains, first_of })
    }
}

impl ScoreRollouts for TokenScorer<'_> {
    fn score_counted(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<ProblemScores>, JobWork)> {
        let Chains { solutions, plain, corpus: chains, first_of } = self.chains(rollouts)?;
        let budget = self.settings.batch_tokens;
        let of_labels = log_probs(self.engine, &chains, budget, &mut Silent)?;
        observer.advance(solutions.len() as u64, &[]);
        let n_labels = self.labels.n_labels();
        let gains = |solution: &Solution| {
            let first = first_of[solution.response].unwrap_or_default();
            let n_tokens = plain.responses()[solution.response].tokens.len();
            let mut gains = vec![0.0; n_tokens];
            let mut before = 0.0;
            for (nth, end) in own_ends(&solution.step_ends).enumerate() {
                let label = |which: usize| f64::from(of_labels[first + nth * n_labels + which][0]);
                let value = label(0) - label(1);
                gains[end - 1] = value - before;
                before = value;
            }
            gains
        };
        let ScoringSettings { beta, tokens, .. } = self.settings;
        let scores = scores_of(rollouts, &solutions, &plain, beta, tokens, gains)?;
        let mut as_counted = Work::default();
        for Solution { response, step_ends, .. } in &solutions {
            // The tag after each step is an input; its labels are predicted.
            let n_steps = own_ends(step_ends).count();
            let n_tokens = plain.path_len(*response) + n_steps * self.labels.tag.len();
            let n_predicted = (n_steps * self.labels.n_labels()) as u64;
            as_counted += Work { n_predicted, ..Work::of_response(n_tokens, 0) };
        }
        Ok((scores, JobWork { as_run: pass_over(&chains, budget)?, as_counted }))
    }
}

/// The completions with their steps and without masks: a value covers the whole text.
fn unmasked(
    rollouts: &[Rollout],
    encoder: &Encoder,
    step_split: &StepSplit,
    corpus: &mut Corpus,
) -> Result<Vec<Solution>> {
    let mut solutions = solutions(rollouts, encoder, step_split, ScorePart::All, corpus)?;
    for solution in &mut solutions {
        solution.masked.clear();
    }
    Ok(solutions)
}

/// The ends of steps that have a token of their own.
fn own_ends(step_ends: &[usize]) -> impl Iterator<Item = usize> {
    let starts = std::iter::once(0).chain(step_ends.iter().copied());
    starts.zip(step_ends).filter(|(start, end)| start < *end).map(|(_, &end)| end)
}

/// `v_t - v_{t-1}` with 0 before the first.
fn differences(values: &[f64]) -> Vec<f64> {
    let before = std::iter::once(0.0).chain(values.iter().copied());
    values.iter().zip(before).map(|(value, before)| value - before).collect()
}
