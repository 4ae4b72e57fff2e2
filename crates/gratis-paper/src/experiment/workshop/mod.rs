//! The workshop of the tiny world: the shape of its models and how they learn.
//!
//! Every experiment stands on the same cast: a base that solves problems, three generators that
//! slip, and reward models that start from one of them.

mod output;
mod settings;

use gratis_cpu::{Initialisation, NativeEngine};
use gratis_engine::Score;
use gratis_model::Tokenizer;
use gratis_model::config::ModelConfig;
use gratis_model::tokenizer::SpecialTokens;

use crate::experiment::baselines::Trunk;
use crate::world::corpus::N_DERIVED;
use crate::world::{Author, Split, Strength, phrases};
use gratis::data::{Rollout, StepSplit};
use gratis::encoding::{Corpus, Encoder, OnOverlong, encode_rollouts, log_probs, problem_name};
use gratis::error::{Error, Result};
use gratis::objective::Objective;
use gratis::observer::{Figure, Observer, Silent};
use gratis::training::{
    ImplicitReward, LanguageModelling, Learner, OptimizationSettings, RewardData, Task, Trainer,
};

pub(super) use output::{MAX_NEW_TOKENS, draw, write_rollouts, write_scores};
pub use settings::{BaseSettings, CurvePoint, DrawSettings, LearningSettings, Training};

/// What a prompt looks like to a model: the problem as it is.
pub(super) const TEMPLATE: &str = "{prompt}";
/// A step is a line.
pub(super) const STEP_SPLIT: StepSplit = StepSplit::Lines;

/// Wide embeddings and a quiet head: this small model then leaves its plateau soonest.
pub(super) const INITIALISATION: Initialisation =
    Initialisation { embedding_std: 0.5, linear_std: 0.07, residual_std: 0.07, head_std: 0.02 };

/// Different problems the base model learns from, again and again.
const N_BASE_PROBLEMS: usize = 40_000;
/// Problems that tell when the base model is good enough.
const N_HELD_OUT: usize = 200;
/// Steps between two looks at them.
const CHECK_EVERY: u64 = 50;
/// Steps that a point of a training curve averages over.
const CURVE_EVERY: u64 = 10;
/// Tokens in a micro-batch; an optimizer batch of the demo fits into one.
const MICRO_BATCH_TOKENS: usize = 8192;

/// The 69 tokens of the tiny world.
pub(super) fn tokenizer() -> Result<Tokenizer> {
    let special = |text: &str| Some(text.to_owned());
    let special = SpecialTokens {
        pad: special(phrases::PAD),
        bos: special(phrases::BOS),
        eos: special(phrases::EOS),
    };
    Ok(Tokenizer::from_phrases(&phrases::phrases(), &special)?)
}

/// About a hundred thousand parameters with the cast's trunk.
pub(super) fn shape(tokenizer: &Tokenizer, trunk: Trunk) -> ModelConfig {
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
pub(super) fn encoder<'a>(tokenizer: &'a Tokenizer, engine: &NativeEngine) -> Result<Encoder<'a>> {
    Encoder::new(tokenizer, TEMPLATE, engine.describe(), OnOverlong::Stop)
}

/// What all trainings share.
pub(super) struct Workshop<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) seed: u64,
}

