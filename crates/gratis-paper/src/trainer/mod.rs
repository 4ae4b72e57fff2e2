//! Shapes and training of the models of the tiny world: a base model that solves problems, three
//! generators that make errors, and the reward models that start from one of them.

mod output;

use std::cell::Cell;
use std::ops::ControlFlow;

use gratis::data::{Rollout, StepSplit};
use gratis::encoding::{Corpus, Encoder, OnOverlong, encode_rollouts, log_probs};
use gratis::objective::Objective;
use gratis::observer::{Observer, Silent};
use gratis::training::{
    DataOrder, ImplicitReward, LanguageModelling, Learner, OptimizationSettings, RewardData,
    StepMetrics, Task, fit_until,
};
use gratis_cpu::{Initialisation, NativeEngine};
use gratis_engine::Score;
use gratis_model::Tokenizer;
use gratis_model::config::ModelConfig;
use gratis_model::tokenizer::SpecialTokens;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::progress::PartOfCommand;
use crate::rows::Trunk;
use crate::settings::{BaseSettings, LearningSettings};
use crate::world::{N_DERIVED, Split, Strength, SyntheticGenerator, phrases};

pub(crate) use output::{MAX_NEW_TOKENS, sample, write_rollouts, write_scores};

/// Tokens per batch when scoring.
pub(crate) const BATCH_TOKENS: usize = 8192;

/// What a prompt looks like to a model: the problem as it is.
pub(crate) const TEMPLATE: &str = "{prompt}";
/// A step is a line.
pub(crate) const STEP_SPLIT: StepSplit = StepSplit::Lines;

/// Wide embeddings and a small head: with these, the small model leaves its plateau soonest.
pub(crate) const INITIALISATION: Initialisation =
    Initialisation { embedding_std: 0.5, linear_std: 0.07, residual_std: 0.07, head_std: 0.02 };

/// Different problems that the base model learns from, in several passes.
const N_BASE_PROBLEMS: usize = 40_000;
/// Unseen problems that tell when the base model is good enough.
const N_HELD_OUT: usize = 200;
/// Steps between two evaluations on them.
const CHECK_EVERY: u64 = 50;
/// Steps that a point of a training curve averages over.
const CURVE_EVERY: u64 = 10;
/// Tokens in a micro-batch; an optimizer batch of the demo fits into one.
const MICRO_BATCH_TOKENS: usize = 8192;

/// The 69 tokens of the tiny world.
pub(crate) fn tokenizer() -> Result<Tokenizer> {
    let special = |text: &str| Some(text.to_owned());
    let special = SpecialTokens {
        pad: special(phrases::PAD),
        bos: special(phrases::BOS),
        eos: special(phrases::EOS),
    };
    Ok(Tokenizer::from_phrases(&phrases::phrases(), &special)?)
}

/// The shape of a model; about a hundred thousand parameters with the default trunk.
pub(crate) fn shape(tokenizer: &Tokenizer, trunk: Trunk) -> ModelConfig {
    const N_HEADS: usize = 4;
    let Trunk { n_layers, hidden_size } = trunk;
    ModelConfig {
        vocab_size: tokenizer.vocab_size(),
        hidden_size,
        intermediate_size: hidden_size * 5 / 2,
        n_layers,
        n_heads: N_HEADS,
        n_kv_heads: N_HEADS,
        head_dim: hidden_size / N_HEADS,
        context_length: 256,
        bos_token: tokenizer.bos(),
        eos_tokens: tokenizer.eos().into_iter().collect(),
        ..ModelConfig::LLAMA
    }
}

/// Problem and solution as tokens of a model.
pub(crate) fn encoder<'a>(tokenizer: &'a Tokenizer, engine: &NativeEngine) -> Result<Encoder<'a>> {
    Ok(Encoder::new(tokenizer, TEMPLATE, engine.describe(), OnOverlong::Stop)?)
}

/// The course of a training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Training {
    /// Optimizer steps taken.
    pub n_steps: u64,
    /// Tokens that went through the model.
    pub n_tokens: u64,
    /// Loss every few steps.
    pub curve: Vec<CurvePoint>,
}

impl Training {
    /// Appends a second part.
    fn append(&mut self, part: Self) {
        let later = |point: CurvePoint| CurvePoint { step: point.step + self.n_steps, ..point };
        self.curve.extend(part.curve.into_iter().map(later));
        self.n_steps += part.n_steps;
        self.n_tokens += part.n_tokens;
    }
}

/// The loss at a step, averaged over the steps since the point before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct CurvePoint {
    /// Optimizer steps taken.
    pub step: u64,
    /// Loss in nats.
    pub loss: f64,
    /// Share of responses whose reward has the sign of their label; reward models only.
    pub accuracy: Option<f64>,
}

