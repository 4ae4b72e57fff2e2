//! Training a row and scoring with it.

use gratis_engine::{Engine, NativeEngine};

use super::recipe::{Configuration, Form, Labels, Recipe};
use super::{Stage, workshop};
use crate::annotate::{LabelKind, autopsv};
use crate::baseline::{
    HeadScorer, HeadTask, LabelTexts, LabelTokens, OnValues, SelfCertainty, TokenScorer, TokenTask,
    ValueObjective,
};
use crate::data::steps::StepSplitter;
use crate::data::{Rollout, Score, StepLabels};
use crate::encoding::log_probs;
use crate::error::Result;
use crate::observer::Silent;
use crate::scoring::{RewardModel, Scorer, ScoringSettings, TokenRewards};
use crate::training::{Decay, ImplicitReward, OptimizationSettings, Task, Trainer, reward_data};
use crate::world::{Problem, check};

/// A head learns at this many times the rate of its trunk.
const HEAD_LEARNING_RATE_FACTOR: f64 = 2.0;
const WARM_UP_STEPS: f64 = 20.0;

/// A trained row.
pub(in crate::experiment) struct Model<'a> {
    stage: &'a Stage<'a>,
    n_epochs: usize,
    form: Form,
    beta: f64,
    engine: NativeEngine,
    /// For log-ratios.
    reference: NativeEngine,
    label_tokens: LabelTokens,
}

impl<'a> Model<'a> {
    /// Trains `recipe` in one pass over the data; AutoPSV in two, the first of which makes the
    /// verifier.
    pub(in crate::experiment) fn train(
        stage: &'a Stage<'a>,
        recipe: &Recipe,
        configuration: Configuration,
    ) -> Result<Self> {
        Self::train_epochs(stage, recipe, configuration, 1)
    }

    /// The same in `n_epochs` passes.
    pub(super) fn train_epochs(
        stage: &'a Stage<'a>,
        recipe: &Recipe,
        configuration: Configuration,
        n_epochs: usize,
    ) -> Result<Self> {
        let load = || NativeEngine::load(&stage.medium, stage.options);
        // Tokens of this world that solutions never hold at such places.
        let texts = LabelTexts {
            tag: " coins. ".to_owned(),
            good: " more. ".to_owned(),
            bad: " fewer. ".to_owned(),
            neutral: None,
        };
        let mut model = Self {
            stage,
            n_epochs,
            form: recipe.form,
            beta: configuration.beta,
            engine: load()?,
            reference: load()?,
            label_tokens: LabelTokens::new(&texts, stage.tokenizer)?,
        };
        if let Form::Head(head, ..) = recipe.form {
            model.engine = model.engine.with_value_head(head);
            model.engine.set_head_learning_rate_factor(HEAD_LEARNING_RATE_FACTOR);
        }
        if recipe.labels == Labels::AutoPsv
            && let Form::Head(head, pooling, _) = recipe.form
        {
            model.form = Form::Head(head, pooling, ValueObjective::EveryToken);
            model.learn(&stage.train, configuration)?;
            model.form = recipe.form;
        }
        let rollouts = model.labelled(recipe.labels)?;
        model.learn(&rollouts, configuration)?;
        Ok(model)
    }

    /// Learns from `rollouts`.
    fn learn(&mut self, rollouts: &[Rollout], configuration: Configuration) -> Result<()> {
        let data = reward_data(rollouts, &workshop::encoder(self.stage.tokenizer, &self.engine)?)?;
        let mut settings = OptimizationSettings {
            epochs: self.n_epochs,
            learning_rate: configuration.learning_rate,
            batch_size: 64,
            decay: Decay::Linear,
            floor: 0.0,
            beta2: 0.98,
            micro_batch_tokens: 8192,
            seed: self.stage.settings.seed,
            ..OptimizationSettings::default()
        };
        match self.form {
            Form::Likelihood | Form::SelfCertainty => Ok(()),
            Form::LogRatio(objective) => {
                let of_reference = log_probs(&mut self.reference, &data.corpus, 8192, &mut Silent)?;
                let objective = objective.with_beta(configuration.beta);
                let (corpus, examples) = (data.corpus, data.examples);
                let mut task =
                    ImplicitReward::new(objective, corpus, examples, &data.pairs, &settings)
                        .with_reference(of_reference);
                fit(&mut self.engine, &mut task, settings)
            }
            Form::Head(_, pooling, objective) => {
                if objective.needs_pairs() {
                    settings.batch_size = 32;
                }
                let mut task = HeadTask::new(objective, pooling, data)?;
                fit(&mut OnValues(&mut self.engine), &mut task, settings)
            }
            Form::LabelTokens => {
                let mut task = TokenTask::new(&self.label_tokens, &data)?;
                fit(&mut self.engine, &mut task, settings)
            }
        }
    }