impl Workshop<'_> {
    /// Teaches correct solutions: at a constant rate until they are fairly probable on unseen
    /// problems, then at a falling rate to the end. Says how probable they came to be.
    pub(super) fn train_base(
        &self,
        engine: &mut NativeEngine,
        settings: &BaseSettings,
        observer: &mut dyn Observer,
    ) -> Result<(Training, f64)> {
        let solved = |split: Split, n| split.solved(&split.draw(n, N_DERIVED, self.seed));
        let held_out = solved(Split::Validation, N_HELD_OUT);
        let mut unseen = Corpus::default();
        encode_rollouts(&held_out, &encoder(self.tokenizer, engine)?, &mut unseen)?;
        let mut task = self.language_task(engine, &solved(Split::Pretrain, N_BASE_PROBLEMS))?;

        observer.stage("base", Some(settings.ascent.n_steps));
        let mut solves = 0.0;
        let mut training = self.train(
            &mut Learner::LogProbs(engine),
            &mut task,
            &settings.ascent,
            observer,
            |engine, step| {
                if step % CHECK_EVERY == 0 {
                    solves = mean_probability(engine, &unseen)?;
                }
                Ok((Some(Figure::Value("solves", solves)), solves >= settings.turn))
            },
        )?;

        observer.stage("base, falling rate", Some(settings.descent.n_steps));
        // The descent sees the problems in an order of its own.
        let descent = Workshop { seed: self.seed.wrapping_add(1), ..*self };
        let look = |_: &dyn Score, _| Ok((None, false));
        let learner = &mut Learner::LogProbs(engine);
        training.append(descent.train(learner, &mut task, &settings.descent, observer, look)?);
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

    /// Teaches an author's solutions, slips included.
    pub(super) fn train_generator(
        &self,
        engine: &mut NativeEngine,
        strength: Strength,
        author: &Author,
        settings: &LearningSettings,
        observer: &mut dyn Observer,
    ) -> Result<Training> {
        observer.stage(&format!("generator {}", strength.name()), Some(settings.n_steps));
        let n_problems = settings.n_steps as usize * settings.batch_size;
        let problems = Split::Generators.draw(n_problems, N_DERIVED, self.seed);
        let written = Split::Generators.written_by(author, &problems, self.seed);
        let mut task = self.language_task(engine, &written)?;
        self.train(&mut Learner::LogProbs(engine), &mut task, settings, observer, |_, _| {
            Ok((None, false))
        })
    }

    /// Teaches `r(y) = beta * log pi(y)/pi_ref(y)` from labels, in at most `n_epochs` passes of the settings;
    /// without a reference `r(y) = beta * log pi(y)`.
    pub(super) fn train_reward_model(
        &self,
        policy: &mut NativeEngine,
        reference: Option<&mut NativeEngine>,
        objective: Objective,
        data: RewardData,
        settings: &LearningSettings,
        observer: &mut dyn Observer,
    ) -> Result<Training> {
        let n_units = if objective.needs_pairs() { data.pairs.len() } else { data.examples.len() };
        let settings = settings.for_units(n_units);
        observer.stage("reward model", Some(settings.n_steps));
        let optimization = self.optimization(&settings);
        let RewardData { corpus, examples, pairs, .. } = data;
        let mut task = ImplicitReward::new(objective, corpus, examples, &pairs, &optimization);
        if let Some(reference) = reference {
            // KTO's mismatched responses are in the task's corpus by now.
            let of_reference =
                log_probs(reference, task.corpus(), MICRO_BATCH_TOKENS, &mut Silent)?;
            task = task.with_reference(of_reference);
        }
        self.train(&mut Learner::LogProbs(policy), &mut task, &settings, observer, |_, _| {
            Ok((None, false))
        })
    }

    /// Takes the steps of `settings` on a baseline's task, in at most their `n_epochs` passes.
    pub(super) fn train_task(
        &self,
        learner: &mut Learner,
        task: &mut dyn Task,
        settings: &LearningSettings,
        observer: &mut dyn Observer,
    ) -> Result<Training> {
        let settings = settings.for_units(task.items().len());
        observer.stage("baseline", Some(settings.n_steps));
        self.train(learner, task, &settings, observer, |_, _| Ok((None, false)))
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
                (completion.response, problem_name(&rollouts[completion.rollout_idx]))
            })
            .collect::<Vec<_>>();
        Ok(LanguageModelling::new(corpus, responses))
    }

    fn optimization(&self, settings: &LearningSettings) -> OptimizationSettings {
        OptimizationSettings {
            epochs: usize::MAX >> 32,
            max_steps: settings.n_steps,
            batch_size: settings.batch_size,
            learning_rate: settings.learning_rate,
            warmup: (settings.n_warm_up_steps as f64 / settings.n_steps as f64).min(1.0),
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

    /// Takes the steps of `settings`, or until `look` says that it is enough.
    fn train(
        &self,
        learner: &mut Learner,
        task: &mut dyn Task,
        settings: &LearningSettings,
        observer: &mut dyn Observer,
        mut look: impl FnMut(&dyn Score, u64) -> Result<(Option<Figure>, bool)>,
    ) -> Result<Training> {
        let mut trainer = Trainer::new(&self.optimization(settings), task.items().len(), 0)?;
        let mut training = Training { n_steps: 0, n_tokens: 0, curve: Vec::new() };
        let (mut loss, mut accuracy, mut n_averaged) = (0.0, None, 0.0);
        while training.n_steps < settings.n_steps {
            let metrics = trainer.step(learner, task)?;
            training.n_steps = metrics.step;
            training.n_tokens += metrics.n_tokens;
            loss += metrics.evaluation.loss;
            accuracy = match (accuracy, metrics.evaluation.accuracy) {
                (sum, Some(now)) => Some(sum.unwrap_or(0.0) + now),
                (sum, None) => sum,
            };
            n_averaged += 1.0;
            let (figure, enough) = look(learner.score(), metrics.step)?;
            let last = enough || metrics.step == settings.n_steps;
            if last || metrics.step % CURVE_EVERY == 0 {
                training.curve.push(CurvePoint {
                    step: metrics.step,
                    loss: loss / n_averaged,
                    accuracy: accuracy.map(|sum: f64| sum / n_averaged),
                });
                (loss, accuracy, n_averaged) = (0.0, None, 0.0);
            }
            let mut figures = vec![
                Figure::Amount("tokens", metrics.n_tokens),
                Figure::Value("loss", metrics.evaluation.loss),
            ];
            figures.extend(figure);
            observer.advance(1, &figures);
            if enough {
                break;
            }
        }
        Ok(training)
    }
}

/// Mean over the responses of `exp(sum_t log pi(y_t|y_<t))`. With one correct solution a problem
/// this is the exact rate at which samples at temperature 1 are right in every step.
fn mean_probability(engine: &dyn Score, corpus: &Corpus) -> Result<f64> {
    let log_probs = log_probs(engine, corpus, MICRO_BATCH_TOKENS, &mut Silent)?;
    let probability = |tokens: &Vec<f32>| tokens.iter().map(|&lp| f64::from(lp)).sum::<f64>().exp();
    Ok(log_probs.iter().map(probability).sum::<f64>() / log_probs.len().max(1) as f64)
}
