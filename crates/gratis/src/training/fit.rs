//! A training run from its first step, or its last checkpoint, to its end.

use std::ops::ControlFlow;

use super::card::Figures;
use super::learner::Learner;
use super::metrics::{Evaluation, Record, RewardCounts, RewardsOf, StepMetrics};
use super::run_folder::{Best, RunFolder, Seconds, TrainerState};
use super::settings::{CheckpointSettings, OptimizationSettings};
use super::task::Task;
use super::trainer::{Trainer, evaluate};
use super::watch::{Warning, Watch};
use crate::error::{Error, Result};
use crate::numeric::figure;
use crate::observer::{Figure, Observer};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Steps taken in all.
    pub n_steps: u64,
    /// Steps that had been taken before this run was resumed; 0 for a new one.
    pub n_resumed: u64,
    /// Processor seconds that training had taken before this run was resumed.
    pub processor_seconds_before: f64,
    /// The last step, if any was left to take.
    pub last_step: Option<StepMetrics>,
    /// The last measurement on the validation split.
    pub validation: Option<Evaluation>,
    /// The best measurement on the validation split, by loss.
    pub best: Option<Best>,
}

/// Trains to the end. With a run folder, metrics and checkpoints are written, a run that was
/// stopped continues from its last checkpoint with the same bits, and the models `model` (last) and
/// `best` (with a validation split) are written at the end.
///
/// # Errors
/// Those of [`Trainer::step`] and of the run folder. On [`crate::Error::NonFiniteLoss`] the
/// checkpoints stay as they are.
pub fn fit(
    learner: &mut Learner,
    task: &mut dyn Task,
    validation: Option<&mut dyn Task>,
    optimization: &OptimizationSettings,
    checkpoints: &CheckpointSettings,
    run: Option<&mut RunFolder>,
    observer: &mut dyn Observer,
) -> Result<Summary> {
    let beside = Beside { validation, checkpoints, run };
    drive(learner, task, optimization, beside, observer, &mut |_, _| Ok(ControlFlow::Continue(())))
}

/// Trains in memory, without validation and run folder. `after_step` sees the model and the metrics
/// after each step; if it breaks, that step was the last.
///
/// # Errors
/// Those of [`Trainer::step`] and of `after_step`.
pub fn fit_until(
    learner: &mut Learner,
    task: &mut dyn Task,
    optimization: &OptimizationSettings,
    observer: &mut dyn Observer,
    after_step: &mut dyn FnMut(&Learner, &StepMetrics) -> Result<ControlFlow<()>>,
) -> Result<Summary> {
    let checkpoints = &CheckpointSettings::default();
    let beside = Beside { validation: None, checkpoints, run: None };
    drive(learner, task, optimization, beside, observer, after_step)
}

/// What accompanies the steps of a run.
struct Beside<'v, 'c, 'r> {
    validation: Option<&'v mut dyn Task>,
    checkpoints: &'c CheckpointSettings,
    run: Option<&'r mut RunFolder>,
}

