//! What labels, training and selection cost on a cast (figures 1 and 3, table 3): operations counted on its
//! own rollouts, and processor time where this process did the work.

use std::rc::Rc;

use gratis::cost::{Architecture, Pass, Work as Passes};
use gratis::data::{Completion, Rollout, ScorePart};
use gratis::encoding::Corpus;
use gratis::objective::{Ce, Dpo, Objective};
use gratis::reward_model::Model;
use gratis::scoring::solutions;

use super::OwnCast;
use super::data::Purpose;
use super::file::RowKind;
use super::models::{Form, WithReference};
use super::plan::Work;
use crate::calculator::InferenceShares;
use crate::cast::{Cast as _, Inference, Operations, Way};
use crate::error::Result;
use crate::rows::{Recipe, RewardModel};

/// The shares in a plan, which measures nothing.
const PLANNED: Operations = Operations { as_counted: 1.0, as_run: 1.0 };

/// A way's name.
pub(super) fn name_of(way: Way) -> String {
    match way {
        Way::Ce => "implicit PRM, CE",
        Way::Dpo => "implicit PRM, DPO",
        Way::MathShepherd => "Math-Shepherd",
    }
    .to_owned()
}

/// The work of a way on the training responses.
#[derive(Debug, Clone, Copy, Default)]
struct TrainingWork {
    /// Each response once.
    responses: Passes,
    /// Both responses of every pair.
    of_pairs: Passes,
    /// Every prefix of a step continued, each continuation on its own.
    continuations: Passes,
    /// The same with the prefix read once.
    continuations_shared: Passes,
}

