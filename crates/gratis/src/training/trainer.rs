//! The training loop: one optimizer step at a time.

use gratis_engine::{PackedBatch, Schedule, Stop};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::learner::Learner;
use super::metrics::{Evaluation, StepMetrics, Tally};
use super::settings::OptimizationSettings;
use super::task::Task;
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
    n_units: usize,
    n_taken: u64,
    is_resumed: bool,
    epoch_order: (usize, Vec<usize>),
}

impl Trainer {
    /// A trainer for `n_units` units that has taken `n_taken` steps.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`], [`Error::MissingSetting`] without a learning rate, and
    /// [`Error::NoExamples`] if there is nothing to train on.
    pub fn new(settings: &OptimizationSettings, n_units: usize, n_taken: u64) -> Result<Self> {
        settings.validate()?;
        if n_units == 0 {
            return Err(Error::NoExamples { purpose: "train on", n_left_out: 0 });
        }
        let epoch_order = (0, epoch_order(settings.seed, 0, n_units));
        Ok(Self {
            settings: settings.clone(),
            schedule: settings.schedule(settings.n_steps(n_units))?,
            n_units,
            n_taken,
            is_resumed: n_taken > 0,
            epoch_order,
        })
    }

    /// Steps taken.
    pub fn n_taken(&self) -> u64 {
        self.n_taken
    }

    /// Steps from the first to the last.
    pub fn n_steps(&self) -> u64 {
        self.settings.n_steps(self.n_units)
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
        let batches_per_epoch = self.n_units.div_ceil(self.settings.batch_size);
        let epoch = self.n_taken as usize / batches_per_epoch;
        if self.epoch_order.0 != epoch {
            self.epoch_order = (epoch, epoch_order(self.settings.seed, epoch, self.n_units));
        }
        let batch = self.n_taken as usize % batches_per_epoch;
        let units = self.epoch_order.1.chunks(self.settings.batch_size).nth(batch);
        (epoch, units.unwrap_or_default().to_vec())
    }
}

/// The units of every optimizer batch of a run, in order.
pub(super) fn all_batches(
    settings: &OptimizationSettings,
    n_units: usize,
) -> impl Iterator<Item = Vec<usize>> {
    begun_epochs(settings, n_units).take(settings.n_steps(n_units) as usize)
}

/// The same, to the end of the last epoch that is begun: a function of the seed and the epochs, not
/// of how many steps are taken within one.
pub(super) fn begun_epochs(
    settings: &OptimizationSettings,
    n_units: usize,
) -> impl Iterator<Item = Vec<usize>> {
    let per_epoch = n_units.div_ceil(settings.batch_size).max(1) as u64;
    let n_epochs = settings.n_steps(n_units).div_ceil(per_epoch) as usize;
    (0..n_epochs).flat_map(move |epoch| {
        let order = epoch_order(settings.seed, epoch, n_units);
        order.chunks(settings.batch_size).map(<[usize]>::to_vec).collect::<Vec<_>>()
    })
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

fn epoch_order(seed: u64, epoch: usize, n_units: usize) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64);
    let mut order: Vec<usize> = (0..n_units).collect();
    order.shuffle(&mut rng);
    order
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

    #[test]
    fn an_epoch_is_a_permutation_of_its_own() {
        let orders = [(0, 0), (0, 1), (1, 0)].map(|(seed, epoch)| epoch_order(seed, epoch, 50));
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert!(orders[0] != orders[1] && orders[0] != orders[2]);
    }

    #[test]
    fn a_trainer_that_starts_late_sees_the_same_batches() {
        let settings = OptimizationSettings {
            batch_size: 3,
            epochs: 3,
            learning_rate: Some(1.0),
            ..OptimizationSettings::default()
        };
        let batches: Vec<_> = all_batches(&settings, 10).collect();
        assert_eq!(batches.len(), 12);
        for (step, batch) in batches.iter().enumerate() {
            let mut trainer = Trainer::new(&settings, 10, step as u64).expect("valid");
            assert_eq!(trainer.next_batch(), (step / 4, batch.clone()));
        }
    }
}