/// The loop of every training.
fn drive(
    learner: &mut Learner,
    task: &mut dyn Task,
    optimization: &OptimizationSettings,
    Beside { mut validation, checkpoints, mut run }: Beside<'_, '_, '_>,
    observer: &mut dyn Observer,
    after_step: &mut dyn FnMut(&Learner, &StepMetrics) -> Result<ControlFlow<()>>,
) -> Result<Summary> {
    checkpoints.validate()?;
    // Before anything is restored, so that settings are checked first.
    Trainer::new(optimization, task.units(), 0)?;
    let state = match &mut run {
        Some(run) => run.resume(learner.train(), checkpoints.keep_last)?,
        None => TrainerState::default(),
    };
    let mut trainer = Trainer::new(optimization, task.units(), state.n_taken)?;
    let n_steps = trainer.n_steps();
    let mut watch = Watch::new(n_steps);
    let (before, measured_before) = match &run {
        Some(run) => run.so_far()?,
        None => (Vec::new(), None),
    };
    for metrics in &before {
        watch.observe(metrics);
    }
    let before = before.last();
    // The rewards of the epoch so far, and which it is.
    let (mut rewards, mut epoch) = (state.rewards, before.map(|metrics| metrics.epoch));
    let mut summary = Summary {
        n_steps,
        n_resumed: state.n_taken,
        processor_seconds_before: run.as_ref().map_or(0.0, |run| run.processor_seconds_before()),
        last_step: None,
        validation: None,
        best: state.best,
    };
    observer.stage("train", Some(n_steps));
    observer.resumed(trainer.n_taken().min(n_steps));
    if let Some((before, now)) = state.n_threads.zip(run.as_ref().and_then(|run| run.n_threads))
        && before != now
    {
        observer.note(&format!(
            "the run was begun with {before} threads and continues with {now}: the last bits of its \
             results may differ from those of a run that was not interrupted"
        ));
    }
    let (began, began_processor) = (observer.wall_seconds(), observer.processor_seconds());
    let seconds = |observer: &dyn Observer| {
        let since = |now: Option<f64>, then: Option<f64>| Some(now? - then?);
        Seconds {
            wall: since(observer.wall_seconds(), began),
            processor: since(observer.processor_seconds(), began_processor),
        }
    };

    while trainer.n_taken() < n_steps {
        let mut metrics = trainer.step(learner, task)?;
        metrics.warnings = watch.observe(&metrics);
        for warning in &metrics.warnings {
            observer.warn(&with_reason(warning, metrics.step, task));
        }
        if epoch.replace(metrics.epoch) != Some(metrics.epoch) {
            rewards = RewardCounts::default();
        }
        rewards.add(&metrics.evaluation.rewards);
        let is_last = metrics.step == n_steps;
        let is_due = |every: u64| is_last || every > 0 && metrics.step % every == 0;

        observer.advance(1, &figures(&metrics));
        if let Some(run) = &mut run {
            run.record(Record::Step(metrics.clone()), seconds(observer))?;
            if is_last && validation.is_none() && !rewards.is_empty() {
                let (step, split, bins) = (n_steps, RewardsOf::Training, rewards.clone());
                run.record(Record::Rewards { step, split, bins }, seconds(observer))?;
            }
        }
        if let Some(validation) = &mut validation
            && is_due(checkpoints.validate_every)
        {
            let measured = evaluate(learner, *validation, optimization.micro_batch_tokens)?;
            if !measured.loss.is_finite() {
                return Err(Error::NonFiniteLoss {
                    step: metrics.step,
                    what: "loss on the validation split",
                    value: measured.loss,
                    problems: "the validation split".to_owned(),
                });
            }
            let is_best = summary.best.is_none_or(|best| measured.loss < best.loss);
            if is_best {
                summary.best = Some(Best { step: metrics.step, loss: measured.loss });
            }
            let (step, loss) = (metrics.step, figure(measured.loss));
            observer.note(&format!("step {step}: validation loss {loss}"));
            summary.validation = Some(measured.clone());
            if let Some(run) = &mut run {
                let figures = Figures {
                    step,
                    n_steps,
                    training: Some(&metrics.evaluation),
                    validation: Some(&measured),
                };
                let evaluation = measured.clone();
                run.record(Record::Validation { step, evaluation }, seconds(observer))?;
                if !measured.rewards.is_empty() {
                    let (split, bins) = (RewardsOf::Validation, measured.rewards.clone());
                    run.record(Record::Rewards { step, split, bins }, seconds(observer))?;
                }
                if is_best {
                    run.publish(learner.train(), "best", figures)?;
                }
            }
        }
        if let Some(run) = &run
            && is_due(checkpoints.checkpoint_every)
        {
            run.save_checkpoint(
                learner.train(),
                metrics.step,
                summary.best,
                &rewards,
                checkpoints.keep_last,
            )?;
        }
        let flow = after_step(learner, &metrics)?;
        summary.last_step = Some(metrics);
        if flow.is_break() {
            summary.n_steps = trainer.n_taken();
            break;
        }
    }
    if let Some(run) = &run {
        let training = summary.last_step.as_ref().or(before).map(|last| &last.evaluation);
        let validation = summary.validation.as_ref().or(measured_before.as_ref());
        let figures = Figures { step: trainer.n_taken(), n_steps, training, validation };
        run.publish(learner.train(), "model", figures)?;
    }
    Ok(summary)
}

/// A warning about a step with what the task knows of its cause.
fn with_reason(warning: &Warning, step: u64, task: &dyn Task) -> String {
    let step_text = format!("step {step}: {warning}");
    match (warning, task.reason_for_no_gradient()) {
        (Warning::VanishedGradient { n_steps, .. }, Some(reason))
            if u64::from(*n_steps) == step =>
        {
            format!("{step_text}; {reason}")
        }
        _ => step_text,
    }
}

fn figures(metrics: &StepMetrics) -> Vec<Figure> {
    let evaluation = &metrics.evaluation;
    let mut figures = vec![
        Figure::Amount("tokens", metrics.n_tokens),
        Figure::Value("loss", evaluation.loss),
        Figure::Value("learning rate", metrics.learning_rate),
    ];
    let accuracy = evaluation.pair_accuracy.or(evaluation.accuracy);
    figures.extend(accuracy.map(|value| Figure::Value("accuracy", value)));
    figures
}