impl OwnCast<'_> {
    /// The reward model of a way: the row of its objective, or the first that learns from step labels.
    pub(super) fn model_of_way(
        &mut self,
        way: Way,
        n_responses: Option<usize>,
    ) -> Option<RewardModel> {
        let objective = match way {
            Way::Ce => Objective::Ce(Ce::default()),
            Way::Dpo => Objective::Dpo(Dpo::default()),
            Way::MathShepherd => {
                let by_steps = |kind| matches!(kind, RowKind::PrmHead | RowKind::PrmToken);
                let file = Rc::clone(&self.file);
                let row = file.rows.iter().find(|row| by_steps(row.kind))?;
                return self.can_train(row).then(|| RewardModel::Named(row.name.clone()));
            }
        };
        let tuned = self.recipe(objective)?;
        Some(RewardModel::from(Recipe { n_responses, ..tuned.recipe }))
    }

    /// Operations of labels and training on the first `n_responses` of each training problem.
    pub(super) fn operations_of_way(
        &mut self,
        seed: u64,
        way: Way,
        n_responses: usize,
    ) -> Result<Operations> {
        if self.plan.is_some() {
            return Ok(PLANNED);
        }
        let answers = self.training_answers(seed)?.first(None, Some(n_responses));
        let start = self.start()?;
        let work = self.training_work(&start, &answers.rollouts)?;
        let packed = Work::of_answers(&self.file, &start, &answers)?;
        let architecture = Architecture::from(start.config());
        let flops = |work: &Passes, pass| architecture.flops(work, pass).total();
        // What packing leaves of a pass over all responses.
        let counted = flops(&work.responses, Pass::Forward);
        let packing = if counted > 0.0 { packed.flops / counted } else { 1.0 };
        let trained = |work: &Passes| flops(work, Pass::ForwardBackward);
        Ok(match way {
            Way::Ce => {
                let as_counted = trained(&work.responses) + counted;
                Operations { as_counted, as_run: packing * as_counted }
            }
            // The reference reads each response once and is then cached.
            Way::Dpo => Operations {
                as_counted: trained(&work.of_pairs) + flops(&work.of_pairs, Pass::Forward),
                as_run: packing * (trained(&work.of_pairs) + counted),
            },
            Way::MathShepherd => {
                let head = architecture.with_scalar_head();
                let trained = head.flops(&work.responses, Pass::ForwardBackward).total();
                Operations {
                    as_counted: trained + flops(&work.continuations, Pass::Forward),
                    as_run: packing * trained + flops(&work.continuations_shared, Pass::Forward),
                }
            }
        })
    }

    /// How that is counted, in words.
    pub(super) fn how_operations_are_counted(&self) -> String {
        format!(
            "A multiplication with an addition counts as two operations; the rollouts and their \
             grades, which all methods share, are not counted, as the paper's ratios imply. \
             Math-Shepherd's continuations are expected ones: {} of every step prefix, each as long as \
             the rest of the response that the prefix is of. Pairs are all pairs of a correct and an \
             incorrect response of a problem. As run: the share that packing leaves of a pass over the \
             training responses, and prefixes read once.",
            self.file.annotation.n_continuations
        )
    }

    /// Counts the passes over training responses, and over the continuations of their prefixes.
    fn training_work(&mut self, start: &Model, rollouts: &[Rollout]) -> Result<TrainingWork> {
        let file = Rc::clone(&self.file);
        let encoder = file.encoder(start)?;
        let n_continuations = file.annotation.n_continuations;
        let mut all = TrainingWork::default();
        for rollout in rollouts {
            let is_correct = |completion: &&Completion| completion.label == Some(true);
            let n_correct = rollout.completions.iter().filter(is_correct).count();
            let n_incorrect = rollout.completions.len() - n_correct;
            for idx in 0..rollout.completions.len() {
                let one = [rollout.with_completions(&[idx])];
                let mut corpus = Corpus::default();
                let found =
                    solutions(&one, &encoder, &file.step_split, ScorePart::All, &mut corpus)?;
                let Some(solution) = found.first() else { continue };
                let n_tokens = corpus.responses()[solution.response].tokens.len();
                let n_prompt = corpus.path_len(solution.response) - n_tokens;
                let work = Passes::of_response(n_prompt, n_tokens);
                all.responses += work;
                let is_correct = rollout.completions[idx].label == Some(true);
                let n_pairs = if is_correct { n_incorrect } else { n_correct };
                all.of_pairs += work.times(n_pairs as u64);
                // The last step ends the response: nothing is left to continue.
                let ends = solution.step_ends.iter().filter(|&&end| end > 0 && end < n_tokens);
                for &end in ends {
                    let rest = n_tokens - end;
                    let alone = Passes::of_samples(n_prompt + end, &[rest]);
                    all.continuations += alone.times(n_continuations as u64);
                    let lengths = vec![rest; n_continuations];
                    all.continuations_shared += Passes::of_samples(n_prompt + end, &lengths);
                }
            }
        }
        Ok(all)
    }

    /// Processor seconds of the training of a way on all responses, its step labels not included.
    pub(super) fn seconds_of_way(&mut self, seed: u64, way: Way) -> Result<Option<f64>> {
        let Some(model) = self.model_of_way(way, None) else { return Ok(None) };
        self.begin_row(&name_of(way), seed);
        let key = match self.ready(seed, &model)?.form {
            Form::LogRatio { policy, .. } | Form::Own(policy) | Form::SelfCertainty(policy) => {
                policy.key
            }
        };
        let of_run = |(_, record): &&(String, super::TrainRecord)| record.run == key;
        let record = self.trainings.iter().find(of_run);
        Ok(record.and_then(|(_, record)| record.processor_seconds))
    }

    /// The cost of selecting with the row of CE, for each generator.
    pub(super) fn inference_of_ce(&mut self, seed: u64) -> Result<Vec<Inference>> {
        let Some(model) = self.model_of_way(Way::Ce, None) else { return Ok(Vec::new()) };
        self.begin_row("ce", seed);
        // Trains and scores, or plans it.
        self.evaluate(seed, &model)?;
        if self.plan.is_some() {
            return Ok(Vec::new());
        }
        let Form::LogRatio { policy, reference: WithReference::Yes, .. } =
            self.ready(seed, &model)?.form
        else {
            return Ok(Vec::new());
        };
        let reference = self.reference()?;
        let start = self.start()?;
        let file = Rc::clone(&self.file);
        let encoder = file.encoder(&start)?;
        let architecture = Architecture::from(start.config());
        let mut all = Vec::new();
        for set in &*self.candidate_sets(Purpose::Test, seed)? {
            let writer = self.architecture_of(&set.name)?.unwrap_or(architecture);
            let (mut generated, mut scored) = (Passes::default(), Passes::default());
            for rollout in &*set.answers.rollouts {
                let n_prompt = encoder.prompt_of(rollout)?.len();
                for idx in 0..rollout.completions.len() {
                    let completion = encoder.completion(rollout, idx, n_prompt)?;
                    let length = completion.map_or(0, |completion| completion.tokens.len());
                    generated += Passes::of_samples(n_prompt, &[length]);
                    scored += Passes::of_response(n_prompt, length);
                }
            }
            let of_pass = architecture.flops(&scored, Pass::Forward).total();
            let of_generation = writer.flops(&generated, Pass::Forward).total();
            let generation =
                self.sampling_seconds.get(&(Purpose::Test, seed, set.name.clone())).copied();
            let rewards = self.scoring_seconds(&policy, &set.answers.rollouts)?;
            let references = self.scoring_seconds(&reference, &set.answers.rollouts)?;
            let by_time = match (generation, rewards, references) {
                (Some(generation), Some(rewards), Some(references)) => {
                    Some((generation, InferenceShares::new(generation, rewards, references)))
                }
                _ => None,
            };
            if by_time.is_none() {
                self.leave_out(
                    &format!("measured time of selecting from `{}`", set.name),
                    "its candidates were not sampled in this process, or were scored elsewhere or \
                     before times were kept",
                );
            }
            all.push(Inference {
                generator: set.name.clone(),
                by_operations: InferenceShares::new(of_generation, of_pass, of_pass),
                by_time,
            });
        }
        Ok(all)
    }

    /// The shape of the model that is a generator; `None`, with a note, if it is not known.
    fn architecture_of(&mut self, generator: &str) -> Result<Option<Architecture>> {
        let file = Rc::clone(&self.file);
        let engine = file.generators.iter().find(|of| of.name == generator);
        let Some(engine) = engine.and_then(|of| of.engine.clone()) else {
            self.leave_out(
                &format!("operations of the model that wrote `{generator}`"),
                "its candidates are files; it is taken for a model of the reward model's size",
            );
            return Ok(None);
        };
        let model = self.load(&file.resolve(&engine))?;
        Ok(Some(Architecture::from(model.config())))
    }
}