    /// The training rollouts with the row's labels of steps.
    fn labelled(&mut self, labels: Labels) -> Result<Vec<Rollout>> {
        let mut rollouts = self.stage.train.clone();
        match labels {
            Labels::Outcome | Labels::MonteCarloSoft => {}
            Labels::MonteCarloHard => {
                for rollout in &mut rollouts {
                    relabel(rollout, |_, _, soft| {
                        // A share above 0 is what any right continuation makes of it.
                        soft.map(|share| LabelKind::Hard.label(usize::from(share > 0.0), 1))
                    })?;
                }
            }
            Labels::AutoPsv => {
                let scores = self.score(&rollouts)?;
                let split = &workshop::STEP_SPLIT;
                rollouts = autopsv::annotate(&rollouts, &scores, split, autopsv::THRESHOLD)?;
            }
            Labels::True | Labels::TrueUpToError => {
                for rollout in &mut rollouts {
                    relabel(rollout, |step, first_error, _| match first_error {
                        Some(error) if step >= error => {
                            (labels == Labels::True || step == error).then_some(0.0)
                        }
                        _ => Some(1.0),
                    })?;
                }
            }
        }
        Ok(rollouts)
    }

    /// Scores of all completions.
    pub(in crate::experiment) fn score(&mut self, rollouts: &[Rollout]) -> Result<Vec<Score>> {
        let encoder = workshop::encoder(self.stage.tokenizer, &self.engine)?;
        let settings = ScoringSettings {
            beta: 1.0,
            step_split: workshop::STEP_SPLIT,
            batch_tokens: 8192,
            tokens: TokenRewards::Omit,
        };
        let engine = &mut self.engine;
        match self.form {
            Form::Likelihood => Scorer { policy: engine, reference: None, encoder, settings }
                .score(rollouts, &mut Silent),
            Form::SelfCertainty => {
                SelfCertainty { engine, encoder, settings }.score(rollouts, &mut Silent)
            }
            Form::LogRatio(_) => {
                let settings = ScoringSettings { beta: self.beta, ..settings };
                let reference = Some(&mut self.reference as &mut dyn Engine);
                Scorer { policy: engine, reference, encoder, settings }.score(rollouts, &mut Silent)
            }
            Form::Head(_, pooling, _) => {
                HeadScorer { engine, pooling, encoder, settings }.score(rollouts, &mut Silent)
            }
            Form::LabelTokens => {
                let labels = self.label_tokens.clone();
                TokenScorer { engine, labels, encoder, settings }.score(rollouts, &mut Silent)
            }
        }
    }
}

fn fit(engine: &mut dyn Engine, task: &mut dyn Task, settings: OptimizationSettings) -> Result<()> {
    let n_steps = settings.n_steps(task.items().len());
    let warmup = (WARM_UP_STEPS / n_steps as f64).min(1.0);
    let settings = OptimizationSettings { warmup, ..settings };
    let mut trainer = Trainer::new(&settings, task.items().len(), 0)?;
    while trainer.n_taken() < n_steps {
        trainer.step(engine, task)?;
    }
    Ok(())
}

/// Replaces the labels of a rollout's steps: `label` is told the step, the true first error of its
/// solution, and the label so far.
fn relabel(
    rollout: &mut Rollout,
    label: impl Fn(usize, Option<usize>, Option<f64>) -> Option<f64>,
) -> Result<()> {
    let splitter = StepSplitter::new(&workshop::STEP_SPLIT)?;
    let problem = Problem::parse(&rollout.prompt);
    let before = StepLabels::of(rollout)?.unwrap_or_default();
    let (mut steps, mut labels) = (Vec::new(), Vec::new());
    for (idx, text) in rollout.completions.iter().enumerate() {
        let first_error = problem.as_ref().and_then(|problem| check(problem, text).first_error);
        let texts: Vec<String> =
            splitter.split(text).into_iter().map(|range| text[range].to_owned()).collect();
        let known = |step: usize| before.0.get(idx).and_then(|labels| labels.get(step)).copied();
        let of_step = |step| label(step, first_error, known(step).flatten());
        labels.push((0..texts.len()).map(of_step).collect());
        steps.push(texts);
    }
    StepLabels(labels).write(rollout, steps);
    Ok(())
}
