//! From files to tasks: labelled rollouts for a reward model, texts for a language model.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::language_modelling::LanguageModelling;
use super::units::RewardExample;
use crate::data::{Completion, Error as DataError, LanguageExample, Rollout};
use crate::digest::hex;
use crate::encoding::{Corpus, EncodedCompletion, Encoder, Unusual, encode_rollouts};
use crate::error::{Error, Result};
use crate::objective::{Objective, Pair, StepLabel};
use crate::reward::Rewards;

/// Responses with outcome labels, as tokens; the texts are not kept.
#[derive(Debug, Clone, Default)]
pub struct RewardData {
    /// The tokens.
    pub corpus: Corpus,
    /// The labelled responses.
    pub examples: Vec<RewardExample>,
    /// Every correct response of a problem with every incorrect one, as indices into `examples`.
    pub pairs: Vec<Pair>,
    /// Records they come from.
    pub n_problems: usize,
    /// Records with at least one pair.
    pub n_with_pairs: usize,
    /// Completions skipped because they are too long for the context.
    pub n_left_out: usize,
    /// Completions of which a part is masked.
    pub n_masked: usize,
    /// Completions that are encoded in another way than most.
    pub unusual: Unusual,
}

impl RewardData {
    /// Encodes a labelled rollout and adds its responses. Where it has labels of steps, those go
    /// with them; it then needs no outcome labels: a response is taken as correct if no step is
    /// labelled below 1/2.
    ///
    /// # Errors
    /// [`NoCorrectness`](crate::data::Error::NoCorrectness) for a rollout without labels; those of the encoder and of
    /// [`Rollout::step_labels`].
    pub fn add(&mut self, rollout: &Rollout, encoder: &Encoder) -> Result<()> {
        let step_labels = rollout.step_labels()?;
        let outcomes: Option<Vec<f64>> = match &step_labels {
            Some(_) => rollout.targets("training").ok(),
            None => Some(rollout.targets("training")?),
        };
        let one = std::slice::from_ref(rollout);
        let completions = encode_rollouts(one, encoder, &mut self.corpus)?;
        self.unusual += encoder.unusual(one);
        self.n_problems += 1;
        self.n_left_out += rollout.completions.len() - completions.len();
        let first = self.examples.len();
        for completion in completions {
            let steps = match &step_labels {
                Some(labels) => {
                    labelled_steps(rollout, &labels[completion.completion_idx], &completion)?
                }
                None => Vec::new(),
            };
            let label = match &outcomes {
                Some(outcomes) => outcomes[completion.completion_idx],
                None => f64::from(steps.iter().all(|step| step.label >= 0.5)),
            };
            let EncodedCompletion { completion_idx, response, starts, masked, .. } = completion;
            let problem = rollout.name().to_owned();
            if masked.first().is_some_and(|range| *range == (0..starts.len())) {
                return Err(DataError::InvalidSetting {
                    field: "masks",
                    expected: "masks that leave a token to learn from".to_owned(),
                    got: format!(
                        "none in completion {} of problem `{problem}`",
                        completion_idx + 1
                    ),
                }
                .into());
            }
            self.n_masked += usize::from(!masked.is_empty());
            self.examples.push(RewardExample { response, problem, label, steps, masked });
        }
        let of_label = |label: f64| -> Vec<usize> {
            (first..self.examples.len()).filter(|&idx| self.examples[idx].label == label).collect()
        };
        let (correct, incorrect) = (of_label(1.0), of_label(0.0));
        self.n_with_pairs += usize::from(!correct.is_empty() && !incorrect.is_empty());
        for &chosen in &correct {
            self.pairs.extend(incorrect.iter().map(|&rejected| Pair { chosen, rejected }));
        }
        Ok(())
    }

    /// Number of responses labelled correct; soft labels count above 1/2.
    pub fn n_correct(&self) -> usize {
        self.examples.iter().filter(|example| example.is_correct()).count()
    }

    /// Number of responses with a soft label.
    pub fn n_soft(&self) -> usize {
        self.examples.iter().filter(|example| example.is_soft()).count()
    }

