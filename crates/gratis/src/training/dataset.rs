//! From files to tasks: labelled rollouts for a reward model, texts for a language model.

use std::collections::{BTreeSet, HashMap};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::implicit_reward::RewardExample;
use super::language_modelling::LanguageModelling;
use crate::data::Rollout;
use crate::data::jsonl::Record;
use crate::encoding::{Corpus, Encoder, encode_rollouts, problem_name};
use crate::error::Result;
use crate::objective::Pair;

/// Responses with outcome labels, as tokens.
#[derive(Debug, Clone, Default)]
pub struct RewardData {
    /// The tokens.
    pub corpus: Corpus,
    /// The labelled responses.
    pub examples: Vec<RewardExample>,
    /// Every correct response of a problem with every incorrect one, as indices into `examples`.
    pub pairs: Vec<Pair>,
    /// Completions left out: empty, or too long for the context.
    pub n_left_out: usize,
}

/// Encodes labelled rollouts.
///
/// # Errors
/// [`crate::Error::NoCorrectness`] for rollouts without labels; those of the encoder.
pub fn reward_data(rollouts: &[Rollout], encoder: &Encoder) -> Result<RewardData> {
    let mut corpus = Corpus::default();
    let completions = encode_rollouts(rollouts, encoder, &mut corpus)?;
    let n_all: usize = rollouts.iter().map(|rollout| rollout.completions.len()).sum();
    let n_left_out = n_all - completions.len();
    let mut examples = Vec::with_capacity(completions.len());
    let mut of_problem: HashMap<usize, Vec<usize>> = HashMap::new();
    for completion in completions {
        let rollout = &rollouts[completion.rollout_idx];
        let labels = rollout.labels("training")?;
        of_problem.entry(completion.rollout_idx).or_default().push(examples.len());
        examples.push(RewardExample {
            response: completion.response,
            problem: problem_name(rollout),
            is_correct: labels[completion.completion_idx],
            steps: Vec::new(),
        });
    }
    let mut pairs = Vec::new();
    for rollout_idx in 0..rollouts.len() {
        let (correct, incorrect): (Vec<_>, Vec<_>) = of_problem
            .remove(&rollout_idx)
            .unwrap_or_default()
            .into_iter()
            .partition(|&idx| examples[idx].is_correct);
        let product = correct
            .iter()
            .flat_map(|&chosen| incorrect.iter().map(move |&rejected| Pair { chosen, rejected }));
        pairs.extend(product);
    }
    Ok(RewardData { corpus, examples, pairs, n_left_out })
}

/// Splits off a share of the problems for validation; rollouts with the same prompt stay together.
pub fn split_by_problem(
    rollouts: Vec<Rollout>,
    share: f64,
    seed: u64,
) -> (Vec<Rollout>, Vec<Rollout>) {
    let distinct: BTreeSet<&str> = rollouts.iter().map(|rollout| rollout.prompt.as_str()).collect();
    let mut prompts: Vec<&str> = distinct.into_iter().collect();
    prompts.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let n_held_out = (share.clamp(0.0, 1.0) * prompts.len() as f64).round() as usize;
    let held_out: BTreeSet<String> =
        prompts[..n_held_out].iter().map(|&prompt| prompt.to_owned()).collect();
    rollouts.into_iter().partition(|rollout| !held_out.contains(&rollout.prompt))
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

/// A line to learn a language from: a `text`, or a prompt with completions as in a rollout file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LanguageExample {
    /// A text of any length; cut into pieces as long as the context.
    #[serde(default)]
    pub text: Option<String>,
    /// The rollout, where there is no text.
    #[serde(default)]
    pub prompt: String,
    /// Completions of the prompt.
    #[serde(default)]
    pub completions: Vec<String>,
    /// Further columns, ignored.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The task of learning the texts and completions of `records`.
///
/// # Errors
/// Those of the encoder.
pub fn language_data(
    records: Vec<Record<LanguageExample>>,
    encoder: &Encoder,
    loss_on: LossOn,
) -> Result<LanguageModelling> {
    let mut corpus = Corpus::default();
    let mut responses = Vec::new();
    for record in records {
        let name = record.line.to_string();
        if let Some(text) = &record.value.text {
            let mut tokens = encoder.tokenizer().encode(text)?.ids;
            tokens.push(encoder.end_token()?);
            let prompt = corpus.prompt(&[encoder.begin_token()?]);
            for piece in tokens.chunks(encoder.context_length().saturating_sub(1).max(1)) {
                responses.push((corpus.response(prompt, piece), name.clone()));
            }
            continue;
        }
        let rollout = Rollout {
            id: Some(name.clone()),
            prompt: record.value.prompt,
            completions: record.value.completions,
            ..Rollout::default()
        };
        let prompt = encoder.prompt(&rollout.prompt)?;
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
        let (train, held_out) = split_by_problem(rollouts.clone(), 0.3, 1);
        assert_eq!((train.len(), held_out.len()), (14, 6));
        assert!(held_out.iter().all(|a| train.iter().all(|b| a.prompt != b.prompt)));
        assert_ne!(split_by_problem(rollouts, 0.3, 2).1, held_out);
    }
}
