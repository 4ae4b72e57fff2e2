//! How an implicit process reward model is made: everything the paper's experiments vary.

use std::path::{Path, PathBuf};

use gratis_cpu::NativeEngine;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Lab, RECORD, record, store};
use crate::experiment::workshop::{self, Workshop};
use crate::world::{Split, Strength};
use gratis::data::{
    BalanceDataset, BalanceInstructions, DataOperation, Deduplicate, MakePairs, Mix, MixRule,
    ReplaceResponses, Rollout, apply,
};
use gratis::error::Result;
use gratis::objective::Objective;
use gratis::observer::Silent;
use gratis::training::reward_data;

/// Pairs of a problem that pairwise objectives learn from, so that an epoch takes about as many
/// optimizer steps as one of single responses.
pub(super) const PAIRS_PER_PROMPT: usize = 4;

/// What the log-ratio is taken to in training (paper section 5.3.2, table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingReference {
    /// The generator that the reward model starts from.
    #[default]
    Start,
    /// Nothing: the reward is `beta * log pi(y)`.
    None,
}

/// What the log-ratio is taken to when scoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InferenceReference {
    /// The generator that the reward model started from.
    #[default]
    Start,
    /// Nothing.
    None,
}

/// What may change a reward model's data beside its amount (appendix C.2, table 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// Nothing.
    #[default]
    None,
    /// As many correct as incorrect responses in the whole data set.
    DatasetBalanced,
    /// As many correct as incorrect responses of each instruction.
    InstructionBalanced,
    /// Problems of another kind besides, half as many, all their responses.
    OtherInstructions,
    /// Problems of another kind besides, half as many, one pair each.
    OtherInstructionsOnePair,
    /// No response that repeats an earlier one.
    Deduplicated,
    /// Half of the responses from the base model.
    BaseResponses,
}

/// An implicit process reward model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The objective with beta.
    pub objective: Objective,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Passes over the data.
    pub n_epochs: u64,
    /// Denominator of the log-ratio in training.
    pub reference: TrainingReference,
    /// Instructions; `None` for all there are.
    pub n_problems: Option<usize>,
    /// Responses an instruction; `None` for all there are.
    pub n_responses: Option<usize>,
    /// What else is done to the data.
    pub factor: Factor,
}

impl Recipe {
    /// One epoch on all data with the reference.
    pub fn new(objective: Objective, learning_rate: f64) -> Self {
        Self {
            objective,
            learning_rate,
            n_epochs: 1,
            reference: TrainingReference::Start,
            n_problems: None,
            n_responses: None,
            factor: Factor::None,
        }
    }
}

impl Lab<'_> {
    /// The reward model of a recipe.
    ///
    /// # Errors
    /// Those of the data and of training.
    pub fn reward_model(&mut self, seed: u64, recipe: &Recipe) -> Result<PathBuf> {
        let start = self.generator(seed, Strength::Medium)?;
        let data = self.data(seed, recipe)?;
        let learning = self.learning(recipe);
        let key = json!({ "start": store::name(&start), "recipe": recipe, "learning": learning,
                          "data": data.sources, "seed": seed });
        let options = self.options();
        let (tokenizer, observer) = (&self.tokenizer, &mut *self.observer);
        self.store.folder("reward", &key, |draft| {
            let mut policy = NativeEngine::load(&start, options)?;
            let (rollouts, _) = apply(&data.operations, data.rollouts, &mut Silent)?;
            let labelled = reward_data(&rollouts, &workshop::encoder(tokenizer, &policy)?)?;
            labelled.check(&recipe.objective)?;
            let data_hash = labelled.digest();
            let n_units = if recipe.objective.needs_pairs() {
                labelled.pairs.len()
            } else {
                labelled.examples.len()
            };
            let mut reference = match recipe.reference {
                TrainingReference::Start => Some(NativeEngine::load(&start, options)?),
                TrainingReference::None => None,
            };
            let workshop = Workshop { tokenizer, seed };
            let before = observer.processor_seconds();
            let training = workshop.train_reward_model(
                &mut policy,
                reference.as_mut(),
                recipe.objective,
                labelled,
                &learning,
                observer,
            )?;
            let record = record(training, n_units, before, observer);
            let reference = reference.map(|_| start.as_path());
            let objective = recipe.objective;
            workshop.publish_reward_model(&policy, objective, data_hash, reference, draft)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// The rollouts of a recipe and what is to be done to them.
    fn data(&mut self, seed: u64, recipe: &Recipe) -> Result<Data> {
        let samples = self.train_samples(seed)?;
        let mut sources = vec![store::name(&samples)];
        let mut rollouts = self.rollouts(&samples)?.to_vec();
        if let Some(n) = recipe.n_problems {
            rollouts.truncate(n);
        }
        if let Some(n) = recipe.n_responses {
            for rollout in &mut rollouts {
                let n = n.min(rollout.completions.len());
                *rollout = rollout.with_completions(&(0..n).collect::<Vec<_>>());
            }
        }
        let mut operations = Vec::new();
        let other = match recipe.factor {
            Factor::None => None,
            Factor::DatasetBalanced => {
                operations.push(DataOperation::BalanceDataset(BalanceDataset { seed }));
                None
            }
            Factor::InstructionBalanced => {
                operations.push(DataOperation::BalanceInstructions(BalanceInstructions { seed }));
                None
            }
            Factor::Deduplicated => {
                operations.push(DataOperation::Deduplicate(Deduplicate::default()));
                None
            }
            Factor::OtherInstructions | Factor::OtherInstructionsOnePair => {
                let other = self.other_samples(seed)?;
                operations.push(DataOperation::Mix(Mix {
                    path: other.join(super::ROLLOUTS),
                    take: match recipe.factor {
                        Factor::OtherInstructionsOnePair => MixRule::OnePair,
                        _ => MixRule::All,
                    },
                    seed,
                }));
                Some(other)
            }
            Factor::BaseResponses => {
                let base = self.base(seed)?;
                let other = self.samples(seed, &base, Split::Train, self.settings.train)?;
                operations.push(DataOperation::ReplaceResponses(ReplaceResponses {
                    path: other.join(super::ROLLOUTS),
                    n: self.settings.train.n_samples / 2,
                    seed,
                }));
                Some(other)
            }
        };
        sources.extend(other.as_deref().map(|path: &Path| store::name(path)));
        if recipe.objective.needs_pairs() {
            operations.push(DataOperation::MakePairs(MakePairs {
                per_prompt: Some(PAIRS_PER_PROMPT),
                seed,
            }));
        }
        Ok(Data { rollouts, operations, sources })
    }
}

/// Rollouts before their operations, and the artefacts they come from.
struct Data {
    rollouts: Vec<Rollout>,
    operations: Vec<DataOperation>,
    sources: Vec<String>,
}