    /// Checks that no label is soft.
    ///
    /// # Errors
    /// [`SoftLabel`](crate::data::Error::SoftLabel).
    pub fn check_hard(&self, needed_by: &str) -> Result<()> {
        match self.examples.iter().find(|example| example.is_soft()) {
            None => Ok(()),
            Some(RewardExample { problem, label, .. }) => Err(DataError::SoftLabel {
                needed_by: needed_by.to_owned(),
                problem: problem.clone(),
                label: *label,
            }
            .into()),
        }
    }

    /// SHA-256 over the tokens, the labels and which responses belong to which problem, in
    /// hexadecimal: two data sets of one digest train the same model.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.corpus.digest());
        for example in &self.examples {
            hasher.update((example.response as u64).to_le_bytes());
            if example.is_soft() {
                hasher.update(b"soft");
                hasher.update(example.label.to_le_bytes());
            } else {
                hasher.update([u8::from(example.is_correct())]);
            }
            for step in &example.steps {
                hasher.update((step.end as u64).to_le_bytes());
                hasher.update(step.label.to_le_bytes());
            }
            for range in &example.masked {
                hasher.update(b"mask");
                hasher.update((range.start as u64).to_le_bytes());
                hasher.update((range.end as u64).to_le_bytes());
            }
        }
        for pair in &self.pairs {
            hasher.update((pair.chosen as u64).to_le_bytes());
            hasher.update((pair.rejected as u64).to_le_bytes());
        }
        hex(&hasher.finalize())
    }

    /// Checks that `objective` can be trained on it.
    ///
    /// # Errors
    /// [`Error::NoExamples`] without responses, [`SoftLabel`](crate::data::Error::SoftLabel) if it takes no soft labels and
    /// there is one, [`OneClass`](crate::data::Error::OneClass) if all labels are equal,
    /// [`NoPairs`](crate::data::Error::NoPairs) if the objective needs pairs and no problem gives one,
    /// [`Error::NoStepLabels`] if it needs labels of steps and a response has none.
    pub fn check(&self, objective: &Objective) -> Result<()> {
        let n_correct = self.n_correct() as u64;
        let n_incorrect = self.examples.len() as u64 - n_correct;
        if self.examples.is_empty() {
            let n_left_out = self.n_left_out as u64;
            return Err(Error::NoExamples { purpose: "train on", n_left_out });
        }
        if !objective.takes_soft_labels() {
            self.check_hard(&format!("`{}`", objective.name()))?;
        }
        let first = self.examples[0].label;
        if self.examples.iter().all(|example| example.label == first) {
            let needed_by = "a reward model".to_owned();
            return Err(DataError::OneClass { needed_by, n_correct, n_incorrect }.into());
        }
        if objective.needs_pairs() && self.pairs.is_empty() {
            let needed_by = format!("`{}`", objective.name());
            return Err(DataError::NoPairs { needed_by, n_correct, n_incorrect }.into());
        }
        let unlabelled = self.examples.iter().find(|example| example.steps.is_empty());
        if let Some(example) = unlabelled.filter(|_| objective.needs_step_labels()) {
            let problem = example.problem.clone();
            return Err(Error::NoStepLabels { objective: objective.name(), problem });
        }
        Ok(())
    }
}

/// Encodes labelled rollouts.
///
/// # Errors
/// As [`RewardData::add`].
pub fn reward_data(rollouts: &[Rollout], encoder: &Encoder) -> Result<RewardData> {
    let mut data = RewardData::default();
    rollouts.iter().try_for_each(|rollout| data.add(rollout, encoder))?;
    Ok(data)
}

/// The labelled steps of a completion with their ends in tokens. A step without a token of its own
/// that counts is left out, as is one that was cut off.
fn labelled_steps(
    rollout: &Rollout,
    labels: &[Option<f64>],
    completion: &EncodedCompletion,
) -> Result<Vec<StepLabel>> {
    let EncodedCompletion { completion_idx, starts, masked, .. } = completion;
    let ranges = rollout.given_steps(*completion_idx)?;
    let ends = Rewards::step_ends_in_tokens(starts, &ranges);
    let mut start = 0;
    let mut steps = Vec::new();
    for (end, label) in ends.into_iter().zip(labels) {
        let counts = |token| !masked.iter().any(|range| range.contains(&token));
        if let Some(label) = *label
            && (start..end).any(counts)
        {
            steps.push(StepLabel { end, label });
            start = end;
        }
    }
    Ok(steps)
}

