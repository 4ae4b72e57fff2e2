//! Outcome and process reward models with a scalar head, as a task of the training loop.

use gratis_engine::TokenValues;

use super::loss::{ValueObjective, pair_loss};
use super::pooling::Pooling;
use crate::encoding::{Item, MicroBatch};
use crate::error::{Error, Result};
use crate::objective::Pair;
use crate::training::{RewardData, RewardExample, Tally, Task, UnitKind, Units};

/// Training task for the values of prefixes.
#[derive(Debug, Clone)]
struct HeadTask {
    objective: ValueObjective,
    pooling: Pooling,
    units: Units,
    examples: Vec<RewardExample>,
    /// Example that each unit's labels are read from; the chosen one of a pair.
    example_of: Vec<usize>,
}

impl ValueObjective {
    /// The training task of a scalar head on labelled responses, for
    /// [`Learner::Values`](crate::training::Learner). With [`ValueObjective::Steps`] responses without
    /// a labelled step are skipped.
    ///
    /// # Errors
    /// [`Error::NoStepLabels`] if steps are needed and none is labelled.
    pub fn task(self, pooling: Pooling, data: RewardData) -> Result<impl Task> {
        let RewardData { corpus, examples, pairs, .. } = data;
        let kind = match self {
            Self::BradleyTerry => UnitKind::Pairs,
            Self::Steps => UnitKind::LabelledSteps,
            Self::Outcome | Self::EveryToken => UnitKind::Responses,
        };
        let (units, example_of) = Units::of_examples(kind, corpus, &examples, &pairs);
        if kind == UnitKind::LabelledSteps && units.is_empty() && !examples.is_empty() {
            let problem = examples[0].problem.clone();
            return Err(Error::NoStepLabels { objective: "steps", problem });
        }
        Ok(HeadTask { objective: self, pooling, units, examples, example_of })
    }
}

impl Task for HeadTask {
    fn units(&self) -> &Units {
        &self.units
    }

    fn weigh(
        &self,
        units: &[usize],
        batch: &MicroBatch,
        values: &TokenValues,
        tally: &mut Tally,
    ) -> Result<TokenValues> {
        let row_of = batch.row_of();
        let n_units = units.len() as f64;
        let mut weights = values.zeros_like();
        let n_channels = |response: usize| {
            let n_tokens = self.units.corpus.responses()[response].tokens.len();
            values.row(row_of[&response]).len() / n_tokens
        };
        let prefix_values = |response: usize| {
            self.pooling.prefix_values(values.row(row_of[&response]), n_channels(response))
        };
        let mut add = |response: usize, slopes: &[f64]| {
            let row = row_of[&response];
            let slopes = self.pooling.row_slopes(values.row(row), n_channels(response), slopes);
            for (sum, slope) in weights.row_mut(row).iter_mut().zip(slopes) {
                *sum += (slope / n_units) as f32;
            }
        };
        for &unit in &batch.units {
            let unit = units[unit];
            let example = &self.examples[self.example_of[unit]];
            if let Item::Pair(Pair { chosen, rejected }) = self.units.items[unit] {
                let both = [chosen, rejected].map(prefix_values);
                let [of_chosen, of_rejected] =
                    both.each_ref().map(|values| values.last().copied().unwrap_or_default());
                let (loss, slope) = pair_loss(of_chosen, of_rejected);
                tally.add_loss(loss / n_units);
                tally.add_pair(of_chosen, of_rejected);
                for (response, values, slope) in
                    [(chosen, &both[0], slope), (rejected, &both[1], -slope)]
                {
                    let mut slopes = vec![0.0; values.len()];
                    slopes.iter_mut().next_back().into_iter().for_each(|last| *last = slope);
                    add(response, &slopes);
                }
            } else {
                let values = prefix_values(example.response);
                let (loss, slopes) =
                    self.objective.response_loss(&values, example.is_correct(), &example.steps);
                tally.add_loss(loss / n_units);
                tally.add_reward(values.last().copied().unwrap_or_default(), example.label);
                add(example.response, &slopes);
            }
        }
        Ok(weights)
    }
}
