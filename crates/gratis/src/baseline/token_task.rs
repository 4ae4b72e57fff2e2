//! Process reward models with label tokens: after each step the model reads a tag and predicts a
//! good or a bad token, and in some variants a neutral one (Lightman et al. 2023, Wang et al.
//! 2023).
//!
//! A solution becomes the chain `prompt, step 1, tag, step 2, tag, ...`, in which labels are never
//! input: each tag has one child per label, of one token. So the whole solution takes one pass, and
//! the log-probability of a label is that of a response of one token.
//!
//! Loss at a step with label `l` in `0..=1`: `-l log p(good) - (1 - l) log p(bad)`, over the whole
//! vocabulary; with a neutral token and `l = 1/2` it is `-log p(neutral)`. The mean over the
//! labelled steps of a response, then over responses. The value of a step is `log p(good) - log
//! p(bad)`, so its sigmoid is `p(good) / (p(good) + p(bad))`.

use gratis_engine::TokenValues;
use gratis_model::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::encoding::{Corpus, Item, MicroBatch};
use crate::error::{Error, Result};
use crate::objective::StepLabel;
use crate::training::{RewardData, RewardExample, Tally, Task, Units};

/// Tag and labels as text. The defaults are those of Math-Shepherd's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct LabelTexts {
    /// Text after each step.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().tag))]
    pub tag: String,
    /// The token of a good step.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().good))]
    pub good: String,
    /// The token of a bad step.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().bad))]
    pub bad: String,
    /// The token of a neutral step, if any.
    #[cfg_attr(feature = "clap", arg(long))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neutral: Option<String>,
}

impl Default for LabelTexts {
    fn default() -> Self {
        let [tag, good, bad] = [" ки", " +", " -"].map(str::to_owned);
        Self { tag, good, bad, neutral: None }
    }
}

/// Tag and labels as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelTokens {
    /// Tokens after each step, not empty.
    pub tag: Vec<u32>,
    /// A good step.
    pub good: u32,
    /// A bad step.
    pub bad: u32,
    /// A neutral step.
    pub neutral: Option<u32>,
}

impl LabelTokens {
    /// The tokens of these texts.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if a label is not exactly one token, if two of them are the same,
    /// or if the tag is empty; those of the tokenizer.
    pub fn new(texts: &LabelTexts, tokenizer: &Tokenizer) -> Result<Self> {
        let one = |field, text: &str| match tokenizer.encode(text)?.ids[..] {
            [token] => Ok(token),
            ref tokens => {
                let expected = "one token of the model";
                let got = format!("{text}` (tokens {tokens:?})");
                Err(Error::setting(field, expected, got.trim_end_matches('`')))
            }
        };
        let tag = tokenizer.encode(&texts.tag)?.ids;
        if tag.is_empty() {
            return Err(Error::setting("tag", "at least one token", &texts.tag));
        }
        let (good, bad) = (one("good", &texts.good)?, one("bad", &texts.bad)?);
        let neutral = texts.neutral.as_ref().map(|text| one("neutral", text)).transpose()?;
        if good == bad || neutral.is_some_and(|neutral| neutral == good || neutral == bad) {
            return Err(Error::setting("bad", "a token of its own", &texts.bad));
        }
        Ok(Self { tag, good, bad, neutral })
    }

    /// The labels, good and bad first.
    fn labels(&self) -> impl Iterator<Item = u32> {
        [self.good, self.bad].into_iter().chain(self.neutral)
    }

    /// Number of labels.
    pub(super) fn n_labels(&self) -> usize {
        2 + usize::from(self.neutral.is_some())
    }

    /// Adds the chain of a solution to `corpus`: its prompt, tokens and where its steps end.
    /// Returns the index of the first label's response; there are `n_labels` responses per step.
    pub(super) fn add_chain(
        &self,
        corpus: &mut Corpus,
        prompt: &[u32],
        tokens: &[u32],
        step_ends: impl Iterator<Item = usize>,
    ) -> usize {
        let first = corpus.responses().len();
        let mut context = corpus.prompt(prompt);
        let mut start = 0;
        for end in step_ends {
            context = corpus.continuation(context, &[&tokens[start..end], &self.tag].concat());
            for label in self.labels() {
                corpus.response(context, &[label]);
            }
            start = end;
        }
        first
    }
}

