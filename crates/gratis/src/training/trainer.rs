//! The training loop: one optimizer step at a time.

use gratis_engine::{PackedBatch, Stop};

use super::learner::Learner;
use super::metrics::{Evaluation, StepMetrics, Tally};
use super::order::Order;
use super::schedule::Schedule;
use super::settings::OptimizationSettings;
use super::task::Task;
use super::units::Units;
use crate::encoding::{Item, MicroBatches, micro_batches};
use crate::error::{Error, Result};

/// How many problems an error about a batch names.
const N_PROBLEMS_NAMED: usize = 8;

/// Takes optimizer steps on a [`Task`]. Its whole state is the number of steps taken: the order of
/// the data follows from the seed, so that a run can go on from any step.
#[derive(Debug, Clone)]
pub struct Trainer {
    settings: OptimizationSettings,
    schedule: Schedule,
    order: Order,
    n_taken: u64,
    is_resumed: bool,
    /// The epoch of the next step and its batches.
    epoch: (usize, Vec<Vec<usize>>),
}

impl Trainer {
    /// A trainer on these units that has taken `n_taken` steps.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting), [`Error::MissingSetting`] without a learning rate, and
    /// [`Error::NoExamples`] if there is nothing to train on.
    pub fn new(settings: &OptimizationSettings, units: &Units, n_taken: u64) -> Result<Self> {
        settings.validate()?;
        if units.is_empty() {
            return Err(Error::NoExamples { purpose: "train on", n_left_out: 0 });
        }
        let order = Order::new(settings, units);
        Ok(Self {
            settings: settings.clone(),
            schedule: settings.schedule(order.n_steps())?,
            n_taken,
            is_resumed: n_taken > 0,
            epoch: (0, order.epoch(0)),
            order,
        })
    }

    /// Steps taken.
    pub fn n_taken(&self) -> u64 {
        self.n_taken
    }

    /// Steps from the first to the last.
    pub fn n_steps(&self) -> u64 {
        self.order.n_steps()
    }

    /// Takes the next step.
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`] if the loss or the gradient is NaN or infinite: the parameters are
    /// then what they were before the step. Otherwise those of the engine and the task.
    pub fn step(&mut self, learner: &mut Learner, task: &mut dyn Task) -> Result<StepMetrics> {
        let learning_rate = self.schedule.learning_rate(self.n_taken);
        let (epoch, units) = self.next_batch();
        let non_finite = |task: &dyn Task, what, value| Error::NonFiniteLoss {
            step: self.n_taken + 1,
            what,
            value,
            problems: problems_of(task, &units),
        };

        // Accumulate the gradient of the batch, micro-batch by micro-batch.
        task.prepare(learner.score(), &units)?;
        let items: Vec<Item> = units.iter().map(|&unit| task.items()[unit]).collect();
        let MicroBatches { packed, members } =
            micro_batches(task.corpus(), &items, self.settings.micro_batch_tokens)?;
        let mut tally = Tally::default();
        let passed = learner.forward_backward(&packed, &mut |nth, values| {
            let weights = task.weigh(&units, &members[nth], values, &mut tally);
            let weights = weights.map_err(Stop::because)?;
            if tally.loss().is_finite() {
                Ok(weights)
            } else {
                Err(Stop::because(non_finite(task, "loss", tally.loss())))
            }
        });
        if let Err(error) = passed {
            learner.train().discard_gradient()?;
            return Err(error.into());
        }

        // Clip and step.
        let report =
            match learner.train().optimizer_step(&self.settings.optimizer_step(learning_rate)) {
                Err(gratis_engine::Error::NonFiniteGradient { norm }) => {
                    return Err(non_finite(task, "gradient norm", norm));
                }
                report => report?,
            };
        self.n_taken += 1;
        // A new trainer may take up an engine that has been trained before; one that resumes may not.
        if self.is_resumed && report.n_steps != self.n_taken {
            let (engine, trainer) = (report.n_steps - 1, self.n_taken - 1);
            return Err(Error::StateDiffers { engine, trainer });
        }
        Ok(StepMetrics {
            step: self.n_taken,
            epoch,
            evaluation: tally.evaluation(),
            gradient_norm: report.gradient_norm,
            learning_rate,
            n_tokens: packed.iter().map(PackedBatch::n_tokens).sum::<usize>() as u64,
            warnings: Vec::new(),
        })
    }

    /// The epoch and the units of the next batch.
    fn next_batch(&mut self) -> (usize, Vec<usize>) {
        let per_epoch = self.order.batches_per_epoch();
        let epoch = self.n_taken as usize / per_epoch;
        if self.epoch.0 != epoch {
            self.epoch = (epoch, self.order.epoch(epoch));
        }
        (epoch, self.epoch.1[self.n_taken as usize % per_epoch].clone())
    }
}

/// The loss and the figures of a whole task as one batch, without a gradient.
///
/// # Errors
/// Those of the engine and the task.
pub fn evaluate(
    learner: &Learner,
    task: &mut dyn Task,
    micro_batch_tokens: usize,
) -> Result<Evaluation> {
    let units: Vec<usize> = (0..task.items().len()).collect();
    task.prepare(learner.score(), &units)?;
    let mut tally = Tally::default();
    let batches = micro_batches(task.corpus(), task.items(), micro_batch_tokens)?;
    let n_at_once = learner.score().describe().n_concurrent_batches.max(1);
    let at_once = batches.packed.chunks(n_at_once).zip(batches.members.chunks(n_at_once));
    for (packed, members) in at_once {
        for (values, batch) in learner.values(packed)?.iter().zip(members) {
            task.weigh(&units, batch, values, &mut tally)?;
        }
    }
    Ok(tally.evaluation())
}

fn problems_of(task: &dyn Task, units: &[usize]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for &unit in units {
        let name = task.units().problem_of(unit);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let n_more = names.len().saturating_sub(N_PROBLEMS_NAMED);
    let mut shown: Vec<String> =
        names.iter().take(N_PROBLEMS_NAMED).map(|name| format!("`{name}`")).collect();
    if n_more > 0 {
        shown.push(format!("and {n_more} more"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Corpus;

    #[test]
    fn a_trainer_that_starts_late_sees_the_same_batches() {
        let settings = OptimizationSettings {
            batch_size: 3,
            epochs: 3,
            learning_rate: Some(1.0),
            ..OptimizationSettings::default()
        };
        let mut corpus = Corpus::default();
        let prompt = corpus.prompt(&[0]);
        let responses: Vec<usize> = (0..10).map(|id| corpus.response(prompt, &[id])).collect();
        let mut units = Units::new(corpus);
        for idx in responses {
            units.push_grouped(Item::Response(idx), "p", prompt);
        }
        let batches: Vec<_> = Order::new(&settings, &units).batches().collect();
        assert_eq!(batches.len(), 12);
        for (step, batch) in batches.iter().enumerate() {
            let mut trainer = Trainer::new(&settings, &units, step as u64).expect("valid");
            assert_eq!(trainer.next_batch(), (step / 4, batch.clone()));
        }
    }
}