/// What all trainings of a seed share.
#[derive(Clone, Copy)]
pub(crate) struct ModelTrainer<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) seed: u64,
}

impl ModelTrainer<'_> {
    /// Trains on correct solutions: at a constant rate until they are fairly probable on unseen
    /// problems, then at a falling rate to the end. Also returns how probable they are at the end.
    ///
    /// # Errors
    /// [`Error::TargetNotReached`] if that is below the target; those of the engine.
    pub(crate) fn train_base(
        &self,
        engine: &mut NativeEngine,
        settings: &BaseSettings,
        observer: &mut dyn Observer,
    ) -> Result<(Training, f64)> {
        let solved = |split: Split, n| split.solved(&split.draw(n, N_DERIVED, self.seed));
        let held_out = solved(Split::Validation, N_HELD_OUT);
        let mut unseen = Corpus::default();
        encode_rollouts(&held_out, &encoder(self.tokenizer, engine)?, &mut unseen)?;
        let n_problems = settings.ascent.n_drawn().saturating_add(settings.descent.n_drawn());
        let problems = solved(Split::Pretrain, n_problems.min(N_BASE_PROBLEMS));
        let mut task = self.language_task(engine, &problems)?;

        let mut training = self.train(
            "base",
            &mut Learner::LogProbs(engine),
            &mut task,
            &settings.ascent,
            observer,
            |engine, step, measured| {
                if step % CHECK_EVERY != 0 {
                    return Ok(ControlFlow::Continue(()));
                }
                let solves = mean_probability(engine, &unseen)?;
                measured.set(Some(solves));
                let is_enough = solves >= settings.turn;
                Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )?;

        // The descent sees the problems in an order of its own.
        let descent = Self { seed: self.seed.wrapping_add(1), ..*self };
        let (name, settings_of) = ("base, falling rate", &settings.descent);
        training.append(descent.train(
            name,
            &mut Learner::LogProbs(engine),
            &mut task,
            settings_of,
            observer,
            to_the_end,
        )?);
        let solves = mean_probability(engine, &unseen)?;
        if solves < settings.target {
            return Err(Error::TargetNotReached {
                what: "the probability of a correct solution under the base model",
                target: settings.target,
                reached: solves,
                n_steps: training.n_steps,
            });
        }
        Ok((training, solves))
    }

    /// Trains on a synthetic generator's solutions, errors included.
    pub(crate) fn train_generator(
        &self,
        engine: &mut NativeEngine,
        strength: Strength,
        written_by: &SyntheticGenerator,
        settings: &LearningSettings,
        observer: &mut dyn Observer,
    ) -> Result<Training> {
        let n_problems = settings
            .n_steps
            .map_or(N_BASE_PROBLEMS, |n_steps| n_steps as usize * settings.batch_size);
        let problems = Split::Generators.draw(n_problems, N_DERIVED, self.seed);
        let written = Split::Generators.written_by(written_by, &problems, self.seed);
        let mut task = self.language_task(engine, &written)?;
        let name = format!("generator {}", strength.name());
        self.train(&name, &mut Learner::LogProbs(engine), &mut task, settings, observer, to_the_end)
    }

    /// Trains `r(y) = beta * log pi(y)/pi_ref(y)` on labels, in `n_epochs` passes of the settings;
    /// without a reference `r(y) = beta * log pi(y)`.
    pub(crate) fn train_reward_model(
        &self,
        policy: &mut NativeEngine,
        reference: Option<&mut NativeEngine>,
        objective: Objective,
        data: RewardData,
        settings: &LearningSettings,
        observer: &mut dyn Observer,
    ) -> Result<Training> {
        let n_units = if objective.needs_pairs() { data.pairs.len() } else { data.examples.len() };
        let n_steps = settings.steps_for(n_units);
        let settings = LearningSettings { n_steps: Some(n_steps), ..*settings };
        let optimization = self.optimization(&settings, n_steps, n_units);
        let RewardData { corpus, examples, pairs, .. } = data;
        let context = policy.config().context_length;
        let mut task =
            ImplicitReward::new(objective, corpus, examples, &pairs, context, &optimization);
        if let Some(reference) = reference {
            // KTO's mismatched responses are in the task's corpus by now.
            let of_reference =
                log_probs(reference, task.corpus(), MICRO_BATCH_TOKENS, &mut Silent)?;
            task = task.with_reference(of_reference);
        }
        self.train(
            "reward model",
            &mut Learner::LogProbs(policy),
            &mut task,
            &settings,
            observer,
            to_the_end,
        )
    }

    /// Trains on a baseline's task, in `n_epochs` passes of the settings.
    pub(crate) fn train_task(
        &self,
        learner: &mut Learner,
        task: &mut dyn Task,
        settings: &LearningSettings,
        observer: &mut dyn Observer,
    ) -> Result<Training> {
        let n_steps = settings.steps_for(task.items().len());
        let settings = LearningSettings { n_steps: Some(n_steps), ..*settings };
        self.train("baseline", learner, task, &settings, observer, to_the_end)
    }

    fn language_task(
        &self,
        engine: &NativeEngine,
        rollouts: &[Rollout],
    ) -> Result<LanguageModelling> {
        let mut corpus = Corpus::default();
        let encoded = encode_rollouts(rollouts, &encoder(self.tokenizer, engine)?, &mut corpus)?;
        let responses = encoded
            .into_iter()
            .map(|completion| {
                (completion.response, rollouts[completion.rollout_idx].name().to_owned())
            })
            .collect::<Vec<_>>();
        Ok(LanguageModelling::new(corpus, responses))
    }

    fn optimization(
        &self,
        settings: &LearningSettings,
        n_steps: u64,
        n_units: usize,
    ) -> OptimizationSettings {
        let per_epoch = n_units.div_ceil(settings.batch_size).max(1) as u64;
        OptimizationSettings {
            epochs: n_steps.div_ceil(per_epoch).max(1) as usize,
            max_steps: n_steps,
            batch_size: settings.batch_size,
            order: DataOrder::Responses,
            learning_rate: Some(settings.learning_rate),
            warmup: (settings.n_warm_up_steps as f64 / n_steps as f64).min(1.0),
            decay: settings.decay,
            floor: 0.0,
            beta1: 0.9,
            beta2: 0.98,
            weight_decay: 0.0,
            clip: 1.0,
            micro_batch_tokens: MICRO_BATCH_TOKENS,
            seed: self.seed,
        }
    }

    /// Takes the steps of `settings`, or until `look` breaks, with the loop of every training.
    fn train(
        &self,
        name: &str,
        learner: &mut Learner,
        task: &mut dyn Task,
        settings: &LearningSettings,
        observer: &mut dyn Observer,
        mut look: impl FnMut(&dyn Score, u64, &Measured) -> Result<ControlFlow<()>, gratis::Error>,
    ) -> Result<Training> {
        let n_units = task.items().len();
        let n_steps = settings.n_steps.unwrap_or_else(|| settings.steps_for(n_units));
        let optimization = self.optimization(settings, n_steps, n_units);
        let mut course = Course::default();
        let measured = Measured::new(None);
        let measure = Some(("solves", &measured));
        let mut observer = PartOfCommand { observer, stage: Some(name), measure };
        fit_until(learner, task, &optimization, &mut observer, &mut |learner, metrics| {
            let flow = look(learner.score(), metrics.step, &measured)?;
            course.add(metrics, flow.is_break() || metrics.step == n_steps);
            Ok(flow)
        })?;
        Ok(course.training)
    }
}