/// A labelled solution.
#[derive(Debug, Clone)]
struct Labelled {
    label: f64,
    steps: Vec<StepLabel>,
}

/// Training task for label tokens after steps.
#[derive(Debug, Clone)]
struct TokenTask {
    units: Units,
    examples: Vec<Labelled>,
    n_labels: usize,
}

impl LabelTokens {
    /// The training task on responses with labelled steps, for
    /// [`Learner::LogProbs`](crate::training::Learner); responses without a labelled step are skipped.
    ///
    /// # Errors
    /// [`Error::NoStepLabels`] if no step is labelled.
    pub fn task(&self, data: &RewardData) -> Result<impl Task + use<>> {
        let mut units = Units::default();
        let mut examples = Vec::new();
        for RewardExample { response, problem, label, steps, .. } in &data.examples {
            if steps.is_empty() {
                continue;
            }
            let response = &data.corpus.responses()[*response];
            let prompt = &data.corpus.prompts()[response.prompt_idx];
            let ends = steps.iter().map(|step| step.end);
            let first = self.add_chain(&mut units.corpus, prompt, &response.tokens, ends);
            let labels = Item::Run { first, n: steps.len() * self.n_labels() };
            let prompt_idx = units.corpus.prompt(prompt);
            units.push_grouped(labels, problem.as_str(), prompt_idx);
            examples.push(Labelled { label: *label, steps: steps.clone() });
        }
        if units.is_empty() && !data.examples.is_empty() {
            let problem = data.examples[0].problem.clone();
            return Err(Error::NoStepLabels { objective: "label tokens", problem });
        }
        Ok(TokenTask { units, examples, n_labels: self.n_labels() })
    }
}

/// Loss at a step from the log-probabilities of its labels, and its slopes.
fn label_loss(log_probs: &[f64], label: f64) -> (f64, Vec<f64>) {
    let targets = match log_probs.len() {
        3 if label == 0.5 => vec![0.0, 0.0, 1.0],
        3 => vec![label, 1.0 - label, 0.0],
        _ => vec![label, 1.0 - label],
    };
    // A target of 0 contributes nothing, whatever the log-probability.
    let terms = targets.iter().zip(log_probs).filter(|(target, _)| **target > 0.0);
    let loss = terms.map(|(target, log_prob)| -target * log_prob).sum();
    (loss, targets.into_iter().map(|target| -target).collect())
}

impl Task for TokenTask {
    fn units(&self) -> &Units {
        &self.units
    }

    fn weigh(
        &self,
        units: &[usize],
        batch: &MicroBatch,
        log_probs: &TokenValues,
        tally: &mut Tally,
    ) -> Result<TokenValues> {
        let row_of = batch.row_of();
        let mut weights = log_probs.zeros_like();
        for &unit in &batch.units {
            let example = &self.examples[units[unit]];
            let share = 1.0 / (units.len() * example.steps.len()) as f64;
            let rows: Vec<usize> =
                self.units.items[units[unit]].responses().map(|idx| row_of[&idx]).collect();
            let mut lowest = f64::INFINITY;
            for (rows, step) in rows.chunks(self.n_labels).zip(&example.steps) {
                let of_labels: Vec<f64> =
                    rows.iter().map(|&row| f64::from(log_probs.row(row)[0])).collect();
                let (loss, slopes) = label_loss(&of_labels, step.label);
                tally.add_loss(share * loss);
                lowest = lowest.min(of_labels[0] - of_labels[1]);
                for (&row, slope) in rows.iter().zip(slopes) {
                    weights.row_mut(row)[0] += (share * slope) as f32;
                }
            }
            tally.add_reward(lowest, example.label);
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_labels_by_hand() {
        let log_probs = [-1.0, -2.0, -4.0];
        assert_eq!(label_loss(&log_probs[..2], 1.0), (1.0, vec![-1.0, 0.0]));
        assert_eq!(label_loss(&log_probs[..2], 0.25), (1.75, vec![-0.25, -0.75]));
        assert_eq!(label_loss(&log_probs, 0.5), (4.0, vec![0.0, 0.0, -1.0]));
        assert_eq!(label_loss(&log_probs, 0.0), (2.0, vec![0.0, -1.0, 0.0]));
        assert_eq!(label_loss(&[-1.0, f64::NEG_INFINITY], 1.0).0, 1.0);
    }
}