/// Problems held out for validation, by their prompts: rollouts with the same prompt are all in or
/// all out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeldOut {
    prompts: BTreeSet<String>,
}

impl HeldOut {
    /// Holds out a share of the different prompts.
    pub(crate) fn draw(prompts: impl IntoIterator<Item = String>, share: f64, seed: u64) -> Self {
        let distinct: BTreeSet<String> = prompts.into_iter().collect();
        let mut prompts: Vec<String> = distinct.into_iter().collect();
        prompts.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let n_held_out = (share.clamp(0.0, 1.0) * prompts.len() as f64).round() as usize;
        prompts.truncate(n_held_out);
        Self { prompts: prompts.into_iter().collect() }
    }

    /// Whether a rollout is held out.
    pub(crate) fn contains(&self, rollout: &Rollout) -> bool {
        self.prompts.contains(&rollout.prompt)
    }
}

/// Which tokens a language model is trained on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum LossOn {
    /// Those of the completion, given the prompt.
    #[default]
    Completion,
    /// Those of the prompt as well.
    All,
}

/// The task of learning the texts and completions of `examples`.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting) for a line with neither `text` nor `completions`; those of the encoder.
pub fn language_data(
    examples: Vec<LanguageExample>,
    encoder: &Encoder,
    loss_on: LossOn,
) -> Result<LanguageModelling> {
    let mut corpus = Corpus::default();
    let mut responses = Vec::new();
    for example in examples {
        let name = example.line.to_string();
        if let Some(text) = &example.text {
            let mut tokens = encoder.tokenizer().encode(text)?.ids;
            tokens.push(encoder.end_token()?);
            let prompt = corpus.prompt(&[encoder.begin_token()?]);
            for piece in tokens.chunks(encoder.context_length().saturating_sub(1).max(1)) {
                responses.push((corpus.response(prompt, piece), name.clone()));
            }
            continue;
        }
        let completions = example.completions.ok_or_else(|| DataError::InvalidSetting {
            field: "completions",
            expected: "in every line without `text`".to_owned(),
            got: format!("neither in line {name}"),
        })?;
        let rollout = Rollout {
            id: Some(name.clone()),
            prompt: example.prompt,
            completions: completions.into_iter().map(Completion::from).collect(),
            ..Rollout::default()
        };
        let prompt = encoder.prompt_of(&rollout)?;
        for idx in 0..rollout.completions.len() {
            let Some(completion) = encoder.completion(&rollout, idx, prompt.len())? else {
                continue;
            };
            let response = match loss_on {
                LossOn::Completion => {
                    let prompt = corpus.prompt(&prompt);
                    corpus.response(prompt, &completion.tokens)
                }
                LossOn::All => {
                    let (first, rest) = prompt.split_at(1);
                    let first = corpus.prompt(first);
                    corpus.response(first, &[rest, &completion.tokens].concat())
                }
            };
            responses.push((response, name.clone()));
        }
    }
    Ok(LanguageModelling::new(corpus, responses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_on_one_side_of_the_split() {
        let rollout =
            |idx: usize| Rollout { prompt: format!("p{}", idx / 2), ..Rollout::default() };
        let rollouts: Vec<Rollout> = (0..20).map(rollout).collect();
        let draw =
            |seed| HeldOut::draw(rollouts.iter().map(|rollout| rollout.prompt.clone()), 0.3, seed);
        let (held_out, train): (Vec<_>, Vec<_>) =
            rollouts.iter().partition(|rollout| draw(1).contains(rollout));
        assert_eq!((train.len(), held_out.len()), (14, 6));
        assert!(held_out.iter().all(|a| train.iter().all(|b| a.prompt != b.prompt)));
        assert_ne!(draw(2), draw(1));
    }
}
