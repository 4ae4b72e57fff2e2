//! The parts of a plan that are measured or expected: rates from short probes, and the size of work on
//! responses that do not exist yet.

use std::rc::Rc;

use gratis::evaluation::StepSignal;
use gratis::reward::ValueRule;
use gratis::reward_model::Model;
use gratis::run::RewardKind;
use gratis::selection::Aggregation;

use super::OwnCast;
use super::data::{Answers, sample, sampling_settings};
use super::plan::{Plan, Work};
use crate::cast::Cast as _;
use crate::error::{Error, Result};
use crate::evaluation::Evaluation;
use crate::rows::RewardModel;

/// Tokens of a prompt and steps of a response, where the responses do not exist yet.
pub(super) const EXPECTED_PROMPT: usize = 150;
const EXPECTED_STEPS: usize = 8;

/// Responses and most tokens of each that measure how fast a generator samples.
const N_PROBE_SAMPLES: usize = 4;
const N_PROBE_TOKENS: usize = 32;

impl OwnCast<'_> {
    /// The measured pass of the start that times are estimated from.
    pub(crate) fn finish_plan(&mut self) -> Result<Plan> {
        let mut plan = self.plan.take().unwrap_or_default();
        let start = self.start()?;
        let seed = self.file.seeds[0];
        let is_there = self.file.train.problems.is_empty();
        if !plan.jobs.is_empty() && is_there {
            let answers = self.training_answers(seed)?.first(Some(1), Some(8));
            let (work, seconds) = self.probe(&start, &answers)?;
            plan.time(work, seconds);
        }
        for sampler in plan.samplers() {
            if let Some(rate) = self.sampling_rate(&sampler, &start)? {
                plan.time_samples(&sampler, rate);
            }
        }
        plan.left_out.clone_from(&self.left_out);
        Ok(plan)
    }

    fn probe(&mut self, start: &Model, answers: &Answers) -> Result<(Work, Option<f64>)> {
        let encoder = self.file.encoder(start)?;
        let mut corpus = gratis::encoding::Corpus::default();
        gratis::encoding::encode_rollouts(&answers.rollouts, &encoder, &mut corpus)?;
        let budget = self.file.batch_tokens;
        self.observer.stage("measured pass of the start", None);
        let before = self.observer.wall_seconds();
        gratis::encoding::log_probs(start.score(), &corpus, budget, &mut gratis::Silent)?;
        let seconds = self.observer.wall_seconds().zip(before).map(|(now, before)| now - before);
        Ok((Work::of_corpus(start, &corpus, budget)?, seconds))
    }

    /// Tokens of samples per second of a generator, measured on four short responses to a problem; `None`
    /// for a model that is trained elsewhere, or without a clock.
    fn sampling_rate(&mut self, sampler: &str, start: &Model) -> Result<Option<f64>> {
        let file = Rc::clone(&self.file);
        let engine = file.generators.iter().find(|of| of.name == sampler);
        let engine = engine.and_then(|of| of.engine.clone());
        if engine.is_none() && start.is_trained_elsewhere() {
            return Ok(None);
        }
        let Some(problem) = self.test_problems(file.seeds[0])?.into_iter().next() else {
            return Ok(None);
        };
        self.observer.stage(&format!("measured samples of {sampler}"), None);
        let loaded = engine.map(|engine| self.load(&file.resolve(&engine))).transpose()?;
        let model = loaded.as_ref().unwrap_or(start);
        let temperature = file.sampling.temperature;
        let mut settings = sampling_settings(file.sampling, temperature, model, file.seeds[0])?;
        settings.max_new_tokens = settings.max_new_tokens.min(N_PROBE_TOKENS);
        let before = self.observer.wall_seconds();
        let rollouts = sample(&file, model, &[problem], 0, settings, N_PROBE_SAMPLES)?;
        let seconds = self.observer.wall_seconds().zip(before).map(|(now, before)| now - before);
        let answers = Answers { rollouts: Rc::new(rollouts), ..Answers::default() };
        let work = Work::of_answers(&file, start, &answers)?;
        Ok(seconds.filter(|&s| s > 0.0).map(|seconds| work.n_tokens as f64 / seconds))
    }

    /// Whether candidates or training responses must be sampled before anything else can be planned;
    /// then the plan is an upper bound from the longest response.
    pub(super) fn plan_before_sampling(
        &mut self,
        seed: u64,
        model: &RewardModel,
    ) -> Result<Option<Evaluation>> {
        if self.plan.is_none() || !self.file.generators.iter().any(|of| of.engine.is_some()) {
            return Ok(None);
        }
        let file = Rc::clone(&self.file);
        let start = self.start()?;
        let size = (EXPECTED_PROMPT, file.sampling.max_new_tokens);
        let largest = file.ns.iter().max().copied().unwrap_or(1);
        let mut n_test = 0;
        let mut passes = Vec::new();
        for (name, part) in [("validation", &file.validation), ("test", &file.test)] {
            let n = self.problems(part)?.len();
            let n_candidates = part.n_candidates.unwrap_or(largest);
            for generator in &file.generators {
                let work = Work::expected(&start, n, n_candidates, size);
                if let Some(plan) = self.plan.as_mut().filter(|_| generator.engine.is_some()) {
                    plan.sample(&generator.name, name, work);
                }
                passes.push((format!("{} {name}", generator.name), work));
            }
            n_test = n;
        }
        let (n_problems, n_responses) = self.train_size()?;
        let mut training = Work::expected(&start, n_problems, n_responses, size);
        if file.train.problems.is_empty() {
            let answers = self.training_answers(seed)?;
            training = Work::of_answers(&file, &start, &answers)?;
        } else if let (Some(plan), Some(name)) = (&mut self.plan, &file.train.generator) {
            plan.sample(name, "train", training);
        }
        let (who, trained) = match model {
            RewardModel::Generator => ("start".to_owned(), None),
            RewardModel::Named(name) => {
                let idx = file.rows.iter().position(|row| row.name == *name);
                (name.clone(), idx.map(|idx| self.settings_of(idx)).transpose()?)
            }
            RewardModel::Implicit(recipe, _) => {
                let idx = self.row_of(&recipe.objective);
                let run = format!("{recipe:?}");
                (run, idx.map(|idx| self.settings_of(idx)).transpose()?)
            }
            _ => return Err(Error::NoRow { name: "of the tiny world".to_owned() }),
        };
        let row = self.row.clone();
        if let Some(plan) = &mut self.plan {
            if let Some(settings) = trained {
                if matches!(settings.kind, RewardKind::PrmHead | RewardKind::PrmToken)
                    && let Some(name) = &file.train.generator
                {
                    // Each prefix is continued from its end on.
                    let n_continued = EXPECTED_STEPS * file.annotation.n_continuations;
                    let half = size.1 / 2;
                    let (n, size) = (n_problems * n_responses, (size.0 + half, half));
                    plan.sample(
                        name,
                        "continuations",
                        Work::expected(&start, n, n_continued, size),
                    );
                }
                plan.train(&row, &who, training.expected_training(&start, &settings));
            }
            for (set, work) in passes {
                plan.score(&row, &who, &set, work);
                plan.score("reference", "start", &set, work);
            }
        }
        Ok(Some(blank(file.generators.len() * file.ns.len(), n_test)))
    }
}

/// An evaluation in a plan: nothing was measured.
pub(super) fn blank(n_cells: usize, n_problems: usize) -> Evaluation {
    use crate::evaluation::SelectorAccuracies;
    use gratis::evaluation::Selector;
    use gratis::selection::Method;
    let cells = SelectorAccuracies {
        selector: Selector::without_score(Method::Random),
        cells: vec![vec![0.0; n_problems]; n_cells],
    };
    Evaluation {
        best_of_n: cells.clone(),
        weighted_vote: cells,
        validation: 0.0,
        aggregation: Aggregation::Min,
        vote_temperature: 1.0,
        value_rule: ValueRule::Sum,
        signal: StepSignal::default(),
        signal_rule: ValueRule::Sum,
        threshold: None,
        first_error: Vec::new(),
        first_error_counts: Vec::new(),
    }
}