/// The latest probability of correct solutions, where a training measures it.
type Measured = Cell<Option<f64>>;

/// Collects the course of a training from its steps.
#[derive(Default)]
struct Course {
    training: Training,
    /// Sums over the steps since the last point of the curve.
    loss: f64,
    accuracy: Option<f64>,
    n_averaged: f64,
}

impl Course {
    fn add(&mut self, metrics: &StepMetrics, is_last: bool) {
        self.training.n_steps = metrics.step;
        self.training.n_tokens += metrics.n_tokens;
        self.loss += metrics.evaluation.loss;
        if let Some(now) = metrics.evaluation.accuracy {
            self.accuracy = Some(self.accuracy.unwrap_or(0.0) + now);
        }
        self.n_averaged += 1.0;
        if is_last || metrics.step.is_multiple_of(CURVE_EVERY) {
            self.training.curve.push(CurvePoint {
                step: metrics.step,
                loss: self.loss / self.n_averaged,
                accuracy: self.accuracy.map(|sum| sum / self.n_averaged),
            });
            (self.loss, self.accuracy, self.n_averaged) = (0.0, None, 0.0);
        }
    }
}

/// Ends no training before its last step.
#[expect(clippy::unnecessary_wraps, reason = "the signature of `train`")]
fn to_the_end(_: &dyn Score, _: u64, _: &Measured) -> Result<ControlFlow<()>, gratis::Error> {
    Ok(ControlFlow::Continue(()))
}

/// Mean over the responses of `exp(sum_t log pi(y_t|y_<t))`. With one correct solution per problem
/// this is the exact rate at which samples at temperature 1 are right in every step.
fn mean_probability(engine: &dyn Score, corpus: &Corpus) -> Result<f64, gratis::Error> {
    let log_probs = log_probs(engine, corpus, MICRO_BATCH_TOKENS, &mut Silent)?;
    let probability = |tokens: &Vec<f32>| tokens.iter().map(|&lp| f64::from(lp)).sum::<f64>().exp();
    Ok(log_probs.iter().map(probability).sum::<f64>() / log_probs.len().max(1) as f64)
}
